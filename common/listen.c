#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/listen.h"
#include "common/log.h"

bool
listen_parse(struct slice entry, struct listen_entry *out)
{
	struct listen_entry e = { .family = AF_UNSPEC };
	char text[INET6_ADDRSTRLEN];
	struct slice host;
	uint64_t port;
	size_t colon = entry.n;

	while (colon > 0 && entry.p[colon - 1] != ':') {
		colon--;
	}
	if (colon == 0 || !slice_number(slice_make(entry.p + colon,
	    entry.n - colon), 65535, &port) || port == 0) {
		return false;
	}
	e.port = (uint16_t)port;
	host = slice_make(entry.p, colon - 1);
	e.star = slice_eq(host, SL("*"));
	if (!e.star) {
		e.family = AF_INET;
		if (host.n > 2 && host.p[0] == '[' &&
		    host.p[host.n - 1] == ']') {
			e.family = AF_INET6;
			host = slice_make(host.p + 1, host.n - 2);
		}
		if (host.n >= sizeof(text) || slice_find(host, '\0') < host.n) {
			return false;
		}
		memcpy(text, host.p, host.n);
		text[host.n] = '\0';
		if (inet_pton(e.family, text, &e.addr) != 1) {
			return false;
		}
	}
	*out = e;
	return true;
}

static void
fill(struct listen_at *at, int family, const struct listen_entry *e)
{
	char text[INET6_ADDRSTRLEN] = "?";
	int n;

	memset(at, 0, sizeof(*at));
	at->family = family;
	if (family == AF_INET) {
		at->at.v4.sin_family = AF_INET;
		at->at.v4.sin_port = htons(e->port);
		at->at.v4.sin_addr.s_addr = e->star ? INADDR_ANY :
		    e->addr.v4.s_addr;
		at->len = sizeof(at->at.v4);
		(void)inet_ntop(AF_INET, &at->at.v4.sin_addr, text,
		    sizeof(text));
		n = snprintf(at->name, sizeof(at->name), "%s:%u", text,
		    (unsigned)e->port);
	} else {
		at->at.v6.sin6_family = AF_INET6;
		at->at.v6.sin6_port = htons(e->port);
		at->at.v6.sin6_addr = e->star ? in6addr_any : e->addr.v6;
		at->len = sizeof(at->at.v6);
		(void)inet_ntop(AF_INET6, &at->at.v6.sin6_addr, text,
		    sizeof(text));
		n = snprintf(at->name, sizeof(at->name), "[%s]:%u", text,
		    (unsigned)e->port);
	}
	if (n < 0 || (size_t)n >= sizeof(at->name)) {
		log_panic("listen: a name that does not fit");
	}
}

static bool
is_any(const struct listen_at *at)
{
	return at->family == AF_INET ?
	    at->at.v4.sin_addr.s_addr == INADDR_ANY :
	    IN6_IS_ADDR_UNSPECIFIED(&at->at.v6.sin6_addr);
}

/* All that comes to b's address and port comes to a's, too: Linux lets only one
   of them listen. */
static bool
covers(const struct listen_at *a, const struct listen_at *b)
{
	/* the port is at the same place in both families */
	return a->family == b->family &&
	    a->at.v4.sin_port == b->at.v4.sin_port &&
	    (is_any(a) || strcmp(a->name, b->name) == 0);
}

/* Append, unless it is covered; what it covers goes. False: too many. */
static bool
append(struct listen_at *out, size_t *n, int family,
    const struct listen_entry *e)
{
	struct listen_at at;
	size_t i, kept = 0;

	fill(&at, family, e);
	for (i = 0; i < *n; i++) {
		if (covers(&out[i], &at)) {
			return true;
		}
	}
	for (i = 0; i < *n; i++) {
		if (!covers(&at, &out[i])) {
			out[kept++] = out[i];
		}
	}
	*n = kept;
	if (*n == LISTEN_MAX) {
		return false;
	}
	out[(*n)++] = at;
	return true;
}

static bool
has_protocol(const struct settings *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->inet_protocols.n; i++) {
		if (strcmp(s->inet_protocols.at[i], name) == 0) {
			return true;
		}
	}
	return false;
}

