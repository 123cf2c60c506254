/*
 * The directories of maps, kept open from before a program's rights went away:
 * an account that may not walk to a directory (the spool of a test below
 * someone's home) can still open what it may read in there. A path that can be
 * walked is walked, so a directory that was exchanged is noticed.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/map_impl.h"
#include "common/xmalloc.h"

#define DIRS_MAX 64

/* The process's, as its walls are; not a session's state. */
static struct {
	char *path;
	int fd;
} kept[DIRS_MAX];
static size_t nkept;

void
map_keep_directory(const char *dir)
{
	int fd;
	size_t i;

	for (i = 0; i < nkept; i++) {
		if (strcmp(kept[i].path, dir) == 0) {
			return;
		}
	}
	if (nkept == DIRS_MAX) {
		return; /* then the path must do */
	}
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd != -1) {
		kept[nkept].path = xstrdup(dir);
		kept[nkept++].fd = fd;
	}
}

/* The kept directory of the file at `path', or -1; *name is its last part. */
static int
directory_of(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t i, n;

	if (slash == NULL) {
		return -1;
	}
	*name = slash + 1;
	n = slash == path ? 1 : (size_t)(slash - path);
	for (i = 0; i < nkept; i++) {
		if (slice_eq(slice_of(kept[i].path), slice_make(path, n))) {
			return kept[i].fd;
		}
	}
	errno = EACCES;
	return -1;
}

int
map_path_open(const char *path)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = open(path, flags), dir;
	const char *name;

	if (fd == -1 && errno == EACCES) {
		dir = directory_of(path, &name);
		fd = dir != -1 ? openat(dir, name, flags) : -1;
	}
	return fd;
}

int
map_path_stat(const char *path, struct stat *st)
{
	int r = stat(path, st), dir;
	const char *name;

	if (r == -1 && errno == EACCES) {
		dir = directory_of(path, &name);
		r = dir != -1 ? fstatat(dir, name, st, 0) : -1;
	}
	return r;
}
