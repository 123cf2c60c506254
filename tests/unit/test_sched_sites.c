/* The scheduler beyond this host: dead destinations, notices, transports. */
#include "config.h"

#include <stdio.h>

#include "tests/unit/sched_world.h"
#include "tests/unit/unit.h"

#define SITE  2 /* users that are sites */
#define OTHER 3

static const unsigned site[] = { SITE }, other[] = { OTHER };

static void
run(struct world *w, unsigned steps)
{
	while (steps-- > 0) {
		world_pump(w);
		(void)world_cleanup_step(w);
	}
}

/* Everything that can happen without much time. */
static void
settle(struct world *w)
{
	int i;

	for (i = 0; i < 5; i++) {
		world_settle(w); /* errors of cleanup need a second */
		world_advance(w, 1001);
	}
}

/* A world with room for all. */
static void
begin_wide(struct world *w, uint64_t seed)
{
	world_init(w, seed);
	w->cfg.active_limit = 1000;
	sched_configure(w->s, &w->cfg);
}

static void
send_to_site(struct world *w, unsigned n)
{
	while (n-- > 0) {
		(void)world_arrive(w, 1, site);
	}
}

static void
kill_site(struct world *w)
{
	w->sites[SITE].down = true;
	send_to_site(w, SCHED_SITE_FAILURES);
	settle(w);
	assert_true(world_is_dead(w, SITE));
}

/* Its mail is deferred with the same words and without an attempt, that of
   others is not; at its time one probe goes out, and with its success all. */
static void
test_dead_and_alive(void **state)
{
	struct world w;
	struct world_msg *late[40], *m;
	unsigned before, i;

	(void)state;
	begin_wide(&w, 1);
	kill_site(&w);
	before = w.delivers;
	assert_int_equal(before, SCHED_SITE_FAILURES);
	for (i = 0; i < NELEMS(late); i++) {
		late[i] = world_arrive(&w, 1, site);
	}
	m = world_arrive(&w, 1, other);
	settle(&w);
	assert_true(m->gone);
	assert_int_equal(w.delivers, before + 1);
	for (i = 0; i < NELEMS(late); i++) {
		assert_int_equal(late[i]->rcpts[0].attempt, 1);
		assert_string_equal(late[i]->rcpts[0].esc, "4.2.2");
		assert_string_equal(late[i]->rcpts[0].reply, "said the agent");
		assert_in_range(late[i]->rcpts[0].next_at,
		    w.real_us / 1000000 + 285, w.real_us / 1000000 + 365);
	}
	w.sites[SITE].down = false;
	while (w.delivers == before + 1) {
		world_advance(&w, 1000);
		world_pump(&w);
		(void)world_cleanup_step(&w);
	}
	world_advance(&w, 60000); /* all are due: one is tried */
	run(&w, 2000);
	assert_int_equal(w.delivers, before + 2);
	world_finish(&w, 0, FATE_DELIVERED);
	run(&w, 2000);
	assert_int_equal(w.delivers, before + 4); /* remote_concurrency */
	assert_true(world_drain(&w));
	assert_true(w.mono_ms < 5000000 + 1000000);
	world_clear(&w);
}

/* A DELIVER of many recipients is one failure, not many. */
static void
test_one_failure_a_delivery(void **state)
{
	const unsigned users[] = { SITE, SITE, SITE, SITE, SITE, SITE };
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 12);
	w.cfg.limits[SCHED_T_SMTP].rcpts = 6;
	sched_configure(w.s, &w.cfg);
	w.sites[SITE].down = true;
	m = world_arrive(&w, 6, users);
	settle(&w);
	assert_int_equal(m->attempts, 6);
	assert_int_equal(w.delivers, 1);
	(void)world_arrive(&w, 1, site);
	settle(&w);
	assert_int_equal(w.delivers, 2); /* it is not dead */
	world_clear(&w);
}

