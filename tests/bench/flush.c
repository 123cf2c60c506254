/*
 * flush - a disk whose flush takes BENCH_FLUSH_US, for `make bench'.
 *
 * Preloaded into every program of a mail system under test (any: it knows
 * nothing of Veredus). Each call that waits for the disk does so, and returns no
 * sooner than that many microseconds after it began; it is counted in the file
 * BENCH_FLUSH_COUNT, one 64-bit number, mapped before a program locks itself in.
 * A program that is to be measured and cannot map it ends: flushes that are not
 * counted would be a lie.
 *
 * A call of several flushes at once is one; O_DSYNC writes are not seen (neither
 * system has any), RWF_DSYNC is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint64_t *count;
static int64_t flush_ns;

__attribute__((constructor)) static void
flush_init(void)
{
	const char *us = getenv("BENCH_FLUSH_US");
	const char *path = getenv("BENCH_FLUSH_COUNT");
	void *map = MAP_FAILED;
	int fd;

	if (us == NULL || path == NULL) {
		return;
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd != -1) {
		map = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
		(void)close(fd);
	}
	if (map == MAP_FAILED) {
		static const char text[] = "flush: BENCH_FLUSH_COUNT fails\n";

		(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
		_exit(70);
	}
	flush_ns = strtoll(us, NULL, 10) * 1000;
	count = map;
}

/* Waits until the flush that began at `start' has taken its time. */
static void
flush_end(const struct timespec *start)
{
	int64_t end = start->tv_sec * INT64_C(1000000000) + start->tv_nsec +
	    flush_ns;
	const struct timespec until = { (time_t)(end / 1000000000),
		(long)(end % 1000000000) };
	int saved = errno;

	if (count != NULL) {
		atomic_fetch_add(count, 1);
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until,
		    NULL) == EINTR) {
			continue;
		}
	}
	errno = saved;
}

/* A function in front of libc's of the same name. */
#define FLUSH(type, name, params, args, waits)                                 \
	type name params                                                       \
	{                                                                      \
		static type(*_Atomic real) params;                             \
		struct timespec start;                                         \
		type ret;                                                      \
                                                                               \
		if (real == NULL) {                                            \
			real = (type(*) params)dlsym(RTLD_NEXT, #name);        \
		}                                                              \
		(void)clock_gettime(CLOCK_MONOTONIC, &start);                  \
		ret = real args;                                               \
		if (waits) {                                                   \
			flush_end(&start);                                     \
		}                                                              \
		return ret;                                                    \
	}

#define RANGE_WAITS (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER)

FLUSH(int, fsync, (int fd), (fd), 1)
FLUSH(int, fdatasync, (int fd), (fd), 1)
FLUSH(int, syncfs, (int fd), (fd), 1)
FLUSH(int, msync, (void *p, size_t n, int how), (p, n, how), how & MS_SYNC)
FLUSH(int, sync_file_range, (int fd, off64_t at, off64_t n, unsigned how),
    (fd, at, n, how), how & RANGE_WAITS)
FLUSH(ssize_t, pwritev2, (int fd, const struct iovec *iov, int n, off64_t at,
    int how), (fd, iov, n, at, how), how & (RWF_DSYNC | RWF_SYNC))
