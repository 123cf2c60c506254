/* The content parser: dots, ends, smuggling, flags; whole and cut. */
#include "config.h"

#include <stdlib.h>

#include "common/envelope.h"
#include "smtpd/data.h"
#include "tests/unit/unit.h"

#define LIMIT 100000
#define A10   "aaaaaaaaaa"
#define A100  A10 A10 A10 A10 A10 A10 A10 A10 A10 A10

struct row {
	const char *name;
	struct slice in;
	bool normalise;
	bool done;
	enum data_verdict verdict;
	uint32_t flags;
	size_t left;      /* octets after the end */
	struct slice out; /* when the verdict is good */
};

#define F8 CONTENT_8BIT
#define FD CONTENT_DOT_LINES

static const struct row rows[] = {
	{ "empty", SL_INIT(".\r\n"), 0, 1, DATA_GOOD, 0, 0, SL_INIT("") },
	{ "one line", SL_INIT("a\r\n.\r\n"), 0, 1, DATA_GOOD, 0, 0, SL_INIT("a\r\n") },
	{ "no end", SL_INIT("a\r\n"), 0, 0, DATA_GOOD, 0, 0, SL_INIT("a\r\n") },
	{ "end without line end before", SL_INIT("a.\r\n"), 0, 0, DATA_GOOD, 0, 0,
	    SL_INIT("a.\r\n") },
	{ "what follows stays", SL_INIT(".\r\nQUIT\r\n"), 0, 1, DATA_GOOD, 0, 6,
	    SL_INIT("") },
	{ "stuffed", SL_INIT("..\r\n.\r\n"), 0, 1, DATA_GOOD, FD, 0, SL_INIT(".\r\n") },
	{ "stuffed text", SL_INIT("..a\r\n...\r\n.\r\n"), 0, 1, DATA_GOOD, FD, 0,
	    SL_INIT(".a\r\n..\r\n") },
	{ "a dot to drop", SL_INIT(".a\r\n.\r\n"), 0, 1, DATA_GOOD, 0, 0,
	    SL_INIT("a\r\n") },
	{ "dots inside", SL_INIT("a.b..\r\n.\r\n"), 0, 1, DATA_GOOD, 0, 0,
	    SL_INIT("a.b..\r\n") },
	{ "empty lines", SL_INIT("\r\n\r\n.\r\n"), 0, 1, DATA_GOOD, 0, 0,
	    SL_INIT("\r\n\r\n") },
	{ "8-bit", SL_INIT("aaaaaaaa\351aaaaaaaaa\r\n.\r\n"), 0, 1, DATA_GOOD, F8, 0,
	    SL_INIT("aaaaaaaa\351aaaaaaaaa\r\n") },
	{ "8-bit near the end", SL_INIT("\377\r\n.\r\n"), 0, 1, DATA_GOOD, F8, 0,
	    SL_INIT("\377\r\n") },
	{ "8-bit after the end", SL_INIT(".\r\n\377"), 0, 1, DATA_GOOD, 0, 1,
	    SL_INIT("") },
	{ "998", SL_INIT(A100 A100 A100 A100 A100 A100 A100 A100 A100
	    A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaaa\r\n.\r\n"), 0, 1,
	    DATA_GOOD, 0, 0, SL_INIT(A100 A100 A100 A100 A100 A100 A100 A100 A100
	    A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaaa\r\n") },
	{ "999", SL_INIT(A100 A100 A100 A100 A100 A100 A100 A100 A100
	    A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaaaa\r\n.\r\n"), 0, 1,
	    DATA_GOOD, CONTENT_LONG_LINES, 0,
	    SL_INIT(A100 A100 A100 A100 A100 A100 A100 A100 A100
	    A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaaaa\r\n") },
	{ "NUL", SL_INIT("a\0b\r\n.\r\n"), 0, 1, DATA_NUL, 0, 0, SL_INIT("") },
	{ "NUL after a dot", SL_INIT(".\0\r\n.\r\n"), 0, 1, DATA_NUL, 0, 0, SL_INIT("") },
	{ "NUL in the end", SL_INIT("a\r\n.\r\0\n.\r\n"), 0, 0, DATA_BARE, FD, 0,
	    SL_INIT("") },
	{ "bare LF", SL_INIT("a\nb\r\n.\r\n"), 0, 1, DATA_BARE, 0, 0, SL_INIT("") },
	{ "bare CR", SL_INIT("a\rb\r\n.\r\n"), 0, 1, DATA_BARE, 0, 0, SL_INIT("") },
	{ "CR CR LF", SL_INIT("a\r\r\n.\r\n"), 0, 1, DATA_BARE, 0, 0, SL_INIT("") },
	{ "the first wrong counts", SL_INIT("\0\n\r\n.\r\n"), 0, 1, DATA_NUL, 0, 0,
	    SL_INIT("") },
	/* ends that are none (lessons C1) */
	{ "LF.LF", SL_INIT("a\n.\n"), 0, 0, DATA_BARE, FD, 0, SL_INIT("") },
	{ "LF.CRLF", SL_INIT("a\n.\r\n"), 0, 0, DATA_BARE, FD, 0, SL_INIT("") },
	{ "CRLF.LF", SL_INIT("a\r\n.\n"), 0, 0, DATA_BARE, FD, 0, SL_INIT("") },
	{ "CR.CR", SL_INIT("a\r.\r"), 0, 0, DATA_BARE, 0, 0, SL_INIT("") },
	{ "CR.CRLF", SL_INIT("a\r.\r\n"), 0, 0, DATA_BARE, FD, 0, SL_INIT("") },
	{ "CRLF.CR", SL_INIT("a\r\n.\rb"), 0, 0, DATA_BARE, FD, 0, SL_INIT("") },
	{ "CRLF.CRCRLF", SL_INIT("a\r\n.\r\r\n"), 0, 0, DATA_BARE, FD, 0, SL_INIT("") },
	{ "CRCRLF.CRLF", SL_INIT("a\r\r\n.\r\n"), 0, 1, DATA_BARE, 0, 0, SL_INIT("") },
	{ "at the very start", SL_INIT("\n.\r\n"), 0, 0, DATA_BARE, FD, 0, SL_INIT("") },
	/* normalised */
	{ "n: bare LF", SL_INIT("a\nb\r\n.\r\n"), 1, 1, DATA_GOOD, 0, 0,
	    SL_INIT("a\r\nb\r\n") },
	{ "n: bare CR", SL_INIT("a\rb\r\n.\r\n"), 1, 1, DATA_GOOD, 0, 0,
	    SL_INIT("a\r\nb\r\n") },
	{ "n: CR CR LF", SL_INIT("a\r\r\n.\r\n"), 1, 1, DATA_GOOD, 0, 0,
	    SL_INIT("a\r\n\r\n") },
	{ "n: LF.LF", SL_INIT("a\n.\nb\r\n.\r\n"), 1, 1, DATA_GOOD, FD, 0,
	    SL_INIT("a\r\n.\r\nb\r\n") },
	{ "n: LF.CRLF", SL_INIT("a\n.\r\nb\r\n.\r\n"), 1, 1, DATA_GOOD, FD, 0,
	    SL_INIT("a\r\n.\r\nb\r\n") },
	{ "n: CRLF.LF", SL_INIT("a\r\n.\nb\r\n.\r\n"), 1, 1, DATA_GOOD, FD, 0,
	    SL_INIT("a\r\n.\r\nb\r\n") },
	{ "n: CRLF.CRCRLF", SL_INIT("a\r\n.\r\r\n.\r\n"), 1, 1, DATA_GOOD, FD, 0,
	    SL_INIT("a\r\n.\r\n\r\n") },
	{ "n: LF.. is un-stuffed", SL_INIT("a\n..b\r\n.\r\n"), 1, 1, DATA_GOOD, FD,
	    0, SL_INIT("a\r\n.b\r\n") },
	{ "n: NUL", SL_INIT("a\0\r\n.\r\n"), 1, 1, DATA_NUL, 0, 0, SL_INIT("") },
};

/* Feed `in' in pieces of `cut' octets; `max' is the room of one call. */
static void
check(const struct row *r, size_t cut, size_t max)
{
	struct data_parser d;
	struct strbuf room, all;
	size_t at = 0, n, used;

	data_init(&d, LIMIT, r->normalise);
	strbuf_init(&room, 0);
	strbuf_init(&all, 0);
	while (at < r->in.n && !d.done) {
		char *copy;

		n = r->in.n - at < cut ? r->in.n - at : cut;
		copy = malloc(n);
		assert_non_null(copy);
		memcpy(copy, r->in.p + at, n);
		used = data_parse(&d, slice_make(copy, n), &room, max);
		assert_true(used <= n && (used > 0 || room.n > 0));
		assert_true(room.n <= max);
		strbuf_add_slice(&all, strbuf_slice(&room));
		strbuf_reset(&room);
		free(copy);
		at += used;
	}
	if (d.done != r->done || d.verdict != r->verdict ||
	    d.flags != r->flags || r->in.n - at != r->left ||
	    d.taken != at || (d.verdict == DATA_GOOD &&
	    (!slice_eq(strbuf_slice(&all), r->out) || d.size != all.n))) {
		fail_msg("%s (cut %zu, room %zu): done %d verdict %d flags %x "
		    "left %zu size %zu", r->name, cut, max, d.done,
		    (int)d.verdict, d.flags, r->in.n - at, all.n);
	}
	strbuf_clear(&room);
	strbuf_clear(&all);
}

static void
test_rows(void **state)
{
	size_t i, cut;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		for (cut = 1; cut < 20; cut++) {
			check(&rows[i], cut, 65536);
			check(&rows[i], cut, 5);
		}
		check(&rows[i], rows[i].in.n, 65536);
		check(&rows[i], rows[i].in.n, 5);
		check(&rows[i], rows[i].in.n, 64);
	}
}

static void
test_limit(void **state)
{
	struct data_parser d;
	struct strbuf out;

	(void)state;
	strbuf_init(&out, 0);
	data_init(&d, 5, false);
	assert_int_equal(data_parse(&d, SL("abc\r\n.\r\n"), &out, 100), 8);
	assert_int_equal(d.verdict, DATA_GOOD);
	assert_true(d.done);
	strbuf_reset(&out);
	data_init(&d, 5, false);
	assert_int_equal(data_parse(&d, SL("abcd\r\nx\r\n.\r\n"), &out, 100),
	    12);
	assert_int_equal(d.verdict, DATA_TOO_BIG);
	assert_true(d.done);
	assert_slice(strbuf_slice(&out), "abcd");
	strbuf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
