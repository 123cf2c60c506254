/* Sessions end to end in process; see smtpd_rig.h. */
#include "config.h"

#include <stdio.h>
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

/* -- dialogues: input and the replies it must have, however it is cut ------------ */

#define HI    "EHLO c.test\r\n"
#define MAIL  "MAIL FROM:<s@c.test>\r\n"
#define RCPT  "RCPT TO:<a@b.test>\r\n"
#define NOONE "RCPT TO:<unknown@b.test>\r\n"
#define MSG   MAIL RCPT "DATA\r\nhello\r\n.\r\n"

#define R_HI   "250"
#define R_MAIL "|250 2.1.0"
#define R_RCPT "|250 2.1.5"
#define R_NO   "|550 5.1.1"
#define R_MSG  R_MAIL R_RCPT "|354|250 2.0.0"
#define R_BYE  "|221 2.0.0"
#define QUIT   "QUIT\r\n"

struct dialogue {
	const char *name;
	struct slice in;
	const char *want; /* after the greeting */
	unsigned messages;
};

#define D(name, in, want, n) { name, SL_INIT(in), want, n }

static const struct dialogue dialogues[] = {
	D("a message", HI MSG QUIT, R_HI R_MSG R_BYE, 1),
	D("two messages", HI MSG MSG QUIT, R_HI R_MSG R_MSG R_BYE, 2),
	D("HELO", "HELO c\r\n" MSG QUIT, "250" R_MSG R_BYE, 1),
	D("RFC 821: one of three is unknown",
	    HI MAIL RCPT NOONE "RCPT TO:<c@b.test>\r\nDATA\r\nx\r\n.\r\n" QUIT,
	    R_HI R_MAIL R_RCPT R_NO R_RCPT "|354|250 2.0.0" R_BYE, 1),
	D("nobody is known", HI MAIL NOONE NOONE "DATA\r\n" QUIT,
	    R_HI R_MAIL R_NO R_NO "|554 5.5.1" R_BYE, 0),
	D("a good one after bad ones", HI MAIL NOONE RCPT "DATA\r\n.\r\n" QUIT,
	    R_HI R_MAIL R_NO R_RCPT "|354|250 2.0.0" R_BYE, 1),
	D("order: nothing before HELO", MAIL RCPT "DATA\r\n" QUIT,
	    "503 5.5.1|503 5.5.1|503 5.5.1" R_BYE, 0),
	D("order: RCPT and DATA before MAIL", HI RCPT "DATA\r\n" QUIT,
	    R_HI "|503 5.5.1|503 5.5.1" R_BYE, 0),
	D("order: DATA before RCPT", HI MAIL "DATA\r\n" QUIT,
	    R_HI R_MAIL "|503 5.5.1" R_BYE, 0),
	D("order: MAIL in MAIL", HI MAIL MAIL RCPT MAIL QUIT,
	    R_HI R_MAIL "|503 5.5.1" R_RCPT "|503 5.5.1" R_BYE, 0),
	D("RSET ends a transaction", HI MAIL RCPT "RSET\r\nDATA\r\n" RCPT QUIT,
	    R_HI R_MAIL R_RCPT "|250 2.0.0|503 5.5.1|503 5.5.1" R_BYE, 0),
	D("EHLO again is RSET", HI MAIL RCPT HI "DATA\r\n" MSG QUIT,
	    R_HI R_MAIL R_RCPT "|250|503 5.5.1" R_MSG R_BYE, 1),
	D("HELO names", "HELO\r\nHELO \r\nHELO a b\r\nEHLO \351\r\n"
	    "EHLO a\033b\r\nHELO [192.0.2.1]\r\n" QUIT,
	    "501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4|501 5.5.4|250" R_BYE, 0),
	D("a bad HELO changes nothing", "HELO \351\r\n" MAIL QUIT,
	    "501 5.5.4|503 5.5.1" R_BYE, 0),
	D("any case, white space", "ehlo c.test  \r\nmail from: <s@c.test> \r\n"
	    "Rcpt to:<a@b.test>\r\ndAtA\r\n.\r\nquit \r\n",
	    R_HI R_MAIL R_RCPT "|354|250 2.0.0" R_BYE, 1),
	D("RFC 821's others", "SEND FROM:<a@b>\r\nSOML FROM:<a@b>\r\n"
	    "SAML FROM:<a@b>\r\nTURN\r\n" QUIT,
	    "502 5.5.1|502 5.5.1|502 5.5.1|502 5.5.1" R_BYE, 0),
	D("not offered", HI "STARTTLS\r\nAUTH PLAIN x\r\nBDAT 1 LAST\r\n"
	    "ETRN x\r\nXYZZY\r\n" QUIT, R_HI
	    "|502 5.5.1|502 5.5.1|502 5.5.1|502 5.5.1|500 5.5.1" R_BYE, 0),
	D("HELP", "HELP\r\nHELP STATUS\r\nHELP me\r\n" QUIT,
	    "214 2.0.0|211 2.0.0|504 5.5.4" R_BYE, 0),
	D("NOOP with words", "NOOP\r\nNOOP a b c\r\n" QUIT,
	    "250 2.0.0|250 2.0.0" R_BYE, 0),
	D("VRFY", "VRFY\r\nVRFY a@b.test\r\nVRFY <unknown@b.test>\r\nVRFY a\r\n"
	    "VRFY moved@b.test\r\nVRFY later@b.test\r\nVRFY a@@b\r\n"
	    "VRFY <a@b> c\r\n" QUIT, "501 5.5.4|252 2.0.0|252 2.0.0|252 2.0.0|"
	    "551 5.1.6|252 2.0.0|553 5.1.3|553 5.1.3" R_BYE, 0),
	D("VRFY inside a transaction", HI MAIL RCPT "VRFY a\r\n" RCPT
	    "DATA\r\n.\r\n" QUIT, R_HI R_MAIL R_RCPT "|252 2.0.0" R_RCPT
	    "|354|250 2.0.0" R_BYE, 1),
	D("EXPN", "EXPN\r\nEXPN staff\r\n" QUIT, "501 5.5.4|502 5.7.0" R_BYE, 0),
	D("no argument wanted", HI MAIL RCPT "DATA now\r\nRSET x\r\nQUIT x\r\n"
	    QUIT, R_HI R_MAIL R_RCPT "|501 5.5.4|501 5.5.4|501 5.5.4" R_BYE, 0),
	D("MAIL syntax", HI "MAIL\r\nMAIL FROM\r\nMAIL FROM:\r\nMAIL TO:<a@b>\r\n"
	    "MAIL FROM:a@b\r\nMAIL FROM:<a@b\r\nMAIL FROM:<a@-b>\r\n"
	    "MAIL FROM:<a@[1.2.3]>\r\nMAIL FROM:<\303\244@b>\r\n"
	    "MAIL FROM:<a@b>x\r\n" QUIT, R_HI "|501 5.5.4|501 5.1.7|501 5.1.7|"
	    "501 5.1.7|501 5.1.7|501 5.1.7|553 5.1.7|553 5.1.7|553 5.6.7|"
	    "501 5.1.7" R_BYE, 0),
	D("MAIL null", HI "MAIL FROM:<>\r\n" RCPT QUIT,
	    R_HI R_MAIL R_RCPT R_BYE, 0),
	D("MAIL parameters", HI "MAIL FROM:<a@b> SIZE=x\r\n"
	    "MAIL FROM:<a@b> SIZE\r\nMAIL FROM:<a@b> SIZE=1 SIZE=1\r\n"
	    "MAIL FROM:<a@b> SIZE=1000001\r\n"
	    "MAIL FROM:<a@b> SIZE=99999999999999999999\r\n"
	    "MAIL FROM:<a@b> BODY=BINARYMIME\r\nMAIL FROM:<a@b> BODY=\r\n"
	    "MAIL FROM:<a@b> RET=HDRS\r\nMAIL FROM:<a@b> =\r\n"
	    "MAIL FROM:<a@b> body=8bitmime Size=1000000\r\n" QUIT,
	    R_HI "|501 5.5.4|501 5.5.4|501 5.5.4|552 5.3.4|552 5.3.4|504 5.5.4|"
	    "501 5.5.4|555 5.5.4|501 5.5.4|250 2.1.0" R_BYE, 0),
	D("RCPT syntax", HI MAIL "RCPT\r\nRCPT TO:\r\nRCPT TO:<>\r\n"
	    "RCPT TO:<a@b..c>\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\n"
	    "RCPT TO:<a@\303\244>\r\nRCPT TO:<a@b> -\r\nRCPT TO:<postmaster>\r\n"
	    QUIT, R_HI R_MAIL "|501 5.5.4|501 5.1.3|501 5.1.3|553 5.1.3|"
	    "555 5.5.4|553 5.6.7|501 5.5.4|250 2.1.5" R_BYE, 0),
	D("lines that are none", "\r\nNO\nOP\r\nNO\rOP\r\nNO\0OP\r\n \r\n\351\r\n"
	    QUIT, "500 5.5.2|500 5.5.2|500 5.5.2|500 5.5.2|500 5.5.2|500 5.5.1"
	    R_BYE, 0),
	D("bad lines are no commands", HI "MAIL FROM:<a@b>\n" RCPT QUIT,
	    R_HI "|500 5.5.2" R_BYE, 0),
	D("a refused end of data leaves nothing", HI MAIL RCPT
	    "DATA\r\na\nb\r\n.\r\n" RCPT "DATA\r\n" MSG QUIT, R_HI R_MAIL R_RCPT
	    "|354|550 5.5.2|503 5.5.1|503 5.5.1" R_MSG R_BYE, 1),
	D("NUL in the content", HI MAIL RCPT "DATA\r\na\0b\r\n.\r\n" MSG QUIT,
	    R_HI R_MAIL R_RCPT "|354|550 5.6.0" R_MSG R_BYE, 1),
	D("HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "421 4.7.0", 0),
	D("HTTP POST with SMTP inside", "POST / HTTP/1.1\r\n" HI MSG,
	    "421 4.7.0", 0),
	D("TLS hello", "\026\003\001\002\000\001\r\n" HI, "421 4.7.0", 0),
	D("nearly a TLS hello", "\026\r\n" QUIT, "500 5.5.1" R_BYE, 0),
	D("after QUIT nothing", QUIT HI MSG, "221 2.0.0", 0),
};

static unsigned
count_committed(void)
{
	unsigned i, n = 0;

	for (i = 0; i < rig.ntr; i++) {
		n += rig.tr[i].committed ? 1 : 0;
	}
	return n;
}

static void
run_dialogue(const struct dialogue *d, size_t cut)
{
	const char *got;
	unsigned i;
	int c;

	rig_start(&rig);
	c = rig_connect(&rig, false);
	assert_string_equal(rig_replies(&rig, c), "220");
	rig_send(&rig, c, d->in, cut);
	got = rig_replies(&rig, c);
	if (strcmp(got, d->want) != 0) {
		fail_msg("%s (cut %zu):\n   got %s\nwanted %s", d->name, cut,
		    got, d->want);
	}
	if (count_committed() != d->messages) {
		fail_msg("%s (cut %zu): %u messages", d->name, cut,
		    count_committed());
	}
	for (i = 0; i < rig.ntr; i++) { /* nothing is left open */
		if (rig.closed[c] && !rig.tr[i].committed &&
		    !rig.tr[i].aborted) {
			fail_msg("%s: a transaction was left", d->name);
		}
	}
	rig_end(&rig);
}

static void
test_dialogues(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(dialogues); i++) {
		run_dialogue(&dialogues[i], 0);
		run_dialogue(&dialogues[i], 1);
		run_dialogue(&dialogues[i], 7);
	}
}

