#include "config.h"

#include <stdlib.h>

#include "qmgr/heap.h"
#include "tests/unit/sched_world.h"
#include "tests/unit/unit.h"

static const unsigned all_users[] = { 0, 1, 2, 3, 4, 0 };

/* -- the heap ---------------------------------------------------------------- */

struct thing {
	int key;
	uint32_t place;
};

static bool
thing_before(const void *a, const void *b)
{
	const struct thing *x = a, *y = b;

	return x->key < y->key;
}

static void
test_heap(void **state)
{
	struct thing things[200], *t;
	struct world w;
	struct heap h;
	int last = -1;
	size_t i;

	(void)state;
	w.random = 1;
	heap_init(&h, thing_before, offsetof(struct thing, place));
	assert_null(heap_top(&h));
	for (i = 0; i < NELEMS(things); i++) {
		things[i].key = (int)world_random(&w, 50);
		things[i].place = HEAP_OUT;
		heap_push(&h, &things[i]);
	}
	for (i = 0; i < NELEMS(things); i += 3) { /* from the middle, too */
		heap_remove(&h, &things[i]);
		assert_int_equal(things[i].place, HEAP_OUT);
	}
	while ((t = heap_top(&h)) != NULL) {
		assert_true(t->key >= last);
		last = t->key;
		heap_remove(&h, t);
	}
	heap_clear(&h);
}

/* -- single stories ----------------------------------------------------------- */

static void
test_backoff(void **state)
{
	static const struct {
		uint64_t age, least, most;
	} rows[] = {
		{ 0, 300, 330 }, /* never below the least */
		{ 300, 300, 330 },
		{ 1000, 900, 1100 }, /* as old as the message */
		{ 4000, 3600, 4400 },
		{ 400000, 3600, 4400 }, /* nor far above the most */
	};
	struct sched_config cfg = { .min_backoff = 300, .max_backoff = 4000 };
	uint64_t next, seen_least, seen_most, r;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		seen_least = UINT64_MAX;
		seen_most = 0;
		for (r = 0; r < 5000; r++) {
			next = sched_backoff(&cfg, rows[i].age, r);
			seen_least = next < seen_least ? next : seen_least;
			seen_most = next > seen_most ? next : seen_most;
		}
		assert_int_equal(seen_least, rows[i].least);
		assert_int_equal(seen_most, rows[i].most);
	}
}

/* One message, three recipients: one batch a destination, all gone. */
static void
test_delivers(void **state)
{
	const unsigned users[] = { 0, 1, 0 };
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 1);
	m = world_arrive(&w, 3, users);
	assert_true(world_drain(&w));
	assert_true(m->gone);
	assert_int_equal(w.delivers, 2);
	assert_int_equal(m->rcpts[0].delivered, 1);
	assert_int_equal(m->rcpts[2].delivered, 1);
	assert_true(w.mono_ms < 5000000 + 5000); /* errors of cleanup aside */
	world_clear(&w);
}

/* A deferred one comes back, not before its time, again and again, until it is
   too old: its sender is told. */
static void
test_defers_then_expires(void **state)
{
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 2);
	w.soft = 100;
	m = world_arrive(&w, 1, all_users);
	assert_true(world_drain(&w));
	assert_true(m->gone);
	assert_int_equal(m->bounces, 1);
	assert_int_equal(m->warnings, 0);
	assert_string_equal(m->rcpts[0].reply,
	    "expired after 5d: said the agent");
	assert_string_equal(m->rcpts[0].esc, "5.4.7");
	assert_true(w.real_us - m->arrived_us > 432000000000);
	assert_true(w.real_us - m->arrived_us < 441000000000);
	/* 300 600 1200 2400 4000 4000 ... over five days */
	assert_in_range(m->attempts, 100, 135);
	world_clear(&w);
}

/* One fails for good, and there is nobody to tell: the others are delivered,
   then the message is held with the reason; released, the failed one is tried
   again at once. */
