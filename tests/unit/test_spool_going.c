/*
 * Many messages with files that are removed at once, in each of the ways that a
 * message goes: the answers wait when too many files wait to be unlinked.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "common/xmalloc.h"
#include "tests/unit/deadline.h"
#include "tests/unit/spool_kit.h"
#include "tests/unit/unit.h"

#define DEADLINE_S 300
#define MANY (2 * SPOOL_GOING_MAX + 1000)

/* What is asked of each of the MANY at once, and what is known of the answers. */
struct crowd {
	struct kit k;
	uint64_t *qids;
	size_t answers, failures;
	uint64_t most; /* files that waited at a time */
};

static void
look(struct crowd *c)
{
	struct spool_counters now;

	spool_counters(c->k.sp, &now);
	c->most = now.unsettled > c->most ? now.unsettled : c->most;
}

static void
on_done(void *arg, uint64_t qid, int error)
{
	struct crowd *c = arg;

	(void)qid;
	c->answers++;
	c->failures += error != 0;
	look(c);
}

static void
on_fates(void *arg, uint64_t qid, int error, bool gone)
{
	on_done(arg, qid, error != 0 ? error : gone ? 0 : -1);
}

static void
on_info(void *arg, uint64_t qid, int error, const struct spool_info *info)
{
	(void)info;
	on_done(arg, qid, error);
}

static void
wait_for(struct crowd *c, size_t answers)
{
	while (c->answers < answers) {
		(void)event_base_loop(c->k.base, EVLOOP_ONCE);
	}
	assert_int_equal(c->failures, 0);
	c->answers = 0;
}

/* MANY messages in files; what they say is in memory: no reading slows us. */
static int
setup(void **state)
{
	static const struct spool_config with_journal = {
		.journal_segments = 4, .journal_segment_size = 1024 * 1024,
		.journal_patience_ms = 100000,
	};
	struct crowd *c = xcalloc(1, sizeof(*c));
	struct spool_draft *d;
	struct envelope e;
	size_t i;

	io_plan(NULL);
	kit_make(&c->k);
	*state = c;
	c->qids = xcalloc(MANY, sizeof(*c->qids));
	if (!kit_open(&c->k, NULL)) {
		return -1;
	}
	for (i = 0; i < MANY; i++) {
		d = kit_draft(&c->k, 100);
		c->qids[i] = spool_draft_qid(d);
		kit_envelope(&e, 1);
		spool_accept(d, &e, on_done, c);
	}
	wait_for(c, MANY);
	kit_close(&c->k);
	if (!kit_open(&c->k, &with_journal)) {
		return -1;
	}
	for (i = 0; i < MANY; i++) {
		spool_info_get(c->k.sp, c->qids[i], on_info, c);
	}
	wait_for(c, MANY);
	c->most = 0;
	return 0;
}

static int
teardown(void **state)
{
	struct crowd *c = *state;

	io_plan(NULL);
	kit_close(&c->k);
	kit_remove(&c->k);
	free(c->qids);
	free(c);
	return 0;
}

/* -- the ways ------------------------------------------------------------------ */

static void
by_delete(struct crowd *c, uint64_t qid)
{
	spool_delete(c->k.sp, qid, on_done, c);
}

static void
by_fate(struct crowd *c, uint64_t qid)
{
	const struct fate_item done = { .index = 0, .attempt = 2,
		.fate = FATE_DELIVERED, .esc = SL("2.0.0") };

	spool_fates(c->k.sp, qid, &done, 1, on_fates, c);
}

/* As a bounce, or a requeue. */
static void
by_group(struct crowd *c, uint64_t qid)
{
	const struct fate_item failed = { .index = 0, .attempt = 2,
		.fate = FATE_FAILED, .esc = SL("4.4.7") };
	struct spool_draft *d = kit_draft(&c->k, 100);
	struct envelope e;

	kit_envelope(&e, 1);
	e.parent_qid = qid;
	e.parent_kind = SPOOL_CHILD_NOTICE;
	spool_group(c->k.sp, qid, &failed, 1, &d, &e, 1, on_fates, c);
}

