#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "qmgr/sched_int.h"

#define URGENT_TURNS 5

/* DELIVERs out to an agent. */
static const unsigned agent_max[SCHED_AGENTS] = {
	[SCHED_LOCAL] = SCHED_LOCAL_MAX,
	[SCHED_REMOTE] = SCHED_REMOTE_MAX,
};

void
sched_fill_item(struct sched_item *it, const struct rcpt *rc)
{
	const struct dest *d = rc->job != NULL ? rc->job->dest : NULL;

	memset(it, 0, sizeof(*it));
	it->rcpt.index = rc->index;
	it->rcpt.attempt = rc->attempt;
	it->rcpt.address = rc->address;
	it->rcpt.original = rc->original;
	it->rcpt.extension = rc->extension;
	it->rcpt.transport = d != NULL ? slice_of(d->transport) : SL("");
	it->rcpt.next_hop = d != NULL ? slice_of(d->next_hop) : SL("");
	it->rcpt.esc = it->rcpt.reply = SL("");
}

/*
 * The next job: those that go alone and the others have their turns; a turn of
 * the former begins by waiting until nothing else is out.
 */
static struct job *
choose(struct sched *s, struct agent *g)
{
	struct dest *d;
	enum ring r;

	if (!TAILQ_EMPTY(&g->alone)) {
		if (s->mono_ms >= g->common_ms) {
			g->alone_ms = s->mono_ms + ALONE_MS;
			g->common_ms = g->alone_ms + ALONE_MS;
		}
		if (s->mono_ms < g->alone_ms) {
			return g->inflight == 0 ? TAILQ_FIRST(&g->alone) : NULL;
		}
	}
	/* Of URGENT_TURNS turns, the others have one. */
	r = !TAILQ_EMPTY(&g->rings[RING_URGENT]) &&
	    (TAILQ_EMPTY(&g->rings[RING_NORMAL]) ||
	    ++g->turn % URGENT_TURNS != 0) ? RING_URGENT : RING_NORMAL;
	d = TAILQ_FIRST(&g->rings[r]);
	if (d == NULL) {
		return NULL;
	}
	TAILQ_REMOVE(&g->rings[r], d, ring);
	TAILQ_INSERT_TAIL(&g->rings[r], d, ring);
	return sched_lane_next(d);
}

static void
fill_deliver(struct sched *s, struct sched_action *a, struct job *j)
{
	const struct work *w = j->work;
	const struct rcpt *rc;

	a->kind = SCHED_DELIVER;
	a->agent = j->dest->agent;
	a->qid = w->entry->qid;
	a->msg = (struct sched_message){ w->entry->qid, w->arrived_us, w->size,
		w->flags, w->reverse_path };
	a->items = s->items;
	TAILQ_FOREACH(rc, &j->rcpts, in_job) {
		sched_fill_item(&s->items[a->nitems++], rc);
	}
}

static bool
may_deliver(const struct sched *s, const struct agent *g)
{
	return g->up && !g->paused && s->mono_ms >= g->ready_ms &&
	    g->inflight < agent_max[g - s->agents] && !g->alone_running;
}

bool
sched_build_deliver(struct sched *s, struct sched_action *a)
{
	struct job *j;
	int i;

	for (i = 0; i < SCHED_AGENTS; i++) {
		if (!may_deliver(s, &s->agents[i])) {
			continue;
		}
		j = choose(s, &s->agents[i]);
		if (j != NULL) {
			sched_job_start(s, j);
			fill_deliver(s, a, j);
			return true;
		}
	}
	return false;
}

