/* What a notice says, as text; that nothing can be forged in it is for
   tests/fuzz/fuzz_notice.c. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "cleanup/notice.h"
#include "tests/unit/unit.h"

static struct notice
a_notice(const struct notice_rcpt *rcpts, size_t n)
{
	return (struct notice){ .kind = NOTICE_FAILED,
		.myhostname = "mx.example.org", .myorigin = "example.org",
		.id = "01ARZ3NDEKTSV", .about = "01ARZ3NDEKTSW",
		.arrived = 1700000000, .now = 1700000100,
		.retry_until = 1700432000, .sender = SL("ann@example.org"),
		.to = SL("ann@example.org"), .rcpts = rcpts, .nrcpts = n,
		.header = SL("From: ann@example.org\r\nSubject: hello\r\n") };
}

static const struct notice_rcpt unknown = { SL_INIT("x@y.example"),
	SL_INIT("crew@example.org"), SL_INIT("5.1.1"),
	SL_INIT("550 5.1.1 <x@y.example>: there is nobody of that name in this "
	    "house"), SL_INIT("mx.y.example[192.0.2.7]:25") };

static void
says(const struct notice *n, const char *what, bool wanted)
{
	struct strbuf out;

	strbuf_init(&out, 0);
	notice_compose(n, &out);
	if ((strstr(out.p, what) != NULL) != wanted) {
		fail_msg("%s: %s\n%s", what, wanted ? "missing" : "there",
		    out.p);
	}
	strbuf_clear(&out);
}

static void
the_whole_text(void **state)
{
	static const char want[] =
	    "Date: Tue, 14 Nov 2023 22:15:00 +0000\r\n"
	    "From: Mail Delivery System <MAILER-DAEMON@example.org>\r\n"
	    "To: <ann@example.org>\r\n"
	    "Message-ID: <01ARZ3NDEKTSV@mx.example.org>\r\n"
	    "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Subject: Your mail could not be delivered\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"=_01ARZ3NDEKTSV.0\"\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n"
	    "\r\n"
	    "This is a report in MIME format.\r\n"
	    "\r\n"
	    "--=_01ARZ3NDEKTSV.0\r\n"
	    "Content-Type: text/plain; charset=us-ascii\r\n"
	    "Content-Description: Notice\r\n"
	    "\r\n"
	    "This is the mail system at mx.example.org.\r\n"
	    "\r\n"
	    "Your message of Tue, 14 Nov 2023 22:13:20 +0000 could not be "
	    "delivered\r\n"
	    "to the recipient below. It will not be tried again.\r\n"
	    "\r\n"
	    "<x@y.example>\r\n"
	    "    (for <crew@example.org>)\r\n"
	    "    mx.y.example[192.0.2.7]:25 said:\r\n"
	    "        550 5.1.1 <x@y.example>: there is nobody of that name in "
	    "this house\r\n"
	    "    Check the part before the @: there is no such mailbox.\r\n"
	    "\r\n"
	    "If these words do not help, ask postmaster@example.org, and name "
	    "the\r\n"
	    "queue id 01ARZ3NDEKTSW.\r\n"
	    "\r\n"
	    "--=_01ARZ3NDEKTSV.0\r\n"
	    "Content-Type: message/delivery-status\r\n"
	    "Content-Description: Delivery report\r\n"
	    "\r\n"
	    "Reporting-MTA: dns; mx.example.org\r\n"
	    "X-Veredus-Queue-ID: 01ARZ3NDEKTSW\r\n"
	    "Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
	    "\r\n"
	    "Original-Recipient: rfc822; crew@example.org\r\n"
	    "Final-Recipient: rfc822; x@y.example\r\n"
	    "Action: failed\r\n"
	    "Status: 5.1.1\r\n"
	    "Remote-MTA: dns; mx.y.example\r\n"
	    "Diagnostic-Code: smtp; 550 5.1.1 <x@y.example>: there is nobody "
	    "of that name\r\n"
	    " in this house\r\n"
	    "Last-Attempt-Date: Tue, 14 Nov 2023 22:15:00 +0000\r\n"
	    "\r\n"
	    "--=_01ARZ3NDEKTSV.0\r\n"
	    "Content-Type: text/rfc822-headers\r\n"
	    "Content-Description: The header of the message\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n"
	    "\r\n"
	    "From: ann@example.org\r\n"
	    "Subject: hello\r\n"
	    "\r\n"
	    "--=_01ARZ3NDEKTSV.0--\r\n";
	struct notice n = a_notice(&unknown, 1);
	struct strbuf out;

	(void)state;
	strbuf_init(&out, 0);
	notice_compose(&n, &out);
	assert_string_equal(out.p, want);
	strbuf_clear(&out);
}

static void
kinds(void **state)
{
	struct notice n = a_notice(&unknown, 1);

	(void)state;
	n.kind = NOTICE_DELAYED;
	says(&n, "Subject: Your mail is delayed\r\n", true);
	says(&n, "\r\nAction: delayed\r\nStatus: 4.1.1\r\n", true);
	says(&n, "Will-Retry-Until: Sun, 19 Nov 2023 22:13:20 +0000\r\n", true);
	says(&n, "Check the part", false); /* nothing is to be done yet */
	n.kind = NOTICE_FAILED;
	says(&n, "Will-Retry-Until", false);
	n.whom = NOTICE_TO_POSTMASTER;
	n.to = SL("postmaster");
	says(&n, "To: <postmaster@example.org>\r\n", true);
	n.to = SL("\"post master\"");
	says(&n, "To: <\"post master\"@example.org>\r\n", true);
	n.to = SL("\"a@b\"");
	says(&n, "To: <\"a@b\"@example.org>\r\n", true);
	says(&n, "Subject: Copy: mail could not be delivered\r\n", true);
	says(&n, "A message from <ann@example.org>, of Tue", true);
	n.whom = NOTICE_DOUBLE;
	n.sender = SL("");
	says(&n, "Subject: A notice could not be delivered\r\n", true);
	says(&n, "nobody knows of it yet", true);
	n.header = SL("");
	says(&n, "rfc822-headers", false);
}

