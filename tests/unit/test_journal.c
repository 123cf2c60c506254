/* The journal by itself: what is appended is there after a start, in order, or
   was reported; room, retiring, damage. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/io.h"
#include "common/journal.h"
#include "common/qid.h"
#include "common/xmalloc.h"
#include "tests/unit/unit.h"

#define SIZE JOURNAL_SEGMENT_MIN

struct mark {
	struct journal_entry e;
	uint64_t qid;
	bool done;
};

struct read_entry {
	uint64_t lsn, qid;
	uint8_t kind;
	size_t n;
	char first;
};

struct world {
	char path[64];
	int dir;
	struct event_base *base;
	struct journal *j;
	struct read_entry *got;
	size_t ngot;
	size_t ndone, bad;
	const char *why;      /* the last bad one was bad */
	uint64_t last_lsn;
	int error, failed;
	unsigned pressures;
};

static void
on_entry(void *arg, uint64_t lsn, uint8_t kind, uint64_t qid,
    struct slice body)
{
	struct world *w = arg;

	w->got = xreallocarray(w->got, w->ngot + 1, sizeof(*w->got));
	w->got[w->ngot++] = (struct read_entry){ lsn, qid, kind, body.n,
		body.n > 0 ? body.p[0] : '\0' };
}

static void
on_bad(void *arg, uint64_t segment, uint64_t offset, const char *why)
{
	struct world *w = arg;

	(void)segment;
	(void)offset;
	w->bad++;
	w->why = why;
}

static void
on_failed(void *arg, int error)
{
	((struct world *)arg)->failed = error;
}

static void
on_pressure(void *arg)
{
	((struct world *)arg)->pressures++;
}

static void
start_with(struct world *w, uint32_t size)
{
	const struct journal_config cfg = { w->dir, size, 4 };

	free(w->got);
	w->got = NULL;
	w->ngot = 0;
	w->error = w->failed = 0;
	assert_int_equal(journal_open(w->base, &cfg, on_entry, w, &w->j), 0);
	journal_on_failed(w->j, on_failed, w);
	journal_on_pressure(w->j, on_pressure, w);
}

static void
start(struct world *w)
{
	start_with(w, SIZE);
	assert_int_equal(journal_start(w->j), 0);
}

static int
begin(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	(void)snprintf(w->path, sizeof(w->path), "/tmp/journal-test-XXXXXX");
	assert_non_null(mkdtemp(w->path));
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY);
	w->base = event_base_new();
	*state = w;
	return 0;
}

static int
end(void **state)
{
	struct world *w = *state;
	char command[128];

	io_plan(NULL);
	if (w->j != NULL) {
		journal_close(w->j);
	}
	event_base_free(w->base);
	(void)close(w->dir);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", w->path);
	assert_int_equal(system(command), 0);
	free(w->got);
	free(w);
	return 0;
}

static struct world *marks_world;

static void
mark_done(struct journal_entry *e)
{
	struct mark *m = e->arg;
	struct world *w = marks_world;

	w->ndone++;
	if (e->error != 0) {
		w->error = e->error;
	} else {
		assert_true(e->lsn > w->last_lsn);
		w->last_lsn = e->lsn;
	}
	free(m);
}

static void
append(struct world *w, uint64_t qid, size_t n, char fill,
    enum journal_class c)
{
	struct mark *m = xcalloc(1, sizeof(*m));
	char *p = xmalloc(n + 1);
	const struct slice parts[2] = { slice_make(p, n / 2),
		slice_make(p + n / 2, n - n / 2) };

	memset(p, fill, n);
	marks_world = w;
	m->e.done = mark_done;
	m->e.arg = m;
	journal_append(w->j, &m->e, c, 7, qid, parts, 2);
	free(p);
}

static void
wait_done(struct world *w, size_t n)
{
	while (w->ndone < n) {
		assert_int_not_equal(event_base_loop(w->base, EVLOOP_ONCE),
		    -1);
	}
}

static void
stop(struct world *w)
{
	journal_close(w->j);
	w->j = NULL;
}

static struct journal_usage
usage(struct world *w)
{
	struct journal_usage u;

	journal_usage(w->j, &u);
	return u;
}

/* The retired segments come back ready: some turns of the loop. */
static void
wait_used_below(struct world *w, uint64_t octets)
{
	while (usage(w).used >= octets) {
		assert_int_not_equal(event_base_loop(w->base, EVLOOP_ONCE),
		    -1);
	}
}

