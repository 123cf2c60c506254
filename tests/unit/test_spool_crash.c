/*
 * The spool dies, meets errors and loses power at each of its file operations;
 * what it has promised is there afterwards, whole, and it goes on. Needs the
 * hooks of common/io. Prints how many points it has tried (points.h); those of
 * power cuts apart: (story, what is left, number of operations before it).
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/crash.h"
#include "tests/unit/points.h"
#include "tests/unit/power_cut.h"
#include "tests/unit/spool_life.h"
#include "tests/unit/unit.h"

#define DEADLINE_S 900

static const struct {
	const char *name;
	life_story *run;
	unsigned step;       /* of so many operations one is tried; VEREDUS_LONG:
	                        each */
	unsigned recoveries; /* of so many kills one is followed by kills of the
	                        start after it; VEREDUS_LONG: all are */
} stories[] = {
#ifdef KIT_JOURNAL
	/* a start is long here, and much the same after each kill */
	{ "serial", life_serial, 1, 5 },
	{ "crowd", life_crowd, 1, 5 },
	{ "full", life_full, 9, 12 },
#else
	{ "serial", life_serial, 1, 1 },
	{ "crowd", life_crowd, 1, 1 },
#endif
};

static unsigned
step_of(size_t s)
{
	return crash_long() ? 1 : stories[s].step;
}

/* -- after it --------------------------------------------------------------------- */

/* Open, check the promises, deliver the rest, start again: empty. */
static const char *
aftermath(struct kit *k, struct ledger *ledger, bool to_the_end)
{
	const char *why;

	if (!kit_open(k, NULL)) {
		return "the spool cannot be opened";
	}
	why = ledger_check(ledger, k);
	if (why == NULL && to_the_end) {
		why = ledger_run_down(k);
	}
	kit_close(k);
	if (why != NULL || !to_the_end) {
		return why;
	}
	if (!kit_open(k, NULL)) {
		return "the spool cannot be opened again";
	}
	if (spool_count(k->sp) != 0 || kit_files(k) != 0) {
		why = "something is left at the end";
	}
	kit_close(k);
	return why;
}

/* From now on not even a copy of the journal finds room. */
static void
disk_full(bool full)
{
	io_disk_full(full, "journal.copy.write");
}

/* With a journal, what a crash leaves is sometimes found by a start on a full
   disk; the one after it, and delivering, in turn, too. (What was never started
   cannot be.) */
static const char *
aftermath_full(struct kit *k, struct ledger *ledger, unsigned n,
    bool to_the_end)
{
	const bool full = kit_journal && ledger->nmail > 0 &&
	    (crash_long() || n % 4 == 1);
	const char *why = NULL;

	disk_full(full);
	if (full) {
		why = aftermath(k, ledger, false);
	}
	disk_full(full && n % 8 == 1);
	if (why == NULL) {
		why = aftermath(k, ledger, to_the_end);
	}
	disk_full(false);
	return why;
}

/* -- kills -------------------------------------------------------------------------- */

/* The child's side: the story under a plan. */
static _Noreturn void
live(const struct kit *k, life_story *story, const struct io_plan *plan,
    int trail)
{
	struct life l = { .kit = *k, .pipe = trail };

	io_plan(plan);
	if (!kit_open(&l.kit, NULL)) {
		_exit(3);
	}
	if (story != NULL) {
		story(&l);
	}
	kit_close(&l.kit);
	_exit(l.broken != NULL ? 4 : 0);
}

/* Returns whether the plan's kill came. */
static bool
run_killed(const struct kit *k, life_story *story, const struct io_plan *plan,
    struct ledger *ledger)
{
	struct crash_child child;
	char line[CRASH_LINE];
	int status, trail = crash_fork(&child);

