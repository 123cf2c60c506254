#include "config.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/siphash.h"
#include "common/xmalloc.h"
#include "services/dns_cache.h"

#define BUCKETS_MAX (1u << 20)

struct entry {
	struct entry *chain;        /* of its bucket */
	TAILQ_ENTRY(entry) order;   /* the longest not asked for first */
	enum dns_type type;
	uint64_t expire_ms;
	struct dns_answer answer;   /* borrows from `octets' */
	size_t name_octets, octets_all;
	char octets[];              /* name, records, reason */
};

struct dns_cache {
	unsigned char key[SIPHASH_KEY];
	uint64_t limit, octets_limit;
	size_t count, octets;
	uint32_t mask;              /* of buckets */
	struct entry **bucket;
	TAILQ_HEAD(, entry) order;
};

struct dns_cache *
dns_cache_new(uint64_t limit)
{
	struct dns_cache *c = xcalloc(1, sizeof(*c));
	uint32_t n = 16;

	if (getrandom(c->key, sizeof(c->key), 0) != (ssize_t)sizeof(c->key)) {
		log_panic("no random octets");
	}
	while (n < limit && n < BUCKETS_MAX) {
		n *= 2;
	}
	c->limit = limit;
	c->octets_limit = limit * DNS_CACHE_OCTETS;
	c->mask = n - 1;
	c->bucket = xcalloc(n, sizeof(struct entry *));
	TAILQ_INIT(&c->order);
	return c;
}

static struct slice
name_of(const struct entry *e)
{
	return slice_make(e->octets, e->name_octets);
}

/* Where the pointer to the entry stands, or would. */
static struct entry **
find(struct dns_cache *c, struct slice name, enum dns_type type)
{
	uint64_t h = siphash24(c->key, name.p, name.n) + (uint64_t)type;
	struct entry **at = &c->bucket[h & c->mask];

	while (*at != NULL && ((*at)->type != type ||
	    !slice_eq(name_of(*at), name))) {
		at = &(*at)->chain;
	}
	return at;
}

static void
drop(struct dns_cache *c, struct entry *e)
{
	struct entry **at = find(c, name_of(e), e->type);

	*at = e->chain;
	TAILQ_REMOVE(&c->order, e, order);
	c->count--;
	c->octets -= e->octets_all;
	free(e);
}

void
dns_cache_forget_all(struct dns_cache *c)
{
	while (!TAILQ_EMPTY(&c->order)) {
		drop(c, TAILQ_FIRST(&c->order));
	}
}

void
dns_cache_free(struct dns_cache *c)
{
	if (c != NULL) {
		dns_cache_forget_all(c);
		free(c->bucket);
		free(c);
	}
}

bool
dns_cache_get(struct dns_cache *c, struct slice name, enum dns_type type,
    uint64_t now_ms, struct dns_answer *a)
{
	struct entry *e = *find(c, name, type);

	if (e == NULL) {
		return false;
	}
	if (e->expire_ms <= now_ms) {
		drop(c, e);
		return false;
	}
	TAILQ_REMOVE(&c->order, e, order);
	TAILQ_INSERT_TAIL(&c->order, e, order);
	*a = e->answer;
	a->ttl = (uint32_t)((e->expire_ms - now_ms + 999) / 1000);
	return true;
}

static struct slice
keep(char **at, struct slice s)
{
	char *to = *at;

	if (s.n > 0) {
		memcpy(to, s.p, s.n);
	}
	*at += s.n;
	return slice_make(to, s.n);
}

static struct entry *
entry_new(struct slice name, enum dns_type type, const struct dns_answer *a)
{
	size_t n = name.n + a->records.n + a->reason.n;
	struct entry *e = xmalloc(sizeof(*e) + n);
	char *at = e->octets;

	*e = (struct entry){ .type = type, .answer = *a,
		.name_octets = name.n, .octets_all = sizeof(*e) + n };
	(void)keep(&at, name);
	e->answer.records = keep(&at, a->records);
	e->answer.reason = keep(&at, a->reason);
	return e;
}

void
dns_cache_put(struct dns_cache *c, struct slice name, enum dns_type type,
    uint64_t now_ms, const struct dns_answer *a)
{
	struct entry **at = find(c, name, type), *e;

	if (*at != NULL) {
		drop(c, *at);
	}
	if (a->ttl == 0 || c->limit == 0) {
		return;
	}
	e = entry_new(name, type, a);
	if (e->octets_all > c->octets_limit) {
		free(e); /* alone more than all may be */
		return;
	}
	while (c->count == c->limit ||
	    c->octets + e->octets_all > c->octets_limit) {
		drop(c, TAILQ_FIRST(&c->order));
	}
	e->expire_ms = now_ms + (uint64_t)a->ttl * 1000;
	at = find(c, name, type); /* after the drops, which may move the place */
	*at = e;
	TAILQ_INSERT_TAIL(&c->order, e, order);
	c->count++;
	c->octets += e->octets_all;
}

uint64_t
dns_cache_limit(const struct dns_cache *c)
{
	return c->limit;
}

size_t
dns_cache_count(const struct dns_cache *c)
{
	return c->count;
}

size_t
dns_cache_octets(const struct dns_cache *c)
{
	return c->octets;
}