/* The file of a segment: its name, below journal/, that ends in `end'. */
static bool
find_segment(struct world *w, uint64_t number, const char *end, char name[64])
{
	char id[QID_TEXT + 1];
	struct dirent *de;
	bool found = false;
	DIR *d = fdopendir(openat(w->dir, "journal", O_RDONLY | O_DIRECTORY));

	assert_non_null(d);
	qid_format(number, id);
	while (!found && (de = readdir(d)) != NULL) {
		found = strncmp(de->d_name, id, QID_TEXT) == 0 &&
		    strlen(de->d_name) == 2 * QID_TEXT + 1 + strlen(end) &&
		    strcmp(de->d_name + 2 * QID_TEXT + 1, end) == 0;
		if (found) {
			assert_true(snprintf(name, 64, "journal/%s",
			    de->d_name) < 64);
		}
	}
	(void)closedir(d);
	return found;
}

static int
open_segment(struct world *w, uint64_t number)
{
	char name[64];
	int fd;

	assert_true(find_segment(w, number, "", name));
	fd = openat(w->dir, name, O_RDWR);
	assert_true(fd != -1);
	return fd;
}

static void
keeps_what_was_appended(void **state)
{
	struct world *w = *state;
	uint64_t i;

	start(w);
	assert_int_equal(w->ngot, 0);
	for (i = 1; i <= 20; i++) {
		append(w, i, i * 100, (char)('a' + i), JOURNAL_NEW);
	}
	wait_done(w, 20);
	assert_int_equal(w->error, 0);
	assert_int_equal(usage(w).flushes, 1);
	append(w, 21, 0, 'x', JOURNAL_RESERVED);
	wait_done(w, 21);
	stop(w);
	start(w);
	assert_int_equal(w->ngot, 21);
	for (i = 1; i <= 20; i++) {
		assert_int_equal(w->got[i - 1].qid, i);
		assert_int_equal(w->got[i - 1].n, i * 100);
		assert_int_equal(w->got[i - 1].kind, 7);
		assert_int_equal(w->got[i - 1].first, 'a' + (int)i);
	}
	assert_int_equal(w->got[20].n, 0);
	/* Nothing was copied: it is gone now. */
	stop(w);
	start(w);
	assert_int_equal(w->ngot, 0);
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* What nobody waits for goes with the next that somebody waits for; alone, and
   at the end, it goes all the same. */
static void
company_waits_for_others(void **state)
{
	struct world *w = *state;
	uint64_t i, begun;
	bool at_once;

	start(w);
	begun = now_ms();
	for (i = 1; i <= 3; i++) {
		append(w, i, 10, 'c', JOURNAL_COMPANY);
		assert_int_equal(event_base_loop(w->base, EVLOOP_NONBLOCK), 0);
	}
	append(w, 4, 10, 'n', JOURNAL_NEW);
	at_once = now_ms() - begun < JOURNAL_COMPANY_MS;
	wait_done(w, 4);
	if (at_once) { /* the machine did not stand still */
		assert_int_equal(usage(w).flushes, 1);
	}
	append(w, 5, 10, 'c', JOURNAL_COMPANY);
	wait_done(w, 5);
	append(w, 6, 10, 'c', JOURNAL_COMPANY);
	stop(w);
	assert_int_equal(w->ndone, 6);
	assert_int_equal(w->error, 0);
	start(w);
	assert_int_equal(w->ngot, 6);
	for (i = 1; i <= 6; i++) {
		assert_int_equal(w->got[i - 1].qid, i);
	}
}

/* Segments are made behind: until all of them are there. */
static void
wait_for_the_ring(struct world *w)
{
	while (usage(w).free + usage(w).used < usage(w).size) {
		assert_int_not_equal(event_base_loop(w->base, EVLOOP_ONCE |
		    EVLOOP_NONBLOCK), -1);
	}
}

static void
wait_sem(sem_t *s)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 20;
	while (sem_timedwait(s, &ts) == -1) {
		assert_int_equal(errno, EINTR);
	}
}

enum { CLOCK_GOES, CLOCK_STANDS, CLOCK_IS_LATE };

/* Linked with --wrap: a flush that takes until it is let go, and a clock for
   those who wait for company. */
static struct {
	atomic_bool held;
	sem_t begun, go;
	atomic_int clock;
	sem_t gathering;
	atomic_uint late;
} disk;

int __wrap_io_fdatasync(const char *site, int fd);
int __real_io_fdatasync(const char *site, int fd);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
    const struct timespec *until);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
    const struct timespec *until);

int
__wrap_io_fdatasync(const char *site, int fd)
{
	if (atomic_load(&disk.held)) {
		(void)sem_post(&disk.begun);
		while (sem_wait(&disk.go) == -1) {
			continue;
		}
	}
	return __real_io_fdatasync(site, fd);
}

