#include "config.h"

#include <string.h>

#include "cleanup/route.h"
#include "common/fate.h"

#define SMTP_PORT 25
#define LMTP_PORT 24 /* RFC 2033 names no other */

static const struct {
	const char *name;
	bool hop; /* else words */
} kinds[] = {
	[ROUTE_NONE] = { "", true },
	[ROUTE_SMTP] = { "smtp", true },
	[ROUTE_LMTP] = { "lmtp", true },
	[ROUTE_LOCAL] = { "local", false },
	[ROUTE_ERROR] = { "error", false },
	[ROUTE_HOLD] = { "hold", false },
};

static bool
find_kind(struct slice name, enum route_kind *kind)
{
	size_t i;

	for (i = 0; i < NELEMS(kinds); i++) {
		if (slice_case_eq(name, slice_of(kinds[i].name))) {
			*kind = (enum route_kind)i;
			return true;
		}
	}
	return false;
}

static struct slice
skip(struct slice s, size_t n)
{
	return slice_make(s.p + n, s.n - n);
}

static bool
parse_hop(struct slice text, struct route *r, const char **why)
{
	if (r->kind == ROUTE_LMTP && text.n > 5 &&
	    slice_case_eq(slice_make(text.p, 5), SL("inet:"))) {
		text = skip(text, 5);
	}
	r->has_hop = text.n > 0;
	if (r->has_hop && !nexthop_parse(text, &r->hop, why)) {
		return false;
	}
	if (r->has_hop && r->hop.kind == NEXTHOP_UNIX &&
	    r->kind != ROUTE_LMTP) {
		*why = "a UNIX socket is spoken to by lmtp only: lmtp:unix:/...";
		return false;
	}
	return true;
}

bool
route_parse(struct slice text, struct route *out, const char **why)
{
	struct route r = { .has_hop = false };
	struct slice s = slice_trim(text), rest;
	size_t colon = slice_find(s, ':');

	rest = colon < s.n ? slice_trim(skip(s, colon + 1)) : SL("");
	if (!find_kind(slice_trim(slice_make(s.p, colon)), &r.kind)) {
		*why = "is not smtp:..., lmtp:..., local:, error:..., hold: or "
		    ":nexthop";
		return false;
	}
	r.text = rest;
	if (kinds[r.kind].hop && !parse_hop(rest, &r, why)) {
		return false;
	}
	if (r.kind == ROUTE_LOCAL && rest.n > 0) {
		*why = "local: has no next hop";
		return false;
	}
	*out = r;
	return true;
}

const char *
route_name(enum route_kind kind)
{
	return kinds[kind == ROUTE_NONE ? ROUTE_SMTP : kind].name;
}

void
route_print_hop(enum route_kind kind, const struct nexthop *hop,
    struct strbuf *out)
{
	struct nexthop h = *hop;

	if (h.port == (kind == ROUTE_LMTP ? LMTP_PORT : SMTP_PORT)) {
		h.port = 0;
	}
	if (kind == ROUTE_LMTP && h.kind == NEXTHOP_DOMAIN) {
		h.kind = NEXTHOP_HOST;
	}
	nexthop_print(&h, out);
}

/* "5.1.6": as RFC 3463 has it, of a failure. */
static bool
is_code(struct slice s)
{
	struct slice part;
	unsigned n = 0;
	uint64_t v;

	if (s.n < 5 || s.n >= ESC_MAX || (s.p[0] != '4' && s.p[0] != '5') ||
	    s.p[s.n - 1] == '.') {
		return false;
	}
	while (slice_word(&s, ".", &part)) {
		if (part.n > 3 || !slice_number(part, 999, &v) ||
		    (n == 0 && part.n != 1)) {
			return false;
		}
		n++;
	}
	return n == 3;
}

struct slice
route_error_text(struct slice text, char *esc)
{
	struct slice rest = text, code;

	memcpy(esc, "5.0.0", sizeof("5.0.0"));
	if (slice_word(&rest, " \t", &code) && is_code(code)) {
		memcpy(esc, code.p, code.n);
		esc[code.n] = '\0';
		text = slice_trim(rest);
	}
	return text.n > 0 ? text : SL("not accepted here");
}