/* -- what cleanup is told ---------------------------------------------------------- */

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

/* -- pipelining ----------------------------------------------------------------------- */

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

/* -- content ------------------------------------------------------------------------------ */

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

/* -- smuggling (lessons C1) ------------------------------------------------------------ */

static const struct slice breaks[] = {
	SL_INIT("\r\n"), SL_INIT("\n"), SL_INIT("\r"), SL_INIT("\r\r\n"),
	SL_INIT("\n\r\n"), SL_INIT("\n\r"), SL_INIT("\0\r\n"), SL_INIT("\r\0\n"),
	SL_INIT("\r\n\0"), SL_INIT("\n\n"), SL_INIT("\r\r"), SL_INIT(""),
};

static bool
has_bare(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			i++;
		} else if (s.p[i] == '\r' || s.p[i] == '\n') {
			return true;
		}
	}
	return false;
}

/* "first", before, ".", after, a smuggled transaction: what must be answered.
   Only CRLF.CRLF ends, and what follows it is commands. */
static const char *
smuggling_wants(struct slice before, struct slice after, bool forbid,
    unsigned *messages)
{
	bool nul = slice_find(before, '\0') < before.n;
	bool bare = has_bare(before);
	bool end = before.n >= 2 && after.n >= 2 &&
	    memcmp(before.p + before.n - 2, "\r\n", 2) == 0 &&
	    memcmp(after.p, "\r\n", 2) == 0;

	if (!end) {
		nul = nul || slice_find(after, '\0') < after.n;
		bare = bare || has_bare(after);
	}
	*messages = nul || (bare && forbid) ? 0 : 1;
	if (!end) {
		return *messages == 0 ? "550|250 2.0.0" : "250 2.0.0|250 2.0.0";
	}
	if (after.n > 2) { /* the next line has a NUL */
		return *messages == 0 ? "550|500 5.5.2|503 5.5.1|503 5.5.1|"
		    "500 5.5.1|500 5.5.1|250 2.0.0" : "250 2.0.0|500 5.5.2|"
		    "503 5.5.1|503 5.5.1|500 5.5.1|500 5.5.1|250 2.0.0";
	}
	return (*messages)++ == 0
	    ? "550" R_MSG "|250 2.0.0" : "250 2.0.0" R_MSG "|250 2.0.0";
}

