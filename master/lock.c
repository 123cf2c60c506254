#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/strbuf.h"
#include "master/master.h"

#define WAIT_TRIES 100 /* of 50 ms: for the rest of a killed instance */

/* The pid that the holder wrote, or 0. */
static pid_t
holder(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text), 0);
	uint64_t pid;

	if (n <= 0 || !slice_number(slice_trim(slice_make(text, (size_t)n)),
	    INT32_MAX, &pid)) {
		return 0;
	}
	return (pid_t)pid;
}

static bool
is_alive(pid_t pid)
{
	return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

/*
 * An "open file description" lock: it lives as long as any descriptor of this
 * opening. cleanup is given one, so a spool whose master was killed stays
 * locked until its cleanup has ended, too.
 */
static bool
try_lock(int fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &fl) == 0;
}

/* Over what stands there: on a full disk a fresh block could not be had. Where it
   cannot be written all the same, the lock stands without it: it is for people. */
static void
write_pid(int fd, long pid)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%-20ld\n", pid);

	(void)!pwrite(fd, text, (size_t)n, 0);
}

int
lock_spool(const char *queue_directory, bool *unclean, struct strbuf *why)
{
	const struct timespec pause = { 0, 50000000 };
	struct strbuf path;
	int fd, i;

	strbuf_init(&path, 0);
	(void)strbuf_printf(&path, "%s/lock", queue_directory);
	fd = open(path.p, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd == -1) {
		(void)strbuf_printf(why, "%s: %s\n", path.p, strerror(errno));
		strbuf_clear(&path);
		return -1;
	}
	*unclean = holder(fd) != 0;
	for (i = 0; i < WAIT_TRIES; i++) {
		if (try_lock(fd)) {
			write_pid(fd, (long)getpid());
			strbuf_clear(&path);
			return fd;
		}
		if ((errno != EAGAIN && errno != EACCES) ||
		    is_alive(holder(fd))) {
			break;
		}
		(void)nanosleep(&pause, NULL);
	}
	if (is_alive(holder(fd))) {
		(void)strbuf_printf(why, "Veredus is running already on %s: "
		    "pid %ld\n", queue_directory, (long)holder(fd));
	} else {
		(void)strbuf_printf(why, "%s: in use by another process\n",
		    path.p);
	}
	(void)close(fd);
	strbuf_clear(&path);
	return -1;
}

void
lock_release(int fd)
{
	write_pid(fd, 0);
	(void)close(fd);
}
