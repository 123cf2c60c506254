/*
 * Chunks are never empty; chunk k's ids are all below chunk k+1's. A full chunk
 * is split: at its end when the new id is the largest of all (so that rising
 * ids fill chunks wholly), else in the middle. Neighbours that together are half
 * full are joined, so that a few old ids do not hold a chunk each.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/spool_index.h"
#include "common/xmalloc.h"

#define CHUNK_ENTRIES 510

struct spool_entry {
	uint64_t qid;
	void *p;
};

struct spool_chunk {
	size_t n;
	struct spool_entry at[CHUNK_ENTRIES];
};

void
spool_index_init(struct spool_index *ix)
{
	*ix = (struct spool_index){ 0 };
}

void
spool_index_clear(struct spool_index *ix)
{
	size_t i;

	for (i = 0; i < ix->n; i++) {
		free(ix->chunks[i]);
	}
	free(ix->chunks);
	spool_index_init(ix);
}

/* The first chunk whose last id is at or above `qid'; ix->n: none. */
static size_t
find_chunk(const struct spool_index *ix, uint64_t qid)
{
	size_t lo = 0, hi = ix->n, mid;
	const struct spool_chunk *c;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		c = ix->chunks[mid];
		if (c->at[c->n - 1].qid < qid) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

/* The first entry at or above `qid'; c->n: none. */
static size_t
find_entry(const struct spool_chunk *c, uint64_t qid)
{
	size_t lo = 0, hi = c->n, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (c->at[mid].qid < qid) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

static struct spool_chunk *
insert_chunk(struct spool_index *ix, size_t place)
{
	struct spool_chunk *c = xmalloc(sizeof(*c));

	if (ix->n == ix->cap) {
		ix->cap = ix->cap == 0 ? 16 : ix->cap * 2;
		ix->chunks = xreallocarray(ix->chunks, ix->cap,
		    sizeof(struct spool_chunk *));
	}
	memmove(ix->chunks + place + 1, ix->chunks + place,
	    (ix->n - place) * sizeof(struct spool_chunk *));
	ix->chunks[place] = c;
	ix->n++;
	c->n = 0;
	return c;
}

/* Where `qid' is to go: a chunk with room for it. */
static struct spool_chunk *
chunk_for(struct spool_index *ix, uint64_t qid)
{
	size_t k = find_chunk(ix, qid), half = CHUNK_ENTRIES / 2;
	struct spool_chunk *c, *upper;

	if (k == ix->n) { /* above all */
		if (k == 0 || ix->chunks[k - 1]->n == CHUNK_ENTRIES) {
			return insert_chunk(ix, k);
		}
		return ix->chunks[k - 1];
	}
	c = ix->chunks[k];
	if (c->n < CHUNK_ENTRIES) {
		return c;
	}
	upper = insert_chunk(ix, k + 1);
	upper->n = c->n - half;
	memcpy(upper->at, c->at + half, upper->n * sizeof(c->at[0]));
	c->n = half;
	return qid > c->at[half - 1].qid ? upper : c;
}

void **
spool_index_add(struct spool_index *ix, uint64_t qid)
{
	void **there = spool_index_find(ix, qid);
	struct spool_chunk *c;
	size_t i;

	if (there != NULL) {
		return there;
	}
	c = chunk_for(ix, qid);
	i = find_entry(c, qid);
	memmove(c->at + i + 1, c->at + i, (c->n - i) * sizeof(c->at[0]));
	c->at[i] = (struct spool_entry){ qid, NULL };
	c->n++;
	ix->entries++;
	return &c->at[i].p;
}

void **
spool_index_find(const struct spool_index *ix, uint64_t qid)
{
	size_t k = find_chunk(ix, qid), i;
	struct spool_chunk *c;

	if (k == ix->n) {
		return NULL;
	}
	c = ix->chunks[k];
	i = find_entry(c, qid);
	return i < c->n && c->at[i].qid == qid ? &c->at[i].p : NULL;
}

static void
remove_chunk(struct spool_index *ix, size_t k)
{
	free(ix->chunks[k]);
	ix->n--;
	memmove(ix->chunks + k, ix->chunks + k + 1,
	    (ix->n - k) * sizeof(struct spool_chunk *));
}

/* Join chunks k and k + 1 when there is little in them. */
static void
join_chunks(struct spool_index *ix, size_t k)
{
	struct spool_chunk *a, *b;

	if (k + 1 >= ix->n) {
		return;
	}
	a = ix->chunks[k];
	b = ix->chunks[k + 1];
	if (a->n + b->n <= CHUNK_ENTRIES / 2) {
		memcpy(a->at + a->n, b->at, b->n * sizeof(a->at[0]));
		a->n += b->n;
		remove_chunk(ix, k + 1);
	}
}

bool
spool_index_drop(struct spool_index *ix, uint64_t qid)
{
	size_t k = find_chunk(ix, qid), i;
	struct spool_chunk *c;

	if (k == ix->n) {
		return false;
	}
	c = ix->chunks[k];
	i = find_entry(c, qid);
	if (i == c->n || c->at[i].qid != qid) {
		return false;
	}
	memmove(c->at + i, c->at + i + 1, (c->n - i - 1) * sizeof(c->at[0]));
	ix->entries--;
	if (--c->n == 0) {
		remove_chunk(ix, k);
	} else if (c->n < CHUNK_ENTRIES / 4) {
		join_chunks(ix, k);
		join_chunks(ix, k > 0 ? k - 1 : ix->n);
	}
	return true;
}

size_t
spool_index_list(const struct spool_index *ix, uint64_t after, uint64_t *out,
    size_t max)
{
	size_t k, i, n = 0;

	if (after == UINT64_MAX) {
		return 0;
	}
	k = find_chunk(ix, after + 1);
	i = k < ix->n ? find_entry(ix->chunks[k], after + 1) : 0;
	for (; k < ix->n && n < max; k++, i = 0) {
		for (; i < ix->chunks[k]->n && n < max; i++) {
			out[n++] = ix->chunks[k]->at[i].qid;
		}
	}
	return n;
}

void **
spool_index_each(const struct spool_index *ix, struct spool_index_at *at)
{
	if (at->chunk < ix->n && at->entry == ix->chunks[at->chunk]->n) {
		at->chunk++;
		at->entry = 0;
	}
	return at->chunk < ix->n ?
	    &ix->chunks[at->chunk]->at[at->entry++].p : NULL;
}

uint64_t
spool_index_last(const struct spool_index *ix)
{
	const struct spool_chunk *c;

	if (ix->n == 0) {
		return 0;
	}
	c = ix->chunks[ix->n - 1];
	return c->at[c->n - 1].qid;
}
