/* The wrappers of file operations: short writes, plans, records. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/unit.h"

static int
scratch(void)
{
	char path[] = "./io-test.XXXXXX";
	int fd = mkstemp(path);

	assert_int_not_equal(fd, -1);
	assert_int_equal(unlink(path), 0);
	return fd;
}

static void
assert_holds(int fd, const char *want)
{
	char got[256];
	ssize_t n = pread(fd, got, sizeof(got), 0);

	assert_int_equal(n, (ssize_t)strlen(want));
	assert_memory_equal(got, want, (size_t)n);
}

static void
writes_all(void **state)
{
	char a[] = "one ", b[] = "", c[] = "three";
	struct iovec v[] = { { b, 0 }, { a, 4 }, { b, 0 }, { c, 5 }, { b, 0 } };
	int fd = scratch();

	(void)state;
	assert_int_equal(io_pwritev("t", fd, v, 5, 0), 0);
	assert_holds(fd, "one three");
	assert_int_equal(io_pwrite("t", fd, "two", 3, 4), 0);
	assert_holds(fd, "one twoee");
	assert_int_equal(io_write("t", fd, "1", 1), 0);
	assert_int_equal(io_write("t", fd, "", 0), 0);
	assert_int_equal(io_write("t", fd, "2", 1), 0);
	assert_holds(fd, "12e twoee");
	assert_int_equal(io_close("t", fd), 0);
	assert_int_equal(io_close("t", fd), -1);
	assert_int_equal(errno, EBADF);
}

/* The kernel writes 50 octets, then says EFBIG: never a success. */
static void
short_write_of_the_kernel(void **state)
{
	struct rlimit old, low;
	char text[100];
	int fd = scratch(), ret, error;

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = (struct rlimit){ 50, old.rlim_max };
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	ret = io_pwrite("t", fd, text, sizeof(text), 0);
	error = errno;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(ret, -1);
	assert_int_equal(error, EFBIG);
	(void)close(fd);
}

static void
plan_fails(void **state)
{
	const struct io_plan plan = { .kind = IO_PLAN_FAIL, .n = 2,
		.error = ENOSPC };
	int fd = scratch();

	(void)state;
	io_plan(&plan);
	assert_int_equal(io_pwrite("first", fd, "a", 1, 0), 0);
	assert_null(io_plan_hit());
	assert_int_equal(io_pwrite("second", fd, "b", 1, 1), -1);
	assert_int_equal(errno, ENOSPC);
	assert_string_equal(io_plan_hit(), "second");
	assert_int_equal(io_pwrite("third", fd, "c", 1, 1), 0);
	assert_int_equal(io_count(), 3);
	io_plan(NULL);
	assert_holds(fd, "ac");
	(void)close(fd);
}

static void
plan_interrupts(void **state)
{
	struct io_plan plan = { .kind = IO_PLAN_FAIL, .n = 1, .error = EINTR };
	int fd = scratch();

	(void)state;
	io_plan(&plan);
	assert_int_equal(io_pwrite("t", fd, "abc", 3, 0), 0);
	io_plan(&plan);
	assert_int_equal(io_fdatasync("t", fd), 0);
	io_plan(NULL);
	assert_holds(fd, "abc");
	(void)close(fd);
}

static void
plan_cuts_writes(void **state)
{
	struct io_plan plan = { .kind = IO_PLAN_SHORT, .n = 1 };
	int fd = scratch();

	(void)state;
	io_plan(&plan);
	assert_int_equal(io_pwrite("t", fd, "abcdef", 6, 0), 0);
	assert_holds(fd, "abcdef");
	plan.error = ENOSPC;
	io_plan(&plan);
	assert_int_equal(io_pwrite("t", fd, "ABCDEF", 6, 0), -1);
	assert_int_equal(errno, ENOSPC);
	io_plan(NULL);
	assert_holds(fd, "ABCdef");
	(void)close(fd);
}

