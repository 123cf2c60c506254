#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/heap.h"

void
heap_init(struct heap *h, bool (*before)(const void *, const void *),
    size_t place_offset)
{
	*h = (struct heap){ .before = before, .place_offset = place_offset };
}

void
heap_clear(struct heap *h)
{
	free(h->at);
	h->at = NULL;
	h->n = h->cap = 0;
}

static uint32_t
get_place(const struct heap *h, const void *object)
{
	uint32_t place;

	memcpy(&place, (const char *)object + h->place_offset, sizeof(place));
	return place;
}

static void
put(struct heap *h, uint32_t place, void *object)
{
	h->at[place] = object;
	memcpy((char *)object + h->place_offset, &place, sizeof(place));
}

static void
sift_up(struct heap *h, uint32_t i, void *object)
{
	while (i > 0 && h->before(object, h->at[(i - 1) / 2])) {
		put(h, i, h->at[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	put(h, i, object);
}

static void
sift_down(struct heap *h, uint32_t i, void *object)
{
	uint32_t child;

	while ((child = 2 * i + 1) < h->n) {
		if (child + 1 < h->n && h->before(h->at[child + 1], h->at[child])) {
			child++;
		}
		if (!h->before(h->at[child], object)) {
			break;
		}
		put(h, i, h->at[child]);
		i = child;
	}
	put(h, i, object);
}

void
heap_push(struct heap *h, void *object)
{
	assert(get_place(h, object) == HEAP_OUT);
	if (h->n == h->cap) {
		h->cap = h->cap == 0 ? 16 : 2 * h->cap;
		h->at = xreallocarray(h->at, h->cap, sizeof(*h->at));
	}
	h->n++;
	sift_up(h, h->n - 1, object);
}

void *
heap_top(const struct heap *h)
{
	return h->n > 0 ? h->at[0] : NULL;
}

void
heap_remove(struct heap *h, void *object)
{
	uint32_t place = get_place(h, object), out = HEAP_OUT;
	void *last;

	assert(place < h->n && h->at[place] == object);
	memcpy((char *)object + h->place_offset, &out, sizeof(out));
	last = h->at[--h->n];
	if (last == object) {
		return;
	}
	if (place > 0 && h->before(last, h->at[(place - 1) / 2])) {
		sift_up(h, place, last);
	} else {
		sift_down(h, place, last);
	}
}