/* Its callers hold the lock that the loop takes in between. */
int
__wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
    const struct timespec *until)
{
	if (disk.clock == CLOCK_GOES) {
		return __real_pthread_cond_timedwait(cond, lock, until);
	}
	(void)sem_post(&disk.gathering);
	if (disk.clock == CLOCK_STANDS) {
		return pthread_cond_wait(cond, lock);
	}
	if (atomic_fetch_add(&disk.late, 1) > 100) {
		abort(); /* who is late for ever waits for ever */
	}
	return ETIMEDOUT;
}

static void
turn(struct world *w)
{
	assert_int_not_equal(event_base_loop(w->base, EVLOOP_NONBLOCK), -1);
}

/* Of five senders, one is answered while the messages of four wait. */
static void
four_wait(struct world *w, uint64_t *n)
{
	unsigned i;

	atomic_store(&disk.held, true);
	append(w, ++*n, 10, 'a', JOURNAL_NEW);
	turn(w);
	wait_sem(&disk.begun);
	for (i = 0; i < 4; i++) {
		append(w, ++*n, 10, 'b', JOURNAL_NEW);
		turn(w);
	}
	atomic_store(&disk.held, false);
	(void)sem_post(&disk.go);
	wait_done(w, *n - 4);
}

/* ... the next flush waits for the fifth, and not when it does not come; nobody
   is waited for in vain twice, and a lone sender waits for nobody. */
static void
a_flush_waits_for_a_crowd(void **state)
{
	struct world *w = *state;
	uint64_t flushes, n = 0;
	unsigned i;

	start(w);
	wait_for_the_ring(w);
	assert_int_equal(sem_init(&disk.begun, 0, 0), 0);
	assert_int_equal(sem_init(&disk.go, 0, 0), 0);
	assert_int_equal(sem_init(&disk.gathering, 0, 0), 0);
	disk.clock = CLOCK_STANDS;
	flushes = usage(w).flushes;
	four_wait(w, &n);
	wait_sem(&disk.gathering);
	append(w, ++n, 10, 'a', JOURNAL_NEW);
	wait_done(w, n);
	assert_int_equal(usage(w).flushes, flushes + 2);
	disk.clock = CLOCK_IS_LATE;
	append(w, ++n, 10, 'a', JOURNAL_NEW); /* is there a crowd still? */
	wait_done(w, n);
	four_wait(w, &n);
	wait_done(w, n);
	assert_int_equal(disk.late, 2);
	for (i = 0; i < 3; i++) {
		append(w, ++n, 10, 'c', JOURNAL_NEW);
		wait_done(w, n);
	}
	assert_int_equal(disk.late, 2);
	assert_int_equal(w->error, 0);
	disk.clock = CLOCK_GOES;
	(void)sem_destroy(&disk.begun);
	(void)sem_destroy(&disk.go);
	(void)sem_destroy(&disk.gathering);
}

static void
copies_what_lives(void **state)
{
	struct world *w = *state;
	static char body[100000];
	const struct slice part = { body, sizeof(body) };
	uint64_t lsn[12], i;

	memset(body, 'c', sizeof(body));
	start_with(w, SIZE);
	for (i = 0; i < 12; i++) {
		assert_int_equal(journal_copy(w->j, 9, 100 + i, &part, 1,
		    &lsn[i]), 0);
		assert_true(i == 0 || lsn[i] > lsn[i - 1]);
	}
	assert_int_equal(journal_start(w->j), 0);
	append(w, 1, 10, 'z', JOURNAL_NEW);
	wait_done(w, 1);
	assert_true(w->last_lsn > lsn[11]);
	stop(w);
	start_with(w, SIZE);
	assert_int_equal(w->ngot, 13);
	for (i = 0; i < 12; i++) {
		assert_int_equal(w->got[i].qid, 100 + i);
		assert_int_equal(w->got[i].lsn, lsn[i]);
		assert_int_equal(w->got[i].n, sizeof(body));
	}
	assert_int_equal(w->got[12].qid, 1);
	assert_int_equal(w->got[12].lsn, w->last_lsn);
	assert_int_equal(journal_start(w->j), 0);
}