/* What a killed child leaves in the file. */
static void
plan_kills(void **state)
{
	static const struct {
		enum io_plan_kind kind;
		const char *left;
	} rows[] = {
		{ IO_PLAN_KILL, "" },
		{ IO_PLAN_TORN, "abc" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		int fd = scratch(), status;
		pid_t pid = fork();

		if (pid == 0) {
			const struct io_plan plan = { .kind = rows[i].kind,
				.n = 1 };

			io_plan(&plan);
			(void)io_pwrite("t", fd, "abcdef", 6, 0);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
		assert_holds(fd, rows[i].left);
		(void)close(fd);
	}
}

static void
plan_from_env(void **state)
{
	static const struct {
		const char *text;
		int error; /* of the second write */
	} rows[] = {
		{ "fail:cleanup:2:EIO", EIO },
		{ "fail:cleanup:1:EIO", 0 },
		{ "fail:qmgr:2:EIO", 0 },
		{ "fail:cleanup:2:EWHAT", 0 },
		{ "fail:cleanup:2", 0 },
		{ "fail:cleanup", 0 },
		{ "burn:cleanup:2", 0 },
		{ "", 0 },
	};
	size_t i;
	int fd = scratch();

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		io_plan(NULL);
		(void)setenv("VEREDUS_IO_PLAN", rows[i].text, 1);
		io_plan_from_env("cleanup");
		(void)io_pwrite("t", fd, "a", 1, 0);
		assert_int_equal(io_pwrite("t", fd, "a", 1, 0),
		    rows[i].error != 0 ? -1 : 0);
	}
	(void)unsetenv("VEREDUS_IO_PLAN");
	io_plan(NULL);
	(void)close(fd);
}

static void
records(void **state)
{
	static const enum io_op want[] = { IO_OPEN, IO_WRITE, IO_PROMISE,
		IO_TRUNCATE, IO_SYNC_FILE, IO_RENAME, IO_UNLINK };
	struct io_record *r;
	struct stat st;
	size_t n, i;
	int fd;

	(void)state;
	io_record_start();
	fd = io_openat("t", AT_FDCWD, "io-test-a", O_RDWR | O_CREAT | O_EXCL,
	    0600);
	assert_int_not_equal(fd, -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(io_pwrite("t", fd, "abc", 3, 2), 0);
	io_promise("250 it is there");
	assert_int_equal(io_ftruncate("t", fd, 4), 0);
	assert_int_equal(io_fdatasync("t", fd), 0);
	assert_int_equal(io_close("t", fd), 0);
	assert_int_equal(io_renameat("t", AT_FDCWD, "io-test-a", AT_FDCWD,
	    "io-test-b"), 0);
	assert_int_equal(io_unlinkat("t", AT_FDCWD, "io-test-c", 0), -1);
	assert_int_equal(io_unlinkat("t", AT_FDCWD, "io-test-b", 0), 0);
	r = io_record_stop(&n);
	assert_int_equal(n, NELEMS(want));
	for (i = 0; i < n; i++) {
		assert_int_equal(r[i].op, want[i]);
	}
	assert_int_equal(r[0].file, st.st_ino);
	assert_string_equal(r[0].name, "io-test-a");
	assert_int_equal(r[1].offset, 2);
	assert_memory_equal(r[1].data, "abc", 3);
	assert_string_equal(r[2].name, "250 it is there");
	assert_int_equal(r[3].offset, 4);
	assert_string_equal(r[5].name2, "io-test-b");
	io_records_free(r, n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_all),
		cmocka_unit_test(short_write_of_the_kernel),
		cmocka_unit_test(plan_fails),
		cmocka_unit_test(plan_interrupts),
		cmocka_unit_test(plan_cuts_writes),
		cmocka_unit_test(plan_kills),
		cmocka_unit_test(plan_from_env),
		cmocka_unit_test(records),
	};

	return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
