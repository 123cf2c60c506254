/*
 * spool_life - what the crash tests let a spool go through, and the trail of
 * intents and promises that it leaves (spool_ledger.h).
 */
#ifndef TESTS_UNIT_SPOOL_LIFE_H
#define TESTS_UNIT_SPOOL_LIFE_H

#include "tests/unit/spool_ledger.h"

struct life {
	struct kit kit;
	int pipe;               /* the trail goes here, too; -1: nowhere */
	struct ledger *ledger;  /* and here, unless NULL */
	const char *broken;     /* an answer that cannot be true */
	bool faults;            /* operations fail: they are tried again */
	bool stay;              /* and go on failing: given up */
	bool dead;              /* a call failed for good: the rest is skipped */
	size_t ngroups, errors;
	uint64_t seed;          /* of life_random() */
};

typedef void life_story(struct life *l);
/* One call at a time: small and large, fates, hold, delete, groups, restart. */
void life_serial(struct life *l);
/* Many at once. */
void life_crowd(struct life *l);
/* More than a small ring holds, over a restart. */
void life_full(struct life *l);
/* This and that; needs the ledger, and goes on from what it knows. */
void life_random(struct life *l);

#endif
