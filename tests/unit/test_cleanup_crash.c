/*
 * cleanup is killed at, or meets an error at, each file operation of taking
 * mail: by SMTP (small and large) and from the drop directory. What was
 * promised is there afterwards: a 250, and a drop file that is gone. Prints how
 * many points it has tried (points.h).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup/pickup.h"
#include "common/crc32c.h"
#include "common/drop.h"
#include "common/io.h"
#include "tests/unit/cleanup_world.h"
#include "tests/unit/points.h"

#define NAME     "00112233445566778899aabbccddeeff"
#define LARGE    4     /* pieces of 60,000 octets: by a file */
#define POINTS_MAX 400 /* a story has fewer operations than this */

/* What a story was promised: shared with a child that is killed. */
struct promise {
	unsigned sent;     /* transactions that were committed */
	unsigned promised; /* of them answered 250 */
	unsigned refused;  /* answered 4yz */
	bool odd;          /* answered 5yz, or twice */
};

static int promise_pipe = -1;
static unsigned went_through; /* tests that lost nothing */
#define WENT 2u

/* One octet a promise, written as it is made: a kill cannot take it back. */
static void
note(struct promise *p, unsigned code)
{
	char c = code == 250 ? '+' : code / 100 == 4 ? '-' : '!';

	p->promised += code == 250 ? 1 : 0;
	p->refused += code / 100 == 4 ? 1 : 0;
	p->odd = p->odd || (code != 250 && code / 100 != 4);
	if (promise_pipe != -1 && write(promise_pipe, &c, 1) != 1) {
		_exit(9);
	}
}

/* -- stories ----------------------------------------------------------------- */

static void
send_one(struct world *w, struct promise *p, unsigned large)
{
	static char piece[60001];
	uint64_t qid, octets = 8;
	unsigned i, code = 0;

	memset(piece, 'x', sizeof(piece) - 1);
	memcpy(piece + 59998, "\r\n", 3);
	smtpd_mail(w, 1, "a@b.example");
	assert_int_equal(smtpd_rcpt(w, 1, "ann@example.org"), 250);
	code = smtpd_content(w, 1, "A: b\r\n\r\n");
	for (i = 0; i < large && code == 0; i++) {
		code = smtpd_content(w, 1, piece);
		octets += 60000;
	}
	p->sent++;
	if (code != 0) {
		note(p, code);
		peer_send(&w->smtpd, IPC_ABORT, 1, "");
		return;
	}
	note(p, smtpd_commit(w, 1, octets, &qid));
}

static void
small_mail(struct world *w, struct promise *p)
{
	send_one(w, p, 0);
	send_one(w, p, 0);
}

static void
large_mail(struct world *w, struct promise *p)
{
	send_one(w, p, LARGE);
}

static bool
drop_file_is_there(const struct world *w)
{
	struct stat st;

	return fstatat(w->dirfd, "drop/" NAME, &st, 0) == 0;
}

static void
start_pickup(struct world *w)
{
	int dirfd = -1, inotify_fd = -1;

	assert_int_equal(pickup_open(w->dirfd, geteuid(), getegid(), &dirfd,
	    &inotify_fd), 0);
	w->pg.pickup = pickup_new(&w->pg, dirfd, inotify_fd);
}

/* The promise of a drop file is made by sendmail: it is there before. */
static void
picked_up(struct world *w, struct promise *p)
{
	(void)p;
	start_pickup(w);
	world_settle(w);
	world_settle(w);
}

