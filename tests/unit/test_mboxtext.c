/* The octets of mbox files: From_ lines, quoting, ids, and what their ends
   tell. Incremental parts also one octet at a time. */
#include "config.h"

#include "local/mboxtext.h"
#include "tests/unit/unit.h"

static void
from_lines(void **state)
{
	static const struct {
		struct slice path;
		uint64_t seconds;
		const char *want;
	} rows[] = {
		{ SL_INIT("s@y.test"), 1700000000,
		    "From s@y.test Tue Nov 14 22:13:20 2023\n" },
		{ SL_INIT(""), 0, "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n" },
		{ SL_INIT("\"a b\tc\"@y.test"), 951826154,
		    "From \"a-b-c\"@y.test Tue Feb 29 12:09:14 2000\n" },
		{ SL_INIT("x\n@\r\0y"), 4102444799,
		    "From x-@--y Thu Dec 31 23:59:59 2099\n" },
	};
	struct strbuf b;
	size_t i;

	(void)state;
	strbuf_init(&b, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		strbuf_reset(&b);
		mboxtext_from(&b, rows[i].path, rows[i].seconds * 1000000);
		assert_string_equal(b.p, rows[i].want);
	}
	strbuf_reset(&b);
	mboxtext_from(&b, SL(""), UINT64_MAX); /* just no crash */
	assert_true(b.n > 20 && b.p[b.n - 1] == '\n');
	strbuf_clear(&b);
}

static void
ids(void **state)
{
	static const struct {
		const char *line;
		bool good;
	} rows[] = {
		{ "X-Veredus-Id: 0000I6HB7H6LS.0", true },
		{ "X-Veredus-Id: 0000I6HB7H6LS.4294967295", true },
		{ "X-Veredus-Id: 0000I6HB7H6LS.4294967296", false },
		{ "X-Veredus-Id: 0000I6HB7H6LS.", false },
		{ "X-Veredus-Id: 0000I6HB7H6LS", false },
		{ "X-Veredus-Id: 0000I6HB7H6L.00", false },
		{ "X-Veredus-Id: 0000I6HB7H6LS.0x", false },
		{ "X-Veredus-Id:", false }, { "", false },
		{ "X-Veredus-Ie: 0000I6HB7H6LS.0", false },
	};
	struct strbuf b;
	uint64_t qid = 0;
	uint32_t index = 7;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		assert_int_equal(mboxtext_parse_id(slice_of(rows[i].line), &qid,
		    &index), rows[i].good);
	}
	strbuf_init(&b, 0);
	mboxtext_id(&b, 0x123456789abcu, 12);
	assert_string_equal(b.p, "X-Veredus-Id: 0000I6HB7H6LS.12\n");
	assert_true(mboxtext_parse_id(slice_make(b.p, b.n - 1), &qid, &index));
	assert_true(qid == 0x123456789abcu && index == 12);
	strbuf_clear(&b);
}

static const struct {
	const char *name;
	struct slice in, want;
} quotes[] = {
	{ "nothing", SL_INIT(""), SL_INIT("\n") },
	{ "a line", SL_INIT("a\n"), SL_INIT("a\n\n") },
	{ "no end", SL_INIT("a"), SL_INIT("a\n\n") },
	{ "From_", SL_INIT("From x\n"), SL_INIT(">From x\n\n") },
	{ "From_ in the second line", SL_INIT("a\nFrom x\n"),
	    SL_INIT("a\n>From x\n\n") },
	{ "quoted before", SL_INIT(">From x\n>>>From y\n"),
	    SL_INIT(">>From x\n>>>>From y\n\n") },
	{ "in the line", SL_INIT("a From x\n From y\n"),
	    SL_INIT("a From x\n From y\n\n") },
	{ "no space", SL_INIT("From\nFrom:\n>From\nFrom"),
	    SL_INIT("From\nFrom:\n>From\nFrom\n\n") },
	{ "case", SL_INIT("from x\nFROM x\n"), SL_INIT("from x\nFROM x\n\n") },
	{ "cut short", SL_INIT("Fro"), SL_INIT("Fro\n\n") },
	{ "twice the start", SL_INIT("FFrom \nFroFrom \n>F>From \n"),
	    SL_INIT("FFrom \nFroFrom \n>F>From \n\n") },
	{ "the shortest", SL_INIT("From "), SL_INIT(">From \n\n") },
	{ "only quotes", SL_INIT(">>>>\n>\n"), SL_INIT(">>>>\n>\n\n") },
	{ "blank lines", SL_INIT("\n\nFrom \n\n"), SL_INIT("\n\n>From \n\n\n") },
	{ "octets", SL_INIT("\0\377\nFrom \0\n"), SL_INIT("\0\377\n>From \0\n\n") },
	{ "many", SL_INIT("From From From \nFrom \nFrom \nFrom \n"),
	    SL_INIT(">From From From \n>From \n>From \n>From \n\n") },
};

