#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/siphash.h"
#include "common/xmalloc.h"
#include "services/users_cache.h"

#define BUCKETS 8192u /* a power of two */

struct entry {
	struct entry *chain;           /* of its bucket */
	struct entry *newer;           /* in the order of putting */
	char *name;
	size_t n;
	uint64_t expire_ms;
	struct users_answer answer;
};

struct users_cache {
	unsigned char key[SIPHASH_KEY];
	struct entry *bucket[BUCKETS];
	struct entry *oldest, *newest;
	unsigned count;
};

struct users_cache *
users_cache_new(void)
{
	struct users_cache *c = xcalloc(1, sizeof(*c));

	if (getrandom(c->key, sizeof(c->key), 0) != (ssize_t)sizeof(c->key)) {
		log_panic("no random octets");
	}
	return c;
}

static struct entry **
find(struct users_cache *c, struct slice name)
{
	uint64_t h = siphash24(c->key, name.p, name.n);
	struct entry **at = &c->bucket[h & (BUCKETS - 1)];

	while (*at != NULL && !slice_eq(slice_make((*at)->name, (*at)->n),
	    name)) {
		at = &(*at)->chain;
	}
	return at;
}

static void
drop_oldest(struct users_cache *c)
{
	struct entry *e = c->oldest;
	struct entry **at = find(c, slice_make(e->name, e->n));

	*at = e->chain;
	c->oldest = e->newer;
	if (c->oldest == NULL) {
		c->newest = NULL;
	}
	c->count--;
	account_clear(&e->answer.account);
	free(e->name);
	free(e);
}

void
users_cache_forget_all(struct users_cache *c)
{
	while (c->oldest != NULL) {
		drop_oldest(c);
	}
}

void
users_cache_free(struct users_cache *c)
{
	if (c != NULL) {
		users_cache_forget_all(c);
		free(c);
	}
}

bool
users_cache_get(struct users_cache *c, struct slice name, uint64_t now_ms,
    struct users_answer *a)
{
	const struct entry *e = *find(c, name);

	if (e == NULL || e->expire_ms <= now_ms) {
		return false;
	}
	*a = e->answer;
	return true;
}

static void
fill(struct entry *e, uint64_t now_ms, const struct users_answer *a,
    uint64_t yes_ms)
{
	account_clear(&e->answer.account);
	e->answer = *a;
	if (a->result == ACCOUNT_FOUND) {
		e->answer.account.home = xstrdup(a->account.home);
		e->expire_ms = now_ms + yes_ms;
	} else {
		e->answer.account = (struct account){ 0, 0, NULL };
		e->expire_ms = now_ms + USERS_CACHE_NO_MS;
	}
}

static struct entry *
add(struct users_cache *c, struct slice name)
{
	struct entry *e = xcalloc(1, sizeof(*e)), **at;

	if (c->count == USERS_CACHE_MAX) {
		drop_oldest(c);
	}
	at = find(c, name); /* after the drop, which may move the place */
	e->name = xslicedup(name);
	e->n = name.n;
	*at = e;
	if (c->newest != NULL) {
		c->newest->newer = e;
	} else {
		c->oldest = e;
	}
	c->newest = e;
	c->count++;
	return e;
}

void
users_cache_put(struct users_cache *c, struct slice name, uint64_t now_ms,
    const struct users_answer *a, uint64_t yes_ms)
{
	struct entry *e = *find(c, name);

	if (a->result == ACCOUNT_TEMP) {
		return;
	}
	fill(e != NULL ? e : add(c, name), now_ms, a, yes_ms);
}

unsigned
users_cache_count(const struct users_cache *c)
{
	return c->count;
}
