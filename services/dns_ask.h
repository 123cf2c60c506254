/*
 * dns_ask - from a question to its answer: the hosts file, the cache, then the
 * servers, one after the other, as long as the deadline allows.
 *
 * The same question asked by several is asked once. A server that fails
 * (SERVFAIL, REFUSED, garbage, nobody there) is followed by the next at once,
 * one that is silent after 2 s, later 4 and 8; an answer that comes late still
 * counts. When all have failed, or at the deadline, the answer is DNS_TEMP.
 * At most DNS_RUNNING_MAX questions are out at a time, the rest waits in line.
 */
#ifndef SERVICES_DNS_ASK_H
#define SERVICES_DNS_ASK_H

#include <event2/event.h>

#include "common/dns.h"
#include "common/settings.h"

#define DNS_RUNNING_MAX 512   /* lookups with questions to servers */
#define DNS_LOOKUPS_MAX 20000 /* the same and those in line */
#define DNS_WAITERS_MAX 50000 /* who asked for them */
#define DNS_TEMP_TTL    2     /* s that a failure is remembered (RFC 9520) */
#define DNS_HOSTS_TTL   10    /* s */

struct dns_ask;
struct dns_hosts;

/* Must not free the dns_ask; may ask again. *a lives during the call. */
typedef void dns_reply_fn(void *asker, uint32_t tid,
    const struct dns_answer *a);

struct dns_ask *dns_ask_new(struct event_base *base, dns_reply_fn *reply,
    uint64_t timeout_ms, uint64_t cache_limit);
void dns_ask_free(struct dns_ask *d);

/* May reply at once. `name' as of dns_name_normal(). */
void dns_ask(struct dns_ask *d, void *asker, uint32_t tid, struct slice name,
    enum dns_type type, unsigned flags);
/* The asker is gone: no more replies to it. */
void dns_ask_forget(struct dns_ask *d, const void *asker);

/* "address:port" each. What is cached came from others and is forgotten; what
   is running is asked anew. NULL, or why it cannot be (the old ones stay). */
const char *dns_ask_servers(struct dns_ask *d, const struct strlist *servers);
/* Takes the table, which may be NULL. */
void dns_ask_hosts(struct dns_ask *d, struct dns_hosts *hosts);
/* From now on. The servers' channels get it with the next dns_ask_servers(). */
void dns_ask_limits(struct dns_ask *d, uint64_t timeout_ms,
    uint64_t cache_limit);

#endif
