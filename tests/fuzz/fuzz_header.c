/*
 * The header section: the end is the same however the octets come; without
 * rewriting, nothing but Return-Path and the mark of a "From " line changes;
 * with it, only what the callback changed.
 */
#include "config.h"

#include <stdlib.h>

#include "cleanup/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum map_result
same(void *arg, struct slice address, struct strbuf *out)
{
	*(size_t *)arg += 1;
	(void)strbuf_add_slice(out, address);
	return MAP_FOUND;
}

static enum map_result
other(void *arg, struct slice address, struct strbuf *out)
{
	(void)arg;
	(void)address;
	(void)strbuf_add_str(out, "x@y.example");
	return MAP_FOUND;
}

static void
check_end(struct slice in, size_t header_n, size_t body_at)
{
	struct header_scan s = { 0 };
	size_t n, h, b;
	bool done = false;

	for (n = 0; n <= in.n && !done; n += n < 64 ? 1 : 7) {
		done = header_scan(&s, slice_make(in.p, n), false, &h, &b);
	}
	if (!done) {
		done = header_scan(&s, in, true, &h, &b);
	}
	if (!done || h != header_n || b != body_at) {
		abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size), section;
	struct header_scan s = { 0 };
	struct header_facts facts, again;
	struct strbuf plain, out;
	size_t h = 0, b = 0, addresses = 0;

	if (!header_scan(&s, in, true, &h, &b) || h > b || b > size ||
	    b - h > 2) {
		abort();
	}
	check_end(in, h, b);
	section = slice_make(in.p, h);
	strbuf_init(&plain, 0);
	strbuf_init(&out, 0);
	if (!header_rewrite(section, NULL, NULL, &plain, &facts) ||
	    !header_rewrite(section, same, &addresses, &out, &again) ||
	    !slice_eq(strbuf_slice(&plain), strbuf_slice(&out)) ||
	    facts.received != again.received) {
		abort();
	}
	if (facts.return_path == 0 && plain.n != section.n &&
	    plain.n != section.n + sizeof("X-Mailbox-Line: ") - 1) {
		abort();
	}
	strbuf_reset(&out);
	if (!header_rewrite(section, other, NULL, &out, &again) ||
	    out.n > plain.n + addresses * sizeof("x@y.example")) {
		abort();
	}
	strbuf_clear(&plain);
	strbuf_clear(&out);
	return 0;
}
