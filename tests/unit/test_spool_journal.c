/*
 * The journal in front of the files, where it shows: what never gets a file, who
 * gets one when the ring or memory runs short, who waits and who is refused, and
 * what a start makes of files and entries of the same message. Needs the hooks of
 * common/io.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/journal.h"
#include "common/qid.h"
#include "common/spool_file.h"
#include "common/spool_int.h"
#include "tests/unit/deadline.h"
#include "tests/unit/spool_kit.h"
#include "tests/unit/unit.h"

#define DEADLINE_S 300
#define NEAR_MAX   60000 /* octets: of a message that fits the journal well */
#define MANY       200   /* messages of that size: six rings */

/* A busy machine, or a sanitizer, takes its time to make room. */
#define PATIENT 100000
static const struct spool_config patient = { .journal_patience_ms = PATIENT };

static int
setup(void **state)
{
	io_plan(NULL);
	return kit_setup_as(state, &patient);
}

static int
teardown(void **state)
{
	io_plan(NULL);
	io_disk_full(false, NULL);
	return kit_teardown(state);
}

static void
reopen(struct kit *k, const struct spool_config *cfg)
{
	kit_close(k);
	assert_true(kit_open(k, cfg != NULL ? cfg : &patient));
}

static struct spool_counters
stats(const struct kit *k)
{
	struct spool_counters s;

	spool_counters(k->sp, &s);
	return s;
}

