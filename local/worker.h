/*
 * worker - delivers into one user's mailbox, as that user.
 *
 * Reads JOBs from the dispatcher (blocking; it has nothing else to do), treats
 * all that are in the socket as one batch (maildir.h, mbox.h), answers each with
 * a JOB_RESULT, and ends when the dispatcher closes the socket.
 */
#ifndef LOCAL_WORKER_H
#define LOCAL_WORKER_H

#include <stdint.h>
#include <sys/types.h>

#include "common/outcome.h"
#include "common/slice.h"

struct worker_config {
	int sock;            /* to the dispatcher */
	int dir;             /* the open home or mail spool directory */
	const char *mailbox; /* a path in it; a slash at its end: a Maildir */
	const char *shown;   /* what people call it */
	struct slice host;   /* myhostname */
	uint64_t limit;      /* mailbox_size_limit, of an mbox */
	uint64_t lock_wait_ms; /* for the locks of an mbox, at most */
	gid_t group;         /* of a fresh mbox; (gid_t)-1: the user's own */
};

/* Serve until the end; returns the exit code (sysexits.h). */
int worker_serve(const struct worker_config *cfg);

/* WORKER_FAILED: this process cannot be the user; `o' is the fate of its jobs.
   For use instead of worker_serve(). */
void worker_refuse(int sock, const struct outcome *o);

#endif
