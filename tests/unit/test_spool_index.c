/* The sorted index, against a plain array. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/spool_index.h"
#include "tests/unit/unit.h"

#define IDS 6000

static uint64_t seed = 88172645463325252u;

static uint64_t
roll(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 20) % below;
}

/* present[i]: id i + 1 is there. */
static void
compare(const struct spool_index *ix, const bool *present)
{
	uint64_t got[7], after = 0;
	size_t i, n, k = 0, count = 0;

	for (i = 0; i < IDS; i++) {
		count += present[i];
		assert_int_equal(spool_index_find(ix, i + 1) != NULL,
		    present[i]);
	}
	assert_int_equal(ix->entries, count);
	for (i = 0; i < IDS; i++) {
		if (!present[i]) {
			continue;
		}
		if (k == 0) {
			n = spool_index_list(ix, after, got, NELEMS(got));
			assert_true(n > 0);
			after = got[n - 1];
		}
		assert_int_equal(got[k], i + 1);
		k = k + 1 == NELEMS(got) ? 0 : k + 1;
	}
	assert_int_equal(spool_index_list(ix, IDS, got, NELEMS(got)), 0);
}

static void
against_an_array(void **state)
{
	static bool present[IDS];
	struct spool_index ix;
	size_t step, i;
	uint64_t id;

	(void)state;
	spool_index_init(&ix);
	for (step = 0; step < 40; step++) {
		for (i = 0; i < 700; i++) {
			id = 1 + roll(IDS);
			/* first more come, then more go */
			if (roll(40) >= step) {
				assert_non_null(spool_index_add(&ix, id));
				present[id - 1] = true;
			} else {
				assert_int_equal(spool_index_drop(&ix, id),
				    present[id - 1]);
				present[id - 1] = false;
			}
		}
		compare(&ix, present);
	}
	spool_index_clear(&ix);
}

/* Rising ids; all but a few go: little memory stays. */
static void
rising_and_falling(void **state)
{
	struct spool_index ix;
	uint64_t id, got[20];
	void **p;

	(void)state;
	spool_index_init(&ix);
	assert_int_equal(spool_index_last(&ix), 0);
	for (id = 1; id <= 200000; id++) {
		p = spool_index_add(&ix, id * 7);
		assert_null(*p);
		*p = &ix;
	}
	assert_int_equal(spool_index_last(&ix), 1400000);
	assert_true(ix.n <= 200000 / 510 + 1);
	assert_non_null(*spool_index_add(&ix, 7 * 500)); /* there already */
	assert_int_equal(ix.entries, 200000);
	for (id = 1; id <= 200000; id++) {
		if (id % 10000 != 0) {
			assert_true(spool_index_drop(&ix, id * 7));
		}
	}
	assert_int_equal(ix.entries, 20);
	assert_true(ix.n <= 2);
	assert_int_equal(spool_index_list(&ix, 0, got, 20), 20);
	assert_int_equal(got[19], 1400000);
	assert_false(spool_index_drop(&ix, 1));
	assert_int_equal(spool_index_list(&ix, UINT64_MAX, got, 20), 0);
	spool_index_clear(&ix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_an_array),
		cmocka_unit_test(rising_and_falling),
	};

	return cmocka_run_group_tests_name("spool_index", tests, NULL, NULL);
}
