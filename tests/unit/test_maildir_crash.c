/* A worker that is killed, or whose disk fails, at every operation of two
   deliveries: the next attempt leaves each message once, and whole. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/unit.h"
#include "tests/unit/maildir_kit.h"
#include "tests/unit/points.h"

static unsigned went_through; /* tests that lost nothing */
#define WENT 3u

/* Two messages; each must be in new/ once and whole after the last attempt. */
static void
both(struct delivery msgs[2], bool again)
{
	msgs[0] = message(QID, "A: b\r\n\r\nhello\r\n");
	msgs[1] = message(QID + 1, "A: b\r\n\r\nhello\r\n");
	msgs[0].again = msgs[1].again = again;
}

static void
expect_whole(const struct world *w, const char *dir)
{
	char path[128];
	struct dirent *e;
	struct strbuf b;
	DIR *d;

	assert_true(snprintf(path, sizeof(path), "%s/%s", w->path, dir) < 128);
	d = opendir(path);
	if (d == NULL) {
		return;
	}
	strbuf_init(&b, 0);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.') {
			continue;
		}
		assert_true(snprintf(path, sizeof(path), "%s/%.90s", dir,
		    e->d_name) < 128);
		read_path(w, path, &b);
		assert_slice(strbuf_slice(&b), FIELDS "A: b\n\nhello\n");
	}
	(void)closedir(d);
	strbuf_clear(&b);
}

static void
expect_both(struct world *w)
{
	assert_int_equal(w->out[0].fate, FATE_DELIVERED);
	assert_int_equal(w->out[1].fate, FATE_DELIVERED);
	assert_int_equal(count(w, "Maildir/new", NULL, 0), 2);
	assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 0);
	expect_whole(w, "Maildir/new");
}

/* In a process of its own; true when the plan has killed it. `path': what was
   before. */
static bool
killed_at(struct world *w, const char *path, enum io_plan_kind kind,
    unsigned n, bool again)
{
	const struct io_plan plan = { .kind = kind, .n = n };
	struct delivery msgs[2];
	int status;
	pid_t pid = fork();

	assert_true(pid != -1);
	if (pid == 0) {
		both(msgs, again);
		start_anew(w);
		io_plan(&plan);
		deliver(w, msgs, 2);
		_exit(w->out[0].fate == FATE_DELIVERED &&
		    w->out[1].fate == FATE_DELIVERED ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status)) {
		assert_int_equal(WEXITSTATUS(status), 0);
		return false;
	}
	assert_int_equal(WTERMSIG(status), SIGKILL);
	(void)points_add(path, &plan);
	return true;
}

static void
kill_everywhere(struct world *w, enum io_plan_kind kind)
{
	struct delivery msgs[2];
	char path[40];
	unsigned n, m;
	bool killed = true, killed_again;

	for (n = 1; killed; n++) {
		(void)snprintf(path, sizeof(path), "again after %d %u", kind,
		    n);
		killed_again = true;
		for (m = 1; killed_again; m++) {
			empty_home(w);
			w->box.home = w->home;
			killed = killed_at(w, "two", kind, n, false);
			expect_whole(w, "Maildir/new");
			/* The second attempt dies too ... */
			killed_again = killed && m <= 40 &&
			    killed_at(w, path, kind, m, true);
			expect_whole(w, "Maildir/new");
			/* ... the third finds what there is. */
			both(msgs, true);
			start_anew(w);
			deliver(w, msgs, 2);
			expect_both(w);
		}
	}
}

static void
survives_kills(void **state)
{
	struct world *w = *state;

	kill_everywhere(w, IO_PLAN_KILL);
	kill_everywhere(w, IO_PLAN_TORN);
	assert_true(points_count(POINTS_KILL) > 100);
	went_through++;
}

/* The message was read, moved to cur/ by a client, while the power failed. */
static void
survives_kills_and_readers(void **state)
{
	struct world *w = *state;
	struct delivery msgs[2];
	char name[200], from[256], to[256];
	bool killed = true;
	unsigned n;

	for (n = 1; killed; n++) {
		empty_home(w);
		w->box.home = w->home;
		killed = killed_at(w, "two", IO_PLAN_KILL, n, false);
		while (count(w, "Maildir/new", name, sizeof(name)) > 0) {
			assert_true(snprintf(from, sizeof(from),
			    "Maildir/new/%s", name) < 256);
			assert_true(snprintf(to, sizeof(to),
			    "Maildir/cur/%s:2,S", name) < 256);
			assert_int_equal(renameat(w->home, from, w->home, to),
			    0);
		}
		both(msgs, true);
		start_anew(w);
		deliver(w, msgs, 2);
		assert_int_equal(w->out[0].fate, FATE_DELIVERED);
		assert_int_equal(w->out[1].fate, FATE_DELIVERED);
		assert_int_equal(count(w, "Maildir/new", NULL, 0) +
		    count(w, "Maildir/cur", NULL, 0), 2);
		assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 0);
		expect_whole(w, "Maildir/cur");
	}
	assert_true(n > 10);
	went_through++;
}

static void
fail_everywhere(struct world *w, enum io_plan_kind kind, int error, bool stay)
{
	struct io_plan plan = { .kind = kind, .error = error, .stay = stay };
	struct delivery msgs[2];
	size_t delivered;
	bool hit = true;
	unsigned i;

	for (plan.n = 1; hit; plan.n++) {
		empty_home(w);
		start_anew(w);
		both(msgs, false);
		io_plan(&plan);
		deliver(w, msgs, 2);
		hit = io_plan_hit() != NULL;
		(void)points_add("two", &plan);
		io_plan(NULL);
		delivered = 0;
		for (i = 0; i < 2; i++) {
			assert_true(w->out[i].fate == FATE_DELIVERED ||
			    w->out[i].fate == FATE_DEFERRED);
			delivered += w->out[i].fate == FATE_DELIVERED;
		}
		assert_true(count(w, "Maildir/new", NULL, 0) >= delivered);
		/* What failed is not called delivered. */
		assert_true(!hit || error == 0 || error == EINTR ||
		    delivered < 2);
		expect_whole(w, "Maildir/new");
		/* The same worker tries what it must; the other is not. */
		both(msgs, true);
		deliver(w, msgs, 2);
		expect_both(w);
	}
	assert_true(plan.n > 10);
}

static void
survives_faults(void **state)
{
	struct world *w = *state;
	static const int errors[] = { ENOSPC, EIO, EDQUOT, EMFILE, EROFS,
		EACCES };
	size_t i;

	for (i = 0; i < NELEMS(errors); i++) {
		fail_everywhere(w, IO_PLAN_FAIL, errors[i], false);
		fail_everywhere(w, IO_PLAN_FAIL, errors[i], true);
		fail_everywhere(w, IO_PLAN_SHORT, errors[i], false);
	}
	fail_everywhere(w, IO_PLAN_SHORT, 0, false);
	fail_everywhere(w, IO_PLAN_FAIL, EINTR, false);
	went_through++;
}

static void
enough(void **state)
{
	(void)state;
	/* a loss ends its test at once */
	assert_int_equal(went_through, WENT);
	points_print("maildir", 0);
	assert_true(points_count(POINTS_KILL) >= 300 &&
	    points_count(POINTS_FAULT) >= 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(survives_kills),
		PLAY(survives_kills_and_readers),
		PLAY(survives_faults),
		cmocka_unit_test(enough),
	};

	points_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
