/*
 * journal - what was promised last, durable with one flush for many promises:
 * a ring of preallocated segment files in front of the spool's files. It knows
 * nothing of messages: an entry is a kind, a queue id and octets.
 *
 * The directory journal/ below the spool directory holds
 *
 *   N-S       a segment: its number and its salt, each 13 base-32 digits
 *             (common/qid.h); also a free one, which has no batch of its own
 *   .N-S      a free one; or what a start, cut by a crash, was copying to
 *   N-S.bad   kept aside for people: a segment with a damaged batch inside
 *
 * A segment is a sequence of batches; each begins on a boundary of
 * JOURNAL_BLOCK octets and is never written again while the segment has that
 * name. All numbers little-endian:
 *
 *   head   JOURNAL_HEAD octets: "VRDSJ\0\0\1", u64 segment number, u64 its
 *          salt, u64 batch number (one more than the one before, over all
 *          segments), u32 offset in the segment, u32 octets of entries, u32
 *          entries, u32 flags (JOURNAL_COPY*), u32 CRC-32C of the entries, u64
 *          the first segment of the copies (JOURNAL_COPIED only), u32 CRC-32C
 *          of the head so far. (In each version of the format the head has
 *          these octets, and segment, salt, offset and its CRC where they are:
 *          a batch of another version is known, and no start goes on with it)
 *   then   the entries: u32 octets of the body, u8 kind, u64 queue id, body;
 *          zeros up to the next boundary
 *
 * A start copies what lives on into fresh segments, under names with a dot; the
 * last of these batches is flagged JOURNAL_COPIED, all are flushed, then the
 * dots go. From then on nothing older than the first of these segments counts:
 * so the old ones may go in any order.
 *
 * What does not bear the segment's own number, salt and offset is of an older
 * life of the file: stale, never damage. The salt is drawn at random with each
 * number: mail may hold what looks like a batch of a segment to come, and stale
 * octets are looked at behind the last batch; but nobody can know the salt. Also
 * a number that is used twice, because a power cut took a name back, does no
 * harm.
 *
 * Exactly one flush is in flight, and a batch is written after the flush before
 * it has returned; so one bad batch at the very end was cut by a crash, before
 * anybody was told. A bad batch with a good one or a right head after it, a gap
 * in the batch numbers, and a segment without a batch in front of others (but
 * none of these in front of a copy: a start may follow a crash) are damage:
 * reported, the segment kept as .bad, the rest used.
 *
 * An entry's position is `lsn': segment number << 32 | offset of the entry. It
 * rises with each entry.
 *
 * A segment is needed no more when the owner says so (journal_set_floor):
 * strictly the oldest first. It is then renamed to a future number and the
 * directory flushed, before anything is written to it; the space of the ring is
 * made ahead of need by a thread of its own.
 *
 * A start that finds no room for its copies leaves the segments as they are and
 * goes on behind them (journal_keep); its first batch is flagged JOURNAL_COPY, as
 * a cut batch may be in front of it.
 *
 * Room: JOURNAL_NEW entries leave an eighth of the ring to JOURNAL_RESERVED
 * ones. A new entry that finds no room waits, in order, until a segment comes
 * free or journal_refuse_waiting() is called; a reserved one is taken always, and
 * is written when there is a segment. When none comes free the ring grows by one,
 * and shrinks again: a message that waits for its entry cannot be settled, so the
 * oldest segment might never be given up. Nothing is overwritten.
 *
 * A write or flush that failed is never tried again: the batch's head is
 * overwritten as far as that works, its entries and all later ones get the
 * error, and the owner is to exit so that recovery follows.
 */
#ifndef COMMON_JOURNAL_H
#define COMMON_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/slice.h"

#define JOURNAL_BLOCK       4096u
#define JOURNAL_HEAD        64u
#define JOURNAL_ENTRY_HEAD  13u
#define JOURNAL_COPY        1u /* flags: made by a start */
#define JOURNAL_COPIED      2u /* ... and the last of that start */
#define JOURNAL_SEGMENT_MIN (512u * 1024)
#define JOURNAL_SEGMENT_MAX (1024u * 1024 * 1024)
#define JOURNAL_SEGMENTS_MIN 3

struct event_base;
struct journal;

struct journal_config {
	int spool_fd;          /* the spool directory; borrowed */
	uint32_t segment_size; /* octets, a multiple of JOURNAL_BLOCK; holds for
	                          segments made from now on */
	unsigned segments;     /* in the ring */
};