static void
quotes_lines(void **state)
{
	struct mboxquote q;
	size_t i, k, n, step, m;
	char out[200];

	(void)state;
	for (i = 0; i < NELEMS(quotes); i++) {
		for (step = 1; step <= quotes[i].in.n + 1; step++) {
			memset(&q, 0, sizeof(q));
			for (k = n = 0; k < quotes[i].in.n; k += step) {
				struct slice piece = { quotes[i].in.p + k,
					quotes[i].in.n - k < step ?
					quotes[i].in.n - k : step };

				m = mboxquote_feed(&q, piece, out + n);
				assert_true(m <= MBOXQUOTE_ROOM(piece.n));
				n += m;
			}
			m = mboxquote_end(&q, out + n);
			assert_true(m <= MBOXQUOTE_ROOM(0));
			if (!slice_eq(slice_make(out, n + m), quotes[i].want)) {
				fail_msg("%s in steps of %zu: %.*s",
				    quotes[i].name, step, (int)(n + m), out);
			}
		}
	}
}

static void
finds_the_last_message(void **state)
{
	static const struct {
		const char *name;
		struct slice in;
		bool first, final;
		int at;       /* -1: none */
		bool unfinished;
	} rows[] = {
		{ "empty", SL_INIT(""), true, true, -1, false },
		{ "one", SL_INIT("From a\n\nb\n\n"), true, true, 0, false },
		{ "two", SL_INIT("From a\n\nFrom b\nx\n"), true, true, 8, false },
		{ "unborn, alone", SL_INIT("\0rom a\nx\n"), true, true, 0, true },
		{ "unborn", SL_INIT("From a\n\nb\n\n\0rom c\nx\n"), true, true,
		    11, true },
		{ "cut: NUL", SL_INIT("From a\n\n\0"), true, true, 8, true },
		{ "cut: NUL r", SL_INIT("From a\n\n\0r"), true, true, 8, true },
		{ "cut, but not the end", SL_INIT("From a\n\n\0r"), true, false,
		    0, false },
		{ "no blank line", SL_INIT("From a\nb\n\0rom c\n"), true, true,
		    0, false },
		{ "NUL, something else", SL_INIT("From a\n\n\0oma\n"), true,
		    true, 0, false },
		{ "NUL in the line", SL_INIT("From a\n\nb\0rom c\n"), true, true,
		    0, false },
		{ "a middle piece", SL_INIT("From a\nb\n"), false, false, -1,
		    false },
		{ "the same, the second line", SL_INIT("x\nFrom a\nb\n"), false,
		    false, 2, false },
		{ "no context for NUL", SL_INIT("\n\0rom c\n"), false, false,
		    -1, false },
		{ "context", SL_INIT("\n\n\0rom c\n"), false, false, 2, true },
		{ "From without blank", SL_INIT("x\nFromm a\n"), true, true, -1,
		    false },
	};
	bool unfinished;
	size_t i, at;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		bool got = mboxtext_last(rows[i].in, rows[i].first,
		    rows[i].final, &at, &unfinished);

		if (got != (rows[i].at != -1) || (got && ((int)at != rows[i].at ||
		    unfinished != rows[i].unfinished))) {
			fail_msg("%s: %d at %zu", rows[i].name, got, at);
		}
	}
}

static void
on_id(void *arg, uint64_t qid, uint32_t index)
{
	(void)strbuf_printf(arg, "%llx.%u ", (unsigned long long)qid, index);
}

static void
finds_ids(void **state)
{
	static const struct slice in = SL_INIT(
	    "X-Veredus-Id: 0000000000001.0\n" /* in front of all: no */
	    "From a\nReturn-Path: <>\nX-Veredus-Id: 0000000000002.3\n"
	    "Received: x\nX-Veredus-Id: 0000000000004.0\n\n" /* the sender's */
	    "X-Veredus-Id: 0000000000005.0\n\n"
	    "From b\n\nX-Veredus-Id: 0000000000006.0\n" /* the body */
	    "From c\nStatus: RO\nX-Veredus-Id: 0000000000007.1\n");
	struct mboxscan s;
	struct strbuf b;
	size_t step, k;

	(void)state;
	strbuf_init(&b, 0);
	for (step = 1; step <= in.n; step++) {
		memset(&s, 0, sizeof(s));
		strbuf_reset(&b);
		for (k = 0; k < in.n; k += step) {
			mboxscan_feed(&s, slice_make(in.p + k,
			    in.n - k < step ? in.n - k : step), on_id, &b);
		}
		assert_string_equal(b.p, "2.3 7.1 ");
	}
	strbuf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_lines),
		cmocka_unit_test(ids),
		cmocka_unit_test(quotes_lines),
		cmocka_unit_test(finds_the_last_message),
		cmocka_unit_test(finds_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
