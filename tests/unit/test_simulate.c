/* What a simulation says of small queues whose future is known. */
#include "config.h"

#include <stdio.h>
#include <time.h>

#include "qmgr/simulate.h"
#include "tests/unit/unit.h"

#define NOW  1700000000u
#define DAY  86400u
#define HOUR 3600u

static const struct sched_config cfg = {
	.min_backoff = 300, .max_backoff = 4000, .lifetime = 5 * DAY,
	.bounce_lifetime = DAY, .delay_warning = HOUR, .active_limit = 100,
	.limits = { { 20, 20, 50, 0 }, { 20, 5, 100, 0 }, { 20, 5, 100, 0 } },
};

static unsigned ticks;

static void
tick(void *arg, uint64_t at_s, uint64_t attempts)
{
	(void)arg;
	(void)at_s;
	assert_true(attempts <= SIMULATE_ATTEMPTS_MAX);
	ticks++;
}

/* One that arrived a minute ago, was tried once and is due in an hour. */
static struct simulate_rcpt
deferred(uint64_t qid)
{
	return (struct simulate_rcpt){ .qid = qid, .arrived_s = NOW - 60,
		.size = 1000, .attempts = 1, .next_at = NOW + HOUR,
		.sender = SL("a@from.test"), .recipient = SL("u@to.test"),
		.transport = SL("smtp"), .next_hop = SL("to.test"),
		.reply = SL("4.2.0 busy") };
}

static struct simulate_message
message(const struct simulation *sim, uint64_t i)
{
	struct simulate_message m;

	assert_true(simulate_message(sim, i, &m));
	return m;
}

static void
test_deferred_again_until_it_expires(void **state)
{
	struct simulation *sim = simulate_new(&cfg, NOW);
	struct simulate_rcpt one = deferred(1), old = deferred(2);
	struct simulate_message m;
	struct simulate_slot slot;
	uint64_t attempts = 0, expired = 0;
	unsigned i;

	(void)state;
	old.arrived_s = NOW - 5 * DAY + 2 * HOUR;
	assert_true(simulate_add(sim, &one));
	assert_true(simulate_add(sim, &old));
	assert_int_equal(simulate_run(sim, 6 * HOUR, false, tick, NULL),
	    6 * HOUR);
	m = message(sim, 0);
	assert_int_equal(m.end, SIMULATE_WAITS);
	assert_int_equal(m.first_try_s, NOW + HOUR);
	assert_true(m.attempts >= 4 && m.attempts <= 8);
	assert_true(m.end_s > NOW + 6 * HOUR - 4500);
	m = message(sim, 1);
	assert_int_equal(m.end, SIMULATE_EXPIRED);
	assert_true(m.end_s >= NOW + 2 * HOUR && m.end_s < NOW + 4 * HOUR);
	for (i = 0; i < SIMULATE_SLOTS; i++) {
		simulate_slot(sim, i, &slot);
		assert_int_equal(slot.from_s, NOW + i * HOUR / 4);
		assert_true(i >= 4 || slot.attempts == 0);
		attempts += slot.attempts;
		expired += slot.ends[SIMULATE_EXPIRED];
	}
	assert_int_equal(attempts, message(sim, 0).attempts + m.attempts);
	assert_int_equal(expired, 1);
	assert_false(simulate_message(sim, 2, &m));
	simulate_free(sim);
}

static void
test_never_tried_and_assumed_delivered(void **state)
{
	struct simulate_rcpt fresh = deferred(1), tried = deferred(2);
	struct simulation *sim;
	int delivered;

	(void)state;
	fresh.attempts = fresh.next_at = 0;
	fresh.reply = SL("");
	for (delivered = 0; delivered < 2; delivered++) {
		sim = simulate_new(&cfg, NOW);
		assert_true(simulate_add(sim, &fresh));
		assert_true(simulate_add(sim, &tried));
		assert_int_equal(simulate_run(sim, 2 * HOUR, delivered != 0,
		    tick, NULL), 2 * HOUR);
		assert_int_equal(message(sim, 0).end, SIMULATE_DELIVERED);
		assert_int_equal(message(sim, 0).end_s, NOW + 1);
		assert_int_equal(message(sim, 1).end, delivered ?
		    SIMULATE_DELIVERED : SIMULATE_WAITS);
		simulate_free(sim);
	}
}

