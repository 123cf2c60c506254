#include "config.h"

#include <stdlib.h>

#include "cleanup/header.h"
#include "tests/unit/unit.h"

struct scan_row {
	const char *name, *in;
	size_t header_n, body_at; /* body_at SIZE_MAX: not known yet */
};

static const struct scan_row scans[] = {
	{ "header and body", "A: b\r\n\r\nbody\r\n", 6, 8 },
	{ "folded", "A: b\r\n c\r\n\td: e\r\n\r\nbody", 17, 19 },
	{ "no empty line", "A: b\r\nbody\r\n", 6, 6 },
	{ "no header", "hello\r\n\r\nA: b\r\n", 0, 0 },
	{ "continuation of nothing", " A: b\r\n\r\n", 0, 0 },
	{ "empty line first", "\r\nA: b\r\n", 0, 2 },
	{ "space before the colon", "A : b\r\n\r\n", 7, 9 },
	{ "space in the name", "A b: c\r\n\r\n", 0, 0 },
	{ "colon first", ": b\r\n", 0, 0 },
	{ "8-bit in the name", "\303\244: b\r\n", 0, 0 },
	{ "8-bit in the value", "A: \303\244\r\n\r\n", 7, 9 },
	{ "mailbox file", "From ann Mon Jan 1\r\nA: b\r\n\r\n", 26, 28 },
	{ "mailbox file later", "A: b\r\nFrom ann Mon\r\n\r\n", 6, 6 },
	{ "line of white space goes on", "A: b\r\n \r\nB: c\r\n\r\n", 15, 17 },
	{ "dot", ".\r\n", 0, 0 },
};

/* Whole and one octet at a time give the same; what is unfinished waits. */
static void
test_scan(void **state)
{
	size_t i, n, h, b;

	(void)state;
	for (i = 0; i < NELEMS(scans); i++) {
		struct slice in = slice_of(scans[i].in);
		struct header_scan s = { 0 };
		bool done = false;

		h = b = SIZE_MAX;
		assert_true(header_scan(&s, in, true, &h, &b));
		if (h != scans[i].header_n || b != scans[i].body_at) {
			fail_msg("%s: %zu %zu", scans[i].name, h, b);
		}
		s = (struct header_scan){ 0 };
		for (n = 0; n <= in.n && !done; n++) {
			done = header_scan(&s, slice_make(in.p, n), false, &h,
			    &b);
		}
		assert_true(done);
		assert_int_equal(h, scans[i].header_n);
		assert_int_equal(b, scans[i].body_at);
	}
}

static void
test_scan_waits(void **state)
{
	static const char *const t[] = { "", "A", "A: b\r", "A: b\r\n",
		"A: b\r\n\r", "A: b\r\n c" };
	size_t i, h, b;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		struct header_scan s = { 0 };

		assert_false(header_scan(&s, slice_of(t[i]), false, &h, &b));
		assert_true(header_scan(&s, slice_of(t[i]), true, &h, &b));
		assert_true(b <= strlen(t[i]));
	}
}

/* Rewrites what is in old.example, completes bare names, fails for one. */
static enum map_result
rewrite(void *arg, struct slice address, struct strbuf *out)
{
	size_t at = slice_find(address, '@');

	(void)arg;
	if (at == address.n) {
		(void)strbuf_printf(out, "%.*s@here.example", SLF(address));
		return MAP_FOUND;
	}
	if (slice_eq(slice_make(address.p + at, address.n - at),
	    SL("@old.example"))) {
		(void)strbuf_printf(out, "%.*s@new.example", (int)at,
		    address.p);
		return MAP_FOUND;
	}
	return slice_eq(address, SL("fail@x.example")) ? MAP_TEMP : MAP_NONE;
}

