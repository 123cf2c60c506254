/* Notices: who is told, what is recorded, and that nobody is told twice. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup/accepting.h"
#include "common/qid.h"
#include "tests/unit/notice_kit.h"

#define TEXT "From: a@b.example\r\nSubject: hello\r\n\r\nthe body\r\n"

/* A message from `sender' to ann and bob. */
static uint64_t
to_two(struct world *w, const char *sender)
{
	uint64_t qid = 0;

	smtpd_mail(w, 1, sender);
	assert_int_equal(smtpd_rcpt(w, 1, "ann@example.org"), 250);
	assert_int_equal(smtpd_rcpt(w, 1, "bob@example.org"), 250);
	assert_int_equal(smtpd_content(w, 1, TEXT), 0);
	assert_int_equal(smtpd_commit(w, 1, strlen(TEXT), &qid), 250);
	return qid;
}

static void
done(const struct got *g, unsigned error, bool gone)
{
	assert_int_equal(g->u[2], error);
	assert_int_equal(g->u[3], gone);
}

static uint64_t
only_child(struct world *w, uint64_t parent)
{
	uint64_t qids[4] = { 0 };

	assert_int_equal(notice_children(w, parent, qids, NELEMS(qids)), 1);
	return qids[0];
}

static void
a_bounce(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid;

	(void)state;
	world_begin(&w, "");
	qid = to_two(&w, "a@b.example");
	assert_int_equal(notice_stuck(&w, qid, 1), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, false);
	/* the order again, as after a crash: no second one */
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, false);
	assert_true(letter_see(&w, only_child(&w, qid), &l));
	assert_string_equal(l.reverse_path, "");
	assert_string_equal(l.address, "a@b.example");
	assert_string_equal(l.transport, "smtp");
	assert_string_equal(l.next_hop, "b.example");
	assert_int_equal(l.nrcpts, 1);
	assert_int_equal(l.flags, CONTENT_NOTICE);
	assert_non_null(strstr(l.content, "To: <a@b.example>\r\n"));
	assert_non_null(strstr(l.content, "Final-Recipient: rfc822; "
	    "bob@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"
	    "Remote-MTA: dns; mx.far.example\r\n"
	    "Diagnostic-Code: smtp; 550 5.1.1 nobody of that name\r\n"));
	assert_null(strstr(l.content, "ann@example.org"));
	assert_non_null(strstr(l.content, "\r\nSubject: hello\r\n"));
	assert_null(strstr(l.content, "the body"));
	letter_clear(&l);
	assert_true(letter_see(&w, qid, &l));
	assert_int_equal(l.fate[0], FATE_NONE);
	assert_int_equal(l.fate[1], FATE_FAILED);
	letter_clear(&l);
	/* the last one: the message goes with it */
	assert_int_equal(notice_stuck(&w, qid, 0), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, true);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, true);
	assert_int_equal(spool_count(w.pg.spool), 2);
	world_end(&w);
}

/* One for all that have failed by then; a deferred one is not meant. */
static void
one_bounce_for_several(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid;

	(void)state;
	world_begin(&w, "notify_classes =\nbounce_size_limit = 0\n");
	qid = to_two(&w, "a@b.example");
	assert_int_equal(notice_stuck(&w, qid, 0), 0);
	assert_int_equal(notice_fate(&w, qid, 1, FATE_DEFERRED), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, false);
	assert_int_equal(notice_stuck(&w, qid, 1), 0);
	assert_true(letter_see(&w, only_child(&w, qid), &l));
	assert_null(strstr(l.content, "bob@example.org"));
	assert_null(strstr(l.content, "Subject: hello"));
	letter_clear(&l);
	qid = to_two(&w, "a@b.example");
	assert_int_equal(notice_stuck(&w, qid, 0), 0);
	assert_int_equal(notice_stuck(&w, qid, 1), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, true);
	assert_true(letter_see(&w, only_child(&w, qid), &l));
	assert_non_null(strstr(l.content, "rfc822; ann@example.org"));
	assert_non_null(strstr(l.content, "rfc822; bob@example.org"));
	letter_clear(&l);
	world_end(&w);
}