static void
remove_all(struct crowd *c, void (*way)(struct crowd *c, uint64_t qid))
{
	size_t i;

	for (i = 0; i < MANY; i++) {
		way(c, c->qids[i]);
	}
	wait_for(c, MANY);
	assert_in_range(c->most, SPOOL_GOING_MAX / 2, SPOOL_GOING_MAX);
}

/* Until the last file is unlinked. */
static void
wait_for_unlinks(struct crowd *c)
{
	struct spool_counters now;

	do {
		(void)event_base_loop(c->k.base, EVLOOP_ONCE);
		spool_counters(c->k.sp, &now);
	} while (now.unsettled > 0);
}

static void
deletes_wait(void **state)
{
	struct crowd *c = *state;

	remove_all(c, by_delete);
	wait_for_unlinks(c);
	assert_int_equal(kit_files(&c->k), 0);
	assert_int_equal(spool_count(c->k.sp), 0);
}

static void
deliveries_wait(void **state)
{
	struct crowd *c = *state;

	remove_all(c, by_fate);
	wait_for_unlinks(c);
	assert_int_equal(kit_files(&c->k), 0);
}

static void
groups_wait(void **state)
{
	struct crowd *c = *state;

	remove_all(c, by_group);
	wait_for_unlinks(c);
	assert_int_equal(spool_count(c->k.sp), MANY);
	assert_int_equal(kit_info(&c->k, c->qids[0]), ENOENT);
}

/* Those at the gate are ended by the end of the spool as all others are. */
static void
an_end_opens_the_gate(void **state)
{
	struct crowd *c = *state;
	size_t i;

	for (i = 0; i < MANY; i++) {
		by_delete(c, c->qids[i]);
	}
	while (c->answers == 0) {
		(void)event_base_loop(c->k.base, EVLOOP_ONCE);
	}
	assert_true(c->answers < MANY);
	kit_close(&c->k);
	assert_true(kit_open(&c->k, NULL));
	assert_int_equal(spool_count(c->k.sp), 0);
	assert_int_equal(kit_files(&c->k), 0);
}

/* While no file can be unlinked nobody waits; later all files go. */
static void
no_unlink_no_gate(void **state)
{
	const struct io_plan plan = { .kind = IO_PLAN_FAIL, .n = 1,
		.error = EIO, .stay = true, .only = "spool.done.unlink" };
	struct crowd *c = *state;
	size_t i;

	io_plan(&plan);
	for (i = 0; i < MANY; i++) {
		by_delete(c, c->qids[i]);
	}
	wait_for(c, MANY);
	assert_int_equal(c->most, MANY);
	io_plan(NULL);
	wait_for_unlinks(c);
	assert_int_equal(kit_files(&c->k), 0);
}

/* One that waits at the gate is asked for other things, which wait behind it. */
static void
other_questions_wait_behind(void **state)
{
	struct crowd *c = *state;
	uint64_t last = c->qids[MANY - 1];
	size_t i;

	for (i = 0; i < MANY; i++) {
		by_delete(c, c->qids[i]);
	}
	spool_hold(c->k.sp, last, true, SL("late"), on_done, c);
	while (c->answers < MANY + 1) {
		(void)event_base_loop(c->k.base, EVLOOP_ONCE);
	}
	assert_int_equal(c->failures, 1);
	assert_int_equal(kit_info(&c->k, last), ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(deletes_wait),
		TEST(deliveries_wait),
		TEST(groups_wait),
		TEST(an_end_opens_the_gate),
		TEST(no_unlink_no_gate),
		TEST(other_questions_wait_behind),
	};

	/* Nothing here needs a real disk. */
	if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) {
		(void)setenv("TMPDIR", "/dev/shm", 1);
	}
	unit_deadline(DEADLINE_S);
	return cmocka_run_group_tests_name("spool_going", tests, NULL, NULL);
}