/* -- the start ------------------------------------------------------------- */

/*
 * Called for each entry of a good batch, in the order of their positions. The
 * body lives until it returns. An entry may be there twice: recovery copies.
 * NULL: entries are only counted.
 */
typedef void journal_entry_cb(void *arg, uint64_t lsn, uint8_t kind,
    uint64_t qid, struct slice body);

struct journal_report {
	uint64_t segments, batches, entries; /* good ones */
	uint64_t cut;     /* bad batches at the very end: 0 or 1 */
	uint64_t bad;     /* places of damage */
	uint64_t strange; /* names that are not ours, and are left alone */
	char strange_name[64]; /* one of them */
};
/* `why' of a place that is no damage in truth, but that no start goes on with. */
#define JOURNAL_WHY_OTHER "a batch of another version of the format"

/*
 * Reads the whole journal without changing anything; also for tools, beside a
 * running system: then a batch that is being written counts as cut, and a
 * segment that goes meanwhile is passed over. ENOENT counts as empty. `bad' is
 * called for each place of damage and may be NULL. Blocks. 0, or -1 with errno.
 */
int journal_scan(int spool_fd, journal_entry_cb *cb,
    void (*bad)(void *arg, uint64_t segment, uint64_t offset, const char *why),
    void *arg, struct journal_report *out);

/*
 * Removes the segments of a journal in which nothing lives and nothing is damaged
 * (else they stay), durably. For who holds the lock and goes on without one.
 * Blocks. 0, or -1 with errno.
 */
int journal_remove(int spool_fd);

/*
 * Makes journal/ if need be, scans it as above (damage goes to the log and
 * aside), and makes fresh segments. What shall live on is copied by
 * journal_copy(), then journal_start() makes the copies durable, only then gives
 * up the old segments, and starts the threads. -1 with errno; ENOTSUP: there is
 * a batch of another version, it is logged. All block; journal_open and
 * journal_copy may be called before sandbox_enter(), threads come with
 * journal_start. A crash anywhere in between leaves the old segments whole.
 */
int journal_open(struct event_base *base, const struct journal_config *cfg,
    journal_entry_cb *cb, void *arg, struct journal **out);
/* Octets an entry's body may have; what is larger does not go into the journal.
   At least 96 KiB. */
size_t journal_body_max(const struct journal *j);
int journal_copy(struct journal *j, uint8_t kind, uint64_t qid,
    const struct slice *parts, size_t nparts, uint64_t *lsn);
int journal_start(struct journal *j);
/*
 * When there is no room on the disk for the copies, neither in segments that are
 * free nor for more (journal_copy or journal_start has failed so): forgets them,
 * and the journal is gone on with as it is; that takes no room. All that was read
 * keeps its position, and its segment until the floor is above it; journal_copy()
 * adds to it, durably once journal_start() has returned. -1 with errno: that was
 * not all that is wrong, or it is too late.
 */
int journal_keep(struct journal *j);
/* The error says that the disk is full, or a quota used up. */
bool journal_is_full(int error);
/* The newest time that the files bore when they were opened, CLOCK_REALTIME in
   us: all that was ever appended is not younger by more than the file system's
   ticks. */
uint64_t journal_newest_us(const struct journal *j);

/* -- running ------------------------------------------------------------------ */

/*
 * JOURNAL_COMPANY entries are reserved, too, and nobody waits for them: they go
 * out with what others append, or alone after JOURNAL_COMPANY_MS, or as long as
 * two flushes take, but at most JOURNAL_COMPANY_MAX_MS. Where a flush takes
 * milliseconds, a lone sender's next message would else wait for the flush of the
 * last one's fate. A crash meanwhile finds them not recorded.
 */
enum journal_class { JOURNAL_NEW, JOURNAL_RESERVED, JOURNAL_COMPANY };
#ifndef JOURNAL_COMPANY_MS /* tests with thousands of starts do not wait */
#define JOURNAL_COMPANY_MS     3
#define JOURNAL_COMPANY_MAX_MS 20
#else
#define JOURNAL_COMPANY_MAX_MS JOURNAL_COMPANY_MS
#endif

