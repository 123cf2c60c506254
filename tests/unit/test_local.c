/* local's pure parts: records, names and texts of messages, outcomes. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "local/become.h"
#include "local/mailtext.h"
#include "common/outcome.h"
#include "local/record.h"
#include "tests/unit/unit.h"

/* -- records -------------------------------------------------------------------- */

static void
record_names(void **state)
{
	const struct {
		struct slice name;
		bool ok;
	} rows[] = {
		{ SL("a"), true },
		{ SL("ann"), true },
		{ SL("_vqueue"), true },
		{ SL("ann.b-c_9"), true },
		{ SL("0"), true },
		{ SL("abcdefghijklmnopqrstuvwxyz012345"), true },
		{ SL("abcdefghijklmnopqrstuvwxyz0123456"), false },
		{ SL(""), false },
		{ SL("Ann"), false },
		{ SL("-ann"), false },
		{ SL(".ann"), false },
		{ SL(".."), false },
		{ SL("a/b"), false },
		{ SL("a b"), false },
		{ SL("a\0b"), false },
		{ SL("a:b"), false },
		{ SL("\303\244"), false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		if (record_name_ok(rows[i].name) != rows[i].ok) {
			fail_msg("row %zu: %s", i, rows[i].name.p);
		}
	}
}

static void
records_round_trip(void **state)
{
	const struct record q = { RECORD_WORKER, 0x80ff0102u, "ann" };
	const struct record k = { RECORD_KILL, 7, "" };
	struct record r;
	char b[RECORD_SIZE];

	(void)state;
	record_encode(&q, b);
	assert_memory_equal(b, "VRF1\1\0\0\0\2\1\377\200ann\0", 16);
	assert_true(record_decode(slice_make(b, sizeof(b)), &r));
	assert_int_equal(r.kind, RECORD_WORKER);
	assert_int_equal(r.serial, 0x80ff0102u);
	assert_string_equal(r.name, "ann");
	record_encode(&k, b);
	assert_true(record_decode(slice_make(b, sizeof(b)), &r));
	assert_int_equal(r.kind, RECORD_KILL);
	assert_int_equal(r.serial, 7);
}

/* Every octet but the serial's matters: another value there is refused, or is
   another letter of the name. */
static void
records_are_strict(void **state)
{
	const struct record q = { RECORD_WORKER, 1, "ann" };
	const struct record k = { RECORD_KILL, 1, "" };
	struct record r;
	char good[RECORD_SIZE], b[RECORD_SIZE + 1];
	size_t i;
	int v;

	(void)state;
	record_encode(&q, good);
	for (i = 0; i < RECORD_SIZE; i++) {
		for (v = 0; v < 256; v++) {
			bool serial = i >= 8 && i < 12;
			bool letter = i >= 12 && i < 16;

			memcpy(b, good, RECORD_SIZE);
			if (b[i] == (char)v) {
				continue;
			}
			b[i] = (char)v;
			if (record_decode(slice_make(b, RECORD_SIZE), &r)) {
				assert_true(serial || letter);
				assert_true(record_name_ok(slice_of(r.name)));
			} else {
				assert_false(serial);
			}
		}
	}
	memcpy(b, good, RECORD_SIZE);
	b[RECORD_SIZE] = '\0';
	assert_false(record_decode(slice_make(b, RECORD_SIZE - 1), &r));
	assert_false(record_decode(slice_make(b, RECORD_SIZE + 1), &r));
	assert_false(record_decode(slice_make(b, 0), &r));
	record_encode(&k, b);
	b[12] = 'a';
	assert_false(record_decode(slice_make(b, RECORD_SIZE), &r));
}

static void
answers_are_strict(void **state)
{
	const struct record_answer ok = { RECORD_OK, 0x01020304 };
	struct record_answer a;
	char good[RECORD_SIZE], b[RECORD_SIZE];
	size_t i;

	(void)state;
	record_answer_encode(&ok, good);
	assert_true(record_answer_decode(slice_make(good, sizeof(good)), &a));
	assert_int_equal(a.status, RECORD_OK);
	assert_int_equal(a.serial, 0x01020304);
	for (i = 0; i < RECORD_SIZE; i++) {
		memcpy(b, good, sizeof(b));
		b[i] = (char)(b[i] ^ 0x40);
		assert_int_equal(record_answer_decode(slice_make(b, sizeof(b)),
		    &a), i >= 8 && i < 12);
	}
	assert_false(record_answer_decode(slice_make(good, 63), &a));
}

/* -- names ------------------------------------------------------------------------ */

static void
names_of_messages(void **state)
{
	struct strbuf u, n;

	(void)state;
	strbuf_init(&u, 0);
	strbuf_init(&n, 0);
	mailtext_unique(&u, 0x123456789abcu, 4294967295u, 1700000000000042u);
	assert_slice(strbuf_slice(&u),
	    "1700000000.M000042V0000I6HB7H6LSR4294967295.");
	mailtext_name(&n, strbuf_slice(&u), SL("mx/a:b\\c.example"));
	assert_slice(strbuf_slice(&n),
	    "1700000000.M000042V0000I6HB7H6LSR4294967295."
	    "mx\\057a\\072b\\134c.example");
	assert_true(slice_eq(mailtext_unique_of(strbuf_slice(&n)),
	    strbuf_slice(&u)));
	strbuf_clear(&u);
	strbuf_clear(&n);
}

static void
unique_parts(void **state)
{
	const struct {
		const char *file, *unique;
	} rows[] = {
		{ "17.M1V0000I6HB7H6LSR0.mx:2,S", "17.M1V0000I6HB7H6LSR0." },
		{ "17.M1V0000I6HB7H6LSR0.", "17.M1V0000I6HB7H6LSR0." },
		{ "17.M1V0000I6HB7H6LSR0", "" },
		{ "17.M1V0000I6HB7H6LS0.mx", "" },
		{ "17.M1V0000I6HB7H6L!R0.mx", "" },
		{ "17.M1V000I6HB7H6LSR0.mx", "" },
		{ "17.MV0000I6HB7H6LSR0.mx", "" },
		{ ".M1V0000I6HB7H6LSR0.mx", "" },
		{ "1700000000.M1P2.mx", "" },
		{ "", "" },
		{ ".", "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		assert_slice(mailtext_unique_of(slice_of(rows[i].file)),
		    rows[i].unique);
	}
}

/* -- fields ------------------------------------------------------------------------ */

static void
fields_in_front(void **state)
{
	const struct {
		const char *reverse, *original, *address, *want;
	} rows[] = {
		{ "s@x.test", "ann@y.test", "ann@y.test",
		    "Return-Path: <s@x.test>\nDelivered-To: ann@y.test\n" },
		{ "", "team@y.test", "ann@y.test",
		    "Return-Path: <>\nX-Original-To: team@y.test\n"
		    "Delivered-To: ann@y.test\n" },
		{ "s@x.test", "", "ann@y.test",
		    "Return-Path: <s@x.test>\nDelivered-To: ann@y.test\n" },
		{ "a\nb", "c\rd", "e\177f",
		    "Return-Path: <a?b>\nX-Original-To: c?d\n"
		    "Delivered-To: e?f\n" },
	};
	struct strbuf b;
	size_t i;

	(void)state;
	strbuf_init(&b, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		strbuf_reset(&b);
		mailtext_fields(&b, slice_of(rows[i].reverse),
		    slice_of(rows[i].original), slice_of(rows[i].address));
		assert_slice(strbuf_slice(&b), rows[i].want);
	}
	strbuf_clear(&b);
}

/* -- line ends ----------------------------------------------------------------------- */

static void
convert(struct slice in, size_t step, struct strbuf *out)
{
	struct crlf c = { false };
	size_t n;

	strbuf_reset(out);
	while (in.n > 0) {
		n = step < in.n ? step : in.n;
		strbuf_filled(out, crlf_feed(&c, slice_make(in.p, n),
		    strbuf_room(out, n + 1)));
		in = slice_make(in.p + n, in.n - n);
	}
	strbuf_filled(out, crlf_end(&c, strbuf_room(out, 1)));
}

static void
line_ends(void **state)
{
	const struct {
		struct slice in, want;
	} rows[] = {
		{ SL(""), SL("") },
		{ SL("a\r\nb\r\n"), SL("a\nb\n") },
		{ SL("a"), SL("a") },
		{ SL("a\r\n\r\n.\r\n..x\r\n"), SL("a\n\n.\n..x\n") },
		{ SL("a\nb"), SL("a\nb") },
		{ SL("a\rb\r"), SL("a\rb\r") },
		{ SL("\r\r\n\n\r"), SL("\r\n\n\r") },
		{ SL("\r\n"), SL("\n") },
		{ SL("\0\377\200\r\n"), SL("\0\377\200\n") },
	};
	struct strbuf b;
	size_t i, step;

	(void)state;
	strbuf_init(&b, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		for (step = 1; step <= rows[i].in.n + 1; step++) {
			convert(rows[i].in, step, &b);
			if (!slice_eq(strbuf_slice(&b), rows[i].want)) {
				fail_msg("row %zu, step %zu", i, step);
			}
		}
	}
	strbuf_clear(&b);
}

/* -- loops --------------------------------------------------------------------------- */

static bool
scan(struct slice in, size_t step, struct slice address)
{
	struct loopscan l;
	size_t n;

	loopscan_init(&l, address);
	while (in.n > 0) {
		n = step < in.n ? step : in.n;
		if (loopscan_feed(&l, slice_make(in.p, n))) {
			break;
		}
		in = slice_make(in.p + n, in.n - n);
	}
	return loopscan_found(&l);
}

static void
finds_loops(void **state)
{
	const struct {
		const char *content;
		bool found;
	} rows[] = {
		{ "Delivered-To: ann@x.test\r\n\r\n", true },
		{ "delivered-TO:Ann@X.test\r\n\r\n", true },
		{ "A: b\r\nDelivered-To: \t ann@x.test \t\r\nC: d\r\n", true },
		{ "Delivered-To: ben@x.test\r\nDelivered-To: ann@x.test\r\n",
		    true },
		{ "Delivered-To: ann@x.test", true },
		{ "", false },
		{ "Subject: x\r\n\r\nDelivered-To: ann@x.test\r\n", false },
		{ "\r\nDelivered-To: ann@x.test\r\n", false },
		{ "Delivered-To: ann@x.tes\r\n", false },
		{ "Delivered-To: ann@x.test.org\r\n", false },
		{ "Delivered-To: ann@x.test, ben@x.test\r\n", false },
		{ "Delivered-To: ann@x.test ben\r\n", false },
		{ "Delivered-To: xann@x.test\r\n", false },
		{ "Delivered-To : ann@x.test\r\n", false },
		{ "X-Delivered-To: ann@x.test\r\n", false },
		{ " Delivered-To: ann@x.test\r\n", false },
		{ "Delivered-To:\r\n ann@x.test\r\n", false },
		{ "Delivered-To:\r\n\r\n", false },
	};
	size_t i, step;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		for (step = 1; step < 100; step++) {
			if (scan(slice_of(rows[i].content), step,
			    SL("ann@x.test")) != rows[i].found) {
				fail_msg("row %zu, step %zu", i, step);
			}
		}
		assert_false(scan(slice_of(rows[i].content), 100, SL("")));
	}
}

