/*
 * slots - a table from 32-bit transaction ids to objects. An id names an object
 * only while it is in the table: after slots_drop() the id finds nothing, and
 * the same id comes back only after 4096 uses of its place, so an answer that
 * comes too late finds nothing. At most SLOTS_MAX objects.
 */
#ifndef COMMON_SLOTS_H
#define COMMON_SLOTS_H

#include <stdint.h>

#define SLOTS_MAX (1u << 20)

struct slots {
	struct slot *at;
	uint32_t cap, used, free_head;
};

void slots_init(struct slots *t);
/* Frees the table, not the objects. */
void slots_clear(struct slots *t);
/* A fresh id, never 0; returns 0 when the table is full. */
uint32_t slots_add(struct slots *t, void *object);
/* The object of `id', or NULL. */
void *slots_get(const struct slots *t, uint32_t id);
void slots_drop(struct slots *t, uint32_t id);
/* The first object at or after *place (start with 0), or NULL at the end;
   *place moves on. The table may lose objects between two calls. */
void *slots_next(const struct slots *t, uint32_t *place);

#endif
