/*
 * cleanup is killed at, or meets an error at, each file operation of making
 * notices: a bounce that ends its message, one that leaves a recipient open, one
 * with a copy for postmaster, a large one, a delay warning. Afterwards the order
 * is given again, as qmgr does: the notice is there, once, and its recipients
 * are recorded. Prints how many points it has tried (points.h).
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/notice_kit.h"
#include "tests/unit/points.h"

#define TEXT "From: a@b.example\r\nSubject: hello\r\n\r\nthe body\r\n"
#define POINTS_MAX 400 /* a story has fewer operations than this */
#define LARGE      4   /* pieces of 60,000 octets: by a file */

struct story {
	const char *name, *settings;
	enum ipc_notice kind;
	unsigned rcpts, stuck, deferred, pieces, children;
	bool ends; /* the message goes with its notice */
};

static const struct story stories[] = {
	{ "last", "", IPC_NOTICE_FAILED, 1, 1, 0, 0, 1, true },
	{ "one of two", "", IPC_NOTICE_FAILED, 2, 1, 0, 0, 1, false },
	{ "copy", "notify_classes = bounce, delay\nnotice_recipient = carl\n",
	    IPC_NOTICE_FAILED, 2, 2, 0, 0, 2, true },
	{ "large", "", IPC_NOTICE_FAILED, 1, 1, 0, LARGE, 1, true },
	{ "warning", "", IPC_NOTICE_DELAYED, 2, 0, 2, 0, 1, false },
};

static unsigned went_through; /* tests that lost nothing */
static unsigned lost, doubled;
#define WENT 2u

static const char *const names[] = { "ann@example.org", "bob@example.org" };

/* A message whose first recipients are stuck, at rest in `dir'. */
static uint64_t
prepare(const struct story *s, const char *dir)
{
	static char piece[60001];
	struct world w;
	uint64_t qid = 0;
	unsigned i;

	memset(piece, 'x', sizeof(piece) - 1);
	memcpy(piece + 59998, "\r\n", 3);
	world_begin_in(&w, dir, s->settings);
	smtpd_mail(&w, 1, "a@b.example");
	for (i = 0; i < s->rcpts; i++) {
		assert_int_equal(smtpd_rcpt(&w, 1, names[i]), 250);
	}
	assert_int_equal(smtpd_content(&w, 1, TEXT), 0);
	for (i = 0; i < s->pieces; i++) {
		assert_int_equal(smtpd_content(&w, 1, piece), 0);
	}
	assert_int_equal(smtpd_commit(&w, 1, strlen(TEXT) +
	    (uint64_t)s->pieces * 60000, &qid), 250);
	for (i = 0; i < s->stuck; i++) {
		assert_int_equal(notice_stuck(&w, qid, i), 0);
	}
	for (i = 0; i < s->deferred; i++) {
		assert_int_equal(notice_fate(&w, qid, i, FATE_DEFERRED), 0);
	}
	world_leave(&w);
	return qid;
}

static void
check_parent(struct world *w, const struct story *s, uint64_t qid)
{
	struct letter_seen l;
	bool there = letter_see(w, qid, &l);
	unsigned i;

	assert_int_equal(there, !s->ends);
	for (i = 0; there && i < s->rcpts; i++) {
		if (s->kind == IPC_NOTICE_DELAYED) {
			assert_true(l.warned[i]);
			assert_int_equal(l.fate[i], FATE_DEFERRED);
		} else {
			assert_int_equal(l.fate[i], i < s->stuck ?
			    FATE_FAILED : FATE_NONE);
		}
	}
	letter_clear(&l);
}

/* Whole, and about those that are meant: each of them once, nobody else. */
static void
check_letter(const struct story *s, const char *content)
{
	unsigned i, told = s->stuck + s->deferred;
	char field[80];
	const char *at;

	assert_non_null(strstr(content, "--=_"));
	assert_string_equal(content + strlen(content) - 4, "--\r\n");
	for (i = 0; i < s->rcpts; i++) {
		(void)snprintf(field, sizeof(field), "\r\nFinal-Recipient: "
		    "rfc822; %s\r\n", names[i]);
		at = strstr(content, field);
		assert_int_equal(at != NULL, i < told);
		assert_true(at == NULL || strstr(at + 1, field) == NULL);
	}
}

/*
 * A start without faults: the order again, and all is as it is to be. `answered':
 * an answer said before that it is done.
 */