uint64_t
sched_agents_wake(const struct sched *s)
{
	const struct agent *g;
	uint64_t at = UINT64_MAX, mine;
	int i;

	for (i = 0; i < SCHED_AGENTS; i++) {
		g = &s->agents[i];
		if (!g->up || g->paused || g->alone_running ||
		    g->inflight >= agent_max[i] ||
		    (TAILQ_EMPTY(&g->alone) &&
		    TAILQ_EMPTY(&g->rings[RING_URGENT]) &&
		    TAILQ_EMPTY(&g->rings[RING_NORMAL]))) {
			continue; /* an event will wake us, not the time */
		}
		mine = s->mono_ms < g->ready_ms ? g->ready_ms :
		    TAILQ_EMPTY(&g->alone) ? UINT64_MAX :
		    s->mono_ms < g->alone_ms ? g->alone_ms : g->common_ms;
		at = mine < at ? mine : at;
	}
	return at;
}

void
sched_agent_up(struct sched *s, enum sched_agent a)
{
	s->agents[a].up = true;
}

void
sched_agent_pause(struct sched *s, enum sched_agent a, bool pause)
{
	s->agents[a].paused = pause;
}

static void
suspect(struct sched *s, struct work *w)
{
	if (w->entry->crashes < SCHED_CRASH_HOLD) {
		w->entry->crashes++;
	}
	if (!w->gone) {
		sched_mark_add(s, w->entry->qid, IPC_MARK_CRASHED, "", 0);
	}
	if (w->entry->crashes >= SCHED_CRASH_ALONE) {
		sched_withdraw(s, w); /* its other jobs are to go alone, too */
	}
}

/*
 * The agent had these in its hands. They are read again in a second; their
 * attempt does not count.
 */
static void
take_back(struct sched *s, struct work *w, enum sched_agent a, bool itself)
{
	struct rcpt *rc, *next;
	bool had = false;

	for (rc = TAILQ_FIRST(&w->rcpts); rc != NULL; rc = next) {
		next = TAILQ_NEXT(rc, link);
		if (rc->state == RCPT_RECORD) {
			rc->ack = rc->ack && rc->agent != a;
		} else if (rc->state == RCPT_RUNNING && rc->agent == a) {
			had = true;
			sched_rcpt_free(s, rc);
			sched_waits(w, s->real_us / 1000000 + 1, true);
		}
	}
	if (!had) {
		return;
	}
	w->crashed = true;
	w->entry->force = w->entry->force || w->force;
	if (itself) {
		suspect(s, w);
	}
}

void
sched_agent_lost(struct sched *s, enum sched_agent a)
{
	s->agents[a].up = s->agents[a].paused = false;
}

void
sched_agent_down(struct sched *s, enum sched_agent a, bool itself)
{
	struct agent *g = &s->agents[a];
	struct work *w, *next;
	struct ack *k, *next_ack;

	sched_agent_lost(s, a);
	g->ready_ms = s->mono_ms + SCHED_PAUSE_MS;
	sched_claims_drop_running(s, a);
	for (k = TAILQ_FIRST(&s->acks); k != NULL; k = next_ack) {
		next_ack = TAILQ_NEXT(k, link);
		if (k->agent == a) {
			TAILQ_REMOVE(&s->acks, k, link);
			free(k);
		}
	}
	for (w = TAILQ_FIRST(&s->works); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		take_back(s, w, a, itself);
		sched_work_check(s, w);
	}
}

void
sched_returned(struct sched *s, enum sched_agent a, uint64_t qid,
    uint32_t index, uint32_t attempt)
{
	struct entry *e = sched_find(s, qid);
	struct work *w = e != NULL ? e->work : NULL;
	struct rcpt *rc = w != NULL ? sched_rcpt_find(w, index) : NULL;
	struct claim *c;

	if (rc == NULL) {
		c = sched_claim_take(s, qid, index);
		if (c != NULL) {
			sched_claim_free(c);
		}
	} else if (rc->state == RCPT_RUNNING && rc->agent == a &&
	    rc->attempt == attempt) {
		sched_waits(w, s->real_us / 1000000, rc->warned);
		sched_rcpt_free(s, rc);
		sched_work_check(s, w);
	}
}
