/* The drop file of sendmail(8) and the checksum it ends in. */
#include "config.h"

#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/drop.h"
#include "tests/unit/unit.h"

static void
crc_of_rfc_3720(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		uint32_t want;
	} rows[] = {
		{ "", 0, 0 },
		{ "123456789", 9, 0xe3069283u },
		{ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
		    32, 0x8a9136aau },
	};
	size_t i, cut;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		assert_int_equal(crc32c(0, rows[i].in, rows[i].n), rows[i].want);
		assert_int_equal(crc32c_portable(0, rows[i].in, rows[i].n),
		    rows[i].want);
		for (cut = 0; cut <= rows[i].n; cut++) {
			assert_int_equal(crc32c(crc32c(0, rows[i].in, cut),
			    rows[i].in + cut, rows[i].n - cut), rows[i].want);
		}
	}
}

static void
make(struct strbuf *b, const char *content)
{
	struct strbuf rcpts;
	struct drop_head h = { .flags = DROP_SENDER_GIVEN, .nrcpts = 2 };

	strbuf_init(&rcpts, 0);
	assert_true(drop_rcpt_add(&rcpts, SL("ann")));
	assert_true(drop_rcpt_add(&rcpts, SL("bob@example.test")));
	h.reverse_path = SL("me@example.test");
	h.rcpts = strbuf_slice(&rcpts);
	assert_true(drop_head_encode(&h, b));
	(void)strbuf_add_str(b, content);
	drop_tail_encode(b->n, crc32c(0, b->p, b->n), b);
	strbuf_clear(&rcpts);
}

static void
reads_what_it_wrote(void **state)
{
	static const char *const contents[] = { "", "Subject: x\r\n\r\nhello\r\n" };
	struct strbuf b;
	struct drop_head h;
	struct slice content, path;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(contents); i++) {
		strbuf_init(&b, 0);
		make(&b, contents[i]);
		assert_null(drop_decode(strbuf_slice(&b), &h, &content));
		assert_slice(content, contents[i]);
		assert_slice(h.reverse_path, "me@example.test");
		assert_int_equal(h.flags, DROP_SENDER_GIVEN);
		assert_int_equal(h.nrcpts, 2);
		assert_true(drop_rcpt_next(&h.rcpts, &path));
		assert_slice(path, "ann");
		assert_true(drop_rcpt_next(&h.rcpts, &path));
		assert_slice(path, "bob@example.test");
		assert_false(drop_rcpt_next(&h.rcpts, &path));
		strbuf_clear(&b);
	}
}

static void
every_cut_and_flip_is_found(void **state)
{
	struct strbuf b;
	struct drop_head h;
	struct slice content;
	size_t i, bit;

	(void)state;
	strbuf_init(&b, 0);
	make(&b, "Subject: x\r\n\r\nhello\r\n");
	for (i = 0; i < b.n; i++) {
		assert_non_null(drop_decode(slice_make(b.p, i), &h, &content));
		for (bit = 0; bit < 8; bit++) {
			b.p[i] = (char)(b.p[i] ^ (1 << bit));
			assert_non_null(drop_decode(strbuf_slice(&b), &h,
			    &content));
			b.p[i] = (char)(b.p[i] ^ (1 << bit));
		}
	}
	(void)strbuf_add_char(&b, 'x');
	assert_non_null(drop_decode(strbuf_slice(&b), &h, &content));
	strbuf_clear(&b);
}

