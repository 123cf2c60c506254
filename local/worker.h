/*
 * worker - delivers into one user's mailbox, as that user.
 *
 * Reads JOBs from the dispatcher (blocking; it has nothing else to do), treats
 * all that are in the socket as one batch (maildir.h), answers each with a
 * JOB_RESULT, and ends when the dispatcher closes the socket.
 */
#ifndef LOCAL_WORKER_H
#define LOCAL_WORKER_H

#include "common/slice.h"
#include "common/outcome.h"

struct worker_config {
	int sock;            /* to the dispatcher */
	int home;            /* the open home directory */
	const char *mailbox; /* home_mailbox */
	struct slice host;   /* myhostname */
};

/* Serve until the end; returns the exit code (sysexits.h). */
int worker_serve(const struct worker_config *cfg);

/* WORKER_FAILED: this process cannot be the user; `o' is the fate of its jobs.
   For use instead of worker_serve(). */
void worker_refuse(int sock, const struct outcome *o);

#endif
