/* A worker that is killed, or whose disk fails, at every operation of two
   deliveries into an mbox file that holds mail: what was there stays, and the
   next attempt leaves each message once, and whole. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/unit.h"
#include "tests/unit/maildir_kit.h"
#include "tests/unit/points.h"

#define MAIL(id)                                                               \
	"From s@y.test Tue Nov 14 22:13:20 2023\n" FIELDS "X-Veredus-Id: " id   \
	".0\nA: b\n\n>From here\n\n"
#define BOTH MAIL("0000I6HB7H6LS") MAIL("0000I6HB7H6LT")

static unsigned went_through; /* tests that lost nothing */
#define WENT 3u

/* What another program has left, and how our mail begins behind it. */
static const struct before {
	const char *name, *text;
	struct slice want;
} befores[] = {
	{ "none", NULL, SL_INIT(BOTH) },
	{ "mail", "From x\n\nold\n\n", SL_INIT("From x\n\nold\n\n" BOTH) },
	{ "no blank line", "From x\n\nold", SL_INIT("From x\n\nold\n\n" BOTH) },
};

static void
both(struct delivery msgs[2], bool again)
{
	msgs[0] = message(QID, "A: b\r\n\r\nFrom here\r\n");
	msgs[1] = message(QID + 1, "A: b\r\n\r\nFrom here\r\n");
	msgs[0].again = msgs[1].again = again;
}

static void
begin_with(struct world *w, const struct before *b)
{
	empty_home(w);
	start_anew(w);
	if (b->text != NULL) {
		touch(w, "ann", b->text);
	}
}

/* Whatever has happened: what was there is there. */
static void
expect_old(const struct world *w, const struct before *b)
{
	struct strbuf got;

	if (b->text == NULL) {
		return;
	}
	strbuf_init(&got, 0);
	read_path(w, "ann", &got);
	assert_true(got.n >= strlen(b->text));
	assert_memory_equal(got.p, b->text, strlen(b->text));
	strbuf_clear(&got);
}

static void
expect_both(struct world *w, const struct before *b)
{
	struct stat st;

	if (w->out[0].fate != FATE_DELIVERED ||
	    w->out[1].fate != FATE_DELIVERED) {
		fail_msg("%s / %s", w->out[0].text, w->out[1].text);
	}
	expect_file(w, "ann", b->want);
	assert_int_equal(fstatat(w->home, "ann.lock", &st, 0), -1);
}

/* In a process of its own; true when the plan has killed it. */
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
kill_everywhere(struct world *w, enum io_plan_kind kind,
    const struct before *b)
{
	struct delivery msgs[2];
	char path[60];
	unsigned n, m;
	bool killed = true, killed_again;

	for (n = 1; killed; n++) {
		(void)snprintf(path, sizeof(path), "%s: again after %d %u",
		    b->name, kind, n);
		killed_again = true;
		for (m = 1; killed_again; m++) {
			begin_with(w, b);
			killed = killed_at(w, b->name, kind, n, false);
			expect_old(w, b);
			/* The second attempt dies too ... */
			killed_again = killed && m <= 40 &&
			    killed_at(w, path, kind, m, true);
			expect_old(w, b);
			/* ... the third finds what there is. */
			both(msgs, true);
			start_anew(w);
			deliver(w, msgs, 2);
			expect_both(w, b);
		}
	}
	assert_true(n > 8);
}

static void
survives_kills(void **state)
{
	struct world *w = *state;
	size_t i;

	for (i = 0; i < NELEMS(befores); i++) {
		kill_everywhere(w, IO_PLAN_KILL, &befores[i]);
		kill_everywhere(w, IO_PLAN_TORN, &befores[i]);
	}
	went_through++;
}

/* After the kill another message comes first, by a fresh worker or by another
   program that heeds the locks: what was left does not merge with it. */
