#include "config.h"

#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/aliases.h"
#include "common/io.h"
#include "common/xmalloc.h"
#include "tools/mapmake.h"

#define TEXT_MAX   (256 * 1024 * 1024) /* octets */
#define CDB_MAX    0xf0000000u         /* octets; its offsets have 32 bits */

static bool
fail(struct strbuf *errors, const char *path, const char *why)
{
	(void)strbuf_printf(errors, "%s: %s\n", path, why);
	return false;
}

static bool
read_all(int fd, struct strbuf *out)
{
	ssize_t got;
	char *to;

	do {
		to = strbuf_room(out, 65536);
		if (to == NULL) {
			errno = EFBIG;
			return false;
		}
		got = read(fd, to, 65536);
		if (got > 0) {
			strbuf_filled(out, (size_t)got);
		}
	} while (got > 0 || (got == -1 && errno == EINTR));
	return got == 0;
}

static bool
read_text(struct mapmake *m, struct strbuf *text, struct strbuf *errors)
{
	int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	bool ok = false;

	if (fd == -1 || fstat(fd, &st) == -1) {
		fail(errors, m->path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		fail(errors, m->path, "not a regular file");
	} else if ((st.st_mode & S_IWOTH) != 0) {
		fail(errors, m->path, "writable by everybody");
	} else if (!read_all(fd, text)) {
		fail(errors, m->path, strerror(errno));
	} else {
		m->uid = st.st_uid;
		m->gid = st.st_gid;
		m->mode = st.st_mode & 0644;
		ok = true;
	}
	if (fd != -1) {
		(void)close(fd);
	}
	return ok;
}

bool
mapmake_read(struct mapmake *m, const char *path, enum mapmake_kind kind,
    uint64_t deepest, struct strbuf *errors)
{
	struct strbuf text;
	bool ok;
	size_t i;

	*m = (struct mapmake){ .path = xstrdup(path) };
	mapentries_init(&m->entries);
	strbuf_init(&text, TEXT_MAX);
	ok = read_text(m, &text, errors) && (kind == MAPMAKE_ALIASES ?
	    aliases_parse(&m->entries, strbuf_slice(&text), path, deepest,
	    errors) :
	    mapentries_parse(&m->entries, strbuf_slice(&text), path, errors));
	strbuf_clear(&text);
	for (i = 0; i < m->entries.n; i++) {
		size_t n = m->entries.at[i].value_n;

		m->total += n;
		m->longest = n > m->longest ? n : m->longest;
	}
	return ok;
}

void
mapmake_clear(struct mapmake *m)
{
	mapentries_clear(&m->entries);
	free(m->path);
	*m = (struct mapmake){ .path = NULL };
}

/* Is it only us and root who can change what stands in the directory? */
static bool
directory_safe(int dir, unsigned uid)
{
	struct stat st;

	return fstat(dir, &st) == 0 &&
	    (st.st_uid == 0 || st.st_uid == uid) &&
	    ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0 ||
	    (st.st_mode & S_ISVTX) != 0);
}

static bool
put_all(const struct mapmake *m, int fd)
{
	struct cdb_make cdb;
	size_t i;

	if (m->entries.store.n + m->entries.n * 32 > CDB_MAX) {
		errno = EFBIG;
		return false;
	}
	if (cdb_make_start(&cdb, fd) == -1) {
		return false;
	}
	for (i = 0; i < m->entries.n; i++) {
		struct slice key = mapentries_key(&m->entries, i);
		struct slice value = mapentries_value(&m->entries, i);

		if (cdb_make_add(&cdb, key.p, (unsigned)key.n, value.p,
		    (unsigned)value.n) == -1) {
			(void)cdb_make_finish(&cdb);
			return false;
		}
	}
	return cdb_make_finish(&cdb) == 0;
}

/*
 * Open the fresh file `tmp', empty and locked: who holds the lock writes. What
 * a killed compiler left behind is used again. A file that was renamed while
 * we waited for it is somebody's finished map: then once more. -1: errno.
 */
static int
open_fresh(int dir, const char *tmp)
{
	struct stat mine, named;
	int fd, saved;

	for (;;) {
		fd = io_openat("mapmake.open", dir, tmp, O_RDWR | O_CREAT |
		    O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
		if (fd == -1) {
			return -1;
		}
		if (flock(fd, LOCK_EX) == -1 || fstat(fd, &mine) == -1) {
			goto fail;
		}
		if (!S_ISREG(mine.st_mode) || mine.st_uid != geteuid() ||
		    mine.st_nlink > 1) {
			errno = EPERM; /* planted by somebody else */
			goto fail;
		}
		if (fstatat(dir, tmp, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
		    named.st_ino == mine.st_ino) {
			if (io_ftruncate("mapmake.empty", fd, 0) == -1) {
				goto fail;
			}
			return fd;
		}
		(void)close(fd);
	}
fail:
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}

/* Make `name' in the directory: the steps whose order matters. */
static bool
replace(const struct mapmake *m, int dir, const char *name)
{
	char tmp[NAME_MAX + 1];
	bool ok;
	int fd, saved;

	if (snprintf(tmp, sizeof(tmp), ".%s.tmp", name) >= (int)sizeof(tmp)) {
		errno = ENAMETOOLONG;
		return false;
	}
	fd = open_fresh(dir, tmp);
	if (fd == -1) {
		return false;
	}
	ok = put_all(m, fd) && fchmod(fd, m->mode) == 0 &&
	    io_fsync("mapmake.fsync", fd) == 0 &&
	    io_renameat("mapmake.rename", dir, tmp, dir, name) == 0;
	saved = errno;
	if (!ok) {
		(void)io_unlinkat("mapmake.unlink", dir, tmp, 0);
	}
	(void)io_close("mapmake.close", fd); /* after fsync it tells no more */
	errno = saved;
	return ok && io_fsync("mapmake.dir", dir) == 0;
}

static bool
write_here(const struct mapmake *m, const char *target, struct strbuf *errors)
{
	const char *slash = strrchr(target, '/');
	char *path = slash == NULL ? xstrdup(".") : slash == target ?
	    xstrdup("/") : xslicedup(slice_make(target,
	    (size_t)(slash - target)));
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = false;

	if (dir == -1) {
		fail(errors, path, strerror(errno));
	} else if (!directory_safe(dir, geteuid())) {
		fail(errors, path, "others could change the map: the directory "
		    "must be root's or yours, and writable by nobody else");
	} else if (!replace(m, dir, slash == NULL ? target : slash + 1)) {
		fail(errors, target, strerror(errno));
	} else {
		ok = true;
	}
	if (dir != -1) {
		(void)close(dir);
	}
	free(path);
	return ok;
}

bool
mapmake_write(const struct mapmake *m, struct strbuf *errors)
{
	bool lent = geteuid() == 0 && m->uid != 0, ok;
	struct strbuf target;

	if (lent && (setegid((gid_t)m->gid) == -1 ||
	    seteuid((uid_t)m->uid) == -1)) {
		return fail(errors, m->path, strerror(errno));
	}
	strbuf_init(&target, 0);
	(void)strbuf_printf(&target, "%s.cdb", m->path);
	ok = write_here(m, target.p, errors);
	strbuf_clear(&target);
	if (lent && (seteuid(0) == -1 || setegid(getgid()) == -1)) {
		return fail(errors, m->path, strerror(errno));
	}
	return ok;
}