static const struct {
	const char *name, *in, *want; /* want NULL: TEMP; "=": as it is */
} rewrites[] = {
	{ "angle", "From: Ann <a@old.example>\r\n",
	    "From: Ann <a@new.example>\r\n" },
	{ "bare address", "To: a@old.example\r\n", "To: a@new.example\r\n" },
	{ "bare name", "To: ann\r\n", "To: ann@here.example\r\n" },
	{ "several, folded",
	    "To: a@old.example,\r\n  \"B, C\" <b@old.example>,\r\n\tc@x.example\r\n",
	    "To: a@new.example,\r\n  \"B, C\" <b@new.example>,\r\n\tc@x.example\r\n" },
	{ "comments", "Cc: (x <y>) a@old.example (old (er))\r\n",
	    "Cc: (x <y>) a@new.example (old (er))\r\n" },
	{ "group", "To: Them: a@old.example, ann;\r\n",
	    "To: Them: a@new.example, ann@here.example;\r\n" },
	{ "empty group", "To: undisclosed-recipients:;\r\n", "=" },
	{ "encoded word", "To: =?utf-8?q?J=C3=B6?= <j@old.example>\r\n",
	    "To: =?utf-8?q?J=C3=B6?= <j@new.example>\r\n" },
	{ "quoted local-part", "To: \"a b\"@old.example\r\n",
	    "To: \"a b\"@new.example\r\n" },
	{ "case of the name", "fROM: a@old.example\r\n",
	    "fROM: a@new.example\r\n" },
	{ "space before the colon", "From : a@old.example\r\n",
	    "From : a@new.example\r\n" },
	{ "resent", "Resent-To: a@old.example\r\n",
	    "Resent-To: a@new.example\r\n" },
	{ "receipt", "Disposition-Notification-To: a@old.example\r\n",
	    "Disposition-Notification-To: a@new.example\r\n" },
	{ "other field", "Subject: a@old.example\r\n", "=" },
	{ "other field, like", "X-To: a@old.example\r\n", "=" },
	{ "no address", "To: Ann Smith, <>, @, a@, <a@old.example\r\n",
	    "To: Ann Smith, <>, @, a@, <a@new.example\r\n" },
	{ "source route stays", "To: <@x.example:a@old.example>\r\n", "=" },
	{ "white space inside stays", "To: a @ old.example\r\n", "=" },
	{ "comment without end", "To: (a@old.example\r\n", "=" },
	{ "quote without end", "To: \"a@old.example\r\n", "=" },
	{ "8-bit", "To: \303\244 <a@old.example>\r\n",
	    "To: \303\244 <a@new.example>\r\n" },
	{ "Return-Path goes", "A: b\r\nReturn-Path: <x@y>\r\n more\r\nC: d\r\n",
	    "A: b\r\nC: d\r\n" },
	{ "mailbox file", "From ann Mon Jan 1\r\nA: b\r\n",
	    "X-Mailbox-Line: From ann Mon Jan 1\r\nA: b\r\n" },
	{ "empty field", "To:\r\n", "=" },
	{ "nothing", "", "=" },
	{ "no line end", "To: a@old.example", "To: a@new.example" },
	{ "temporary", "A: b\r\nTo: fail@x.example\r\n", NULL },
	{ "temporary elsewhere", "Subject: fail@x.example\r\n", "=" },
};

static void
test_rewrite(void **state)
{
	struct header_facts facts;
	struct strbuf out;
	const char *want;
	bool ok;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rewrites); i++) {
		strbuf_init(&out, 0);
		(void)strbuf_add_str(&out, "");
		ok = header_rewrite(slice_of(rewrites[i].in), rewrite, NULL,
		    &out, &facts);
		want = rewrites[i].want;
		if (ok != (want != NULL)) {
			fail_msg("%s: %d", rewrites[i].name, ok);
		}
		want = want != NULL && strcmp(want, "=") == 0 ?
		    rewrites[i].in : want;
		if (ok && strcmp(out.p, want) != 0) {
			fail_msg("%s: %s", rewrites[i].name, out.p);
		}
		strbuf_clear(&out);
	}
}

/* Without a callback all but Return-Path is kept as it is. */
static void
test_untouched(void **state)
{
	static const char in[] = "From: ann, a@old.example\r\nRETURN-PATH: x\r\n"
	    "To: fail@x.example\r\n";
	struct header_facts facts;
	struct strbuf out;

	(void)state;
	strbuf_init(&out, 0);
	assert_true(header_rewrite(slice_of(in), NULL, NULL, &out, &facts));
	assert_string_equal(out.p, "From: ann, a@old.example\r\n"
	    "To: fail@x.example\r\n");
	assert_int_equal(facts.return_path, 1);
	strbuf_clear(&out);
}

/* A line would become too long: the field stays. */
static void
test_long_line(void **state)
{
	struct header_facts facts;
	struct strbuf in, out;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		strbuf_init(&in, 0);
		strbuf_init(&out, 0);
		(void)strbuf_add_str(&in, "To: ");
		while (in.n < (i == 0 ? 970u : 990u)) {
			(void)strbuf_add_str(&in, "x");
		}
		(void)strbuf_add_str(&in, "@x,ann\r\n");
		assert_true(header_rewrite(strbuf_slice(&in), rewrite, NULL,
		    &out, &facts));
		assert_int_equal(out.n, in.n + (i == 0 ? 13 : 0));
		strbuf_clear(&in);
		strbuf_clear(&out);
	}
}

