#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io_hooks.h"

/* One try of a call, again after EINTR; the plan may refuse a try. */
#ifdef VEREDUS_HOOKS
#define REFUSED(c) ((c)->error != 0 && !(c)->half)
#define TRY(c, ret, call)                                                      \
	do {                                                                   \
		(ret) = REFUSED(c) ? io_hook_refuse(c) : (call);               \
	} while ((ret) == -1 && errno == EINTR)
#else
#define TRY(c, ret, call)                                                      \
	do {                                                                   \
		(ret) = (call);                                                \
	} while ((ret) == -1 && errno == EINTR)
#endif

int
io_openat(const char *site, int dirfd, const char *name, int flags, mode_t mode)
{
	struct io_call c = { .op = IO_OPEN, .site = site, .dir = dirfd,
		.name = name, .fd = -1, .flags = flags };
	int fd;

	io_hook_before(&c);
	TRY(&c, fd, openat(dirfd, name, flags | O_CLOEXEC, mode));
	c.fd = (flags & O_CREAT) != 0 ? fd : -1;
	return io_hook_after(&c, fd);
}

/* Drop `done' octets from the front of what is to be written. */
static void
advance(struct iovec **iov, size_t *niov, size_t done)
{
	while (*niov > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*niov)--;
	}
	if (*niov > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

#ifdef VEREDUS_HOOKS
/* The plan's short write: half of the first piece that has octets. */
static int
write_half(struct io_call *c, struct iovec **iov, size_t *niov, off_t *offset)
{
	size_t half = (*iov)->iov_len / 2;
	ssize_t w;

	c->half = false;
	w = *offset < 0 ? write(c->fd, (*iov)->iov_base, half) :
	    pwrite(c->fd, (*iov)->iov_base, half, *offset);
	if (c->die) {
		io_hook_die();
	}
	if (w > 0) {
		advance(iov, niov, (size_t)w);
		*offset += *offset < 0 ? 0 : w;
	}
	return 0;
}
#endif

/* offset -1: at the descriptor's place. */
static int
write_all(struct io_call *c, struct iovec *iov, size_t niov, off_t offset)
{
	ssize_t w;

	advance(&iov, &niov, 0);
#ifdef VEREDUS_HOOKS
	if (c->half && niov > 0) {
		(void)write_half(c, &iov, &niov, &offset);
	}
#endif
	while (niov > 0) {
		TRY(c, w, offset < 0 ? writev(c->fd, iov, (int)niov) :
		    pwritev(c->fd, iov, (int)niov, offset));
		if (w == -1) {
			return -1;
		}
		if (w == 0) { /* no such thing for files: do not spin */
			errno = EIO;
			return -1;
		}
		offset += offset < 0 ? 0 : w;
		advance(&iov, &niov, (size_t)w);
	}
	return 0;
}

static int
write_site(const char *site, int fd, struct iovec *iov, size_t niov,
    off_t offset)
{
	struct io_call c = { .op = IO_WRITE, .site = site, .fd = fd, .dir = -1,
		.offset = offset };
	size_t i;

	for (i = 0; i < niov; i++) {
		c.n += iov[i].iov_len;
	}
	io_hook_before(&c);
	return io_hook_after(&c, write_all(&c, iov, niov, offset));
}

static struct iovec
piece(const void *p, size_t n)
{
	union {
		const void *in;
		void *out;
	} u = { .in = p }; /* writev does not write to it */

	return (struct iovec){ u.out, n };
}

int
io_write(const char *site, int fd, const void *p, size_t n)
{
	struct iovec v = piece(p, n);

	return write_site(site, fd, &v, 1, -1);
}

int
io_pwrite(const char *site, int fd, const void *p, size_t n, off_t offset)
{
	struct iovec v = piece(p, n);

	return write_site(site, fd, &v, 1, offset);
}

int
io_pwritev(const char *site, int fd, struct iovec *iov, size_t niov,
    off_t offset)
{
	return write_site(site, fd, iov, niov, offset);
}

/* As a flush that finds nothing to do. */
static int
flushed(int fd)
{
	return fcntl(fd, F_GETFD) == -1 ? -1 : 0;
}

int
io_fdatasync(const char *site, int fd)
{
	struct io_call c = { .op = IO_SYNC_FILE, .site = site, .fd = fd,
		.dir = -1 };
	int ret;

	io_hook_before(&c);
	TRY(&c, ret, io_hook_syncs() ? fdatasync(fd) : flushed(fd));
	return io_hook_after(&c, ret);
}

/*
 * XFS that has shut itself down (its log could not be written) has nothing left
 * to flush for a directory and says so with 0, though a rename before it is
 * lost; fstat() does say that it is dead. What fails after that is not of this
 * flush.
 */
static int
sync_dir(int fd)
{
	struct stat st;

	return fsync(fd) == -1 ? -1 : fstat(fd, &st);
}

int
io_fsync(const char *site, int fd)
{
	struct io_call c = { .op = IO_SYNC_DIR, .site = site, .fd = fd,
		.dir = -1 };
	int ret;

	io_hook_before(&c);
	TRY(&c, ret, io_hook_syncs() ? sync_dir(fd) : flushed(fd));
	return io_hook_after(&c, ret);
}

int
io_syncfs(const char *site, int fd)
{
	struct io_call c = { .op = IO_SYNC_FS, .site = site, .fd = fd,
		.dir = -1 };
	int ret;

	io_hook_before(&c);
	TRY(&c, ret, syncfs(fd));
	return io_hook_after(&c, ret);
}

int
io_renameat(const char *site, int fromdir, const char *from, int todir,
    const char *to)
{
	struct io_call c = { .op = IO_RENAME, .site = site, .dir = fromdir,
		.name = from, .dir2 = todir, .name2 = to, .fd = -1 };
	int ret;

	io_hook_before(&c);
	TRY(&c, ret, renameat(fromdir, from, todir, to));
	return io_hook_after(&c, ret);
}

int
io_linkat(const char *site, int fromdir, const char *from, int todir,
    const char *to)
{
	struct io_call c = { .op = IO_LINK, .site = site, .dir = fromdir,
		.name = from, .dir2 = todir, .name2 = to, .fd = -1 };
	int ret;

	io_hook_before(&c);
	TRY(&c, ret, linkat(fromdir, from, todir, to, 0));
	return io_hook_after(&c, ret);
}

int
io_unlinkat(const char *site, int dirfd, const char *name, int flags)
{
	struct io_call c = { .op = IO_UNLINK, .site = site, .dir = dirfd,
		.name = name, .fd = -1 };
	int ret;

	io_hook_before(&c);
	TRY(&c, ret, unlinkat(dirfd, name, flags));
	return io_hook_after(&c, ret);
}

int
io_mkdirat(const char *site, int dirfd, const char *name, mode_t mode)
{
	struct io_call c = { .op = IO_MKDIR, .site = site, .dir = dirfd,
		.name = name, .fd = -1 };
	int ret;

	io_hook_before(&c);
	TRY(&c, ret, mkdirat(dirfd, name, mode));
	return io_hook_after(&c, ret);
}

int
io_ftruncate(const char *site, int fd, off_t size)
{
	struct io_call c = { .op = IO_TRUNCATE, .site = site, .fd = fd,
		.dir = -1, .offset = size };
	int ret;

	io_hook_before(&c);
	TRY(&c, ret, ftruncate(fd, size));
	return io_hook_after(&c, ret);
}

/* On Linux the descriptor is gone whatever close() says, also after EINTR,
   which tells nothing about the data: that is no error then. */
int
io_close(const char *site, int fd)
{
	struct io_call c = { .op = IO_CLOSE, .site = site, .fd = fd,
		.dir = -1 };
	int ret;

	io_hook_before(&c);
	ret = close(fd);
	if (ret == -1 && errno == EINTR) {
		ret = 0;
	}
	if (c.error != 0 && c.error != EINTR) {
		errno = c.error;
		ret = -1;
	}
	c.fd = -1;
	return io_hook_after(&c, ret);
}

#ifndef VEREDUS_HOOKS
bool
io_build_has_hooks(void)
{
	return false;
}

void
io_promise(const char *what)
{
	(void)what;
}

void
io_plan(const struct io_plan *plan)
{
	(void)plan;
}

void
io_disk_full(bool full, const char *also)
{
	(void)full;
	(void)also;
}

unsigned
io_count(void)
{
	return 0;
}

const char *
io_plan_hit(void)
{
	return NULL;
}

void
io_plan_watch(struct io_hit *out)
{
	(void)out;
}

void
io_plan_from_env(const char *program)
{
	(void)program;
}

void
io_record_start(void)
{
}

struct io_record *
io_record_stop(size_t *n)
{
	*n = 0;
	return NULL;
}

void
io_records_free(struct io_record *r, size_t n)
{
	(void)r;
	(void)n;
}
#endif
