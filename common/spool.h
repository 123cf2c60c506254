/*
 * spool - accepted mail on disk; cleanup is its one writer and reader.
 *
 * Asynchronous: each call returns at once, the answer comes by callback from
 * the event loop, never inside the call; in any order between messages, in
 * order for one message. The files are written by the committer, a thread that
 * takes all pending operations as one batch; a batch ends with one fsync of
 * each directory that it touched. Large content is written, and files are read,
 * on two other threads, so that neither waits behind a flush. In front of the
 * files stands the journal (common/journal.h), unless it is switched off: what
 * is answered is durable there, files follow when they must.
 *
 * A message is the file queue/H/ID: ID is the queue id, H the low half of its
 * fifth base-32 digit from the right: 16 directories in turn, each for about a
 * second of new mail, so that what is committed together lies together. Format,
 * version 2, all numbers little-endian:
 *
 *   offset 0   header, SPOOL_HEADER octets: "VRDSQ\0\0\2", u64 queue id,
 *              u32 envelope octets, u64 content octets, u32 content flags,
 *              u32 CRC-32C of the envelope, u32 CRC-32C of the content,
 *              zeros, u32 CRC-32C of the header so far
 *   then       the content (CRLF lines as they go on the wire), the envelope
 *              (common/envelope.h; after the content, since content may be
 *              written before the envelope is complete), the state records
 *   a record   u32 octets of the body, u32 CRC-32C of the queue id (u64) and
 *              the body, the body: u8 kind, then
 *                SPOOL_REC_FATE   a fate_item; FATE_WARNED leaves the
 *                                 recipient as it is but for `warned'
 *                SPOOL_REC_HOLD   u8 on, slice reason
 *                SPOOL_REC_GROUP  in a child: u64 parent, u32 n, n times u64
 *                                 queue id of a child of the group, slice the
 *                                 parent's fates (records of the parent)
 *                SPOOL_REC_CRASH  u8: so often a delivery agent has died with
 *                                 the message in its hands
 *              A whole record of another kind is of a later version: skipped.
 *
 * Envelope and content never change. A damaged or cut record ends the reading
 * of records: what it would have said is "not done". The next append first
 * truncates the file to the last good record.
 *
 * States of a message, what a crash leaves, and what recovery makes of it:
 *
 *   files present         what it is                   at start
 *   .ID                   being written, no 250 said   unlinked
 *   ID                    accepted                     scheduled
 *   ID, records           some recipients done         the open ones scheduled
 *   ID, all done          (only as the parent below)   unlinked when read
 *   ID+PARENT             a child of a group whose     if the parent is gone or
 *                         fates the parent's file may  has the fates: renamed
 *                         not have yet                 to ID. Else, if all of
 *                                                      the group's children
 *                                                      exist: the fates are
 *                                                      recorded, then renamed.
 *                                                      Else: the group did not
 *                                                      happen, unlinked
 *   ID.corrupt            not readable                 counted, never deleted
 *   any other name        not ours                     reported, left alone
 *   queue/last            13 digits: ids start above   read; see spool_qid.c
 *
 * So no file but a left child's and its parent's is opened at the start.
 *
 * With a journal, its entries come before the files (enum spool_entry_kind):
 *   MESSAGE  the image of the file: header, content, envelope, no records
 *   STATE    state records           DONE  the message is removed
 *   GROUP    of the parent: its records, or that it is done, and the images of
 *            all children: one entry, so all or nothing
 * The image in a copy made by a start has records of all that the state says.
 * Content above SPOOL_INLINE_MAX, and what is too large for one entry, goes to
 * its file as without a journal; a group with such a child has its children as
 * files ID+PARENT, and its parent's fates as STATE or DONE.
 *
 * Files and entries together. "News" are STATE (GROUP) records that the file
 * may not have. The journal has a suffix of a message's history: it gives up
 * the oldest first. A fate that is final stays, of others the later attempt
 * counts, of holds the last record, of crash marks the largest number: so to
 * apply such a suffix to a state that has some of it already ends in the same
 * state, and no file need say which entry it has seen last.
 *
 *   entries           files      what it is               at start
 *   MESSAGE           none       accepted                 lives in the journal
 *   MESSAGE, news     none       some recipients done     the same, with them
 *   MESSAGE (news)    .ID        was being spilled        .ID goes, as above
 *   MESSAGE (news)    ID         spilled; the segment is  the file counts; news
 *                                not given up yet         apply to it
 *   news              ID         the file is behind       news apply to it
 *   news              ID+PARENT  the same, of a child     judged as above, with
 *                                                         the parent's news and
 *                                                         its own
 *   ..., DONE         none       removed                  nothing
 *   ..., DONE         ID,        removed; the unlink may  unlinked
 *                     ID+PARENT  not be durable
 *   MESSAGE (news)    ID.corrupt its file was damaged     lives in the journal
 *   news              none       its file was taken away  nothing
 *                                by somebody's hand
 *   GROUP             any        the parent's news (or    each as above
 *                                DONE), each child's
 *                                MESSAGE
 * An image that is not readable becomes ID.corrupt. Whoever lives or has news
 * is copied into fresh segments, which are durable before the old ones go
 * (common/journal.h); only then do children that were kept get their short
 * names. Until then a start has removed nothing but .ID, files of DONE
 * children, and children of groups that did not happen: a crash in it changes
 * nothing. When the disk is full and the free segments do not hold the copies,
 * there are none: all stays where it is in the journal, and what only the files of
 * a cut group say is added to it (common/spool_copies.c).
 *
 * A removal is answered as soon as the journal has it. When SPOOL_GOING_MAX files
 * wait to be unlinked behind it, further ones wait for room before they are
 * written, so that a million of them cost no more memory than a few thousand;
 * but not while the unlinking fails: then the ring is the bound.
 *
 * What the journal may give up: each message that an entry is needed for is
 * anchored in the segment of the oldest such entry: its MESSAGE while it has no
 * file, the first of its news, its DONE while its file may be there. Segments
 * below the first anchor go. A message that is done before it got a file never
 * costs an operation on a file.
 *
 *   settling: durable before the anchor goes   a crash before that leaves
 *   spill   write .ID with all records,        MESSAGE, with nothing, .ID or
 *           fdatasync, rename, fsync directory ID
 *   append  write the news, fdatasync          news, and ID with none, some or
 *                                              all of them, the last one cut
 *   unlink  unlink, fsync directory            DONE, with ID or without
 * Settled are: the files of what is done, at once; the oldest, when more than
 * half of the ring is in use or new messages wait for room, or memory is short;
 * all, when we end (spool_rest, spool_close): at rest the journal is empty.
 *
 * Order of operations without a journal, each durable before the next:
 *   accept  write .ID, fdatasync, rename to ID, fsync directory, answer
 *   state   append, fdatasync, answer
 *   done    unlink, fsync directory, answer (the last fate is not appended)
 *   group   accept all children as ID+PARENT; append the parent's fates and
 *           fdatasync, or unlink it and fsync the directory; rename the
 *           children to ID (need not be durable); answer and announce.
 *           From its children on a group has happened: when the parent's file
 *           cannot be written then (a full disk), the names ID+PARENT stand for
 *           its fates; no such child is removed before they are recorded.
 *
 * What fails: an error of any step gives the operation's callback its errno. A
 * message that could not be made durable is removed again: it is not queued,
 * with one exception: when the fsync of a directory fails after the rename, the
 * removal may not be durable either, and the message may be there after a power
 * cut, as a duplicate of what the client sends again. Nothing is ever answered
 * 0 on the strength of an fsync that failed before.
 * With a journal: a write or flush of it that failed is final (on_fatal).
 * Settling that failed is tried again after a second; while it fails the anchors
 * stay, so the ring fills, and new messages wait for room: until settling fails
 * for want of space, or for SPOOL_PATIENCE_MS, then they get ENOSPC. State, DONE
 * and GROUP entries have an eighth of the ring to themselves.
 *
 * A content checksum that does not match is found when the content is first
 * read from the file: the message becomes ID.corrupt, is reported, and is
 * neither delivered nor deleted.
 */