static void
a_start_that_was_cut_changes_nothing(void **state)
{
	struct world *w = *state;
	static char body[100000];
	const struct slice part = { body, sizeof(body) };
	uint64_t i, lsn;
	int round;

	start(w);
	for (i = 1; i <= 10; i++) {
		append(w, i, 50000, 'o', JOURNAL_NEW);
		wait_done(w, i);
	}
	stop(w);
	for (round = 0; round < 5; round++) {
		start_with(w, SIZE);
		assert_int_equal(w->ngot, 10);
		for (i = 0; i < 8; i++) {
			assert_int_equal(journal_copy(w->j, 9, 100 + i, &part,
			    1, &lsn), 0);
		}
		stop(w); /* without a start */
	}
	start_with(w, SIZE);
	assert_int_equal(w->ngot, 10);
	for (i = 0; i < 10; i++) {
		assert_int_equal(w->got[i].qid, i + 1);
	}
	assert_int_equal(journal_start(w->j), 0);
}

/* New entries leave a part to the reserved ones, and wait; retiring lets them
   in, in order. */
static void
the_ring_fills(void **state)
{
	struct world *w = *state;
	uint64_t n = 0, half;

	start(w);
	wait_for_the_ring(w);
	while (usage(w).size == 0 || usage(w).waiting == 0) {
		append(w, ++n, 60000, 'f', JOURNAL_NEW);
		if (usage(w).waiting == 0) {
			wait_done(w, n);
		}
		assert_true(n < 100);
	}
	half = n;
	assert_true(n > 15 && w->pressures > 0);
	append(w, ++n, 60000, 'g', JOURNAL_NEW);
	append(w, 1000, 100, 'r', JOURNAL_RESERVED);
	wait_done(w, half); /* the reserved one instead of the waiting */
	assert_int_equal(usage(w).waiting, 2);
	journal_set_floor(w->j, usage(w).current);
	wait_done(w, n + 1);
	assert_int_equal(w->error, 0);
	assert_int_equal(usage(w).waiting, 0);
	/* Round and round. */
	for (half = 0; half < 100; half++) {
		append(w, ++n, 60000, 'h', JOURNAL_NEW);
		wait_done(w, n + 1);
		journal_set_floor(w->j, usage(w).current);
	}
	assert_int_equal(w->error, 0);
	stop(w);
	start(w);
	assert_true(w->ngot > 0 && w->ngot < 40);
	assert_int_equal(w->got[w->ngot - 1].qid, n);
}

/* What waits may be what keeps the oldest segment: the ring grows for reserved
   entries, rather than standing still, and shrinks again. */
static void
reserved_entries_find_a_full_ring(void **state)
{
	struct world *w = *state;
	uint64_t n;

	start(w);
	for (n = 1; n <= 60; n++) {
		append(w, n, 60000, 'r', JOURNAL_RESERVED);
	}
	n--;
	wait_done(w, n); /* nothing was given up meanwhile */
	assert_int_equal(w->error, 0);
	assert_true(usage(w).used > usage(w).size);
	append(w, ++n, 100, 'f', JOURNAL_NEW);
	assert_int_equal(usage(w).waiting, 1); /* not for new ones */
	journal_set_floor(w->j, usage(w).current);
	wait_done(w, n);
	wait_used_below(w, SIZE * 2);
	stop(w);
	start(w);
	assert_true(w->ngot > 0);
	assert_int_equal(w->got[w->ngot - 1].qid, n);
	wait_for_the_ring(w);
	assert_int_equal(usage(w).used + usage(w).free, usage(w).size);
}

static void
refuses_what_waits(void **state)
{
	struct world *w = *state;
	uint64_t n = 0;

	start(w);
	wait_for_the_ring(w);
	while (usage(w).waiting < 3) {
		append(w, ++n, 60000, 'f', JOURNAL_NEW);
		if (usage(w).waiting == 0) {
			wait_done(w, n);
		}
	}
	journal_refuse_waiting(w->j);
	wait_done(w, n);
	assert_int_equal(w->error, ENOSPC);
	assert_int_equal(usage(w).waiting, 0);
}

static void
at_rest_nothing_is_left(void **state)
{
	struct world *w = *state;
	uint64_t i;

	start(w);
	for (i = 1; i <= 20; i++) {
		append(w, i, 60000, 'f', JOURNAL_NEW);
		wait_done(w, i);
	}
	journal_set_floor(w->j, UINT64_MAX);
	wait_used_below(w, 3 * SIZE);
	stop(w);
	start(w);
	assert_int_equal(w->ngot, 0);
}

/* Linked with --wrap: the keeper's next rename waits in the middle. */
static struct {
	atomic_bool wanted;
	sem_t begun, go;
} held;

int __real_io_renameat(const char *site, int fromdir, const char *from,
    int todir, const char *to);
int __wrap_io_renameat(const char *site, int fromdir, const char *from,
    int todir, const char *to);

int
__wrap_io_renameat(const char *site, int fromdir, const char *from, int todir,
    const char *to)
{
	if (atomic_exchange(&held.wanted, false)) {
		(void)sem_post(&held.begun);
		while (sem_wait(&held.go) == -1) {
		}
	}
	return __real_io_renameat(site, fromdir, from, todir, to);
}

