/*
 * By the kernel's own asynchronous calls, as there are no threads to spare. It
 * is asked for nothing but flushes; where it is not there, or does not want a
 * descriptor, the plain call is made.
 */
#include "config.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/io.h"

static int
flush_one(const char *site, int fd)
{
	return io_fdatasync(site, fd) == 0 ? 0 : errno;
}

#ifndef VEREDUS_HOOKS
/* The process's; made when it is needed first. */
static enum { NOT_YET, HERE, NOT_HERE } context;
static aio_context_t ctx;

static bool
is_here(void)
{
	if (context == NOT_YET) {
		context = syscall(SYS_io_setup, IO_MANY, &ctx) == 0 ? HERE :
		    NOT_HERE;
	}
	return context == HERE;
}

/* Returns how many are on their way. */
static size_t
submit(const char *site, const int *fds, int *errors, size_t n)
{
	struct iocb cb[IO_MANY], *list[IO_MANY];
	size_t i, at = 0, out = 0;
	long r;

	memset(cb, 0, sizeof(cb));
	for (i = 0; i < n; i++) {
		cb[i].aio_lio_opcode = IOCB_CMD_FDSYNC;
		cb[i].aio_fildes = (uint32_t)fds[i];
		cb[i].aio_data = i;
		list[i] = &cb[i];
		errors[i] = EINPROGRESS;
	}
	while (at < n) {
		r = syscall(SYS_io_submit, ctx, (long)(n - at), list + at);
		if (r > 0) {
			at += (size_t)r;
			out += (size_t)r;
		} else {
			errors[at] = flush_one(site, fds[at]);
			at++;
		}
	}
	return out;
}

/* False: not all came back. */
static bool
reap(int *errors, size_t n, size_t out)
{
	struct io_event ev[IO_MANY];
	long r, i;

	while (out > 0) {
		r = syscall(SYS_io_getevents, ctx, (long)out, (long)out, ev,
		    NULL);
		if (r == -1 && errno == EINTR) {
			continue;
		}
		if (r <= 0 || (size_t)r > out) {
			return false;
		}
		for (i = 0; i < r; i++) {
			if (ev[i].data < n) {
				errors[ev[i].data] = ev[i].res < 0 ?
				    (int)-ev[i].res : 0;
			}
		}
		out -= (size_t)r;
	}
	return true;
}
#endif

void
io_fdatasync_many(const char *site, const int *fds, int *errors, size_t n)
{
	size_t i;

#ifndef VEREDUS_HOOKS
	if (n > 1 && n <= IO_MANY && is_here()) {
		if (!reap(errors, n, submit(site, fds, errors, n))) {
			(void)syscall(SYS_io_destroy, ctx);
			context = NOT_HERE;
		}
	} else
#endif
	for (i = 0; i < n; i++) {
		errors[i] = EINPROGRESS;
	}
	for (i = 0; i < n; i++) {
		if (errors[i] == EINPROGRESS) {
			errors[i] = flush_one(site, fds[i]);
		}
	}
}
