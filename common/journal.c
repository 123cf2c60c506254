/*
 * The loop's side: it fills a buffer, which is sealed at the end of its turn for
 * the flusher, lets in what waits for room, and answers what is durable.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/journal_int.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define JOIN_MAX  (32u * 1024)  /* what is sealed meanwhile, and smaller, goes
                                   into the same buffer */
#define SPARE_CAP (512u * 1024) /* larger buffers are not kept */
#define RESERVE   8             /* a part of the ring, not for new entries */

/* -- the loop: sealing, room --------------------------------------------------------- */

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The flusher has not taken the buffer before this one yet: into that, so that
   a batch is not bounded by the number of the loop's turns. With the lock. */
static bool
join_last(struct journal *j, struct journal_buffer *b)
{
	struct journal_buffer *last = TAILQ_LAST(&j->sealed,
	    journal_buffers);

	if (last == NULL || b->b.n > JOIN_MAX ||
	    last->b.n + b->b.n > j->batch_max) {
		return false;
	}
	j->claimed -= journal_round(JOURNAL_HEAD + last->b.n);
	(void)strbuf_add_slice(&last->b, strbuf_slice(&b->b));
	j->claimed += journal_round(JOURNAL_HEAD + last->b.n);
	STAILQ_CONCAT(&last->entries, &b->entries);
	last->n += b->n;
	last->promises += b->promises;
	return true;
}

/* An empty buffer; with the lock. */
static struct journal_buffer *
take_spare(struct journal *j)
{
	struct journal_buffer *b = TAILQ_FIRST(&j->spare);

	if (b == NULL) {
		return journal_buffer_new();
	}
	TAILQ_REMOVE(&j->spare, b, next);
	j->nspare--;
	if (b->b.cap > SPARE_CAP) {
		strbuf_clear(&b->b);
	}
	return b;
}

static void
seal(struct journal *j)
{
	struct journal_buffer *b = j->filling;
	bool wake;

	if (b->n == 0) {
		return;
	}
	(void)event_del(j->company_event);
	(void)pthread_mutex_lock(&j->lock);
	j->promises += b->promises;
	if (!join_last(j, b)) {
		TAILQ_INSERT_TAIL(&j->sealed, b, next);
		j->claimed += journal_round(JOURNAL_HEAD + b->b.n);
		j->filling = take_spare(j);
	}
	wake = j->flusher_idle || (j->gathering && journal_gathered(j));
	j->flusher_idle = false;
	j->gathering = j->gathering && !wake;
	(void)pthread_mutex_unlock(&j->lock);
	if (wake) {
		(void)pthread_cond_signal(&j->flush_wake);
	}
	STAILQ_INIT(&j->filling->entries);
	j->filling->n = j->filling->promises = 0;
	strbuf_reset(&j->filling->b);
}

/* Two flushes long, that the next of a lone sender, who has waited for one, is
   there before. */
static struct timeval
company_wait(struct journal *j)
{
	int64_t us;

	(void)pthread_mutex_lock(&j->lock);
	us = (int64_t)(2 * j->flush_ns / 1000);
	(void)pthread_mutex_unlock(&j->lock);
	us = us < JOURNAL_COMPANY_MS * 1000 ? JOURNAL_COMPANY_MS * 1000 :
	    us > JOURNAL_COMPANY_MAX_MS * 1000 ? JOURNAL_COMPANY_MAX_MS * 1000 :
	    us;
	return (struct timeval){ 0, (suseconds_t)us };
}

/* When the buffer is handed over, with an entry of this class in it. */
static void
call_turn(struct journal *j, enum journal_class c)
{
	struct timeval later;

	if (c != JOURNAL_COMPANY) {
		event_active(j->turn_event, EV_TIMEOUT, 0);
	} else if (j->filling->n == 1) { /* else the first has seen to it */
		later = company_wait(j);
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
	j->filling->promises += c == JOURNAL_NEW;
	call_turn(j, c);
}

static uint64_t
ring_size(const struct journal *j)
{
	return (uint64_t)j->segments * j->segment_size;
}

/* For new entries: a segment's end that a batch did not fit into is lost. After
   a failure all find room: for their error. */
static bool
has_room(struct journal *j, size_t octets)
{
	const uint64_t keep = ring_size(j) / RESERVE + j->batch_max;
	uint64_t free_octets;

	if (j->failed_told) {
		return true;
	}
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
		e->since_ms = now_ms();
		if (j->nwaiting++ == 0) {
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
	return e;
}

static void
admit_waiting(struct journal *j)
{
	struct journal_entry *e;

	while ((e = STAILQ_FIRST(&j->waiting)) != NULL &&
	    has_room(j, e->octets)) {
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
	bool changed;
	int error, trouble;

	(void)fd;
	(void)what;
	STAILQ_INIT(&l);
	(void)pthread_mutex_lock(&j->lock);
	STAILQ_CONCAT(&l, &j->done);
	changed = j->changed;
	j->changed = false;
	error = j->error;
	trouble = j->trouble;
	j->trouble = 0;
	(void)pthread_mutex_unlock(&j->lock);
	if (trouble != 0) {
		log_error("journal: a segment cannot be made or renamed: %s",
		    strerror(trouble));
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
	uint64_t n;

	on_turn(-1, 0, j);
	if (read(j->done_fd, &n, sizeof(n)) == -1 && errno != EAGAIN &&
	    errno != EINTR) {
		log_panic("journal: eventfd: errno %d", errno);
	}
	on_done(-1, 0, j);
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
	if (j->nwaiting > 0) {
		out->waiting_ms = now_ms() - STAILQ_FIRST(&j->waiting)->since_ms;
	}
	(void)pthread_mutex_lock(&j->lock);
	out->used = journal_used(j);
	TAILQ_FOREACH (s, &j->spent, next) {
		out->going += s->size;
	}
	s = TAILQ_LAST(&j->live, journal_segments);
	out->free = j->ready_octets + s->size - j->offset;
	out->free -= out->free > j->claimed ? j->claimed : out->free;
	out->current = s->number;
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
	/* Each write is an edge: the loop need not read it. */
	j->done_event = event_new(j->base, j->done_fd, EV_READ | EV_PERSIST |
	    EV_ET, on_done, j);
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
	error = pthread_create(&j->flusher, NULL, journal_flusher_main,
	    j);
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

/* A spool at rest: no segment has a batch of its own. What still has is renamed,
   the oldest first, one after the other. */
static void
leave_nothing(struct journal *j)
{
	struct journal_segment *s;
	int ret;

	TAILQ_CONCAT(&j->spent, &j->live, next);
	TAILQ_FOREACH (s, &j->spent, next) {
		ret = s->bad ? journal_segment_set_aside(j, s) :
		    journal_segment_rename(j, s, j->next_number++, false);
		if (ret == -1 || io_fsync("journal.close.sync", j->dir) == -1) {
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

	while ((b = TAILQ_FIRST(l)) != NULL) {
		TAILQ_REMOVE(l, b, next);
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
		on_done(-1, 0, j);
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
