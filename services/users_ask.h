/*
 * users_ask - who asks for which name, and what is answered when: from the
 * cache, from the database, or "temporary" when its deadline has come. One
 * question to the database for all that ask for the same name at a time.
 */
#ifndef SERVICES_USERS_ASK_H
#define SERVICES_USERS_ASK_H

#include <event2/event.h>

#include "services/users_cache.h"
#include "services/users_pool.h"

#define USERS_DEADLINE_MS 5000
#define USERS_LOOKUPS_MAX 1000  /* names asked for at a time */
#define USERS_WAITERS_MAX 20000 /* who waits for them */

struct users_ask;

/*
 * The answer to the question of `asker' with the number tid: *a lives during
 * the call; `reason' is for ACCOUNT_TEMP.
 */
typedef void users_reply_fn(void *asker, uint32_t tid,
    const struct users_answer *a, const char *reason);

/* `lookup': users_look_up, or a test's. */
struct users_ask *users_ask_new(struct event_base *base, users_reply_fn *reply,
    users_lookup_fn *lookup);
void users_ask_free(struct users_ask *u);
/*
 * The value of local_users, before the walls and after a reload: all is
 * forgotten. The directory of a file is opened here, and kept when a reload
 * names it again but may no longer enter it.
 */
void users_ask_source(struct users_ask *u, const char *source);
/* May reply before it returns. */
void users_ask(struct users_ask *u, void *asker, uint32_t tid,
    struct slice name);
/* This asker is gone: no more replies to it. */
void users_ask_forget(struct users_ask *u, const void *asker);

/*
 * The name as the database is asked for it: lower case. False: there can be no
 * such account ([a-z0-9._-] at most, neither "-" nor "." first).
 */
bool users_ask_name(struct slice name, char out[ACCOUNT_NAME_MAX + 1]);

#endif
