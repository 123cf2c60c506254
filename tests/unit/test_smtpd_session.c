/* What cleanup is told, pipelining, content, and either side gone; in process. */
#include "config.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/envelope.h"
#include "tests/unit/smtpd_rig.h"
#include "tests/unit/unit.h"

static struct rig rig;

static int
setup(void **state)
{
	(void)state;
	rig_start(&rig);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_end(&rig);
	return 0;
}

/* -- what cleanup is told -------------------------------------------------- */

static void
test_what_cleanup_gets(void **state)
{
	int c = rig_connect(&rig, false);
	struct rig_transaction *t = &rig.tr[0];

	(void)state;
	rig_send(&rig, c, SL(HI "MAIL FROM:<\"s\"@c.test> BODY=8BITMIME SIZE=9\r\n"
	    "RCPT TO:<@x.test:a@b.test>\r\n" NOONE "RCPT TO:<postmaster>\r\n"
	    "DATA\r\n..dot\r\n\351\r\n.\r\n"), 0);
	assert_int_equal(rig.ntr, 1);
	assert_string_equal(t->reverse_path, "s@c.test");
	assert_slice(strbuf_slice(&t->rcpts), "a@b.test postmaster ");
	assert_slice(strbuf_slice(&t->content), ".dot\r\n\351\r\n");
	assert_int_equal(t->flags, CONTENT_BODY_8BITMIME | CONTENT_8BIT |
	    CONTENT_DOT_LINES);
	assert_int_equal(t->size, 9);
	assert_int_equal(t->uid, UINT32_MAX);
	assert_int_equal(t->trusted, 0);
	assert_int_equal(t->pieces, 1);
	assert_true(t->last);
}

static void
test_submit(void **state)
{
	int c = rig_connect(&rig, true);

	(void)state;
	rig_send(&rig, c, SL(HI MSG), 0);
	assert_string_equal(rig_replies(&rig, c), "220|250" R_MSG);
	assert_int_equal(rig.tr[0].uid, 1234);
	assert_int_equal(rig.tr[0].trusted, 1);
	assert_int_equal(rig.tr[0].flags, CONTENT_LOCAL);
}

static void
test_mail_alone_is_not_told(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, c, SL(HI MAIL "RSET\r\n" MAIL QUIT), 0);
	assert_int_equal(rig.ntr, 0);
}

/* -- pipelining ------------------------------------------------------------ */

