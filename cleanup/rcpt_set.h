/*
 * rcpt_set - which mailboxes a message has already, by the resolver's key
 * (resolve_target_key), so that each gets one copy. Only grows.
 */
#ifndef CLEANUP_RCPT_SET_H
#define CLEANUP_RCPT_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/siphash.h"
#include "common/slice.h"
#include "common/strbuf.h"

struct rcpt_set {
	struct strbuf keys; /* one after the other */
	uint32_t *end;      /* of the n-th key in `keys' */
	uint32_t n, cap;
	uint32_t *table;    /* n + 1 by hash; 0: free. NULL while n is small */
	uint32_t table_cap; /* a power of two */
	unsigned char hash_key[SIPHASH_KEY]; /* keys are a stranger's choice */
	bool keyed;
};

void rcpt_set_init(struct rcpt_set *s);
void rcpt_set_clear(struct rcpt_set *s);
/* True when `key' was not there yet; now it is. */
bool rcpt_set_add(struct rcpt_set *s, struct slice key);

#endif
