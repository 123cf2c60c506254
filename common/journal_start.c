/*
 * The start: what was there is read; what is to live on is copied into fresh
 * segments, whose names have a dot until all of it is flushed; or, when these find
 * no room, the journal is gone on with as it is. Blocks; there is no thread yet.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/journal_int.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"

#define BATCH_MIN (128u * 1024)
#define BATCH_MAX (4u * 1024 * 1024)
#define NUMBER_MAX (UINT32_MAX / 2) /* positions have 32 bits for it */
#define HEADS     (JOURNAL_HEAD + JOURNAL_ENTRY_HEAD)

static void
log_bad(void *arg, uint64_t segment, uint64_t offset, const char *why)
{
	char id[QID_TEXT + 1];

	(void)arg;
	qid_format(segment, id);
	log_error("journal: segment %s, octet %llu: %s; %s", id,
	    (unsigned long long)offset, why,
	    strcmp(why, JOURNAL_WHY_OTHER) == 0 ? "the version of veredus that "
	    "wrote it is to be started and stopped first" : "it is kept as "
	    ".bad, the rest is used");
}

static int
open_dir(struct journal *j, int spool_fd)
{
	if (io_mkdirat("journal.mkdir", spool_fd, "journal", 0700) == -1 &&
	    errno != EEXIST) {
		return -1;
	}
	j->dir = io_openat("journal.open", spool_fd, "journal", O_RDONLY |
	    O_DIRECTORY | O_NOFOLLOW, 0);
	return j->dir == -1 ? -1 : io_fsync("journal.mkdir.sync", spool_fd);
}

/* Read so far; from now on they are written to. */
static int
open_to_write(struct journal *j, struct journal_segment *s)
{
	char name[JOURNAL_NAME_MAX];
	int fd;

	journal_segment_name(s, name);
	fd = io_openat("journal.open", j->dir, name, O_RDWR | O_NOFOLLOW |
	    O_NONBLOCK, 0);
	if (fd == -1) {
		return -1;
	}
	(void)close(s->fd);
	s->fd = fd;
	return 0;
}

/* Below the first that counts. */
static bool
is_superseded(const struct journal_segment *s, const struct journal_found *f)
{
	return !s->dot && s->number < f->first;
}

/* That they are superseded is to last, before one of them is used again. */
static int
flush_names(struct journal *j, const struct journal_found *f)
{
	const struct journal_segment *s;

	TAILQ_FOREACH (s, &f->segments, next) {
		if (is_superseded(s, f)) {
			return io_fsync("journal.open.dirsync", j->dir);
		}
	}
	return 0;
}

/* Those with batches that count are spent once the copies stand. The others are
   free, and used for the copies first, or go at once: else starts that are cut,
   again and again, would fill the disk. */
static int
sort_segment(struct journal *j, struct journal_segment *s, bool counts)
{
	if (counts || (!s->bad && s->size == j->segment_size)) {
		if (open_to_write(j, s) == -1) {
			return -1;
		}
		if (counts) {
			TAILQ_INSERT_TAIL(&j->spent, s, next);
		} else {
			TAILQ_INSERT_TAIL(&j->ready, s, next);
		}
		j->nsegments++;
		return 0;
	}
	if ((s->bad ? journal_segment_set_aside(j, s) :
	    journal_segment_unlink(j, s)) == -1) {
		return -1;
	}
	journal_segment_free(s);
	return 0;
}

static int
sort_segments(struct journal *j, struct journal_found *f)
{
	struct journal_segment *s;

	if (f->last_number > NUMBER_MAX) { /* of no journal that runs */
		log_error("journal: there is a segment, or one that was set "
		    "aside, with the number %llu", (unsigned long long)
		    f->last_number);
		errno = EOVERFLOW;
		return -1;
	}
	if (flush_names(j, f) == -1) {
		return -1;
	}
	while ((s = TAILQ_FIRST(&f->segments)) != NULL) {
		TAILQ_REMOVE(&f->segments, s, next);
		if (sort_segment(j, s, (s->old || s->bad) && !s->dot &&
		    !is_superseded(s, f)) == -1) {
			TAILQ_INSERT_HEAD(&f->segments, s, next);
			return -1;
		}
	}
	j->next_number = f->last_number + 1;
	j->next_batch = f->last_batch + 1;
	j->newest_us = f->newest_us;
	return 0;
}

