/*
 * become - a forked child of the forker turns into the user's worker: looks the
 * name up, drops root for good, enters the home and the walls, serves.
 */
#ifndef LOCAL_BECOME_H
#define LOCAL_BECOME_H

#include "common/account.h"
#include "common/settings.h"
#include "common/outcome.h"

struct become {
	const struct settings *settings; /* the forker's */
	const char *name;                /* checked by record_decode() */
	int sock;                        /* to the dispatcher */
};

/*
 * Everything up to the end of the worker. Never root when it reads its first
 * job; when it cannot be the user it says WORKER_FAILED. Returns the exit code.
 */
int become_worker(const struct become *b);

/*
 * May this account be delivered to by a process with our rights (euid)?
 * False: *o says why not. Pure.
 */
bool become_allowed(const char *name, const struct account *a, unsigned euid,
    struct outcome *o);

#endif
