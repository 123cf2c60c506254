/*
 * sandbox_acts - what walls forbid, as a table of small acts to try. Each runs
 * in a child of its own that has entered the walls; the arguments are such that
 * an act which gets through does no harm.
 */
#ifndef COMMON_SANDBOX_ACTS_H
#define COMMON_SANDBOX_ACTS_H

#include <stddef.h>

#include "common/sandbox_impl.h"

/* A directory, mode 0777, with a file "f" in it, mode 0666; and the directory
   above the first path of the request. */
struct sandbox_place {
	char dir[64], file[80], other[80], above[4096];
};

enum sandbox_where {
	AT_NOWHERE, /* not about a path */
	AT_ETC, AT_ROOT, AT_PROC, AT_DEV,
	AT_PLACE,   /* sandbox_place.dir */
	AT_ABOVE,
};

struct sandbox_act {
	const char *name;
	/* 0: done; -1: errno says why not. */
	int (*try)(const struct sandbox_place *place);
	unsigned allowed;          /* bits of enum ipc_role */
	enum sandbox_where where;
	bool writes;
};

extern const struct sandbox_act sandbox_acts[];
extern const size_t sandbox_nacts;

#endif