static void
codes_and_hosts(void **state)
{
	static const struct {
		struct slice esc, reply, relay;
		const char *says;
	} t[] = {
		{ SL_INIT("4.4.1"), SL_INIT("no route"), SL_INIT(""),
		    "Status: 5.4.1\r\nDiagnostic-Code: x-veredus; no route\r\n" },
		{ SL_INIT("5.1"), SL_INIT(""), SL_INIT(""),
		    "Status: 5.0.0\r\n" },
		{ SL_INIT("5.1.1."), SL_INIT(""), SL_INIT(""),
		    "Status: 5.0.0\r\n" },
		{ SL_INIT("5.1000.1"), SL_INIT(""), SL_INIT(""),
		    "Status: 5.0.0\r\n" },
		{ SL_INIT(""), SL_INIT(""), SL_INIT(""), "Status: 5.0.0\r\n" },
		{ SL_INIT("5.7.26"), SL_INIT("550 no"), SL_INIT("[192.0.2.1]:25"),
		    "Remote-MTA: dns; [192.0.2.1]\r\n"
		    "Diagnostic-Code: smtp; 550 no\r\n" },
		{ SL_INIT("5.7.26"), SL_INIT("550 no"),
		    SL_INIT("192.0.2.1[192.0.2.1]:25"),
		    "Remote-MTA: dns; [192.0.2.1]\r\n" },
		{ SL_INIT("5.7.26"), SL_INIT("550 no"),
		    SL_INIT("2001:db8::1[2001:db8::1]:25"),
		    "Remote-MTA: dns; [IPv6:2001:db8::1]\r\n" },
		{ SL_INIT("5.7.26"), SL_INIT("550 no"),
		    SL_INIT("mx.example.org[/run/lmtp]"),
		    "Remote-MTA: dns; mx.example.org\r\n" },
		{ SL_INIT("5.7.26"), SL_INIT("550 no"), SL_INIT("local"),
		    "Remote-MTA: dns; local\r\n" },
		{ SL_INIT("5.7.26"), SL_INIT("550 no"), SL_INIT("h[::1]:25"),
		    "    postmaster.\r\n" },
		{ SL_INIT("5.2.2"), SL_INIT("full"), SL_INIT(""),
		    "    mx.example.org said:\r\n        full\r\n    The mailbox "
		    "is full" },
		{ SL_INIT("5.1.10"), SL_INIT(""), SL_INIT(""), "takes no mail" },
		{ SL_INIT("5.1.1"), SL_INIT("a\r\nBcc: b\0\x80"), SL_INIT(""),
		    "x-veredus; a Bcc: b??\r\n" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		struct notice_rcpt r = { SL("a@b"), SL("a@b"), t[i].esc,
			t[i].reply, t[i].relay };
		struct notice n = a_notice(&r, 1);

		says(&n, t[i].says, true);
		says(&n, "(for", false);
	}
}

/* No line of quoted-printable has more than 76 octets (RFC 2045, 6.7). */
static void
short_lines(const struct notice *n)
{
	struct slice rest, line;
	struct strbuf out;

	strbuf_init(&out, 0);
	notice_compose(n, &out);
	rest = strbuf_slice(&out);
	while (slice_word(&rest, "\r\n", &line)) {
		if (line.n > 76) {
			fail_msg("%zu octets: %.*s", line.n, SLF(line));
		}
	}
	strbuf_clear(&out);
}

static void
a_header_that_must_be_encoded(void **state)
{
	static const struct {
		struct slice header;
		const char *says;
	} t[] = {
		{ SL_INIT("Subject: \xc3\xa4=\r\n"), "\r\n\r\nSubject: "
		    "=C3=A4=3D\r\n" },
		{ SL_INIT("A: b \r\nC:\xff\r\n"), "\r\n\r\nA: b=20\r\nC:=FF\r\n" },
		{ SL_INIT("A: b\rC: d\r\n"), "\r\n\r\nA: b=0DC: d\r\n" },
	};
	struct notice n = a_notice(&unknown, 1);
	char *longer = malloc(2000);
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		n.header = t[i].header;
		says(&n, t[i].says, true);
		says(&n, "text/rfc822-headers; charset=utf-8\r\n", true);
		says(&n, "Encoding: quoted-printable\r\n", true);
	}
	memset(longer, 'x', 1200);
	memcpy(longer, "A: ", 3);
	memcpy(longer + 1198, "\r\n", 2);
	n.header = slice_make(longer, 1200);
	says(&n, "Encoding: quoted-printable\r\n", true);
	short_lines(&n);
	memset(longer + 4, '\xe4', 1194);
	says(&n, "Encoding: quoted-printable\r\n", true);
	short_lines(&n);
	free(longer);
	n.header = SL("--=_01ARZ3NDEKTSV.0\r\n--=_01ARZ3NDEKTSV.1--\r\n");
	says(&n, "boundary=\"=_01ARZ3NDEKTSV.2\"\r\n", true);
}

