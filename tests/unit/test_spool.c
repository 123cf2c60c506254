/* The spool as its users see it, over restarts. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/qid.h"
#include "common/spool_file.h"
#include "tests/unit/spool_kit.h"
#include "tests/unit/unit.h"

#define LARGE (3 * SPOOL_INLINE_MAX + 777)

static void
accept_and_deliver(void **state)
{
	static const size_t sizes[] = { 0, 1, 500, SPOOL_INLINE_MAX - 1,
		SPOOL_INLINE_MAX, SPOOL_INLINE_MAX + 1, LARGE };
	struct kit *k = *state;
	uint64_t qid;
	size_t i;
	int again;

	for (i = 0; i < NELEMS(sizes) * 2; i++) {
		size_t n = sizes[i / 2];

		assert_int_equal(kit_accept(k, n, 2, &qid), 0);
		assert_int_equal(spool_count(k->sp), 1);
		for (again = 0; again < 2; again++) {
			assert_int_equal(kit_info(k, qid), 0);
			assert_int_equal(k->nrcpts, 2);
			assert_int_equal(k->open, 2);
			assert_int_equal(k->size, n);
			assert_string_equal(k->reverse_path,
			    "sender@example.org");
			assert_int_equal(kit_content(k, qid, i % 2 == 0 ?
			    SPOOL_INLINE_MAX : 0), 0);
			assert_true(kit_content_is(k, n));
			assert_int_equal(k->flags, CONTENT_8BIT);
			assert_int_equal(k->was_fd,
			    i % 2 == 1 || n > SPOOL_INLINE_MAX);
			kit_restart(k);
		}
		assert_int_equal(kit_fate(k, qid, 0, FATE_DELIVERED, 1), 0);
		assert_false(k->gone);
		assert_int_equal(kit_fate(k, qid, 1, FATE_DELIVERED, 1), 0);
		assert_true(k->gone);
		assert_int_equal(kit_info(k, qid), ENOENT);
		assert_int_equal(kit_content(k, qid, 100), ENOENT);
		assert_int_equal(spool_count(k->sp), 0);
		kit_restart(k);
		assert_int_equal(spool_count(k->sp), 0);
	}
}

static void
fates_survive(void **state)
{
	struct kit *k = *state;
	uint64_t qid;
	int i;

	assert_int_equal(kit_accept(k, 100, 3, &qid), 0);
	assert_int_equal(kit_fate(k, qid, 1, FATE_DEFERRED, 1), 0);
	assert_int_equal(kit_fate(k, qid, 0, FATE_DELIVERED, 1), 0);
	assert_int_equal(kit_fate(k, qid, 1, FATE_DEFERRED, 2), 0);
	/* of an older attempt: too late */
	assert_int_equal(kit_fate(k, qid, 1, FATE_DEFERRED, 1), 0);
	/* done stays done */
	assert_int_equal(kit_fate(k, qid, 0, FATE_DEFERRED, 3), 0);
	assert_int_equal(kit_fate(k, qid, 3, FATE_DELIVERED, 1), EINVAL);
	assert_int_equal(kit_fate(k, qid, 2, FATE_NONE, 1), EINVAL);
	assert_int_equal(kit_hold(k, qid, true), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(kit_info(k, qid), 0);
		assert_int_equal(k->open, 2);
		assert_int_equal(k->fates[0], FATE_DELIVERED);
		assert_int_equal(k->fates[1], FATE_DEFERRED);
		assert_int_equal(k->attempts[1], 2);
		assert_string_equal(k->replies[1], "as it is");
		assert_int_equal(k->fates[2], FATE_NONE);
		assert_true(k->hold);
		assert_string_equal(k->reason, "a reason");
		kit_restart(k);
	}
	assert_int_equal(kit_hold(k, qid, false), 0);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_false(k->hold);
	assert_int_equal(kit_delete(k, qid), 0);
	assert_int_equal(kit_delete(k, qid), ENOENT);
	assert_int_equal(kit_hold(k, qid, true), ENOENT);
	/* a message that is gone: the answer of a repeated fate */
	assert_int_equal(kit_fate(k, qid, 0, FATE_DELIVERED, 1), 0);
	assert_true(k->gone);
	kit_restart(k);
	assert_int_equal(spool_count(k->sp), 0);
}

