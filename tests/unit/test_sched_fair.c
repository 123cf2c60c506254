/* Fairness: among the messages, the senders and the sites, each way round. */
#include "config.h"

#include <stdio.h>

#include "tests/unit/sched_sim.h"
#include "tests/unit/unit.h"

#define WINDOW 5 /* DELIVERs out to a fresh site */

static void
many(struct sim *m, const char *sender, uint32_t flags, unsigned site,
    unsigned n)
{
	while (n-- > 0) {
		(void)sim_arrive(m, sender, flags, site, 1);
	}
}

/* A single message does not wait for one with 100,000 recipients. */
static void
test_single_overtakes_a_list(void **state)
{
	static const char *const senders[] = { "news@example.org",
		"ann@example.org" };
	struct sim_msg *list, *single;
	struct sim m;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(senders); i++) {
		sim_init(&m, 1);
		list = sim_arrive(&m, "news@example.org", 0, 0, 100000);
		sim_until(&m, 50);
		single = sim_arrive(&m, senders[i], 0, 0, 1);
		while (single->first_ms == 0) {
			assert_true(sim_step(&m));
			sim_conserves(&m);
		}
		assert_in_range(single->before, 50, 50 + 2);
		assert_true(list->open > 90000);
		sim_until(&m, UINT32_MAX);
		assert_true(list->gone && single->gone);
		sim_clear(&m);
	}
}

/* 30,000 messages of one sender, more than may be active: the next one's goes
   at once, to that site as to any other. */
static void
test_sender_does_not_wait_for_another(void **state)
{
	struct sim_msg *mine, *elsewhere;
	struct sim m;
	unsigned was;

	(void)state;
	sim_init(&m, 2);
	many(&m, "flood@example.org", 0, 0, 30000);
	sim_until(&m, 100);
	mine = sim_arrive(&m, "ann@example.org", 0, 0, 1);
	elsewhere = sim_arrive(&m, "flood@example.org", 0, 1, 1);
	was = m.begun;
	sim_until(&m, was + 4);
	assert_in_range(mine->before, was, was + 2);
	assert_in_range(elsewhere->before, was, was + 3);
	sim_until(&m, UINT32_MAX);
	assert_int_equal(m.begun, 30002);
	assert_int_equal(m.sites[0].most, 20);
	sim_clear(&m);
}

/* A path of its own for each message does not make many senders. */
static void
test_one_sender_by_many_paths(void **state)
{
	static const char *const paths[] = {
		"news+%u-ann=example.net@example.org",
		"news-%u-ann=example.net@example.org",
		"news+%u@example.org",
	};
	struct sim_msg *mine;
	char sender[60];
	struct sim m;
	unsigned i, p;

	(void)state;
	for (p = 0; p < NELEMS(paths); p++) {
		sim_init(&m, 1);
		for (i = 0; i < 3000; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			(void)snprintf(sender, sizeof(sender), paths[p], i);
#pragma GCC diagnostic pop
			(void)sim_arrive(&m, sender, 0, 0, 1);
		}
		sim_until(&m, 100);
		many(&m, "ann@example.org", 0, 0, 50);
		mine = &m.msgs[m.nmsgs - 1];
		sim_until(&m, 300);
		assert_in_range(mine->before, 190, 210); /* every other one */
		sim_clear(&m);
	}
}

static unsigned
begun_of(const struct sim *m, const char *sender)
{
	unsigned i, n = 0;

	for (i = 0; i < m->nmsgs; i++) {
		if (strcmp(m->msgs[i].sender, sender) == 0) {
			n += m->msgs[i].nrcpts - m->msgs[i].open +
			    m->msgs[i].running;
		}
	}
	return n;
}

/* Whatever the sizes of their messages, senders get the same recipients done,
   give or take a delivery. */
static void
test_shares_are_equal(void **state)
{
	struct sim m;
	unsigned i, a, b, c;

	(void)state;
	sim_init(&m, 1);
	for (i = 0; i < 5000; i++) {
		(void)sim_arrive(&m, "a@example.org", 0, 0, 1);
		(void)sim_arrive(&m, "b@example.org", 0, 0, 3);
		(void)sim_arrive(&m, "c@example.org", 0, 0, 100);
	}
	sim_until(&m, 100);
	for (i = 200; i < 3000; i += 100) {
		sim_until(&m, i);
		a = begun_of(&m, "a@example.org");
		b = begun_of(&m, "b@example.org");
		c = begun_of(&m, "c@example.org");
		assert_in_range(a, b > 200 ? b - 200 : 0, b + 200);
		assert_in_range(c, b > 200 ? b - 200 : 0, b + 200);
	}
	sim_clear(&m);
}

/* Of the messages from that one on, those that wait for their first turn. */
static unsigned
waiting_from(const struct sim *m, unsigned first)
{
	unsigned i, n = 0;

	for (i = first; i < m->nmsgs; i++) {
		n += m->msgs[i].first_ms == 0;
	}
	return n;
}

/* Newcomers without end, three of them waiting at any time, do not keep a large
   message from its share. */
