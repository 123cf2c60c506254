/*
 * tid_table - objects by the transaction ids that a peer gave. (Our own ids
 * come from common/slots.h; these are a stranger's, so they are hashed.)
 */
#ifndef CLEANUP_TID_TABLE_H
#define CLEANUP_TID_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct tid_table {
	struct tid_entry *at;
	uint32_t cap;  /* a power of two, or 0 */
	uint32_t used;
	uint32_t seed;
};

void tid_table_init(struct tid_table *t);
/* Frees the table, not the objects. */
void tid_table_clear(struct tid_table *t);
/* The object of `tid', or NULL. */
void *tid_table_get(const struct tid_table *t, uint32_t tid);
/* `tid' must not be in use; `object' is not NULL. */
void tid_table_put(struct tid_table *t, uint32_t tid, void *object);
/* Nothing happens when it is not there. */
void tid_table_drop(struct tid_table *t, uint32_t tid);
/*
 * To empty the table: some object at or after *place (start with 0), or NULL at
 * the end. The caller drops it before it asks again.
 */
void *tid_table_any(const struct tid_table *t, uint32_t *place,
    uint32_t *tid);

#endif