/* The largest message fails at once: its fates fit into a child's record. */
static void
a_group_of_all_recipients(void **state)
{
	struct fate_item item = { .attempt = UINT32_MAX, .fate = FATE_FAILED,
		.esc = SL("5.123.123") };
	const uint64_t sibling = 8;
	struct spool_record r;
	struct strbuf fates, b;
	struct slice in;

	(void)state;
	strbuf_init(&fates, 0);
	strbuf_init(&b, 0);
	for (; item.index < ENVELOPE_RCPT_MAX; item.index++) {
		spool_record_fate(&fates, 7, &item);
	}
	spool_record_group(&b, 8, 7, &sibling, 1, strbuf_slice(&fates));
	in = strbuf_slice(&b);
	assert_true(spool_record_next(&in, 8, &r));
	assert_int_equal(r.kind, SPOOL_REC_GROUP);
	assert_int_equal(r.fates.n, fates.n);
	strbuf_clear(&fates);
	strbuf_clear(&b);
}

static void
a_warning_leaves_it_open(void **state)
{
	struct kit *k = *state;
	uint64_t qid;

	assert_int_equal(kit_accept(k, 100, 2, &qid), 0);
	assert_int_equal(kit_fate(k, qid, 0, FATE_DEFERRED, 3), 0);
	assert_int_equal(kit_fate(k, qid, 0, FATE_WARNED, 9), 0);
	assert_int_equal(kit_fate(k, qid, 1, FATE_WARNED, 0), 0);
	assert_false(k->gone);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->open, 2);
	assert_true(k->warned[0] && k->warned[1]);
	assert_int_equal(k->fates[0], FATE_DEFERRED);
	assert_int_equal(k->attempts[0], 3);
	assert_string_equal(k->relay, "mx.example[192.0.2.7]:25");
	assert_int_equal(k->fates[1], FATE_NONE);
	/* later attempts keep it; the end comes as always */
	assert_int_equal(kit_fate(k, qid, 0, FATE_DEFERRED, 4), 0);
	assert_int_equal(kit_info(k, qid), 0);
	assert_true(k->warned[0]);
	assert_int_equal(kit_fate(k, qid, 1, FATE_DELIVERED, 1), 0);
	assert_false(k->gone);
	assert_int_equal(kit_fate(k, qid, 1, FATE_WARNED, 1), 0);
	assert_int_equal(kit_fate(k, qid, 0, FATE_FAILED, 4), 0);
	assert_true(k->gone);
	assert_int_equal(kit_accept(k, 100, 1, &qid), 0);
	assert_int_equal(kit_fate(k, qid, 0, FATE_WARNED, 1), 0);
	assert_false(k->gone); /* the last one, too */
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->open, 1);
}

static void
marked(void *arg, uint64_t qid, int error)
{
	size_t *n = arg;

	(void)qid;
	assert_int_equal(error, 0);
	(*n)++;
}

/* Marks add up: one after the other, several at once, over restarts. */
static void
crash_marks(void **state)
{
	struct kit *k = *state;
	uint64_t qid;
	size_t n = 0;

	assert_int_equal(kit_accept(k, 100, 2, &qid), 0);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->crashes, 0);
	assert_int_equal(kit_crashed(k, qid), 0);
	assert_int_equal(kit_fate(k, qid, 1, FATE_DELIVERED, 1), 0);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->crashes, 1);
	assert_int_equal(k->open, 1);
	spool_crashed(k->sp, qid, marked, &n);
	spool_crashed(k->sp, qid, marked, &n);
	assert_int_equal(kit_crashed(k, qid), 0);
	assert_int_equal(n, 2);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->crashes, 4);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->crashes, 4);
	assert_int_equal(kit_delete(k, qid), 0);
	assert_int_equal(kit_crashed(k, qid), ENOENT);
}

