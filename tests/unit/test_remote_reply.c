#include "config.h"

#include <stdlib.h>

#include "remote/reply.h"
#include "tests/unit/unit.h"

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

struct row {
	const char *name;
	struct slice in;
	enum reply_got want;
	unsigned code, class;
	const char *esc, *text; /* why when bad */
};

#define ROW(name, in, ...) { name, SL_INIT(in), __VA_ARGS__ }

static const struct row rows[] = {
	ROW("plain", "250 ok\r\n", REPLY_DONE, 250, 2, "2.0.0", "250 ok"),
	ROW("enhanced", "550 5.1.1 no such user\r\n", REPLY_DONE, 550, 5,
	    "5.1.1", "550 5.1.1 no such user"),
	ROW("code alone", "550\r\n", REPLY_DONE, 550, 5, "5.0.0", "550"),
	ROW("code and a space", "550 \r\n", REPLY_DONE, 550, 5, "5.0.0", "550"),
	ROW("enhanced code without text", "550 5.7.2\r\n", REPLY_DONE, 550, 5,
	    "5.7.2", "550 5.7.2"),
	ROW("enhanced code and a space", "550 5.7.2 \r\n", REPLY_DONE, 550, 5,
	    "5.7.2", "550 5.7.2"),
	ROW("enhanced code of another class", "550 4.7.2 later\r\n", REPLY_DONE,
	    550, 5, "5.0.0", "550 4.7.2 later"),
	ROW("a 2 for a 4", "450 2.1.0 later\r\n", REPLY_DONE, 450, 4, "4.0.0",
	    "450 2.1.0 later"),
	ROW("enhanced code too long", "550 5.7777.1 x\r\n", REPLY_DONE, 550, 5,
	    "5.0.0", "550 5.7777.1 x"),
	ROW("an address is no enhanced code", "550 5.7.1.2 x\r\n", REPLY_DONE,
	    550, 5, "5.0.0", "550 5.7.1.2 x"),
	ROW("enhanced code cut", "550 5.7\r\n", REPLY_DONE, 550, 5, "5.0.0",
	    "550 5.7"),
	ROW("enhanced code empty inside", "550 5..1 x\r\n", REPLY_DONE, 550, 5,
	    "5.0.0", "550 5..1 x"),
	ROW("lines", "250-one\r\n250-two\r\n250 three\r\n", REPLY_DONE, 250, 2,
	    "2.0.0", "250 one two three"),
	ROW("lines with the code in each", "550-5.1.1 no\r\n550 5.1.1 such\r\n",
	    REPLY_DONE, 550, 5, "5.1.1", "550 5.1.1 no such"),
	ROW("lines with another code", "550-5.1.1 no\r\n550 5.1.2 such\r\n",
	    REPLY_DONE, 550, 5, "5.1.1", "550 5.1.1 no 5.1.2 such"),
	ROW("empty lines", "550-\r\n550-\r\n550\r\n", REPLY_DONE, 550, 5,
	    "5.0.0", "550"),
	ROW("codes of one class", "250-a\r\n251 b\r\n", REPLY_DONE, 251, 2,
	    "2.0.0", "251 a b"),
	ROW("good, then bad: in doubt", "250-2.1.5 a\r\n550 b\r\n", REPLY_DONE,
	    550, 4, "4.0.0", "550 2.1.5 a b"),
	ROW("bad, then good: in doubt", "550-5.1.1 a\r\n250 b\r\n", REPLY_DONE,
	    250, 4, "4.0.0", "250 5.1.1 a b"),
	ROW("354", "354 go\r\n", REPLY_DONE, 354, 3, "3.0.0", "354 go"),
	ROW("not printable", "550 a\0b\033[2J\303\251\tc\r\n", REPLY_DONE, 550,
	    5, "5.0.0", "550 a?b?[2J?? c"),
	ROW("percent", "550 %s%n\r\n", REPLY_DONE, 550, 5, "5.0.0",
	    "550 %s%n"),
	ROW("long, cut", "550 " X100 X100 X100 X100 X100 X100 "\r\n",
	    REPLY_DONE, 550, 5, "5.0.0", "550 " X100 X100 "xxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
	ROW("not whole", "250 o", REPLY_MORE, 0, 0, NULL, NULL),
	ROW("no LF yet", "250 ok\r", REPLY_MORE, 0, 0, NULL, NULL),
	ROW("one digit", "5", REPLY_MORE, 0, 0, NULL, NULL),
	ROW("no code", "hello\r\n", REPLY_BAD, 0, 0, NULL,
	    "a line does not begin with a reply code"),
	ROW("empty line", "\r\n", REPLY_BAD, 0, 0, NULL,
	    "a line does not begin with a reply code"),
	ROW("1yz", "150 x\r\n", REPLY_BAD, 0, 0, NULL,
	    "a line does not begin with a reply code"),
	ROW("6yz", "650 x\r\n", REPLY_BAD, 0, 0, NULL,
	    "a line does not begin with a reply code"),
	ROW("two digits", "25 x\r\n", REPLY_BAD, 0, 0, NULL,
	    "a line does not begin with a reply code"),
	ROW("NUL in the code", "25\0 x\r\n", REPLY_BAD, 0, 0, NULL,
	    "a line does not begin with a reply code"),
	ROW("four digits", "2500 x\r\n", REPLY_BAD, 0, 0, NULL,
	    "a reply code is followed by something else"),
	ROW("tab behind the code", "250\tx\r\n", REPLY_BAD, 0, 0, NULL,
	    "a reply code is followed by something else"),
	ROW("LF behind the code", "250\n", REPLY_BAD, 0, 0, NULL,
	    "a reply code is followed by something else"),
	ROW("bare LF", "250 a\n250 b\r\n", REPLY_BAD, 0, 0, NULL,
	    "a bare LF in a reply"),
	ROW("bare CR", "250 a\r250 b\r\n", REPLY_BAD, 0, 0, NULL,
	    "a bare CR in a reply"),
	ROW("CR CR LF", "250 a\r\r\n", REPLY_BAD, 0, 0, NULL,
	    "a bare CR in a reply"),
	ROW("bare CR behind the code", "250\r250\r\n", REPLY_BAD, 0, 0, NULL,
	    "a bare CR in a reply"),
};

/* All lines of one reply, `cut' octets at a time. */
static enum reply_got
feed(struct reply *r, struct slice in, size_t cut, size_t *used)
{
	enum reply_got got = REPLY_MORE;
	size_t n, u;

	*used = 0;
	while (*used < in.n && (got == REPLY_MORE || got == REPLY_LINE)) {
		n = in.n - *used < cut ? in.n - *used : cut;
		got = reply_feed(r, slice_make(in.p + *used, n), &u);
		assert_true(u > 0 && u <= n);
		*used += u;
	}
	return got;
}

static void
check(const struct row *row, size_t cut)
{
	struct reply r = { 0 };
	size_t used;
	enum reply_got got = feed(&r, row->in, cut, &used);

	if (got != row->want) {
		fail_msg("%s (by %zu): %d", row->name, cut, (int)got);
	}
	if (got == REPLY_DONE) {
		assert_int_equal(used, row->in.n);
		assert_int_equal(r.code, row->code);
		assert_int_equal(r.class, row->class);
		assert_string_equal(r.esc, row->esc);
		assert_string_equal(r.text, row->text);
		assert_false(reply_is_begun(&r));
	} else if (got == REPLY_BAD) {
		assert_string_equal(r.why, row->text);
	} else {
		assert_true(reply_is_begun(&r));
	}
}

static void
test_rows(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		check(&rows[i], rows[i].in.n);
		check(&rows[i], 1);
		check(&rows[i], 3);
	}
}

