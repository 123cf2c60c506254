/* Points of time as an administrator writes them. */
#include "config.h"

#include <stdlib.h>
#include <time.h>

#include "tests/unit/unit.h"
#include "tools/until.h"

#define NOW 1769860800 /* 2026-01-31T12:00:00Z */

static void
test_times(void **state)
{
	static const struct {
		const char *text;
		uint64_t wanted; /* 0: refused */
	} rows[] = {
		{ "2h", NOW + 7200 },
		{ "90", NOW + 90 },
		{ "1w", NOW + 604800 },
		{ "14:00", NOW + 3600 },     /* we are at UTC+1: it is 13:00 */
		{ "14:00:30", NOW + 3630 },
		{ "13:00", NOW + 86400 },    /* not now: tomorrow */
		{ "12:59", NOW + 86400 - 60 },
		{ "2026-02-01", NOW + 39600 },
		{ "2026-02-01T08:30", NOW + 70200 },
		{ "2026-02-01 08:30:10", NOW + 70210 },
		{ "2026-02-01T08:30Z", NOW + 73800 },
		{ "2026-07-01T08:00", 1782885600 }, /* in summer UTC+2 */
		{ "0", 0 },
		{ "", 0 },
		{ "soon", 0 },
		{ "25:00", 0 },
		{ "1:00", 0 },
		{ "13:00x", 0 },
		{ "2026-01-31", 0 },         /* over */
		{ "2026-01-31T12:00:00Z", 0 },
		{ "2026-06-31", 0 },
		{ "2026-13-01", 0 },
		{ "2026-02-01T", 0 },
		{ "2026-02-01Z", 0 },
		{ "2026-02-01T08:30ZZ", 0 },
		{ "99999999999999w", 0 },
	};
	uint64_t out;
	size_t i;
	bool ok;

	(void)state;
	assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
	tzset();
	for (i = 0; i < NELEMS(rows); i++) {
		ok = until_parse(rows[i].text, NOW, &out);
		assert_int_equal(ok ? out : 0, rows[i].wanted);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_times) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
