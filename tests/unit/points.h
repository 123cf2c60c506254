/*
 * points - the distinct crash and fault points that a test has tried: (path,
 * what happens, call site, N). What the plan did is taken from common/io
 * itself, also when it has killed a child, so that a plan that changed nothing
 * (a short write at an unlink) counts as none, a torn write at an unlink as the
 * plain kill that it is, and the same point tried twice counts once.
 */
#ifndef TESTS_UNIT_POINTS_H
#define TESTS_UNIT_POINTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/io.h"

enum points_kind {
	POINTS_KILL,  /* before an operation */
	POINTS_TORN,  /* within a write */
	POINTS_FAULT, /* an operation fails, or is short */
	POINTS_KINDS,
};

/* Before the first plan: from here on plans are watched. */
void points_begin(void);
/*
 * After `plan' was in force, in this process or in a child forked after
 * points_begin(), and before the next: counts what it hit. `path' is the way
 * that led there. Returns whether that was a point nobody has tried before.
 */
bool points_add(const char *path, const struct io_plan *plan);
size_t points_count(enum points_kind kind);
size_t points_total(void);
/* One line, as tests/run shows it: "crash: NAME: 700 distinct points (...)". */
void points_print(const char *name, size_t lost);

#endif
