/*
 * nexthop - where mail goes next, as text and as a struct. Pure functions.
 *
 *     example.org  example.org:2525      a domain: its MX records say which hosts
 *     [mx.example.org]  [mx]:2525        this very host
 *     [192.0.2.1]  [2001:db8::1]:2525    this address ("IPv6:" may stand inside)
 *     unix:/run/lmtp                     a UNIX socket
 *
 * The port is a number or one of smtp, lmtp, submission, smtps and submissions;
 * without one the transport's own is meant. Names are A-labels; text in any
 * case and with a final dot is taken, and nexthop_print() gives the one text
 * that the same destination always has: it is the key of queues and pools.
 */
#ifndef COMMON_NEXTHOP_H
#define COMMON_NEXTHOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/cidr.h"
#include "common/dns.h"
#include "common/slice.h"
#include "common/strbuf.h"

#define NEXTHOP_PATH_MAX 107 /* octets: sockaddr_un's, less its NUL */
#define NEXTHOP_TEXT_MAX 280 /* octets of the longest text */

enum nexthop_kind {
	NEXTHOP_DOMAIN,  /* name */
	NEXTHOP_HOST,    /* name */
	NEXTHOP_ADDRESS, /* addr */
	NEXTHOP_UNIX,    /* name is the absolute path */
};

struct nexthop {
	enum nexthop_kind kind;
	char name[DNS_NAME_MAX + 1]; /* lower case, no final dot */
	struct cidr addr;
	uint16_t port;               /* 0: the transport's own */
};

/*
 * Exactly `text'. False: *out untouched, *why says what is wrong. A bare
 * address ("192.0.2.1") is wrong: no domain looks like that.
 */
bool nexthop_parse(struct slice text, struct nexthop *out, const char **why);
void nexthop_print(const struct nexthop *h, struct strbuf *out);
/* An address as text, without brackets: "192.0.2.1", "2001:db8::1". */
void nexthop_print_addr(const struct cidr *addr, struct strbuf *out);

#endif
