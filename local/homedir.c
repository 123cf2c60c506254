#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/xmalloc.h"
#include "local/homedir.h"

bool
homedir_path_ok(const char *path, struct outcome *o)
{
	struct slice rest = slice_of(path), word;

	if (rest.n == 0 || rest.p[0] == '/') {
		outcome_set(o, FATE_DEFERRED, "4.3.5",
		    "home_mailbox = %s: is not below the home", path);
		return false;
	}
	while (slice_word(&rest, "/", &word)) {
		if (slice_eq(word, SL("..")) || slice_eq(word, SL("."))) {
			outcome_set(o, FATE_DEFERRED, "4.3.5",
			    "home_mailbox = %s: has %.*s in it", path,
			    SLF(word));
			return false;
		}
	}
	return true;
}

/* Open it, made if it is missing; -1 with errno. */
static int
open_or_make(int parent, const char *name, int flags)
{
	int fd = io_openat("local.opendir", parent, name,
	    HOMEDIR_FLAGS | flags, 0);

	if (fd != -1 || errno != ENOENT) {
		return fd;
	}
	if (io_mkdirat("local.mkdir", parent, name, 0700) == -1 &&
	    errno != EEXIST) {
		return -1;
	}
	if (io_fsync("local.mkdir.fsync", parent) == -1) {
		return -1;
	}
	return io_openat("local.opendir", parent, name, HOMEDIR_FLAGS | flags,
	    0);
}

int
homedir_open(int parent, const char *name, int flags, const char *shown,
    struct outcome *o)
{
	int fd = open_or_make(parent, name, flags);
	struct stat st;

	if (fd == -1) {
		outcome_errno(o, shown, errno);
		return -1;
	}
	if (fstat(fd, &st) == -1) {
		outcome_errno(o, shown, errno);
	} else if (st.st_uid != geteuid()) {
		outcome_set(o, FATE_DEFERRED, "4.2.0",
		    "%s: belongs to uid %u, not to the user", shown,
		    (unsigned)st.st_uid);
	} else {
		return fd;
	}
	(void)close(fd);
	return -1;
}

int
homedir_walk(int home, struct slice path, struct outcome *o)
{
	char *shown = xslicedup(path), *name;
	int dir = home, next;
	struct slice word;

	while (dir != -1 && slice_word(&path, "/", &word)) {
		name = xslicedup(word);
		next = homedir_open(dir, name, 0, shown, o);
		free(name);
		if (dir != home) {
			(void)close(dir);
		}
		dir = next;
	}
	free(shown);
	if (dir == home) {
		dir = fcntl(home, F_DUPFD_CLOEXEC, 0);
		if (dir == -1) {
			outcome_errno(o, "the home", errno);
		}
	}
	return dir;
}
