/*
 * maildir - deliver into a Maildir, durably, in batches. Blocks: runs in a
 * worker, as the user, behind its walls.
 *
 * A message becomes tmp/NAME.PID, is flushed, renamed to new/NAME, and new/ is
 * flushed once for the batch; only then it is delivered. NAME is made from the
 * message and the recipient (mailtext.h), so what a crash leaves is recognised:
 *
 *   left behind                     the next attempt (`again')
 *   tmp/NAME.PID, whole or not      removes it, delivers
 *   new/NAME, not yet durable       flushes new/, "delivered"
 *   cur/NAME:2,flags (was read)     flushes cur/, "delivered"
 *
 * A plain rename may replace a file of the same name: that would be the same
 * message, delivered by a worker that was given up and lives yet.
 *
 * Directories are opened once and used by *at() calls; a Maildir that the user
 * replaces meanwhile is noticed at the next batch. The Maildir itself may be a
 * symbolic link (Landlock bounds where it leads); tmp, new and cur may not, and
 * all of them must be directories of the user.
 */
#ifndef LOCAL_MAILDIR_H
#define LOCAL_MAILDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "local/delivery.h"

#define MAILDIR_NOWN 3

struct maildir {
	int home;            /* borrowed: the user's home */
	const char *mailbox; /* borrowed: "Maildir/" */
	struct slice host;   /* borrowed: ends the names */
	int base, tmp, new, cur; /* -1: not open */
	struct {
		dev_t dev;
		ino_t ino;
	} own[MAILDIR_NOWN]; /* of the last three: what stood there by name */
	bool checked;        /* in this batch: they are what they were */
	struct strbuf work, piece;
	struct seen {        /* what was there before us: hashes of names */
		uint64_t *at;
		size_t n, cap;
		bool known;
	} seen;
};

/*
 * `home' is the open home directory, `mailbox' a path below it that ends in a
 * slash, `host' our name. All are borrowed.
 */
void maildir_init(struct maildir *m, int home, const char *mailbox,
    struct slice host);
void maildir_clear(struct maildir *m);

/* Write the message to tmp/, or find that there is nothing to write. */
void maildir_write(struct maildir *m, const struct delivery *msg,
    struct pending *p);
/* Make `n' pending messages durable; each has its outcome then. */
void maildir_finish(struct maildir *m, struct pending *ps, size_t n);

#endif