/* Two replies in one go: each is taken alone, and nothing of the first stays. */
static void
test_one_after_another(void **state)
{
	const struct slice in = SL("550-5.1.1 a\r\n550 b\r\n250 c\r\n");
	struct reply r = { 0 };
	size_t used, second;

	(void)state;
	assert_int_equal(feed(&r, in, in.n, &used), REPLY_DONE);
	assert_string_equal(r.text, "550 5.1.1 a b");
	assert_int_equal(feed(&r, slice_make(in.p + used, in.n - used), in.n,
	    &second), REPLY_DONE);
	assert_int_equal(used + second, in.n);
	assert_int_equal(r.code, 250);
	assert_string_equal(r.esc, "2.0.0");
	assert_string_equal(r.text, "250 c");
}

/* The lines of EHLO's answer, one by one. */
static void
test_lines(void **state)
{
	const struct slice in = SL("250-mx.test\r\n250-SIZE 100\r\n250 HELP\r\n");
	const char *want[] = { "mx.test", "SIZE 100", "HELP" };
	struct reply r = { 0 };
	size_t used, at = 0, i;

	(void)state;
	for (i = 0; i < NELEMS(want); i++) {
		assert_int_equal(reply_feed(&r, slice_make(in.p + at, in.n - at),
		    &used), i < 2 ? REPLY_LINE : REPLY_DONE);
		assert_string_equal(r.line, want[i]);
		at += used;
	}
}

static void
never_ends(const char *first, const char *again)
{
	struct reply r = { 0 };
	enum reply_got got = REPLY_MORE;
	size_t used, n = 0, i;

	(void)feed(&r, slice_of(first), 1000, &used);
	for (i = 0; i < 1000000 && got != REPLY_BAD; i++) {
		got = feed(&r, slice_of(again), 1000, &used);
		n += used;
	}
	assert_int_equal(got, REPLY_BAD);
	assert_string_equal(r.why, "a reply without end");
	assert_in_range(n, 1, REPLY_OCTETS_MAX + 1);
}

static void
test_endless(void **state)
{
	(void)state;
	never_ends("", "250-more\r\n");
	never_ends("", "250-\r\n");
	never_ends("250 ", X100 X100);
	never_ends("250-", "\303\251");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_one_after_another),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_endless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
