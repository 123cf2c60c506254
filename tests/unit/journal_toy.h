/*
 * journal_toy - the least that can own a journal: a set of numbered things that
 * are put and dropped, each by an entry. A thing that would hold the oldest
 * segment is put again. What it intends (p, d) and what has been promised (P, D)
 * goes to a ledger, and into a pipe or the record of common/io: afterwards the
 * ledger says what must be there, and what must not.
 */
#ifndef TESTS_UNIT_JOURNAL_TOY_H
#define TESTS_UNIT_JOURNAL_TOY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/journal.h"

#define TOY_THINGS   128
#define TOY_SEGMENTS 3

enum toy_state {
	TOY_NEVER,
	TOY_TRIED,    /* put, perhaps */
	TOY_PUT,
	TOY_DROPPING, /* put, or perhaps not any more */
	TOY_DROPPED,
};

struct toy_ledger {
	enum toy_state things[TOY_THINGS];
};
/* One line of the trail. */
void toy_ledger_line(struct toy_ledger *l, const char *line);

struct toy {
	char path[64];
	int dir;
	struct event_base *base;
	struct journal *j;
	struct toy_ledger ledger;
	int pipe;               /* the trail goes there, too; -1: nowhere */
	struct toy_thing {
		bool live, moving, dropping;
		uint64_t segment; /* what is needed of the journal */
	} things[TOY_THINGS];
	size_t flying;          /* appended, not done */
	uint64_t last_lsn;
	int failed;             /* the journal has */
	bool pressed;           /* segments may go, or are to */
	bool hopeless;          /* the disk never works again: nothing done for
	                           STILL_S counts as failed */
	unsigned still;         /* seconds without an answer */
	const char *wrong;      /* what cannot be */
	size_t read;            /* entries of the last open */
};

/* A directory of its own, below TMPDIR; nothing opened. */
void toy_make(struct toy *t);
void toy_remove(struct toy *t);
/* Recover: open, copy what lives, start; where there is no room for that, go on
   with what is there. False: errno says why; closed. */
bool toy_open(struct toy *t);
/* As it is, as a crash leaves it; or (at_rest) after all was dropped. */
void toy_close(struct toy *t, bool at_rest);
void toy_put(struct toy *t, unsigned id, enum journal_class c);
void toy_drop(struct toy *t, unsigned id, enum journal_class c);
/* Until all that was appended is done, or the journal has failed; then lets the
   oldest segments go. */
void toy_wait(struct toy *t);
/* What is there, after an open: NULL, or what is wrong with it. */
const char *toy_check(const struct toy *t);
/* Files below journal/ (`bad': those kept aside). */
size_t toy_files(const struct toy *t, bool bad);

/* The stories: with restarts; the last close is at rest. The toy is open before
   and closed after, also when it breaks off: a start that fails is tried again a
   few times, `stay' says that this is of no use. */
typedef void toy_story(struct toy *t, bool stay);
void toy_serial(struct toy *t, bool stay);
void toy_crowd(struct toy *t, bool stay);
/* With starts on a disk that is full. */
void toy_full(struct toy *t, bool stay);
/* The disk is full, from now on: not even a copy finds room. Or not any more. */
void toy_disk_full(bool full);

#endif
