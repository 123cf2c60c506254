/*
 * The ring of the journal is filled, at one stroke, with results and notices:
 * what is to be recorded about the messages of the oldest segment waits for
 * room, which comes only when these messages have files. All is answered all
 * the same.
 */
#include "config.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/spool.h"
#include "common/xmalloc.h"
#include "tests/unit/deadline.h"
#include "tests/unit/spool_kit.h"
#include "tests/unit/unit.h"

#define MESSAGES   300
#define RCPTS      24
#define DEADLINE_S 60 /* both together take one */

static struct {
	size_t answers, errors;
} got;

static int
setup(void **state)
{
	got.answers = got.errors = 0;
	return kit_setup(state);
}

static void
on_answer(void *arg, uint64_t qid, int error, bool gone)
{
	(void)arg;
	(void)qid;
	(void)gone;
	got.answers++;
	got.errors += error != 0;
}

/* All but the first recipient: deferred, with a long reply. */
static void
make_items(struct fate_item items[RCPTS], uint32_t attempt)
{
	static const char reply[] = "This host has no time for you just now, "
	    "and says so at some length, as hosts will when they greylist: "
	    "come back later, but neither too soon nor from another address";
	uint32_t i;

	for (i = 0; i < RCPTS; i++) {
		items[i] = (struct fate_item){ .index = i, .attempt = attempt,
			.fate = FATE_DEFERRED, .next_at = attempt,
			.esc = SL("4.7.1"), .reply = slice_of(reply),
			.relay = SL("mx.example.net[192.0.2.7]:25") };
	}
}

static void
ask_for_group(struct kit *k, uint64_t qid)
{
	struct fate_item item = { .index = 0, .attempt = 1,
		.fate = FATE_FAILED, .esc = SL("5.1.1"), .reply = SL("no"),
		.relay = SL("") };
	struct spool_draft *d = kit_draft(k, 3000);
	struct envelope e;

	kit_envelope(&e, 1);
	spool_group(k->sp, qid, &item, 1, &d, &e, 1, on_answer, k);
	envelope_clear(&e);
}

static void
wait_answers(struct kit *k, size_t n)
{
	while (got.answers < n) {
		assert_int_not_equal(event_base_loop(k->base, EVLOOP_ONCE),
		    -1);
	}
	assert_int_equal(got.errors, 0);
}

static void
accept_all(struct kit *k, uint64_t qids[MESSAGES])
{
	size_t i;

	for (i = 0; i < MESSAGES; i++) {
		assert_int_equal(kit_accept(k, 500, RCPTS, &qids[i]), 0);
	}
}

static void
results_of_all_at_once(void **state)
{
	struct fate_item items[RCPTS];
	struct kit *k = *state;
	uint64_t qids[MESSAGES];
	size_t i;

	accept_all(k, qids);
	make_items(items, 1);
	for (i = 0; i < MESSAGES; i++) {
		spool_fates(k->sp, qids[i], items, RCPTS, on_answer, k);
	}
	wait_answers(k, MESSAGES);
	kit_close(k);
	assert_true(kit_open(k, NULL));
	for (i = 0; i < MESSAGES; i++) {
		assert_int_equal(kit_info(k, qids[i]), 0);
		assert_int_equal(k->open, RCPTS);
		assert_int_equal(k->attempts[RCPTS - 1], 1);
	}
}

/* Two requests a message: the second finds it in a file, or not. */
static void
notices_of_all_at_once(void **state)
{
	struct fate_item items[RCPTS];
	struct kit *k = *state;
	uint64_t qids[MESSAGES];
	size_t i;

	accept_all(k, qids);
	make_items(items, 1);
	for (i = 0; i < MESSAGES; i++) {
		ask_for_group(k, qids[i]);
		spool_fates(k->sp, qids[i], items + 1, RCPTS - 1, on_answer, k);
	}
	wait_answers(k, 2 * MESSAGES);
	assert_int_equal(spool_count(k->sp), 2 * MESSAGES);
	kit_close(k);
	assert_true(kit_open(k, NULL));
	assert_int_equal(spool_count(k->sp), 2 * MESSAGES);
	for (i = 0; i < MESSAGES; i++) {
		assert_int_equal(kit_info(k, qids[i]), 0);
		assert_int_equal(k->open, RCPTS - 1);
		assert_int_equal(k->attempts[RCPTS - 1], 1);
	}
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, kit_teardown)
	const struct CMUnitTest tests[] = {
		T(results_of_all_at_once),
		T(notices_of_all_at_once),
	};

	/* Nothing here needs a real disk. */
	if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) {
		(void)setenv("TMPDIR", "/dev/shm", 1);
	}
	unit_deadline(DEADLINE_S); /* a spool that stands still cannot even close */
	kit_journal = true;
	return cmocka_run_group_tests_name("spool_full", tests, NULL, NULL);
}