static void
test_holds(void **state)
{
	struct simulation *sim = simulate_new(&cfg, NOW);
	struct simulate_rcpt held = deferred(1), domain = deferred(2),
	    stranger = deferred(3);

	(void)state;
	held.hold = true;
	domain.recipient = SL("u@held.test");
	domain.next_at = 0;
	stranger.sender = SL(""); /* a bounce: nobody is to be told of it */
	stranger.arrived_s = NOW - 2 * DAY;
	assert_true(simulate_add(sim, &held));
	assert_true(simulate_add(sim, &domain));
	assert_true(simulate_add(sim, &stranger));
	simulate_hold_domain(sim, SL("held.test"), NOW + 3 * HOUR);
	assert_int_equal(simulate_run(sim, 6 * HOUR, false, tick, NULL),
	    6 * HOUR);
	assert_int_equal(message(sim, 0).end, SIMULATE_HOLD);
	assert_int_equal(message(sim, 0).attempts, 0);
	assert_true(message(sim, 1).first_try_s >= NOW + 3 * HOUR);
	assert_true(message(sim, 1).attempts > 0);
	assert_int_equal(message(sim, 2).end, SIMULATE_HOLD);
	assert_true(message(sim, 2).attempts > 0);
	simulate_free(sim);
}

/* More than a page of recipients, and more texts than there are numbers for. */
static void
test_many(void **state)
{
	struct simulation *sim = simulate_new(&cfg, NOW);
	struct simulate_rcpt in = deferred(1);
	char reply[64], to[64];
	unsigned i;
	int n;

	(void)state;
	in.next_at = 0;
	for (i = 0; i < 1000; i++) {
		assert_true(simulate_add(sim, &in));
	}
	in.next_at = NOW + 100;
	for (i = 0; i < 70000; i++) {
		in.qid++;
		n = snprintf(reply, sizeof(reply), "4.2.0 busy %u", i);
		in.reply = slice_make(reply, (size_t)n);
		n = snprintf(to, sizeof(to), "u@d%u.test", i);
		in.recipient = slice_make(to, (size_t)n);
		assert_true(simulate_add(sim, &in));
	}
	ticks = 0;
	assert_int_equal(simulate_run(sim, HOUR, false, tick, NULL), HOUR);
	assert_true(ticks > 1);
	assert_int_equal(message(sim, 0).end, SIMULATE_WAITS);
	assert_true(message(sim, 0).attempts >= 10);
	assert_int_equal(message(sim, 70000).end, SIMULATE_WAITS);
	simulate_free(sim);
}

/* One message of hundreds of recipients to a next hop that is not reached: it
   comes due as a whole, so a day of it is few attempts, and quick. */
static void
test_many_recipients_of_a_dead_next_hop(void **state)
{
	struct simulation *sim = simulate_new(&cfg, NOW);
	struct simulate_rcpt in = deferred(1);
	const clock_t before = clock();
	unsigned i;

	(void)state;
	in.reply = SL("4.4.1 connection refused");
	for (i = 0; i < 900; i++) {
		assert_true(simulate_add(sim, &in));
	}
	assert_int_equal(simulate_run(sim, 7 * DAY, false, tick, NULL),
	    7 * DAY);
	assert_int_equal(message(sim, 0).end, SIMULATE_EXPIRED);
	assert_in_range(message(sim, 0).attempts, 90, 1000);
	/* some 0.1 s, and minutes when each comes at a time of its own */
	assert_true((clock() - before) / CLOCKS_PER_SEC < 20);
	simulate_free(sim);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deferred_again_until_it_expires),
		cmocka_unit_test(test_never_tried_and_assumed_delivered),
		cmocka_unit_test(test_holds),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_many_recipients_of_a_dead_next_hop),
	};

	return cmocka_run_group_tests_name("simulate", tests, NULL, NULL);
}
