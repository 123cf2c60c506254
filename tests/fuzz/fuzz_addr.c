/*
 * Paths and mailboxes. What parses prints to a text that parses to the same
 * text again and stays within its limits; nothing is read behind the end.
 */
#include "config.h"

#include <stdlib.h>

#include "common/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void
print(const struct addr *a, struct strbuf *out)
{
	struct strbuf local;

	strbuf_init(&local, 0);
	addr_local_value(a, &local);
	addr_print(strbuf_slice(&local), a->domain, out);
	strbuf_clear(&local);
}

static void
round_trip(const struct addr *a)
{
	struct strbuf one, two;
	struct addr b;

	if (a->local.n == 0) { /* <> */
		check(a->domain.n == 0);
		return;
	}
	check(a->local.n <= ADDR_LOCAL_MAX && a->domain.n <= ADDR_DOMAIN_MAX);
	strbuf_init(&one, 0);
	strbuf_init(&two, 0);
	print(a, &one);
	check(one.n + 2 <= ADDR_PATH_MAX);
	check(addr_parse_mailbox(strbuf_slice(&one), ADDR_ALLOW_BARE, &b) ==
	    ADDR_OK);
	print(&b, &two);
	check(slice_eq(strbuf_slice(&one), strbuf_slice(&two)));
	check(a->domain.n == 0 || addr_is_domain(a->domain) ||
	    addr_is_literal(a->domain));
	strbuf_clear(&one);
	strbuf_clear(&two);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct addr a;
	unsigned allow;
	size_t used;

	for (allow = 0; allow < 4; allow++) {
		if (addr_parse_path(in, allow, &a, &used) == ADDR_OK) {
			check(used >= 2 && used <= size && in.p[0] == '<' &&
			    in.p[used - 1] == '>');
			check(a.local.n > 0 || (allow & ADDR_ALLOW_NULL) != 0);
			check(a.domain.n > 0 || a.local.n == 0 ||
			    (allow & ADDR_ALLOW_BARE) != 0);
			round_trip(&a);
		}
		if (addr_parse_mailbox(in, allow, &a) == ADDR_OK) {
			round_trip(&a);
		}
	}
	return 0;
}