#ifndef COMMON_SPOOL_H
#define COMMON_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/envelope.h"
#include "common/slice.h"

#define SPOOL_INLINE_MAX (64 * 1024) /* octets of content handed out inline */
#define SPOOL_HEADER     64
#define SPOOL_MEMORY     (64 * 1024 * 1024)
#define SPOOL_PATIENCE_MS (30 * 1000)
#define SPOOL_GOING_MAX  4096 /* files that wait to be unlinked; see below */
#define SPOOL_UNWRITTEN_MAX (256 * 1024) /* octets; see spool_draft_add() */

struct event_base;
struct spool;

/* Kinds of children of a group. */
enum spool_child {
	SPOOL_CHILD_NONE,
	SPOOL_CHILD_REQUEUE, /* the unfinished recipients, expanded anew */
	SPOOL_CHILD_FORWARD,
	SPOOL_CHILD_NOTICE,
};

struct spool_config {
	int queue_fd;             /* the spool directory; borrowed */
	uint64_t memory_limit;    /* octets of fresh content and of decoded state
	                             kept in memory; 0: SPOOL_MEMORY */
	uint64_t (*clock_us)(void); /* NULL: CLOCK_REALTIME */
	/* The journal: see common/journal.h. 0 segments: none. */
	unsigned journal_segments;
	uint32_t journal_segment_size;
	uint64_t journal_patience_ms; /* how long a new message waits for room
	                             in it; 0: SPOOL_PATIENCE_MS */
	/* A flush of the journal failed: what waits has got the error; the
	   process is to end, so that a new start reads what is there. */
	void (*on_fatal)(void *arg, int error);
	void *on_fatal_arg;
};