static struct journal *
make(struct event_base *base, const struct journal_config *cfg)
{
	struct journal *j = xcalloc(1, sizeof(*j));
	pthread_condattr_t monotonic;

	j->base = base;
	j->dir = j->done_fd = -1;
	j->segment_size = cfg->segment_size;
	j->segments = cfg->segments;
	j->batch_max = cfg->segment_size / 4;
	if (j->batch_max > BATCH_MAX) {
		j->batch_max = BATCH_MAX;
	}
	if (j->batch_max < BATCH_MIN) {
		j->batch_max = BATCH_MIN;
	}
	j->batch_max -= HEADS;
	TAILQ_INIT(&j->live);
	TAILQ_INIT(&j->ready);
	TAILQ_INIT(&j->spent);
	TAILQ_INIT(&j->sealed);
	TAILQ_INIT(&j->spare);
	STAILQ_INIT(&j->done);
	STAILQ_INIT(&j->waiting);
	STAILQ_INIT(&j->refused);
	(void)pthread_mutex_init(&j->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&j->flush_wake, &monotonic);
	(void)pthread_cond_init(&j->keep_wake, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	j->filling = journal_buffer_new();
	return j;
}

int
journal_open(struct event_base *base, const struct journal_config *cfg,
    journal_entry_cb *cb, void *arg, struct journal **out)
{
	struct journal *j = make(base, cfg);
	struct journal_report report;
	struct journal_found found = { .failed_name = "" };
	int saved, ret;

	ret = open_dir(j, cfg->spool_fd);
	if (ret == 0) {
		ret = journal_read(j->dir, cb, log_bad, arg, &report, &found);
	}
	if (ret == 0) {
		errno = ENOTSUP;
		ret = found.other ? -1 : sort_segments(j, &found);
		saved = errno;
		journal_found_clear(&found);
		errno = saved;
	}
	if (ret == -1) {
		saved = errno;
		if (found.failed_name[0] != '\0') {
			log_error("journal: journal/%s: %s", found.failed_name,
			    strerror(saved));
		}
		journal_close(j);
		errno = saved;
		return -1;
	}
	if (found.strange > 0) {
		log_warn("journal: %u names in journal/ are not ours and left "
		    "alone, among them %s", found.strange, found.strange_name);
	}
	if (report.entries > 0 || report.cut > 0) {
		log_info("journal: %llu entries in %llu batches%s",
		    (unsigned long long)report.entries,
		    (unsigned long long)report.batches, report.cut > 0 ?
		    "; the last batch was cut and nobody was told of it" : "");
	}
	*out = j;
	return 0;
}

uint64_t
journal_newest_us(const struct journal *j)
{
	return j->newest_us;
}

/* -- copying ---------------------------------------------------------------------- */

/* The next segment to copy to: a free one, or a fresh one. The old name of a free
   one is to be gone for good before it is written to: it may be a superseded one
   with batches, which would else look damaged after a power cut. One that goes on
   behind what was kept counts at once. */
static int
next_target(struct journal *j)
{
	struct journal_segment *s = TAILQ_FIRST(&j->ready);
	uint64_t number = j->next_number++;

	if (s == NULL) {
		s = journal_segment_make(j, number);
		if (s == NULL) {
			return -1;
		}
		TAILQ_INSERT_TAIL(&j->ready, s, next);
		j->nsegments++;
	}
	if ((s->number != number || s->dot == j->kept) &&
	    (journal_segment_rename(j, s, number, !j->kept) == -1 ||
	    io_fsync("journal.copy.dirsync", j->dir) == -1)) {
		return -1;
	}
	TAILQ_REMOVE(&j->ready, s, next);
	TAILQ_INSERT_TAIL(&j->live, s, next);
	j->offset = 0;
	return 0;
}

static bool
has_place(const struct journal *j, uint64_t octets)
{
	const struct journal_segment *s = TAILQ_LAST(&j->live,
	    journal_segments);

	return s != NULL && journal_round(JOURNAL_HEAD + octets) <=
	    s->size - j->offset;
}

static int
make_place(struct journal *j, uint64_t octets)
{
	return has_place(j, octets) ? 0 : next_target(j);
}

static int
write_copies(struct journal *j, uint32_t flags)
{
	struct journal_buffer *f = j->filling;
	struct slice part = strbuf_slice(&f->b);
	struct journal_batch b = { .flags = flags, .entries = f->n,
		.octets = (uint32_t)f->b.n };

	if (make_place(j, f->b.n) == -1) {
		return -1;
	}
	b.number = j->next_batch++;
	b.offset = j->offset;
	b.first = TAILQ_FIRST(&j->live)->number;
	if (journal_write_batch(j->kept ? "journal.keep.write" :
	    "journal.copy.write", TAILQ_LAST(&j->live, journal_segments), &b,
	    &part, 1) == -1) {
		return -1;
	}
	j->offset = b.end;
	strbuf_reset(&f->b);
	f->n = 0;
	j->resumed = false;
	return j->kept ? io_fdatasync("journal.keep.sync", TAILQ_LAST(&j->live,
	    journal_segments)->fd) : 0;
}

int
journal_copy(struct journal *j, uint8_t kind, uint64_t qid,
    const struct slice *parts, size_t nparts, uint64_t *lsn)
{
	struct journal_buffer *f = j->filling;
	char head[JOURNAL_ENTRY_HEAD];
	size_t i, n = 0;

	for (i = 0; i < nparts; i++) {
		n += parts[i].n;
	}
	if (n > journal_body_max(j)) {
		errno = EMSGSIZE;
		return -1;
	}
	n += JOURNAL_ENTRY_HEAD;
	if (f->n > 0 && (f->b.n + n > j->batch_max ||
	    !has_place(j, f->b.n + n)) && write_copies(j, JOURNAL_COPY) == -1) {
		return -1;
	}
	/* At once, so that the position is known. */
	if (f->n == 0 && make_place(j, n) == -1) {
		return -1;
	}
	n -= JOURNAL_ENTRY_HEAD;
	*lsn = TAILQ_LAST(&j->live, journal_segments)->number << 32 |
	    (j->offset + JOURNAL_HEAD + f->b.n);
	journal_encode_entry(kind, qid, (uint32_t)n, head);
	(void)strbuf_add(&f->b, head, sizeof(head));
	for (i = 0; i < nparts; i++) {
		(void)strbuf_add_slice(&f->b, parts[i]);
	}
	f->n++;
	return 0;
}

/* All copies durable, then their names: the one with the last batch at the end,
   for it makes the others count. */
static int
publish(struct journal *j)
{
	struct journal_segment *s, *last = TAILQ_LAST(&j->live,
	    journal_segments);

	TAILQ_FOREACH (s, &j->live, next) {
		if (io_fdatasync("journal.copy.sync", s->fd) == -1) {
			return -1;
		}
	}
	j->published = true;
	TAILQ_FOREACH (s, &j->live, next) {
		if (s != last && journal_segment_rename(j, s, s->number,
		    false) == -1) {
			return -1;
		}
	}
	if (TAILQ_FIRST(&j->live) != last &&
	    io_fsync("journal.copy.dirsync", j->dir) == -1) {
		return -1;
	}
	if (journal_segment_rename(j, last, last->number, false) == -1) {
		return -1;
	}
	return io_fsync("journal.copy.dirsync", j->dir);
}

bool
journal_is_full(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

/* What was begun is free again; what was made for it goes, but one. */
static int
forget_copies(struct journal *j)
{
	struct journal_segment *s;

	strbuf_reset(&j->filling->b);
	j->filling->n = 0;
	TAILQ_CONCAT(&j->ready, &j->live, next);
	while (j->nsegments > j->segments &&
	    (s = TAILQ_LAST(&j->ready, journal_segments)) !=
	    TAILQ_FIRST(&j->ready)) {
		if (journal_segment_unlink(j, s) == -1) {
			return -1;
		}
		TAILQ_REMOVE(&j->ready, s, next);
		j->nsegments--;
		journal_segment_free(s);
	}
	return 0;
}

/*
 * A cut batch behind the last good one is written over, or stays, and the next one
 * is flagged as one of a start; a damaged segment is left as it is. What was read
 * is flushed first: all that comes says that it is there.
 */
int
journal_keep(struct journal *j)
{
	struct journal_segment *s;

	if (j->published || j->kept) {
		errno = ENOSPC;
		return -1;
	}
	if (forget_copies(j) == -1) {
		return -1;
	}
	j->kept = j->resumed = true;
	if (TAILQ_EMPTY(&j->spent)) {
		return next_target(j);
	}
	TAILQ_CONCAT(&j->live, &j->spent, next);
	TAILQ_FOREACH (s, &j->live, next) {
		if (io_fdatasync("journal.keep.sync", s->fd) == -1) {
			return -1;
		}
	}
	s = TAILQ_LAST(&j->live, journal_segments);
	j->offset = s->bad || s->end > s->size ? s->size : s->end;
	return 0;
}

/* A segment that is ready, if there is room for one. */
static int
make_ready(struct journal *j)
{
	struct journal_segment *s = journal_segment_make(j, j->next_number++);

	if (s == NULL) {
		return journal_is_full(errno) ? 0 : -1; /* the keeper's to do */
	}
	j->nsegments++;
	TAILQ_INSERT_TAIL(&j->ready, s, next);
	return journal_segment_rename(j, s, s->number, false);
}

/* The free segments get names after the copies; one is there, if that can be. */
static int
prepare_ready(struct journal *j)
{
	struct journal_segments old;
	struct journal_segment *s;
	int ret = 0;

	TAILQ_INIT(&old);
	TAILQ_CONCAT(&old, &j->ready, next);
	while ((s = TAILQ_FIRST(&old)) != NULL) {
		TAILQ_REMOVE(&old, s, next);
		TAILQ_INSERT_TAIL(&j->ready, s, next);
		if (ret == 0) {
			ret = journal_segment_rename(j, s, j->next_number++,
			    false);
		}
	}
	if (ret == 0 && TAILQ_EMPTY(&j->ready)) {
		ret = make_ready(j);
	}
	if (ret == 0) {
		ret = io_fsync("journal.ready.dirsync", j->dir);
	}
	TAILQ_FOREACH (s, &j->ready, next) {
		j->ready_octets += s->size;
	}
	return ret;
}

int
journal_start(struct journal *j)
{
	if (j->kept ? j->filling->n > 0 && write_copies(j, JOURNAL_COPY) == -1 :
	    write_copies(j, JOURNAL_COPY | JOURNAL_COPIED) == -1 ||
	    publish(j) == -1) {
		return -1;
	}
	if (prepare_ready(j) == -1) {
		return -1;
	}
	j->floor = TAILQ_FIRST(&j->live)->number;
	return journal_threads_start(j);
}
