/*
 * Command lines: the lines, and what a line is cut into, are the same whole and
 * octet by octet; a good line has no CR, LF or NUL.
 */
#include "config.h"

#include <stdlib.h>

#include "smtpd/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

/* FNV-1a of everything that comes out. */
static uint64_t
add(uint64_t h, struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
	}
	return (h ^ s.n) * UINT64_C(1099511628211);
}

static uint64_t
look(struct slice line, uint64_t h)
{
	struct slice verb, arg, params, key, value = { NULL, 0 };
	enum grammar_param g;
	struct addr a;
	uint64_t n;

	grammar_split(line, &verb, &arg);
	check(verb.n + arg.n <= line.n);
	h = add(add(h, verb), arg);
	(void)grammar_is_helo(arg);
	if (grammar_path(arg, SL("FROM:"), ADDR_ALLOW_NULL, &a, &params) !=
	    ADDR_OK && grammar_path(arg, SL("TO:"), ADDR_ALLOW_BARE, &a,
	    &params) != ADDR_OK) {
		return h;
	}
	h = add(add(h, a.local), a.domain);
	while ((g = grammar_next_param(&params, &key, &value)) !=
	    GRAMMAR_NO_PARAM) {
		h = add(add(h + g, key), value);
		if (g == GRAMMAR_PARAM && value.n > 0 &&
		    grammar_size(value, &n)) {
			h += n;
		}
	}
	return h;
}

static uint64_t
run(struct slice in, size_t cut)
{
	struct grammar_lines st = { 0 };
	struct slice line = { NULL, 0 };
	uint64_t h = UINT64_C(14695981039346656037);
	size_t from = 0, to = 0, used;
	enum grammar_line g = GRAMMAR_MORE;

	while (to < in.n || g != GRAMMAR_MORE) {
		if (g == GRAMMAR_MORE) {
			to = in.n - to < cut ? in.n : to + cut;
		}
		g = grammar_next(&st, slice_make(in.p + from, to - from), &line,
		    &used);
		from += used;
		check(from <= to);
		check(g == GRAMMAR_MORE || used > 0);
		check(g != GRAMMAR_MORE || to - from < GRAMMAR_LINE_MAX);
		if (g == GRAMMAR_ENDLESS) {
			return 1; /* found earlier in smaller cuts */
		}
		if (g != GRAMMAR_MORE) {
			h = (h ^ g) * UINT64_C(1099511628211);
		}
		if (g == GRAMMAR_LINE) {
			check(slice_find(line, '\r') == line.n &&
			    slice_find(line, '\n') == line.n &&
			    slice_find(line, '\0') == line.n);
			h = look(line, h);
		}
	}
	return h;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	uint64_t whole = run(in, size + 1);

	check(run(in, 1) == whole);
	check(run(in, 7) == whole);
	return 0;
}
