/* slice, strbuf, codec, slots, qid: the small things that all stand on. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/qid.h"
#include "common/slots.h"
#include "common/strbuf.h"
#include "tests/unit/unit.h"

static void
slice_number_rows(void **state)
{
	static const struct {
		const char *in;
		uint64_t max;
		bool ok;
		uint64_t want;
	} rows[] = {
		{ "0", 10, true, 0 },
		{ "10", 10, true, 10 },
		{ "11", 10, false, 0 },
		{ "", 10, false, 0 },
		{ "-1", 10, false, 0 },
		{ "+1", 10, false, 0 },
		{ "1 ", 10, false, 0 },
		{ "0x1", 10, false, 0 },
		{ "9999999999999999999", UINT64_MAX, true, 9999999999999999999u },
		{ "99999999999999999999", UINT64_MAX, false, 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		uint64_t got = 77;

		assert_int_equal(slice_number(slice_of(rows[i].in), rows[i].max,
		    &got), rows[i].ok);
		assert_int_equal(got, rows[i].ok ? rows[i].want : 77);
	}
}

static void
slice_words_and_case(void **state)
{
	struct slice rest = slice_of(" a,, bc ,d"), w;

	(void)state;
	assert_true(slice_word(&rest, ", ", &w));
	assert_slice(w, "a");
	assert_true(slice_word(&rest, ", ", &w));
	assert_slice(w, "bc");
	assert_true(slice_word(&rest, ", ", &w));
	assert_slice(w, "d");
	assert_false(slice_word(&rest, ", ", &w));
	assert_true(slice_case_eq(SL("AbC"), SL("aBc")));
	assert_false(slice_case_eq(SL("abc"), SL("abcd")));
	assert_false(slice_case_eq(SL("["), SL("{")));
	assert_true(slice_compare(SL("ab"), SL("abc")) < 0);
	assert_true(slice_compare(SL("b"), SL("abc")) > 0);
	assert_int_equal(slice_compare(SL(""), slice_make(NULL, 0)), 0);
	assert_slice(slice_trim(SL(" \t x y\r\n")), "x y");
	assert_int_equal(slice_find(SL("abc"), 'c'), 2);
	assert_int_equal(slice_find(SL("abc"), 'z'), 3);
}

static void
strbuf_has_a_ceiling(void **state)
{
	struct strbuf b;

	(void)state;
	strbuf_init(&b, 10);
	assert_true(strbuf_add_str(&b, "12345"));
	assert_false(strbuf_add_str(&b, "678901"));
	assert_true(b.clipped);
	assert_slice(strbuf_slice(&b), "12345");
	assert_true(strbuf_printf(&b, "%d", 67890));
	assert_slice(strbuf_slice(&b), "1234567890");
	assert_false(strbuf_add_char(&b, 'x'));
	assert_null(strbuf_room(&b, SIZE_MAX));
	strbuf_consume(&b, 8);
	assert_slice(strbuf_slice(&b), "90");
	strbuf_clear(&b);
	assert_slice(strbuf_slice(&b), "");
	strbuf_add_quoted(&b, slice_make("a\\\n\0\xff", 5), 3);
	assert_true(b.n <= 10);
	strbuf_clear(&b);
}

static void
strbuf_quotes_everything_odd(void **state)
{
	struct strbuf b;
	int c;

	(void)state;
	strbuf_init(&b, 0);
	for (c = 0; c < 256; c++) {
		char ch = (char)c;
		size_t i;

		strbuf_reset(&b);
		strbuf_add_quoted(&b, slice_make(&ch, 1), 10);
		for (i = 0; i < b.n; i++) {
			assert_in_range(b.p[i], 32, 126);
		}
	}
	strbuf_reset(&b);
	strbuf_add_quoted(&b, SL("a\r\nb\\"), 100);
	assert_slice(strbuf_slice(&b), "a\\x0d\\x0ab\\\\");
	strbuf_reset(&b);
	strbuf_add_quoted(&b, SL("abcdef"), 3);
	assert_slice(strbuf_slice(&b), "abc...");
	strbuf_clear(&b);
}

static void
codec_reads_what_it_wrote_and_no_more(void **state)
{
	struct strbuf b;
	struct dec d;
	size_t cut;

	(void)state;
	strbuf_init(&b, 0);
	enc_u8(&b, 0xfe);
	enc_u16(&b, 0xfedc);
	enc_u32(&b, 0xfedcba98);
	enc_u64(&b, 0xfedcba9876543210u);
	enc_slice(&b, SL("text"));
	for (cut = 0; cut <= b.n; cut++) {
		d = dec_make(slice_make(b.p, cut));
		(void)dec_u8(&d);
		(void)dec_u16(&d);
		(void)dec_u32(&d);
		(void)dec_u64(&d);
		(void)dec_slice(&d, 4);
		assert_int_equal(dec_done(&d), cut == b.n);
	}
	d = dec_make(strbuf_slice(&b));
	assert_int_equal(dec_u8(&d), 0xfe);
	assert_int_equal(dec_u16(&d), 0xfedc);
	assert_int_equal(dec_u32(&d), 0xfedcba98);
	assert_true(dec_u64(&d) == 0xfedcba9876543210u);
	assert_slice(dec_slice(&d, 3), ""); /* above its cap */
	assert_true(d.bad);
	strbuf_clear(&b);
}

