/*
 * listen - the addresses of the setting `listen': read, spread out over the
 * protocols, bound. Shared by master, who binds them, and `veredus check'.
 */
#ifndef COMMON_LISTEN_H
#define COMMON_LISTEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/settings.h"
#include "common/slice.h"
#include "common/strbuf.h"

#define LISTEN_MAX     72   /* sockets; CHILD_LISTENERS_MAX holds them all */
#define LISTEN_BACKLOG 1024

/* One entry: "192.0.2.1:25", "[2001:db8::1]:25" or "*:25". */
struct listen_entry {
	bool star;
	int family; /* AF_INET or AF_INET6; AF_UNSPEC with star */
	union {
		struct in_addr v4;
		struct in6_addr v6;
	} addr;
	uint16_t port;
};

/* A socket to be bound. */
struct listen_at {
	char name[64]; /* "127.0.0.1:25", "[::]:25" */
	int family;
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at;
	socklen_t len;
};

/* Pure. False, *out untouched: not of one of the three forms. */
bool listen_parse(struct slice entry, struct listen_entry *out);

/*
 * The sockets that `listen' and `inet_protocols' ask for, each once, at most
 * LISTEN_MAX; an address that a wildcard includes is left out, and IPv6 ones when
 * `has_ipv6' is false. False: `why'.
 */
bool listen_plan(const struct settings *s, bool has_ipv6, struct listen_at *out,
    size_t *n, struct strbuf *why);
/* Is `e' of a family that `inet_protocols' has, and this host? */
bool listen_is_used(const struct settings *s, bool has_ipv6,
    const struct listen_entry *e);
/* Does this host have IPv6 at all (a loopback address)? */
bool listen_host_has_ipv6(void);

/* A bound, listening, non-blocking socket, or -1: `why' has address and reason. */
int listen_bind(const struct listen_at *at, struct strbuf *why);

/*
 * Add the addresses of this host that these sockets are reached at, as members
 * of a list ("127.0.0.1, ::1"): for wildcards those of all interfaces.
 */
void listen_own_addresses(const struct listen_at *at, size_t n,
    struct strbuf *out);

#endif
