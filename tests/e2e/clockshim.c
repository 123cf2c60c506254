/*
 * A clock that jumps: in front of libc, adds the seconds that stand in the file
 * $CLOCKSHIM (8 octets, mapped once, so that it works behind the walls) to what
 * CLOCK_REALTIME says. Monotonic clocks are left alone, as the kernel's are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;
static int (*real)(clockid_t, struct timespec *);

static void __attribute__((constructor))
begin(void)
{
	const char *path = getenv("CLOCKSHIM");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p;

	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	if (fd != -1) {
		p = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
		offset = p == MAP_FAILED ? NULL : p;
		(void)close(fd);
	}
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int r;

	if (real == NULL) {
		begin();
	}
	r = real(id, ts);
	if (r == 0 && offset != NULL &&
	    (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
		ts->tv_sec += *offset;
	}
	return r;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (out != NULL) {
		*out = ts.tv_sec;
	}
	return ts.tv_sec;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}
