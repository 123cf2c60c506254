/*
 * The journal dies, meets errors and loses power at each of its file operations,
 * also while it recovers from that; what it has promised is there afterwards,
 * what was dropped does not come back, and nothing of it is taken for damage.
 * Needs the hooks of common/io; prints how many points it has tried (points.h).
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/crash.h"
#include "tests/unit/deadline.h"
#include "tests/unit/journal_toy.h"
#include "tests/unit/points.h"
#include "tests/unit/power_cut.h"
#include "tests/unit/unit.h"

#define DEADLINE_S 600

static const struct {
	const char *name;
	toy_story *run;
	bool full; /* the start after it finds the disk full */
} stories[] = {
	{ "serial", toy_serial, false },
	{ "crowd", toy_crowd, false },
	{ "full", toy_full, true },
};

/* -- after it --------------------------------------------------------------------- */

/* Neither a kill nor a power cut looks like damage. */
static bool
looks_damaged(const struct toy *t)
{
	struct journal_report r;
	int fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool bad;

	if (fd == -1 || journal_scan(fd, NULL, NULL, NULL, &r) == -1) {
		abort();
	}
	bad = r.bad > 0;
	(void)close(fd);
	return bad;
}

#define ROUND_ID   109 /* a large one */
#define ROUNDS_MAX 3000

/* Around the ring: a segment that is too much goes when one comes free, and none
   is short. */
static void
go_round(struct toy *t)
{
	unsigned n;

	for (n = 0; t->failed == 0 && toy_files(t, true) == 0 &&
	    toy_files(t, false) != TOY_SEGMENTS; n++) {
		if (n == ROUNDS_MAX) {
			t->wrong = "too many segments, or too few";
			return;
		}
		toy_put(t, ROUND_ID, JOURNAL_NEW);
		toy_wait(t);
		toy_drop(t, ROUND_ID, JOURNAL_RESERVED);
		toy_wait(t);
	}
}

/* It has been started once, without which no start on a full disk can be. */
static bool
has_begun(const struct toy_ledger *l)
{
	unsigned id;

	for (id = 0; id < TOY_THINGS; id++) {
		if (l->things[id] != TOY_NEVER) {
			return true;
		}
	}
	return false;
}

/* On a full disk it goes on, too, and starts again. */
static const char *
live_on_a_full_disk(struct toy *t)
{
	unsigned round, id;

	toy_disk_full(true);
	for (round = 0; round < 2 && t->wrong == NULL; round++) {
		if (!toy_open(t)) {
			t->wrong = "it cannot be opened on a full disk";
			break;
		}
		t->wrong = toy_check(t);
		toy_put(t, 110 + round, JOURNAL_RESERVED);
		for (id = round; id < TOY_THINGS; id += 3) {
			if (t->things[id].live && id < 110) {
				toy_drop(t, id, JOURNAL_RESERVED);
			}
		}
		toy_wait(t);
		toy_close(t, false);
	}
	toy_disk_full(false);
	return t->wrong;
}

/* Recover, check, go on for a while, end at rest: nothing is left. */
static const char *
aftermath(struct toy *t, bool full)
{
	unsigned id;

	if (looks_damaged(t)) {
		return "it is taken for damage";
	}
	if (full && has_begun(&t->ledger) && live_on_a_full_disk(t) != NULL) {
		return t->wrong;
	}
	if (looks_damaged(t)) {
		return "it is taken for damage, after a full disk";
	}
	if (!toy_open(t)) {
		return "it cannot be opened";
	}
	t->wrong = toy_check(t);
	for (id = 100; id < 104; id++) {
		toy_put(t, id, JOURNAL_NEW);
	}
	toy_wait(t);
	for (id = 0; id < TOY_THINGS; id++) {
		if (t->things[id].live && id != 101) {
			toy_drop(t, id, JOURNAL_RESERVED);
		}
	}
	toy_wait(t);
	if (t->failed != 0) {
		t->wrong = "it cannot be written to";
	}
	go_round(t);
	toy_close(t, false);
	if (t->wrong == NULL && toy_open(t)) {
		t->wrong = toy_check(t);
		toy_close(t, true);
	}
	if (t->wrong == NULL && toy_open(t)) {
		if (t->read > 0) {
			t->wrong = "something is left of a journal at rest";
		}
		toy_close(t, true);
	}
	if (t->wrong == NULL && toy_files(t, true) > 0) {
		t->wrong = "a segment was kept aside";
	}
	return t->wrong;
}

/* -- kills -------------------------------------------------------------------------- */

