/* What looks like greylisting, and when to come back. */
#include "config.h"

#include "qmgr/grey.h"
#include "tests/unit/unit.h"

#define USUAL 290

static void
test_texts(void **state)
{
	static const struct {
		const char *esc, *reply;
		uint64_t wanted;
	} rows[] = {
		{ "4.2.0", "450 <a@b.example>: Recipient address rejected: "
		    "Greylisted, see http://postgrey.example/help", USUAL },
		{ "4.7.1", "450 Greylisted for 5 minutes", 300 },
		{ "4.7.1", "451 Greylisting in action, please come back in "
		    "00:04:30", 270 },
		{ "4.7.1", "451 Try again later", USUAL },
		{ "4.7.1", "451 Temporarily rejected. Please try again in 300s",
		    300 },
		{ "4.0.0", "451 GreyListed, please retry in 4m59s.", 299 },
		{ "4.0.0", "451 greylisted - try again in 5:30", 330 },
		{ "4.7.1", "450 graylisted (90 secs left)", 90 },
		{ "4.7.1", "450 gray-listing, wait 1 hour", 3600 },
		{ "4.7.1", "450 greylisted, 2 seconds", GREY_LEAST_S },
		{ "4.7.1", "450 greylisted, come back in 90000 seconds", USUAL },
		{ "4.7.1", "450 greylisted, 9999999 seconds", USUAL },
		{ "4.7.1", "450 greylisted 192.0.2.7 seconds", USUAL },
		{ "4.7.1", "450 greylisted in 5:", USUAL },
		{ "4.7.1", "450 greylisted 7 dwarfs in 60 s", 60 },
		/* not: */
		{ "4.3.0", "451 Try again later", 0 },
		{ "4.2.2", "452 greylisted, they say", 0 },
		{ "4.7.1", "421 greylisted", 0 },
		{ "4.7.1", "550 greylisted", 0 },
		{ "4.7.1", "450 your reputation is bad", 0 },
		{ "4.4.1", "450", 0 },
		{ "4.7.1", "", 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		assert_int_equal(grey_wait_s(slice_of(rows[i].esc),
		    slice_of(rows[i].reply), USUAL), rows[i].wanted);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