static void
many_recipients(void **state)
{
	struct notice_rcpt *rcpts = calloc(1500, sizeof(*rcpts));
	struct notice n = a_notice(rcpts, 1500);
	char (*names)[24] = calloc(1500, sizeof(*names));
	size_t i;

	(void)state;
	for (i = 0; i < 1500; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "u%zu@y.example", i);
		rcpts[i] = unknown;
		rcpts[i].address = slice_of(names[i]);
	}
	says(&n, "Final-Recipient: rfc822; u999@y.example\r\n", true);
	says(&n, "Final-Recipient: rfc822; u1000@y.example\r\n", false);
	says(&n, "The same holds for 500 further recipients:\r\n", true);
	says(&n, "\r\n<u1000@y.example>\r\n<u1001@y.example>\r\n", true);
	says(&n, "\r\n<u1499@y.example>\r\n", true);
	says(&n, "more\r\n", false);
	n.nrcpts = 1000;
	says(&n, "The same holds", false);
	free(names);
	free(rcpts);
}

static void
plain_messages(void **state)
{
	const struct notice_plain n = { "mx.example.org", "example.org", "ID",
		1700000000, SL("postmaster@example.org"), "The disk is full",
		"One line.\nAnother\r\nBcc: x.\n" };
	struct strbuf out;

	(void)state;
	strbuf_init(&out, 0);
	notice_compose_plain(&n, &out);
	assert_non_null(strstr(out.p, "\r\nSubject: The disk is full\r\n"));
	assert_non_null(strstr(out.p, "\r\n\r\nOne line.\r\nAnother\r\n"
	    "Bcc: x.\r\n"));
	strbuf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_whole_text),
		cmocka_unit_test(kinds),
		cmocka_unit_test(codes_and_hosts),
		cmocka_unit_test(a_header_that_must_be_encoded),
		cmocka_unit_test(many_recipients),
		cmocka_unit_test(plain_messages),
	};

	(void)setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests_name("notice", tests, NULL, NULL);
}
