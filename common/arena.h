/*
 * arena - memory for many small things that die together. Nothing is freed
 * alone; who fills it bounds it.
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stddef.h>

#include "common/slice.h"

struct arena {
	struct arena_chunk *chunks;
};

void arena_init(struct arena *a);
void arena_clear(struct arena *a);
/* Zeroed, aligned for anything. */
void *arena_alloc(struct arena *a, size_t n);
/* A copy of `s' with a NUL after it. */
struct slice arena_dup(struct arena *a, struct slice s);
/* The same in lower case (ASCII). */
struct slice arena_dup_lower(struct arena *a, struct slice s);

#endif
