/*
 * io - the file operations that matter for durability.
 *
 * Thin wrappers: each does what its system call does, retries EINTR, goes on
 * after short writes, and returns as the call does (-1 and errno). `site' names
 * the place in the program ("spool.accept.rename"). In builds with
 * --enable-hooks a plan can kill the process before, or fail, the N-th
 * operation, and can record all of them; in other builds the wrappers cost
 * nothing. All may be called from any thread.
 *
 * The plan comes by io_plan() (in-process tests) or from the environment
 * (whole programs), read once at the start by io_plan_from_env().
 */
#ifndef COMMON_IO_H
#define COMMON_IO_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/slice.h"

int io_openat(const char *site, int dirfd, const char *name, int flags,
    mode_t mode);
/* Writes all of it at the descriptor's place: 0 or -1. */
int io_write(const char *site, int fd, const void *p, size_t n);
/* Writes all of it at `offset': 0 or -1. */
int io_pwrite(const char *site, int fd, const void *p, size_t n, off_t offset);
/* The same from several places, one call when all goes well; changes `iov'. */
int io_pwritev(const char *site, int fd, struct iovec *iov, size_t niov,
    off_t offset);
int io_fdatasync(const char *site, int fd);
/*
 * io_fdatasync() of each of `n' files, up to IO_MANY of them all at a time: one
 * flush of the disk serves all that wait for one. errors[i] is 0 or the errno
 * of fds[i].
 */
#define IO_MANY 64
void io_fdatasync_many(const char *site, const int *fds, int *errors,
    size_t n);
int io_fsync(const char *site, int fd); /* also for directories */
int io_syncfs(const char *site, int fd);
int io_renameat(const char *site, int fromdir, const char *from, int todir,
    const char *to);
int io_linkat(const char *site, int fromdir, const char *from, int todir,
    const char *to);
int io_unlinkat(const char *site, int dirfd, const char *name, int flags);
int io_mkdirat(const char *site, int dirfd, const char *name, mode_t mode);
int io_ftruncate(const char *site, int fd, off_t size);
/* A failed close is told: NFS and quotas report there. It is never retried. */
int io_close(const char *site, int fd);

/* Tests mark what has been promised ("250 ID"); the recorder notes it. */
void io_promise(const char *what);

/* -- plans and records: of use only where io_build_has_hooks() --------------- */

bool io_build_has_hooks(void);

enum io_plan_kind {
	IO_PLAN_NONE,
	IO_PLAN_KILL,  /* SIGKILL before the n-th operation */
	IO_PLAN_TORN,  /* half of the n-th operation's octets, then SIGKILL (a
	                  write; else as KILL) */
	IO_PLAN_FAIL,  /* the n-th operation fails with `error', undone; EINTR:
	                  its first try only */
	IO_PLAN_SHORT, /* the n-th operation, a write, is short: half of it, then
	                  goes on (error 0), or fails with `error' */
};

struct io_plan {
	enum io_plan_kind kind;
	unsigned n; /* from 1, counted from io_plan() on */
	int error;
	bool stay;  /* FAIL: also each operation after the n-th */
	bool changes; /* count only what changes files or directories, or
	                 flushes: not opening for reading, not closing, and not
	                 making directories */
	const char *only; /* count only sites that begin like this; NULL: all */
};

/* Replaces the plan in force (NULL: none) and counts from zero again. */
void io_plan(const struct io_plan *plan);
/* From now on, until it is taken back, the disk is full: a file that is not there
   cannot be made, and none can be made longer (ENOSPC); nor does a site that
   begins with `also', unless NULL, find room. A plan comes first. */
void io_disk_full(bool full, const char *also);
/* Operations since io_plan() or the start. */
unsigned io_count(void);
/* The site of the operation that the plan hit; NULL: not reached (yet). */
const char *io_plan_hit(void);

/* The first operation that a plan hit, and what it did to it. */
struct io_hit {
	char site[60]; /* "": none yet */
	bool half;     /* TORN, SHORT: it was a write, and half of it was done */
};

/* From here on io_plan() clears *out, unless its plan is NULL, and the plan's
   hit is noted there: memory shared with a child tells what it was killed at. */
void io_plan_watch(struct io_hit *out);
/*
 * VEREDUS_IO_PLAN holds "kill:PROGRAM:N", "torn:PROGRAM:N" or
 * "fail:PROGRAM:N:ERRNO" (ENOSPC, EIO, EDQUOT, EMFILE, ENFILE, EINTR, EROFS);
 * it is followed when PROGRAM is `program'. VEREDUS_IO_ONCE, when set, names a
 * file that must not be there and is made: so a restarted program runs free.
 */
void io_plan_from_env(const char *program);

enum io_op {
	IO_OPEN, /* only those that may create are recorded */
	IO_WRITE,
	IO_TRUNCATE,
	IO_SYNC_FILE,
	IO_SYNC_DIR,
	IO_SYNC_FS,
	IO_RENAME,
	IO_LINK,
	IO_UNLINK,
	IO_MKDIR,
	IO_CLOSE,
	IO_PROMISE,
};

/* A successful operation, as the power-cut test replays it. */
struct io_record {
	enum io_op op;
	const char *site;
	ino_t dir, dir2; /* inode of the directories of name and name2 */
	char name[64], name2[64]; /* IO_PROMISE: what, in name */
	ino_t file;      /* inode of the open (or made) file or directory */
	off_t offset;    /* IO_WRITE; IO_TRUNCATE: the size */
	char *data;      /* IO_WRITE */
	size_t n;
};

/* Record all from here on. While recording, operations run one at a time. */
void io_record_start(void);
/* Stop, and take what was recorded; free with io_records_free(). */
struct io_record *io_record_stop(size_t *n);
void io_records_free(struct io_record *r, size_t n);

#endif
