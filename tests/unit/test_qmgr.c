/* The queue manager's program part, with fakes at its channels. */
#include "config.h"

#include <stdio.h>
#include <time.h>

#include "common/log.h"
#include "common/qid.h"
#include "tests/unit/qmgr_fakes.h"

static void
test_way_of_a_message(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	fake_start_agent(&f);
	fake_arrive(&f, 0, 3);
	WAIT(&f, f.ngiven == 3);
	fake_result(&f, &f.given[0], FATE_DELIVERED);
	fake_result(&f, &f.given[1], FATE_DELIVERED);
	fake_result(&f, &f.given[2], FATE_DELIVERED);
	WAIT(&f, f.acks == 3);
	assert_int_equal(f.fates, 1); /* recorded together */
	assert_false(f.msgs[0].here);
	fake_arrive(&f, 1, 1);
	WAIT(&f, f.ngiven == 4);
	assert_int_equal(f.given[3].qid, QID0 + 1);
	fake_end(&f);
}

/* No dispatching before the agent has said what it has, nor without cleanup. */
static void
test_order_at_start(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	f.quiet_hello = true;
	fake_start_agent(&f);
	fake_arrive(&f, 0, 1);
	fake_turns(&f, 20);
	assert_int_equal(f.ngiven, 0);
	fake_hello(&f, NULL, 0);
	WAIT(&f, f.ngiven == 1);
	fake_end(&f);
}

/* The spool says no: the result is kept, and told again. */
static void
test_fates_refused(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	fake_start_agent(&f);
	f.refuse = 1;
	fake_arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	fake_result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, f.fates == 1);
	fake_turns(&f, 10);
	assert_int_equal(f.acks, 0);
	WAIT(&f, f.fates == 2); /* a second later */
	WAIT(&f, f.acks == 1);
	assert_false(f.msgs[0].here);
	fake_end(&f);
}

static long
ms_since(const struct timespec *then)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - then->tv_sec) * 1000 +
	    (now.tv_nsec - then->tv_nsec) / 1000000;
}

/*
 * The end of a delivered message waits for company (unless we are too slow to
 * see it); what is to be tried again does not, nor what is not the last.
 */
static void
test_last_fates_wait(void **state)
{
	struct fix f;
	unsigned i, waited = 0, base, fates;
	bool at_once = false, fast = false;
	struct timespec begun;

	(void)state;
	fake_begin(&f);
	fake_start_agent(&f);
	/* A busy host may lose a race; one of several is won. */
	for (i = 0; i < MSGS / 2; i++) {
		fake_arrive(&f, i, 1);
		WAIT(&f, f.ngiven == i + 1);
		(void)clock_gettime(CLOCK_MONOTONIC, &begun);
		fake_result(&f, &f.given[i], FATE_DELIVERED);
		fake_turns(&f, 5);
		waited += f.fates == i;
		fast = fast || ms_since(&begun) < IPC_LATER_MS / 2;
		WAIT(&f, f.fates == i + 1);
	}
	assert_true(waited > 0 || !fast); /* valgrind is never fast */
	for (; i < MSGS && !at_once; i++) {
		base = f.ngiven;
		fates = f.fates;
		fake_arrive(&f, i, 2);
		WAIT(&f, f.ngiven == base + 2);
		fake_result(&f, &f.given[base], FATE_DELIVERED);
		fake_turns(&f, 5);
		at_once = f.fates == fates + 1;
		WAIT(&f, f.fates == fates + 1);
		fake_result(&f, &f.given[base + 1], FATE_DEFERRED);
		fake_turns(&f, 5);
		at_once = at_once && f.fates == fates + 2;
		WAIT(&f, f.fates == fates + 2);
	}
	assert_true(at_once);
	fake_end(&f);
}

/* Cleanup dies with the fates in its hands, recorded or not. */
static void
test_cleanup_dies(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	fake_start_agent(&f);
	fake_arrive(&f, 0, 2);
	WAIT(&f, f.ngiven == 2);
	f.mute = true;
	f.refuse = 1; /* what it was told is forgotten */
	fake_result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, f.fates == 1);
	ipc_chan_free(f.cleanup);
	f.cleanup = NULL;
	fake_turns(&f, 5);
	fake_result(&f, &f.given[1], FATE_DELIVERED); /* meanwhile */
	fake_turns(&f, 5);
	assert_int_equal(f.acks, 0);
	f.mute = false;
	f.refuse = 0;
	fake_start_cleanup(&f);
	WAIT(&f, f.acks == 2);
	fake_turns(&f, 10);
	assert_int_equal(f.ngiven, 2); /* TAKE told it again: nothing twice */
	assert_false(f.msgs[0].here);
	fake_end(&f);
}

/* Master's word comes before or after the channel's end; or never, when the agent
   lives and only the channel is new. */
