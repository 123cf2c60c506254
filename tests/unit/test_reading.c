/* A message whose record kills its reader: twice, not for ever. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/reading.h"
#include "tests/unit/unit.h"

#define QID 0x5e6f708192a3u

struct place {
	char path[32];
	int dir;
};

static int
raise_place(void **state)
{
	static struct place p;

	(void)snprintf(p.path, sizeof(p.path), "/tmp/vreadXXXXXX");
	assert_non_null(mkdtemp(p.path));
	p.dir = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &p;
	return 0;
}

static int
drop_place(void **state)
{
	struct place *p = *state;

	reading_close();
	(void)unlinkat(p->dir, "reading", 0);
	(void)close(p->dir);
	return rmdir(p->path);
}

/* A life that ends by a signal, while it reads `qid' (0: nothing). */
static void
die(const struct place *p, uint64_t qid, int sig)
{
	const struct rlimit none = { 0, 0 };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(sig, SIG_DFL);
		if (!reading_open(p->dir) || !reading_begin(1)) {
			_exit(1);
		}
		reading_end();
		if (qid != 0 && !reading_begin(qid)) {
			_exit(2);
		}
		if (sig == SIGABRT) {
			abort();
		}
		(void)raise(sig);
		(void)raise(sig);
		_exit(3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
}

static bool
is_refused(const struct place *p, uint64_t qid)
{
	bool ok;

	assert_true(reading_open(p->dir));
	ok = reading_begin(qid);
	reading_end();
	reading_close();
	return !ok;
}

static void
test_two_deaths(void **state)
{
	static const int sigs[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	const struct place *p = *state;
	size_t i;

	for (i = 0; i < NELEMS(sigs); i++) {
		assert_false(is_refused(p, QID + i));
		die(p, QID + i, sigs[i]);
		assert_false(is_refused(p, QID + i));
		die(p, 9, SIGABRT); /* another one in between */
		reading_close();
		(void)unlinkat(p->dir, "reading", 0);
		die(p, QID + i, sigs[i]);
		die(p, 9, SIGABRT);
		die(p, QID + i, sigs[i]);
		assert_false(is_refused(p, 9));
		assert_true(is_refused(p, QID + i));
		/* once: who sets it aside may bring it back */
		assert_false(is_refused(p, QID + i));
		die(p, 9, SIGABRT);
		assert_true(is_refused(p, 9)); /* its mark was kept */
	}
}

static void
test_what_does_not_count(void **state)
{
	const struct place *p = *state;
	unsigned i;

	for (i = 0; i < 3; i++) {
		die(p, QID, SIGKILL);
		die(p, QID, SIGTERM);
		die(p, 0, SIGSEGV);
	}
	assert_false(is_refused(p, QID));
	assert_false(is_refused(p, 1)); /* it was through with that */
}

static void
test_damaged_and_long_files(void **state)
{
	const struct place *p = *state;
	const uint64_t mark[2] = { QID, ~(uint64_t)QID };
	struct stat st;
	int fd, i;

	fd = openat(p->dir, "reading", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, mark, 16), 16);
	assert_int_equal(write(fd, mark, 16), 16);
	assert_int_equal(pwrite(fd, "x", 1, 3), 1); /* one is none now */
	assert_false(is_refused(p, QID));
	assert_int_equal(ftruncate(fd, 31), 0);
	assert_false(is_refused(p, QID));
	assert_int_equal(ftruncate(fd, 0), 0);
	for (i = 0; i < 10000; i++) {
		assert_int_equal(pwrite(fd, mark, 16, i * 16), 16);
	}
	assert_true(is_refused(p, QID));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	(void)close(fd);
}

static void
test_without_a_file(void **state)
{
	(void)state;
	assert_true(reading_begin(QID));
	reading_end();
	assert_false(reading_open(-1));
	assert_true(reading_begin(QID));
	reading_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_two_deaths, raise_place,
		    drop_place),
		cmocka_unit_test_setup_teardown(test_what_does_not_count,
		    raise_place, drop_place),
		cmocka_unit_test_setup_teardown(test_damaged_and_long_files,
		    raise_place, drop_place),
		cmocka_unit_test(test_without_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
