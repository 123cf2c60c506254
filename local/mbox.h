/*
 * mbox - deliver into an mbox file, durably, in batches. Blocks: runs in a
 * worker, as the user, behind its walls. The format is in mboxtext.h, the locks
 * are in mboxlock.h.
 *
 * A batch is written behind the end of the locked file, each message with NUL
 * in place of its very first octet, the "F" of "From "; it is flushed; these
 * octets are written, from the first message to the last, and flushed; then the
 * locks are given up, and only then it is delivered. So a message is mail when
 * all of it is on the disk, and each end of a file can be told from a crash:
 *
 *   left behind                           the next delivery
 *   messages that begin with NUL, whole   cuts them off
 *     or not, behind all others
 *   whole messages, not yet reported      the next attempt (`again') finds its
 *                                         X-Veredus-Id: "delivered"
 *   no blank line at the end (another     begins with one, so that nothing
 *     program's, or of an older life)     merges
 *   NAME.lock                             removes it (mboxlock.h)
 *
 * What fails is cut off: one message when it cannot be written or would make
 * the file larger than its limit, the whole batch when it cannot be flushed.
 * Where even that fails the file is left as after a crash.
 *
 * Known limits: an attempt after a crash finds what is in the file, not what
 * the user has moved elsewhere meanwhile, nor what stands farther than
 * MBOX_LOOK_BACK from the end; that is delivered twice. A program that heeds
 * only one of the locks and writes behind what a crash left keeps it from being
 * cut off; it stays at the end of the message before. So does a message whose
 * one octet a power cut has lost while it has kept that of one behind it, and
 * what is left where the file system has kept the size without the contents.
 */
#ifndef LOCAL_MBOX_H
#define LOCAL_MBOX_H

#include <sys/stat.h>

#include "local/delivery.h"
#include "local/mboxlock.h"

#define MBOX_LOOK_BACK (256 * 1024 * 1024) /* octets */

struct mbox_id {
	uint64_t qid;
	uint32_t index;
};

struct mbox {
	struct mboxlock lock; /* set group and wait_ms after mbox_init() */
	uint64_t limit;       /* octets of the file; 0: none */
	struct strbuf work, piece;
	/* the batch: */
	bool begun, refused;  /* refused: `why' is the outcome of all of it */
	bool spoilt;          /* something could not be cut off */
	struct outcome why;
	uint64_t start, at;   /* the end of the file: before, now */
	unsigned blanks;      /* LFs that a blank line before it lacks */
	/* from batch to batch: */
	struct stat left;     /* the file as we left it: it ends in
	                         a blank line */
	struct {              /* what is in it, sorted */
		struct mbox_id *at;
		size_t n, cap;
		bool known;
	} ids;
};

/* The file `name' in the directory `dir'; all are borrowed. */
void mbox_init(struct mbox *m, int dir, const char *name, const char *shown);
void mbox_clear(struct mbox *m);

/* Write behind the end, or find that there is nothing to write. The first of a
   batch takes the locks. */
void mbox_write(struct mbox *m, const struct delivery *d, struct pending *p);
/* Make the batch mail, and give up the locks; each has its outcome then. */
void mbox_finish(struct mbox *m, struct pending *ps, size_t n);

/* -- mbox_look.c: what is there from before. For mbox.c only. ---------------- */

/*
 * Look at the end of the locked file of `*size' octets: cut off what a crash
 * has left, and say how many LFs a blank line lacks. False: `o' says why not.
 */
bool mbox_look(struct mbox *m, uint64_t *size, unsigned *blanks,
    struct outcome *o);
/* Is the delivery in the file? Reads it once, until it is changed by others.
   -1: it cannot be known, `o' says why. */
int mbox_find(struct mbox *m, const struct delivery *d, struct outcome *o);

#endif
