#include "config.h"

#include <stdlib.h>
#include <sys/random.h>

#include "cleanup/tid_table.h"
#include "common/log.h"
#include "common/xmalloc.h"

/* Linear probing; a dropped entry is filled from what follows (no tombs). */
struct tid_entry {
	uint32_t tid;
	void *object; /* NULL: free */
};

void
tid_table_init(struct tid_table *t)
{
	*t = (struct tid_table){ 0 };
	if (getrandom(&t->seed, sizeof(t->seed), 0) !=
	    (ssize_t)sizeof(t->seed)) {
		log_panic("tid_table: no random octets");
	}
}

void
tid_table_clear(struct tid_table *t)
{
	free(t->at);
	t->at = NULL;
	t->cap = t->used = 0;
}

/* The finalizer of MurmurHash3 over the seeded id. */
static uint32_t
home_of(const struct tid_table *t, uint32_t tid)
{
	uint32_t h = tid ^ t->seed;

	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return (h ^ h >> 16) & (t->cap - 1);
}

/* Where `tid' is, or the free place where its search ends. */
static uint32_t
find(const struct tid_table *t, uint32_t tid)
{
	uint32_t i = home_of(t, tid);

	while (t->at[i].object != NULL && t->at[i].tid != tid) {
		i = (i + 1) & (t->cap - 1);
	}
	return i;
}

void *
tid_table_get(const struct tid_table *t, uint32_t tid)
{
	return t->cap == 0 ? NULL : t->at[find(t, tid)].object;
}

static void
grow(struct tid_table *t)
{
	struct tid_entry *old = t->at;
	uint32_t i, old_cap = t->cap;

	t->cap = old_cap == 0 ? 64 : old_cap * 2;
	t->at = xcalloc(t->cap, sizeof(*t->at));
	for (i = 0; i < old_cap; i++) {
		if (old[i].object != NULL) {
			t->at[find(t, old[i].tid)] = old[i];
		}
	}
	free(old);
}

void
tid_table_put(struct tid_table *t, uint32_t tid, void *object)
{
	if (t->used >= t->cap / 2) {
		grow(t);
	}
	t->at[find(t, tid)] = (struct tid_entry){ tid, object };
	t->used++;
}

void
tid_table_drop(struct tid_table *t, uint32_t tid)
{
	uint32_t mask = t->cap - 1, hole, i, home;

	if (tid_table_get(t, tid) == NULL) {
		return;
	}
	hole = find(t, tid);
	for (i = (hole + 1) & mask; t->at[i].object != NULL;
	    i = (i + 1) & mask) {
		home = home_of(t, t->at[i].tid);
		/* may it move back to the hole without passing its home? */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			t->at[hole] = t->at[i];
			hole = i;
		}
	}
	t->at[hole].object = NULL;
	t->used--;
}

void *
tid_table_any(const struct tid_table *t, uint32_t *place, uint32_t *tid)
{
	for (; *place < t->cap; ++*place) {
		if (t->at[*place].object != NULL) {
			*tid = t->at[*place].tid;
			return t->at[*place].object;
		}
	}
	return NULL;
}
