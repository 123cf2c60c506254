#include "config.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/nexthop.h"

static const struct {
	struct slice name;
	uint16_t port;
} services[] = {
	{ SL_INIT("smtp"), 25 }, { SL_INIT("lmtp"), 24 },
	{ SL_INIT("submission"), 587 }, { SL_INIT("smtps"), 465 },
	{ SL_INIT("submissions"), 465 },
};

static bool
parse_port(struct slice text, uint16_t *port)
{
	uint64_t n;
	size_t i;

	if (slice_number(text, UINT16_MAX, &n)) {
		*port = (uint16_t)n;
		return n > 0;
	}
	for (i = 0; i < NELEMS(services); i++) {
		if (slice_case_eq(services[i].name, text)) {
			*port = services[i].port;
			return true;
		}
	}
	return false;
}

/* The last label is a number: that is an address or a slip, never a domain
   (RFC 3696, 2). */
static bool
looks_like_address(const char *name)
{
	const char *dot = strrchr(name, '.');
	struct slice last = slice_of(dot != NULL ? dot + 1 : name);
	size_t i;

	for (i = 0; i < last.n && ascii_isdigit(last.p[i]); i++) {
		continue;
	}
	return i == last.n;
}

static const char *
parse_unix(struct slice path, struct nexthop *h)
{
	size_t i;

	if (path.n == 0 || path.p[0] != '/') {
		return "the path of a UNIX socket begins with /";
	}
	if (path.n > NEXTHOP_PATH_MAX) {
		return "the path of a UNIX socket has more than 107 octets";
	}
	for (i = 0; i < path.n; i++) {
		if (ascii_iscntrl(path.p[i]) || path.p[i] == ' ') {
			return "the path holds a space or a control character";
		}
	}
	h->kind = NEXTHOP_UNIX;
	memcpy(h->name, path.p, path.n);
	h->name[path.n] = '\0';
	return NULL;
}

static const char *
parse_bracketed(struct slice inside, struct nexthop *h)
{
	struct slice rest = inside;
	struct cidr addr;

	if (inside.n > 5 &&
	    slice_case_eq(slice_make(inside.p, 5), SL("IPv6:"))) {
		rest = slice_make(inside.p + 5, inside.n - 5);
	}
	/* cidr_parse_addr() would take brackets of its own */
	if (rest.n > 0 && rest.p[0] != '[' && cidr_parse_addr(rest, &addr)) {
		if (rest.p != inside.p && slice_find(rest, ':') == rest.n) {
			return "an IPv4 address after IPv6:";
		}
		h->kind = NEXTHOP_ADDRESS;
		h->addr = addr;
		return NULL;
	}
	if (!dns_name_normal(inside, h->name) || looks_like_address(h->name)) {
		return "what stands in brackets is no host name or address";
	}
	h->kind = NEXTHOP_HOST;
	return NULL;
}

static const char *
parse_domain(struct slice name, struct nexthop *h)
{
	if (!dns_name_normal(name, h->name)) {
		return "not a domain name";
	}
	if (looks_like_address(h->name)) {
		return "an address is written in brackets: [192.0.2.1]";
	}
	h->kind = NEXTHOP_DOMAIN;
	return NULL;
}

static const char *
parse(struct slice text, struct nexthop *h)
{
	size_t end;
	const char *why;

	if (text.n >= 5 && slice_case_eq(slice_make(text.p, 5), SL("unix:"))) {
		return parse_unix(slice_make(text.p + 5, text.n - 5), h);
	}
	if (text.n > 0 && text.p[0] == '[') {
		end = slice_find(text, ']');
		if (end == text.n) {
			return "no ] after [";
		}
		why = parse_bracketed(slice_make(text.p + 1, end - 1), h);
		end++;
	} else {
		end = slice_find(text, ':');
		why = parse_domain(slice_make(text.p, end), h);
	}
	if (why != NULL || end == text.n) {
		return why;
	}
	if (text.p[end] != ':' || !parse_port(slice_make(text.p + end + 1,
	    text.n - end - 1), &h->port)) {
		return "what follows is not :port";
	}
	return NULL;
}

bool
nexthop_parse(struct slice text, struct nexthop *out, const char **why)
{
	struct nexthop h = { .port = 0 };

	*why = parse(text, &h);
	if (*why != NULL) {
		return false;
	}
	*out = h;
	return true;
}

void
nexthop_print_addr(const struct cidr *addr, struct strbuf *out)
{
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(addr->v6 ? AF_INET6 : AF_INET, addr->octets, text,
	    sizeof(text)) != NULL) {
		(void)strbuf_add_str(out, text);
	}
}

void
nexthop_print(const struct nexthop *h, struct strbuf *out)
{
	switch (h->kind) {
	case NEXTHOP_DOMAIN:
		(void)strbuf_add_str(out, h->name);
		break;
	case NEXTHOP_HOST:
		(void)strbuf_printf(out, "[%s]", h->name);
		break;
	case NEXTHOP_ADDRESS:
		(void)strbuf_add_char(out, '[');
		nexthop_print_addr(&h->addr, out);
		(void)strbuf_add_char(out, ']');
		break;
	case NEXTHOP_UNIX:
		(void)strbuf_printf(out, "unix:%s", h->name);
		return;
	}
	if (h->port != 0) {
		(void)strbuf_printf(out, ":%u", (unsigned)h->port);
	}
}
