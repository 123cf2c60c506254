/*
 * under - run a check as another account, in a child that does nothing else.
 *
 * The child drops to the account for good (when started by root), closes what
 * it does not need, calls `check' and ends. So what an administrator's files
 * hold is parsed without rights, and what that account cannot open is found.
 */
#ifndef COMMON_UNDER_H
#define COMMON_UNDER_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/strbuf.h"

/* The child's part: true when all is well; else lines in `why'. */
typedef bool under_check(void *arg, struct strbuf *why);

struct under_work {
	const char *user;
	/* May be NULL. Still has all rights: opens, but reads nothing. */
	void (*prepare)(void *arg);
	under_check *check;
	void *arg;
};

/*
 * Start it. Returns the read end of a pipe (close-on-exec) that carries one
 * octet, 'Y' or 'N', the text, and then the end; or -1 with errno. The caller
 * reaps *pid.
 */
int under_start(const struct under_work *w, pid_t *pid);
/* Parse what came through the pipe. False when the child died on the way or
   said no; the words are appended to `why'. */
bool under_verdict(struct slice got, struct strbuf *why);
/* All of it, waiting for the child. Blocks. */
bool under_run(const struct under_work *w, struct strbuf *why);

#endif
