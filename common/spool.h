/*
 * spool - accepted mail on disk; cleanup is its one writer and reader.
 *
 * Asynchronous: each call returns at once, the answer comes by callback from
 * the event loop, in any order between messages, in order for one message. The
 * files are written on the pool's thread, in batches; a batch ends with one
 * fsync of each directory that it touched. (The journal comes later, behind
 * this same interface.)
 *
 * A message is the file queue/H/ID: H is the last base-32 digit's low half
 * (16 directories), ID the queue id. Format, version 1, all numbers
 * little-endian:
 *
 *   offset 0   header, SPOOL_HEADER octets: "VRDSQ\0\0\1", u64 queue id,
 *              u32 envelope octets, u64 content octets, u32 content flags,
 *              u32 CRC-32C of the envelope, u32 CRC-32C of the content,
 *              zeros, u32 CRC-32C of the header so far
 *   then       the envelope (common/envelope.h), the content (CRLF lines as
 *              they go on the wire), and the state records
 *   a record   u32 octets of the body, u32 CRC-32C of the body, the body:
 *              u8 kind, then SPOOL_REC_FATE: a fate_item;
 *              SPOOL_REC_HOLD: u8 on, slice reason; SPOOL_REC_NOTE: u8 what
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
 *   ID, all done          between last fate and unlink unlinked
 *   ID of a child, and    between child and parent's   the parent's recipient
 *   parent still open     fate of a group              counts as done, and is
 *                                                      recorded so
 *   ID.corrupt            header or envelope unreadable reported, never deleted
 *
 * Order of operations, each durable before the next: accept: write .ID,
 * fdatasync, rename to ID, fsync directory, answer. state: append, fdatasync,
 * answer. done: unlink, fsync directory, answer. group: accept all children
 * (not announced), then append the parent's fates (or unlink it), then answer
 * and announce.
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
	uint64_t memory_limit;    /* fresh content kept for the first delivery */
	uint64_t (*clock_us)(void); /* NULL: CLOCK_REALTIME */
};

/*
 * Makes what is missing below queue_fd (queue/0..f), removes leftovers, finds
 * the names. Blocks. Starts the pool's thread at the first operation, so it may
 * be called before sandbox_enter(). Returns 0, or -1 with errno.
 */
int spool_open(struct event_base *base, const struct spool_config *cfg,
    struct spool **out);
/* Waits for what is in flight, without its callbacks; frees all. */
void spool_close(struct spool *sp);
/* Operations in flight; 0: a clean stop is possible now. */
size_t spool_busy(const struct spool *sp);

/* -- accept ---------------------------------------------------------------- */

/* A message on its way in. Owned by the caller until spool_accept(). */
struct spool_draft;

/* Gives the queue id: max(clock, last + 1). */
struct spool_draft *spool_draft_new(struct spool *sp);
uint64_t spool_draft_qid(const struct spool_draft *d);
/*
 * Add content. Up to SPOOL_INLINE_MAX it stays in memory; beyond, it is written
 * to the file by the pool. Returns octets that are not written yet: the caller
 * asks for more only when this is below 256 KiB (see spool_draft_on_drained).
 */
size_t spool_draft_add(struct spool_draft *d, struct slice piece);
/* Called once, when what was added is written, or failed (errno, else 0). */
void spool_draft_on_drained(struct spool_draft *d, void (*cb)(void *arg, int error),
    void *arg);
/* Octets of content so far. */
uint64_t spool_draft_size(const struct spool_draft *d);
/* Forget it; its file goes. Safe at any time before spool_accept(). */
void spool_draft_free(struct spool_draft *d);

/* error 0: durable. Else an errno: nothing is queued (but see spool_failed). */
typedef void spool_done_cb(void *arg, uint64_t qid, int error);

/*
 * Make it durable. Takes `d' and `e' (its contents move; *e is left empty but
 * initialised); e->qid, e->arrived_us are set here.
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
		const char *esc, *reply; /* "" when none */
	} *rcpts;
	uint32_t rcpts_open;
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
 * message that is gone already (gone true, error 0).
 */
typedef void spool_fates_cb(void *arg, uint64_t qid, int error, bool gone);
void spool_fates(struct spool *sp, uint64_t qid, const struct fate_item *items,
    size_t n, spool_fates_cb *cb, void *arg);
void spool_hold(struct spool *sp, uint64_t qid, bool on, struct slice reason,
    spool_done_cb *cb, void *arg);
/* Remove it whole, whatever is open. */
void spool_delete(struct spool *sp, uint64_t qid, spool_done_cb *cb, void *arg);

/*
 * A group: all or nothing. `drafts' and `children' (n of each, moved as by
 * spool_accept, parent_* already set) become durable first, then the parent's
 * fates; children are announced (spool_on_accepted) only then.
 */
void spool_group(struct spool *sp, uint64_t parent_qid,
    const struct fate_item *items, size_t nitems, struct spool_draft **drafts,
    struct envelope *children, size_t n, spool_fates_cb *cb, void *arg);

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
/* Free octets for us on the spool's file system, and inodes; -1 with errno. */
int spool_space(const struct spool *sp, uint64_t *octets, uint64_t *inodes);

/* -- at rest: tools and tests ------------------------------------------------ */

/*
 * Parse a whole queue file in memory. Returns NULL and fills the outputs
 * (which may each be NULL; *e initialised by the caller), or what is wrong.
 */
const char *spool_parse(struct slice file, struct envelope *e,
    struct slice *content, uint32_t *flags, size_t *records_at,
    bool check_content);

#endif
