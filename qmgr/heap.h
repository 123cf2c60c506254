/*
 * heap - a binary heap of pointers to objects that know their own place in it,
 * so that any of them can be taken out. Owns its array, not the objects.
 */
#ifndef QMGR_HEAP_H
#define QMGR_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_OUT UINT32_MAX /* the place of an object that is in no heap */

struct heap {
	void **at;
	uint32_t n, cap;
	bool (*before)(const void *a, const void *b);
	size_t place_offset; /* of the object's uint32_t place */
};

void heap_init(struct heap *h, bool (*before)(const void *, const void *),
    size_t place_offset);
void heap_clear(struct heap *h);
/* The object's place must be HEAP_OUT. */
void heap_push(struct heap *h, void *object);
/* The first object, or NULL. */
void *heap_top(const struct heap *h);
/* Takes the object out, wherever it is; its place becomes HEAP_OUT. */
void heap_remove(struct heap *h, void *object);

#endif