static void
test_facts(void **state)
{
	static const char in[] = "Received: a\r\nreceived: b\r\n\tc\r\n"
	    "RECEIVED: d\r\nMessage-Id: <1@x>  \r\nmessage-id: <2@x>\r\n"
	    "Date: d\r\nFrom: a\r\nCc: b\r\nX-Received: no\r\n"
	    "Resent-Date: x\r\nResent-From: y\r\n";
	struct header_facts f;
	struct strbuf out;

	(void)state;
	strbuf_init(&out, 0);
	assert_true(header_rewrite(slice_of(in), NULL, NULL, &out, &f));
	assert_int_equal(f.received, 3);
	assert_true(f.has_message_id && f.has_date && f.has_from &&
	    f.has_recipients && f.has_resent && f.has_resent_date &&
	    f.has_resent_from);
	assert_false(f.has_sender || f.has_resent_message_id);
	assert_slice(f.message_id, "<1@x>");
	strbuf_clear(&out);

	strbuf_init(&out, 0);
	assert_true(header_rewrite(SL("Message-ID:  \r\nSubject: x\r\n"), NULL,
	    NULL, &out, &f));
	assert_false(f.has_message_id || f.has_date || f.has_from ||
	    f.has_recipients || f.has_resent);
	strbuf_clear(&out);
}

/* Hostile megabytes cost time and memory linear in their size. */
static void
test_hostile(void **state)
{
	static const char *const units[] = { "(", "<", "\"", "[", "\\", ",",
		":", ";", "a,", "(,", "<a@old.example>,", "\r\n ", "\"a\" " };
	const size_t size = 1 << 20;
	struct header_facts facts;
	struct strbuf in, out;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(units); i++) {
		strbuf_init(&in, 0);
		strbuf_init(&out, 0);
		(void)strbuf_add_str(&in, "To: ");
		while (in.n < size) {
			(void)strbuf_add_str(&in, units[i]);
		}
		(void)strbuf_add_str(&in, "\r\n");
		assert_true(header_rewrite(strbuf_slice(&in), rewrite, NULL,
		    &out, &facts));
		strbuf_clear(&in);
		strbuf_clear(&out);
	}
}

static void
test_received(void **state)
{
	struct header_trace t = { .helo = "host.example",
		.client_name = "unknown", .client_addr = "192.0.2.1",
		.proto = "ESMTP", .myhostname = "mx.example.org", .id = "Q1",
		.recipient = "ann@example.org", .now = 86400 };
	struct strbuf out;

	(void)state;
	(void)setenv("TZ", "UTC0", 1);
	tzset();
	strbuf_init(&out, 0);
	header_add_received(&t, &out);
	assert_string_equal(out.p, "Received: from host.example (unknown "
	    "[192.0.2.1])\r\n\tby mx.example.org (Veredus) with ESMTP id Q1"
	    "\r\n\tfor <ann@example.org>; Fri, 2 Jan 1970 00:00:00 +0000\r\n");
	strbuf_reset(&out);
	t.helo = "a) b\r\nX: \"<(";
	t.client_name = "";
	t.client_addr = "2001:db8::1";
	t.recipient = NULL;
	header_add_received(&t, &out);
	assert_string_equal(out.p, "Received: from a??b??X:???? (unknown "
	    "[IPv6:2001:db8::1])\r\n\tby mx.example.org (Veredus) with ESMTP "
	    "id Q1; Fri, 2 Jan 1970 00:00:00 +0000\r\n");
	strbuf_reset(&out);
	t.proto = "local";
	t.uid = 1000;
	header_add_received(&t, &out);
	assert_string_equal(out.p, "Received: by mx.example.org (Veredus, from "
	    "uid 1000)\r\n\tid Q1; Fri, 2 Jan 1970 00:00:00 +0000\r\n");
	strbuf_clear(&out);
}

static void
test_added_fields(void **state)
{
	static const struct {
		const char *tz, *want;
		time_t at;
	} t[] = {
		{ "UTC0", "Thu, 1 Jan 1970 00:00:00 +0000", 0 },
		{ "XXX-5:30", "Thu, 1 Jan 1970 05:30:00 +0530", 0 },
		{ "XXX3:30", "Wed, 31 Dec 1969 20:30:00 -0330", 0 },
		{ "UTC0", "Tue, 29 Feb 2000 12:34:56 +0000", 951827696 },
	};
	struct strbuf out;
	size_t i;

	(void)state;
	strbuf_init(&out, 0);
	for (i = 0; i < NELEMS(t); i++) {
		(void)setenv("TZ", t[i].tz, 1);
		tzset();
		strbuf_reset(&out);
		header_date(t[i].at, &out);
		assert_string_equal(out.p, t[i].want);
	}
	strbuf_reset(&out);
	header_add_date("Date", 951827696, &out);
	header_add_message_id("Message-ID", "Q1", "mx.example.org", &out);
	header_add_from("From", SL("\"a\\\"b\"@example.org"), &out);
	assert_string_equal(out.p, "Date: Tue, 29 Feb 2000 12:34:56 +0000\r\n"
	    "Message-ID: <Q1@mx.example.org>\r\n"
	    "From: \"a\\\"b\"@example.org\r\n");
	strbuf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_scan_waits),
		cmocka_unit_test(test_rewrite),
		cmocka_unit_test(test_untouched),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_received),
		cmocka_unit_test(test_added_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