/* Segments that are given up while the keeper is busy with another go, too. */
static void
given_up_while_another_goes(void **state)
{
	struct world *w = *state;
	uint64_t n = 0, oldest;

	assert_int_equal(sem_init(&held.begun, 0, 0), 0);
	assert_int_equal(sem_init(&held.go, 0, 0), 0);
	start(w);
	wait_for_the_ring(w);
	oldest = usage(w).oldest;
	while (usage(w).current < oldest + 2) {
		append(w, ++n, 60000, 'f', JOURNAL_NEW);
		wait_done(w, n);
	}
	atomic_store(&held.wanted, true);
	journal_set_floor(w->j, oldest + 1);
	while (sem_wait(&held.begun) == -1) {
	}
	journal_set_floor(w->j, oldest + 2);
	(void)sem_post(&held.go);
	wait_used_below(w, SIZE);
	stop(w);
	start(w);
	assert_int_equal(w->ngot, 1);
	assert_int_equal(w->got[0].qid, n);
	(void)sem_destroy(&held.begun);
	(void)sem_destroy(&held.go);
}

static void
another_size_takes_over(void **state)
{
	struct world *w = *state;
	struct stat st;
	int fd;

	start(w);
	append(w, 1, 1000, 'f', JOURNAL_NEW);
	wait_done(w, 1);
	stop(w);
	start_with(w, 2 * SIZE);
	assert_int_equal(w->ngot, 1);
	assert_int_equal(journal_start(w->j), 0);
	append(w, 2, 1000, 'f', JOURNAL_NEW);
	wait_done(w, 2);
	fd = open_segment(w, usage(w).current);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 2 * SIZE);
	(void)close(fd);
}

static void
a_failed_flush_is_the_end(void **state)
{
	static const int errors[] = { EIO, ENOSPC, EDQUOT };
	static const char *const sites[] = { "journal.write", "journal.sync" };
	struct world *w = *state;
	size_t i, n;

	for (i = 0; i < NELEMS(errors); i++) {
		for (n = 0; n < NELEMS(sites); n++) {
			struct io_plan p = { .kind = IO_PLAN_FAIL, .n = 1,
				.error = errors[i], .only = sites[n] };

			start(w);
			append(w, 5, 100, 'a', JOURNAL_NEW);
			w->ndone = w->last_lsn = 0;
			wait_done(w, 1);
			io_plan(&p);
			append(w, 6, 100, 'b', JOURNAL_NEW);
			wait_done(w, 2);
			io_plan(NULL);
			assert_int_equal(w->error, errors[i]);
			assert_int_equal(w->failed, errors[i]);
			append(w, 7, 100, 'c', JOURNAL_NEW);
			wait_done(w, 3);
			stop(w);
			start(w);
			assert_int_equal(w->ngot, 1);
			assert_int_equal(w->got[0].qid, 5);
			stop(w);
		}
	}
}

static void
append_each(struct world *w, uint64_t n, size_t octets)
{
	uint64_t i;

	for (i = 1; i <= n; i++) {
		append(w, i, octets, (char)('a' + i), JOURNAL_NEW);
		wait_done(w, i);
	}
}

static void
spoil(struct world *w, uint64_t number, off_t at)
{
	int fd = open_segment(w, number);

	assert_int_equal(pwrite(fd, "XXXX", 4, at), 4);
	(void)close(fd);
}

static void
scan_some(struct world *w)
{
	struct journal_report r;

	w->ngot = w->bad = 0;
	assert_int_equal(journal_scan(w->dir, on_entry, on_bad, w, &r), 0);
	assert_int_equal(w->bad, r.bad);
}

static void
scan(struct world *w, uint64_t bad, uint64_t cut, size_t entries)
{
	struct journal_report r;

	w->ngot = w->bad = 0;
	assert_int_equal(journal_scan(w->dir, on_entry, on_bad, w, &r), 0);
	assert_int_equal(r.bad, bad);
	assert_int_equal(w->bad, bad);
	assert_int_equal(r.cut, cut);
	assert_int_equal(w->ngot, entries);
}

/* -- a full disk ----------------------------------------------------------------- */

/* New entries until one finds no room; how many there are then. */
static uint64_t
fill_the_ring(struct world *w)
{
	uint64_t n = 0;

	wait_for_the_ring(w);
	while (usage(w).waiting == 0) {
		append(w, ++n, 60000, 'f', JOURNAL_NEW);
		if (usage(w).waiting == 0) {
			wait_done(w, n);
		}
	}
	journal_refuse_waiting(w->j);
	wait_done(w, n);
	assert_int_equal(w->error, ENOSPC);
	return n - 1;
}