static void
try_smuggling(struct slice before, struct slice after, bool forbid)
{
	const char *head = "220|250" R_MAIL R_RCPT "|354|";
	struct strbuf in;
	const char *got, *want;
	unsigned messages;
	int c;

	rig_start(&rig);
	rig.set.smtpd_forbid_bare_newline = forbid;
	c = rig_connect(&rig, false);
	strbuf_init(&in, 0);
	(void)strbuf_add_str(&in, HI MAIL RCPT "DATA\r\nfirst");
	(void)strbuf_add_slice(&in, before);
	(void)strbuf_add_char(&in, '.');
	(void)strbuf_add_slice(&in, after);
	(void)strbuf_add_str(&in, "MAIL FROM:<evil@x.test>\r\n"
	    "RCPT TO:<evil@b.test>\r\nDATA\r\nsecond\r\n.\r\nNOOP\r\n");
	rig_send(&rig, c, strbuf_slice(&in), 0);
	want = smuggling_wants(before, after, forbid, &messages);
	got = rig_replies(&rig, c);
	assert_memory_equal(got, head, strlen(head));
	got += strlen(head);
	if (strncmp(got, "550 5", 5) == 0 && want[0] == '5') {
		got += 9; /* 5.5.2 or 5.6.0, whatever came first */
		want += 3;
	}
	if (strcmp(got, want) != 0 || count_committed() != messages) {
		fail_msg("%d: %zu.%zu: %s, not %s; %u messages, not %u", forbid,
		    before.n, after.n, got, want, count_committed(), messages);
	}
	strbuf_clear(&in);
	rig_end(&rig);
}