bool
listen_is_used(const struct settings *s, bool has_ipv6,
    const struct listen_entry *e)
{
	bool v6 = has_protocol(s, "ipv6") && has_ipv6;

	return (e->family != AF_INET6 && has_protocol(s, "ipv4")) ||
	    (e->family != AF_INET && v6);
}

bool
listen_plan(const struct settings *s, bool has_ipv6, struct listen_at *out,
    size_t *n, struct strbuf *why)
{
	bool v4 = has_protocol(s, "ipv4");
	bool v6 = has_protocol(s, "ipv6") && has_ipv6;
	struct listen_entry e;
	bool fits = true;
	size_t i;

	*n = 0;
	for (i = 0; i < s->listen.n && fits; i++) {
		if (!listen_parse(slice_of(s->listen.at[i]), &e)) {
			(void)strbuf_printf(why, "listen: \"%s\" is not "
			    "address:port: write 192.0.2.1:25, "
			    "[2001:db8::1]:25 or *:25", s->listen.at[i]);
			return false;
		}
		if (v4 && (e.star || e.family == AF_INET)) {
			fits = append(out, n, AF_INET, &e);
		}
		if (fits && v6 && (e.star || e.family == AF_INET6)) {
			fits = append(out, n, AF_INET6, &e);
		}
	}
	if (!fits) {
		(void)strbuf_printf(why, "listen: more than %d sockets",
		    LISTEN_MAX);
	}
	return fits;
}

bool
listen_host_has_ipv6(void)
{
	const struct sockaddr_in6 lo = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has;

	if (fd == -1) {
		return false;
	}
	has = bind(fd, (const struct sockaddr *)&lo, sizeof(lo)) == 0;
	(void)close(fd);
	return has;
}

static const char *
reason(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "another program listens there";
	case EADDRNOTAVAIL:
		return "this host does not have that address";
	case EACCES:
		return "only root may listen on that port";
	default:
		return strerror(error);
	}
}

int
listen_bind(const struct listen_at *at, struct strbuf *why)
{
	int fd = socket(at->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	const int on = 1;
	int saved;

	if (fd != -1 &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    (at->family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6,
	    IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
	    bind(fd, &at->at.sa, at->len) == 0 &&
	    listen(fd, LISTEN_BACKLOG) == 0) {
		return fd;
	}
	saved = errno;
	(void)strbuf_printf(why, "cannot listen on %s: %s", at->name,
	    reason(saved));
	if (fd != -1) {
		(void)close(fd);
	}
	errno = saved;
	return -1;
}

static void
add_address(struct strbuf *out, int family, const void *addr)
{
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(family, addr, text, sizeof(text)) != NULL) {
		(void)strbuf_printf(out, "%s%s", out->n > 0 ? ", " : "", text);
	}
}

static void
add_interfaces(struct strbuf *out, int family)
{
	struct ifaddrs *all, *i;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (getifaddrs(&all) == -1) {
		log_warn("the addresses of the interfaces: %s",
		    strerror(errno));
		return;
	}
	for (i = all; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr == NULL || i->ifa_addr->sa_family != family) {
			continue;
		}
		if (family == AF_INET) {
			memcpy(&v4, i->ifa_addr, sizeof(v4));
			add_address(out, family, &v4.sin_addr);
		} else {
			memcpy(&v6, i->ifa_addr, sizeof(v6));
			add_address(out, family, &v6.sin6_addr);
		}
	}
	freeifaddrs(all);
}

void
listen_own_addresses(const struct listen_at *at, size_t n, struct strbuf *out)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (at[i].family == AF_INET) {
			if (at[i].at.v4.sin_addr.s_addr == INADDR_ANY) {
				add_interfaces(out, AF_INET);
			} else {
				add_address(out, AF_INET,
				    &at[i].at.v4.sin_addr);
			}
		} else if (IN6_IS_ADDR_UNSPECIFIED(&at[i].at.v6.sin6_addr)) {
			add_interfaces(out, AF_INET6);
		} else {
			add_address(out, AF_INET6, &at[i].at.v6.sin6_addr);
		}
	}
}