/* A start that copies all that was read; there is no room for that. */
static void
start_without_room(struct world *w)
{
	static char body[60000];
	const struct slice part = { body, sizeof(body) };
	uint64_t lsn;
	size_t i;

	io_disk_full(true, NULL);
	start_with(w, SIZE);
	for (i = 0; i < w->ngot && journal_copy(w->j, 9, 100 + i, &part, 1,
	    &lsn) == 0; i++) {
	}
	assert_true(i < w->ngot || journal_start(w->j) == -1);
	assert_true(journal_is_full(errno));
	assert_int_equal(journal_keep(w->j), 0);
	assert_int_equal(journal_start(w->j), 0);
	io_disk_full(false, NULL);
	w->ndone = w->last_lsn = 0;
}

static void
check_filled(struct world *w, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		assert_int_equal(w->got[i].qid, i + 1);
		assert_int_equal(w->got[i].kind, 7);
	}
}

static void
a_full_disk_keeps_the_old_segments(void **state)
{
	struct world *w = *state;
	uint64_t n, last;

	start(w);
	n = fill_the_ring(w);
	stop(w);
	start_without_room(w);
	assert_int_equal(w->ngot, n);
	last = w->got[n - 1].lsn;
	append(w, 50, 100, 'r', JOURNAL_RESERVED); /* behind all */
	wait_done(w, 1);
	assert_true(w->last_lsn > last);
	append(w, 51, 60000, 'n', JOURNAL_NEW);
	assert_int_equal(usage(w).waiting, 1);
	stop(w);
	start_without_room(w);
	assert_int_equal(w->ngot, n + 1);
	check_filled(w, n);
	assert_int_equal(w->got[n].qid, 50);
	/* the oldest go when they are not needed, and give room */
	io_disk_full(true, NULL);
	journal_set_floor(w->j, usage(w).current);
	append(w, 52, 60000, 'n', JOURNAL_NEW);
	wait_done(w, 1);
	assert_int_equal(w->error, 0);
	io_disk_full(false, NULL);
	stop(w);
	start(w);
	assert_int_equal(w->got[w->ngot - 1].qid, 52);
	assert_true(w->ngot < n);
}

/* What a crash has cut does not look like damage when more comes behind it, in
   the same segment or the next one; nor when that is cut, too. */
static void
kept_with_a_batch_that_was_cut(void **state)
{
	struct world *w = *state;
	uint64_t n, current;
	size_t round;

	start(w);
	n = fill_the_ring(w);
	current = usage(w).current;
	append(w, 90, 30, 'c', JOURNAL_RESERVED);
	wait_done(w, n + 2);
	stop(w);
	spoil(w, current, (off_t)(w->last_lsn & UINT32_MAX) + 14);
	scan(w, 0, 1, n);
	for (round = 0; round < 2; round++) {
		start_without_room(w);
		append(w, 91, 60000, 'r', JOURNAL_RESERVED);
		wait_done(w, 1);
		assert_int_equal(w->error, 0);
		scan(w, 0, 0, n + 1);
		assert_int_equal(w->got[n].qid, 91);
		current = w->last_lsn >> 32;
		stop(w);
		spoil(w, current, (off_t)(w->last_lsn & UINT32_MAX) + 14);
		scan(w, 0, 1, n);
	}
}

/* A damaged segment is not written to, and kept aside as ever. */
static void
kept_with_damage(void **state)
{
	struct world *w = *state;
	uint64_t number;
	char name[64];

	start(w);
	append_each(w, 7, 60000);
	number = usage(w).current;
	stop(w);
	spoil(w, number, 3 * JOURNAL_BLOCK + 70);
	io_disk_full(true, "journal.copy.write");
	start_with(w, SIZE);
	assert_int_equal(journal_start(w->j), -1);
	assert_int_equal(journal_keep(w->j), 0);
	assert_int_equal(journal_keep(w->j), -1);
	assert_int_equal(journal_start(w->j), 0);
	io_disk_full(false, NULL);
	assert_int_equal(w->ngot, 6);
	w->ndone = w->last_lsn = 0;
	append(w, 8, 10, 'r', JOURNAL_RESERVED);
	wait_done(w, 1);
	assert_true(w->last_lsn >> 32 > number);
	journal_set_floor(w->j, w->last_lsn >> 32);
	while (find_segment(w, number, "", name)) {
		assert_int_not_equal(event_base_loop(w->base, EVLOOP_ONCE),
		    -1);
	}
	assert_true(find_segment(w, number, ".bad", name));
}

