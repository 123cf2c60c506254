/*
 * Appending and flushing. The loop fills a buffer; at the end of its turn the
 * buffer is sealed; the flusher makes one batch of all that is sealed, writes
 * and flushes it, and hands the entries back, which the loop then answers.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/io.h"
#include "common/journal_int.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define PARTS_MAX   64     /* sealed buffers of one batch */
#define SPARE_MAX   4
#define SPARE_CAP   (512u * 1024) /* larger buffers are not kept */
#define RESERVE     8      /* a part of the ring, not for new entries */

static const char zeros[JOURNAL_BLOCK];

static struct iovec
piece(const void *p, size_t n)
{
	union {
		const void *in;
		void *out;
	} u = { .in = p }; /* it is read only */

	return (struct iovec){ u.out, n };
}

/* -- buffers ------------------------------------------------------------------ */

struct journal_buffer *
journal_buffer_new(void)
{
	struct journal_buffer *b = xcalloc(1, sizeof(*b));

	STAILQ_INIT(&b->entries);
	strbuf_init(&b->b, 0);
	return b;
}

void
journal_buffer_free(struct journal_buffer *b)
{
	strbuf_clear(&b->b);
	free(b);
}

/* -- writing ------------------------------------------------------------------- */

int
journal_write_batch(const char *site, struct journal_segment *s,
    struct journal_batch *b, const struct slice *parts, size_t nparts)
{
	struct iovec v[PARTS_MAX + 2];
	char head[JOURNAL_HEAD];
	uint32_t crc = 0;
	size_t i;

	b->segment = s->number;
	b->end = b->offset + journal_round((uint64_t)JOURNAL_HEAD + b->octets);
	for (i = 0; i < nparts; i++) {
		crc = crc32c(crc, parts[i].p, parts[i].n);
		v[i + 1] = piece(parts[i].p, parts[i].n);
	}
	journal_encode_head(b, crc, head);
	v[0] = piece(head, sizeof(head));
	v[nparts + 1] = piece(zeros, b->end - b->offset - JOURNAL_HEAD -
	    b->octets);
	return io_pwritev(site, s->fd, v, nparts + 2, b->offset);
}

void
journal_tell_loop(struct journal *j)
{
	static const uint64_t one = 1;

	if (write(j->done_fd, &one, sizeof(one)) == -1 && errno != EAGAIN) {
		log_panic("journal: eventfd: errno %d", errno);
	}
}

/* -- the flusher ----------------------------------------------------------------- */

/* Sealed buffers that go together into the current segment, from the first on;
   0: not even the first has place there. */
static size_t
gather(struct journal *j, struct journal_buffers *out,
    struct journal_batch *batch)
{
	const struct journal_segment *s = TAILQ_LAST(&j->live,
	    journal_segments);
	struct journal_buffer *b;
	size_t n = 0;

	memset(batch, 0, sizeof(*batch));
	STAILQ_INIT(out);
	while (n < PARTS_MAX && (b = STAILQ_FIRST(&j->sealed)) != NULL) {
		const uint64_t octets = (uint64_t)batch->octets + b->b.n;

		if ((n > 0 && octets > j->batch_max + JOURNAL_ENTRY_HEAD) ||
		    journal_round(JOURNAL_HEAD + octets) >
		    s->size - j->offset) {
			break;
		}
		STAILQ_REMOVE_HEAD(&j->sealed, next);
		STAILQ_INSERT_TAIL(out, b, next);
		batch->octets += (uint32_t)b->b.n;
		batch->entries += b->n;
		n++;
	}
	batch->number = j->next_batch;
	batch->offset = j->offset;
	return n;
}

/* Not to be believed when it is read: as far as the disk still does as told. */
static void
overwrite(const struct journal_segment *s, const struct journal_batch *b)
{
	(void)io_pwrite("journal.undo", s->fd, zeros, JOURNAL_HEAD, b->offset);
}

/* Blocks; without the lock. Returns 0 or an errno. */
static int
write_out(struct journal_segment *s, struct journal_batch *batch,
    const struct journal_buffers *l)
{
	struct slice parts[PARTS_MAX];
	const struct journal_buffer *b;
	size_t n = 0;
	int error;

	STAILQ_FOREACH (b, l, next) {
		parts[n++] = strbuf_slice(&b->b);
	}
	if (journal_write_batch("journal.write", s, batch, parts, n) == -1 ||
	    io_fdatasync("journal.sync", s->fd) == -1) {
		error = errno;
		overwrite(s, batch);
		return error;
	}
	return 0;
}