/* From the sender to postmaster, and no further. */
static void
double_bounces_end(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid, bounce, second;
	struct got *g;

	(void)state;
	world_begin(&w, "alias_maps = inline:{ postmaster=ann }\n");
	qid = to_two(&w, "a@b.example");
	assert_int_equal(notice_stuck(&w, qid, 0), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, false);
	bounce = only_child(&w, qid);
	assert_int_equal(notice_stuck(&w, bounce, 0), 0);
	done(notice_order(&w, bounce, IPC_NOTICE_FAILED), 0, true);
	second = only_child(&w, bounce);
	assert_true(letter_see(&w, second, &l));
	assert_string_equal(l.reverse_path, "");
	assert_string_equal(l.address, "ann@example.org");
	assert_string_equal(l.transport, "local");
	assert_int_equal(l.flags, CONTENT_NOTICE | CONTENT_DOUBLE);
	assert_non_null(strstr(l.content, "To: <postmaster@example.org>\r\n"));
	assert_non_null(strstr(l.content, "MAILER-DAEMON@example.org"));
	letter_clear(&l);
	assert_int_equal(notice_stuck(&w, second, 0), 0);
	g = notice_order(&w, second, IPC_NOTICE_FAILED);
	done(g, 1, false);
	assert_non_null(strstr(g->s[4].p, "for the postmaster"));
	assert_int_equal(notice_fate(&w, second, 0, FATE_DEFERRED), 0);
	assert_int_equal(spool_count(w.pg.spool), 2);
	world_end(&w);
}

static void
nobody_to_tell(void **state)
{
	struct letter_seen l;
	struct world w;
	struct got *g;
	uint64_t qid;

	(void)state;
	world_begin(&w, "");
	qid = to_two(&w, "");
	assert_int_equal(notice_stuck(&w, qid, 0), 0);
	g = notice_order(&w, qid, IPC_NOTICE_FAILED);
	done(g, 1, false);
	assert_non_null(strstr(g->s[4].p, "no sender to tell"));
	/* a delay: noted, so that the order is not given for ever */
	assert_int_equal(notice_fate(&w, qid, 1, FATE_DEFERRED), 0);
	done(notice_order(&w, qid, IPC_NOTICE_DELAYED), 0, false);
	assert_int_equal(spool_count(w.pg.spool), 1);
	assert_true(letter_see(&w, qid, &l));
	assert_false(l.warned[0]);
	assert_true(l.warned[1]);
	letter_clear(&l);
	/* no such message: it has gone */
	done(notice_order(&w, 77, IPC_NOTICE_FAILED), 0, true);
	world_end(&w);
}

/* A sender of ours that does not exist: the notice fails at its delivery. */
static void
unknown_senders(void **state)
{
	static const char *const senders[] = { "nobody@example.org",
		"x@[300.1.1.1]" };
	struct letter_seen l;
	struct world w;
	uint64_t qid;

	(void)state;
	world_begin(&w, "");
	qid = to_two(&w, senders[0]);
	assert_int_equal(notice_stuck(&w, qid, 0), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, false);
	assert_true(letter_see(&w, only_child(&w, qid), &l));
	assert_string_equal(l.address, senders[0]);
	assert_string_equal(l.transport, "error");
	assert_memory_equal(l.next_hop, "5.1.1 ", 6);
	letter_clear(&l);
	world_end(&w);
}

/* The resolver does not know just now: later, and nothing is recorded. */
static void
senders_not_looked_up_now(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid;

	(void)state;
	world_begin(&w, "ipc_timeout = 1s\n");
	qid = to_two(&w, "slow@example.org");
	assert_int_equal(notice_stuck(&w, qid, 0), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 2, false);
	assert_true(letter_see(&w, qid, &l));
	assert_int_equal(l.fate[0], FATE_DEFERRED);
	letter_clear(&l);
	/* the asker goes while the resolver waits: nothing is made for it */
	peer_send(&w.qmgr, IPC_NOTICE, 81, "uu", qid,
	    (uint64_t)IPC_NOTICE_FAILED);
	world_settle(&w);
	world_connect_qmgr(&w);
	world_settle(&w);
	assert_int_equal(spool_count(w.pg.spool), 1);
	world_end(&w);
}