static void
another_comes_first(void **state)
{
	static const char first[] = "From s@y.test Tue Nov 14 22:13:20 2023\n"
	    FIELDS "X-Veredus-Id: 0000I6HB7H6LQ.0\nC: d\n\n\n";
	struct world *w = *state;
	struct delivery msgs[2], other;
	struct strbuf got;
	bool killed = true;
	unsigned n, kind;

	strbuf_init(&got, 0);
	for (kind = IO_PLAN_KILL; kind <= IO_PLAN_TORN; kind++) {
		for (n = 1, killed = true; killed; n++) {
			begin_with(w, &befores[1]);
			killed = killed_at(w, "other", (enum io_plan_kind)kind,
			    n, false);
			start_anew(w);
			other = message(QID - 2, "C: d\r\n\r\n");
			deliver_one(w, &other, FATE_DELIVERED);
			both(msgs, true);
			start_anew(w);
			deliver(w, msgs, 2);
			read_path(w, "ann", &got);
			/* all three, each once, none inside another */
			assert_int_equal(got.n, befores[1].want.n +
			    sizeof(first) - 1);
			assert_non_null(memmem(got.p, got.n, first,
			    sizeof(first) - 1));
			assert_non_null(memmem(got.p, got.n,
			    MAIL("0000I6HB7H6LS"),
			    sizeof(MAIL("0000I6HB7H6LS")) - 1));
			assert_non_null(memmem(got.p, got.n,
			    MAIL("0000I6HB7H6LT"),
			    sizeof(MAIL("0000I6HB7H6LT")) - 1));
		}
	}
	strbuf_clear(&got);
	went_through++;
}

static void
fail_everywhere(struct world *w, enum io_plan_kind kind, int error, bool stay,
    const struct before *b)
{
	struct io_plan plan = { .kind = kind, .error = error, .stay = stay };
	struct delivery msgs[2];
	struct strbuf got;
	size_t delivered;
	const char *hit;
	unsigned i;

	strbuf_init(&got, 0);
	do {
		plan.n++;
		begin_with(w, b);
		both(msgs, false);
		io_plan(&plan);
		deliver(w, msgs, 2);
		hit = io_plan_hit();
		(void)points_add(b->name, &plan);
		io_plan(NULL);
		delivered = 0;
		for (i = 0; i < 2; i++) {
			assert_true(w->out[i].fate == FATE_DELIVERED ||
			    w->out[i].fate == FATE_DEFERRED);
			delivered += w->out[i].fate == FATE_DELIVERED;
		}
		/* What failed is not called delivered; a lock that cannot be
		   removed is an orphan. */
		assert_true(hit == NULL || error == 0 || error == EINTR ||
		    strcmp(hit, "local.mbox.lock.remove") == 0 ||
		    delivered < 2);
		expect_old(w, b);
		/* One failure: what is not delivered has been cut off. */
		if (hit != NULL && !stay && b->text != NULL && delivered == 0) {
			read_path(w, "ann", &got);
			assert_int_equal(got.n, strlen(b->text));
		}
		both(msgs, true);
		deliver(w, msgs, 2);
		if (delivered == 1) { /* the other comes behind it */
			assert_int_equal(w->out[0].fate, FATE_DELIVERED);
			assert_int_equal(w->out[1].fate, FATE_DELIVERED);
			read_path(w, "ann", &got);
			assert_int_equal(got.n, b->want.n);
		} else {
			expect_both(w, b);
		}
	} while (hit != NULL);
	strbuf_clear(&got);
	assert_true(plan.n > 8);
}

static void
survives_faults(void **state)
{
	struct world *w = *state;
	static const int errors[] = { ENOSPC, EIO, EDQUOT, EMFILE, EROFS,
		EACCES };
	size_t i, k;

	for (i = 0; i < NELEMS(errors) * NELEMS(befores); i++) {
		k = i / NELEMS(errors);
		fail_everywhere(w, IO_PLAN_FAIL, errors[i % NELEMS(errors)],
		    false, &befores[k]);
		fail_everywhere(w, IO_PLAN_FAIL, errors[i % NELEMS(errors)],
		    true, &befores[k]);
		fail_everywhere(w, IO_PLAN_SHORT, errors[i % NELEMS(errors)],
		    false, &befores[k]);
	}
	fail_everywhere(w, IO_PLAN_SHORT, 0, false, &befores[1]);
	fail_everywhere(w, IO_PLAN_FAIL, EINTR, false, &befores[1]);
	went_through++;
}

static void
enough(void **state)
{
	(void)state;
	/* a loss ends its test at once */
	assert_int_equal(went_through, WENT);
	points_print("mbox", 0);
	assert_true(points_count(POINTS_KILL) >= 300 &&
	    points_count(POINTS_FAULT) >= 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MBOX_PLAY(survives_kills),
		MBOX_PLAY(another_comes_first),
		MBOX_PLAY(survives_faults),
		cmocka_unit_test(enough),
	};

	points_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