static void
test_late_answers_keep_the_order(void **state)
{
	int c = rig_connect(&rig, false), n;

	(void)state;
	(void)rig_replies(&rig, c);
	rig.hold_verdicts = true;
	rig_send(&rig, c, SL(HI MAIL RCPT NOONE RCPT "DATA\r\n"), 0);
	assert_int_equal(rig.nheld, 1); /* one question at a time */
	for (n = 0; n < 3; n++) {
		assert_int_equal(rig.nheld, 1);
		rig_release(&rig);
	}
	assert_string_equal(rig_replies(&rig, c),
	    R_HI R_MAIL R_RCPT R_NO R_RCPT "|354");
	rig_send(&rig, c, SL(".\r\nNOOP\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "250 2.0.0|250 2.0.0");
	rig.hold_verdicts = false;
	rig.hold_commits = true;
	rig_send(&rig, c, SL(MSG MSG QUIT), 0);
	assert_string_equal(rig_replies(&rig, c),
	    "250 2.1.0" R_RCPT "|354");
	rig_release(&rig);
	assert_string_equal(rig_replies(&rig, c),
	    "250 2.0.0" R_MAIL R_RCPT "|354");
	rig_release(&rig);
	assert_string_equal(rig_replies(&rig, c), "250 2.0.0" R_BYE);
}

static void
test_two_sessions_do_not_wait(void **state)
{
	int a = rig_connect(&rig, false), b = rig_connect(&rig, false);

	(void)state;
	rig.hold_verdicts = true;
	rig_send(&rig, a, SL(HI MAIL RCPT), 0);
	rig.hold_verdicts = false;
	rig_send(&rig, b, SL(HI MSG), 0);
	assert_string_equal(rig_replies(&rig, b), "220|250" R_MSG);
	rig_release(&rig);
	assert_string_equal(rig_replies(&rig, a), "220|250" R_MAIL R_RCPT);
}

static void
test_many_recipients(void **state)
{
	struct strbuf in;
	struct slice rest;
	int c = rig_connect(&rig, false), i;
	const char *got, *p;

	(void)state;
	strbuf_init(&in, 0);
	(void)strbuf_add_str(&in, HI MAIL);
	for (i = 0; i < 103; i++) {
		(void)strbuf_printf(&in, "RCPT TO:<user%d@b.test>\r\n", i);
	}
	(void)strbuf_add_str(&in, "DATA\r\n.\r\n");
	rig_send(&rig, c, strbuf_slice(&in), 0);
	got = rig_replies(&rig, c);
	p = strstr(got, "|452 4.5.3|452 4.5.3|452 4.5.3|354|250 2.0.0");
	assert_non_null(p);
	assert_null(strstr(p + 30, "452"));
	rest = strbuf_slice(&rig.tr[0].rcpts);
	for (i = 0; slice_word(&rest, " ", &(struct slice){ NULL, 0 }); i++) {
	}
	assert_int_equal(i, 100);
	strbuf_clear(&in);
}

/* -- content --------------------------------------------------------------- */

static void
make_lines(struct strbuf *b, size_t n)
{
	size_t i;

	strbuf_init(b, 0);
	for (i = 0; b->n < n; i++) {
		(void)strbuf_printf(b, "line %zu of many, and then some\r\n", i);
	}
}

static void
test_large_content(void **state)
{
	struct strbuf body;
	int c = rig_connect(&rig, false), i;

	(void)state;
	make_lines(&body, 500000);
	rig_send(&rig, c, SL(HI MAIL RCPT "DATA\r\n"), 0);
	rig_send(&rig, c, strbuf_slice(&body), 0);
	rig_send(&rig, c, SL(".\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "220|250" R_MSG);
	assert_true(slice_eq(strbuf_slice(&body),
	    strbuf_slice(&rig.tr[0].content)));
	assert_true(rig.tr[0].pieces >= 8);
	/* with late acknowledgements: no more than a bounded part is read */
	rig.hold_acks = true;
	rig_send(&rig, c, SL(MAIL RCPT "DATA\r\n"), 0);
	for (i = 0; i < 20; i++) {
		size_t at = (size_t)i * (body.n / 20);
		size_t n = i == 19 ? body.n - at : body.n / 20;

		while (n > 0) {
			ssize_t w = send(rig.client[c], body.p + at, n,
			    MSG_DONTWAIT);

			rig_settle(&rig);
			if (w == -1) {
				rig_release(&rig);
				continue;
			}
			at += (size_t)w;
			n -= (size_t)w;
		}
	}
	while (send(rig.client[c], ".\r\n", 3, MSG_DONTWAIT) != 3) {
		rig_release(&rig);
	}
	for (i = 0; i < 50; i++) {
		rig_release(&rig);
	}
	assert_string_equal(rig_replies(&rig, c), "250 2.1.0" R_RCPT
	    "|354|250 2.0.0");
	assert_true(slice_eq(strbuf_slice(&body),
	    strbuf_slice(&rig.tr[1].content)));
	strbuf_clear(&body);
}

static void
test_too_large(void **state)
{
	struct strbuf body;
	int c = rig_connect(&rig, false);

	(void)state;
	make_lines(&body, 1100000);
	rig_send(&rig, c, SL(HI MAIL RCPT "DATA\r\n"), 0);
	rig_send(&rig, c, strbuf_slice(&body), 0);
	rig_send(&rig, c, SL(".\r\n" RCPT MSG), 0);
	assert_string_equal(rig_replies(&rig, c), "220|250" R_MAIL R_RCPT
	    "|354|552 5.3.4|503 5.5.1" R_MSG);
	assert_true(rig.tr[0].aborted);
	assert_false(rig.tr[0].committed);
	strbuf_clear(&body);
}

static void
test_endless(void **state)
{
	struct strbuf body;
	int c = rig_connect(&rig, false), i;

	(void)state;
	rig.set.message_size_limit = 1024;
	make_lines(&body, 1024 * 1024);
	rig_send(&rig, c, SL(HI MAIL RCPT "DATA\r\n"), 0);
	for (i = 0; i < 80 && !rig.closed[c]; i++) {
		rig_send(&rig, c, strbuf_slice(&body), 0);
	}
	assert_true(i > 60 && i < 70);
	assert_string_equal(rig_replies(&rig, c), "220|250" R_MAIL R_RCPT
	    "|354|421 4.7.0");
	strbuf_clear(&body);
}

static void
test_refused_piece(void **state)
{
	struct strbuf body;
	int c = rig_connect(&rig, false);

	(void)state;
	make_lines(&body, 200000);
	rig.refuse_piece = 1;
	rig_send(&rig, c, SL(HI MAIL RCPT "DATA\r\n"), 0);
	rig_send(&rig, c, strbuf_slice(&body), 0);
	rig_send(&rig, c, SL(".\r\nDATA\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "220|250" R_MAIL R_RCPT
	    "|354|452 4.3.1|503 5.5.1");
	assert_false(rig.tr[0].committed);
	/* a small one: COMMIT is behind the piece already */
	rig_send(&rig, c, SL(MSG "NOOP\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "250 2.1.0" R_RCPT
	    "|354|452 4.3.1|250 2.0.0");
	strbuf_clear(&body);
}

static void
test_refused_commit(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig.commit_with = "451 4.3.0 the flush failed";
	rig_send(&rig, c, SL(HI MSG "DATA\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "220|250" R_MAIL R_RCPT
	    "|354|451 4.3.0|503 5.5.1");
}

/* -- clients that go ------------------------------------------------------- */

static void
test_client_gone(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	/* in the content: aborted */
	rig_send(&rig, c, SL(HI MAIL RCPT "DATA\r\nhalf"), 0);
	(void)close(rig.client[c]);
	rig.client[c] = -1;
	rig_settle(&rig);
	assert_int_equal(rig.srv->nsessions, 0);
	assert_true(rig.tr[0].aborted);
	/* after the content: the message stays */
	rig.hold_commits = true;
	c = rig_connect(&rig, false);
	rig_send(&rig, c, SL(HI MSG), 0);
	(void)close(rig.client[c]);
	rig.client[c] = -1;
	rig_settle(&rig);
	assert_int_equal(rig.srv->nsessions, 1);
	assert_false(rig.tr[1].aborted);
	rig_release(&rig);
	assert_int_equal(rig.srv->nsessions, 0);
	assert_false(rig.tr[1].aborted);
	/* while a verdict is awaited: nothing is left, a late answer is lost */
	rig.hold_verdicts = true;
	c = rig_connect(&rig, false);
	rig_send(&rig, c, SL(HI MAIL RCPT), 0);
	(void)close(rig.client[c]);
	rig.client[c] = -1;
	rig_settle(&rig);
	rig_release(&rig);
	assert_int_equal(rig.srv->nsessions, 0);
	assert_true(rig.tr[2].aborted);
}

static void
test_half_close(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig.hold_verdicts = true;
	rig_send(&rig, c, SL(HI MAIL RCPT RCPT "DATA\r\nx\r\n.\r\n" QUIT), 0);
	(void)shutdown(rig.client[c], SHUT_WR);
	rig_settle(&rig);
	rig_release(&rig);
	rig_release(&rig);
	assert_string_equal(rig_replies(&rig, c), "220|250" R_MAIL R_RCPT R_RCPT
	    "|354|250 2.0.0" R_BYE);
	assert_true(rig.closed[c]);
	assert_int_equal(rig.srv->nsessions, 0);
}

static void
test_client_does_not_read(void **state)
{
	struct strbuf in;
	int c = rig_connect(&rig, false), i, sent = 0;
	ssize_t w;

	(void)state;
	strbuf_init(&in, 0);
	for (i = 0; i < 1000; i++) {
		(void)strbuf_add_str(&in, "HELP\r\n");
	}
	for (i = 0; i < 300; i++) { /* nothing is read back */
		w = send(rig.client[c], in.p, in.n, MSG_DONTWAIT);
		sent += w > 0 ? (int)w : 0;
		(void)event_base_loop(rig.base, EVLOOP_NONBLOCK);
	}
	assert_true(rig.srv->sessions->out.n < 3 * SESSION_OUT_MARK);
	assert_true(rig.srv->sessions->in.n < 200000);
	assert_true(sent < 1200000);
	strbuf_clear(&in);
}

/* -- cleanup goes ---------------------------------------------------------- */

static void
test_cleanup_lost(void **state)
{
	int a = rig_connect(&rig, false), b = rig_connect(&rig, false);
	int d = rig_connect(&rig, false), e = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, a, SL(HI MAIL RCPT), 0);
	rig_send(&rig, b, SL(HI MAIL RCPT "DATA\r\nhalf\r\n"), 0);
	rig.hold_commits = true;
	rig_send(&rig, d, SL(HI MSG), 0);
	rig.hold_verdicts = true;
	rig_send(&rig, e, SL(HI MAIL RCPT), 0);
	rig_kill_cleanup(&rig);
	assert_string_equal(rig_replies(&rig, d), "220|250" R_MAIL R_RCPT
	    "|354|451 4.3.0");
	assert_string_equal(rig_replies(&rig, e), "220|250" R_MAIL "|451 4.3.0");
	rig_send(&rig, d, SL(MAIL "HELP STATUS\r\nVRFY a\r\n"), 0);
	assert_string_equal(rig_replies(&rig, d),
	    "451 4.3.0|211 2.0.0|252 2.0.0");
	rig_new_cleanup(&rig);
	rig.hold_commits = rig.hold_verdicts = false;
	rig_send(&rig, a, SL(RCPT "DATA\r\n" MSG), 0);
	assert_string_equal(rig_replies(&rig, a), "220|250" R_MAIL R_RCPT
	    "|451 4.3.0|451 4.3.0" R_MSG);
	rig_send(&rig, b, SL("other half\r\n.\r\n" MSG), 0);
	assert_string_equal(rig_replies(&rig, b), "220|250" R_MAIL R_RCPT
	    "|354|451 4.3.0" R_MSG);
	rig_send(&rig, d, SL(MSG), 0);
	assert_string_equal(rig_replies(&rig, d), "250 2.1.0" R_RCPT
	    "|354|250 2.0.0");
	rig_send(&rig, e, SL(RCPT "RSET\r\n" MSG), 0);
	assert_string_equal(rig_replies(&rig, e),
	    "451 4.3.0|250 2.0.0" R_MSG);
}

static void
test_bad_cleanup(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, c, SL(HI MAIL RCPT), 0);
	(void)rig_replies(&rig, c);
	/* an enhanced code that does not fit is not passed on */
	rig_accepting(&rig, 452, "5.0.0", "odd\r\n250 2.0.0\177text");
	assert_string_equal(rig.srv->accepting.esc, "4.0.0");
	assert_string_equal(rig.srv->accepting.text, "odd??250 2.0.0?text");
	/* a code that is none closes the channel */
	rig_accepting(&rig, 350, "3.0.0", "nonsense");
	assert_null(rig.cleanup);
	rig_send(&rig, c, SL("DATA\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "451 4.3.0");
	/* an answer that nobody asked for, too */
	rig_new_cleanup(&rig);
	rig_send(&rig, c, SL(MAIL RCPT), 0);
	ipc_begin(rig.cleanup, IPC_COMMITTED, rig.tr[1].tid);
	ipc_put_u(rig.cleanup, 250);
	ipc_put_str(rig.cleanup, "2.0.0");
	ipc_put_str(rig.cleanup, "queued as NOTHING");
	ipc_end(rig.cleanup);
	rig_settle(&rig);
	assert_null(rig.cleanup);
	assert_string_equal(rig_replies(&rig, c), "250 2.1.0" R_RCPT);
}

static void
test_accepting(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig_accepting(&rig, 452, "4.3.1", "the disk is full");
	rig_send(&rig, c, SL(HI MAIL RCPT "HELP STATUS\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c),
	    "220|250|452 4.3.1|503 5.5.1|211 2.0.0");
	rig_accepting(&rig, 250, "2.0.0", "ok");
	rig_send(&rig, c, SL(MSG), 0);
	assert_string_equal(rig_replies(&rig, c), "250 2.1.0" R_RCPT
	    "|354|250 2.0.0");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_what_cleanup_gets),
		T(test_submit),
		T(test_mail_alone_is_not_told),
		T(test_late_answers_keep_the_order),
		T(test_two_sessions_do_not_wait),
		T(test_many_recipients),
		T(test_large_content),
		T(test_too_large),
		T(test_endless),
		T(test_refused_piece),
		T(test_refused_commit),
		T(test_client_gone),
		T(test_half_close),
		T(test_client_does_not_read),
		T(test_cleanup_lost),
		T(test_bad_cleanup),
		T(test_accepting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
