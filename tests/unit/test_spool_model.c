/*
 * The spool against a simple model of it (spool_ledger.h): random operations in
 * processes that are killed at a random operation on a file, or end cleanly, one
 * after the other on the same spool, each with another journal, or none, and
 * another budget of memory. Each start is checked against all that was promised
 * before. A failure prints its seed: VEREDUS_SEED=N repeats that run alone.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "common/journal.h"
#include "tests/unit/crash.h"
#include "tests/unit/spool_life.h"
#include "tests/unit/unit.h"

#define DEADLINE_S 900
#define RUNS       60
#define LIVES      7 /* of one spool, the last one apart */

static size_t kills, stops;

static uint64_t
roll(uint64_t *seed, uint64_t below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed >> 20) % below;
}

/* Of the segments a life starts with, and its memory. */
static struct spool_config
config_of(uint64_t *seed)
{
	static const unsigned segments[] = { 4, 4, 3, 6, 0 };
	static const uint64_t memory[] = { 0, 0, 300 * 1000, 1 };
	struct spool_config cfg = { .queue_fd = -1 };

	cfg.journal_segments = segments[roll(seed, NELEMS(segments))];
	cfg.journal_segment_size = JOURNAL_SEGMENT_MIN *
	    (1 + (uint32_t)roll(seed, 2));
	cfg.memory_limit = memory[roll(seed, NELEMS(memory))];
	return cfg;
}

static void
send_line(void *arg, const char *line)
{
	char text[100];
	int n = snprintf(text, sizeof(text), "%s\n", line);

	if (write(*(const int *)arg, text, (size_t)n) != n) {
		abort();
	}
}

static _Noreturn void
wrong(const char *when, const char *what)
{
	print_message("%s: %s\n", when, what);
	(void)fflush(stdout);
	_exit(1);
}

static _Noreturn void
live(const struct kit *k, const struct ledger *before, uint64_t seed,
    int trail)
{
	struct ledger ledger = *before;
	struct life l = { .kit = *k, .pipe = -1, .ledger = &ledger };
	const struct spool_config cfg = config_of(&seed);
	const struct io_plan plan = { .kind = roll(&seed, 4) == 0 ?
	    IO_PLAN_TORN : IO_PLAN_KILL, .changes = true,
		.n = 1 + (unsigned)roll(&seed, 300) };
	const char *why;

	io_plan(roll(&seed, 4) == 0 ? NULL : &plan);
	if (!kit_open(&l.kit, &cfg)) {
		wrong("a life's start", "the spool cannot be opened");
	}
	why = ledger_check(&ledger, &l.kit);
	if (why != NULL) {
		wrong("a life's start", why);
	}
	ledger_adopt(&ledger, &l.kit, send_line, &trail);
	l.pipe = trail;
	l.seed = seed;
	life_random(&l);
	if (l.broken != NULL) {
		wrong("a life", l.broken);
	}
	if (roll(&l.seed, 3) == 0) {
		_exit(0); /* as killed, while nothing is under way */
	}
	kit_close(&l.kit);
	_exit(0);
}

/* False: it found something wrong. */
static bool
one_life(const struct kit *k, struct ledger *ledger, uint64_t seed)
{
	struct crash_child child;
	char line[CRASH_LINE];
	int status, trail = crash_fork(&child);

	if (trail != -1) {
		live(k, ledger, seed, trail);
	}
	while (crash_line(&child, line)) {
		ledger_line(ledger, line);
	}
	status = crash_end(&child);
	if (crash_was_killed(status)) {
		kills++;
		return true;
	}
	stops++;
	if (WIFSIGNALED(status)) {
		print_message("a life: signal %d\n", WTERMSIG(status));
	}
	return status == 0;
}

/* The last life is our own: all is delivered, nothing is left. */
static const char *
the_end(struct kit *k, struct ledger *ledger)
{
	const char *why;

	if (!kit_open(k, NULL)) {
		return "the spool cannot be opened";
	}
	why = ledger_check(ledger, k);
	if (why == NULL) {
		why = ledger_run_down(k);
	}
	kit_close(k);
	if (why == NULL && kit_files(k) != 0) {
		why = "a file is left";
	}
	return why;
}

static bool
one_run(uint64_t seed)
{
	static struct ledger ledger;
	struct kit k;
	uint64_t s = seed * 0x9e3779b97f4a7c15u + 1;
	const char *why = "see above";
	bool good = true;
	int i;

	ledger = (struct ledger){ .nmail = 0 };
	kit_make(&k);
	for (i = 0; i < LIVES && good; i++) {
		(void)roll(&s, 2);
		good = one_life(&k, &ledger, s);
	}
	if (good) {
		why = the_end(&k, &ledger);
		good = why == NULL;
	}
	if (!good) {
		print_message("VEREDUS_SEED=%llu, life %d: %s\n",
		    (unsigned long long)seed, i, why);
	}
	kit_remove(&k);
	return good;
}

static void
lives(void **state)
{
	const char *one = getenv("VEREDUS_SEED");
	const uint64_t n = crash_long() ? RUNS * 20 : RUNS;
	uint64_t seed;
	size_t lost = 0;

	(void)state;
	if (one != NULL) {
		assert_true(one_run(strtoull(one, NULL, 10)));
		return;
	}
	for (seed = 1; seed <= n; seed++) {
		lost += !one_run(seed);
	}
	print_message("crash: model: %zu lives of %llu spools killed, %zu "
	    "ended, %zu lost\n", kills, (unsigned long long)n, stops, lost);
	assert_int_equal(lost, 0);
	assert_true(kills >= RUNS && stops >= RUNS / 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lives),
	};

	crash_begin(DEADLINE_S);
	return cmocka_run_group_tests_name("spool_model", tests, NULL, NULL);
}
