/* Domains on hold, and what outlives the scheduler. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/sched_world.h"
#include "tests/unit/unit.h"

#define SITE  2
#define OTHER 3

static const unsigned site[] = { SITE }, both[] = { SITE, OTHER };

/* Everything that can happen without much time. */
static void
settle(struct world *w)
{
	int i;

	for (i = 0; i < 8; i++) {
		world_settle(w); /* errors of cleanup need a second */
		world_advance(w, 1001);
	}
}

/* What is for it waits, flush or not, over a restart; the others go. */
static void
test_hold_domain(void **state)
{
	struct world_msg *m, *n;
	struct sched_info info;
	uint64_t until;
	struct world w;

	(void)state;
	world_init(&w, 1);
	world_hold_domain(&w, SITE, 0);
	m = world_arrive(&w, 1, site);
	n = world_arrive(&w, 2, both);
	settle(&w);
	assert_int_equal(n->rcpts[1].delivered, 1);
	assert_int_equal(w.delivers, 1);
	sched_info(w.s, m->qid, &info);
	assert_int_equal(info.state, SCHED_S_DEFERRED);
	assert_true(info.held);
	assert_true(sched_domain_held(w.s, SL("y@C.EXAMPLE"), &until));
	assert_int_equal(until, 0);
	assert_false(sched_domain_held(w.s, SL("y@d.example"), &until));
	(void)sched_flush_all(w.s);
	settle(&w);
	world_qmgr_dies(&w);
	settle(&w);
	world_advance(&w, 432000000); /* nor does it expire */
	settle(&w);
	assert_int_equal(w.delivers, 1);
	assert_int_equal(m->rcpts[0].attempt + n->rcpts[0].attempt, 0);
	world_release_domain(&w, SITE);
	assert_true(world_drain(&w));
	assert_true(m->gone && n->gone);
	assert_int_equal(w.delivers, 3);
	world_clear(&w);
}

/* It ends at its time; a later order changes that. */
static void
test_until(void **state)
{
	struct world_msg *m;
	struct world w;
	uint64_t now;

	(void)state;
	world_init(&w, 2);
	now = w.real_us / 1000000;
	world_hold_domain(&w, SITE, now + 900000); /* beyond any backoff */
	m = world_arrive(&w, 1, site);
	settle(&w);
	world_advance(&w, 890000000);
	settle(&w);
	assert_int_equal(w.delivers, 0);
	assert_true(world_drain(&w));
	assert_true(m->gone);
	assert_in_range(w.real_us / 1000000, now + 900000, now + 900010);
	assert_false(sched_release_domain(w.s, SL("c.example")));

	now = w.real_us / 1000000;
	world_hold_domain(&w, SITE, 0);
	m = world_arrive(&w, 1, site);
	settle(&w);
	world_hold_domain(&w, SITE, now + 60);
	assert_true(world_drain(&w));
	assert_true(m->gone);
	assert_in_range(w.real_us / 1000000, now + 60, now + 70);
	world_clear(&w);
}

/* What runs ends; what waits for its turn is taken back. */
static void
test_hold_in_flight(void **state)
{
	struct world w;
	unsigned i;

	(void)state;
	world_init(&w, 3);
	for (i = 0; i < 10; i++) {
		(void)world_arrive(&w, 1, site);
	}
	for (i = 0; i < 500; i++) {
		world_pump(&w);
		(void)world_cleanup_step(&w);
	}
	assert_int_equal(world_running(&w), 2);
	world_hold_domain(&w, SITE, 0);
	settle(&w);
	assert_int_equal(w.delivers, 2);
	world_release_domain(&w, SITE);
	assert_true(world_drain(&w));
	assert_int_equal(w.delivers, 10);
	world_clear(&w);
}

/* One that was dead is so after a restart, until its time. */
static void
test_the_dead_are_remembered(void **state)
{
	struct sched_dest_info *list;
	struct world_msg *m;
	struct world w;
	uint64_t until;
	size_t n;
	unsigned i;

	(void)state;
	world_init(&w, 4);
	w.sites[SITE].down = true;
	for (i = 0; i < SCHED_SITE_FAILURES; i++) {
		(void)world_arrive(&w, 1, site);
	}
	settle(&w);
	world_advance(&w, 10000);
	settle(&w);
	list = sched_dests(w.s, &n);
	assert_int_equal(n, 1);
	assert_int_equal(list[0].state, SCHED_DEST_DEAD);
	assert_string_equal(list[0].next_hop, "c");
	assert_string_equal(list[0].reply, "said the agent");
	assert_int_equal(list[0].window, 1);
	until = list[0].until;
	assert_in_range(until, w.real_us / 1000000 + 200,
	    w.real_us / 1000000 + 340);
	free(list);
	world_qmgr_dies(&w);
	m = world_arrive(&w, 1, site);
	settle(&w);
	assert_int_equal(w.delivers, SCHED_SITE_FAILURES);
	assert_string_equal(m->rcpts[0].reply, "said the agent");
	assert_string_equal(m->rcpts[0].esc, "4.2.2");
	list = sched_dests(w.s, &n);
	assert_int_equal(n, 1);
	assert_in_range(list[0].until, until - 1, until + 1);
	free(list);
	w.sites[SITE].down = false;
	assert_true(world_drain(&w));
	assert_in_range(w.real_us / 1000000, until - 1, until + 400);
	world_clear(&w);
}

