/*
 * What sendmail(8) answers with exit code 0 while nobody takes its mail: the
 * drop file is there, whole, though the power fails right then; it is killed
 * or meets an error at each file operation. Prints how many points it has tried
 * (points.h).
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/points.h"
#include "tests/unit/power_cut.h"
#include "tests/unit/unit.h"
#include "tools/sendmail_drop.h"

#define LARGE   30000 /* octets: some blocks */
#define SAMPLES 24    /* of the last variant at each place */

static char scratch[200]; /* the drop directory */
static char large[LARGE + 1];
static const char *const contents[] = { "A: b\r\n\r\nhello\r\n", large };
static unsigned went_through; /* tests that lost nothing */
#define WENT 3u

static int
keep(const char *content)
{
	struct strbuf rcpts;
	struct drop_head h = { .nrcpts = 1, .reverse_path = SL("me@a.test") };
	int ret;

	strbuf_init(&rcpts, 0);
	assert_true(drop_rcpt_add(&rcpts, SL("ann")));
	h.rcpts = strbuf_slice(&rcpts);
	ret = sendmail_drop(scratch, &h, slice_of(content));
	strbuf_clear(&rcpts);
	return ret;
}

static bool
is_whole(int dir, const char *name, const char *content)
{
	static char octets[LARGE + 1000];
	int fd = openat(dir, name, O_RDONLY);
	ssize_t n = read(fd, octets, sizeof(octets));
	struct drop_head h;
	struct slice got;

	assert_true(fd != -1 && n >= 0);
	assert_int_equal(close(fd), 0);
	return drop_decode(slice_make(octets, (size_t)n), &h, &got) == NULL &&
	    slice_eq(got, slice_of(content));
}

/* How many files cleanup would take, and how many of them are whole; the
   directory is emptied. */
static unsigned
look(const char *content, unsigned *whole)
{
	DIR *d = opendir(scratch);
	struct dirent *e;
	unsigned n = 0;

	assert_non_null(d);
	*whole = 0;
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0) {
			continue;
		}
		if (drop_name_is(slice_of(e->d_name))) {
			n++;
			*whole += is_whole(dirfd(d), e->d_name, content);
		}
		assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
	}
	(void)closedir(d);
	return n;
}

static void
power_cut_after_each_operation(void **state)
{
	struct io_record *r;
	struct cut_fs *fs;
	struct stat st;
	size_t c, i, n, cuts = 0;
	unsigned k, whole;
	bool promised;

	(void)state;
	for (c = 0; c < NELEMS(contents); c++) {
		assert_int_equal(stat(scratch, &st), 0);
		io_record_start();
		assert_int_equal(keep(contents[c]), 0);
		io_promise("exit code 0");
		r = io_record_stop(&n);
		assert_int_equal(look(contents[c], &whole), 1);
		fs = cut_new(st.st_ino);
		promised = false;
		for (i = 0; i < n; i++) {
			cut_apply(fs, &r[i]);
			promised = promised || r[i].op == IO_PROMISE;
			for (k = 0; k < CUT_VARIANTS + SAMPLES; k++) {
				cut_make(fs, k < CUT_VARIANTS ?
				    (enum cut_variant)k : CUT_BLOCKS,
				    88172645463325252u + i * 1009 + k, scratch);
				/* what is torn, cleanup sees by its checksum */
				assert_true(look(contents[c], &whole) <= 1);
				assert_true(!promised || whole == 1);
				cuts++;
			}
		}
		assert_true(promised);
		cut_free(fs);
		io_records_free(r, n);
	}
	print_message("crash: sendmail: %zu power cuts, 0 lost\n", cuts);
	assert_true(cuts > 200);
	went_through++;
}

/* In a process of its own; true when the plan has killed it. */
static bool
killed_at(const char *content, const struct io_plan *plan)
{
	int status;
	pid_t pid = fork();

	assert_true(pid != -1);
	if (pid == 0) {
		io_plan(plan);
		_exit(keep(content) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status)) {
		assert_int_equal(WEXITSTATUS(status), 0);
		return false;
	}
	assert_int_equal(WTERMSIG(status), SIGKILL);
	(void)points_add(content == large ? "large" : "small", plan);
	return true;
}

/* What cleanup would take is whole; who lives has left it. */
static void
killed_at_each_operation(void **state)
{
	static const enum io_plan_kind kinds[] = { IO_PLAN_KILL, IO_PLAN_TORN };
	struct io_plan plan = { .n = 0 };
	size_t c, i;
	unsigned n, whole;
	bool killed;

	(void)state;
	for (c = 0; c < NELEMS(contents) * NELEMS(kinds); c++) {
		i = c / NELEMS(kinds);
		plan.kind = kinds[c % NELEMS(kinds)];
		plan.n = 0;
		do {
			plan.n++;
			killed = killed_at(contents[i], &plan);
			n = look(contents[i], &whole);
			assert_int_equal(n, whole);
			assert_true(killed ? n <= 1 : n == 1);
		} while (killed);
		assert_true(plan.n > 5);
	}
	went_through++;
}

/* Either it says that it failed and nothing is left, or the file is there. */
static void
errors_at_each_operation(void **state)
{
	static const int errors[] = { ENOSPC, EIO, EDQUOT, EROFS, EMFILE };
	static const enum io_plan_kind kinds[] = { IO_PLAN_FAIL, IO_PLAN_SHORT };
	struct io_plan plan = { .n = 0 };
	size_t c, e;
	unsigned n, whole;
	int ret;
	bool hit;

	(void)state;
	for (c = 0; c < NELEMS(kinds); c++) {
		for (e = 0; e < NELEMS(errors); e++) {
			plan.kind = kinds[c];
			plan.error = errors[e];
			plan.n = 0;
			do {
				plan.n++;
				io_plan(&plan);
				ret = keep(contents[0]);
				hit = io_plan_hit() != NULL;
				(void)points_add("small", &plan);
				io_plan(NULL);
				n = look(contents[0], &whole);
				assert_int_equal(n, whole);
				assert_int_equal(n, ret == 0 ? 1 : 0);
				assert_true(hit || ret == 0);
			} while (hit);
			assert_true(plan.n > 5);
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
	points_print("sendmail", 0);
	assert_true(points_count(POINTS_KILL) >= 12 &&
	    points_count(POINTS_FAULT) >= 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(power_cut_after_each_operation),
		cmocka_unit_test(killed_at_each_operation),
		cmocka_unit_test(errors_at_each_operation),
		cmocka_unit_test(enough),
	};
	const char *tmp = getenv("TMPDIR");
	int failed;

	memset(large, 'x', LARGE);
	memcpy(large, "A: b\r\n\r\n", 8);
	if (snprintf(scratch, sizeof(scratch), "%s/drop-test.XXXXXX",
	    tmp != NULL ? tmp : ".") >= (int)sizeof(scratch) ||
	    mkdtemp(scratch) == NULL) {
		perror(scratch);
		return 1;
	}
	points_begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(scratch);
	return failed;
}
