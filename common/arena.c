#include "config.h"

#include <stdlib.h>

#include "common/arena.h"
#include "common/xmalloc.h"

#define CHUNK 4000

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, cap;
	_Alignas(max_align_t) unsigned char octets[];
};

void
arena_init(struct arena *a)
{
	a->chunks = NULL;
}

void
arena_clear(struct arena *a)
{
	struct arena_chunk *c, *next;

	for (c = a->chunks; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	a->chunks = NULL;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->chunks;
	size_t align = _Alignof(max_align_t), cap;
	void *p;

	n = (n + align - 1) / align * align;
	if (c == NULL || c->cap - c->used < n) {
		cap = n > CHUNK ? n : CHUNK;
		c = xcalloc(1, sizeof(*c) + cap);
		c->cap = cap;
		c->next = a->chunks;
		a->chunks = c;
	}
	p = c->octets + c->used;
	c->used += n;
	return p;
}

struct slice
arena_dup(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (s.n > 0) {
		memcpy(p, s.p, s.n);
	}
	return slice_make(p, s.n);
}

struct slice
arena_dup_lower(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.n + 1);
	size_t i;

	for (i = 0; i < s.n; i++) {
		p[i] = ascii_lower(s.p[i]);
	}
	return slice_make(p, s.n);
}
