/*
 * mboxlock - have an mbox file to oneself: open it, and lock it in the two ways
 * that programs on Debian agree on, fcntl() first, then NAME.lock beside it
 * (Policy, 11.6). Blocks, for a bounded time: for workers.
 *
 * The directory may be one where others may make files (sticky or not). So
 * what stands under the name is looked at before and after it is opened, and
 * used only when it is a regular file of the user's with one link; a link is
 * never followed, a FIFO or a device never waited for. What is not there is
 * made with O_EXCL.
 *
 * Neither lock is waited for inside the kernel, and one is never kept while the
 * other is waited for: all are tried, and dropped, until the time is over.
 *
 * NAME.lock holds "PID\n", has the mode MBOXLOCK_MODE, by which ours are known
 * from the moment that they are made, and is itself locked by fcntl() as long as
 * its maker lives. So one whose maker was killed is removed at once; any other
 * lock when it is older than MBOXLOCK_STALE_S. Who removes it must have its
 * fcntl() lock, as must its maker before it counts, and both look then whether
 * it is still what stands there by name: so no lock is taken away from one who
 * has it.
 */
#ifndef LOCAL_MBOXLOCK_H
#define LOCAL_MBOXLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/outcome.h"

#define MBOXLOCK_WAIT_MS 10000 /* at most, for both locks */
#define MBOXLOCK_STALE_S 300   /* as liblockfile */
#define MBOXLOCK_SUFFIX  ".lock"
#define MBOXLOCK_MODE    0604  /* no other program's; needs a umask that lets it */

struct mboxlock {
	int dir;           /* borrowed */
	const char *name;  /* borrowed: of the file in it */
	const char *shown; /* borrowed: what people call it */
	gid_t group;       /* of a file that is made, which it may write to;
	                      (gid_t)-1: it gets none, and the mode 0600 */
	uint64_t wait_ms;
	char *lockname;
	int fd;            /* the mailbox, read and write; -1: not locked */
	int lock;          /* NAME.lock, or -1 */
};

/* Borrows the texts. */
void mboxlock_init(struct mboxlock *l, int dir, const char *name,
    const char *shown);
void mboxlock_clear(struct mboxlock *l);
/* Lock it; `fd' is then open. False: `o' is deferred and says why. */
bool mboxlock_take(struct mboxlock *l, struct outcome *o);
/* Closes `fd'. */
void mboxlock_release(struct mboxlock *l);

#endif