static void
groups(void **state)
{
	static const size_t sizes[] = { 100, LARGE, 0 };
	static const uint32_t first[] = { 1 }, rest[] = { 0, 2 };
	struct kit *k = *state;
	uint64_t qid, c[3], again[3];
	size_t i;

	assert_int_equal(kit_accept(k, 100, 3, &qid), 0);
	assert_int_equal(kit_group(k, qid, first, 1, sizes, 3, c), 0);
	assert_false(k->gone);
	assert_int_equal(k->nannounced, 4);
	assert_int_equal(spool_count(k->sp), 4);
	/* repeated: no children */
	assert_int_equal(kit_group(k, qid, first, 1, sizes, 3, again), 0);
	assert_int_equal(spool_count(k->sp), 4);
	kit_restart(k);
	assert_int_equal(spool_count(k->sp), 4);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->open, 2);
	assert_int_equal(k->fates[1], FATE_EXPANDED);
	assert_int_equal(kit_group(k, qid, rest, 2, sizes, 1, again), 0);
	assert_true(k->gone);
	assert_int_equal(kit_info(k, qid), ENOENT);
	assert_int_equal(kit_group(k, qid, rest, 2, sizes, 2, again), 0);
	assert_true(k->gone);
	assert_int_equal(spool_count(k->sp), 4);
	for (i = 0; i < 3; i++) {
		assert_int_equal(kit_info(k, c[i]), 0);
		assert_true(k->parent == qid);
		assert_int_equal(kit_content(k, c[i], SPOOL_INLINE_MAX), 0);
		assert_true(kit_content_is(k, sizes[i]));
		assert_int_equal(kit_fate(k, c[i], 0, FATE_DELIVERED, 1), 0);
		assert_true(k->gone);
	}
	kit_restart(k);
	assert_int_equal(spool_count(k->sp), 1);
}

static uint64_t frozen_us = 1000000;

static uint64_t
frozen(void)
{
	return frozen_us;
}

/* The clock stands, or jumps back: ids rise all the same. */
static void
queue_ids_rise(void **state)
{
	struct kit *k = *state;
	struct spool_config cfg = { .clock_us = frozen };
	uint64_t a, b, c, d;

	frozen_us = 1000000;
	kit_close(k);
	assert_true(kit_open(k, &cfg));
	assert_int_equal(kit_accept(k, 10, 1, &a), 0);
	assert_int_equal(kit_accept(k, 10, 1, &b), 0);
	assert_int_equal(a, frozen_us);
	assert_true(b > a);
	frozen_us = 500;
	kit_close(k);
	assert_true(kit_open(k, &cfg));
	assert_int_equal(kit_accept(k, 10, 1, &c), 0);
	assert_true(c > b);
	/* nothing is left to learn from but the mark */
	assert_int_equal(kit_delete(k, a), 0);
	assert_int_equal(kit_delete(k, b), 0);
	assert_int_equal(kit_delete(k, c), 0);
	frozen_us = 200;
	kit_close(k);
	assert_true(kit_open(k, &cfg));
	assert_int_equal(spool_count(k->sp), 0);
	assert_int_equal(kit_accept(k, 10, 1, &d), 0);
	assert_true(d > c);
}

/* The machine starts with its clock in the past and an empty spool. */
static void
queue_ids_rise_after_the_files(void **state)
{
	static const struct timespec future[2] = { { 4000000000, 0 },
		{ 4000000000, 0 } };
	struct kit *k = *state;
	char path[512];
	uint64_t qid;

	(void)snprintf(path, sizeof(path), "%s/queue/7", k->path);
	assert_int_equal(utimensat(AT_FDCWD, path, future, 0), 0);
	kit_restart(k);
	assert_int_equal(kit_accept(k, 10, 1, &qid), 0);
	assert_true(qid > 4000000000000000u);
}