/* While it is dead the probes become rarer: it costs no attempt a message. */
static void
test_probes_back_off(void **state)
{
	struct world w;
	unsigned i;

	(void)state;
	begin_wide(&w, 2);
	kill_site(&w);
	send_to_site(&w, 100);
	assert_true(world_drain(&w));
	/* 5, then 300 600 1200 2400 4000 ... over five days */
	assert_in_range(w.delivers, 90, 130);
	for (i = 0; i < w.nmsgs; i++) {
		assert_true(w.msgs[i].gone);
		assert_int_equal(w.msgs[i].bounces, 1);
		assert_string_equal(w.msgs[i].rcpts[0].reply,
		    "expired after 5d: said the agent");
	}
	world_clear(&w);
}

static uint64_t
running_to(struct world *w)
{
	struct sched_counts n;

	run(w, 3000);
	sched_counts(w->s, &n);
	return n.running;
}

/* The window: five at first, one more with each round, half after a failure,
   never above the limit. */
static void
test_window(void **state)
{
	struct world w;
	unsigned i;

	(void)state;
	begin_wide(&w, 3);
	w.cfg.limits[SCHED_T_SMTP].concurrency = 8;
	sched_configure(w.s, &w.cfg);
	send_to_site(&w, 200);
	assert_int_equal(running_to(&w), 5);
	for (i = 0; i < 5; i++) {
		world_finish(&w, 0, FATE_DELIVERED);
	}
	assert_int_equal(running_to(&w), 6);
	for (i = 0; i < 100; i++) {
		world_finish(&w, 0, FATE_DELIVERED);
		run(&w, 50);
	}
	assert_int_equal(running_to(&w), 8);
	w.sites[SITE].down = true;
	world_finish(&w, 0, FATE_DELIVERED);
	w.sites[SITE].down = false;
	while (world_running(&w) > 4) {
		world_finish(&w, 0, FATE_FAILED); /* an answer all the same */
		world_pump(&w);
	}
	assert_true(running_to(&w) >= 4 && running_to(&w) < 8);
	world_clear(&w);
}

/* What was out when a site went down is one event: it halves the window once.
   Back from the dead it starts slowly: with one, and twice as many a round. */
static void
test_slow_start(void **state)
{
	static const uint64_t wanted[] = { 1, 2, 4, 4 };
	struct world w;
	size_t round;
	unsigned i;
	uint64_t n;

	(void)state;
	begin_wide(&w, 15);
	w.cfg.limits[SCHED_T_SMTP].concurrency = 20;
	w.cfg.limits[SCHED_T_SMTP].initial = 8;
	sched_configure(w.s, &w.cfg);
	send_to_site(&w, 100);
	assert_int_equal(running_to(&w), 8);
	w.sites[SITE].down = true;
	for (i = 0; i < 4; i++) {
		world_finish(&w, 0, FATE_DELIVERED);
	}
	w.sites[SITE].down = false;
	assert_int_equal(running_to(&w), 4); /* not 8 / 16 */
	w.sites[SITE].down = true;
	while (world_running(&w) > 0) {
		world_finish(&w, 0, FATE_DELIVERED);
		world_pump(&w);
	}
	w.sites[SITE].down = false;
	assert_true(world_is_dead(&w, SITE));
	settle(&w);
	world_advance(&w, 800000); /* all are due */
	for (round = 0; round < NELEMS(wanted); round++) {
		n = running_to(&w);
		assert_in_range(n, wanted[round], wanted[round] + 1);
		while (n-- > 0) {
			world_finish(&w, 0, FATE_DELIVERED);
		}
	}
	world_clear(&w);
}

/* With a rate delay one goes at a time, and none before the pause is over. */
static void
test_rate_delay(void **state)
{
	struct world w;
	unsigned i;

	(void)state;
	world_init(&w, 16);
	w.cfg.limits[SCHED_T_SMTP].delay = 7;
	sched_configure(w.s, &w.cfg);
	send_to_site(&w, 4);
	for (i = 0; i < 4; i++) {
		assert_int_equal(running_to(&w), 1);
		world_finish(&w, 0, FATE_DELIVERED);
		assert_int_equal(running_to(&w), 0);
		world_advance(&w, 6999);
		assert_int_equal(running_to(&w), 0);
		if (i == 0) { /* a stranger does not wait */
			(void)world_arrive(&w, 1, other);
			assert_int_equal(running_to(&w), 1);
			world_finish(&w, 0, FATE_DELIVERED);
		}
		assert_in_range(sched_wake_ms(w.s), w.mono_ms, w.mono_ms + 1);
		world_advance(&w, 1);
	}
	run(&w, 1000);
	(void)world_arrive(&w, 1, site); /* the pause was not forgotten */
	world_advance(&w, 6000);
	assert_int_equal(running_to(&w), 1);
	world_finish(&w, 0, FATE_DELIVERED);
	assert_true(world_drain(&w));
	world_clear(&w);
}