static void
test_no_starvation(void **state)
{
	struct sim_msg *list;
	unsigned i, n = 0, was;
	char sender[60];
	struct sim m;

	(void)state;
	sim_init(&m, 1);
	list = sim_arrive(&m, "news@example.org", 0, 0, 20000);
	sim_until(&m, 10);
	was = list->open - list->running;
	for (i = 0; i < 2000; i++) {
		while (waiting_from(&m, 1) < 3) {
			(void)snprintf(sender, sizeof(sender),
			    "u%u@example.org", n++);
			(void)sim_arrive(&m, sender, 0, 0, 1);
		}
		sim_until(&m, m.begun + 1);
	}
	assert_true(list->open - list->running + 400 <= was);
	assert_true(n > 1500);
	sim_clear(&m);
}

/* What is submitted here and notices of ours go first, at their site and
   elsewhere; but the others have their part. */
static void
test_urgent(void **state)
{
	struct sim_msg *notice;
	unsigned urgent, normal, i;
	struct sim m;

	(void)state;
	sim_init(&m, 1);
	for (i = 0; i < 2000; i++) {
		(void)sim_arrive(&m, "a@example.org", 0, 0, 1);
		(void)sim_arrive(&m, "b@example.org", 0, 0, 1);
	}
	sim_until(&m, 100);
	notice = sim_arrive(&m, "<>", CONTENT_NOTICE, 0, 1);
	sim_until(&m, 102);
	assert_in_range(notice->before, 100, 101);
	many(&m, "root@example.org", CONTENT_LOCAL, 0, 2000);
	sim_until(&m, 1102);
	urgent = begun_of(&m, "root@example.org");
	normal = m.begun - urgent;
	assert_in_range(urgent, 780, 820);
	assert_in_range(normal, 280, 325);
	sim_clear(&m);

	/* 6,000 sites have all that may be out: the next place is for those */
	sim_init(&m, 6001);
	for (i = 0; i < 6000; i++) {
		many(&m, "a@example.org", 0, i, 1);
	}
	sim_until(&m, SCHED_REMOTE_MAX);
	notice = sim_arrive(&m, "root@example.org", CONTENT_LOCAL, 6000, 1);
	sim_until(&m, UINT32_MAX);
	assert_in_range(notice->before, SCHED_REMOTE_MAX, SCHED_REMOTE_MAX + 1);
	sim_clear(&m);
}

/* The time in which 800 sites have all their mail, whatever 200 others do. */
static uint64_t
good_sites_done(bool hang, unsigned each)
{
	struct sim m;
	uint64_t last = 0, began;
	unsigned i, j;

	sim_init(&m, 1000);
	began = m.mono_ms;
	for (i = 0; i < 1000; i++) {
		m.sites[i].takes_ms = i % 5 == 0 && hang ? 30000 : 200;
		m.sites[i].hangs = i % 5 == 0 && hang;
	}
	for (j = 0; j < each; j++) {
		for (i = 0; i < 1000; i++) {
			many(&m, "news@example.org", 0, i, 1);
		}
	}
	for (i = 0; i < 1000; i++) {
		while (i % 5 != 0 && m.sites[i].delivered < each) {
			assert_true(sim_step(&m));
		}
		if (i % 5 != 0 && m.sites[i].last_ms > last) {
			last = m.sites[i].last_ms;
		}
	}
	sim_clear(&m);
	return last - began;
}

static void
test_200_of_1000_hang(void **state)
{
	uint64_t with, without;

	(void)state;
	with = good_sites_done(true, 100);
	without = good_sites_done(false, 100);
	assert_true(without * 10 >= with * 9);
}

/* Many senders, sites and sizes at random: each delivered once, nobody idle. */
static void
test_random(void **state)
{
	static const uint32_t flags[] = { 0, 0, 0, CONTENT_LOCAL };
	uint64_t seed, r;
	char sender[60];
	struct sim m;
	unsigned i;

	(void)state;
	for (seed = 1; seed <= 30; seed++) {
		sim_init(&m, 7);
		m.cfg.active_limit = 5 + seed * seed;
		m.cfg.limits[SCHED_T_SMTP].concurrency = 1 + seed % 6;
		m.cfg.limits[SCHED_T_SMTP].rcpts = 1 + seed % 9;
		sched_configure(m.s, &m.cfg);
		for (i = 0; i < 1500; i++) {
			r = (seed * 1000 + i) * 0x9e3779b97f4a7c15;
			r ^= r >> 29;
			(void)snprintf(sender, sizeof(sender), "s%u@example.org",
			    (unsigned)(r % 7 * (r % 3)));
			(void)sim_arrive(&m, sender, flags[r >> 8 & 3],
			    (unsigned)(r >> 12) % 7,
			    r % 31 == 0 ? 600 : 1 + (unsigned)(r >> 20) % 4);
			m.sites[(r >> 30) % 7].takes_ms = 1 + (r >> 34) % 500;
			if (r >> 48 & 1) {
				(void)sim_step(&m);
				sim_pump(&m);
				if (i % 50 == 0) {
					sim_conserves(&m);
				}
			}
		}
		sim_until(&m, UINT32_MAX);
		for (i = 0; i < m.nmsgs; i++) {
			assert_true(m.msgs[i].gone);
		}
		sim_clear(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single_overtakes_a_list),
		cmocka_unit_test(test_sender_does_not_wait_for_another),
		cmocka_unit_test(test_one_sender_by_many_paths),
		cmocka_unit_test(test_shares_are_equal),
		cmocka_unit_test(test_no_starvation),
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_200_of_1000_hang),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
