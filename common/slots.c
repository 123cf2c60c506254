#include "config.h"

#include <stdlib.h>

#include "common/slots.h"
#include "common/xmalloc.h"

/* An id is generation (12 bits, never 0) << 20 | place. */
struct slot {
	void *object;
	uint32_t generation;
	uint32_t next_free;
};

#define NO_PLACE UINT32_MAX

void
slots_init(struct slots *t)
{
	*t = (struct slots){ .free_head = NO_PLACE };
}

void
slots_clear(struct slots *t)
{
	free(t->at);
	slots_init(t);
}

static void
grow(struct slots *t)
{
	uint32_t i, cap = t->cap == 0 ? 64 : t->cap * 2;

	t->at = xreallocarray(t->at, cap, sizeof(*t->at));
	for (i = cap; i-- > t->cap;) {
		t->at[i] = (struct slot){ NULL, 1, t->free_head };
		t->free_head = i;
	}
	t->cap = cap;
}

uint32_t
slots_add(struct slots *t, void *object)
{
	struct slot *s;
	uint32_t place;

	if (t->free_head == NO_PLACE) {
		if (t->cap >= SLOTS_MAX) {
			return 0;
		}
		grow(t);
	}
	place = t->free_head;
	s = &t->at[place];
	t->free_head = s->next_free;
	s->object = object;
	t->used++;
	return s->generation << 20 | place;
}

static struct slot *
find(const struct slots *t, uint32_t id)
{
	uint32_t place = id & (SLOTS_MAX - 1);

	if (place >= t->cap || t->at[place].object == NULL ||
	    t->at[place].generation != id >> 20) {
		return NULL;
	}
	return &t->at[place];
}

void *
slots_get(const struct slots *t, uint32_t id)
{
	struct slot *s = find(t, id);

	return s != NULL ? s->object : NULL;
}

void
slots_drop(struct slots *t, uint32_t id)
{
	struct slot *s = find(t, id);

	if (s == NULL) {
		return;
	}
	s->object = NULL;
	s->generation = s->generation == 0xfff ? 1 : s->generation + 1;
	s->next_free = t->free_head;
	t->free_head = (uint32_t)(s - t->at);
	t->used--;
}

void *
slots_next(const struct slots *t, uint32_t *place)
{
	while (*place < t->cap) {
		void *o = t->at[(*place)++].object;

		if (o != NULL) {
			return o;
		}
	}
	return NULL;
}
