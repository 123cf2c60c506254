/*
 * intern - texts that many messages share (destinations, senders), each kept
 * once and known by a number. Pure memory.
 *
 * Strangers choose these texts, so there are limits: INTERN_TEXTS of them,
 * INTERN_OCTETS in all. What does not fit has the number 0, whose text is
 * empty; its owner does not know it apart from others any more.
 */
#ifndef QMGR_INTERN_H
#define QMGR_INTERN_H

#include <stddef.h>
#include <stdint.h>

#include "common/siphash.h"
#include "common/slice.h"

#define INTERN_TEXTS  65536
#define INTERN_OCTETS (4 * 1024 * 1024)

struct intern {
	struct intern_text {
		char *p;        /* NULL: a free number */
		uint32_t n, refs;
		uint32_t next;  /* in its bucket, or free */
	} *texts;               /* by number; [0] is nobody's */
	uint32_t *buckets;
	uint32_t cap, used, free; /* numbers: allocated, given once, free list */
	size_t octets;
	unsigned char key[SIPHASH_KEY];
};

void intern_init(struct intern *in, const unsigned char key[SIPHASH_KEY]);
void intern_clear(struct intern *in);
/* The number of a text, with one more reference; 0: the tables are full. */
uint32_t intern_add(struct intern *in, struct slice text);
/* One reference less; 0 is fine. */
void intern_drop(struct intern *in, uint32_t number);
/* Borrowed while there is a reference; empty for 0. */
struct slice intern_get(const struct intern *in, uint32_t number);
/* All numbers are below this. */
uint32_t intern_end(const struct intern *in);

#endif