/* The child's side: the story under a plan. */
static _Noreturn void
live(struct toy *t, toy_story *story, const struct io_plan *plan)
{
	unit_deadline(DEADLINE_S / 10); /* SIGALRM is no SIGKILL */
	io_plan(plan);
	if (!toy_open(t)) {
		_exit(3);
	}
	if (story != NULL) {
		story(t, false);
	} else {
		toy_close(t, false);
	}
	_exit(t->wrong != NULL ? 4 : 0);
}

/* Returns whether the plan's kill came. */
static bool
run_killed(struct toy *t, toy_story *story, const struct io_plan *plan)
{
	struct crash_child child;
	char line[CRASH_LINE];
	int status, trail = crash_fork(&child);

	if (trail != -1) {
		t->pipe = trail;
		live(t, story, plan);
	}
	while (crash_line(&child, line)) {
		toy_ledger_line(&t->ledger, line);
	}
	status = crash_end(&child);
	if (status != 0 && !crash_was_killed(status)) {
		crash_lost("?", "a run without a kill", plan->n, "it failed");
	}
	return crash_was_killed(status);
}

/* The recovery dies, too: at its first operation, then at its second, ... */
static void
kill_recovery(struct toy *t, size_t s, const struct io_plan *first)
{
	struct io_plan plan = { .kind = first->n % 2 == 0 ? IO_PLAN_KILL :
		IO_PLAN_TORN, .n = 1, .changes = true };
	char path[64];

	(void)snprintf(path, sizeof(path), "%s, started after %d %u",
	    stories[s].name, first->kind, first->n);
	toy_disk_full(stories[s].full && has_begun(&t->ledger));
	for (; run_killed(t, NULL, &plan); plan.n++) {
		crash.restarts += points_add(path, &plan);
	}
	toy_disk_full(false);
	/* however often: what was begun is used, or goes */
	if (toy_files(t, false) > 4 * TOY_SEGMENTS) {
		crash_lost(stories[s].name, "recovery killed again and again",
		    plan.n,
		    "there are more and more segments");
	}
}

static void
kill_story(size_t s, enum io_plan_kind kind)
{
	struct io_plan plan = { .kind = kind, .changes = true };
	const unsigned step = crash_long() ? 1 : 12;
	struct toy t;
	const char *why;
	bool killed = true;

	for (plan.n = 1; killed; plan.n++) {
		toy_make(&t);
		killed = run_killed(&t, stories[s].run, &plan);
		if (killed) {
			(void)points_add(stories[s].name, &plan);
		}
		if (killed && plan.n % step == (unsigned)kind % step) {
			kill_recovery(&t, s, &plan);
		}
		why = aftermath(&t, stories[s].full);
		if (why != NULL) {
			crash_lost(stories[s].name, kind == IO_PLAN_KILL ?
			    "kill" : "torn write", plan.n, why);
		}
		toy_remove(&t);
	}
}

static void
killed_at_each_operation(void **state)
{
	size_t s;

	(void)state;
	for (s = 0; s < NELEMS(stories); s++) {
		kill_story(s, IO_PLAN_KILL);
		kill_story(s, IO_PLAN_TORN);
	}
	assert_int_equal(crash.lost, 0);
}

/* -- faults --------------------------------------------------------------------------- */

static const struct fault {
	const char *name;
	enum io_plan_kind kind;
	int error;
	bool stay;
	bool all; /* at each operation; else, as the code makes no difference, at
	             each third (VEREDUS_LONG: all) */
} fault_kinds[] = {
	{ "ENOSPC", IO_PLAN_FAIL, ENOSPC, false, true },
	{ "EIO", IO_PLAN_FAIL, EIO, false, true },
	{ "EDQUOT", IO_PLAN_FAIL, EDQUOT, false, false },
	{ "EMFILE", IO_PLAN_FAIL, EMFILE, false, false },
	{ "EINTR", IO_PLAN_FAIL, EINTR, false, false },
	{ "a short write", IO_PLAN_SHORT, 0, false, false },
	{ "a short write, then ENOSPC", IO_PLAN_SHORT, ENOSPC, false, true },
	{ "EIO from then on", IO_PLAN_FAIL, EIO, true, false },
};

/* Returns whether the fault came. */
static bool
fault_once(size_t s, const struct fault *f, unsigned n)
{
	const struct io_plan plan = { .kind = f->kind, .n = n,
		.error = f->error, .stay = f->stay };
	struct toy t;
	const char *hit, *why;
	int tries;
	bool open = false;

	toy_make(&t);
	t.hopeless = f->stay;
	io_plan(&plan);
	for (tries = 0; tries < 3 && !open; tries++) {
		open = toy_open(&t);
	}
	if (open) {
		stories[s].run(&t, f->stay);
	}
	hit = io_plan_hit();
	(void)points_add(stories[s].name, &plan);
	io_plan(NULL);
	toy_disk_full(false);
	why = t.wrong == NULL ? aftermath(&t, false) : t.wrong;
	if (why != NULL) {
		crash_lost(stories[s].name, f->name, n, why);
	}
	toy_remove(&t);
	return hit != NULL;
}