static void
leave_drop_file(const char *dir)
{
	struct drop_head h = { .reverse_path = SL("me@example.org"),
		.nrcpts = 1 };
	struct strbuf rcpts, b;
	char path[160];
	int fd;

	strbuf_init(&rcpts, 0);
	strbuf_init(&b, 0);
	assert_true(drop_rcpt_add(&rcpts, SL("ann")));
	h.rcpts = strbuf_slice(&rcpts);
	assert_true(drop_head_encode(&h, &b));
	(void)strbuf_add_str(&b, "Subject: x\r\n\r\nhello\r\n");
	drop_tail_encode(b.n, crc32c(0, b.p, b.n), &b);
	(void)snprintf(path, sizeof(path), "%s/drop", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/drop/" NAME, dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640);
	assert_int_equal(write(fd, b.p, b.n), (ssize_t)b.n);
	assert_int_equal(close(fd), 0);
	strbuf_clear(&rcpts);
	strbuf_clear(&b);
}

static const struct {
	const char *name;
	void (*run)(struct world *w, struct promise *p);
	bool drop;
} stories[] = {
	{ "small", small_mail, false },
	{ "large", large_mail, false },
	{ "drop", picked_up, true },
};

/* -- afterwards --------------------------------------------------------------- */

/* A start without faults: what was promised is there, no more than was sent;
   a drop file that waits is taken now. */
static void
aftermath(const char *dir, size_t s, const struct promise *p, unsigned n)
{
	struct world w;
	uint64_t ids[8];
	size_t count;

	world_begin_in(&w, dir, "");
	if (stories[s].drop) {
		start_pickup(&w);
		world_wait(&w, !drop_file_is_there(&w));
		world_settle(&w);
		count = spool_list(w.pg.spool, 0, ids, NELEMS(ids));
		if (count < 1 || count > 2) {
			fail_msg("%s, operation %u: %zu messages",
			    stories[s].name, n, count);
		}
	} else {
		count = spool_list(w.pg.spool, 0, ids, NELEMS(ids));
		if (p->odd || count < p->promised || count > p->sent + 1) {
			fail_msg("%s, operation %u: %zu of %u promised, "
			    "%u refused%s", stories[s].name, n, count,
			    p->promised, p->refused, p->odd ? ", odd" : "");
		}
	}
	assert_int_equal(spool_corrupt_count(w.pg.spool), 0);
	world_end(&w);
}

/* -- kills --------------------------------------------------------------------- */

static _Noreturn void
live(const char *dir, size_t s, const struct io_plan *plan)
{
	struct world w;
	struct promise p = { .sent = 0 };

	world_begin_in(&w, dir, "");
	io_plan(plan);
	stories[s].run(&w, &p);
	_exit(0);
}

/* Returns whether the kill came. */
static bool
kill_once(size_t s, const struct io_plan *plan)
{
	char dir[64] = "/tmp/cleanup-test-XXXXXX", c;
	struct promise p = { .sent = 3 };
	int ends[2], status;
	pid_t pid;

	assert_non_null(mkdtemp(dir));
	if (stories[s].drop) {
		leave_drop_file(dir);
	}
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(ends[0]);
		promise_pipe = ends[1];
		live(dir, s, plan);
	}
	(void)close(ends[1]);
	while (read(ends[0], &c, 1) == 1) {
		p.promised += c == '+' ? 1 : 0;
		p.odd = p.odd || c == '!';
	}
	(void)close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) && WEXITSTATUS(status) != 0) {
		fail_msg("%s, operation %u: the child failed", stories[s].name,
		    plan->n);
	}
	(void)points_add(stories[s].name, plan);
	aftermath(dir, s, &p, plan->n);
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
			while (kill_once(s, &plan)) {
				assert_true(plan.n++ < POINTS_MAX);
			}
			assert_true(plan.n > 3); /* it did come to something */
		}
	}
	went_through++;
}

/* -- faults --------------------------------------------------------------------- */

/* Returns whether the fault came. */
static bool
fault_once(size_t s, const struct io_plan *plan)
{
	char dir[64] = "/tmp/cleanup-test-XXXXXX";
	struct promise p = { .sent = 0 };
	struct world w;
	bool hit;

	assert_non_null(mkdtemp(dir));
	if (stories[s].drop) {
		leave_drop_file(dir);
	}
	world_begin_in(&w, dir, "");
	io_plan(plan);
	stories[s].run(&w, &p);
	hit = io_plan_hit() != NULL;
	(void)points_add(stories[s].name, plan);
	io_plan(NULL);
	world_leave(&w);
	if (!hit && p.refused > 0) {
		fail_msg("%s: refused without a fault", stories[s].name);
	}
	aftermath(dir, s, &p, plan->n);
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
			while (fault_once(s, &plan)) {
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
	/* a loss ends its test at once */
	assert_int_equal(went_through, WENT);
	points_print("cleanup", 0);
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
	return cmocka_run_group_tests_name("cleanup_crash", tests, NULL, NULL);
}