/* Hand the entries of these buffers back; with the lock. */
static void
hand_back(struct journal *j, struct journal_buffers *l, uint64_t lsn,
    int error)
{
	struct journal_buffer *b;
	struct journal_entry *e;
	bool first = STAILQ_EMPTY(&j->done);

	while ((b = STAILQ_FIRST(l)) != NULL) {
		STAILQ_REMOVE_HEAD(l, next);
		STAILQ_FOREACH (e, &b->entries, next) {
			e->lsn = lsn;
			e->error = error;
			lsn += e->octets;
		}
		j->claimed -= journal_round(JOURNAL_HEAD + b->b.n);
		STAILQ_CONCAT(&j->done, &b->entries);
		STAILQ_INSERT_TAIL(&j->spare, b, next);
	}
	if (first) { /* without the lock, for which the loop would wait */
		(void)pthread_mutex_unlock(&j->lock);
		journal_tell_loop(j);
		(void)pthread_mutex_lock(&j->lock);
	}
}

static void
flush_once(struct journal *j, struct journal_buffers *l,
    struct journal_batch *batch)
{
	struct journal_segment *s = TAILQ_LAST(&j->live, journal_segments);
	const uint64_t lsn = s->number << 32 | (batch->offset + JOURNAL_HEAD);
	int error;

	(void)pthread_mutex_unlock(&j->lock);
	error = write_out(s, batch, l);
	(void)pthread_mutex_lock(&j->lock);
	if (error != 0 && j->error == 0) {
		j->error = error;
	}
	j->next_batch++;
	j->offset = batch->end;
	j->flushes++;
	j->batches++;
	j->nentries += batch->entries;
	j->octets += batch->octets;
	hand_back(j, l, lsn, error);
}

/* The next free segment becomes the current one. */
static bool
advance(struct journal *j)
{
	struct journal_segment *s = TAILQ_FIRST(&j->ready);

	if (s == NULL) {
		return false;
	}
	TAILQ_REMOVE(&j->ready, s, next);
	j->ready_octets -= s->size;
	TAILQ_INSERT_TAIL(&j->live, s, next);
	j->offset = 0;
	j->changed = true;
	return true;
}

static void *
flusher_main(void *arg)
{
	struct journal *j = arg;
	struct journal_buffers l;
	struct journal_batch batch;

	(void)pthread_mutex_lock(&j->lock);
	for (;;) {
		if (STAILQ_EMPTY(&j->sealed)) {
			if (j->stop) {
				break;
			}
			j->flusher_idle = true;
			(void)pthread_cond_wait(&j->flush_wake, &j->lock);
			j->flusher_idle = false;
		} else if (j->error != 0) {
			STAILQ_INIT(&l);
			STAILQ_CONCAT(&l, &j->sealed);
			hand_back(j, &l, 0, j->error);
		} else if (gather(j, &l, &batch) > 0) {
			flush_once(j, &l, &batch);
		} else if (!advance(j)) {
			if (j->stop) {
				j->error = ENOSPC;
				continue;
			}
			(void)pthread_cond_wait(&j->flush_wake, &j->lock);
		}
	}
	(void)pthread_mutex_unlock(&j->lock);
	return NULL;
}

/* -- the loop: sealing, room --------------------------------------------------------- */

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
seal(struct journal *j)
{
	struct journal_buffer *b = j->filling;
	bool idle;

	if (b->n == 0) {
		return;
	}
	(void)event_del(j->company_event);
	(void)pthread_mutex_lock(&j->lock);
	STAILQ_INSERT_TAIL(&j->sealed, b, next);
	j->claimed += journal_round(JOURNAL_HEAD + b->b.n);
	j->filling = STAILQ_FIRST(&j->spare);
	if (j->filling != NULL) {
		STAILQ_REMOVE_HEAD(&j->spare, next);
	}
	idle = j->flusher_idle;
	(void)pthread_mutex_unlock(&j->lock);
	if (idle) { /* not before: it would wait for the lock at once */
		(void)pthread_cond_signal(&j->flush_wake);
	}
	if (j->filling == NULL) {
		j->filling = journal_buffer_new();
	} else if (j->filling->b.cap > SPARE_CAP) {
		strbuf_clear(&j->filling->b);
		strbuf_init(&j->filling->b, 0);
	}
	STAILQ_INIT(&j->filling->entries);
	j->filling->n = 0;
	strbuf_reset(&j->filling->b);
}

