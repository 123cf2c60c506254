#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "tests/unit/sched_world_int.h"
#include "tests/unit/unit.h"

#define START_US 1700000000000000

static const struct sched_config plain = {
	.min_backoff = 300, .max_backoff = 4000, .lifetime = 432000,
	.active_limit = 40, .bounce_lifetime = 432000,
	.limits = { { 3, 3, 50, 0 }, { 2, 5, 3, 0 }, { 2, 5, 3, 0 } },
};

uint64_t
world_random(struct world *w, uint64_t below)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % below;
}

static void
begin_life(struct world *w)
{
	w->life++;
	w->s = sched_new(&w->cfg, w->life);
	sched_time(w->s, w->mono_ms, w->real_us);
	sched_cleanup_up(w->s);
	assert_int_equal(sched_loaded(w->s, false, slice_make(w->kept,
	    w->nkept)), 0);
}

void
world_init(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->random = seed;
	w->cfg = plain;
	w->mono_ms = 5000000;
	w->real_us = START_US;
	w->transport = "smtp";
	begin_life(w);
	world_agent_starts(w, SCHED_LOCAL);
	world_agent_starts(w, SCHED_REMOTE);
}

static void
free_reqs(struct world_req **list)
{
	struct world_req *r;

	while ((r = *list) != NULL) {
		*list = r->next;
		free(r->page);
		free(r);
	}
}

void
world_clear(struct world *w)
{
	struct world_job *j;

	sched_free(w->s);
	free_reqs(&w->reqs);
	free_reqs(&w->answers);
	while ((j = w->jobs) != NULL) {
		w->jobs = j->next;
		free(j);
	}
}

struct world_msg *
world_find(struct world *w, uint64_t qid)
{
	unsigned i;

	for (i = 0; i < w->nmsgs; i++) {
		if (w->msgs[i].qid == qid) {
			return &w->msgs[i];
		}
	}
	fail_msg("an unknown queue id");
	return NULL;
}

struct world_msg *
world_arrive(struct world *w, unsigned n, const unsigned *users)
{
	struct world_msg *m;
	unsigned i;

	if (w->nmsgs == WORLD_MSGS) {
		return NULL;
	}
	m = &w->msgs[w->nmsgs++];
	m->arrived_us = w->real_us;
	m->qid = w->real_us > w->last_qid ? w->real_us : w->last_qid + 1;
	w->last_qid = m->qid;
	m->nrcpts = n;
	for (i = 0; i < n; i++) {
		m->rcpts[i].user = users[i];
	}
	return m;
}

void
world_advance(struct world *w, uint64_t ms)
{
	w->mono_ms += ms;
	w->real_us += ms * 1000;
	sched_time(w->s, w->mono_ms, w->real_us);
}

/* -- deaths ------------------------------------------------------------------- */

static void
forget_channel(struct world *w)
{
	unsigned i;

	free_reqs(&w->reqs);
	free_reqs(&w->answers);
	for (i = 0; i < w->nmsgs; i++) {
		w->msgs[i].handed = false;
	}
}

void
world_cleanup_dies(struct world *w)
{
	forget_channel(w);
	sched_cleanup_down(w->s);
	sched_cleanup_up(w->s);
}

void
world_qmgr_dies(struct world *w)
{
	int a;

	for (a = 0; a < WORLD_USERS; a++) {
		w->sites[a].fails = 0; /* that is not kept */
	}
	forget_channel(w);
	sched_free(w->s);
	begin_life(w);
	for (a = 0; a < SCHED_AGENTS; a++) {
		if (w->agent_up[a]) {
			world_agent_starts(w, (enum sched_agent)a);
		}
	}
}

/* -- running it -------------------------------------------------------------- */

void
world_pump(struct world *w)
{
	struct sched_action a;
	unsigned n = 0;

	while (sched_next(w->s, &a)) {
		assert_true(n++ < 100000);
		if (a.kind == SCHED_DELIVER) {
			world_given(w, &a);
		} else if (a.kind == SCHED_ACK) {
			world_acked(w, &a);
		} else if (a.kind == SCHED_KEEP) {
			assert_true(a.text.n <= sizeof(w->kept));
			memcpy(w->kept, a.text.p, a.text.n);
			w->nkept = a.text.n;
			sched_kept(w->s, false);
		} else {
			world_send_request(w, &a);
		}
	}
}

void
world_settle(struct world *w)
{
	unsigned dice;

	for (;;) {
		world_pump(w);
		if (world_cleanup_step(w)) {
			continue;
		}
		if (world_running(w) == 0) {
			return;
		}
		dice = (unsigned)world_random(w, 100);
		world_finish(w, (unsigned)world_random(w, world_running(w)),
		    dice < w->bad ? FATE_FAILED :
		    dice < w->bad + w->soft ? FATE_DEFERRED : FATE_DELIVERED);
	}
}

unsigned
world_queued(const struct world *w)
{
	unsigned i, n = 0;

	for (i = 0; i < w->nmsgs; i++) {
		n += !w->msgs[i].gone && !w->msgs[i].hold;
	}
	return n;
}

bool
world_drain(struct world *w)
{
	uint64_t wake;
	int rounds;

	for (rounds = 0; rounds < 20000; rounds++) {
		world_settle(w);
		if (world_queued(w) == 0 && w->answers == NULL) {
			return true;
		}
		wake = sched_wake_ms(w->s);
		if (wake == UINT64_MAX) {
			return false; /* it waits for nothing: forgotten */
		}
		world_advance(w, wake > w->mono_ms ? wake - w->mono_ms : 1);
	}
	return false;
}