static void
test_smuggling(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < NELEMS(breaks); i++) {
		for (j = 0; j < NELEMS(breaks); j++) {
			try_smuggling(breaks[i], breaks[j], true);
			try_smuggling(breaks[i], breaks[j], false);
		}
	}
}

/* -- clients that go ------------------------------------------------------------------------ */

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

/* -- cleanup goes ------------------------------------------------------------------------------ */

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

/* -- limits -------------------------------------------------------------------------------------- */

/* Let the clock and the session's timer go on. */
static void
pass(uint64_t ms)
{
	struct session *s, *next;

	rig_now_ms += ms;
	for (s = rig.srv->sessions; s != NULL; s = next) {
		next = s->next;
		event_active(&s->timer, EV_TIMEOUT, 0);
	}
	rig_settle(&rig);
}

static void
test_errors(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig.set.smtpd_hard_error_limit = 3;
	rig_send(&rig, c, SL("X\r\nX\r\nNOOP\r\nX\r\nNOOP\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "220|500 5.5.1|500 5.5.1|"
	    "250 2.0.0|500 5.5.1|421 4.7.0");
	assert_true(rig.closed[c]);
	c = rig_connect(&rig, false);
	(void)rig_replies(&rig, c);
}

static void
test_commands(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig.set.smtpd_command_limit = 2;
	rig_send(&rig, c, SL("NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c),
	    "220|250 2.0.0|250 2.0.0|421 4.7.0");
	assert_true(rig.closed[c]);
}

static void
test_long_lines(void **state)
{
	static char x[70000];
	int c = rig_connect(&rig, false);

	(void)state;
	memset(x, 'x', sizeof(x));
	rig_send(&rig, c, slice_make(x, 2000), 0);
	assert_string_equal(rig_replies(&rig, c), "220");
	rig_send(&rig, c, SL("\r\nNOOP\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "500 5.5.2|250 2.0.0");
	rig_send(&rig, c, slice_make(x, sizeof(x)), 0);
	assert_string_equal(rig_replies(&rig, c), "421 4.7.0");
	assert_true(rig.closed[c]);
}

static void
test_idle(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, c, SL(HI), 0);
	pass(299000);
	rig_send(&rig, c, SL("NOOP\r\nNO"), 0);
	pass(299000);
	assert_string_equal(rig_replies(&rig, c), "220|250|250 2.0.0");
	/* octets that make no command do not help */
	rig_send(&rig, c, SL("O"), 0);
	pass(1001);
	assert_string_equal(rig_replies(&rig, c), "421 4.4.2");
	pass(SESSION_LINGER_MS);
	assert_true(rig.closed[c]);
	assert_int_equal(rig.srv->nsessions, 0);
}

static void
test_slow(void **state)
{
	int c = rig_connect(&rig, false), i;

	(void)state;
	rig_send(&rig, c, SL(HI MAIL RCPT "DATA\r\n"), 0);
	(void)rig_replies(&rig, c);
	for (i = 0; i < 100 && rig.got[c].n == 0; i++) {
		rig_send(&rig, c, SL("x"), 0);
		pass(100000);
	}
	assert_true(i <= 19);
	assert_string_equal(rig_replies(&rig, c), "421 4.4.2");
	assert_true(rig.tr[0].aborted);
}

static void
test_cleanup_is_silent(void **state)
{
	int c = rig_connect(&rig, false), d = rig_connect(&rig, false);

	(void)state;
	rig.hold_verdicts = true;
	rig_send(&rig, c, SL(HI MAIL RCPT), 0);
	pass(59000);
	assert_string_equal(rig_replies(&rig, c), "220"); /* replies together */
	pass(1001);
	assert_string_equal(rig_replies(&rig, c), "250" R_MAIL "|451 4.3.0");
	rig_release(&rig); /* too late: dropped */
	assert_non_null(rig.cleanup);
	rig.hold_verdicts = false;
	rig.hold_commits = true;
	rig_send(&rig, d, SL(HI MSG), 0);
	pass(60001);
	assert_string_equal(rig_replies(&rig, d), "220|250" R_MAIL R_RCPT
	    "|354|451 4.3.0");
	rig_release(&rig);
	assert_non_null(rig.cleanup);
	rig.hold_commits = false;
	rig_send(&rig, d, SL(MSG), 0);
	assert_string_equal(rig_replies(&rig, d), "250 2.1.0" R_RCPT
	    "|354|250 2.0.0");
}

static void
test_stop(void **state)
{
	int a = rig_connect(&rig, false), b = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, a, SL(HI), 0);
	rig_send(&rig, b, SL(HI MAIL RCPT), 0);
	(void)rig_replies(&rig, a);
	(void)rig_replies(&rig, b);
	server_stop(rig.srv, 10000);
	rig_settle(&rig);
	assert_string_equal(rig_replies(&rig, a), "421 4.3.2");
	assert_false(rig.stopped);
	rig_send(&rig, b, SL("DATA\r\nx\r\n.\r\n"), 0);
	assert_string_equal(rig_replies(&rig, b), "354|250 2.0.0|421 4.3.2");
	assert_true(rig.tr[0].committed);
	(void)close(rig.client[a]);
	(void)close(rig.client[b]);
	rig.client[a] = rig.client[b] = -1;
	rig_settle(&rig);
	assert_true(rig.stopped);
}

static void
test_stop_deadline(void **state)
{
	int b = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, b, SL(HI MAIL RCPT "DATA\r\n"), 0);
	(void)rig_replies(&rig, b);
	server_stop(rig.srv, 10000);
	event_active(&rig.srv->stop_timer, EV_TIMEOUT, 0);
	rig_settle(&rig);
	assert_string_equal(rig_replies(&rig, b), "421 4.3.2");
	assert_true(rig.stopped);
	assert_true(rig.tr[0].aborted);
}

static void
test_idle_is_cheap(void **state)
{
	struct session *s;
	int c = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, c, SL(HI MSG), 0);
	s = rig.srv->sessions;
	assert_null(s->in.p);
	assert_null(s->out.p);
	assert_null(s->t);
	assert_true(sizeof(*s) < 1024);
	rig_send(&rig, c, SL("NOO"), 0);
	assert_true(s->in.cap < 256);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_smuggling),
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
		T(test_errors),
		T(test_commands),
		T(test_long_lines),
		T(test_idle),
		T(test_slow),
		T(test_cleanup_is_silent),
		T(test_stop),
		T(test_stop_deadline),
		T(test_idle_is_cheap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