static void
agent_dies(bool first, bool after, bool itself)
{
	struct fix f;
	uint64_t t;

	fake_begin(&f);
	fake_start_agent(&f);
	fake_arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	t = qmgr_mono_ms();
	if (first) {
		qmgr_agent_died(&f.q, SCHED_LOCAL, itself);
		fake_turns(&f, 5);
		assert_int_equal(f.crashes, 0); /* its last words come first */
	}
	ipc_chan_free(f.agent);
	f.agent = NULL;
	fake_turns(&f, 5);
	if (after) {
		qmgr_agent_died(&f.q, SCHED_LOCAL, itself);
	}
	fake_start_agent(&f);
	WAIT(&f, f.ngiven == 2);
	assert_true(qmgr_mono_ms() - t >= 900); /* it gets a second */
	assert_int_equal(f.given[1].attempt, 0); /* that was no attempt */
	fake_result(&f, &f.given[1], FATE_DELIVERED);
	WAIT(&f, f.acks == 1);
	assert_int_equal(f.crashes, itself);
	qmgr_agent_died(&f.q, SCHED_REMOTE, true); /* it was never there */
	fake_end(&f);
}

static void
test_agent_dies(void **state)
{
	(void)state;
	agent_dies(true, false, true);
	agent_dies(false, true, true);
	agent_dies(true, false, false);
	agent_dies(false, true, false);
	agent_dies(false, false, false);
}

/* We died; the agent lives, still has one and has ended another. */
static void
test_qmgr_was_restarted(void **state)
{
	const struct given before[] = { { QID0, 0, 0 }, { QID0, 1, 0 },
		{ QID0 + 5, 0, 0 } };
	struct fix f;

	(void)state;
	fake_begin(&f);
	f.quiet_hello = true;
	fake_start_agent(&f);
	fake_hello(&f, before, 3);
	fake_result(&f, &before[1], FATE_DELIVERED);
	fake_result(&f, &before[2], FATE_DELIVERED); /* long recorded, and gone */
	fake_arrive(&f, 0, 3);
	WAIT(&f, f.acks == 2);
	assert_int_equal(f.msgs[0].done, 1);
	fake_result(&f, &before[0], FATE_DELIVERED);
	WAIT(&f, f.ngiven == 1);
	assert_int_equal(f.given[0].index, 2); /* the only one that it had not */
	fake_result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, !f.msgs[0].here && f.acks == 4);
	fake_end(&f);
}

/* What failed for good: its sender is told, once. */
static void
test_bounce(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	fake_start_agent(&f);
	fake_arrive(&f, 0, 2);
	WAIT(&f, f.ngiven == 2);
	fake_result(&f, &f.given[0], FATE_FAILED);
	WAIT(&f, f.acks == 1);
	assert_int_equal(f.notices, 0); /* the pass is not over */
	fake_result(&f, &f.given[1], FATE_FAILED);
	WAIT(&f, !f.msgs[0].here);
	assert_int_equal(f.notices, 1);
	assert_int_equal(f.msgs[0].fate[0], FATE_FAILED);
	assert_int_equal(f.msgs[0].fate[1], FATE_FAILED);
	fake_turns(&f, 10);
	assert_int_equal(f.notices, 1);
	fake_end(&f);
}

static void
list_filtered(struct fix *f)
{
	static const struct {
		const char *words;
		unsigned rows;
	} lists[] = {
		{ "list sender=nobody@example.org", 0 },
		{ "list sender=example.org age=1w", 0 },
		{ "list domain=EXAMPLE.net", 1 },
		{ "list domain=ample.net", 0 },
		{ "list destination=ann", 1 },
		{ "list destination=local:ann status=hold", 1 },
		{ "list destination=smtp:ann", 0 },
		{ "list destination=local:an", 0 },
	};
	size_t i;

	for (i = 0; i < NELEMS(lists); i++) {
		fake_ask(f, lists[i].words);
		WAIT(f, f->ended);
		if (f->rows != lists[i].rows || f->exit != 0) {
			fail_msg("%s: %u rows", lists[i].words, f->rows);
		}
	}
}

