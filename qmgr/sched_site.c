/*
 * The state of a destination beyond this host. Its window of DELIVERs grows by
 * one with each window of answers. It halves when it cannot be reached, once
 * for all DELIVERs that were out at that moment: they tell of one event. After
 * SCHED_SITE_FAILURES in a row it is dead. Back to life it starts slowly: with
 * one DELIVER, and one more with each answer (so twice as many each round) up
 * to half of the window that was too much. What waits for a dead one, and what
 * comes, is deferred at once with the reply of the last attempt, until its
 * retry time. Then one DELIVER is the probe, some wait for its outcome, the
 * rest is deferred as before. An answer of any kind brings it back to life.
 * What was flushed waits for the probe, however much it is (up to half of what
 * may be active): who flushes wants all of it gone, not the first of it.
 *
 * Which are dead is kept over a restart, see sched_keep.c.
 *
 * A destination that failed last is remembered though nothing waits for it,
 * until nobody has asked for it for a while, or there are more than
 * SCHED_SICK_MAX: then that which failed the longest time ago is forgotten.
 */
#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

#define PROBE_WAIT   100  /* jobs that wait for the outcome of a probe */
#define SPREAD_SHARE 10   /* the retries spread over a tenth of the backoff */

#define KEEP_MS      10000 /* until a death is kept */

static void
forget_reply(struct dest *d)
{
	free(d->esc);
	free(d->reply);
	free(d->relay);
	d->esc = d->reply = d->relay = NULL;
}

/* Nothing is held against it any more. May free `d'. */
static void
heal(struct sched *s, struct dest *d)
{
	TAILQ_REMOVE(&s->sick, d, sick_link);
	s->nsick--;
	if (d->dead) {
		d->window = 1;
		sched_keep_soon(s, KEEP_MS);
	}
	d->dead = false;
	d->fails = 0;
	forget_reply(d);
	sched_ring_update(s, d);
	sched_dest_release(s, d);
}

void
sched_sites_free(struct sched *s)
{
	while (!TAILQ_EMPTY(&s->sick)) {
		heal(s, TAILQ_FIRST(&s->sick));
	}
}

void
sched_sites_reap(struct sched *s)
{
	struct dest *d;

	while ((d = TAILQ_FIRST(&s->sick)) != NULL &&
	    (s->nsick > SCHED_SICK_MAX || (d->njobs == 0 &&
	    d->failed_ms + 3000 * s->cfg.max_backoff < s->mono_ms))) {
		heal(s, d);
	}
}

/* When the probe is out, those that come meanwhile: in about a backoff, and so
   that all who ask within one are told the same. */
static uint64_t
after_probe_ms(const struct sched *s, const struct dest *d)
{
	uint64_t step = s->cfg.min_backoff > 0 ? s->cfg.min_backoff * 1000 : 1;

	return d->retry_ms +
	    ((s->mono_ms - d->retry_ms + step / 2) / step + 1) * step;
}

/*
 * When those that wait for a dead destination are tried again: the first of
 * them will be the probe, the others come when its outcome is known. Messages
 * are spread; the recipients of one come together, for each time that it comes
 * costs a reading of all of it.
 */
static uint64_t
next_try(const struct sched *s, const struct dest *d, const struct work *w)
{
	const uint64_t place[] = { d->salt, w->entry->qid };
	uint64_t at_ms = d->retry_ms > s->mono_ms ? d->retry_ms :
	    after_probe_ms(s, d);
	int64_t at_us = (int64_t)(at_ms * 1000) + s->skew_us + 999999;
	uint64_t spread = d->backoff / SPREAD_SHARE;

	return (at_us > 0 ? (uint64_t)at_us / 1000000 : 0) +
	    siphash24(s->dest_key, place, sizeof(place)) % (spread + 1);
}

static void
defer(struct sched *s, struct rcpt *rc, const struct dest *d)
{
	struct sched_outcome o = { FATE_DEFERRED, slice_of(d->esc),
		slice_of(d->reply), slice_of(d->relay),
		next_try(s, d, rc->work) };

	uint64_t since_s = (s->mono_ms - d->failed_ms) / 1000;

	/* It may expire if the destination was tried, though it was not; but
	   not by a failure from before it came. */
	rc->epoch = sched_age_s(s, rc->work->arrived_us) > since_s ? d->epoch :
	    s->epoch - 1;
	sched_record(s, rc, &o);
}

/* Frees the job, not its message: that has recipients to be recorded. */
static void
defer_job(struct sched *s, struct job *j)
{
	struct dest *d = j->dest;
	struct work *w = j->work;
	struct rcpt *rc, *next;

	for (rc = TAILQ_FIRST(&j->rcpts); rc != NULL; rc = next) {
		next = TAILQ_NEXT(rc, in_job);
		defer(s, rc, d); /* the last one ends the job */
	}
	sched_work_check(s, w);
}

static void
defer_waiting(struct sched *s, struct dest *d)
{
	struct job *j, *next;

	while ((j = sched_lane_next(d)) != NULL) {
		defer_job(s, j);
	}
	for (j = TAILQ_FIRST(&s->agents[d->agent].alone); j != NULL; j = next) {
		next = TAILQ_NEXT(j, link);
		if (j->dest == d) {
			defer_job(s, j);
		}
	}
}