/* A first attempt that is greylisted is repeated when the reply says, and if
   that is no use, with the usual backoff. */
static void
test_greylisted(void **state)
{
	static const struct {
		const char *esc, *reply;
		unsigned least, most;
	} rows[] = {
		{ "4.2.0", "450 Greylisted, come back in 60 seconds", 60, 70 },
		{ "4.2.0", "450 Greylisted", 300, 335 },
		{ "4.2.2", "452 mailbox full", 900, 1000 },
	};
	struct world w;
	struct world_msg *m;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		world_init(&w, 17);
		w.cfg.min_backoff = 900;
		sched_configure(w.s, &w.cfg);
		w.soft = 100;
		w.esc = rows[i].esc;
		w.reply = rows[i].reply;
		m = world_arrive(&w, 1, site);
		settle(&w);
		assert_int_equal(m->attempts, 1);
		assert_in_range(m->rcpts[0].next_at - m->arrived_us / 1000000,
		    rows[i].least, rows[i].most);
		while (m->attempts == 1) {
			world_advance(&w, 1000);
			world_settle(&w);
		}
		assert_true(m->rcpts[0].next_at - w.real_us / 1000000 >= 895);
		world_clear(&w);
	}
}

/* One message to a next hop of its own, which cannot be reached. */
static void
fail_at(struct world *w, unsigned i)
{
	char hop[32];
	int n = snprintf(hop, sizeof(hop), "d%u.example.net", i);
	struct rcpt_item it = { .address = SL("x@example.net"),
		.transport = SL("smtp"), .next_hop = slice_make(hop, (size_t)n) };
	struct sched_entry_in in = { .qid = w->real_us + i,
		.arrived_us = w->real_us, .rcpts = 1, .rcpts_open = 1,
		.reverse_path = SL("sender@example.org") };
	struct sched_result r = { in.qid, 0, 0, FATE_DEFERRED, SL("4.4.1"),
		SL("no route"), SL("none"), true };
	struct sched_action a;
	struct strbuf page;

	strbuf_init(&page, 0);
	rcpt_item_encode(&it, &page);
	in.page = strbuf_slice(&page);
	assert_int_equal(sched_entry(w->s, &in, true), SCHED_ENTRY_ACTIVE);
	while (sched_next(w->s, &a)) {
		if (a.kind == SCHED_DELIVER) {
			assert_true(sched_result(w->s, SCHED_REMOTE, &r));
		} else if (a.kind == SCHED_FATES) {
			sched_fates_ack(w->s, in.qid, false, false);
		}
	}
	strbuf_clear(&page);
}

/* What is remembered of failing destinations is bounded. */
static void
test_many_sick(void **state)
{
	struct sched_counts n;
	struct world w;
	unsigned i;

	(void)state;
	world_init(&w, 13);
	for (i = 0; i < SCHED_SICK_MAX; i++) {
		fail_at(&w, i);
	}
	sched_counts(w.s, &n);
	assert_int_equal(n.destinations, SCHED_SICK_MAX);
	for (i = 0; i < 300; i++) {
		fail_at(&w, SCHED_SICK_MAX + i);
	}
	sched_counts(w.s, &n);
	assert_int_equal(n.destinations, SCHED_SICK_MAX);
	world_advance(&w, 3000 * w.cfg.max_backoff + 1);
	(void)sched_next(w.s, &(struct sched_action){ .qid = 0 });
	(void)sched_next(w.s, &(struct sched_action){ .qid = 0 });
	sched_counts(w.s, &n);
	assert_in_range(n.destinations, 0, 1);
	world_clear(&w);
}

static unsigned
distinct(uint64_t *at, unsigned n, uint64_t value)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		if (at[i] == value) {
			return n;
		}
	}
	at[n] = value;
	return n + 1;
}

/* The recipients of a message for a dead site come due together, though its
   pages come one by one; messages are spread. Twice: also those that a probe
   of another message decides. */
