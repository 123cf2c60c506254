#include "config.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/xmalloc.h"
#include "tests/unit/points.h"
#include "tests/unit/unit.h"

static struct io_hit *hit;
static void *tree;
static size_t counts[POINTS_KINDS];

void
points_begin(void)
{
	hit = mmap(NULL, sizeof(*hit), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(hit != MAP_FAILED);
	io_plan_watch(hit);
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* What the plan did there; false: nothing. */
static bool
what_happened(const struct io_plan *plan, enum points_kind *kind)
{
	switch (plan->kind) {
	case IO_PLAN_KILL:
		*kind = POINTS_KILL;
		return true;
	case IO_PLAN_TORN:
		*kind = hit->half ? POINTS_TORN : POINTS_KILL;
		return true;
	case IO_PLAN_FAIL:
		*kind = POINTS_FAULT;
		return true;
	case IO_PLAN_SHORT:
		*kind = POINTS_FAULT;
		return hit->half || plan->error != 0;
	case IO_PLAN_NONE:
		return false;
	}
	return false;
}

bool
points_add(const char *path, const struct io_plan *plan)
{
	enum points_kind kind;
	char text[256], *mine;
	int n;

	if (hit->site[0] == '\0' || !what_happened(plan, &kind)) {
		return false;
	}
	n = snprintf(text, sizeof(text), "%s|%d %d %d %d|%s|%u", path, kind,
	    kind == POINTS_FAULT && hit->half, plan->error, plan->stay,
	    hit->site, plan->n);
	assert_true(n > 0 && (size_t)n < sizeof(text));
	mine = xstrdup(text);
	if (*(char **)tsearch(mine, &tree, by_text) != mine) {
		free(mine);
		return false;
	}
	counts[kind]++;
	return true;
}

size_t
points_count(enum points_kind kind)
{
	return counts[kind];
}

size_t
points_total(void)
{
	return counts[POINTS_KILL] + counts[POINTS_TORN] + counts[POINTS_FAULT];
}

void
points_print(const char *name, size_t lost)
{
	print_message("crash: %s: %zu distinct points (kill %zu, torn write "
	    "%zu, fault %zu), %zu lost\n", name, points_total(),
	    counts[POINTS_KILL], counts[POINTS_TORN], counts[POINTS_FAULT],
	    lost);
}