static uint64_t
behind(const struct kit *k)
{
	const struct spool_counters s = stats(k);

	return s.unfiled + s.unsettled;
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* -- no files ---------------------------------------------------------------------- */

/* What is delivered soon never becomes a file, however much of it there is. */
static void
mail_that_goes_leaves_no_file(void **state)
{
	static const uint32_t first[] = { 0 };
	static const size_t sizes[] = { 300 };
	struct kit *k = *state;
	uint64_t qid, child;
	size_t i;

	for (i = 0; i < MANY; i++) {
		assert_int_equal(kit_accept(k, i % 10 == 0 ? NEAR_MAX : 2000,
		    2, &qid), 0);
		assert_int_equal(kit_fate(k, qid, 1, FATE_DEFERRED, 1), 0);
		assert_int_equal(kit_group(k, qid, first, 1, sizes, 1,
		    &child), 0);
		assert_int_equal(kit_delete(k, child), 0);
		assert_int_equal(kit_fate(k, qid, 1, FATE_DELIVERED, 2), 0);
		assert_true(k->gone);
	}
	assert_int_equal(kit_files(k), 0);
	assert_int_equal(stats(k).settled, 0);
	assert_int_equal(behind(k), 0);
	assert_int_equal(stats(k).memory, 0);
	assert_true(stats(k).entries >= MANY * 4);
	assert_true(stats(k).flushes <= stats(k).entries);
}

/* One that stays gets its file when its segment is wanted; those that come and go
   beside it do not. */
static void
only_what_stays_gets_a_file(void **state)
{
	struct kit *k = *state;
	char file[512];
	uint64_t old, qid;
	size_t i;

	assert_int_equal(kit_accept(k, 1000, 2, &old), 0);
	assert_int_equal(kit_fate(k, old, 0, FATE_DELIVERED, 1), 0);
	assert_false(kit_file(k, old, file));
	for (i = 0; i < MANY; i++) {
		assert_int_equal(kit_accept(k, NEAR_MAX, 1, &qid), 0);
		assert_int_equal(kit_fate(k, qid, 0, FATE_DELIVERED, 1), 0);
	}
	assert_true(kit_file(k, old, file));
	assert_int_equal(stats(k).spilled, 1);
	assert_int_equal(kit_files(k), 1);
	assert_int_equal(kit_info(k, old), 0);
	assert_int_equal(k->open, 1);
	assert_int_equal(kit_content(k, old, SPOOL_INLINE_MAX), 0);
	assert_true(kit_content_is(k, 1000));
	/* what happens to it now is in the journal first, too */
	assert_int_equal(kit_fate(k, old, 1, FATE_DELIVERED, 1), 0);
	assert_true(k->gone);
	reopen(k, NULL);
	assert_false(kit_file(k, old, file));
	assert_int_equal(spool_count(k->sp), 0);
}

/* -- a ring that is full ------------------------------------------------------------- */

struct answers {
	size_t accepted, refused;
	int error;
	uint64_t last;   /* queue id: answers come in order */
};

static void
on_accept(void *arg, uint64_t qid, int error)
{
	struct answers *a = arg;

	assert_true(error != 0 || qid > a->last);
	a->last = error == 0 ? qid : a->last;
	a->accepted += error == 0;
	a->refused += error != 0;
	a->error = error != 0 ? error : a->error;
}

static void
accept_many(struct kit *k, size_t n, struct answers *a)
{
	struct envelope e;
	size_t i;

	for (i = 0; i < n; i++) {
		kit_envelope(&e, 1);
		spool_accept(kit_draft(k, NEAR_MAX), &e, on_accept, a);
		envelope_clear(&e);
	}
}

static void
turn_until(struct kit *k, const size_t *what, size_t n)
{
	while (*what < n) {
		assert_int_not_equal(event_base_loop(k->base, EVLOOP_ONCE),
		    -1);
	}
}

static void
all_is_there(struct kit *k, size_t n)
{
	uint64_t qids[MANY];
	size_t i;

	assert_int_equal(spool_list(k->sp, 0, qids, MANY), n);
	for (i = 0; i < n; i++) {
		assert_int_equal(kit_content(k, qids[i], SPOOL_INLINE_MAX), 0);
		assert_true(kit_content_is(k, NEAR_MAX));
	}
}

/* Six times what the ring holds, at once, and nobody delivers: each gets its file
   in time, and its 250. */
static void
a_full_ring_spills(void **state)
{
	struct kit *k = *state;
	struct answers a = { 0 };

	accept_many(k, MANY, &a);
	turn_until(k, &a.accepted, MANY);
	assert_int_equal(a.refused, 0);
	assert_true(stats(k).spilled > MANY / 2);
	assert_true(stats(k).waiting == 0);
	all_is_there(k, MANY);
	reopen(k, NULL);
	assert_int_equal(behind(k), 0);
	assert_int_equal(kit_files(k), MANY);
	all_is_there(k, MANY);
}

/* Its segments are made behind: until all of them are there. */
static void
wait_for_the_ring(struct kit *k)
{
	struct journal_usage u;

	do {
		assert_int_not_equal(event_base_loop(k->base, EVLOOP_ONCE |
		    EVLOOP_NONBLOCK), -1);
		journal_usage(k->sp->journal, &u);
	} while (u.free + u.used < u.size);
}

/* The disk is full, but for the ring: it takes what it can, the rest is 452. And
   what happens to those inside has its place always. */
static void
a_full_disk_refuses(void **state)
{
	const struct io_plan plan = { .kind = IO_PLAN_FAIL, .n = 1,
		.error = ENOSPC, .stay = true, .only = "spool." };
	struct kit *k = *state;
	struct answers a = { 0 };
	uint64_t qids[MANY];
	size_t i, n;

	wait_for_the_ring(k);
	io_plan(&plan);
	accept_many(k, MANY, &a);
	n = 0;
	while (a.accepted + a.refused < MANY) {
		assert_int_not_equal(event_base_loop(k->base, EVLOOP_ONCE),
		    -1);
	}
	assert_int_equal(a.error, ENOSPC);
	assert_true(a.accepted > 15 && a.refused > MANY / 2);
	n = spool_list(k->sp, 0, qids, MANY);
	assert_int_equal(n, a.accepted);
	for (i = 0; i < n; i += 2) {
		assert_int_equal(kit_fate(k, qids[i], 0, i % 4 == 0 ?
		    FATE_DELIVERED : FATE_DEFERRED, 1), 0);
	}
	/* a descriptor cannot be had; what is in memory can */
	assert_int_equal(kit_content(k, qids[1], 0), ENOSPC);
	assert_int_equal(kit_content(k, qids[1], SPOOL_INLINE_MAX), 0);
	io_plan(NULL);
	assert_int_equal(kit_content(k, qids[1], 0), 0);
	assert_true(k->was_fd);
	n = spool_count(k->sp);
	a = (struct answers){ 0 };
	accept_many(k, MANY - n, &a);
	turn_until(k, &a.accepted, MANY - n);
	all_is_there(k, MANY);
}

/* Stopped and started on a full disk, twice: all that was accepted is there, and
   what is delivered gives room, though nothing gets a file. */
static void
starts_on_a_full_disk(void **state)
{
	struct kit *k = *state;
	struct answers a = { 0 };
	uint64_t qids[MANY], qid;
	size_t i, n, round;

	wait_for_the_ring(k);
	io_disk_full(true, "journal.copy.write");
	accept_many(k, MANY, &a);
	while (a.accepted + a.refused < MANY) {
		assert_int_not_equal(event_base_loop(k->base, EVLOOP_ONCE),
		    -1);
	}
	n = a.accepted;
	assert_true(n > 15 && n < MANY);
	for (round = 0; round < 2; round++) {
		reopen(k, NULL);
		assert_int_equal(spool_list(k->sp, 0, qids, MANY), n);
		for (i = 0; i < n; i++) {
			assert_int_equal(kit_info(k, qids[i]), 0);
		}
		assert_int_equal(stats(k).unfiled, n);
		assert_int_equal(kit_files(k), 0);
	}
	assert_int_equal(kit_accept(k, 30000, 1, &qid), ENOSPC);
	for (i = 0; i < n * 3 / 4; i++) {
		assert_int_equal(kit_fate(k, qids[i], 0, FATE_DELIVERED, 1), 0);
	}
	assert_int_equal(kit_accept(k, 30000, 1, &qid), 0);
	reopen(k, NULL);
	assert_int_equal(spool_count(k->sp), n - n * 3 / 4 + 1);
	io_disk_full(false, NULL);
	reopen(k, NULL);
	assert_int_equal(spool_count(k->sp), n - n * 3 / 4 + 1);
	reopen(k, NULL);
	assert_int_equal(spool_count(k->sp), n - n * 3 / 4 + 1);
	assert_int_equal(kit_files(k), n - n * 3 / 4 + 1); /* at rest */
}

/* Spilling fails for another reason: they wait, and are refused in the end. */
static void
patience_ends(void **state)
{
	const struct io_plan plan = { .kind = IO_PLAN_FAIL, .n = 1,
		.error = EIO, .stay = true, .only = "spool." };
	struct kit *k = *state;
	struct spool_config cfg = { .journal_patience_ms = 400 };
	struct answers a = { 0 };
	uint64_t before = now_ms();

	reopen(k, &cfg);
	io_plan(&plan);
	accept_many(k, MANY, &a);
	turn_until(k, &a.refused, 1);
	assert_true(now_ms() - before >= 400);
	assert_int_equal(a.error, ENOSPC);
	io_plan(NULL);
}

/* -- memory ----------------------------------------------------------------------------- */

static void
memory_is_bounded(void **state)
{
	struct kit *k = *state;
	struct spool_config cfg = { .memory_limit = 5 * NEAR_MAX,
		.journal_patience_ms = PATIENT };
	struct answers a = { 0 };

	reopen(k, &cfg);
	accept_many(k, 20, &a);
	turn_until(k, &a.accepted, 20);
	while (stats(k).memory > cfg.memory_limit) {
		assert_int_not_equal(event_base_loop(k->base, EVLOOP_ONCE),
		    -1);
	}
	assert_true(stats(k).spilled >= 15);
	all_is_there(k, 20);
}

/* No memory to speak of: what is read in order to be settled is not forgotten
   before that, again and again. */
static void
no_memory_at_all(void **state)
{
	struct kit *k = *state;
	struct spool_config cfg = { .memory_limit = 1 };
	uint64_t qids[20];
	size_t i;

	for (i = 0; i < NELEMS(qids); i++) {
		assert_int_equal(kit_accept(k, 100, 3, &qids[i]), 0);
	}
	reopen(k, &cfg);
	for (i = 0; i < NELEMS(qids); i++) {
		assert_int_equal(kit_fate(k, qids[i], 0, FATE_DEFERRED, 1), 0);
		assert_int_equal(kit_fate(k, qids[i], 1, FATE_DELIVERED, 1),
		    0);
	}
	while (behind(k) > 0) {
		assert_int_not_equal(event_base_loop(k->base, EVLOOP_ONCE),
		    -1);
	}
	assert_int_equal(stats(k).memory, 0);
	reopen(k, &cfg);
	for (i = 0; i < NELEMS(qids); i++) {
		assert_int_equal(kit_info(k, qids[i]), 0);
		assert_int_equal(k->open, 2);
		assert_int_equal(k->fates[0], FATE_DEFERRED);
	}
}

/* -- starts ------------------------------------------------------------------------------ */

/* `run' in a process of its own, which ends as if killed after it. */
static void
killed_after(struct kit *k, void (*run)(struct kit *k, uint64_t *out),
    uint64_t *out, size_t n)
{
	int fds[2], status;
	pid_t pid;

	kit_close(k);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		if (!kit_open(k, NULL)) {
			_exit(1);
		}
		run(k, out);
		_exit(write(fds[1], out, n * sizeof(*out)) !=
		    (ssize_t)(n * sizeof(*out)));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(read(fds[0], out, n * sizeof(*out)),
	    (ssize_t)(n * sizeof(*out)));
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void
two_stay(struct kit *k, uint64_t *out)
{
	uint64_t gone;

	assert_int_equal(kit_accept(k, 700, 2, &out[0]), 0);
	assert_int_equal(kit_accept(k, 500, 1, &gone), 0);
	assert_int_equal(kit_content(k, out[0], 0), 0); /* it has a file now */
	assert_int_equal(kit_fate(k, out[0], 1, FATE_DELIVERED, 1), 0);
	assert_int_equal(kit_fate(k, gone, 0, FATE_DELIVERED, 1), 0);
	assert_int_equal(kit_accept(k, 900, 2, &out[1]), 0);
	assert_int_equal(kit_fate(k, out[1], 0, FATE_DEFERRED, 3), 0);
	assert_int_equal(kit_crashed(k, out[1]), 0);
	assert_int_equal(kit_crashed(k, out[0]), 0);
	assert_int_equal(kit_crashed(k, out[0]), 0);
	assert_int_equal(kit_hold(k, out[0], true), 0);
	assert_int_equal(kit_hold(k, out[1], true), 0);
	assert_int_equal(kit_hold(k, out[1], false), 0);
}

static void
two_are_there(struct kit *k, const uint64_t *qids)
{
	assert_int_equal(spool_count(k->sp), 2);
	assert_int_equal(kit_info(k, qids[0]), 0);
	assert_int_equal(k->open, 1);
	assert_int_equal(k->fates[1], FATE_DELIVERED);
	assert_int_equal(k->crashes, 2);
	assert_true(k->hold);
	assert_int_equal(kit_info(k, qids[1]), 0);
	assert_int_equal(k->open, 2);
	assert_int_equal(k->attempts[0], 3);
	assert_int_equal(k->crashes, 1);
	assert_false(k->hold);
	assert_int_equal(kit_content(k, qids[0], SPOOL_INLINE_MAX), 0);
	assert_true(kit_content_is(k, 700));
	assert_int_equal(kit_content(k, qids[1], SPOOL_INLINE_MAX), 0);
	assert_true(kit_content_is(k, 900));
}

/* Files and entries of the same messages, over several starts that end as if
   killed: a start of its own changes nothing. */
static void
starts_after_kills(void **state)
{
	struct kit *k = *state;
	uint64_t qids[2], none;
	int i;

	killed_after(k, two_stay, qids, 2);
	for (i = 0; i < 3; i++) {
		assert_true(kit_open(k, NULL));
		two_are_there(k, qids);
		assert_int_equal(kit_accept(k, 1, 1, &none), 0);
		assert_true(none > qids[1]);
		assert_int_equal(kit_delete(k, none), 0);
		if (i == 1) { /* at rest: files only */
			reopen(k, NULL);
			two_are_there(k, qids);
			assert_int_equal(behind(k), 0);
			assert_int_equal(kit_files(k), 2);
		}
		kit_close(k);
	}
	assert_true(kit_open(k, NULL));
}

static void
entry_seen(void *arg, uint64_t lsn, uint8_t kind, uint64_t qid,
    struct slice body)
{
	size_t *n = arg;

	(void)lsn;
	(void)kind;
	(void)qid;
	(void)body;
	(*n)++;
}

/* The settings say "no journal" after a kill: what is in it is mail all the same,
   and becomes files with the next clean stop. */
static void
a_journal_that_is_not_wanted(void **state)
{
	struct kit *k = *state;
	struct journal_report report;
	uint64_t qids[2];
	size_t n = 0;

	killed_after(k, two_stay, qids, 2);
	kit_journal = false;
	assert_true(kit_open(k, NULL));
	two_are_there(k, qids);
	reopen(k, NULL);
	assert_int_equal(journal_scan(k->fd, entry_seen, NULL, &n, &report), 0);
	assert_int_equal(n, 0);
	two_are_there(k, qids);
	assert_int_equal(stats(k).journal_size, 0);
	kit_journal = true;
}

/* -- a group of which a power cut has left this and that ------------------------------- */

static void
move(const struct kit *k, uint64_t qid, uint64_t parent)
{
	char name[SPOOL_NAME_MAX], from[512], to[600];

	assert_true(kit_file(k, qid, from));
	spool_name(qid, parent, name);
	(void)snprintf(to, sizeof(to), "%.*s/%s",
	    (int)(strrchr(from, '/') - from), from, name);
	assert_int_equal(rename(from, to), 0);
}

static void
fate_journaled(struct journal_entry *e)
{
	*(bool *)e->arg = true;
}

/* Into the journal of a spool that is closed, as if a kill had left it. */
static void
put_state(struct kit *k, uint64_t qid, struct slice records)
{
	const struct journal_config cfg = { .spool_fd = open(k->path,
	    O_RDONLY | O_DIRECTORY), .segment_size = JOURNAL_SEGMENT_MIN,
		.segments = 4 };
	struct event_base *base = event_base_new();
	struct journal_entry e = { .done = fate_journaled };
	struct journal *j;
	size_t n = 0;
	bool done = false;

	e.arg = &done;
	assert_int_equal(journal_open(base, &cfg, entry_seen, &n, &j), 0);
	assert_int_equal(journal_start(j), 0);
	journal_append(j, &e, JOURNAL_RESERVED, 2, qid, &records, 1);
	while (!done) {
		(void)event_base_loop(base, EVLOOP_ONCE);
	}
	journal_close(j);
	event_base_free(base);
	(void)close(cfg.spool_fd);
}

struct family {
	uint64_t grand, parent, child, sibling;
};

static void
make_family(struct kit *k, struct family *f)
{
	static const uint32_t first[] = { 0 };
	static const size_t sizes[] = { 50, 60 };
	uint64_t c[2];

	assert_int_equal(kit_accept(k, 10, 2, &f->grand), 0);
	assert_int_equal(kit_accept(k, 20, 2, &f->parent), 0);
	assert_int_equal(kit_group(k, f->parent, first, 1, sizes, 2, c), 0);
	f->child = c[0];
	f->sibling = c[1];
}

/*
 * The fates of a parent are in the journal alone; the parent is a child with its
 * long name yet, so is its child; a sibling is delivered and gone. The child is
 * mail that was promised.
 */
static void
a_parent_with_a_long_name(void **state)
{
	struct kit *k = *state;
	struct fate_item item = { .index = 0, .attempt = 1,
		.fate = FATE_EXPANDED };
	struct strbuf fates, group;
	struct family f;
	uint64_t qids[4];
	char file[512];
	FILE *out;

	kit_journal = false;
	reopen(k, NULL);
	make_family(k, &f);
	kit_close(k);
	strbuf_init(&fates, 0);
	spool_record_fate(&fates, f.parent, &item);
	/* the child's file says whose it is; the parent's has no fate, and says
	   whose it is */
	for (int i = 0; i < 2; i++) {
		const uint64_t me = i == 0 ? f.child : f.parent;
		const uint64_t siblings[2] = { me, f.sibling };

		strbuf_init(&group, 0);
		spool_record_group(&group, me, i == 0 ? f.parent : 99,
		    siblings, i == 0 ? 2 : 1, i == 0 ?
		    strbuf_slice(&fates) : SL(""));
		assert_true(kit_file(k, me, file));
		kit_cut_records(file);
		out = fopen(file, "ab");
		assert_int_equal(fwrite(group.p, 1, group.n, out), group.n);
		assert_int_equal(fclose(out), 0);
		strbuf_clear(&group);
	}
	assert_true(kit_file(k, f.sibling, file));
	assert_int_equal(unlink(file), 0);
	move(k, f.child, f.parent);
	move(k, f.parent, 99);
	kit_journal = true;
	put_state(k, f.parent, strbuf_slice(&fates));
	strbuf_clear(&fates);
	assert_true(kit_open(k, NULL));
	assert_int_equal(spool_list(k->sp, 0, qids, 4), 3);
	assert_true(qids[2] == f.child);
	assert_int_equal(kit_info(k, f.parent), 0);
	assert_int_equal(k->open, 1);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(mail_that_goes_leaves_no_file),
		T(only_what_stays_gets_a_file),
		T(a_full_ring_spills),
		T(a_full_disk_refuses),
		T(starts_on_a_full_disk),
		T(patience_ends),
		T(memory_is_bounded),
		T(no_memory_at_all),
		T(starts_after_kills),
		T(a_journal_that_is_not_wanted),
		T(a_parent_with_a_long_name),
	};

	/* Nothing here needs a real disk. */
	if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) {
		(void)setenv("TMPDIR", "/dev/shm", 1);
	}
	unit_deadline(DEADLINE_S);
	kit_journal = true;
	return cmocka_run_group_tests_name("spool_journal", tests, NULL, NULL);
}