	if (trail != -1) {
		live(k, story, plan, trail);
	}
	while (crash_line(&child, line)) {
		ledger_line(ledger, line);
	}
	status = crash_end(&child);
	if (status != 0 && !crash_was_killed(status)) {
		crash_lost("?", "a run without a kill", plan->n, "it failed");
	}
	return crash_was_killed(status);
}

/* The recovery dies, too: at its first operation, then at its second, ... With
   a journal, whose starts have many, at some of them, in turn. */
static void
kill_recovery(struct kit *k, const char *story, const struct io_plan *first,
    bool full)
{
	struct io_plan plan = { .kind = IO_PLAN_KILL, .changes = true };
	const unsigned stride = !kit_journal || crash_long() ?
	    1 : 11;
	struct ledger nothing = { .nmail = 0 };
	char path[64];

	(void)snprintf(path, sizeof(path), "%s, started after %d %u", story,
	    first->kind, first->n);

	disk_full(full);
	/* the first two, the flushes of each start, are no news */
	plan.n = stride == 1 ? 3 : 3 + first->n % stride;
	for (; run_killed(k, NULL, &plan, &nothing); plan.n += stride) {
		crash.restarts += points_add(path, &plan);
	}
	disk_full(false);
}

static void
kill_story(size_t s, enum io_plan_kind kind)
{
	struct io_plan plan = { .kind = kind, .changes = true };
	struct ledger ledger;
	struct kit k;
	const char *why;
	bool killed = true;

	for (plan.n = 1; killed; plan.n += step_of(s)) {
		ledger = (struct ledger){ .nmail = 0 };
		kit_make(&k);
		killed = run_killed(&k, stories[s].run, &plan, &ledger);
		if (killed) {
			(void)points_add(stories[s].name, &plan);
			if (plan.n % stories[s].recoveries == 0 || crash_long()) {
				kill_recovery(&k, stories[s].name, &plan,
				    kit_journal && ledger.nmail > 0 &&
				    plan.n % 2 == 0);
			}
		}
		why = aftermath_full(&k, &ledger, plan.n, true);
		if (why != NULL) {
			crash_lost(stories[s].name, kind == IO_PLAN_KILL ?
			    "kill" : "torn write", plan.n, why);
		}
		kit_remove(&k);
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
	bool stay, silent; /* silent: nobody is to notice */
	bool all;          /* in each story; else in the first, and, as the code
	                      makes no difference, in turn (VEREDUS_LONG: all) */
} fault_kinds[] = {
	{ "ENOSPC", IO_PLAN_FAIL, ENOSPC, false, false, true },
	{ "EDQUOT", IO_PLAN_FAIL, EDQUOT, false, false, false },
	{ "EIO", IO_PLAN_FAIL, EIO, false, false, true },
	{ "EMFILE", IO_PLAN_FAIL, EMFILE, false, false, false },
	{ "ENFILE", IO_PLAN_FAIL, ENFILE, false, false, false },
	{ "EINTR", IO_PLAN_FAIL, EINTR, false, true, true },
	{ "a short write", IO_PLAN_SHORT, 0, false, true, true },
	{ "a short write, then ENOSPC", IO_PLAN_SHORT, ENOSPC, false, false,
	    true },
	{ "EIO from then on", IO_PLAN_FAIL, EIO, true, false, true },
};

static bool
open_under_faults(struct life *l)
{
	int tries;

	for (tries = 0; tries < 3; tries++) {
		if (kit_open(&l->kit, NULL)) {
			return true;
		}
		if (l->stay) {
			io_plan(NULL);
		}
	}
	l->broken = "the spool cannot be opened";
	return false;
}

/* Returns whether the fault came. */
static bool
fault_once(size_t s, const struct fault *f, unsigned n)
{
	struct io_plan plan = { .kind = f->kind, .n = n, .error = f->error,
		.stay = f->stay };
	struct ledger ledger = { .nmail = 0 };
	struct life l = { .pipe = -1, .ledger = &ledger,
		.faults = !f->silent, .stay = f->stay };
	const char *hit, *why;

	kit_make(&l.kit);
	io_plan(&plan);
	if (open_under_faults(&l)) {
		stories[s].run(&l);
		kit_close(&l.kit);
	}
	hit = io_plan_hit();
	(void)points_add(stories[s].name, &plan);
	io_plan(NULL);
	/* what a failed flush of a directory leaves is not known */
	ledger.lenient = f->stay || (hit != NULL &&
	    strcmp(hit, "spool.dir.sync") == 0);
	why = l.broken != NULL ? l.broken : aftermath(&l.kit, &ledger, true);
	if (why != NULL) {
		crash_lost(stories[s].name, f->name, n, why);
	}
	kit_remove(&l.kit);
	return hit != NULL || (f->stay && l.dead);
}

static bool
is_wanted(size_t s, size_t f, unsigned n)
{
	if (crash_long()) {
		return true;
	}
	return s == 2 ? fault_kinds[f].all && n % 7 == f % 7 :
	    fault_kinds[f].all || (s == 0 && n % 3 == f % 3);
}

static void
faults_at_each_operation(void **state)
{
	size_t s, f;
	unsigned n, misses;

	(void)state;
	for (s = 0; s < NELEMS(stories); s++) {
		for (f = 0; f < NELEMS(fault_kinds); f++) {
			/* not each is wanted: go on a while */
			for (n = 1, misses = 0; misses < 12; n++) {
				bool hit = is_wanted(s, f, n) &&
				    fault_once(s, &fault_kinds[f], n);

				misses = hit ? 0 : misses + 1;
			}
		}
	}
	assert_int_equal(crash.lost, 0);
}

/* -- power cuts ----------------------------------------------------------------------- */

static void
cut_here(const struct cut_fs *fs, size_t s, const struct ledger *ledger,
    unsigned n)
{
	struct ledger copy;
	struct kit k;
	const char *why;
	unsigned i, v, more = crash_long() ? 20 : 1;

	/* the last variants are samples: in check-long there are more */
	for (i = 0; i < CUT_VARIANTS + more; i++) {
		v = i < CUT_VARIANTS ? i : CUT_BLOCKS;
		copy = *ledger;
		kit_make(&k);
		cut_make(fs, (enum cut_variant)v, 88172645463325252u + n +
		    i * 7919u, k.path);
		why = aftermath_full(&k, &copy, n + i, v == CUT_LOST);
		if (why != NULL) {
			crash_lost(stories[s].name, crash_cut_names[v], n, why);
		}
		kit_remove(&k);
		crash.cuts++;
	}
}

static void
cut_story(size_t s)
{
	struct ledger ledger = { .nmail = 0 };
	struct life l = { .pipe = -1 };
	struct io_record *r;
	struct cut_fs *fs;
	struct stat st;
	size_t i, n;

	kit_make(&l.kit);
	assert_int_equal(stat(l.kit.path, &st), 0);
	io_plan(NULL);
	io_record_start();
	assert_true(kit_open(&l.kit, NULL));
	stories[s].run(&l);
	kit_close(&l.kit);
	r = io_record_stop(&n);
	kit_remove(&l.kit);
	assert_null(l.broken);
	fs = cut_new(st.st_ino);
	for (i = 0; i < n; i++) {
		cut_apply(fs, &r[i]);
		if (r[i].op == IO_PROMISE) {
			ledger_line(&ledger, r[i].name);
		}
		/* an intent changes nothing */
		if ((r[i].op != IO_PROMISE || r[i].name[0] < 'a') &&
		    i % step_of(s) == 0) {
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

/* -- groups whose parent cannot be written ------------------------------------------------ */

/* A group that has happened, though the n-th operation failed; from then on all
   fail. Returns the site that was hit. */
static const char *
unsettled(struct kit *k, unsigned n, bool all, uint64_t *parent,
    uint64_t *child)
{
	static const uint32_t indexes[] = { 0, 1 };
	static const size_t sizes[] = { 50 };
	const struct io_plan plan = { .kind = IO_PLAN_FAIL, .n = n,
		.error = ENOSPC, .stay = true };
	const char *hit;

	assert_int_equal(kit_accept(k, 100, 2, parent), 0);
	io_plan(&plan);
	hit = kit_group(k, *parent, indexes, all ? 2 : 1, sizes, 1, child) ==
	    0 ? io_plan_hit() : "";
	return hit;
}

/* A journal that has failed needs a start in any case; its keeper may have met
   the full disk, and that be told only now. */
static int
remove_child(struct kit *k, uint64_t child, bool restart)
{
	int error;

	do {
		if (restart || k->failed != 0) {
			kit_close(k);
			assert_true(kit_open(k, NULL));
		}
		restart = false;
		error = kit_fate(k, child, 0, FATE_DELIVERED, 1);
	} while (error != 0 && k->failed != 0);
	return error;
}

/* One try: the child cannot go while the disk is full, and not before its
   parent's fate is recorded. */
static size_t unsettled_groups;

static bool
unsettled_once(unsigned n, bool all)
{
	struct kit k;
	uint64_t parent, child;
	const char *hit;

	kit_make(&k);
	assert_true(kit_open(&k, NULL));
	hit = unsettled(&k, n, all, &parent, &child);
	if (hit != NULL && hit[0] != '\0') {
		unsettled_groups++;
		assert_int_equal(k.gone, all);
		assert_int_equal(spool_count(k.sp), all ? 1 : 2);
		assert_int_equal(kit_fate(&k, child, 0, FATE_DELIVERED, 1),
		    ENOSPC);
		assert_int_equal(kit_delete(&k, child), ENOSPC);
		io_plan(NULL);
		/* settled by a start, or by the removal */
		assert_int_equal(remove_child(&k, child, n % 2 == 0), 0);
		assert_true(k.gone);
		kit_close(&k);
		assert_true(kit_open(&k, NULL));
		assert_int_equal(spool_count(k.sp), all ? 0 : 1);
		if (!all) {
			assert_int_equal(kit_info(&k, parent), 0);
			assert_int_equal(k.fates[0], FATE_EXPANDED);
			assert_int_equal(k.open, 1);
		}
	}
	io_plan(NULL);
	kit_close(&k);
	kit_remove(&k);
	return hit != NULL;
}

static void
groups_of_a_full_disk(void **state)
{
	unsigned n, all;

	(void)state;
	for (all = 0; all < 2; all++) {
		for (n = 1; unsettled_once(n, all != 0); n++) {
		}
	}
	assert_true(kit_journal || unsettled_groups >= 5);
}

/* ------------------------------------------------------------------------------------- */

static void
enough(void **state)
{
	const char *what = kit_journal ? "journal" : "spool";

	(void)state;
	points_print(what, crash.lost);
	crash_print(what);
	assert_true(points_total() - crash.restarts >= 500);
	assert_true(points_count(POINTS_KILL) - crash.restarts >= 100);
	assert_true(points_count(POINTS_TORN) >= 20 &&
	    crash.restarts >= 100 && crash.cuts >= 500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* the quickest first: check-mutants stops at the first loss */
		cmocka_unit_test(power_cut_after_each_operation),
		cmocka_unit_test(groups_of_a_full_disk),
		cmocka_unit_test(killed_at_each_operation),
		cmocka_unit_test(faults_at_each_operation),
		cmocka_unit_test(enough),
	};

#ifdef KIT_JOURNAL
	kit_journal = true;
#endif
	if (!io_build_has_hooks()) {
		print_message("built without hooks\n");
		return 1;
	}
	crash_begin(DEADLINE_S);
	points_begin();
	return cmocka_run_group_tests_name("spool_crash", tests, NULL, NULL);
}
