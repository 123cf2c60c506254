#include "config.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

#define FIRST_BUCKETS 1024
#define STEP_US       5000000 /* a clock that is off by more was set */

static void
fill_key(struct sched *s, unsigned char key[SIPHASH_KEY])
{
	size_t i;

	for (i = 0; i < SIPHASH_KEY; i++) {
		key[i] = (unsigned char)sched_random(s);
	}
}

struct sched *
sched_new(const struct sched_config *cfg, uint64_t seed)
{
	struct sched *s = xcalloc(1, sizeof(*s));
	int a;

	s->cfg = *cfg;
	s->random = seed;
	fill_key(s, s->dest_key);
	sched_entries_init(s);
	s->ndest_buckets = s->nlane_buckets = FIRST_BUCKETS;
	s->lanes = xcalloc(s->nlane_buckets, sizeof(*s->lanes));
	TAILQ_INIT(&s->ready);
	s->dests = xcalloc(s->ndest_buckets, sizeof(*s->dests));
	heap_init(&s->rests, sched_rests_before,
	    offsetof(struct dest, rest_place));
	TAILQ_INIT(&s->works);
	TAILQ_INIT(&s->pages);
	TAILQ_INIT(&s->fates);
	TAILQ_INIT(&s->slow);
	TAILQ_INIT(&s->notices);
	TAILQ_INIT(&s->sick);
	TAILQ_INIT(&s->marks);
	TAILQ_INIT(&s->marks_slow);
	TAILQ_INIT(&s->marks_wait);
	TAILQ_INIT(&s->marks_out);
	TAILQ_INIT(&s->acks);
	TAILQ_INIT(&s->domains);
	strbuf_init(&s->keep_text, 0);
	for (a = 0; a < SCHED_AGENTS; a++) {
		TAILQ_INIT(&s->agents[a].alone);
		TAILQ_INIT(&s->agents[a].rings[RING_URGENT]);
		TAILQ_INIT(&s->agents[a].rings[RING_NORMAL]);
	}
	return s;
}

static void
free_marks(struct marks *list)
{
	struct mark *m;

	while ((m = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, m, link);
		sched_mark_free(m);
	}
}

void
sched_free(struct sched *s)
{
	struct work *w;
	struct ack *k;

	if (s == NULL) {
		return;
	}
	while ((w = TAILQ_FIRST(&s->works)) != NULL) {
		sched_work_free(s, w);
	}
	free_marks(&s->marks);
	free_marks(&s->marks_slow);
	free_marks(&s->marks_wait);
	free_marks(&s->marks_out);
	while ((k = TAILQ_FIRST(&s->acks)) != NULL) {
		TAILQ_REMOVE(&s->acks, k, link);
		free(k);
	}
	sched_lanes_free(s);
	sched_sites_free(s);
	sched_dests_free(s);
	sched_claims_free(s);
	sched_domains_free(s);
	strbuf_clear(&s->keep_text);
	sched_entries_clear(s);
	heap_clear(&s->rests);
	sched_mark_free(s->last_mark);
	free(s->last_ack);
	free(s->dests);
	free(s->lanes);
	free(s);
}

void
sched_configure(struct sched *s, const struct sched_config *cfg)
{
	s->cfg = *cfg;
	sched_dests_update(s);
}

void
sched_stop(struct sched *s)
{
	s->stopping = true;
}

bool
sched_is_quiet(const struct sched *s)
{
	const struct work *w;

	if ((s->cleanup_up && sched_keep_is_due(s)) || s->nrunning > 0 || !TAILQ_EMPTY(&s->marks) ||
	    !TAILQ_EMPTY(&s->marks_out) || !TAILQ_EMPTY(&s->acks)) {
		return false;
	}
	TAILQ_FOREACH(w, &s->works, link) {
		if (w->record > 0 || w->fates_out) {
			return false;
		}
	}
	return true;
}

/* -- time ------------------------------------------------------------------ */

