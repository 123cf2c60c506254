/* The small tables of cleanup: mailboxes of a message, a peer's ids, content. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup/rcpt_set.h"
#include "cleanup/scan.h"
#include "cleanup/tid_table.h"
#include "common/envelope.h"
#include "tests/unit/unit.h"

static void
set_takes_each_key_once(void **state)
{
	static const unsigned sizes[] = { 1, 8, 9, 10, 64, 65, 5000 };
	char key[32];
	size_t i;
	unsigned k;

	(void)state;
	for (i = 0; i < NELEMS(sizes); i++) {
		struct rcpt_set s;

		rcpt_set_init(&s);
		for (k = 0; k < sizes[i]; k++) {
			(void)snprintf(key, sizeof(key), "local\nuser%u", k);
			assert_true(rcpt_set_add(&s, slice_of(key)));
			assert_false(rcpt_set_add(&s, slice_of(key)));
		}
		for (k = 0; k < sizes[i]; k++) {
			(void)snprintf(key, sizeof(key), "local\nuser%u", k);
			assert_false(rcpt_set_add(&s, slice_of(key)));
		}
		assert_int_equal(s.n, sizes[i]);
		rcpt_set_clear(&s);
	}
}

static void
set_tells_keys_apart(void **state)
{
	struct rcpt_set s;

	(void)state;
	rcpt_set_init(&s);
	assert_true(rcpt_set_add(&s, SL("ab")));
	assert_true(rcpt_set_add(&s, SL("a")));
	assert_true(rcpt_set_add(&s, SL("b")));
	assert_true(rcpt_set_add(&s, SL("")));
	assert_true(rcpt_set_add(&s, slice_make("a\0", 2)));
	assert_false(rcpt_set_add(&s, SL("")));
	assert_false(rcpt_set_add(&s, SL("b")));
	rcpt_set_clear(&s);
}

/* Against a plain array: whatever order things come and go in. */
static void
tids_come_and_go(void **state)
{
	enum { IDS = 700, STEPS = 40000 };
	static char object[IDS];
	static bool there[IDS];
	struct tid_table t;
	uint32_t seed = 12345, used = 0, i, place = 0, tid;
	char *o;

	(void)state;
	tid_table_init(&t);
	assert_null(tid_table_get(&t, 7));
	tid_table_drop(&t, 7);
	for (i = 0; i < STEPS; i++) {
		uint32_t k;

		seed = seed * 1103515245u + 12345u;
		k = (seed >> 8) % IDS;
		/* ids that differ in their high bits only, too */
		tid = k % 2 == 0 ? k : k << 20;
		if (there[k]) {
			assert_ptr_equal(tid_table_get(&t, tid), &object[k]);
			tid_table_drop(&t, tid);
			used--;
		} else {
			assert_null(tid_table_get(&t, tid));
			tid_table_put(&t, tid, &object[k]);
			used++;
		}
		there[k] = !there[k];
		assert_int_equal(t.used, used);
	}
	for (i = 0; i < IDS; i++) {
		tid = i % 2 == 0 ? i : i << 20;
		assert_ptr_equal(tid_table_get(&t, tid),
		    there[i] ? &object[i] : NULL);
	}
	while ((o = tid_table_any(&t, &place, &tid)) != NULL) {
		assert_true(there[o - object]);
		there[o - object] = false;
		tid_table_drop(&t, tid);
		used--;
	}
	assert_int_equal(used, 0);
	tid_table_clear(&t);
}

#define TEN "xxxxxxxxxx"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void
content_is_lines(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		bool good;
		uint32_t flags;
	} rows[] = {
#define ROW(text, good, flags) { text, sizeof(text) - 1, good, flags }
		ROW("", true, 0),
		ROW("\r\n", true, 0),
		ROW("Subject: x\r\n\r\nbody\r\n", true, 0),
		ROW("a\r\n.b\r\n", true, CONTENT_DOT_LINES),
		ROW(".\r\n", true, CONTENT_DOT_LINES),
		ROW("a.b\r\n", true, 0),
		ROW("gr\xc3\xbc\xc3\x9f\r\n", true, CONTENT_8BIT),
		ROW(HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
		    HUNDRED HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN
		    "12345678\r\n", true, 0),
		ROW(HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
		    HUNDRED HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN
		    "123456789\r\n", true, CONTENT_LONG_LINES),
		ROW("no end", false, 0),
		ROW("a\r\nno end", false, 0),
		ROW("a\n", false, 0),
		ROW("\n", false, 0),
		ROW("a\r\n\n", false, 0),
		ROW("a\rb\r\n", false, 0),
		ROW("a\r\r\n", false, 0),
		ROW("\r\r\n", false, 0),
		ROW("a\r", false, 0),
		ROW("a\0b\r\n", false, 0),
		ROW("a\r\n.\n.\r\n", false, 0),
#undef ROW
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		uint32_t flags = 0;
		const char *wrong = scan_content(slice_make(rows[i].in,
		    rows[i].n), &flags);

		if ((wrong == NULL) != rows[i].good) {
			fail_msg("row %zu: %s", i,
			    wrong != NULL ? wrong : "taken");
		}
		if (wrong == NULL) {
			assert_int_equal(flags, rows[i].flags);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_takes_each_key_once),
		cmocka_unit_test(set_tells_keys_apart),
		cmocka_unit_test(tids_come_and_go),
		cmocka_unit_test(content_is_lines),
	};

	return cmocka_run_group_tests_name("cleanup_parts", tests, NULL, NULL);
}
