/*
 * crash - what the tests share that kill the code under test in a child, or pull
 * the plug: a child and the trail of what it promised, and what was lost.
 */
#ifndef TESTS_UNIT_CRASH_H
#define TESTS_UNIT_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "tests/unit/power_cut.h"

#define CRASH_LINE 128

/* So far. */
extern struct crash_counts {
	size_t restarts; /* points while recovering from another */
	size_t cuts;     /* power cuts */
	size_t lost;
} crash;

/* "power cut (names)" and so on. */
extern const char *const crash_cut_names[CUT_VARIANTS];

/* VEREDUS_LONG: all of it, not samples. */
bool crash_long(void);
/* Prepare this process: scratch directories in memory, nothing on stderr, the
   deadline of deadline.h. */
void crash_begin(unsigned deadline_s);
/* Count and say a loss; VEREDUS_FAIL_FAST (check-mutants): and exit. */
void crash_lost(const char *story, const char *what, unsigned n,
    const char *why);
/* The lines that tests/run shows, after points_print(). */
void crash_print(const char *name);

struct crash_child {
	pid_t pid;
	FILE *trail;
};
/* Forks. In the child: the descriptor for its trail, lines of what it has
   promised. In the parent: -1. */
int crash_fork(struct crash_child *c);
/* The next whole line of the trail: one that a kill has cut does not count.
   False: no more will come. */
bool crash_line(struct crash_child *c, char line[CRASH_LINE]);
/* Its wait status. */
int crash_end(struct crash_child *c);
bool crash_was_killed(int status);

#endif