/* A failure that nobody can be told of: on hold, seen, released, deleted. */
static void
test_service(void **state)
{
	struct fix f;
	char id[QID_TEXT + 1], words[100];

	(void)state;
	fake_begin(&f);
	fake_start_agent(&f);
	f.notice_error = 1;
	qid_format(QID0, id);
	fake_ask(&f, "list");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 0);
	fake_arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	fake_ask(&f, "list");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 1);
	assert_int_equal(f.exit, 0);
	assert_non_null(memmem(f.row, sizeof(f.row), id, QID_TEXT));
	assert_non_null(memmem(f.row, sizeof(f.row), "active", 6));
	fake_result(&f, &f.given[0], FATE_FAILED);
	WAIT(&f, f.msgs[0].hold);
	assert_string_equal(f.msgs[0].esc[0], "5.1.1");
	fake_ask(&f, "list status=hold recipient=example.net");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 1);
	assert_non_null(memmem(f.row, sizeof(f.row), "by hand", 7));
	list_filtered(&f);
	assert_true(snprintf(words, sizeof(words), "flush %s", id) > 0);
	fake_ask(&f, words);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 75);
	assert_non_null(strstr(f.text, "is on hold"));
	assert_true(snprintf(words, sizeof(words), "release %s", id) > 0);
	fake_ask(&f, words);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 0);
	WAIT(&f, f.ngiven == 2); /* tried again at once */
	assert_true(snprintf(words, sizeof(words), "delete %s", id) > 0);
	fake_ask(&f, words);
	WAIT(&f, f.ended);
	assert_non_null(strstr(f.text, "deleted; in flight, and perhaps "
	    "delivered all the same: 1"));
	fake_result(&f, &f.given[1], FATE_DELIVERED);
	WAIT(&f, f.acks == 2);
	fake_ask(&f, words);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 66);
	fake_end(&f);
}

/* Who waits for an act for more than a second is told how far it is. */
static void
test_progress(void **state)
{
	struct fix f;
	uint64_t from;
	unsigned i;

	(void)state;
	fake_begin(&f);
	for (i = 0; i < 3; i++) {
		fake_arrive(&f, i, 1);
	}
	f.keep_marks = true;
	f.q.ipc_timeout_ms = 20000; /* cleanup is not given up meanwhile */
	WAIT(&f, sched_known(f.q.s) == 3);
	from = qmgr_mono_ms();
	fake_ask(&f, "hold all");
	WAIT(&f, f.marks == 3);
	fake_marked(&f);
	fake_turns(&f, 5);
	assert_true(f.rows == 0 || qmgr_mono_ms() - from >= 1000);
	WAIT(&f, qmgr_mono_ms() - from > 1500);
	fake_marked(&f);
	WAIT(&f, f.rows > 0);
	assert_non_null(memmem(f.row, sizeof(f.row), "_progress", 9));
	assert_non_null(memmem(f.row, sizeof(f.row),
	    "3 of 3 messages looked at, ", 27));
	assert_false(f.ended);
	fake_marked(&f);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 0);
	assert_string_equal(f.text, "3 messages on hold");
	fake_end(&f);
}

/* After a start cleanup hands over what waits, and new mail between it: who asks
   for all gets all, in order, whatever was known when they asked. */
static void
test_walk_follows_the_scan(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	f.scanning = true;
	fake_arrive(&f, 7, 1); /* new: it overtakes */
	fake_turns(&f, 20);
	fake_ask(&f, "count");
	WAIT(&f, f.ended);
	assert_non_null(strstr(f.text, "being read in"));
	fake_ask(&f, "list");
	fake_turns(&f, 20);
	assert_false(f.ended);
	assert_int_equal(f.rows, 0);
	fake_arrive(&f, 1, 1);
	fake_turns(&f, 20);
	fake_arrive(&f, 0, 1);
	fake_turns(&f, 20);
	fake_scanned(&f, QID0 + 1);
	WAIT(&f, f.rows == 2);
	fake_turns(&f, 20);
	assert_false(f.ended);
	fake_arrive(&f, 2, 1);
	fake_scanned(&f, UINT64_MAX);
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 4);
	assert_int_equal(f.exit, 0);
	fake_ask(&f, "count");
	WAIT(&f, f.ended);
	assert_string_equal(f.text, "");
	fake_end(&f);
}

/* One that is asked for by its id, before it is known. */
static void
test_one_before_the_scan(void **state)
{
	struct fix f;
	char id[QID_TEXT + 1], words[100];

	(void)state;
	fake_begin(&f);
	f.scanning = true;
	qid_format(QID0 + 2, id);
	assert_true(snprintf(words, sizeof(words), "flush %s", id) > 0);
	fake_ask(&f, words);
	fake_turns(&f, 20);
	assert_false(f.ended);
	fake_start_agent(&f);
	fake_arrive(&f, 2, 1);
	fake_scanned(&f, QID0 + 2);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 0);
	qid_format(QID0 + 1, id);
	assert_true(snprintf(words, sizeof(words), "flush %s", id) > 0);
	fake_ask(&f, words);
	WAIT(&f, f.ended); /* the scan has been there */
	assert_int_equal(f.exit, 66);
	fake_end(&f);
}

