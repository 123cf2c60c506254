/*
 * dns_wire - questions to DNS servers, by c-ares inside the event loop.
 *
 * One c-ares channel for each server, so that who is asked, and when the next
 * one, is decided above (dns_ask). c-ares does UDP, goes on by TCP when an
 * answer was cut short, and drops what is not from the server or not to the
 * question. Its answer is handed up as raw octets: its own verdict on rcodes is
 * switched off, and the AD bit is asked for.
 */
#ifndef SERVICES_DNS_WIRE_H
#define SERVICES_DNS_WIRE_H

#include <event2/event.h>

#include "common/dns.h"
#include "common/settings.h"

struct dns_wire;

/*
 * The answer to the question that was sent under `id': a packet, or (`error'
 * not NULL) why there is none. Never called from inside dns_wire_ask(). Must
 * not free the wire.
 */
typedef void dns_wire_fn(void *arg, uint32_t id, unsigned server,
    const char *error, struct slice packet);

/*
 * `servers': "address:port", as checked by the settings; copied. A question is
 * given up after timeout_ms. NULL, *why set: c-ares would not.
 */
struct dns_wire *dns_wire_new(struct event_base *base,
    const struct strlist *servers, uint64_t timeout_ms, dns_wire_fn *fn,
    void *arg, const char **why);
/* Answers that are still out are not told any more. */
void dns_wire_free(struct dns_wire *w);
unsigned dns_wire_servers(const struct dns_wire *w);
const char *dns_wire_server(const struct dns_wire *w, unsigned i);
/* `name' as of dns_name_normal(). `plain': without EDNS; a server that does not
   understand it (FORMERR) is asked so at once, and from then on. */
void dns_wire_ask(struct dns_wire *w, unsigned server, uint32_t id,
    const char *name, enum dns_type type, bool plain);

#endif
