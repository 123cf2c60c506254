/*
 * route - where mail goes next, as settings and transport_maps write it
 * (Postfix's transport(5)); parsed. Pure functions.
 *
 *     smtp:             the hosts of the recipient's own domain
 *     smtp:NEXTHOP      lmtp:NEXTHOP      (common/nexthop.h; lmtp:inet:HOST:PORT
 *                       is taken, too)
 *     local:            a mailbox of this host
 *     error:5.1.6 text  refused; 4.y.z: for now; without a code 5.0.0
 *     hold:reason       accepted, and put on hold
 *     :NEXTHOP          the transport that it would be anyway
 *     :                 nothing is said
 */
#ifndef CLEANUP_ROUTE_H
#define CLEANUP_ROUTE_H

#include <stdbool.h>

#include "common/nexthop.h"

enum route_kind {
	ROUTE_NONE, /* not said */
	ROUTE_SMTP,
	ROUTE_LMTP,
	ROUTE_LOCAL,
	ROUTE_ERROR, /* text */
	ROUTE_HOLD,  /* text */
};

struct route {
	enum route_kind kind;
	bool has_hop;        /* NONE, SMTP, LMTP */
	struct nexthop hop;
	struct slice text;   /* borrows from what was parsed */
};

/* Exactly `text', white space around it left out. False: *why says what would
   be right. */
bool route_parse(struct slice text, struct route *out, const char **why);
/* A transport's name: "smtp". Of ROUTE_NONE: "smtp", which it then is. */
const char *route_name(enum route_kind kind);
/*
 * Append the next hop as the text that the same destination always has: the
 * transport's own port is left out, and a host of LMTP, which has no MX, stands
 * in brackets.
 */
void route_print_hop(enum route_kind kind, const struct nexthop *hop,
    struct strbuf *out);
/* Of the text of error: the code ("5.0.0" if there is none), in `esc' of ESC_MAX
   octets, and the words. */
struct slice route_error_text(struct slice text, char *esc);

#endif