/* -- outcomes ------------------------------------------------------------------------- */

static void
outcomes_of_errnos(void **state)
{
	const struct {
		int error;
		const char *esc;
	} rows[] = {
		{ ENOSPC, "4.3.1" }, { EDQUOT, "4.2.2" }, { EIO, "4.3.0" },
		{ EACCES, "4.2.0" }, { ENOENT, "4.2.0" }, { EMFILE, "4.3.0" },
		{ ENOMEM, "4.3.0" }, { EROFS, "4.2.0" },
	};
	struct outcome o;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		outcome_errno(&o, "a\nb", rows[i].error);
		assert_int_equal(o.fate, FATE_DEFERRED);
		assert_string_equal(o.esc, rows[i].esc);
		assert_memory_equal(o.text, "a?b: ", 5);
	}
}

static void
outcomes_of_peers(void **state)
{
	const struct {
		uint64_t fate;
		struct slice esc, text;
		bool ok;
	} rows[] = {
		{ FATE_DELIVERED, SL("2.0.0"), SL("x"), true },
		{ FATE_DEFERRED, SL("4.2.2"), SL("x"), true },
		{ FATE_FAILED, SL("5.123.456"), SL("x"), true },
		{ FATE_DELIVERED, SL("4.0.0"), SL("x"), false },
		{ FATE_DEFERRED, SL("5.0.0"), SL("x"), false },
		{ FATE_FAILED, SL("2.0.0"), SL("x"), false },
		{ FATE_NONE, SL("4.0.0"), SL("x"), false },
		{ FATE_EXPANDED, SL("2.0.0"), SL("x"), false },
		{ UINT64_MAX, SL("2.0.0"), SL("x"), false },
		{ FATE_DEFERRED, SL(""), SL("x"), false },
		{ FATE_DEFERRED, SL("4.0"), SL("x"), false },
		{ FATE_DEFERRED, SL("4..0"), SL("x"), false },
		{ FATE_DEFERRED, SL("4.0.0."), SL("x"), false },
		{ FATE_DEFERRED, SL("4.0.0.0"), SL("x"), false },
		{ FATE_DEFERRED, SL("4.0."), SL("x"), false },
		{ FATE_DEFERRED, SL("4.1234.0"), SL("x"), false },
		{ FATE_DEFERRED, SL("4.0.\n0"), SL("x"), false },
		{ FATE_DEFERRED, SL("4.0.0"), SL("a\0b"), false },
	};
	char longer[REPLY_TEXT_MAX + 10];
	struct outcome o;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		if (outcome_from_peer(&o, rows[i].fate, rows[i].esc,
		    rows[i].text) != rows[i].ok) {
			fail_msg("row %zu", i);
		}
	}
	memset(longer, '\r', sizeof(longer));
	assert_true(outcome_from_peer(&o, FATE_DEFERRED, SL("4.0.0"),
	    slice_make(longer, sizeof(longer))));
	assert_int_equal(strlen(o.text), REPLY_TEXT_MAX);
	assert_int_equal(o.text[0], '?');
	assert_int_equal(o.text[REPLY_TEXT_MAX - 1], '?');
}

