/*
 * spool_index - the queue ids of a spool, sorted, each with a pointer.
 * Ids mostly arrive at the upper end and leave anywhere. A million take 16
 * octets each and a little; finding costs a binary search over chunks and one
 * inside. Pure memory.
 */
#ifndef COMMON_SPOOL_INDEX_H
#define COMMON_SPOOL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool_index {
	struct spool_chunk **chunks;
	size_t n, cap;  /* chunks */
	size_t entries;
};

void spool_index_init(struct spool_index *ix);
/* Frees the table, not what the pointers name. */
void spool_index_clear(struct spool_index *ix);
/* The place of the pointer of `qid', NULL inside at first; valid until the next
   change. An id that is there already gives its place. */
void **spool_index_add(struct spool_index *ix, uint64_t qid);
/* NULL: not there. */
void **spool_index_find(const struct spool_index *ix, uint64_t qid);
bool spool_index_drop(struct spool_index *ix, uint64_t qid);
/* Ids above `after', rising, at most max; returns how many. */
size_t spool_index_list(const struct spool_index *ix, uint64_t after,
    uint64_t *out, size_t max);
/* All places, by rising ids, one each call; NULL: no more. *at begins as { 0 };
   no change in between. */
struct spool_index_at {
	size_t chunk, entry;
};
void **spool_index_each(const struct spool_index *ix,
    struct spool_index_at *at);
/* The largest id; 0 when there is none. */
uint64_t spool_index_last(const struct spool_index *ix);

#endif