/* When the buffer is handed over, with an entry of this class in it. */
static void
call_turn(struct journal *j, enum journal_class c)
{
	static const struct timeval later = { 0, JOURNAL_COMPANY_MS * 1000 };

	if (c != JOURNAL_COMPANY) {
		event_active(j->turn_event, EV_TIMEOUT, 0);
	} else if (j->filling->n == 1) { /* else the first has seen to it */
		(void)event_add(j->company_event, &later);
	}
}

/* Put an encoded entry of so many octets in; the caller adds the octets. */
static void
enter(struct journal *j, struct journal_entry *e, enum journal_class c)
{
	if (j->filling->b.n + e->octets > j->batch_max + JOURNAL_ENTRY_HEAD) {
		seal(j);
	}
	STAILQ_INSERT_TAIL(&j->filling->entries, e, next);
	j->filling->n++;
	call_turn(j, c);
}

static uint64_t
ring_size(const struct journal *j)
{
	return (uint64_t)j->segments * j->segment_size;
}

/* For new entries: a segment's end that a batch did not fit into is lost. */
static bool
has_room(struct journal *j, size_t octets)
{
	const uint64_t keep = ring_size(j) / RESERVE + j->batch_max;
	uint64_t free_octets;

	(void)pthread_mutex_lock(&j->lock);
	free_octets = j->ready_octets + TAILQ_LAST(&j->live,
	    journal_segments)->size - j->offset;
	free_octets = free_octets > j->claimed ? free_octets - j->claimed : 0;
	(void)pthread_mutex_unlock(&j->lock);
	return free_octets >= keep + j->filling->b.n + octets +
	    2 * JOURNAL_BLOCK;
}

void
journal_append(struct journal *j, struct journal_entry *e,
    enum journal_class c, uint8_t kind, uint64_t qid, const struct slice *parts,
    size_t nparts)
{
	char head[JOURNAL_ENTRY_HEAD];
	struct strbuf w, *to;
	size_t i, n = 0;

	for (i = 0; i < nparts; i++) {
		n += parts[i].n;
	}
	e->octets = JOURNAL_ENTRY_HEAD + n;
	e->waiting = NULL;
	e->error = 0;
	if (c == JOURNAL_NEW && (!STAILQ_EMPTY(&j->waiting) ||
	    !has_room(j, e->octets))) {
		strbuf_init(&w, 0);
		to = &w;
		if (j->nwaiting++ == 0) {
			j->waiting_since = now_ms();
			j->tell_waiting = true;
			event_active(j->turn_event, EV_TIMEOUT, 0);
		}
		STAILQ_INSERT_TAIL(&j->waiting, e, next);
	} else {
		enter(j, e, c);
		to = &j->filling->b;
	}
	journal_encode_entry(kind, qid, (uint32_t)n, head);
	(void)strbuf_add(to, head, sizeof(head));
	for (i = 0; i < nparts; i++) {
		(void)strbuf_add_slice(to, parts[i]);
	}
	if (to == &w) {
		e->waiting = w.p;
	}
}

static struct journal_entry *
shift_waiting(struct journal *j)
{
	struct journal_entry *e = STAILQ_FIRST(&j->waiting);

	STAILQ_REMOVE_HEAD(&j->waiting, next);
	j->nwaiting--;
	j->waiting_since = now_ms();
	return e;
}

static void
admit_waiting(struct journal *j)
{
	struct journal_entry *e;
	bool failed = j->failed_told;

	while ((e = STAILQ_FIRST(&j->waiting)) != NULL &&
	    (failed || has_room(j, e->octets))) {
		e = shift_waiting(j);
		enter(j, e, JOURNAL_NEW);
		(void)strbuf_add(&j->filling->b, e->waiting, e->octets);
		free(e->waiting);
		e->waiting = NULL;
	}
}

