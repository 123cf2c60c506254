/*
 * io_hooks - between common/io.c and the plans and records of tests. In builds
 * without hooks everything here is empty.
 */
#ifndef COMMON_IO_HOOKS_H
#define COMMON_IO_HOOKS_H

#include "common/io.h"

/* An operation about to happen, and what the plan does to it. */
struct io_call {
	enum io_op op;
	const char *site;
	int dir, dir2; /* descriptors */
	const char *name, *name2;
	int fd, flags; /* flags of open */
	off_t offset;
	size_t n; /* octets to write */
	/* the plan: */
	int error;   /* not 0: the next try is refused with it */
	bool half;   /* the first write takes half only, then `error' or `die' */
	bool die;
};

#ifdef VEREDUS_HOOKS
/* Counts the operation and asks the plan; may not return. */
void io_hook_before(struct io_call *c);
/* Records; returns `ret' with errno kept. */
int io_hook_after(struct io_call *c, int ret);
/* The plan's refusal of one try: sets errno, is used up (but see half). */
int io_hook_refuse(struct io_call *c);
_Noreturn void io_hook_die(void);
/*
 * Flushes reach the disk, unless VEREDUS_SYNC=no stands in the environment (the
 * unit tests: the kernel loses nothing at a kill, and power cuts are replayed
 * from the record).
 */
bool io_hook_syncs(void);
#else
static inline bool
io_hook_syncs(void)
{
	return true;
}

static inline void
io_hook_before(struct io_call *c)
{
	(void)c;
}

static inline int
io_hook_after(struct io_call *c, int ret)
{
	(void)c;
	return ret;
}
#endif

#endif