/* -- who may be delivered to ------------------------------------------------------------ */

static void
accounts_allowed(void **state)
{
	const struct {
		unsigned uid, euid;
		enum fate fate; /* NONE: allowed */
	} rows[] = {
		{ 1000, 0, FATE_NONE },
		{ 1000, 1000, FATE_NONE },
		{ 0, 0, FATE_FAILED },
		{ 0, 1000, FATE_FAILED },
		{ 1001, 1000, FATE_DEFERRED },
	};
	struct account a = { 0, 0, NULL };
	struct outcome o;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		a.uid = rows[i].uid;
		o.fate = FATE_NONE;
		assert_int_equal(become_allowed("ann", &a, rows[i].euid, &o),
		    rows[i].fate == FATE_NONE);
		assert_int_equal(o.fate, rows[i].fate);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_names),
		cmocka_unit_test(records_round_trip),
		cmocka_unit_test(records_are_strict),
		cmocka_unit_test(answers_are_strict),
		cmocka_unit_test(names_of_messages),
		cmocka_unit_test(unique_parts),
		cmocka_unit_test(fields_in_front),
		cmocka_unit_test(line_ends),
		cmocka_unit_test(finds_loops),
		cmocka_unit_test(outcomes_of_errnos),
		cmocka_unit_test(outcomes_of_peers),
		cmocka_unit_test(accounts_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