/* -- damage --------------------------------------------------------------------- */

/* Five batches of an entry each; the octet is flipped; what is read? */
static void
flip(struct world *w, int fd, off_t at)
{
	struct journal_report r;
	unsigned char c;
	size_t i, k;

	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x40;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	w->ngot = w->bad = 0;
	assert_int_equal(journal_scan(w->dir, on_entry, on_bad, w, &r), 0);
	for (i = k = 0; i < w->ngot; i++) {
		for (k++; k < w->got[i].qid; k++) {
			assert_true(w->bad > 0); /* one was left out, and told */
		}
		assert_int_equal(w->got[i].qid, k);
		assert_int_equal(w->got[i].n, 30);
		assert_int_equal(w->got[i].first, 'a' + (int)k);
	}
	/* The last may have been cut by a crash. */
	assert_true(k == 5 || (k == 4 && w->bad == 0) || w->bad > 0);
	c ^= 0x40;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
}

static void
every_octet_flipped(void **state)
{
	struct world *w = *state;
	uint64_t i;
	off_t at;
	int fd;

	start(w);
	for (i = 1; i <= 5; i++) {
		append(w, i, 30, (char)('a' + i), JOURNAL_NEW);
		wait_done(w, i);
	}
	fd = open_segment(w, usage(w).current);
	for (at = 0; at < 6 * (off_t)JOURNAL_BLOCK; at++) {
		if (at % JOURNAL_BLOCK < 200) {
			flip(w, fd, at);
		}
	}
	(void)close(fd);
}

static void
damage_inside_is_kept_aside(void **state)
{
	struct world *w = *state;
	char name[64];
	uint64_t i, number;
	int fd;

	start(w);
	for (i = 1; i <= 5; i++) {
		append(w, i, 30, (char)('a' + i), JOURNAL_NEW);
		wait_done(w, i);
	}
	number = usage(w).current;
	fd = open_segment(w, number);
	assert_int_equal(pwrite(fd, "XXXX", 4, 2 * JOURNAL_BLOCK + 70), 4);
	(void)close(fd);
	stop(w);
	start(w);
	assert_int_equal(w->ngot, 4);
	assert_int_equal(w->got[1].qid, 3);
	while (find_segment(w, number, "", name)) {
		assert_int_not_equal(event_base_loop(w->base, EVLOOP_ONCE),
		    -1);
	}
	assert_true(find_segment(w, number, ".bad", name));
	stop(w);
	start(w);
	assert_int_equal(w->ngot, 0);
}

/* One flush is in flight: of several batches at the end, with right heads and
   wrong entries, only the last was cut perhaps. */
static void
several_damaged_at_the_end(void **state)
{
	struct world *w = *state;
	char name[64];
	uint64_t number;

	start(w);
	append_each(w, 6, 30);
	number = usage(w).current;
	stop(w);
	spoil(w, number, 6 * JOURNAL_BLOCK + 70); /* batch 0 is of the start */
	scan(w, 0, 1, 5);
	spoil(w, number, 5 * JOURNAL_BLOCK + 70);
	scan(w, 1, 1, 4);
	spoil(w, number, 3 * JOURNAL_BLOCK + 70);
	scan(w, 2, 1, 3);
	spoil(w, number, 4 * JOURNAL_BLOCK + 1); /* a head; behind 3 */
	scan(w, 3, 1, 2);
	start(w);
	assert_int_equal(w->ngot, 2);
	while (find_segment(w, number, "", name)) {
		assert_int_not_equal(event_base_loop(w->base, EVLOOP_ONCE),
		    -1);
	}
	assert_true(find_segment(w, number, ".bad", name));
}

/* The same, the last one in a segment of its own. */
static void
damaged_where_a_segment_ends(void **state)
{
	struct world *w = *state;
	const off_t each = journal_round(JOURNAL_HEAD + JOURNAL_ENTRY_HEAD +
	    60000);
	uint64_t number, n = 0;

	start(w);
	number = usage(w).current;
	while (usage(w).current == number) {
		append(w, ++n, 60000, 'e', JOURNAL_NEW);
		wait_done(w, n);
	}
	stop(w);
	spoil(w, number + 1, 70);
	scan(w, 0, 1, n - 1);
	spoil(w, number, JOURNAL_BLOCK + (off_t)(n - 2) * each + 70);
	scan(w, 1, 1, n - 2);
}