/*
 * Makes what is missing below queue_fd (queue/0..f), removes leftovers, finds
 * the names. Blocks. The threads start at the first operation, so it may be
 * called before sandbox_enter(). Returns 0, or -1 with errno and a log line.
 */
int spool_open(struct event_base *base, const struct spool_config *cfg,
    struct spool **out);
/* Finishes what is in flight, without its callbacks, and settles what can be;
   frees all. Drafts must have been accepted or freed before. Not from one of
   its callbacks. */
void spool_close(struct spool *sp);
/* Operations in flight; 0: a clean stop is possible now. */
size_t spool_busy(const struct spool *sp);
/* Begin (or go on) to bring all into files; true: that is done, or cannot be, and
   spool_close() will not take long. */
bool spool_rest(struct spool *sp);

/* -- accept ---------------------------------------------------------------- */

/* A message on its way in. Owned by the caller until spool_accept(). */
struct spool_draft;

/* Gives the queue id: max(clock, last + 1); none is ever given twice. */
struct spool_draft *spool_draft_new(struct spool *sp);
uint64_t spool_draft_qid(const struct spool_draft *d);
/*
 * Add content. Up to SPOOL_INLINE_MAX it stays in memory; beyond, it is written
 * to the file by the pool. Returns octets that are not written yet: the caller
 * asks for more only when this is below SPOOL_UNWRITTEN_MAX (see
 * spool_draft_on_drained). After an error of the file it takes and drops.
 */
size_t spool_draft_add(struct spool_draft *d, struct slice piece);
/* Called once, when what was added is written, or failed (errno, else 0). */
void spool_draft_on_drained(struct spool_draft *d,
    void (*cb)(void *arg, int error), void *arg);
/* Octets of content so far. */
uint64_t spool_draft_size(const struct spool_draft *d);
/* Forget it; its file goes. Safe at any time before spool_accept(). */
void spool_draft_free(struct spool_draft *d);

/* error 0: durable. Else an errno: nothing is queued. */
typedef void spool_done_cb(void *arg, uint64_t qid, int error);

/*
 * Make it durable. Takes `d' and `e' (its contents move; *e is left empty but
 * initialised); e->qid, e->arrived_us are set here. EINVAL: no recipients, or
 * more than ENVELOPE_RCPT_MAX.
 */
void spool_accept(struct spool_draft *d, struct envelope *e, spool_done_cb *cb,
    void *arg);

/* -- state ------------------------------------------------------------------ */

/* What the spool knows of a queued message, without its content. */
struct spool_info {
	const struct envelope *envelope;
	uint64_t size;           /* octets of content */
	bool hold;
	const char *hold_reason; /* "" when none */
	/* by recipient index: */
	const struct spool_rcpt_state {
		uint32_t attempt;
		uint8_t fate;
		uint64_t next_at;
		const char *esc, *reply, *relay; /* "" when none */
		bool warned;     /* FATE_WARNED was recorded */
		char *owned;     /* the spool's */
	} *rcpts;
	uint32_t rcpts_open;
	uint8_t crashes;         /* see spool_crashed() */
};

/*
 * Read a message's envelope and state. error 0 and `info', which lives until
 * the callback returns; ENOENT: no such message; EBADMSG: it was corrupt and
 * has been set aside; other errno: try again later.
 */
typedef void spool_info_cb(void *arg, uint64_t qid, int error,
    const struct spool_info *info);
void spool_info_get(struct spool *sp, uint64_t qid, spool_info_cb *cb,
    void *arg);

/*
 * Append fates (copied). When no recipient is open afterwards the message is
 * removed; *cb's `gone' says so. Repeating the same item is harmless; so is a
 * message that is gone already (gone true, error 0). A recipient that is done
 * stays as it is. FATE_WARNED leaves it open. EINVAL: an index that the message does not have; nothing is
 * recorded then.
 */
typedef void spool_fates_cb(void *arg, uint64_t qid, int error, bool gone);
void spool_fates(struct spool *sp, uint64_t qid, const struct fate_item *items,
    size_t n, spool_fates_cb *cb, void *arg);
/* hold and delete: ENOENT when there is no such message. */
void spool_hold(struct spool *sp, uint64_t qid, bool on, struct slice reason,
    spool_done_cb *cb, void *arg);
/* A delivery agent died with the message in its hands: one more of such. */
void spool_crashed(struct spool *sp, uint64_t qid, spool_done_cb *cb,
    void *arg);
/* Remove it whole, whatever is open. */
void spool_delete(struct spool *sp, uint64_t qid, spool_done_cb *cb, void *arg);

