/* Texts by number: against a plain array; and the limits. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "qmgr/intern.h"
#include "tests/unit/unit.h"

#define TEXTS 300
#define STEPS 20000

static const unsigned char key[SIPHASH_KEY] = { 7 };

static struct slice
name(unsigned i, char out[32])
{
	int n = snprintf(out, 32, "text%u", i);

	return slice_make(out, n > 0 ? (size_t)n : 0);
}

static void
against_an_array(void **state)
{
	static uint32_t number[TEXTS], refs[TEXTS];
	struct intern in;
	uint64_t random = 1;
	unsigned step, i;
	char text[32];

	(void)state;
	intern_init(&in, key);
	for (step = 0; step < STEPS; step++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		i = (unsigned)(random >> 33) % TEXTS;
		if (random >> 63 && refs[i] > 0) {
			intern_drop(&in, number[i]);
			refs[i]--;
			continue;
		}
		if (refs[i]++ == 0) {
			number[i] = intern_add(&in, name(i, text));
			assert_int_not_equal(number[i], 0);
		} else {
			assert_int_equal(number[i],
			    intern_add(&in, name(i, text)));
		}
	}
	for (i = 0; i < TEXTS; i++) {
		if (refs[i] > 0) {
			assert_true(slice_eq(intern_get(&in, number[i]),
			    name(i, text)));
		}
		while (refs[i] > 0) {
			intern_drop(&in, number[i]);
			refs[i]--;
		}
	}
	assert_int_equal(in.octets, 0);
	assert_true(intern_end(&in) <= TEXTS + 1); /* numbers come again */
	intern_clear(&in);
}

static void
limits(void **state)
{
	static char large[INTERN_OCTETS];
	struct intern in;
	uint32_t i, n;
	char text[32];

	(void)state;
	memset(large, 'x', sizeof(large));
	intern_init(&in, key);
	for (i = 0; i < INTERN_TEXTS; i++) {
		assert_int_not_equal(intern_add(&in, name(i, text)), 0);
	}
	assert_int_equal(intern_add(&in, SL("one more")), 0);
	intern_drop(&in, 0);
	assert_int_equal(intern_get(&in, 0).n, 0);
	n = intern_add(&in, SL("text5")); /* is there */
	intern_drop(&in, n);
	intern_drop(&in, n);
	assert_int_equal(intern_add(&in, SL("one more")), n);
	intern_clear(&in);
	intern_init(&in, key);
	assert_int_not_equal(intern_add(&in, SL("a")), 0);
	assert_int_equal(intern_add(&in,
	    slice_make(large, sizeof(large))), 0);
	n = intern_add(&in, slice_make(large, sizeof(large) - 1));
	assert_int_not_equal(n, 0);
	assert_int_equal(intern_add(&in, SL("b")), 0);
	intern_drop(&in, n);
	assert_int_not_equal(intern_add(&in, SL("b")), 0);
	intern_clear(&in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_an_array),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests_name("intern", tests, NULL, NULL);
}