static void
faults_at_each_operation(void **state)
{
	const bool every = crash_long();
	size_t s, f;
	unsigned n;

	(void)state;
	for (s = 0; s < NELEMS(stories); s++) {
		for (f = 0; f < NELEMS(fault_kinds); f++) {
			const unsigned step = every ? 1 : stories[s].full ? 7 :
			    fault_kinds[f].all ? 1 : 3;

			for (n = 1 + (unsigned)f % step; fault_once(s,
			    &fault_kinds[f], n); n += step) {
			}
		}
	}
	assert_int_equal(crash.lost, 0);
}

/* -- power cuts ----------------------------------------------------------------------- */

/* The recovery's own power cuts, at each of its operations. */
static void
cut_recovery(const char *left, size_t s, const struct toy_ledger *ledger,
    unsigned n)
{
	struct toy t, u;
	struct io_record *r;
	struct cut_fs *fs;
	const char *why;
	size_t i, nrecords;

	toy_make(&t);
	t.ledger = *ledger;
	fs = cut_load(left, t.path);
	toy_disk_full(stories[s].full && has_begun(ledger));
	io_record_start();
	if (!toy_open(&t)) {
		abort();
	}
	toy_close(&t, false);
	r = io_record_stop(&nrecords);
	toy_disk_full(false);
	for (i = 0; i < nrecords; i++) {
		cut_apply(fs, &r[i]);
		toy_make(&u);
		u.ledger = *ledger;
		cut_make(fs, i % 2 == 0 ? CUT_BLOCKS : CUT_RANDOM, n * 1000003u +
		    i + 1, u.path);
		why = aftermath(&u, false);
		if (why != NULL) {
			crash_lost(stories[s].name, "power cut while recovering",
			    n * 1000 + (unsigned)i, why);
		}
		toy_remove(&u);
		crash.cuts++;
	}
	cut_free(fs);
	io_records_free(r, nrecords);
	toy_remove(&t);
}

static void
cut_here(const struct cut_fs *fs, size_t s, const struct toy_ledger *ledger,
    unsigned n)
{
	struct toy t;
	const char *why;
	unsigned v;

	for (v = 0; v < CUT_VARIANTS; v++) {
		toy_make(&t);
		t.ledger = *ledger;
		cut_make(fs, (enum cut_variant)v, 88172645463325252u + n,
		    t.path);
		if (n % 16 == v) {
			cut_recovery(t.path, s, ledger, n);
		}
		why = aftermath(&t, stories[s].full);
		if (why != NULL) {
			crash_lost(stories[s].name, crash_cut_names[v], n, why);
		}
		toy_remove(&t);
		crash.cuts++;
	}
}

static void
cut_story(size_t s)
{
	struct toy_ledger ledger = { .things = { TOY_NEVER } };
	struct io_record *r;
	struct cut_fs *fs;
	struct toy t;
	size_t i, n;

	toy_make(&t);
	fs = cut_load(NULL, t.path);
	io_record_start();
	if (!toy_open(&t)) {
		abort();
	}
	stories[s].run(&t, false);
	r = io_record_stop(&n);
	assert_null(t.wrong);
	toy_remove(&t);
	for (i = 0; i < n; i++) {
		cut_apply(fs, &r[i]);
		if (r[i].op == IO_PROMISE) {
			toy_ledger_line(&ledger, r[i].name);
		} else {
			cut_here(fs, s, &ledger, (unsigned)i + 1);
		}
	}
	cut_free(fs);
	io_records_free(r, n);
}

static void
power_cut_after_each_operation(void **state)
{
	size_t s;

	(void)state;
	for (s = 0; s < NELEMS(stories); s++) {
		cut_story(s);
	}
	assert_int_equal(crash.lost, 0);
}

/* ------------------------------------------------------------------------------------- */

static void
enough(void **state)
{
	(void)state;
	points_print("journal alone", crash.lost);
	crash_print("journal alone");
	assert_true(points_total() - crash.restarts >= 500);
	assert_true(points_count(POINTS_TORN) >= 50 &&
	    crash.restarts >= 100 && crash.cuts >= 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* the quickest first: check-mutants stops at the first loss */
		cmocka_unit_test(power_cut_after_each_operation),
		cmocka_unit_test(killed_at_each_operation),
		cmocka_unit_test(faults_at_each_operation),
		cmocka_unit_test(enough),
	};

	if (!io_build_has_hooks()) {
		print_message("built without hooks\n");
		return 1;
	}
	crash_begin(DEADLINE_S);
	points_begin();
	return cmocka_run_group_tests_name("journal_crash", tests, NULL, NULL);
}