static void
slots_forget_late_answers(void **state)
{
	struct slots t;
	int x, y;
	uint32_t id, again, place = 0;

	(void)state;
	slots_init(&t);
	id = slots_add(&t, &x);
	assert_int_not_equal(id, 0);
	assert_ptr_equal(slots_get(&t, id), &x);
	slots_drop(&t, id);
	assert_null(slots_get(&t, id));
	again = slots_add(&t, &y);
	assert_int_not_equal(again, id);
	assert_null(slots_get(&t, id));
	assert_ptr_equal(slots_get(&t, again), &y);
	assert_null(slots_get(&t, 0));
	assert_null(slots_get(&t, UINT32_MAX));
	slots_drop(&t, id); /* stale: no effect */
	assert_int_equal(t.used, 1);
	assert_ptr_equal(slots_next(&t, &place), &y);
	assert_null(slots_next(&t, &place));
	slots_clear(&t);
}

static void
slots_take_many(void **state)
{
	static uint32_t ids[5000];
	struct slots t;
	uint32_t place = 0;
	size_t i, n = 0;

	(void)state;
	slots_init(&t);
	for (i = 0; i < NELEMS(ids); i++) {
		ids[i] = slots_add(&t, &ids[i]);
	}
	for (i = 0; i < NELEMS(ids); i += 2) {
		slots_drop(&t, ids[i]);
	}
	while (slots_next(&t, &place) != NULL) {
		n++;
	}
	assert_int_equal(n, NELEMS(ids) / 2);
	for (i = 1; i < NELEMS(ids); i += 2) {
		assert_ptr_equal(slots_get(&t, ids[i]), &ids[i]);
	}
	slots_clear(&t);
}

static void
qid_round_trip(void **state)
{
	static const uint64_t ids[] = { 0, 1, 31, 32, 1700000000000000u,
		UINT64_MAX };
	static const char *const bad[] = { "", "0", "G000000000000",
		"000000000000W", "00000000000000", "0000000 00000",
		"0000000000-00" };
	char text[QID_TEXT + 1], last[QID_TEXT + 1] = "";
	uint64_t got;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(ids); i++) {
		qid_format(ids[i], text);
		assert_int_equal(strlen(text), QID_TEXT);
		assert_true(strcmp(text, last) > 0); /* text order is number order */
		memcpy(last, text, sizeof(last));
		assert_true(qid_parse(slice_of(text), &got));
		assert_true(got == ids[i]);
	}
	for (i = 0; i < NELEMS(bad); i++) {
		got = 5;
		assert_false(qid_parse(slice_of(bad[i]), &got));
		assert_int_equal(got, 5);
	}
	assert_false(qid_parse(slice_make("000000\0000000", 13), &got));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slice_number_rows),
		cmocka_unit_test(slice_words_and_case),
		cmocka_unit_test(strbuf_has_a_ceiling),
		cmocka_unit_test(strbuf_quotes_everything_odd),
		cmocka_unit_test(codec_reads_what_it_wrote_and_no_more),
		cmocka_unit_test(slots_forget_late_answers),
		cmocka_unit_test(slots_take_many),
		cmocka_unit_test(qid_round_trip),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