static void
delay_warnings(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid, qids[4];

	(void)state;
	world_begin(&w, "maximal_queue_lifetime = 5d\n");
	qid = to_two(&w, "carl@example.org");
	assert_int_equal(notice_fate(&w, qid, 0, FATE_DEFERRED), 0);
	assert_int_equal(notice_stuck(&w, qid, 1), 0);
	done(notice_order(&w, qid, IPC_NOTICE_DELAYED), 0, false);
	done(notice_order(&w, qid, IPC_NOTICE_DELAYED), 0, false);
	assert_true(letter_see(&w, only_child(&w, qid), &l));
	assert_string_equal(l.address, "carl@example.org");
	assert_string_equal(l.transport, "local");
	assert_non_null(strstr(l.content, "Action: delayed\r\n"
	    "Status: 4.4.1\r\nDiagnostic-Code: x-veredus; no answer\r\n"));
	assert_non_null(strstr(l.content, "Will-Retry-Until: "));
	assert_null(strstr(l.content, "rfc822; bob@example.org"));
	letter_clear(&l);
	world_restart(&w);
	assert_true(letter_see(&w, qid, &l));
	assert_int_equal(l.open, 2);
	assert_true(l.warned[0] && !l.warned[1]);
	letter_clear(&l);
	/* the other one waits now, too: it alone is told of */
	assert_int_equal(notice_fate(&w, qid, 1, FATE_DEFERRED), 0);
	done(notice_order(&w, qid, IPC_NOTICE_DELAYED), 0, false);
	assert_int_equal(notice_children(&w, qid, qids, NELEMS(qids)), 2);
	assert_true(letter_see(&w, qids[1], &l));
	assert_null(strstr(l.content, "rfc822; ann@example.org"));
	assert_non_null(strstr(l.content, "rfc822; bob@example.org"));
	letter_clear(&l);
	world_end(&w);
}

/* One that was never tried, as its transport is `hold', is not late. */
static void
no_warning_of_what_was_not_tried(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid, qids[4];

	(void)state;
	world_begin(&w, "");
	qid = to_two(&w, "carl@example.org");
	done(notice_order(&w, qid, IPC_NOTICE_DELAYED), 0, false);
	assert_int_equal(notice_children(&w, qid, qids, NELEMS(qids)), 0);
	assert_int_equal(notice_fate(&w, qid, 0, FATE_DEFERRED), 0);
	done(notice_order(&w, qid, IPC_NOTICE_DELAYED), 0, false);
	assert_true(letter_see(&w, only_child(&w, qid), &l));
	assert_non_null(strstr(l.content, "rfc822; ann@example.org"));
	assert_null(strstr(l.content, "bob@example.org"));
	letter_clear(&l);
	assert_true(letter_see(&w, qid, &l));
	assert_true(l.warned[0] && !l.warned[1]);
	letter_clear(&l);
	world_end(&w);
}

static void
copies_for_postmaster(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid, qids[4];

	(void)state;
	world_begin(&w, "notify_classes = bounce, delay\n"
	    "notice_recipient = carl\n");
	qid = to_two(&w, "a@b.example");
	assert_int_equal(notice_fate(&w, qid, 0, FATE_DEFERRED), 0);
	done(notice_order(&w, qid, IPC_NOTICE_DELAYED), 0, false);
	assert_int_equal(notice_children(&w, qid, qids, 4), 2);
	assert_int_equal(notice_stuck(&w, qid, 1), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, false);
	assert_int_equal(notice_children(&w, qid, qids, 4), 4);
	assert_true(letter_see(&w, qids[2], &l));
	assert_string_equal(l.address, "a@b.example");
	letter_clear(&l);
	assert_true(letter_see(&w, qids[3], &l));
	assert_string_equal(l.address, "carl@example.org");
	assert_int_equal(l.flags, CONTENT_NOTICE | CONTENT_DOUBLE);
	assert_non_null(strstr(l.content, "A message from <a@b.example>"));
	letter_clear(&l);
	world_end(&w);
}

/* Of a large message the beginning is read from its file. */
static void
a_large_message(void **state)
{
	static char piece[60001];
	struct letter_seen l;
	struct world w;
	uint64_t qid = 0;
	unsigned i;

	(void)state;
	memset(piece, 'y', sizeof(piece) - 1);
	memcpy(piece + 59998, "\r\n", 2);
	world_begin(&w, "");
	smtpd_mail(&w, 1, "a@b.example");
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	assert_int_equal(smtpd_content(&w, 1, TEXT), 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(smtpd_content(&w, 1, piece), 0);
	}
	assert_int_equal(smtpd_commit(&w, 1, strlen(TEXT) + 4 * 60000, &qid),
	    250);
	world_restart(&w);
	assert_int_equal(notice_stuck(&w, qid, 0), 0);
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, true);
	assert_true(letter_see(&w, only_child(&w, qid), &l));
	assert_non_null(strstr(l.content, "\r\nSubject: hello\r\n"));
	assert_null(strstr(l.content, "yyy"));
	letter_clear(&l);
	world_end(&w);
}

/* -- alarms ------------------------------------------------------------------- */

/* The queue's disk is full, or not. */
static void
look(struct world *w, bool full)
{
	w->settings.queue_minfree = full ? UINT64_MAX : 0;
	accepting_look(w->pg.accepting);
	world_settle(w);
}