/* Owned by the caller; from journal_append() until `done' the journal's. */
struct journal_entry {
	STAILQ_ENTRY(journal_entry) next;
	void (*done)(struct journal_entry *e); /* on the loop, never inside
	                               a call; in order of position; may free e,
	                               may append, must not close */
	void *arg;      /* the caller's */
	uint64_t lsn;   /* when done */
	int error;      /* 0: durable. ENOSPC: refused while it waited */
	/* the journal's: */
	size_t octets;
	char *waiting;  /* its encoding, while it waits */
	uint64_t since_ms;
};

/*
 * Append; `parts' together are the body, copied at once. It goes out with the
 * batch of this turn of the loop (handed over by a deferred event of the
 * lowest priority), or with the next while a flush is in flight, or (COMPANY)
 * a little later. When many NEW ones came around the last flush, the next waits
 * for as many, but no longer than a flush takes: fewer flushes for each, and a
 * lone sender waits for nobody.
 */
void journal_append(struct journal *j, struct journal_entry *e,
    enum journal_class c, uint8_t kind, uint64_t qid, const struct slice *parts,
    size_t nparts);
/* All that waits for room is done with ENOSPC. */
void journal_refuse_waiting(struct journal *j);

struct journal_usage {
	uint64_t oldest, current;  /* segment numbers: the floor or the first
	                              not retired yet; the one being written */
	uint64_t used, size;       /* octets in use (whole older segments), and of
	                              the ring */
	uint64_t going;            /* of those in use: given up, and not yet
	                              free */
	uint64_t free;             /* octets made and not in use: new entries
	                              may take all but an eighth of the ring */
	size_t waiting;            /* entries that find no room */
	uint64_t waiting_ms;       /* how long the first of them has waited */
	uint64_t flushes, batches, entries, octets; /* since the start */
};
void journal_usage(struct journal *j, struct journal_usage *out);

/* For an owner that ends and turns no loop any more: what the journal's events
   would do now; and a descriptor that is readable when there is more. */
void journal_work(struct journal *j);
int journal_fd(const struct journal *j);

/* Segments below `number' hold nothing that is needed; a number above the
   current one: nothing at all is. Never falls. */
void journal_set_floor(struct journal *j, uint64_t number);
/* Called (once) when a write or flush has failed, after the entries' `done'. */
void journal_on_failed(struct journal *j, void (*cb)(void *arg, int error),
    void *arg);
/* Called each time a segment was retired, or the use has passed half of the
   ring or its limit for new entries. */
void journal_on_pressure(struct journal *j, void (*cb)(void *arg), void *arg);

/*
 * Waits for what is in flight (its `done's are called, and must not append more;
 * what waits for room gets ENOSPC), stops the threads and frees. When the floor is above the current segment, nothing valid is left in
 * the directory afterwards: a spool at rest.
 */
void journal_close(struct journal *j);

/* -- the pure format: the scan, tools, tests, fuzzing ------------------------- */

/* Up to whole blocks. */
static inline uint32_t
journal_round(uint64_t octets)
{
	return (uint32_t)((octets + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK *
	    JOURNAL_BLOCK);
}

struct journal_batch {
	uint64_t segment, salt, number, first;
	uint32_t offset, octets, entries, flags;
	uint32_t end;      /* where the next batch begins */
	struct slice body;
};
enum journal_decoded {
	JOURNAL_GOOD,
	JOURNAL_STALE,   /* not of this segment, salt and offset, or nothing */
	JOURNAL_OTHER,   /* of them, but of another version of the format */
	JOURNAL_DAMAGED, /* its head is right, its entries are not: all of *out
	                    but the body is set */
};
/* Writes the head of a batch, but its segment's octets: `out' has JOURNAL_HEAD;
   `crc' is that of the entries. b->body and b->end are not looked at. */
void journal_encode_head(const struct journal_batch *b, uint32_t crc, char *out);
/* The head of an entry: JOURNAL_ENTRY_HEAD octets. */
void journal_encode_entry(uint8_t kind, uint64_t qid, uint32_t octets,
    char *out);
/* The batch at `offset' of the segment `number' with that salt, whose octets are
   `segment'. */
enum journal_decoded journal_decode(struct slice segment, uint64_t number,
    uint64_t salt, uint32_t offset, struct journal_batch *out);
/* Cut the next entry off *body; false at the end (or what cannot be, after a
   right checksum: *body is not empty then). */
bool journal_next(struct slice *body, uint8_t *kind, uint64_t *qid,
    struct slice *entry);

#endif
