#include "config.h"

#include <stdlib.h>
#include <sys/random.h>

#include "cleanup/rcpt_set.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define FEW 8 /* up to here it is faster to look at each */

void
rcpt_set_init(struct rcpt_set *s)
{
	*s = (struct rcpt_set){ 0 };
}

void
rcpt_set_clear(struct rcpt_set *s)
{
	strbuf_clear(&s->keys);
	free(s->end);
	free(s->table);
	rcpt_set_init(s);
}

static struct slice
key_at(const struct rcpt_set *s, uint32_t i)
{
	uint32_t from = i == 0 ? 0 : s->end[i - 1];

	return slice_make(s->keys.p + from, s->end[i] - from);
}

/* The place of `key' in the table, or the free one where it belongs. */
static uint32_t *
place_of(const struct rcpt_set *s, struct slice key)
{
	uint64_t at = siphash24(s->hash_key, key.p, key.n);

	for (;; at++) {
		uint32_t *place = &s->table[at & (s->table_cap - 1)];

		if (*place == 0 || slice_eq(key_at(s, *place - 1), key)) {
			return place;
		}
	}
}

/* Make the table twice as large as is needed now. */
static void
rehash(struct rcpt_set *s)
{
	uint32_t i;

	if (!s->keyed) {
		if (getrandom(s->hash_key, sizeof(s->hash_key), 0) !=
		    (ssize_t)sizeof(s->hash_key)) {
			log_panic("rcpt_set: no random octets");
		}
		s->keyed = true;
	}
	free(s->table);
	s->table_cap = s->table_cap == 0 ? 8 * FEW : 2 * s->table_cap;
	s->table = xcalloc(s->table_cap, sizeof(*s->table));
	for (i = 0; i < s->n; i++) {
		*place_of(s, key_at(s, i)) = i + 1;
	}
}

static bool
is_there(const struct rcpt_set *s, struct slice key)
{
	uint32_t i;

	if (s->table != NULL) {
		return *place_of(s, key) != 0;
	}
	for (i = 0; i < s->n; i++) {
		if (slice_eq(key_at(s, i), key)) {
			return true;
		}
	}
	return false;
}

bool
rcpt_set_add(struct rcpt_set *s, struct slice key)
{
	if (is_there(s, key)) {
		return false;
	}
	if (s->n == s->cap) {
		s->cap = s->cap == 0 ? 4 : s->cap * 2;
		s->end = xreallocarray(s->end, s->cap, sizeof(*s->end));
	}
	(void)strbuf_add_slice(&s->keys, key);
	s->end[s->n++] = (uint32_t)s->keys.n;
	if (s->table != NULL && s->n <= s->table_cap / 2) {
		*place_of(s, key) = s->n;
	} else if (s->n > FEW) {
		rehash(s);
	}
	return true;
}
