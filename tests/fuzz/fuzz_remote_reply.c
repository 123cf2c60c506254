/*
 * Replies: the lines and replies are the same whole and octet by octet, printable,
 * and of a code and enhanced code that fit each other.
 */
#include "config.h"

#include <stdlib.h>

#include "common/outcome.h"
#include "remote/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static uint64_t
add(uint64_t h, const char *s)
{
	for (; *s != '\0'; s++) {
		check((unsigned char)*s >= 32 && (unsigned char)*s < 127);
		h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
	}
	return h * UINT64_C(1099511628211);
}

static uint64_t
look(const struct reply *r, enum reply_got got, uint64_t h)
{
	h = add(h + got, r->line);
	if (got == REPLY_DONE) {
		check(r->code >= 200 && r->code < 600);
		check(r->class == r->code / 100 || r->class == 4);
		check(r->class == 3 || outcome_is_esc(slice_of(r->esc),
		    (char)('0' + r->class)));
		check(strlen(r->text) <= REPLY_TEXT_MAX);
		h = add(add(h + r->code, r->esc), r->text);
	}
	return h;
}

static uint64_t
run(struct slice in, size_t cut)
{
	struct reply r = { 0 };
	uint64_t h = UINT64_C(14695981039346656037);
	size_t at = 0, used, n;
	enum reply_got got;

	while (at < in.n) {
		n = in.n - at < cut ? in.n - at : cut;
		got = reply_feed(&r, slice_make(in.p + at, n), &used);
		check(used > 0 && used <= n);
		check(got != REPLY_MORE || used == n);
		at += used;
		if (got == REPLY_BAD) {
			return add(h + at, r.why);
		}
		if (got != REPLY_MORE) {
			h = look(&r, got, h);
		}
	}
	return h + reply_is_begun(&r);
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
