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

#include "common/slice.h"
#include "common/strbuf.h"
#include "common/outcome.h"

#define MAILDIR_BATCH 64 /* messages that share a flush of new/ */

struct maildir {
	int home;            /* borrowed: the user's home */
	const char *mailbox; /* borrowed: "Maildir/" */
	struct slice host;   /* borrowed: ends the names */
	int base, tmp, new, cur; /* -1: not open */
	bool checked;        /* in this batch: they are what they were */
	struct strbuf work, piece;
	struct seen {        /* what was there before us: hashes of names */
		uint64_t *at;
		size_t n, cap;
		bool known;
	} seen;
};

/* A message for this mailbox. Content has CRLF lines. */
struct maildir_message {
	uint64_t qid, arrived_us;
	uint32_t index;
	bool again;       /* an earlier attempt may have delivered it */
	struct slice reverse_path, address, original;
	struct slice content; /* all of it, when fd is -1 */
	int fd;           /* else: a file, `size' octets from `offset'; borrowed */
	uint64_t offset, size;
};

/* A message between its tmp file and its place in new/. */
struct maildir_pending {
	enum {
		MAILDIR_DONE,    /* the outcome is final */
		MAILDIR_WRITTEN, /* tmp file written and open as fd */
		MAILDIR_MOVED,   /* in new/, not yet flushed */
		MAILDIR_IN_CUR,  /* found in cur/, to be flushed */
	} state;
	int fd;
	bool found; /* it was there already */
	struct strbuf name, tmp;
	struct outcome outcome; /* while not DONE: undefined */
};

/*
 * `home' is the open home directory, `mailbox' a path below it that ends in a
 * slash, `host' our name. All are borrowed.
 */
void maildir_init(struct maildir *m, int home, const char *mailbox,
    struct slice host);
void maildir_clear(struct maildir *m);

/* Is this value of home_mailbox one that we can use? Else `o' says why not. */
bool maildir_mailbox_ok(const char *mailbox, struct outcome *o);

/* Write the message to tmp/, or find that there is nothing to write. */
void maildir_write(struct maildir *m, const struct maildir_message *msg,
    struct maildir_pending *p);
/* Make `n' pending messages durable; each has its outcome then. */
void maildir_finish(struct maildir *m, struct maildir_pending *ps, size_t n);
void maildir_pending_clear(struct maildir_pending *p);

#endif
