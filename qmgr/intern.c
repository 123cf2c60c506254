#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/intern.h"

#define FIRST_CAP 64 /* numbers and buckets; a power of two */

void
intern_init(struct intern *in, const unsigned char key[SIPHASH_KEY])
{
	*in = (struct intern){ .cap = FIRST_CAP, .used = 1 };
	memcpy(in->key, key, SIPHASH_KEY);
	in->texts = xcalloc(in->cap, sizeof(*in->texts));
	in->buckets = xcalloc(in->cap, sizeof(*in->buckets));
}

void
intern_clear(struct intern *in)
{
	uint32_t i;

	for (i = 1; i < in->used; i++) {
		free(in->texts[i].p);
	}
	free(in->texts);
	free(in->buckets);
}

static uint32_t *
bucket_of(const struct intern *in, struct slice text)
{
	return &in->buckets[siphash24(in->key, text.p, text.n) &
	    (in->cap - 1)];
}

static void
grow(struct intern *in)
{
	uint32_t i, *b;

	in->texts = xreallocarray(in->texts, in->cap * 2u, sizeof(*in->texts));
	free(in->buckets);
	in->cap *= 2;
	in->buckets = xcalloc(in->cap, sizeof(*in->buckets));
	for (i = 1; i < in->used; i++) { /* all are taken */
		b = bucket_of(in, intern_get(in, i));
		in->texts[i].next = *b;
		*b = i;
	}
}

/* A number that is nobody's; 0: none. */
static uint32_t
fresh_number(struct intern *in)
{
	uint32_t number = in->free;

	if (number != 0) {
		in->free = in->texts[number].next;
		return number;
	}
	if (in->used > INTERN_TEXTS) {
		return 0;
	}
	if (in->used == in->cap) {
		grow(in);
	}
	return in->used++;
}

uint32_t
intern_add(struct intern *in, struct slice text)
{
	uint32_t *b = bucket_of(in, text), i;

	for (i = *b; i != 0; i = in->texts[i].next) {
		if (slice_eq(intern_get(in, i), text)) {
			in->texts[i].refs++;
			return i;
		}
	}
	if (text.n > INTERN_OCTETS - in->octets) {
		return 0;
	}
	i = fresh_number(in);
	if (i == 0) {
		return 0;
	}
	b = bucket_of(in, text); /* they may have grown */
	in->texts[i] = (struct intern_text){ .p = xslicedup(text),
		.n = (uint32_t)text.n, .refs = 1, .next = *b };
	*b = i;
	in->octets += text.n;
	return i;
}

void
intern_drop(struct intern *in, uint32_t number)
{
	struct intern_text *t = &in->texts[number];
	uint32_t *at;

	if (number == 0 || --t->refs > 0) {
		return;
	}
	at = bucket_of(in, intern_get(in, number));
	while (*at != number) {
		at = &in->texts[*at].next;
	}
	*at = t->next;
	in->octets -= t->n;
	free(t->p);
	*t = (struct intern_text){ .next = in->free };
	in->free = number;
}

struct slice
intern_get(const struct intern *in, uint32_t number)
{
	return number == 0 ? SL("") :
	    slice_make(in->texts[number].p, in->texts[number].n);
}

uint32_t
intern_end(const struct intern *in)
{
	return in->used;
}
