/*
 * journal_int - what the journal's own files share. Nobody else includes it.
 *
 *   journal_format.c  a batch in memory
 *   journal_look.c    which segments there are, and where their batches
 *   journal_scan.c    reading a journal, changing nothing
 *   journal_ring.c    segments: made, renamed, given up; the keeper's work
 *   journal_start.c   open, copy, start
 *   journal_flush.c   the flusher's work
 *   journal.c         the loop's work: append, answer; close
 *
 * Three worlds: the *loop* owns the buffer that is being filled and what waits
 * for room; the *flusher* writes and flushes, and owns the place where it does;
 * the *keeper* makes segments and renames them. What passes between them stands
 * in struct journal below `lock'.
 */
#ifndef COMMON_JOURNAL_INT_H
#define COMMON_JOURNAL_INT_H

#include <pthread.h>

#include "common/journal.h"
#include "common/strbuf.h"

#define JOURNAL_NAME_MAX 36
#define JOURNAL_PARTS    64 /* buffers in a batch */

struct journal_segment {
	TAILQ_ENTRY(journal_segment) next;
	uint64_t number, salt;
	uint32_t size;
	uint32_t end; /* an old one's: behind its last good batch */
	int fd;
	bool dot;    /* its name has a dot */
	bool old;    /* from before this start, with batches in it */
	bool bad;    /* to be kept as N-S.bad */
};
TAILQ_HEAD(journal_segments, journal_segment);
STAILQ_HEAD(journal_entries, journal_entry);

/* What one turn of the loop, or several, have appended: whole entries. */
struct journal_buffer {
	TAILQ_ENTRY(journal_buffer) next;
	struct journal_entries entries;
	uint32_t n;      /* entries */
	uint32_t promises; /* of them JOURNAL_NEW: somebody waits for each */
	struct strbuf b;
};
TAILQ_HEAD(journal_buffers, journal_buffer);

struct journal {
	struct event_base *base;
	int dir;
	uint32_t segment_size;
	unsigned segments;
	uint32_t batch_max;    /* octets of a batch's entries */
	uint64_t newest_us;
	bool kept;             /* the old segments are, instead of copies */
	bool published;        /* copies count from now on, perhaps */

	/* the loop's */
	struct event *done_event, *turn_event;
	struct event *company_event; /* pending: only such entries wait */
	int done_fd;           /* eventfd */
	struct journal_buffer *filling;
	struct journal_entries waiting, refused;
	size_t nwaiting;
	bool tell_waiting;     /* the first waits: pressure */
	uint64_t floor;
	void (*failed_cb)(void *arg, int error);
	void *failed_arg;
	bool failed_told;
	void (*pressure_cb)(void *arg);
	void *pressure_arg;
	bool started;

	pthread_t flusher, keeper;
	pthread_mutex_t lock;
	pthread_cond_t flush_wake, keep_wake;
	/* below `lock': */
	struct journal_buffers sealed, spare;
	unsigned nspare;
	struct journal_entries done;
	struct journal_segments live;  /* oldest first; the last is current */
	struct journal_segments ready; /* free, and named after all live ones */
	struct journal_segments spent; /* the keeper's to do, oldest first */
	unsigned nsegments;    /* in the three lists, and in the keeper's hand */
	uint64_t ready_octets;
	uint32_t offset;       /* where the current one goes on */
	uint64_t claimed;      /* octets appended and not written yet, rounded */
	uint32_t promises;     /* in `sealed' */
	uint32_t crowd;        /* the next flush is worth so many promises */
	uint64_t flush_ns;     /* what a flush takes, smoothed */
	bool gathering;        /* the flusher waits for the crowd */
	bool in_vain;          /* nobody came while it did, the last time */
	uint64_t next_number;  /* of a segment */
	uint64_t next_batch;
	uint64_t flushes, batches, nentries, octets;
	bool resumed;          /* the next batch goes behind what may be a cut
	                          one */
	int error;             /* of a write or flush: nothing is written more */
	int trouble;           /* of the keeper's: to be logged by the loop */
	bool changed;          /* segments, or the use: the owner is to be told */
	bool above_half;       /* of the ring is in use */
	bool flusher_idle, stop;
	bool starving;         /* the flusher has found no segment for a while */
};

