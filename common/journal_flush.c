/*
 * The flusher: it makes one batch of all that is sealed, writes and flushes it,
 * and hands the entries back, which the loop then answers.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/io.h"
#include "common/journal_int.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define SPARE_MAX 8
#define STARVE_MS 100 /* without a segment, before the ring grows */
#define GATHER_MAX_NS 20000000u /* that a flush waits for company */

static const char zeros[JOURNAL_BLOCK];

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

static struct iovec
piece(const void *p, size_t n)
{
	union {
		const void *in;
		void *out;
	} u = { .in = p }; /* it is read only */

	return (struct iovec){ u.out, n };
}

int
journal_write_batch(const char *site, struct journal_segment *s,
    struct journal_batch *b, const struct slice *parts, size_t nparts)
{
	struct iovec v[JOURNAL_PARTS + 2];
	char head[JOURNAL_HEAD];
	uint32_t crc = 0;
	size_t i;

	b->segment = s->number;
	b->salt = s->salt;
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
	struct slice parts[JOURNAL_PARTS];
	const struct journal_buffer *b;
	size_t n = 0;
	int error;

	TAILQ_FOREACH (b, l, next) {
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

/* -- what goes into a batch ------------------------------------------------------ */

static struct journal_segment *
current(const struct journal *j)
{
	return TAILQ_LAST(&j->live, journal_segments);
}

/* Sealed buffers that go together into the current segment, from the first on;
   0: not even the first has place there. */
static size_t
gather(struct journal *j, struct journal_buffers *out,
    struct journal_batch *batch)
{
	struct journal_buffer *b;
	size_t n = 0;

	memset(batch, 0, sizeof(*batch));
	TAILQ_INIT(out);
	while (n < JOURNAL_PARTS && (b = TAILQ_FIRST(&j->sealed)) != NULL) {
		const uint64_t octets = (uint64_t)batch->octets + b->b.n;

		if ((n > 0 && octets > j->batch_max + JOURNAL_ENTRY_HEAD) ||
		    journal_round(JOURNAL_HEAD + octets) >
		    current(j)->size - j->offset) {
			break;
		}
		TAILQ_REMOVE(&j->sealed, b, next);
		TAILQ_INSERT_TAIL(out, b, next);
		batch->octets += (uint32_t)b->b.n;
		batch->entries += b->n;
		j->promises -= b->promises;
		n++;
	}
	batch->flags = j->resumed ? JOURNAL_COPY : 0;
	batch->number = j->next_batch;
	batch->offset = j->offset;
	return n;
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

uint64_t
journal_used(const struct journal *j)
{
	const struct journal_segment *s;
	uint64_t n = 0;

	TAILQ_FOREACH (s, &j->live, next) {
		n += s->size;
	}
	TAILQ_FOREACH (s, &j->spent, next) {
		n += s->size;
	}
	return n - current(j)->size + j->offset + j->claimed;
}

/* -- company ------------------------------------------------------------------------ */

/*
 * Of many senders, each flush that begins as soon as it can answers the few who
 * came during the one before: while they come back, others are flushed for. So
 * who was seen around the last flush, in it or while it ran, is waited for, as
 * long as a flush takes: half the flushes, and nobody loses more than that time.
 * A lone sender is never a crowd; when nobody comes, the next flush is not
 * waited for.
 */
bool
journal_gathered(const struct journal *j)
{
	return j->crowd <= 1 || j->promises >= j->crowd ||
	    j->claimed >= j->batch_max;
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct timespec
after_ns(uint64_t ns)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* as its condattr says */
	ns += (uint64_t)ts.tv_nsec;
	ts.tv_sec += (time_t)(ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	return ts;
}

static void
wait_for_company(struct journal *j)
{
	const uint32_t before = j->promises;
	const struct timespec until = after_ns(j->flush_ns < GATHER_MAX_NS ?
	    j->flush_ns : GATHER_MAX_NS);
	int error = 0;

	while (error == 0 && !j->stop && !journal_gathered(j)) {
		j->gathering = true; /* until the loop wakes us */
		error = pthread_cond_timedwait(&j->flush_wake, &j->lock,
		    &until);
	}
	j->gathering = false;
	j->in_vain = j->promises == before;
	j->crowd = 0; /* waited for once */
}

/* After a flush for so many that took so long. */
static void
learn_crowd(struct journal *j, uint32_t promises, uint64_t took_ns)
{
	j->flush_ns = (3 * j->flush_ns + took_ns) / 4;
	j->crowd = j->in_vain ? 0 : promises + j->promises;
	j->in_vain = false;
}

/* -- handing back ------------------------------------------------------------------ */

static void
set_results(struct journal_buffers *l, uint64_t lsn, int error)
{
	struct journal_buffer *b;
	struct journal_entry *e;

	TAILQ_FOREACH (b, l, next) {
		STAILQ_FOREACH (e, &b->entries, next) {
			e->lsn = lsn;
			e->error = error;
			lsn += e->octets;
		}
	}
}

/* With the lock, which it leaves for a moment. */
static void
hand_back(struct journal *j, struct journal_buffers *l)
{
	const bool first = STAILQ_EMPTY(&j->done);
	struct journal_buffer *b;

	while ((b = TAILQ_FIRST(l)) != NULL) {
		TAILQ_REMOVE(l, b, next);
		j->claimed -= journal_round(JOURNAL_HEAD + b->b.n);
		STAILQ_CONCAT(&j->done, &b->entries);
		if (j->nspare < SPARE_MAX) {
			TAILQ_INSERT_TAIL(&j->spare, b, next);
			j->nspare++;
		} else {
			journal_buffer_free(b);
		}
	}
	if (first) { /* else it knows, and has not come yet */
		(void)pthread_mutex_unlock(&j->lock);
		journal_tell_loop(j);
		(void)pthread_mutex_lock(&j->lock);
	}
}

static void
flush_once(struct journal *j, struct journal_buffers *l,
    struct journal_batch *batch)
{
	struct journal_segment *s = current(j);
	const struct journal_buffer *b;
	const uint64_t begun = now_ns();
	uint32_t promises = 0;
	bool half;
	int error;

	(void)pthread_mutex_unlock(&j->lock);
	TAILQ_FOREACH (b, l, next) {
		promises += b->promises;
	}
	error = write_out(s, batch, l);
	set_results(l, s->number << 32 | (batch->offset + JOURNAL_HEAD),
	    error);
	(void)pthread_mutex_lock(&j->lock);
	if (error != 0 && j->error == 0) {
		j->error = error;
	}
	j->next_batch++;
	j->resumed = false;
	j->offset = batch->end;
	j->flushes++;
	j->batches++;
	j->nentries += batch->entries;
	j->octets += batch->octets;
	half = journal_used(j) > (uint64_t)j->segments * j->segment_size / 2;
	j->changed = j->changed || (half && !j->above_half);
	j->above_half = half;
	learn_crowd(j, promises, now_ns() - begun);
	hand_back(j, l);
}

/* All that is sealed gets the error. */
static void
refuse(struct journal *j)
{
	struct journal_buffers l;

	TAILQ_INIT(&l);
	TAILQ_CONCAT(&l, &j->sealed, next);
	j->promises = 0;
	set_results(&l, 0, j->error);
	hand_back(j, &l);
}

/*
 * No segment is free. Mostly one is on its way; but what waits here may be what
 * keeps the oldest from being given up (its messages are busy until it is
 * written): then one more is made.
 */
static void
wait_for_segment(struct journal *j)
{
	const struct timespec ts = after_ns(STARVE_MS * 1000000u);

	if (pthread_cond_timedwait(&j->flush_wake, &j->lock, &ts) !=
	    ETIMEDOUT || !TAILQ_EMPTY(&j->ready)) {
		return;
	}
	j->starving = true;
	(void)pthread_cond_signal(&j->keep_wake);
	while (TAILQ_EMPTY(&j->ready) && j->error == 0 && !j->stop) {
		(void)pthread_cond_wait(&j->flush_wake, &j->lock);
	}
	j->starving = false;
}

void *
journal_flusher_main(void *arg)
{
	struct journal *j = arg;
	struct journal_buffers l;
	struct journal_batch batch;

	(void)pthread_mutex_lock(&j->lock);
	for (;;) {
		if (TAILQ_EMPTY(&j->sealed)) {
			if (j->stop) {
				break;
			}
			j->flusher_idle = true;
			(void)pthread_cond_wait(&j->flush_wake, &j->lock);
			j->flusher_idle = false;
		} else if (j->error != 0) {
			refuse(j);
		} else if (!j->stop && !journal_gathered(j)) {
			wait_for_company(j);
		} else if (gather(j, &l, &batch) > 0) {
			flush_once(j, &l, &batch);
		} else if (!advance(j)) {
			if (j->stop) {
				j->error = ENOSPC;
				continue;
			}
			wait_for_segment(j);
		}
	}
	(void)pthread_mutex_unlock(&j->lock);
	return NULL;
}