static void
aftermath(const char *dir, const struct story *s, uint64_t qid, bool answered,
    unsigned n)
{
	struct world w;
	struct letter_seen l;
	uint64_t qids[8];
	size_t before, count, i;

	world_begin_in(&w, dir, s->settings);
	before = notice_children(&w, qid, qids, NELEMS(qids));
	lost += answered && before < s->children ? 1 : 0;
	assert_int_equal(notice_order(&w, qid, s->kind)->u[2], 0);
	count = notice_children(&w, qid, qids, NELEMS(qids));
	lost += count < s->children ? 1 : 0;
	doubled += count > s->children ? 1 : 0;
	if (lost + doubled > 0) {
		fail_msg("%s, operation %u: %zu notices before the order, %zu "
		    "after it", s->name, n, before, count);
	}
	for (i = 0; i < count; i++) {
		assert_true(letter_see(&w, qids[i], &l));
		check_letter(s, l.content);
		letter_clear(&l);
	}
	check_parent(&w, s, qid);
	assert_int_equal(spool_corrupt_count(w.pg.spool), 0);
	world_end(&w);
}

/* In memory, where it can be: a kill is no power cut, and a disk is slow. */
static void
make_dir(char dir[64])
{
	(void)snprintf(dir, 64, "/dev/shm/cleanup-test-XXXXXX");
	if (mkdtemp(dir) == NULL) {
		(void)snprintf(dir, 64, "/tmp/cleanup-test-XXXXXX");
		assert_non_null(mkdtemp(dir));
	}
}

/* Returns whether the kill came. */
static bool
kill_once(const struct story *s, const struct io_plan *plan)
{
	char dir[64];
	uint64_t qid;
	int status;
	pid_t pid;

	make_dir(dir);
	qid = prepare(s, dir);
	pid = fork();
	if (pid == 0) {
		struct world w;

		world_begin_in(&w, dir, s->settings);
		io_plan(plan);
		_exit(notice_order(&w, qid, s->kind)->u[2] == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) && WEXITSTATUS(status) != 0) {
		fail_msg("%s, operation %u: the child failed", s->name,
		    plan->n);
	}
	(void)points_add(s->name, plan);
	aftermath(dir, s, qid, !WIFSIGNALED(status), plan->n);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void
killed_at_each_operation(void **state)
{
	static const enum io_plan_kind kinds[] = { IO_PLAN_KILL, IO_PLAN_TORN };
	struct io_plan plan;
	size_t s, k;

	(void)state;
	for (s = 0; s < NELEMS(stories); s++) {
		for (k = 0; k < NELEMS(kinds); k++) {
			plan = (struct io_plan){ .kind = kinds[k], .n = 1 };
			while (kill_once(&stories[s], &plan)) {
				assert_true(plan.n++ < POINTS_MAX);
			}
			assert_true(plan.n > 3); /* it did come to something */
		}
	}
	went_through++;
}

/* Returns whether the fault came. What failed is tried again in this life, and
   once more in the next. */
static bool
fault_once(const struct story *s, const struct io_plan *plan)
{
	char dir[64];
	struct world w;
	uint64_t qid;
	bool hit, done;

	make_dir(dir);
	qid = prepare(s, dir);
	world_begin_in(&w, dir, s->settings);
	io_plan(plan);
	done = notice_order(&w, qid, s->kind)->u[2] == 0;
	hit = io_plan_hit() != NULL;
	(void)points_add(s->name, plan);
	io_plan(NULL);
	assert_true(done || hit);
	if (!done && plan->n % 2 == 0) {
		assert_int_equal(notice_order(&w, qid, s->kind)->u[2], 0);
		done = true;
	}
	world_leave(&w);
	aftermath(dir, s, qid, done, plan->n);
	return hit;
}

static void
errors_at_each_operation(void **state)
{
	static const struct {
		enum io_plan_kind kind;
		int error;
	} faults[] = {
		{ IO_PLAN_FAIL, EIO },
		{ IO_PLAN_FAIL, ENOSPC },
		{ IO_PLAN_FAIL, EMFILE },
		{ IO_PLAN_SHORT, ENOSPC },
	};
	struct io_plan plan;
	size_t s, f;

	(void)state;
	for (s = 0; s < NELEMS(stories); s++) {
		for (f = 0; f < NELEMS(faults); f++) {
			plan = (struct io_plan){ .kind = faults[f].kind, .n = 1,
				.error = faults[f].error };
			while (fault_once(&stories[s], &plan)) {
				assert_true(plan.n++ < POINTS_MAX);
			}
			assert_true(plan.n > 3);
		}
	}
	went_through++;
}

static void
enough(void **state)
{
	(void)state;
	assert_int_equal(went_through, WENT);
	points_print("notices", lost + doubled);
	assert_true(points_count(POINTS_KILL) >= 25 &&
	    points_count(POINTS_TORN) >= 5 &&
	    points_count(POINTS_FAULT) >= 80);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_at_each_operation),
		cmocka_unit_test(errors_at_each_operation),
		cmocka_unit_test(enough),
	};

	points_begin();
	return cmocka_run_group_tests_name("notice_crash", tests, NULL, NULL);
}