void
journal_refuse_waiting(struct journal *j)
{
	struct journal_entry *e;

	while (!STAILQ_EMPTY(&j->waiting)) {
		e = shift_waiting(j);
		free(e->waiting);
		e->waiting = NULL;
		e->error = ENOSPC;
		STAILQ_INSERT_TAIL(&j->refused, e, next);
	}
	event_active(j->turn_event, EV_TIMEOUT, 0);
}

/* -- the loop: answering --------------------------------------------------------------- */

static void
answer(struct journal_entries *l)
{
	struct journal_entry *e;

	while ((e = STAILQ_FIRST(l)) != NULL) {
		STAILQ_REMOVE_HEAD(l, next);
		e->done(e);
	}
}

static void
tell_owner(struct journal *j, bool changed, int error)
{
	if (error != 0 && !j->failed_told) {
		j->failed_told = true;
		if (j->failed_cb != NULL) {
			j->failed_cb(j->failed_arg, error);
		}
	}
	if (changed && j->pressure_cb != NULL) {
		j->pressure_cb(j->pressure_arg);
	}
}

static void
on_done(evutil_socket_t fd, short what, void *arg)
{
	struct journal *j = arg;
	struct journal_entries l;
	uint64_t n;
	bool changed;
	int error, keeper_error;

	(void)what;
	STAILQ_INIT(&l);
	if (read(fd, &n, sizeof(n)) == -1 && errno != EAGAIN &&
	    errno != EINTR) {
		log_panic("journal: eventfd: errno %d", errno);
	}
	(void)pthread_mutex_lock(&j->lock);
	STAILQ_CONCAT(&l, &j->done);
	changed = j->changed;
	j->changed = false;
	error = j->error;
	keeper_error = j->keeper_error;
	j->keeper_error = 0;
	(void)pthread_mutex_unlock(&j->lock);
	if (keeper_error != 0) {
		log_error("journal: a segment cannot be made or renamed: %s",
		    strerror(keeper_error));
	}
	answer(&l);
	tell_owner(j, changed, error);
	admit_waiting(j);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct journal *j = arg;
	struct journal_entries l;

	(void)fd;
	(void)what;
	STAILQ_INIT(&l);
	STAILQ_CONCAT(&l, &j->refused);
	answer(&l);
	seal(j);
	if (j->tell_waiting) {
		j->tell_waiting = false;
		tell_owner(j, true, 0);
	}
}

void
journal_work(struct journal *j)
{
	on_turn(-1, 0, j);
	on_done(j->done_fd, 0, j);
	on_turn(-1, 0, j);
}

int
journal_fd(const struct journal *j)
{
	return j->done_fd;
}

/* -- floor, use ------------------------------------------------------------------------- */

void
journal_set_floor(struct journal *j, uint64_t number)
{
	struct journal_segment *s;
	bool any = false;

	if (number <= j->floor) {
		return;
	}
	j->floor = number;
	(void)pthread_mutex_lock(&j->lock);
	while ((s = TAILQ_FIRST(&j->live)) != NULL && s->number < number &&
	    s != TAILQ_LAST(&j->live, journal_segments)) {
		TAILQ_REMOVE(&j->live, s, next);
		TAILQ_INSERT_TAIL(&j->spent, s, next);
		any = true;
	}
	if (any) {
		(void)pthread_cond_signal(&j->keep_wake);
	}
	(void)pthread_mutex_unlock(&j->lock);
}

void
journal_usage(struct journal *j, struct journal_usage *out)
{
	const struct journal_segment *s;

	memset(out, 0, sizeof(*out));
	out->size = ring_size(j);
	out->waiting = j->nwaiting;
	out->waiting_ms = j->nwaiting > 0 ? now_ms() - j->waiting_since : 0;
	(void)pthread_mutex_lock(&j->lock);
	TAILQ_FOREACH (s, &j->live, next) {
		out->used += s->size;
		out->current = s->number;
	}
	s = TAILQ_LAST(&j->live, journal_segments);
	out->used = out->used - s->size + j->offset + j->claimed;
	out->free = j->ready_octets + s->size - j->offset;
	out->free -= out->free > j->claimed ? j->claimed : out->free;
	TAILQ_FOREACH (s, &j->spent, next) {
		out->used += s->size;
		out->going += s->size;
	}
	out->oldest = TAILQ_FIRST(&j->live)->number;
	out->flushes = j->flushes;
	out->batches = j->batches;
	out->entries = j->nentries;
	out->octets = j->octets;
	(void)pthread_mutex_unlock(&j->lock);
}

