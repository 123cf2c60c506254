/*
 * io - the file operations that matter for durability.
 *
 * Thin wrappers: each does what its system call does, retries EINTR, goes on
 * after short writes, and returns as the call does (-1 and errno). `site' names
 * the place in the program ("spool.accept.rename"). In builds with
 * --enable-hooks a plan can kill the process before, or fail, the N-th
 * operation, and can record all of them; in other builds the wrappers cost
 * nothing.
 *
 * The plan comes by io_plan() (in-process tests) or from the environment
 * (whole programs): VEREDUS_IO_PLAN="kill:cleanup:N" or
 * "fail:cleanup:N:ENOSPC", read once at the start by io_plan_from_env().
 */
#ifndef COMMON_IO_H
#define COMMON_IO_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/slice.h"

int io_openat(const char *site, int dirfd, const char *name, int flags,
    mode_t mode);
/* Writes all of it at the descriptor's place: 0 or -1. */
int io_write(const char *site, int fd, const void *p, size_t n);
/* Writes all of it at `offset': 0 or -1. */
int io_pwrite(const char *site, int fd, const void *p, size_t n, off_t offset);
int io_fdatasync(const char *site, int fd);
int io_fsync(const char *site, int fd); /* also for directories */
int io_syncfs(const char *site, int fd);
int io_renameat(const char *site, int fromdir, const char *from, int todir,
    const char *to);
int io_linkat(const char *site, int fromdir, const char *from, int todir,
    const char *to);
int io_unlinkat(const char *site, int dirfd, const char *name, int flags);
int io_mkdirat(const char *site, int dirfd, const char *name, mode_t mode);
int io_ftruncate(const char *site, int fd, off_t size);
/* A failed close is told: NFS and quotas report there. */
int io_close(const char *site, int fd);

/* Tests mark what has been promised ("250 ID"); the recorder notes it. */
void io_promise(const char *what);

#endif
