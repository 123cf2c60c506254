/* Linear probing, at most three quarters full, never shrinks. */
#include "config.h"

#include <stdlib.h>

#include "common/table.h"
#include "common/xmalloc.h"

/* FNV-1a, with its high bits mixed into the low ones that we use. */
static uint32_t
hash_of(struct slice key)
{
	uint64_t h = 14695981039346656037u;
	size_t i;

	for (i = 0; i < key.n; i++) {
		h = (h ^ (unsigned char)key.p[i]) * 1099511628211u;
	}
	return (uint32_t)(h ^ h >> 32);
}

void
table_init(struct table *t)
{
	*t = (struct table){ 0 };
}

void
table_clear(struct table *t)
{
	free(t->slots);
	table_init(t);
}

/* The slot of `key', or the free one where it would go. */
static struct table_slot *
find(const struct table *t, struct slice key, uint32_t hash)
{
	uint32_t i = hash & (t->cap - 1);

	while (t->slots[i].used && (t->slots[i].hash != hash ||
	    !slice_eq(t->slots[i].key, key))) {
		i = (i + 1) & (t->cap - 1);
	}
	return &t->slots[i];
}

bool
table_get(const struct table *t, struct slice key, uint32_t *value)
{
	const struct table_slot *s;

	if (t->cap == 0) {
		return false;
	}
	s = find(t, key, hash_of(key));
	if (!s->used) {
		return false;
	}
	*value = s->value;
	return true;
}

static void
grow(struct table *t)
{
	struct table old = *t;
	uint32_t i;

	t->cap = old.cap == 0 ? 16 : old.cap * 2;
	t->slots = xcalloc(t->cap, sizeof(*t->slots));
	for (i = 0; i < old.cap; i++) {
		if (old.slots[i].used) {
			*find(t, old.slots[i].key, old.slots[i].hash) =
			    old.slots[i];
		}
	}
	free(old.slots);
}

bool
table_add(struct table *t, struct slice key, uint32_t value)
{
	uint32_t hash = hash_of(key);
	struct table_slot *s;

	if (t->used >= t->cap / 4 * 3) {
		grow(t);
	}
	s = find(t, key, hash);
	if (s->used) {
		return false;
	}
	*s = (struct table_slot){ key, hash, value, true };
	t->used++;
	return true;
}