void
sched_time(struct sched *s, uint64_t mono_ms, uint64_t real_us)
{
	int64_t skew = (int64_t)(real_us - mono_ms * 1000);
	int64_t off = skew - s->skew_us;

	if (s->timed && (off > STEP_US || off < -STEP_US)) {
		s->epoch++;
	}
	/* Slewing is followed: only a jump between two calls is a step. */
	s->timed = true;
	s->skew_us = skew;
	s->mono_ms = mono_ms;
	s->real_us = real_us;
}

uint64_t
sched_now_s(const struct sched *s)
{
	return (s->real_us + 999999) / 1000000;
}

uint64_t
sched_real_s(const struct sched *s)
{
	return s->real_us / 1000000;
}

uint64_t
sched_age_s(const struct sched *s, uint64_t arrived_us)
{
	return s->real_us > arrived_us ? (s->real_us - arrived_us) / 1000000 :
	    0;
}

uint64_t
sched_due_ms(const struct sched *s, uint64_t next_at)
{
	/* a tenth off the backoff, and a tenth for the spread after it */
	uint64_t most_ms = s->cfg.max_backoff * 1200 + 2000, wait_ms;

	if (sched_is_due(s, next_at)) {
		return s->mono_ms;
	}
	wait_ms = next_at > UINT64_MAX / 2000000 ? most_ms :
	    (next_at * 1000000 - s->real_us + 999) / 1000;
	return s->mono_ms + (wait_ms < most_ms ? wait_ms : most_ms);
}

bool
sched_is_due(const struct sched *s, uint64_t next_at)
{
	uint64_t now = s->real_us / 1000000;

	/* No backoff is that long: it was written with another clock. */
	return next_at <= now || next_at - now > 2 * s->cfg.max_backoff + 60;
}

/* splitmix64 (Vigna) */
uint64_t
sched_random(struct sched *s)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t
sched_backoff(const struct sched_config *cfg, uint64_t age, uint64_t random)
{
	uint64_t base = age < cfg->min_backoff ? cfg->min_backoff :
	    age > cfg->max_backoff ? cfg->max_backoff : age;
	uint64_t span = base / 10, next;

	next = base - span + random % (2 * span + 1);
	return next < cfg->min_backoff ? cfg->min_backoff : next;
}

/* -- active messages ------------------------------------------------------- */

struct work *
sched_work_new(struct sched *s, struct entry *e)
{
	struct work *w = xcalloc(1, sizeof(*w));

	assert(e->work == NULL);
	sched_not_later(s, e);
	e->work = w;
	w->entry = e;
	w->reverse_path = xstrdup("");
	w->next_at = NO_DUE;
	w->force = e->force;
	e->held = false;
	e->force = false;
	TAILQ_INIT(&w->rcpts);
	TAILQ_INSERT_TAIL(&s->works, w, link);
	s->nactive++;
	return w;
}

void
sched_work_free(struct sched *s, struct work *w)
{
	struct rcpt *rc;

	while ((rc = TAILQ_FIRST(&w->rcpts)) != NULL) {
		sched_rcpt_free(s, rc);
	}
	if (w->page == PAGE_WANTED) {
		TAILQ_REMOVE(&s->pages, w, page_link);
	} else if (w->page == PAGE_ASKED) {
		s->gets_out--;
	}
	if (w->slow) {
		TAILQ_REMOVE(&s->slow, w, fates_link);
	} else if (w->fates_queued) {
		TAILQ_REMOVE(&s->fates, w, fates_link);
	}
	sched_notice_drop(s, w);
	sched_came_in(s, w);
	TAILQ_REMOVE(&s->works, w, link);
	s->nactive--;
	w->entry->work = NULL;
	sched_marks_ready(s, w->entry->qid);
	free(w->reverse_path);
	free(w->stuck_reason);
	free(w->parked_reason);
	free(w);
}

void
sched_ack(struct sched *s, enum sched_agent a, uint64_t qid, uint32_t index,
    uint32_t attempt)
{
	struct ack *k = xcalloc(1, sizeof(*k));

	k->agent = a;
	k->qid = qid;
	k->index = index;
	k->attempt = attempt;
	TAILQ_INSERT_TAIL(&s->acks, k, link);
}