/*
 * A group: all or nothing. `drafts' and `children' (n of each, moved as by
 * spool_accept, parent_* already set) become durable first, then the parent's
 * fates; children are announced (spool_on_accepted) only then. At least one item
 * and one child. A group whose items are all recorded already (repeated after a
 * lost answer), or whose parent is gone, makes no children: error 0.
 */
void spool_group(struct spool *sp, uint64_t parent_qid,
    const struct fate_item *items, size_t nitems, struct spool_draft **drafts,
    struct envelope *children, size_t n, spool_fates_cb *cb, void *arg);

/* -- beside the queue ------------------------------------------------------- */

#define SPOOL_KEEP_MAX 65536 /* octets */
/*
 * queue/kept, a text of qmgr's: which domains are held, which sites are dead.
 * keep: replaces it, durable when *cb has error 0; after an error it is the old
 * or the new. kept: what it is, "" when there is none; EFBIG: nobody of ours
 * wrote it.
 */
typedef void spool_kept_cb(void *arg, int error, struct slice text);
void spool_keep(struct spool *sp, struct slice text, spool_kept_cb *cb,
    void *arg);
void spool_kept(struct spool *sp, spool_kept_cb *cb, void *arg);

/* -- content ---------------------------------------------------------------- */

/* error as for spool_info_cb. Inline: `content' (lives until the callback
   returns) and fd -1. Else fd, to be closed by the taker, and offset. */
typedef void spool_content_cb(void *arg, uint64_t qid, int error,
    struct slice content, int fd, uint64_t offset, uint64_t size,
    uint32_t flags);
/* `inline_max' 0: a descriptor always. */
void spool_content(struct spool *sp, uint64_t qid, size_t inline_max,
    spool_content_cb *cb, void *arg);

/* -- finding ---------------------------------------------------------------- */

/* Called for each message once it is durable and not from before the start. */
void spool_on_accepted(struct spool *sp, void (*cb)(void *arg, uint64_t qid),
    void *arg);
/*
 * The queue ids above `after' (0: from the first), in rising order, at most
 * max; returns how many. Names only; from memory, cheap.
 */
size_t spool_list(const struct spool *sp, uint64_t after, uint64_t *out,
    size_t max);
size_t spool_count(const struct spool *sp);
size_t spool_corrupt_count(const struct spool *sp);
/* How the spool is, and what it has done since it was opened. */
struct spool_counters {
	uint64_t messages, corrupt;
	uint64_t unfiled;      /* messages in the journal only */
	uint64_t unsettled;    /* files that are to be brought up to date, or to
	                          go */
	uint64_t memory;       /* octets; see spool_config */
	uint64_t journal_used, journal_size; /* octets; size 0: no journal */
	uint64_t waiting;      /* new messages that find no room there */
	uint64_t flushes, entries; /* of the journal */
	uint64_t spilled;      /* messages that got their file later */
	uint64_t settled;      /* all files that were made, changed, removed
	                          behind the journal */
};
void spool_counters(const struct spool *sp, struct spool_counters *out);
/* Free octets for us on the spool's file system and in the journal, which has
   them already, and free inodes (UINT64_MAX: without
   limit); -1 with errno. */
int spool_space(const struct spool *sp, uint64_t *octets, uint64_t *inodes);

/* -- at rest: tools and tests ------------------------------------------------ */

/*
 * Parse a whole queue file in memory. Returns NULL and fills the outputs
 * (which may each be NULL; *e initialised by the caller), or what is wrong.
 */
const char *spool_parse(struct slice file, struct envelope *e,
    struct slice *content, uint32_t *flags, size_t *records_at,
    bool check_content);

enum spool_record_kind {
	SPOOL_REC_FATE = 1,
	SPOOL_REC_HOLD = 2,
	SPOOL_REC_GROUP = 4,
	SPOOL_REC_CRASH = 5,
};
#define SPOOL_RECORD_HEAD 8             /* octets in front of a body */
/* Octets of a body: a group record holds a fate for each recipient. */
#define SPOOL_RECORD_MAX  (4 * 1024 * 1024)

/* A state record; which fields count depends on the kind. */
struct spool_record {
	uint8_t kind;          /* enum spool_record_kind, or a later one */
	struct fate_item fate;
	bool on;               /* HOLD */
	struct slice reason;
	uint8_t crashes;       /* CRASH */
	uint64_t parent;       /* GROUP */
	uint32_t nsiblings;
	struct slice siblings, fates;
};
/* Cut the next record of message `qid' off *in; false at the end or at damage:
   *in is what is left. Slices borrow from it. */
bool spool_record_next(struct slice *in, uint64_t qid, struct spool_record *r);
uint64_t spool_record_sibling(const struct spool_record *r, uint32_t i);

#endif