static void
test_service_bad_words(void **state)
{
	static const char *const bad[] = { "delete", "delete xyz", "hold id=5",
		"list status=lost", "list colour=red", "list age=old",
		"list age=0", "list domain=a@b", "list domain=", "nonsense", "count x",
		"release all x" };
	struct fix f;
	size_t i;

	(void)state;
	fake_begin(&f);
	for (i = 0; i < NELEMS(bad); i++) {
		fake_ask(&f, bad[i]);
		WAIT(&f, f.ended);
		assert_int_equal(f.exit, 64);
	}
	fake_ask(&f, "hold all");
	WAIT(&f, f.ended);
	assert_string_equal(f.text, "0 messages on hold");
	fake_ask(&f, "count");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 1);
	fake_end(&f);
}

/* A question that cleanup does not answer in time ends, and is asked again. */
static void
test_deadline(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	fake_start_agent(&f);
	fake_arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	f.mute = true;
	f.refuse = 100;
	fake_ask(&f, "list");
	fake_result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 75);
	WAIT(&f, f.fates >= 2);
	f.mute = false;
	f.refuse = 0;
	WAIT(&f, f.acks == 1);
	fake_end(&f);
}

static void
test_stop(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	fake_start_agent(&f);
	fake_arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	qmgr_stop(&f.q, 5000);
	fake_arrive(&f, 1, 1);
	fake_turns(&f, 10);
	assert_false(f.stopped);
	fake_result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, f.stopped);
	assert_false(f.msgs[0].here);
	assert_int_equal(f.ngiven, 1);
	fake_end(&f);
}

static void
test_peer_lost(void **state)
{
	struct fix f;

	(void)state;
	fake_begin(&f);
	ipc_chan_free(f.cleanup);
	f.cleanup = NULL;
	WAIT(&f, f.lost);
	fake_end(&f);
}

/* What makes no sense closes that channel, and nothing else. */
enum bad_kind {
	BAD_RESULT_EARLY,
	BAD_RESULT_FATE,
	BAD_RESULT_ATTEMPT,
	BAD_HELLO_SIZE,
	BAD_HELLO_TWICE,
	BAD_ENTRY_PAGE,
	BAD_TAKEN,
	BADS
};

static void
do_bad(struct fix *f, enum bad_kind kind)
{
	struct given g;

	switch (kind) {
	case BAD_RESULT_EARLY:
		fake_result(f, &(struct given){ QID0, 0, 0 }, FATE_DELIVERED);
		break;
	case BAD_RESULT_FATE:
		fake_result(f, &(struct given){ QID0, 0, 0 }, FATE_EXPANDED);
		break;
	case BAD_RESULT_ATTEMPT:
		WAIT(f, f->ngiven == 1);
		g = f->given[0];
		g.attempt += 7;
		fake_result(f, &g, FATE_DELIVERED);
		break;
	case BAD_HELLO_SIZE:
		ipc_begin(f->agent, IPC_AGENT_HELLO, 0);
		ipc_put_str(f->agent, "seventeen octets.");
		ipc_end(f->agent);
		break;
	case BAD_HELLO_TWICE:
		fake_hello(f, NULL, 0);
		break;
	case BAD_ENTRY_PAGE:
		f->bad_page = true;
		fake_arrive(f, 1, 1);
		break;
	case BAD_TAKEN:
		ipc_begin(f->cleanup, IPC_TAKEN, 999);
		ipc_put_u(f->cleanup, 1);
		ipc_end(f->cleanup);
		break;
	case BADS:
		break;
	}
}

static void
test_bad_messages(void **state)
{
	unsigned k;
	struct fix f;

	(void)state;
	for (k = 0; k < BADS; k++) {
		fake_begin(&f);
		f.quiet_hello = k == BAD_RESULT_EARLY || k == BAD_HELLO_SIZE;
		fake_start_agent(&f);
		WAIT(&f, f.taking);
		if (k == BAD_RESULT_ATTEMPT) {
			fake_arrive(&f, 0, 1);
		}
		do_bad(&f, (enum bad_kind)k);
		if (k == BAD_ENTRY_PAGE || k == BAD_TAKEN) {
			WAIT(&f, f.cleanup_closed);
			assert_false(f.agent_closed);
		} else {
			WAIT(&f, f.agent_closed);
			assert_false(f.cleanup_closed);
		}
		fake_end(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_way_of_a_message),
		cmocka_unit_test(test_order_at_start),
		cmocka_unit_test(test_fates_refused),
		cmocka_unit_test(test_last_fates_wait),
		cmocka_unit_test(test_cleanup_dies),
		cmocka_unit_test(test_agent_dies),
		cmocka_unit_test(test_qmgr_was_restarted),
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_service),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_walk_follows_the_scan),
		cmocka_unit_test(test_one_before_the_scan),
		cmocka_unit_test(test_service_bad_words),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_peer_lost),
		cmocka_unit_test(test_bad_messages),
	};

	log_setup("test_qmgr", false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
