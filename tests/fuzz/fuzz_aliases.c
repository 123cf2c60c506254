/*
 * Texts of aliases and maps. What is taken as a list of targets can be printed
 * and read again to the same; what is taken as a file has lower-case keys that
 * are found again.
 */
#include "config.h"

#include <stdlib.h>

#include "common/addr.h"
#include "common/aliases.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_target(const struct alias_target *t)
{
	struct alias_target again;
	struct strbuf buf;
	struct slice rest = t->text;
	const char *why;

	if (t->kind != ALIAS_ADDRESS) {
		return;
	}
	strbuf_init(&buf, 0);
	/* A quoted local-part such as "|x" is an address, but needs its quotes
	   to be one in a list: that is why it is printed with them. */
	if (aliases_next(&rest, &again, &buf, &why) == ALIAS_NEXT &&
	    again.kind == ALIAS_ADDRESS && !again.escaped &&
	    (again.bare != t->bare || !slice_eq(again.text, t->text))) {
		abort();
	}
	strbuf_clear(&buf);
}

static void
check_values(struct slice in)
{
	struct alias_target t;
	struct strbuf buf;
	struct slice rest = in;
	const char *why = NULL;
	size_t before;
	enum alias_next n;

	strbuf_init(&buf, 0);
	do {
		before = rest.n;
		n = aliases_next(&rest, &t, &buf, &why);
		if (rest.n >= before && n != ALIAS_END) {
			abort(); /* no progress */
		}
		if (n == ALIAS_NEXT) {
			check_target(&t);
		} else if (n == ALIAS_BAD && why == NULL) {
			abort();
		}
	} while (n != ALIAS_END);
	strbuf_clear(&buf);
}

static void
check_entries(const struct mapentries *e)
{
	struct slice key, value;
	size_t i, k;

	for (i = 0; i < e->n; i++) {
		key = mapentries_key(e, i);
		if (!mapentries_find(e, key, &value) ||
		    !slice_eq(value, mapentries_value(e, i))) {
			abort();
		}
		for (k = 0; k < key.n; k++) {
			if (key.p[k] != ascii_lower(key.p[k])) {
				abort();
			}
		}
	}
}

static bool
parse_aliases(struct mapentries *e, struct slice text, const char *name,
    struct strbuf *errors)
{
	return aliases_parse(e, text, name, 3, errors);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool (*const parse[])(struct mapentries *, struct slice, const char *,
	    struct strbuf *) = { parse_aliases, mapentries_parse,
		mapentries_parse_inline };
	struct slice in = slice_make((const char *)data, size);
	struct mapentries e;
	struct strbuf errors;
	size_t i;

	check_values(in);
	for (i = 0; i < NELEMS(parse); i++) {
		mapentries_init(&e);
		strbuf_init(&errors, 0);
		if (parse[i](&e, in, "f", &errors)) {
			check_entries(&e);
		} else if (errors.n == 0) {
			abort();
		}
		mapentries_clear(&e);
		strbuf_clear(&errors);
	}
	return 0;
}