/* What a moment brings is flushed with one fsync of one directory. */
static void
mail_of_one_moment_lies_together(void **state)
{
	struct kit *k = *state;
	struct spool_config cfg = { .clock_us = frozen };
	char first[512], path[512];
	uint64_t qids[40];
	size_t i;

	kit_close(k);
	assert_true(kit_open(k, &cfg));
	for (i = 0; i < NELEMS(qids); i++) {
		assert_int_equal(kit_accept(k, 10, 1, &qids[i]), 0);
	}
	kit_close(k); /* at rest, all have files */
	assert_true(kit_open(k, &cfg));
	assert_true(kit_file(k, qids[0], first));
	for (i = 1; i < NELEMS(qids); i++) {
		assert_true(kit_file(k, qids[i], path));
		assert_memory_equal(path, first, strlen(first) - QID_TEXT);
	}
}

static void
lists(void **state)
{
	struct kit *k = *state;
	uint64_t qids[20], got[30];
	size_t i;

	for (i = 0; i < NELEMS(qids); i++) {
		assert_int_equal(kit_accept(k, 10, 1, &qids[i]), 0);
	}
	for (i = 0; i < 2; i++) {
		assert_int_equal(spool_list(k->sp, 0, got, 30), 20);
		assert_memory_equal(got, qids, sizeof(qids));
		assert_int_equal(spool_list(k->sp, qids[4], got, 3), 3);
		assert_memory_equal(got, qids + 5, 3 * sizeof(qids[0]));
		assert_int_equal(spool_list(k->sp, qids[19], got, 3), 0);
		kit_restart(k);
	}
}

/* Content dropped for want of memory is read from the file. */
static void
small_memory(void **state)
{
	struct kit *k = *state;
	struct spool_config cfg = { .memory_limit = 3000 };
	uint64_t qids[20];
	size_t i;

	kit_close(k);
	assert_true(kit_open(k, &cfg));
	for (i = 0; i < NELEMS(qids); i++) {
		assert_int_equal(kit_accept(k, 1000 + i, 2, &qids[i]), 0);
	}
	for (i = 0; i < NELEMS(qids); i++) {
		assert_int_equal(kit_info(k, qids[i]), 0);
		assert_int_equal(k->size, 1000 + i);
		assert_int_equal(kit_content(k, qids[i], SPOOL_INLINE_MAX), 0);
		assert_true(kit_content_is(k, 1000 + i));
		assert_int_equal(kit_fate(k, qids[i], 0, FATE_DELIVERED, 1),
		    0);
	}
	for (i = 0; i < NELEMS(qids); i++) {
		assert_int_equal(kit_info(k, qids[i]), 0);
		assert_int_equal(k->open, 1);
	}
}

static void
drafts_forgotten(void **state)
{
	struct kit *k = *state;
	char file[512];
	uint64_t qid;

	spool_draft_free(kit_draft(k, 100));
	spool_draft_free(kit_draft(k, LARGE));
	kit_settle(k);
	spool_draft_free(spool_draft_new(k->sp));
	assert_int_equal(kit_accept(k, 1, 1, &qid), 0);
	assert_int_equal(spool_count(k->sp), 1);
	kit_restart(k);
	assert_true(kit_file(k, qid, file));
}

static void
drained(void *arg, int error)
{
	int *calls = arg;

	assert_int_equal(error, 0);
	(*calls)++;
}

