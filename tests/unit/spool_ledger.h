/*
 * spool_ledger - what a run against the spool has tried and what the spool has
 * promised, line by line, and whether a spool keeps it. Lines (Q a queue id as
 * a decimal number, G a number of a group):
 *
 *   a Q SIZE NRCPTS   an accept begins        A Q  accepted
 *   N Q               refused: not queued
 *   f Q INDEX DONE    a fate begins           F Q INDEX DONE  recorded
 *   h Q ON            a hold begins           H Q ON          recorded
 *   d Q               a removal begins        D Q             gone
 *   g G Q MASK        a group of the parent Q begins: recipients MASK
 *   c G Q SIZE        one of its children     K G             it has happened
 *   m Q               a crash mark begins     M Q             recorded
 * After a check (ledger_adopt) what was open is known:
 *   p Q DONE WHAT     it is there: recipients done; crash marks times 2, plus hold
 *   x Q               it is not               z 0             no group is open
 */
#ifndef TESTS_UNIT_SPOOL_LEDGER_H
#define TESTS_UNIT_SPOOL_LEDGER_H

#include "tests/unit/spool_kit.h"

#define LEDGER_MAIL  96
#define LEDGER_RCPTS 4

struct ledger_mail {
	uint64_t qid;
	size_t size;
	uint32_t nrcpts;
	bool accepted, refused, going, gone;
	uint32_t maybe_done, done; /* recipients: bits */
	bool hold_known[2], hold_maybe[2];
	uint32_t marks, marks_maybe; /* crash marks: at least, at most */
	int group; /* that it is a child of; -1: none */
	bool here; /* found by ledger_check() */
};

struct ledger {
	struct ledger_mail mail[LEDGER_MAIL];
	size_t nmail;
	struct ledger_group {
		uint64_t parent;
		uint32_t mask;
		bool happened;
	} groups[16];
	size_t ngroups;
	/* a refused message may be back after a failed flush of a directory */
	bool lenient;
};

void ledger_line(struct ledger *l, const char *line);
/* NULL: all promises are kept; else which is not. Static text. */
const char *ledger_check(struct ledger *l, struct kit *k);
/* After a good check: say (`p', `x', `z') what is there, into the ledger by its
   lines, too. */
void ledger_adopt(struct ledger *l, struct kit *k,
    void (*say)(void *arg, const char *line), void *arg);
/* Deliver all that is there; NULL, or what went wrong. */
const char *ledger_run_down(struct kit *k);

#endif
