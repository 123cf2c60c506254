/*
 * journal_int - what the journal's own files share. Nobody else includes it.
 *
 *   journal_format.c  a batch in memory
 *   journal_scan.c    reading a journal, changing nothing
 *   journal_ring.c    segments: made, renamed, given up; the keeper's work
 *   journal_start.c   open, copy, start
 *   journal.c         append, flush, close; the threads
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

#define JOURNAL_NAME_MAX 24

struct journal_segment {
	TAILQ_ENTRY(journal_segment) next;
	uint64_t number;
	uint32_t size;
	int fd;
	bool dot;    /* its name has a dot */
	bool old;    /* from before this start, with batches in it */
	bool bad;    /* to be kept as N.bad */
};
TAILQ_HEAD(journal_segments, journal_segment);
STAILQ_HEAD(journal_entries, journal_entry);

/* What one turn of the loop, or several, have appended: whole entries. */
struct journal_buffer {
	STAILQ_ENTRY(journal_buffer) next;
	struct journal_entries entries;
	uint32_t n;      /* entries */
	struct strbuf b;
};
STAILQ_HEAD(journal_buffers, journal_buffer);

struct journal {
	struct event_base *base;
	int dir;
	uint32_t segment_size;
	unsigned segments;
	uint32_t batch_max;    /* octets of a batch's entries */
	uint64_t newest_us;

	/* the loop's */
	struct event *done_event, *turn_event;
	struct event *company_event; /* pending: only such entries wait */
	int done_fd;           /* eventfd */
	struct journal_buffer *filling;
	struct journal_entries waiting, refused;
	size_t nwaiting;
	bool tell_waiting;     /* the first waits: pressure */
	uint64_t waiting_since; /* ms */
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
	struct journal_entries done;
	struct journal_segments live;  /* oldest first; the last is current */
	struct journal_segments ready; /* free, and named after all live ones */
	struct journal_segments spent; /* the keeper's to do, oldest first */
	unsigned nsegments;    /* in the three lists, and in the keeper's hand */
	uint64_t ready_octets;
	uint32_t offset;       /* where the current one goes on */
	uint64_t claimed;      /* octets appended and not written yet, rounded */
	uint64_t next_number;  /* of a segment */
	uint64_t next_batch;
	uint64_t flushes, batches, nentries, octets;
	int error;             /* of a write or flush: nothing is written more */
	int keeper_error;      /* to be logged by the loop; 0: none */
	bool changed;          /* segments: to be told to the owner */
	bool flusher_idle, stop;
};

/* journal_scan.c */
struct journal_found {
	struct journal_segments segments; /* all that have names; by number,
	                                     those with a dot first */
	uint64_t first;      /* segments below hold nothing that counts */
	uint64_t last_batch, last_number; /* the largest */
	uint64_t newest_us;  /* of any file's times */
};
void journal_segment_name(uint64_t number, bool dot,
    char out[JOURNAL_NAME_MAX]);
int journal_read(int dir, journal_entry_cb *cb,
    void (*bad)(void *arg, uint64_t segment, uint64_t offset, const char *why),
    void *arg, struct journal_report *report, struct journal_found *found);
void journal_found_clear(struct journal_found *f);

/* journal_ring.c; all block */
/* A new file of zeros under a name with a dot, flushed. NULL with errno. */
struct journal_segment *journal_segment_make(struct journal *j,
    uint64_t number);
int journal_segment_rename(struct journal *j, struct journal_segment *s,
    uint64_t number, bool dot);
/* Its name becomes N.bad. */
int journal_set_aside(struct journal *j, const struct journal_segment *s);
void journal_segment_free(struct journal_segment *s); /* and closes */
void *journal_keeper_main(void *arg);

/* journal.c */
/* One batch at `offset' of a segment: entries are `parts' together. */
int journal_write_batch(const char *site, struct journal_segment *s,
    struct journal_batch *b, const struct slice *parts, size_t nparts);
void journal_tell_loop(struct journal *j);
int journal_threads_start(struct journal *j);
/* Entries into segments from now on. */
struct journal_buffer *journal_buffer_new(void);
void journal_buffer_free(struct journal_buffer *b);

#endif