static void
test_failed_is_held(void **state)
{
	struct world w;
	struct world_msg *m;
	int i;

	(void)state;
	world_init(&w, 3);
	m = world_arrive(&w, 3, all_users);
	m->null_path = true;
	while (world_running(&w) < 3) {
		world_pump(&w);
		assert_true(world_cleanup_step(&w) || world_running(&w) == 3);
	}
	world_finish(&w, 0, FATE_FAILED);
	world_finish(&w, 0, FATE_DEFERRED);
	world_finish(&w, 0, FATE_DELIVERED);
	for (i = 0; i < 3; i++) {
		world_settle(&w); /* errors of cleanup need a second */
		world_advance(&w, 1001);
	}
	assert_false(m->hold); /* one is deferred, and will be tried */
	assert_int_equal(w.delivers, 3);
	assert_true(world_drain(&w));
	assert_int_equal(w.delivers, 4);
	assert_true(m->hold);
	assert_string_equal(m->reason, "failed: 5.1.1 said the agent");
	sched_mark(w.s, m->qid, IPC_MARK_RELEASE, "", 7);
	while (m->hold) {
		world_settle(&w);
		sched_mark(w.s, m->qid, IPC_MARK_RELEASE, "", 7);
	}
	assert_true(world_drain(&w));
	assert_true(m->gone);
	assert_int_equal(w.delivers, 5);
	world_clear(&w);
}

static unsigned
state_of(const struct world *w, const struct world_msg *m)
{
	struct sched_info info;

	sched_info(w->s, m->qid, &info);
	return info.state;
}

/* A hold while one is in flight: that one ends, nothing else begins. */
static void
test_hold_in_flight(void **state)
{
	struct world w;
	struct world_msg *m;
	struct sched_info info;

	(void)state;
	world_init(&w, 4);
	w.cfg.limits[SCHED_T_LOCAL].concurrency = 1;
	sched_configure(w.s, &w.cfg);
	(void)world_arrive(&w, 1, all_users); /* occupies the destination */
	m = world_arrive(&w, 3, all_users);
	while (world_running(&w) < 3) {
		world_pump(&w);
		(void)world_cleanup_step(&w);
	}
	sched_mark(w.s, m->qid, IPC_MARK_HOLD, "by the admin", 9);
	sched_info(w.s, m->qid, &info);
	assert_int_equal(info.state, SCHED_S_HOLD);
	assert_int_equal(info.running, 2);
	assert_true(world_drain(&w)); /* given() checks the hold */
	assert_true(m->hold);
	assert_int_equal(m->rcpts[1].delivered + m->rcpts[2].delivered, 2);
	assert_int_equal(m->rcpts[0].delivered, 0);
	/* on hold it stays, whatever is flushed */
	assert_false(sched_flush(w.s, m->qid));
	assert_int_equal(sched_flush_all(w.s), 0);
	world_advance(&w, 1000000000);
	world_settle(&w);
	assert_int_equal(m->rcpts[0].delivered, 0);
	world_clear(&w);
}

static void
test_flush(void **state)
{
	struct world w;
	struct world_msg *m, *n;

	(void)state;
	world_init(&w, 5);
	w.soft = 100;
	m = world_arrive(&w, 1, all_users);
	n = world_arrive(&w, 1, all_users + 1);
	while (m->attempts == 0 || n->attempts == 0 ||
	    state_of(&w, m) != SCHED_S_DEFERRED ||
	    state_of(&w, n) != SCHED_S_DEFERRED) {
		world_settle(&w);
		world_advance(&w, 1001);
	}
	assert_true(w.mono_ms < 5000000 + 60000);
	w.soft = 0;
	m->forced = true;
	assert_true(sched_flush(w.s, m->qid));
	assert_false(sched_flush(w.s, 12345));
	while (!m->gone) {
		world_settle(&w);
		world_advance(&w, 1001);
	}
	assert_false(n->gone);
	n->forced = true;
	assert_int_equal(sched_flush_all(w.s), 1);
	assert_true(world_drain(&w));
	assert_true(w.mono_ms < 5000000 + 200000);
	world_clear(&w);
}

/* Others are always ready, and with the agent: one ends, another comes. */
static void
keep_busy(struct world *w, const struct world_msg *suspect)
{
	while (world_queued(w) < 4) {
		(void)world_arrive(w, 1, all_users + 1);
	}
	world_advance(w, 100);
	if (world_running(w) > 0 && !world_has(w, suspect)) {
		world_finish(w, 0, FATE_DELIVERED);
	}
}

