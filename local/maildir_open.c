/* The directories of a Maildir, and what is in them from before. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/xmalloc.h"
#include "local/homedir.h"
#include "local/maildir_open.h"
#include "local/mailtext.h"

static void
close_one(int *fd)
{
	if (*fd != -1) {
		(void)close(*fd);
		*fd = -1;
	}
}

void
maildir_forget(struct maildir *m)
{
	m->seen.known = false;
	m->seen.n = 0;
}

void
maildir_close(struct maildir *m)
{
	close_one(&m->base);
	close_one(&m->tmp);
	close_one(&m->new);
	close_one(&m->cur);
	memset(m->own, 0, sizeof(m->own));
	maildir_forget(m);
}

static const char *const own_names[] = { "tmp", "new", "cur" };

_Static_assert(NELEMS(own_names) == MAILDIR_NOWN, "a name for each");

/* A directory of the Maildir itself. On -1 `o' has the reason. */
static int
open_own(struct maildir *m, size_t i, struct outcome *o)
{
	const char *name = own_names[i];
	struct strbuf shown;
	struct stat st;
	int fd;

	strbuf_init(&shown, 0);
	(void)strbuf_printf(&shown, "%s%s", m->mailbox, name);
	fd = homedir_open(m->base, name, O_NOFOLLOW, shown.p, o);
	strbuf_clear(&shown);
	if (fd != -1 && fstat(fd, &st) == 0) { /* else it is opened again */
		m->own[i].dev = st.st_dev;
		m->own[i].ino = st.st_ino;
	}
	return fd;
}

/* Is what we have open still what stands there by name? */
static bool
still_there(const struct maildir *m, size_t i)
{
	struct stat there;
	char path[512];
	int n = snprintf(path, sizeof(path), "%s%s", m->mailbox, own_names[i]);

	return n > 0 && (size_t)n < sizeof(path) &&
	    fstatat(m->home, path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    m->own[i].ino == there.st_ino && m->own[i].dev == there.st_dev;
}

bool
maildir_open(struct maildir *m, struct outcome *o)
{
	if (m->base != -1 && (m->checked ||
	    (still_there(m, 0) && still_there(m, 1) && still_there(m, 2)))) {
		m->checked = true;
		return true;
	}
	maildir_close(m);
	m->base = homedir_walk(m->home, slice_of(m->mailbox), o);
	if (m->base != -1) {
		m->tmp = open_own(m, 0, o);
	}
	if (m->tmp != -1) {
		m->new = open_own(m, 1, o);
	}
	if (m->new != -1) {
		m->cur = open_own(m, 2, o);
	}
	if (m->cur == -1) {
		maildir_close(m);
		return false;
	}
	m->checked = true;
	return true;
}

/* -- what is there from before ------------------------------------------------ */

typedef bool entry_fn(struct maildir *m, struct slice file, void *arg);

/* Call `each' for every name in the directory until it returns false. */
static int
for_each(struct maildir *m, int dir, entry_fn *each, void *arg)
{
	int fd = io_openat("local.maildir.scan", dir, ".", HOMEDIR_FLAGS, 0);
	DIR *d = fd != -1 ? fdopendir(fd) : NULL;
	struct dirent *e;
	int error;

	if (d == NULL) {
		close_one(&fd);
		return -1;
	}
	do {
		errno = 0;
		e = readdir(d);
	} while (e != NULL && each(m, slice_of(e->d_name), arg));
	error = e == NULL ? errno : 0;
	(void)closedir(d);
	errno = error;
	return error == 0 ? 0 : -1;
}

/* FNV-1a. A hash that fits is only a hint: the directory is asked. */
static uint64_t
hash(struct slice s)
{
	uint64_t h = 14695981039346656037u;
	size_t i;

	for (i = 0; i < s.n; i++) {
		h = (h ^ (unsigned char)s.p[i]) * 1099511628211u;
	}
	return h;
}

static bool
note(struct maildir *m, struct slice file, void *arg)
{
	struct slice unique = mailtext_unique_of(file);

	(void)arg;
	if (unique.n == 0) {
		return true;
	}
	if (m->seen.n == m->seen.cap) {
		m->seen.cap = m->seen.cap == 0 ? 256 : m->seen.cap * 2;
		m->seen.at = xreallocarray(m->seen.at, m->seen.cap,
		    sizeof(*m->seen.at));
	}
	m->seen.at[m->seen.n++] = hash(unique);
	return true;
}

static int
compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/*
 * NAME.PID in tmp/ of another process than this one: no live delivery stands
 * behind it. Should a worker be writing it after all (one that was given up),
 * its rename fails, and its delivery is deferred.
 */
static bool
is_leftover(struct slice file, struct slice name)
{
	uint64_t pid;

	return file.n > name.n && memcmp(file.p, name.p, name.n) == 0 &&
	    file.p[name.n] == '.' &&
	    slice_number(slice_make(file.p + name.n + 1, file.n - name.n - 1),
	    INT32_MAX, &pid) && (pid_t)pid != getpid();
}

static bool
sweep(struct maildir *m, struct slice file, void *arg)
{
	struct slice unique = mailtext_unique_of(file);
	struct strbuf ours;
	char *name;

	(void)arg;
	if (unique.n == 0) {
		return true;
	}
	strbuf_init(&ours, 0);
	mailtext_name(&ours, unique, m->host);
	if (is_leftover(file, strbuf_slice(&ours))) {
		name = xslicedup(file);
		(void)io_unlinkat("local.maildir.sweep", m->tmp, name, 0);
		free(name);
	}
	strbuf_clear(&ours);
	return true;
}

/* Read all three directories, once. */
static int
learn(struct maildir *m)
{
	m->seen.n = 0;
	if (for_each(m, m->tmp, sweep, NULL) == -1 ||
	    for_each(m, m->new, note, NULL) == -1 ||
	    for_each(m, m->cur, note, NULL) == -1) {
		return -1;
	}
	if (m->seen.n > 0) {
		qsort(m->seen.at, m->seen.n, sizeof(*m->seen.at), compare);
	}
	m->seen.known = true;
	return 0;
}

/* A message, not something else that has its name. */
static bool
is_file(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode);
}

struct wanted {
	struct slice unique;
	int dir;
	bool found;
};

static bool
is_wanted(struct maildir *m, struct slice file, void *arg)
{
	struct wanted *w = arg;

	(void)m;
	/* readdir's names end in NUL. */
	w->found = file.n >= w->unique.n &&
	    memcmp(file.p, w->unique.p, w->unique.n) == 0 &&
	    is_file(w->dir, file.p);
	return !w->found;
}

enum maildir_place
maildir_find(struct maildir *m, struct slice unique, const char *name)
{
	struct wanted w = { unique, m->new, false };
	uint64_t h = hash(unique);

	/* Written by another worker since we looked: the plain question. */
	if (is_file(m->new, name)) {
		return MAILDIR_AT_NEW;
	}
	if (!m->seen.known && learn(m) == -1) {
		return MAILDIR_AT_ERROR;
	}
	if (m->seen.n == 0 || bsearch(&h, m->seen.at, m->seen.n,
	    sizeof(h), compare) == NULL) {
		return MAILDIR_AT_NONE;
	}
	if (for_each(m, m->new, is_wanted, &w) == -1) {
		return MAILDIR_AT_ERROR;
	}
	if (w.found) {
		return MAILDIR_AT_NEW;
	}
	w.dir = m->cur;
	if (for_each(m, m->cur, is_wanted, &w) == -1) {
		return MAILDIR_AT_ERROR;
	}
	return w.found ? MAILDIR_AT_CUR : MAILDIR_AT_NONE;
}
