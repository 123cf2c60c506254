/*
 * users_cache - what is known of names, for a short time: accounts that are
 * there 10 s (of a file 1 s), names that are not 5 s. At most USERS_CACHE_MAX; then the entry
 * that was put in first goes. Names come from the network: the hash is keyed.
 * Time is monotonic, in ms, and given.
 */
#ifndef SERVICES_USERS_CACHE_H
#define SERVICES_USERS_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/account.h"

#define USERS_CACHE_MAX     10000
#define USERS_CACHE_YES_MS  10000
#define USERS_CACHE_FILE_MS 1000
#define USERS_CACHE_NO_MS   5000

struct users_answer {
	enum account_result result;
	struct account account; /* when FOUND; home is borrowed or owned as the
	                           function that gives it says */
};

struct users_cache;

struct users_cache *users_cache_new(void);
void users_cache_free(struct users_cache *c);
/* *a borrows from the cache until its next change. */
bool users_cache_get(struct users_cache *c, struct slice name, uint64_t now_ms,
    struct users_answer *a);
/* Keeps a copy, for yes_ms when the account is there; ACCOUNT_TEMP is never
   kept. */
void users_cache_put(struct users_cache *c, struct slice name, uint64_t now_ms,
    const struct users_answer *a, uint64_t yes_ms);
void users_cache_forget_all(struct users_cache *c);
unsigned users_cache_count(const struct users_cache *c);

#endif
