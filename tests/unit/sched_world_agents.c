/* The model's delivery agents: what they are given, and what becomes of it. */
#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "tests/unit/sched_world_int.h"
#include "tests/unit/unit.h"

static enum sched_agent
agent_of(unsigned user)
{
	return user < WORLD_LOCAL ? SCHED_LOCAL : SCHED_REMOTE;
}

static struct world_job *
find_job(struct world *w, uint64_t qid, uint32_t index)
{
	struct world_job *j = w->jobs;

	while (j != NULL && (j->qid != qid || j->index != index)) {
		j = j->next;
	}
	return j;
}

/* Batches of this life that are not finished, to one destination. */
static unsigned
batches(const struct world *w, unsigned user)
{
	const struct world_job *j, *k;
	unsigned n = 0;

	for (j = w->jobs; j != NULL; j = j->next) {
		if (j->done || j->user != user || j->life != w->life) {
			continue;
		}
		for (k = w->jobs; k != j; k = k->next) {
			if (!k->done && k->batch == j->batch) {
				break;
			}
		}
		n += k == j;
	}
	return n;
}

bool
world_is_dead(const struct world *w, unsigned user)
{
	const struct world_site *si = &w->sites[user];

	/* In the end it is forgotten. */
	return si->fails >= SCHED_SITE_FAILURES &&
	    w->mono_ms < si->failed_ms + 2000 * w->cfg.max_backoff;
}

/* A DELIVER to a site: not to a dead one before its time, and one at a time. */
static void
check_site(const struct world *w, unsigned user)
{
	const struct world_site *si = &w->sites[user];
	const struct world_job *j;

	if (!world_is_dead(w, user)) {
		return;
	}
	assert_true(si->hurried != w->hurried ||
	    w->mono_ms >= si->died_ms + w->cfg.min_backoff * 1000);
	for (j = w->jobs; j != NULL; j = j->next) {
		assert_true(j->done || j->user != user || j->life != w->life ||
		    j->batch <= si->died_batch);
	}
}

/* The first result of a DELIVER tells how the site is. */
static void
judge(struct world *w, const struct world_job *j)
{
	struct world_site *si = &w->sites[j->user];
	struct world_job *k;

	if (j->life != w->life) {
		/* Perhaps counted, perhaps not: a failure may only make it
		   dead sooner. */
		si->fails = j->site ? si->fails : 0;
		return;
	}
	if (j->judged) {
		return;
	}
	for (k = w->jobs; k != NULL; k = k->next) {
		k->judged = k->judged || k->batch == j->batch;
	}
	if (!j->site || w->mono_ms >= si->failed_ms +
	    2000 * w->cfg.max_backoff) { /* forgotten, perhaps */
		si->fails = 0;
	}
	if (j->site) {
		si->failed_ms = w->mono_ms;
		si->fails++;
	}
	if (si->fails >= SCHED_SITE_FAILURES) {
		if (si->fails == SCHED_SITE_FAILURES ||
		    j->batch > si->died_batch) {
			si->died_ms = w->mono_ms;
			si->died_batch = w->batch;
			si->hurried = w->hurried;
		}
	}
}

static const struct sched_limits *
limits_of(const struct world *w, enum sched_agent a)
{
	return &w->cfg.limits[a == SCHED_LOCAL ? SCHED_T_LOCAL : SCHED_T_SMTP];
}