/* journal_look.c */
struct journal_found {
	struct journal_segments segments; /* all that have names; by number,
	                                     those with a dot first */
	uint64_t first;      /* segments below hold nothing that counts */
	uint64_t last_batch, last_number; /* the largest */
	uint64_t newest_us;  /* of any file's times */
	bool other;          /* there is a batch of another version */
	unsigned strange;    /* names that are not ours; one of them: */
	char strange_name[64];
	char failed_name[JOURNAL_NAME_MAX]; /* that could not be opened; "" */
};

struct journal_seen_batch {
	uint32_t offset, end;
	uint64_t number;
	bool copy;
};
struct journal_seen_bad {
	uint32_t offset;
	const char *why;
};
/* What was seen in a segment. */
struct journal_seen {
	struct journal_segment *s;
	struct journal_seen_batch *batches;
	size_t n;
	struct journal_seen_bad *bad; /* with a batch behind it, or what cannot
	                                 be read */
	size_t nbad;
	bool cut;            /* behind all others a bad batch, at: */
	uint32_t cut_at;
	bool other;          /* there is a batch of another version */
	bool copy;           /* the first one whose head is right, good or
	                        bad, is one of a start */
};
struct journal_look {
	int dir;
	struct journal_found *found;
	struct journal_seen *seen; /* for each of found->segments */
	size_t n;
	char *buf;           /* for the largest segment */
	size_t cap;
	uint64_t copied;     /* number of the last batch JOURNAL_COPIED */
};

void journal_segment_name(const struct journal_segment *s,
    char out[JOURNAL_NAME_MAX]);
/* Fills *l, whose `dir' and `found' are set, and *found; 0, or -1 with errno and
   nothing to clear. */
int journal_look(struct journal_look *l);
void journal_look_clear(struct journal_look *l); /* not `found' */
/* `n' octets from `at' on into l->buf: 0 or -1. */
int journal_load(struct journal_look *l, const struct journal_segment *s,
    uint32_t at, uint32_t n);
void journal_found_clear(struct journal_found *f);

/* journal_scan.c */
int journal_read(int dir, journal_entry_cb *cb,
    void (*bad)(void *arg, uint64_t segment, uint64_t offset, const char *why),
    void *arg, struct journal_report *report, struct journal_found *found);

/* journal_ring.c; all block */
/* A new file of zeros under a name with a dot, flushed. NULL with errno. */
struct journal_segment *journal_segment_make(struct journal *j,
    uint64_t number);
/* With a new salt when the number is another. */
int journal_segment_rename(struct journal *j, struct journal_segment *s,
    uint64_t number, bool dot);
int journal_segment_unlink(struct journal *j, const struct journal_segment *s);
/* Kept for people: N-S.bad. */
int journal_segment_set_aside(struct journal *j,
    const struct journal_segment *s);
void journal_segment_free(struct journal_segment *s); /* and closes */
void *journal_keeper_main(void *arg);

/* journal_flush.c */
struct journal_buffer *journal_buffer_new(void);
void journal_buffer_free(struct journal_buffer *b);
/* One batch at `offset' of a segment: entries are `parts' together. */
int journal_write_batch(const char *site, struct journal_segment *s,
    struct journal_batch *b, const struct slice *parts, size_t nparts);
void journal_tell_loop(struct journal *j);
/* Below `lock': what is sealed needs no more company. */
bool journal_gathered(const struct journal *j);
/* Below `lock': octets in use. */
uint64_t journal_used(const struct journal *j);
void *journal_flusher_main(void *arg);

/* journal.c */
int journal_threads_start(struct journal *j);

#endif