static void
test_recipients_come_together(void **state)
{
	const unsigned users[] = { SITE, SITE, SITE, SITE, SITE, SITE };
	struct world w;
	struct world_msg *m[20];
	uint64_t at[NELEMS(m)];
	unsigned i, j, n, same, round;

	(void)state;
	begin_wide(&w, 21);
	w.page = 2;
	kill_site(&w);
	for (i = 0; i < NELEMS(m); i++) {
		m[i] = world_arrive(&w, 6, users);
	}
	for (round = 1; round <= 2; round++) {
		for (i = 0; i < 170; i++) {
			run(&w, 3); /* a page here, one there */
			world_advance(&w, 1000);
			if (i >= 100) {
				world_settle(&w); /* also what cleanup failed */
			}
		}
		for (i = n = same = 0; i < NELEMS(m); i++) {
			n = distinct(at, n, m[i]->rcpts[0].next_at);
			for (j = 1; j < 6; j++) {
				/* else cleanup failed to read its page */
				if (m[i]->rcpts[j].attempt !=
				    m[i]->rcpts[0].attempt) {
					continue;
				}
				assert_int_equal(m[i]->rcpts[j].next_at,
				    m[i]->rcpts[0].next_at);
				same++;
			}
		}
		assert_in_range(n, 8, NELEMS(m));
		assert_true(same > NELEMS(m) * 5 / 2);
		while (m[0]->rcpts[0].attempt == round) { /* dead still */
			world_advance(&w, 1000);
			world_settle(&w);
		}
		for (i = 0; i < 60; i++) { /* all that were due with it */
			world_advance(&w, 1000);
			world_settle(&w);
		}
	}
	world_clear(&w);
}

/* A flush does not wait for the retry time. */
static void
test_flush_tries_the_dead(void **state)
{
	struct world w;
	struct world_msg *m;
	unsigned before;

	(void)state;
	world_init(&w, 4);
	kill_site(&w);
	m = world_arrive(&w, 1, site);
	settle(&w);
	before = w.delivers;
	w.sites[SITE].down = false;
	w.hurried++;
	m->forced = true;
	sched_hurry(w.s);
	assert_true(sched_flush(w.s, m->qid));
	settle(&w);
	assert_int_equal(w.delivers, before + 1);
	assert_true(m->gone);
	assert_false(world_is_dead(&w, SITE));
	world_clear(&w);
}

/* Many are released, or flushed one by one, and the site is still dead: one act
   of the administrator, one attempt; the next act is worth another. */
static void
test_one_act_is_one_probe(void **state)
{
	struct world w;
	struct world_msg *m[20];
	unsigned before, i, act;

	(void)state;
	begin_wide(&w, 22);
	kill_site(&w);
	for (i = 0; i < NELEMS(m); i++) {
		m[i] = world_arrive(&w, 1, site);
	}
	settle(&w);
	for (act = 0; act < 4; act++) {
		for (i = 0; i < NELEMS(m); i++) {
			sched_mark(w.s, m[i]->qid, IPC_MARK_HOLD, "by", 1);
			settle(&w);
		}
		before = w.delivers;
		w.hurried++;
		sched_hurry(w.s);
		for (i = 0; i < NELEMS(m); i++) {
			m[i]->forced = true;
			sched_mark(w.s, m[i]->qid, IPC_MARK_RELEASE, "", 2);
			run(&w, 200); /* the probe's outcome comes meanwhile */
			if (act % 2 == 1) {
				(void)sched_flush(w.s, m[i]->qid);
			}
			run(&w, 200);
			while (world_running(&w) > 0) {
				world_finish(&w, 0, FATE_DEFERRED);
			}
		}
		assert_int_equal(w.delivers, before + 1);
		assert_true(world_is_dead(&w, SITE));
	}
	world_clear(&w);
}

