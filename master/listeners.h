/*
 * listeners - the sockets that others connect to: bound here, handed down.
 * Opened by plan, so that a reload binds what is new before anything changes.
 */
#ifndef MASTER_LISTENERS_H
#define MASTER_LISTENERS_H

#include "master/master.h"
#include "master/program.h"

struct listener {
	struct listener *next;
	const struct program_listener *row;
	char name[128]; /* "127.0.0.1:25", or the socket's path */
	int fd;
	bool keep;      /* wanted by the plan under way */
	uint64_t dev, ino; /* of a UNIX socket: only that one is unlinked */
};

/*
 * Bind what `s' wants and m does not have; *fresh is what was bound. False:
 * nothing is, `why' has a line, errno is EADDRINUSE when somebody else listens
 * there. Then commit or abort.
 */
bool listeners_plan(struct master *m, const struct settings *s,
    struct listener **fresh, struct strbuf *why);
/* m has what the plan wanted, and no more. True when smtpd's set changed. */
bool listeners_commit(struct master *m, struct listener *fresh);
void listeners_abort(struct listener *fresh);
/* Close all and remove the sockets' names. */
void listeners_close(struct master *m);

#endif