/* -- what is to be done ---------------------------------------------------- */

static bool
build_ack(struct sched *s, struct sched_action *a)
{
	struct ack *k = TAILQ_FIRST(&s->acks);

	if (k == NULL) {
		return false;
	}
	TAILQ_REMOVE(&s->acks, k, link);
	free(s->last_ack);
	s->last_ack = k;
	a->kind = SCHED_ACK;
	a->agent = k->agent;
	a->qid = k->qid;
	a->index = k->index;
	a->attempt = k->attempt;
	return true;
}

static bool
has_room(const struct sched *s)
{
	return s->gets_out < SCHED_GETS_MAX && s->nrcpts < SCHED_RCPTS_MAX;
}

static void
fill_get(struct sched *s, struct sched_action *a, struct work *w)
{
	w->page = PAGE_ASKED;
	s->gets_out++;
	a->kind = SCHED_GET;
	a->qid = w->entry->qid;
	a->from = w->from;
	a->route = w->route;
}

/* The next page of an active message, or the first of one that is due. */
static bool
build_get(struct sched *s, struct sched_action *a)
{
	struct work *w = TAILQ_FIRST(&s->pages);
	struct entry *e = heap_top(&s->later);

	if (!has_room(s)) {
		return false;
	}
	if (w != NULL) {
		TAILQ_REMOVE(&s->pages, w, page_link);
		fill_get(s, a, w);
		return true;
	}
	if (s->nactive >= s->cfg.active_limit) {
		return false;
	}
	w = sched_come_in(s);
	if (w == NULL && (e == NULL || e->due_ms > s->mono_ms)) {
		return false;
	}
	if (w == NULL) {
		w = sched_work_new(s, e);
		w->route = true;
	}
	fill_get(s, a, w);
	return true;
}

bool
sched_next(struct sched *s, struct sched_action *a)
{
	memset(a, 0, sizeof(*a));
	if (build_ack(s, a)) {
		return true;
	}
	if (!s->cleanup_up) {
		return false; /* agents could neither fetch nor be believed */
	}
	if (sched_build_mark(s, a) || sched_build_fates(s, a)) {
		return true;
	}
	if (sched_build_load(s, a) || sched_build_keep(s, a)) {
		return true;
	}
	if (s->stopping || !s->loaded) {
		return false; /* what is on hold, we do not know yet */
	}
	if (!s->take_out) {
		s->take_out = true;
		a->kind = SCHED_TAKE;
		a->max = SCHED_TAKE_MAX;
		return true;
	}
	sched_sites_reap(s);
	sched_dests_wake(s);
	return sched_build_notice(s, a) || build_get(s, a) ||
	    sched_build_deliver(s, a);
}

static void
sooner(uint64_t *at, uint64_t ms)
{
	if (ms < *at) {
		*at = ms;
	}
}

uint64_t
sched_wake_ms(const struct sched *s)
{
	const struct entry *e = heap_top(&s->later);
	const struct work *w = TAILQ_FIRST(&s->slow);
	const struct mark *m = TAILQ_FIRST(&s->marks_slow);
	const struct dest *d = heap_top(&s->rests);
	uint64_t at = UINT64_MAX;

	if (!s->cleanup_up) {
		return at;
	}
	if (w != NULL) {
		sooner(&at, w->slow_ms);
	}
	if (m != NULL) {
		sooner(&at, m->retry_ms);
	}
	sooner(&at, sched_keep_wake(s));
	if (s->stopping || !s->loaded) {
		return at;
	}
	/* Without room it is not the time that is awaited. */
	if (e != NULL && has_room(s) && s->nactive < s->cfg.active_limit) {
		sooner(&at, e->due_ms);
	}
	if (d != NULL) {
		sooner(&at, d->rest_ms);
	}
	sooner(&at, sched_agents_wake(s));
	return at;
}
