/* Dialogues in process: input and the replies it must have, however it is cut;
   and every form of smuggling. */
#include "config.h"

#include "tests/unit/smtpd_rig.h"
#include "tests/unit/unit.h"

static struct rig rig;

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

/* -- smuggling (lessons C1) ------------------------------------------------ */

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_smuggling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