size_t
journal_body_max(const struct journal *j)
{
	return j->batch_max;
}

void
journal_on_failed(struct journal *j, void (*cb)(void *arg, int error),
    void *arg)
{
	j->failed_cb = cb;
	j->failed_arg = arg;
}

void
journal_on_pressure(struct journal *j, void (*cb)(void *arg), void *arg)
{
	j->pressure_cb = cb;
	j->pressure_arg = arg;
}

/* -- threads; the end --------------------------------------------------------------------- */

int
journal_threads_start(struct journal *j)
{
	sigset_t all, old;
	int error;

	j->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (j->done_fd == -1) {
		return -1;
	}
	j->done_event = event_new(j->base, j->done_fd, EV_READ | EV_PERSIST,
	    on_done, j);
	j->turn_event = event_new(j->base, -1, 0, on_turn, j);
	j->company_event = event_new(j->base, -1, 0, on_turn, j);
	if (j->done_event == NULL || j->turn_event == NULL ||
	    j->company_event == NULL ||
	    event_add(j->done_event, NULL) == -1) {
		errno = ENOMEM;
		return -1;
	}
	/* Threads take no signals: the loop's handlers run on its thread. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&j->flusher, NULL, flusher_main, j);
	if (error == 0) {
		error = pthread_create(&j->keeper, NULL, journal_keeper_main,
		    j);
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error != 0) {
		log_panic("journal: cannot start a thread: errno %d", error);
	}
	j->started = true;
	return 0;
}

static void
stop_threads(struct journal *j)
{
	(void)pthread_mutex_lock(&j->lock);
	j->stop = true;
	(void)pthread_cond_broadcast(&j->flush_wake);
	(void)pthread_cond_broadcast(&j->keep_wake);
	(void)pthread_mutex_unlock(&j->lock);
	(void)pthread_join(j->flusher, NULL);
	(void)pthread_join(j->keeper, NULL);
	j->started = false;
}

/* A spool at rest: no segment has a batch of its own number. What still has is
   renamed, the oldest first, one after the other. */
static void
leave_nothing(struct journal *j)
{
	struct journal_segment *s;
	int ret;

	TAILQ_CONCAT(&j->spent, &j->live, next);
	TAILQ_FOREACH (s, &j->spent, next) {
		ret = s->bad ? journal_set_aside(j, s) :
		    journal_segment_rename(j, s, j->next_number++, false);
		if (ret == -1 ||
		    io_fsync("journal.close.sync", j->dir) == -1) {
			return; /* the next start reads them: nothing lives */
		}
	}
}

static void
free_segments(struct journal_segments *l)
{
	struct journal_segment *s;

	while ((s = TAILQ_FIRST(l)) != NULL) {
		TAILQ_REMOVE(l, s, next);
		journal_segment_free(s);
	}
}

static void
free_buffers(struct journal_buffers *l)
{
	struct journal_buffer *b;

	while ((b = STAILQ_FIRST(l)) != NULL) {
		STAILQ_REMOVE_HEAD(l, next);
		journal_buffer_free(b);
	}
}

void
journal_close(struct journal *j)
{
	if (j->started) {
		journal_refuse_waiting(j);
		on_turn(-1, 0, j);
		stop_threads(j);
		on_done(j->done_fd, 0, j);
		on_turn(-1, 0, j); /* what was appended just now is too late */
		if (j->error == 0 && j->floor > TAILQ_LAST(&j->live,
		    journal_segments)->number) {
			leave_nothing(j);
		}
	}
	free_segments(&j->live);
	free_segments(&j->ready);
	free_segments(&j->spent);
	free_buffers(&j->sealed);
	free_buffers(&j->spare);
	journal_buffer_free(j->filling);
	if (j->done_event != NULL) {
		event_free(j->done_event);
	}
	if (j->turn_event != NULL) {
		event_free(j->turn_event);
	}
	if (j->company_event != NULL) {
		event_free(j->company_event);
	}
	if (j->done_fd != -1) {
		(void)close(j->done_fd);
	}
	if (j->dir != -1) {
		(void)close(j->dir);
	}
	(void)pthread_mutex_destroy(&j->lock);
	(void)pthread_cond_destroy(&j->flush_wake);
	(void)pthread_cond_destroy(&j->keep_wake);
	free(j);
}