/* Nothing is taken before we know what is on hold; bad lines are left out. */
static void
test_load(void **state)
{
	static const char text[] =
	    "hold\tgood.example\t0\n"
	    "hold\tlater.example\t1700000100\n"
	    "hold\tover.example\t1600000000\n"
	    "dead\tsmtp\tmx.example\t1700000100\t300\t4.4.1\tnone\tno\n"
	    "hold\tno number\tx\n"
	    "hold\tno.until\n"
	    "hold\t\t0\n"
	    "dead\tlocal\tann\t1700000100\t300\t4.4.1\tnone\tno\n"
	    "dead\tpigeon\tmx.example\t1700000100\t300\t4.4.1\tnone\tno\n"
	    "dead\tsmtp\tmx\t1700000100\t300\t4.4.1-is-too-long\tnone\tno\n"
	    "dead\tsmtp\n"
	    "\n"
	    "of another version\t1\t2\t3\t4\t5\t6\t7\t8\t9";
	struct sched_config cfg = { .min_backoff = 300, .max_backoff = 4000,
		.active_limit = 10,
		.limits = { { 1, 1, 1, 0 }, { 1, 1, 1, 0 }, { 1, 1, 1, 0 } } };
	struct sched *s = sched_new(&cfg, 1);
	struct sched_action a;
	struct sched_counts n;
	uint64_t until;

	(void)state;
	sched_time(s, 1000, 1700000000000000);
	sched_cleanup_up(s);
	assert_true(sched_next(s, &a));
	assert_int_equal(a.kind, SCHED_LOAD);
	assert_false(sched_next(s, &a));
	assert_int_equal(sched_loaded(s, true, SL("")), 0);
	assert_false(sched_next(s, &a));
	assert_int_equal(sched_wake_ms(s), 2000);
	sched_time(s, 2000, 1700000001000000);
	assert_true(sched_next(s, &a));
	assert_int_equal(a.kind, SCHED_LOAD);
	sched_cleanup_down(s);
	sched_cleanup_up(s);
	assert_true(sched_next(s, &a));
	assert_int_equal(a.kind, SCHED_LOAD);
	assert_int_equal(sched_loaded(s, false, slice_of(text)), 9);
	assert_true(sched_next(s, &a));
	assert_int_equal(a.kind, SCHED_TAKE);
	assert_true(sched_domain_held(s, SL("x@good.example"), &until));
	assert_int_equal(until, 0);
	assert_true(sched_domain_held(s, SL("x@later.example"), &until));
	assert_int_equal(until, 1700000100);
	assert_false(sched_domain_held(s, SL("x@over.example"), &until));
	sched_counts(s, &n);
	assert_int_equal(n.destinations, 1);
	assert_false(sched_next(s, &a)); /* nothing has changed */
	sched_free(s);
}

/* A change is ordered to be kept until it is; not more than so many are. */
static void
test_keep(void **state)
{
	struct sched_action a;
	struct world w;
	char name[32];
	unsigned i;
	int n;

	(void)state;
	world_init(&w, 5);
	while (sched_next(w.s, &a)) {
	}
	for (i = 0; i < SCHED_DOMAINS_MAX; i++) {
		n = snprintf(name, sizeof(name), "d%u.example", i);
		assert_true(sched_hold_domain(w.s, slice_make(name, (size_t)n),
		    i == 7 ? w.real_us / 1000000 + 50 : 0));
	}
	assert_false(sched_hold_domain(w.s, SL("one.more"), 0));
	assert_true(sched_hold_domain(w.s, SL("D3.example"), 0));
	assert_false(sched_keep_done(w.s) == sched_keep_wanted(w.s));
	assert_true(sched_next(w.s, &a));
	assert_int_equal(a.kind, SCHED_KEEP);
	assert_false(sched_next(w.s, &a));
	assert_true(sched_release_domain(w.s, SL("d9.example")));
	sched_kept(w.s, true);
	assert_false(sched_is_quiet(w.s));
	assert_false(sched_next(w.s, &a));
	world_advance(&w, 1000);
	assert_true(sched_next(w.s, &a));
	assert_int_equal(a.kind, SCHED_KEEP);
	sched_kept(w.s, false);
	assert_true(sched_keep_done(w.s) == sched_keep_wanted(w.s));
	assert_true(sched_is_quiet(w.s));
	assert_false(sched_next(w.s, &a));
	world_advance(&w, 60000); /* d7 has ended by itself */
	assert_true(sched_hold_domain(w.s, SL("one.more"), 0));
	assert_true(sched_hold_domain(w.s, SL("another"), 0));
	assert_false(sched_hold_domain(w.s, SL("third"), 0));
	world_clear(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hold_domain),
		cmocka_unit_test(test_until),
		cmocka_unit_test(test_hold_in_flight),
		cmocka_unit_test(test_the_dead_are_remembered),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_keep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