/* A segment has its full size when it gets its name: a shorter one is damage. */
static void
a_segment_cut_short(void **state)
{
	static const struct {
		off_t size;
		size_t entries;
	} cases[] = {
		{ SIZE - 1, 6 },                 /* behind all */
		{ 5 * JOURNAL_BLOCK + 100, 4 },  /* in the fifth of six */
		{ 5 * JOURNAL_BLOCK, 4 },
		{ JOURNAL_HEAD, 0 },
		{ 0, 0 },
	};
	struct world *w = *state;
	char name[64];
	uint64_t number;
	size_t i;
	int fd;

	start(w);
	append_each(w, 6, 200);
	number = usage(w).current;
	stop(w);
	for (i = 0; i < NELEMS(cases); i++) {
		fd = open_segment(w, number);
		assert_int_equal(ftruncate(fd, cases[i].size), 0);
		(void)close(fd);
		scan_some(w);
		assert_true(w->bad > 0);
		assert_int_equal(w->ngot, cases[i].entries);
	}
	start(w);
	while (!find_segment(w, number, ".bad", name)) {
		assert_int_not_equal(event_base_loop(w->base, EVLOOP_ONCE),
		    -1);
	}
}

/* Why a start fails is told. */
static void
a_segment_that_cannot_be_opened(void **state)
{
	struct world *w = *state;
	const struct journal_config cfg = { w->dir, SIZE, 4 };
	char name[64];
	uint64_t number;

	start(w);
	number = usage(w).current;
	stop(w);
	assert_true(find_segment(w, number, "", name));
	assert_int_equal(unlinkat(w->dir, name, 0), 0);
	assert_int_equal(symlinkat("elsewhere", w->dir, name), 0);
	errno = 0;
	assert_int_equal(journal_open(w->base, &cfg, on_entry, w, &w->j), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(unlinkat(w->dir, name, 0), 0);
	/* a number near the end of what positions can say */
	assert_int_equal(mknodat(w->dir, "journal/0000003VVVVVV-0000000000001",
	    S_IFREG | 0600, 0), 0);
	assert_int_equal(journal_open(w->base, &cfg, on_entry, w, &w->j), -1);
	assert_int_equal(errno, EOVERFLOW);
	w->j = NULL;
}

/* What another version has written is neither taken for nothing nor used. */
static void
another_version_is_left_alone(void **state)
{
	struct world *w = *state;
	const struct journal_config cfg = { w->dir, SIZE, 4 };
	char head[JOURNAL_HEAD], crc[4], name[64];
	uint64_t number;
	int fd, round;

	start(w);
	append_each(w, 3, 30);
	number = usage(w).current;
	stop(w);
	fd = open_segment(w, number);
	assert_int_equal(pread(fd, head, sizeof(head), 2 * JOURNAL_BLOCK),
	    JOURNAL_HEAD);
	head[7]++;
	assert_int_equal(pwrite(fd, head, sizeof(head), 2 * JOURNAL_BLOCK),
	    JOURNAL_HEAD);
	scan(w, 1, 0, 2); /* its checksum is wrong: damage */
	put_u32(crc, crc32c(0, head, JOURNAL_HEAD - 4));
	assert_int_equal(pwrite(fd, crc, 4, 2 * JOURNAL_BLOCK + JOURNAL_HEAD -
	    4), 4);
	(void)close(fd);
	scan(w, 1, 0, 2);
	assert_string_equal(w->why, JOURNAL_WHY_OTHER);
	for (round = 0; round < 2; round++) {
		assert_int_equal(journal_open(w->base, &cfg, on_entry, w,
		    &w->j),
		    -1);
		assert_int_equal(errno, ENOTSUP);
		w->j = NULL;
		assert_true(find_segment(w, number, "", name));
	}
	spoil(w, number, 3 * JOURNAL_BLOCK); /* now it is the last one */
	scan(w, 1, 0, 1);
	assert_string_equal(w->why, JOURNAL_WHY_OTHER);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(keeps_what_was_appended),
		T(company_waits_for_others),
		T(a_flush_waits_for_a_crowd),
		T(copies_what_lives),
		T(a_start_that_was_cut_changes_nothing),
		T(the_ring_fills),
		T(reserved_entries_find_a_full_ring),
		T(refuses_what_waits),
		T(at_rest_nothing_is_left),
		T(given_up_while_another_goes),
		T(another_size_takes_over),
		T(a_failed_flush_is_the_end),
		T(a_full_disk_keeps_the_old_segments),
		T(kept_with_a_batch_that_was_cut),
		T(kept_with_damage),
		T(every_octet_flipped),
		T(damage_inside_is_kept_aside),
		T(several_damaged_at_the_end),
		T(damaged_where_a_segment_ends),
		T(a_segment_cut_short),
		T(a_segment_that_cannot_be_opened),
		T(another_version_is_left_alone),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