/* Heads that carry a good checksum, and are wrong all the same. */
static void
hostile_heads(void **state)
{
	static const struct {
		const char *name;
		uint32_t head, flags, path, count;
		const char *rcpts;
		size_t nrcpts_octets;
		bool good;
	} rows[] = {
		{ "fine", 21, 0, 4, 1, "\1\0\0\0a", 5, true },
		{ "no recipient", 16, 0, 4, 0, "", 0, true },
		{ "head too long", 5000, 0, 4, 1, "\1\0\0\0a", 5, false },
		{ "head above its bound", 0xffffffffu, 0, 4, 1, "\1\0\0\0a", 5, false },
		{ "unknown flag", 21, 0x80, 4, 1, "\1\0\0\0a", 5, false },
		{ "path too long", 21, 0, 0xffffffffu, 1, "\1\0\0\0a", 5, false },
		{ "count too small", 21, 0, 4, 0, "\1\0\0\0a", 5, false },
		{ "count too large", 21, 0, 4, 2, "\1\0\0\0a", 5, false },
		{ "count above its bound", 21, 0, 4, 0xffffffffu, "\1\0\0\0a", 5, false },
		{ "an empty recipient", 20, 0, 4, 1, "\0\0\0\0", 4, false },
		{ "a line feed", 22, 0, 4, 1, "\2\0\0\0a\n", 6, false },
		{ "a NUL", 22, 0, 4, 1, "\2\0\0\0a\0", 6, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		struct strbuf b;
		struct drop_head h;
		struct slice content;
		const char *wrong;

		strbuf_init(&b, 0);
		(void)strbuf_add_slice(&b, SL("VRDSD\0\0\1"));
		enc_u32(&b, rows[i].head);
		enc_u32(&b, rows[i].flags);
		enc_u32(&b, rows[i].path);
		(void)strbuf_add_str(&b, "path");
		enc_u32(&b, rows[i].count);
		(void)strbuf_add(&b, rows[i].rcpts, rows[i].nrcpts_octets);
		drop_tail_encode(b.n, crc32c(0, b.p, b.n), &b);
		wrong = drop_decode(strbuf_slice(&b), &h, &content);
		if ((wrong == NULL) != rows[i].good) {
			fail_msg("%s: %s", rows[i].name,
			    wrong != NULL ? wrong : "taken");
		}
		strbuf_clear(&b);
	}
}

static void
the_writer_has_bounds(void **state)
{
	char longest[ENVELOPE_PATH_MAX + 1];
	struct drop_head h = { .nrcpts = DROP_RCPT_MAX + 1 };
	struct strbuf b;

	(void)state;
	memset(longest, 'a', sizeof(longest));
	strbuf_init(&b, 0);
	assert_false(drop_rcpt_add(&b, slice_make(longest, sizeof(longest))));
	assert_true(drop_rcpt_add(&b, slice_make(longest, sizeof(longest) - 1)));
	strbuf_reset(&b);
	assert_false(drop_rcpt_add(&b, SL("")));
	assert_false(drop_rcpt_add(&b, SL("a\rb")));
	assert_false(drop_head_encode(&h, &b));
	h.nrcpts = 0;
	h.reverse_path = SL("a\nb");
	assert_false(drop_head_encode(&h, &b));
	assert_int_equal(b.n, 0);
	strbuf_clear(&b);
}

static void
names(void **state)
{
	const unsigned char random[DROP_RANDOM] = { 0, 0xff, 0x5a };
	char name[DROP_NAME_MAX];

	(void)state;
	drop_name(random, name);
	assert_string_equal(name, "00ff5a00000000000000000000000000");
	assert_true(drop_name_is(slice_of(name)));
	drop_temp_name(random, name);
	assert_string_equal(name, ".00ff5a00000000000000000000000000");
	assert_false(drop_name_is(slice_of(name)));
	assert_false(drop_name_is(SL("")));
	assert_false(drop_name_is(SL("../00ff5a000000000000000000000000")));
	assert_false(drop_name_is(SL("00FF5A00000000000000000000000000")));
	assert_false(drop_name_is(SL("00ff5a000000000000000000000000000")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc_of_rfc_3720),
		cmocka_unit_test(reads_what_it_wrote),
		cmocka_unit_test(every_cut_and_flip_is_found),
		cmocka_unit_test(hostile_heads),
		cmocka_unit_test(the_writer_has_bounds),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("drop", tests, NULL, NULL);
}
