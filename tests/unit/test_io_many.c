/* Flushing many files at a time, by the calls that the programs make. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/unit.h"

static int
a_file(void)
{
	char name[] = "/tmp/veredus-many-XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	return fd;
}

/* `n' files, of which the one at `bad' (n: none) is a pipe, or closed. */
static void
flush(const int *files, size_t n, size_t bad, int instead, int error)
{
	int fds[IO_MANY + 1] = { 0 }, errors[IO_MANY + 2];
	size_t i;

	for (i = 0; i < n; i++) {
		fds[i] = i == bad ? instead : files[i];
	}
	memset(errors, 0x55, sizeof(errors));
	io_fdatasync_many("t", fds, errors, n);
	for (i = 0; i < n; i++) {
		assert_int_equal(errors[i], i == bad ? error : 0);
	}
	assert_int_equal(errors[n], 0x55555555);
}

static void
each_has_its_result(void **state)
{
	static const size_t numbers[] = { 0, 1, 2, 3, 20, IO_MANY,
		IO_MANY + 1 };
	int files[IO_MANY + 1], pipes[2];
	size_t i, n;

	(void)state;
	for (i = 0; i < NELEMS(files); i++) {
		files[i] = a_file();
	}
	assert_int_equal(pipe(pipes), 0);
	for (i = 0; i < NELEMS(numbers); i++) {
		n = numbers[i];
		flush(files, n, n, -1, 0);
		flush(files, n, 0, -1, EBADF);
		flush(files, n, n / 2, pipes[1], EINVAL);
		flush(files, n, n - (n > 0), -1, EBADF);
		flush(files, n, n, -1, 0); /* still well */
	}
	for (i = 0; i < NELEMS(files); i++) {
		(void)close(files[i]);
	}
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_has_its_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
