/*
 * known - names that `users' has just said are there, with their uid: mail for
 * the same few people comes in runs, and each question costs two programs a
 * wake-up. Only what is there is kept, for KNOWN_MS, so an account that is made
 * is seen at once. At most KNOWN_NAMES; a name may push out another. Names come
 * from the network: the hash is keyed. Time is monotonic, in ms, and given.
 */
#ifndef CLEANUP_KNOWN_H
#define CLEANUP_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

#define KNOWN_MS    1000
#define KNOWN_NAMES 1024 /* a power of two */

struct known;

struct known *known_new(void);
void known_free(struct known *k);
bool known_get(const struct known *k, struct slice name, uint64_t now_ms,
    uint64_t *uid);
void known_put(struct known *k, struct slice name, uint64_t uid,
    uint64_t now_ms);
void known_forget_all(struct known *k);

#endif
