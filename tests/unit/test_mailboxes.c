#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/mailboxes.h"
#include "common/strbuf.h"
#include "tests/unit/unit.h"

static void
rows(void **state)
{
	static const struct {
		const char *field, *want; /* specs, separated by '|' */
	} t[] = {
		{ "ann@x", "ann@x" },
		{ " ann@x , ben@y ", "ann@x|ben@y" },
		{ "Ann <ann@x>, \"B, C\" <b@y> (note, x@y)", "ann@x|b@y" },
		{ "(c1, <no@no>) ann@x (c2)", "ann@x" },
		{ "ann@x (a (nested \\) ) , comment), ben@y", "ann@x|ben@y" },
		{ "team: ann@x, Ben <b@y>;, cat@z", "ann@x|b@y|cat@z" },
		{ "undisclosed-recipients:;", "" },
		{ "<>", "" },
		{ "Mailer <>, ann@x", "ann@x" },
		{ "\"a@b,c\"@x", "\"a@b,c\"@x" },
		{ "\"with <angle>\" <a@x>", "a@x" },
		{ "ann", "ann" },
		{ "ann@[IPv6:::1], b@y", "ann@[IPv6:::1]|b@y" },
		{ "Ann\r\n <ann@x>,\r\n\tben@y", "ann@x|ben@y" },
		{ "Ann <ann@x", "ann@x" },
		{ "(never closed ann@x", "" },
		{ "\"never closed", "\"never closed" },
		{ ",,;,", "" },
		{ "", "" },
		{ "Ann <@r:ann@x>", "@r:ann@x" },
	};
	size_t i, place;
	struct slice spec;
	struct strbuf got;

	(void)state;
	strbuf_init(&got, 0);
	for (i = 0; i < NELEMS(t); i++) {
		struct slice f = slice_of(t[i].field);

		strbuf_reset(&got);
		for (place = 0; mailboxes_next(f, &place, &spec);) {
			assert_true(spec.p >= f.p && spec.p + spec.n <= f.p + f.n);
			(void)strbuf_add_str(&got, got.n > 0 ? "|" : "");
			(void)strbuf_add_slice(&got, spec);
		}
		assert_string_equal(strbuf_slice(&got).p, t[i].want);
	}
	strbuf_clear(&got);
}

static void
hostile_is_linear(void **state)
{
	static const char *const units[] = { "(", ")", "<", "\"", "\\", ",", ":",
		"(\\", "<(\"", "[", "[<", ";:" };
	const size_t times = 200000;
	size_t i, j, place;
	struct slice spec;

	(void)state;
	for (i = 0; i < NELEMS(units); i++) {
		size_t n = strlen(units[i]);
		char *big = malloc(n * times);

		assert_non_null(big);
		for (j = 0; j < times; j++) {
			memcpy(big + j * n, units[i], n);
		}
		for (place = 0; mailboxes_next(slice_make(big, n * times), &place,
		    &spec);) {
			assert_true(place <= n * times);
		}
		free(big);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(hostile_is_linear),
	};

	return cmocka_run_group_tests_name("mailboxes", tests, NULL, NULL);
}