void
world_given(struct world *w, const struct sched_action *a)
{
	uint64_t limit = limits_of(w, a->agent)->concurrency;
	struct world_msg *m = world_find(w, a->qid);
	struct world_rcpt *rc;
	struct world_job *j;
	unsigned user = 0;
	size_t i;

	w->delivers++;
	w->batch++;
	assert_true(w->agent_up[a->agent]);
	assert_false(m->gone);
	assert_false(m->hold);
	assert_true(a->nitems > 0 && a->nitems <=
	    limits_of(w, a->agent)->rcpts);
	assert_true(a->msg.arrived_us == m->arrived_us);
	for (i = 0; i < a->nitems; i++) {
		assert_true(a->items[i].rcpt.index < m->nrcpts);
		rc = &m->rcpts[a->items[i].rcpt.index];
		if (i == 0) {
			user = rc->user;
			assert_int_equal(a->agent, agent_of(user));
			assert_true(batches(w, user) < limit);
			check_site(w, user);
		}
		assert_int_equal(rc->user, user); /* one destination */
		assert_false(world_is_held(w, user));
		assert_null(find_job(w, a->qid, a->items[i].rcpt.index));
		assert_true(rc->delivered <= rc->lost);
		assert_int_equal(a->items[i].rcpt.attempt, rc->attempt);
		assert_true(m->forced || rc->next_at <= w->real_us / 1000000);
		assert_true(m->forced || rc->esc[0] != '5');
		assert_true(rc->fate != FATE_FAILED);
		j = xcalloc(1, sizeof(*j));
		*j = (struct world_job){ w->jobs, a->qid,
			a->items[i].rcpt.index, rc->attempt, w->life, w->batch,
			user, false, FATE_NONE, false,
			false };
		w->jobs = j;
	}
}

static void
send_result(struct world *w, const struct world_job *j)
{
	struct sched_result r = { j->qid, j->index, j->attempt, j->fate,
		j->fate == FATE_DELIVERED ? SL("2.0.0") :
		j->fate == FATE_FAILED ? SL("5.1.1") : SL("4.2.2"),
		SL("said the agent"), SL("local"), j->site };

	if (j->fate == FATE_DEFERRED && w->reply != NULL) {
		r.esc = slice_of(w->esc);
		r.reply = slice_of(w->reply);
	}

	assert_true(sched_result(w->s, agent_of(j->user), &r));
}

unsigned
world_running(const struct world *w)
{
	const struct world_job *j;
	unsigned n = 0;

	for (j = w->jobs; j != NULL; j = j->next) {
		n += !j->done;
	}
	return n;
}

void
world_finish(struct world *w, unsigned n, enum fate fate)
{
	struct world_job *j = w->jobs;

	while (j->done || n-- > 0) {
		j = j->next;
	}
	j->done = true;
	j->site = w->sites[j->user].down;
	j->fate = fate = j->site ? FATE_DEFERRED : fate;
	judge(w, j);
	if (fate == FATE_DELIVERED) {
		world_find(w, j->qid)->rcpts[j->index].delivered++;
	}
	send_result(w, j);
}

bool
world_has(const struct world *w, const struct world_msg *m)
{
	const struct world_job *j = w->jobs;

	while (j != NULL && (j->qid != m->qid || j->done)) {
		j = j->next;
	}
	return j != NULL;
}

void
world_acked(struct world *w, const struct sched_action *a)
{
	struct world_job **at = &w->jobs, *j;
	struct world_msg *m = world_find(w, a->qid);

	while ((j = *at) != NULL && (j->qid != a->qid || j->index != a->index ||
	    j->attempt != a->attempt)) {
		at = &j->next;
	}
	if (j == NULL) {
		return; /* acknowledged twice: harmless */
	}
	assert_true(j->done);
	/* The result is recorded, or nobody will ever ask for it. */
	assert_true(m->gone || m->rcpts[a->index].attempt > a->attempt);
	*at = j->next;
	free(j);
}

void
world_agent_dies(struct world *w, enum sched_agent a, bool itself)
{
	struct world_job **at = &w->jobs, *j;
	struct world_msg *m;

	while ((j = *at) != NULL) {
		if (agent_of(j->user) != a) {
			at = &j->next;
			continue;
		}
		*at = j->next;
		m = world_find(w, j->qid);
		/* Delivered, perhaps not recorded: it may come twice. */
		m->rcpts[j->index].lost += j->done && j->fate == FATE_DELIVERED;
		free(j);
	}
	w->agent_up[a] = false;
	sched_agent_down(w->s, a, itself);
}

void
world_agent_starts(struct world *w, enum sched_agent a)
{
	struct world_job *j;

	w->agent_up[a] = true;
	for (j = w->jobs; j != NULL; j = j->next) {
		if (agent_of(j->user) == a) {
			sched_agent_running(w->s, a, j->qid, j->index,
			    j->attempt);
		}
	}
	sched_agent_up(w->s, a);
	for (j = w->jobs; j != NULL; j = j->next) {
		if (agent_of(j->user) == a && j->done) {
			send_result(w, j);
		}
	}
}