static void
a_full_disk(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid;

	(void)state;
	world_begin(&w, "notice_recipient = carl\n");
	look(&w, true);
	assert_int_equal(spool_count(w.pg.spool), 1);
	assert_int_equal(spool_list(w.pg.spool, 0, &qid, 1), 1);
	assert_true(letter_see(&w, qid, &l));
	assert_string_equal(l.reverse_path, "");
	assert_string_equal(l.address, "carl@example.org");
	assert_int_equal(l.flags, CONTENT_NOTICE | CONTENT_DOUBLE);
	assert_non_null(strstr(l.content, "To: <carl@example.org>\r\n"));
	assert_non_null(strstr(l.content, "queue_minfree = "));
	letter_clear(&l);
	/* once an hour */
	look(&w, false);
	look(&w, true);
	assert_int_equal(spool_count(w.pg.spool), 1);
	world_end(&w);
	/* not wanted; nobody to tell; a stop is no alarm */
	world_begin(&w, "notify_classes = bounce\n");
	look(&w, true);
	assert_int_equal(spool_count(w.pg.spool), 0);
	world_end(&w);
	world_begin(&w, "notice_recipient = nobody\n");
	look(&w, true);
	assert_int_equal(spool_count(w.pg.spool), 0);
	world_end(&w);
	world_begin(&w, "notice_recipient = carl\n");
	w.pg.stopping = true;
	look(&w, false);
	assert_int_equal(spool_count(w.pg.spool), 0);
	w.pg.stopping = false;
	world_end(&w);
	/* the resolver has not answered when all ends */
	world_begin(&w, "notice_recipient = slow\n");
	w.settings.queue_minfree = UINT64_MAX;
	accepting_look(w.pg.accepting);
	world_end(&w);
}

static void
damage(struct world *w, uint64_t qid)
{
	char path[128], id[QID_TEXT + 1];
	unsigned h;
	FILE *f;

	qid_format(qid, id);
	for (h = 0; h < 16; h++) {
		(void)snprintf(path, sizeof(path), "%s/queue/%x/%s", w->dir, h,
		    id);
		f = fopen(path, "r+");
		if (f != NULL) {
			assert_int_equal(fwrite("oh no", 1, 5, f), 5);
			assert_int_equal(fclose(f), 0);
			return;
		}
	}
	fail_msg("no file %s", id);
}

static void
a_damaged_file(void **state)
{
	struct letter_seen l;
	struct world w;
	uint64_t qid, told = 0;

	(void)state;
	world_begin(&w, "notice_recipient = carl\n");
	qid = to_two(&w, "a@b.example");
	world_restart(&w);
	damage(&w, qid);
	assert_false(letter_see(&w, qid, &l));
	assert_int_equal(spool_corrupt_count(w.pg.spool), 1);
	world_wait(&w, spool_list(w.pg.spool, 0, &told, 1) == 1);
	assert_true(letter_see(&w, told, &l));
	assert_string_equal(l.address, "carl@example.org");
	assert_non_null(strstr(l.content, "1 queued messages were found "
	    "damaged"));
	letter_clear(&l);
	/* an order about what is damaged: it is gone */
	done(notice_order(&w, qid, IPC_NOTICE_FAILED), 0, true);
	/* a restart tells of new ones only */
	world_restart(&w);
	assert_int_equal(spool_count(w.pg.spool), 1);
	world_end(&w);
}

static void
a_bad_kind_closes_the_channel(void **state)
{
	struct world w;

	(void)state;
	world_begin(&w, "");
	peer_send(&w.qmgr, IPC_NOTICE, 1, "uu", (uint64_t)1, (uint64_t)2);
	world_wait(&w, w.qmgr.closed);
	world_end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bounce),
		cmocka_unit_test(one_bounce_for_several),
		cmocka_unit_test(double_bounces_end),
		cmocka_unit_test(nobody_to_tell),
		cmocka_unit_test(unknown_senders),
		cmocka_unit_test(senders_not_looked_up_now),
		cmocka_unit_test(delay_warnings),
		cmocka_unit_test(no_warning_of_what_was_not_tried),
		cmocka_unit_test(copies_for_postmaster),
		cmocka_unit_test(a_large_message),
		cmocka_unit_test(a_full_disk),
		cmocka_unit_test(a_damaged_file),
		cmocka_unit_test(a_bad_kind_closes_the_channel),
	};

	return cmocka_run_group_tests_name("cleanup_notice", tests, NULL, NULL);
}