/* All of it, though hundreds wait for the outcome of one probe. */
static void
test_flush_of_all_leaves_nothing(void **state)
{
	struct world w;
	unsigned i, before, gone = 0;

	(void)state;
	begin_wide(&w, 4);
	kill_site(&w);
	send_to_site(&w, 300);
	settle(&w);
	before = w.delivers;
	w.sites[SITE].down = false;
	w.hurried++;
	for (i = 0; i < w.nmsgs; i++) {
		w.msgs[i].forced = true;
	}
	assert_int_equal(sched_flush_all(w.s), w.nmsgs);
	run(&w, 3000); /* all have come before the probe's outcome */
	assert_int_equal(w.delivers, before + 1);
	settle(&w);
	for (i = 0; i < w.nmsgs; i++) {
		gone += w.msgs[i].gone;
	}
	/* where cleanup failed, and it does once in twenty, it stays */
	assert_in_range(gone, w.nmsgs * 17 / 20, w.nmsgs);
	world_clear(&w);
}

/* -- notices ------------------------------------------------------------------- */

/* One bounce for all that failed, at the end of the pass, though one waits; and
   one warning for that. */
static void
test_notices(void **state)
{
	const unsigned users[] = { 0, 1, SITE, OTHER };
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 5);
	w.cfg.delay_warning = 7200;
	sched_configure(w.s, &w.cfg);
	m = world_arrive(&w, 4, users);
	while (world_running(&w) < 4) {
		world_pump(&w);
		(void)world_cleanup_step(&w);
	}
	world_finish(&w, 1, FATE_FAILED);
	world_finish(&w, 1, FATE_FAILED);
	world_finish(&w, 1, FATE_FAILED);
	run(&w, 100);
	assert_int_equal(m->bounces, 0);
	world_finish(&w, 0, FATE_DEFERRED);
	w.soft = 100;
	world_settle(&w);
	while (m->bounces == 0) { /* cleanup had an error */
		world_advance(&w, 1001);
		world_settle(&w);
	}
	assert_int_equal(m->bounces, 1);
	assert_false(m->gone);
	assert_true(world_drain(&w));
	assert_int_equal(m->warnings, 1);
	assert_int_equal(m->bounces, 2); /* the one that expired */
	world_clear(&w);
}

static void
test_nobody_to_tell(void **state)
{
	static const struct {
		bool null_path;
		uint32_t flags;
		unsigned bounces;
	} rows[] = {
		{ false, 0, 1 },
		{ true, 0, 0 },
		{ true, CONTENT_NOTICE, 1 }, /* a double bounce */
		{ true, CONTENT_NOTICE | CONTENT_DOUBLE, 0 },
	};
	struct world w;
	struct world_msg *m;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		world_init(&w, 6);
		w.cfg.delay_warning = 1;
		sched_configure(w.s, &w.cfg);
		w.bad = 100;
		m = world_arrive(&w, 1, site);
		m->null_path = rows[i].null_path;
		m->flags = rows[i].flags;
		assert_true(world_drain(&w));
		assert_int_equal(m->bounces, rows[i].bounces);
		assert_int_equal(m->hold, rows[i].bounces == 0);
		world_clear(&w);
	}
}

static void
test_notice_impossible(void **state)
{
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 7);
	w.bad = 100;
	w.never = "the sender cannot be told";
	m = world_arrive(&w, 1, site);
	assert_true(world_drain(&w));
	assert_true(m->hold);
	assert_string_equal(m->reason, w.never);
	assert_int_equal(m->rcpts[0].bounced, 0);
	world_clear(&w);
}

/* -- settings and transports ------------------------------------------------------ */

static void
test_bounce_lifetime(void **state)
{
	struct world w;
	struct world_msg *m, *n;

	(void)state;
	world_init(&w, 8);
	w.cfg.bounce_lifetime = 3600;
	sched_configure(w.s, &w.cfg);
	w.soft = 100;
	m = world_arrive(&w, 1, site);
	n = world_arrive(&w, 1, other);
	m->null_path = true;
	while (!m->hold) {
		world_settle(&w);
		world_advance(&w, 60000);
	}
	assert_in_range(w.real_us - m->arrived_us, 3600000000, 8000000000);
	assert_string_equal(m->rcpts[0].reply,
	    "expired after 1h: said the agent");
	assert_int_equal(n->bounces, 0);
	world_clear(&w);
}