/* The agent has one only, and is given no other, though others are ready. */
static void
alone(struct world *w)
{
	struct sched_counts n;
	unsigned i;

	assert_int_equal(world_running(w), 1);
	for (i = 0; i < 3; i++) {
		(void)world_arrive(w, 1, all_users + 1);
	}
	for (i = 0; i < 10; i++) {
		while (world_cleanup_step(w)) {
			world_pump(w);
		}
		world_advance(w, 100);
		world_pump(w);
	}
	sched_counts(w->s, &n);
	assert_true(n.active > 1);
	assert_int_equal(world_running(w), 1);
}

/* Four deaths of the agent with the same message in its hands; qmgr may have
   died in between (after that many of them). */
static void
poison(int restart)
{
	struct world w;
	struct world_msg *m;
	int deaths, i;

	world_init(&w, 6);
	m = world_arrive(&w, 1, all_users);
	for (deaths = 0; deaths < 4; deaths++) {
		(void)world_arrive(&w, 1, all_users + 1);
		for (i = 0; i < 1000 && !world_has(&w, m); i++) {
			world_pump(&w);
			if (world_has(&w, m)) {
				break;
			} else if (world_cleanup_step(&w)) {
				continue;
			} else if (deaths >= 2) {
				keep_busy(&w, m);
			} else {
				world_advance(&w, 500);
			}
		}
		assert_true(world_has(&w, m));
		world_pump(&w);
		if (deaths >= 2) {
			alone(&w);
		}
		world_agent_dies(&w, SCHED_LOCAL, true);
		world_pump(&w);
		world_agent_starts(&w, SCHED_LOCAL);
		for (i = 0; deaths + 1 == restart && m->crashes < restart; i++) {
			assert_true(i < 1000);
			world_pump(&w);
			if (!world_cleanup_step(&w)) {
				world_advance(&w, 500);
			}
		}
		if (deaths + 1 == restart) {
			world_qmgr_dies(&w);
		}
	}
	assert_true(world_drain(&w));
	assert_int_equal(m->crashes, 4);
	assert_true(m->hold);
	assert_string_equal(m->reason, "delivery agent died four times");
	assert_int_equal(m->attempts, 0); /* none of them counted */
	world_clear(&w);
}

static void
test_poison(void **state)
{
	(void)state;
	poison(0);
	poison(2);
	poison(3);
}

/* What the agent has from before is not given out again; its late result is
   recorded and acknowledged. */
static void
test_qmgr_restarts(void **state)
{
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 7);
	m = world_arrive(&w, 4, all_users);
	while (world_running(&w) < 4) {
		world_pump(&w);
		(void)world_cleanup_step(&w);
	}
	world_finish(&w, 1, FATE_DELIVERED); /* its result is lost with qmgr */
	world_qmgr_dies(&w);
	assert_true(world_drain(&w));
	assert_true(m->gone);
	assert_int_equal(w.delivers, 4);
	assert_null(w.jobs);
	world_clear(&w);
}

/* Beyond active_limit messages are known by id, and wait. */
static void
test_active_limit(void **state)
{
	struct world w;
	struct sched_counts counts;
	unsigned i;

	(void)state;
	world_init(&w, 8);
	w.cfg.active_limit = 5;
	sched_configure(w.s, &w.cfg);
	for (i = 0; i < 60; i++) {
		(void)world_arrive(&w, 1, &all_users[i % 5]);
	}
	for (i = 0; i < 400; i++) {
		world_pump(&w);
		(void)world_cleanup_step(&w);
		sched_counts(w.s, &counts);
		assert_true(counts.active <= 5);
	}
	assert_int_equal(counts.active + counts.deferred, 60);
	assert_int_equal(world_running(&w), 5);
	assert_true(world_drain(&w));
	world_clear(&w);
}