static void
drafts_drain(void **state)
{
	struct kit *k = *state;
	struct spool_draft *d = kit_draft(k, LARGE);
	int calls = 0;
	size_t left;

	left = spool_draft_add(d, SL("more"));
	assert_true(left > 0 && left <= LARGE + 4);
	assert_int_equal(spool_draft_size(d), LARGE + 4);
	spool_draft_on_drained(d, drained, &calls);
	kit_settle(k);
	assert_int_equal(calls, 1);
	spool_draft_on_drained(d, drained, &calls); /* nothing is out */
	kit_settle(k);
	assert_int_equal(calls, 2);
	spool_draft_on_drained(d, drained, &calls);
	spool_draft_free(d);
	kit_settle(k);
	assert_int_equal(calls, 2);
}

static void
space(void **state)
{
	struct kit *k = *state;
	uint64_t octets = 0, inodes = 0;

	assert_int_equal(spool_space(k->sp, &octets, &inodes), 0);
	assert_true(octets > 0);
}

static void
no_recipients(void **state)
{
	struct kit *k = *state;
	uint64_t qid;

	assert_int_equal(kit_accept(k, 10, 0, &qid), EINVAL);
	assert_int_equal(kit_accept(k, LARGE, 0, &qid), EINVAL);
	kit_settle(k);
	assert_int_equal(kit_files(k), 0);
}

/* -- many at once ------------------------------------------------------------------ */

struct crowd {
	struct kit *k;
	size_t done, gone;
};

static void
crowd_gone(void *arg, uint64_t qid, int error, bool gone)
{
	struct crowd *c = arg;

	(void)qid;
	assert_int_equal(error, 0);
	c->gone += gone;
}

static void
crowd_accepted(void *arg, uint64_t qid, int error)
{
	struct crowd *c = arg;
	struct fate_item item = { .attempt = 1, .fate = FATE_DELIVERED };

	assert_int_equal(error, 0);
	c->done++;
	for (item.index = 0; item.index < 3; item.index++) {
		spool_fates(c->k->sp, qid, &item, 1, crowd_gone, c);
	}
}

static void
crowd(void **state)
{
	struct kit *k = *state;
	struct crowd c = { .k = k };
	struct envelope e;
	size_t i;

	for (i = 0; i < 600; i++) {
		kit_envelope(&e, 3);
		spool_accept(kit_draft(k, i % 50 == 0 ? LARGE : i), &e,
		    crowd_accepted, &c);
		envelope_clear(&e);
	}
	kit_settle(k);
	assert_int_equal(c.done, 600);
	assert_int_equal(spool_count(k->sp), 0);
	assert_true(c.gone >= 600);
	kit_restart(k);
	assert_int_equal(spool_count(k->sp), 0);
}

/* Closed with everything in flight: what was asked for has happened. */
static void
close_in_flight(void **state)
{
	struct kit *k = *state;
	struct crowd c = { .k = k };
	struct envelope e;
	size_t i;

	for (i = 0; i < 100; i++) {
		kit_envelope(&e, 3);
		spool_accept(kit_draft(k, i % 50 == 0 ? LARGE : i), &e,
		    crowd_accepted, &c);
		envelope_clear(&e);
	}
	kit_restart(k);
	assert_int_equal(c.done, 0);
	assert_int_equal(spool_count(k->sp), 100);
}

int
main(void)
{
#define T(name)                                                                \
	cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
	const struct CMUnitTest tests[] = {
		T(accept_and_deliver),
		T(fates_survive),
		T(a_warning_leaves_it_open),
		T(a_group_of_all_recipients),
		T(crash_marks),
		T(groups),
		T(queue_ids_rise),
		T(queue_ids_rise_after_the_files),
		T(mail_of_one_moment_lies_together),
		T(lists),
		T(small_memory),
		T(drafts_forgotten),
		T(drafts_drain),
		T(space),
		T(no_recipients),
		T(crowd),
		T(close_in_flight),
	};

	int failed;

	failed = cmocka_run_group_tests_name("spool of files", tests, NULL,
	    NULL);
	kit_journal = true;
	failed += cmocka_run_group_tests_name("spool with a journal", tests,
	    NULL, NULL);
	return failed;
}