static void
die(struct sched *s, struct dest *d, const struct sched_result *r)
{
	uint64_t twice = d->backoff * 2;

	d->backoff = !d->dead ? s->cfg.min_backoff :
	    twice < s->cfg.max_backoff ? twice : s->cfg.max_backoff;
	d->dead = true;
	d->retry_ms = s->mono_ms + 1000 *
	    sched_backoff(&s->cfg, d->backoff, sched_random(s));
	d->salt = sched_random(s);
	d->epoch = s->epoch;
	d->flushes = s->flushes;
	forget_reply(d);
	d->esc = xslicedup(r->esc);
	d->reply = xslicedup(r->reply);
	d->relay = xslicedup(r->relay);
	sched_ring_update(s, d);
	defer_waiting(s, d);
	sched_keep_soon(s, KEEP_MS);
}

void
sched_site_restore(struct sched *s, const struct sched_dead *in)
{
	struct dest *d = sched_dest_get(s, in->transport, in->next_hop);
	uint64_t now = s->real_us / 1000000, most = s->cfg.max_backoff, wait;

	if (d->fails > 0) {
		return; /* we know better already */
	}
	wait = in->retry_at > now ? in->retry_at - now : 0;
	d->retry_ms = s->mono_ms + 1000 * (wait < most ? wait : most);
	d->backoff = in->backoff < s->cfg.min_backoff ? s->cfg.min_backoff :
	    in->backoff < most ? in->backoff : most;
	d->dead = true;
	d->fails = SCHED_SITE_FAILURES;
	d->failed_ms = s->mono_ms;
	d->salt = sched_random(s);
	d->epoch = s->epoch - 1; /* we have not tried it yet */
	d->flushes = s->flushes;
	d->esc = xslicedup(in->esc);
	d->reply = xslicedup(in->reply);
	d->relay = xslicedup(in->relay);
	s->nsick++;
	TAILQ_INSERT_TAIL(&s->sick, d, sick_link);
	sched_ring_update(s, d);
}

/* Half the window, unless it was cut since that job began. */
static void
shrink(struct dest *d, const struct job *j)
{
	if (j->round != d->round) {
		return;
	}
	d->round++;
	d->answers = 0;
	d->rise = d->window = d->window > 1 ? d->window / 2 : 1;
}

static void
failed(struct sched *s, struct job *j, const struct sched_result *r)
{
	struct dest *d = j->dest;

	if (d->fails++ == 0) {
		s->nsick++;
	} else {
		TAILQ_REMOVE(&s->sick, d, sick_link);
	}
	TAILQ_INSERT_TAIL(&s->sick, d, sick_link);
	d->failed_ms = s->mono_ms;
	shrink(d, j);
	if (d->dead ? j->probe : d->fails >= SCHED_SITE_FAILURES) {
		die(s, d, r);
	}
}

static void
answered(struct sched *s, struct dest *d)
{
	unsigned limit = (unsigned)sched_limits_of(s, d)->concurrency;

	if (d->fails > 0) {
		heal(s, d); /* the job is there still: it is not freed */
	}
	if (d->window >= limit) {
		d->window = limit;
	} else if (d->window < d->rise || ++d->answers >= d->window) {
		d->answers = 0;
		d->window++;
	}
	sched_ring_update(s, d);
}

void
sched_site_result(struct sched *s, const struct rcpt *rc,
    const struct sched_result *r)
{
	struct job *j = rc->job;

	/* One DELIVER is one experience, whatever the number of recipients. A
	   failure for good (no such domain) says nothing about the next. */
	if (j == NULL || rc->state != RCPT_RUNNING || j->judged ||
	    j->dest->agent != SCHED_REMOTE ||
	    (r->site && r->fate != FATE_DEFERRED)) {
		return;
	}
	j->judged = true;
	if (r->site) {
		failed(s, j, r);
	} else {
		answered(s, j->dest);
	}
}

uint64_t
sched_site_next_try(const struct sched *s, const struct rcpt *rc)
{
	const struct dest *d = rc->job != NULL ? rc->job->dest : NULL;

	return d != NULL && d->dead ? next_try(s, d, rc->work) : 0;
}

/* How many jobs may wait for the outcome of a probe, with one for `rc'. */
static uint64_t
probe_wait(const struct sched *s, const struct rcpt *rc)
{
	uint64_t half = s->cfg.active_limit / 2;

	return rc->work->force && half > PROBE_WAIT ? half : PROBE_WAIT;
}

bool
sched_site_defers(struct sched *s, struct rcpt *rc, struct slice transport,
    struct slice next_hop)
{
	struct dest *d = sched_dest_find(s, transport, next_hop);

	if (d == NULL || !d->dead) {
		return false;
	}
	if (rc->work->force && d->flushes != s->flushes) {
		d->flushes = s->flushes; /* not tried since that flush */
		d->retry_ms = s->mono_ms;
	}
	if (s->mono_ms >= d->retry_ms && d->njobs < probe_wait(s, rc)) {
		return false;
	}
	defer(s, rc, d);
	return true;
}