/* An old message does not expire by a step of the clock alone. */
static void
test_clock_step(void **state)
{
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 9);
	m = world_arrive(&w, 1, all_users);
	while (world_running(&w) == 0) {
		world_pump(&w);
		(void)world_cleanup_step(&w);
	}
	w.real_us += 86400000000 * 3650; /* ten years on */
	world_advance(&w, 1);
	world_finish(&w, 0, FATE_DEFERRED); /* tried before the step */
	while (m->attempts == 0) {
		world_settle(&w);
		world_advance(&w, 1001);
	}
	assert_false(m->hold);
	m->forced = true; /* that time is none */
	w.real_us -= 86400000000 * 3650; /* and back: next_at is far away */
	world_advance(&w, 1);
	assert_true(world_drain(&w));
	assert_int_equal(m->rcpts[0].delivered, 1);
	assert_true(w.mono_ms < 5000000 + 4500000);
	world_clear(&w);
}

/* Destinations take turns; in one, messages go in their order. */
static void
test_fairness(void **state)
{
	struct world w;
	struct world_msg *late;
	unsigned i;

	(void)state;
	world_init(&w, 10);
	w.cfg.limits[SCHED_T_LOCAL].concurrency = 1;
	sched_configure(w.s, &w.cfg);
	for (i = 0; i < 30; i++) {
		(void)world_arrive(&w, 1, all_users);
	}
	late = world_arrive(&w, 1, all_users + 1);
	for (i = 0; i < 500; i++) {
		world_pump(&w);
		(void)world_cleanup_step(&w);
	}
	assert_int_equal(world_running(&w), 2);
	assert_true(sched_is_active(w.s, late->qid, 0));
	for (i = 0; i < 30; i++) {
		while (world_running(&w) == 0) {
			world_pump(&w);
			(void)world_cleanup_step(&w);
		}
		world_finish(&w, world_running(&w) - 1, FATE_DELIVERED);
		assert_true(i == 0 || w.msgs[i - 1].rcpts[0].delivered == 1);
		world_pump(&w);
	}
	assert_true(world_drain(&w));
	world_clear(&w);
}

static void
test_bad_page(void **state)
{
	struct sched_entry_in in = { .qid = 5, .rcpts = 1,
		.reverse_path = SL(""), .page = SL("rubbish") };
	struct world w;

	(void)state;
	world_init(&w, 11);
	assert_int_equal(sched_entry(w.s, &in, true), SCHED_ENTRY_BAD);
	world_clear(&w);
}

/* -- random events -------------------------------------------------------------- */

static void
admin_does_something(struct world *w)
{
	struct world_msg *m;

	if (w->nmsgs == 0) {
		return;
	}
	m = &w->msgs[world_random(w, w->nmsgs)];
	switch (world_random(w, 6)) {
	case 0:
		sched_mark(w->s, m->qid, IPC_MARK_HOLD, "by hand", 1);
		break;
	case 1:
		sched_hurry(w->s);
		sched_mark(w->s, m->qid, IPC_MARK_RELEASE, "", 2);
		break;
	case 2:
		sched_mark(w->s, m->qid, IPC_MARK_DELETE, "", 3);
		break;
	case 3:
		sched_mark(w->s, m->qid, IPC_MARK_REQUEUE, "", 4);
		break;
	default:
		w->hurried++;
		sched_hurry(w->s);
		m->forced = sched_flush(w->s, m->qid) || m->forced;
		break;
	}
}

static void
domain_is_held_or_not(struct world *w)
{
	unsigned user = (unsigned)world_random(w, WORLD_USERS);

	if (world_random(w, 2) == 0) {
		world_release_domain(w, user);
	} else {
		world_hold_domain(w, user, world_random(w, 2) == 0 ? 0 :
		    w->real_us / 1000000 + 1 + world_random(w, 7200));
	}
}