static void
test_no_lifetime_is_one_attempt(void **state)
{
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 8);
	w.cfg.lifetime = 0;
	sched_configure(w.s, &w.cfg);
	w.soft = 100;
	m = world_arrive(&w, 1, site);
	settle(&w);
	assert_int_equal(m->rcpts[0].attempt, 1);
	assert_int_equal(m->rcpts[0].bounced, 1);
	assert_string_equal(m->rcpts[0].reply, "tried once: said the agent");
	world_clear(&w);
}

/* A next hop that failed before a message came says nothing of that one. */
static void
test_no_lifetime_and_a_dead_site(void **state)
{
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 9);
	w.cfg.lifetime = 0;
	sched_configure(w.s, &w.cfg);
	kill_site(&w);
	w.sites[SITE].down = false;
	m = world_arrive(&w, 1, site);
	settle(&w);
	assert_true(world_is_dead(&w, SITE));
	assert_false(m->gone);
	assert_int_equal(m->rcpts[0].bounced, 0);
	world_advance(&w, 2000 * w.cfg.max_backoff);
	settle(&w);
	assert_true(m->gone);
	assert_int_equal(m->rcpts[0].bounced, 0);
	world_clear(&w);
}

static void
test_soft_bounce(void **state)
{
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 9);
	w.cfg.soft_bounce = true;
	sched_configure(w.s, &w.cfg);
	w.bad = 100;
	m = world_arrive(&w, 1, site);
	settle(&w);
	assert_int_equal(m->rcpts[0].fate, FATE_DEFERRED);
	assert_string_equal(m->rcpts[0].esc, "4.1.1");
	assert_int_equal(m->bounces, 0);
	w.bad = 0;
	assert_true(world_drain(&w));
	assert_int_equal(m->rcpts[0].delivered, 1);
	world_clear(&w);
}

static void
test_hold_transport(void **state)
{
	const unsigned users[] = { 0, SITE };
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 10);
	w.transport = "hold"; /* of the sites; the next hop is the reason */
	m = world_arrive(&w, 2, users);
	assert_true(world_drain(&w));
	assert_true(m->hold);
	assert_string_equal(m->reason, "c");
	assert_int_equal(m->rcpts[0].delivered, 1);
	assert_int_equal(m->attempts, 1);
	assert_int_equal(m->bounces, 0);
	world_clear(&w);
}

static void
test_defer_transports(void **state)
{
	char smtp[] = "smtp", *names[] = { smtp };
	struct world w;
	struct world_msg *m;

	(void)state;
	world_init(&w, 11);
	w.cfg.defer_transports = (struct strlist){ names, 1 };
	sched_configure(w.s, &w.cfg);
	m = world_arrive(&w, 1, site);
	while (w.real_us - m->arrived_us < 864000000000) { /* ten days */
		world_settle(&w);
		world_advance(&w, 600000);
	}
	assert_int_equal(w.delivers, 0);
	assert_int_equal(m->bounces, 0); /* never tried: it does not expire */
	assert_string_equal(m->rcpts[0].reply,
	    "the transport \"smtp\" is deferred until it is flushed");
	assert_string_equal(m->rcpts[0].esc, "4.3.2");
	m->forced = true;
	w.hurried++;
	assert_int_equal(sched_flush_all(w.s), 1);
	settle(&w);
	assert_int_equal(w.delivers, 1);
	assert_true(m->gone);
	world_clear(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dead_and_alive),
		cmocka_unit_test(test_one_failure_a_delivery),
		cmocka_unit_test(test_probes_back_off),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_slow_start),
		cmocka_unit_test(test_rate_delay),
		cmocka_unit_test(test_greylisted),
		cmocka_unit_test(test_many_sick),
		cmocka_unit_test(test_recipients_come_together),
		cmocka_unit_test(test_flush_tries_the_dead),
		cmocka_unit_test(test_one_act_is_one_probe),
		cmocka_unit_test(test_flush_of_all_leaves_nothing),
		cmocka_unit_test(test_notices),
		cmocka_unit_test(test_nobody_to_tell),
		cmocka_unit_test(test_notice_impossible),
		cmocka_unit_test(test_bounce_lifetime),
		cmocka_unit_test(test_no_lifetime_is_one_attempt),
		cmocka_unit_test(test_no_lifetime_and_a_dead_site),
		cmocka_unit_test(test_soft_bounce),
		cmocka_unit_test(test_hold_transport),
		cmocka_unit_test(test_defer_transports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
