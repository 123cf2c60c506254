/*
 * dns_cache - answers, as long as their TTL says. At most `limit' of them and
 * DNS_CACHE_OCTETS octets an answer on the average; the one that was longest
 * not asked for goes first. Names come from the network: the hash is keyed.
 * Time is monotonic, in ms, and given.
 */
#ifndef SERVICES_DNS_CACHE_H
#define SERVICES_DNS_CACHE_H

#include "common/dns.h"

#define DNS_CACHE_OCTETS 1024

struct dns_cache;

struct dns_cache *dns_cache_new(uint64_t limit);
void dns_cache_free(struct dns_cache *c);
/* *a borrows from the cache until its next change; ttl is what is left. */
bool dns_cache_get(struct dns_cache *c, struct slice name, enum dns_type type,
    uint64_t now_ms, struct dns_answer *a);
/* Keeps a copy for a->ttl seconds; 0 is not kept. */
void dns_cache_put(struct dns_cache *c, struct slice name, enum dns_type type,
    uint64_t now_ms, const struct dns_answer *a);
void dns_cache_forget_all(struct dns_cache *c);
uint64_t dns_cache_limit(const struct dns_cache *c);
size_t dns_cache_count(const struct dns_cache *c);
size_t dns_cache_octets(const struct dns_cache *c);

#endif