static void
something_happens(struct world *w)
{
	static const uint32_t flags[] = { 0, CONTENT_NOTICE,
		CONTENT_NOTICE | CONTENT_DOUBLE };
	unsigned users[WORLD_RCPTS], n, i;
	enum sched_agent agent;
	struct world_msg *m;
	uint64_t dice = world_random(w, 1000);

	if (dice < 500) {
		(void)world_cleanup_step(w);
	} else if (dice < 750 && world_running(w) > 0) {
		dice = world_random(w, 10);
		world_finish(w, (unsigned)world_random(w, world_running(w)),
		    dice < 6 ? FATE_DELIVERED :
		    dice < 9 ? FATE_DEFERRED : FATE_FAILED);
	} else if (dice < 850) {
		n = 1 + (unsigned)world_random(w, WORLD_RCPTS);
		for (i = 0; i < n; i++) {
			users[i] = (unsigned)world_random(w, WORLD_USERS);
		}
		m = world_arrive(w, n, users);
		if (m != NULL) {
			m->null_path = world_random(w, 5) == 0;
			m->flags = m->null_path ? flags[world_random(w, 3)] : 0;
		}
	} else if (dice < 950) {
		world_advance(w, 1 + world_random(w, 600000));
	} else if (dice < 975) {
		admin_does_something(w);
	} else if (dice < 980) {
		domain_is_held_or_not(w);
	} else if (dice < 990) {
		agent = (enum sched_agent)world_random(w, SCHED_AGENTS);
		if (w->agent_up[agent]) {
			world_agent_dies(w, agent,
			    world_random(w, 2) == 0);
		} else {
			world_agent_starts(w, agent);
		}
	} else if (dice < 993) {
		world_cleanup_dies(w);
	} else if (dice < 995) {
		world_qmgr_dies(w);
	} else {
		n = WORLD_LOCAL + (unsigned)world_random(w,
		    WORLD_USERS - WORLD_LOCAL);
		w->sites[n].down = !w->sites[n].down;
	}
}

static void
check_end(struct world *w)
{
	const struct world_rcpt *rc;
	const struct world_msg *m;
	unsigned i, j;

	for (i = 0; i < w->nmsgs; i++) {
		m = &w->msgs[i];
		assert_true(m->gone || m->hold);
		for (j = 0; j < m->nrcpts; j++) {
			rc = &m->rcpts[j];
			assert_true(rc->delivered <= 1 + rc->lost);
			assert_true(rc->bounced == (rc->fate == FATE_FAILED));
			assert_true(rc->warned <= 1);
			assert_true(!m->gone || m->removed ||
			    rc->delivered > 0 || rc->bounced > 0);
		}
	}
	assert_null(w->jobs); /* every result was acknowledged */
}

static void
run_random(uint64_t seed)
{
	struct world w;
	int i;

	world_init(&w, seed);
	w.page = (unsigned)world_random(&w, 4); /* small pages, or one */
	w.cfg.active_limit = 1 + world_random(&w, 60);
	w.cfg.limits[SCHED_T_LOCAL].concurrency = 1 + world_random(&w, 3);
	w.cfg.limits[SCHED_T_SMTP].concurrency = 1 + world_random(&w, 8);
	w.cfg.limits[SCHED_T_SMTP].rcpts = 1 + world_random(&w, 4);
	w.cfg.lifetime = 86400; /* sites may stay down: that is what ends it */
	w.cfg.bounce_lifetime = 43200;
	w.cfg.delay_warning = world_random(&w, 2) * 3600;
	sched_configure(w.s, &w.cfg);
	for (i = 0; i < 2500; i++) {
		something_happens(&w);
		world_pump(&w);
	}
	for (i = 0; i < SCHED_AGENTS; i++) {
		if (!w.agent_up[i]) {
			world_agent_starts(&w, (enum sched_agent)i);
		}
	}
	w.bad = 10;
	w.soft = 20;
	for (i = 0; i < WORLD_USERS; i++) {
		if (world_random(&w, 2) == 0 || w.domains[i].until == 0) {
			world_release_domain(&w, (unsigned)i);
		}
	}
	assert_true(world_drain(&w));
	check_end(&w);
	world_clear(&w);
}

static void
test_random(void **state)
{
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= 60; seed++) {
		run_random(seed); /* deterministic: a debugger finds the seed */
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heap),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_delivers),
		cmocka_unit_test(test_defers_then_expires),
		cmocka_unit_test(test_failed_is_held),
		cmocka_unit_test(test_hold_in_flight),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_qmgr_restarts),
		cmocka_unit_test(test_active_limit),
		cmocka_unit_test(test_clock_step),
		cmocka_unit_test(test_fairness),
		cmocka_unit_test(test_bad_page),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
