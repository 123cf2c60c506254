#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/xmalloc.h"
#include "services/users_file.h"

#define REPORTS_MAX 20 /* bad lines told a time */

void
users_file_init(struct users_file *f)
{
	*f = (struct users_file){ .path = NULL };
	strbuf_init(&f->text, 0);
}

void
users_file_clear(struct users_file *f)
{
	free(f->path);
	free(f->lines);
	strbuf_clear(&f->text);
	users_file_init(f);
}

static int64_t
in_ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Does *st describe what is in memory? */
static bool
is_same(const struct users_file *f, const char *path, const struct stat *st)
{
	return f->path != NULL && strcmp(f->path, path) == 0 &&
	    f->dev == (uint64_t)st->st_dev && f->ino == (uint64_t)st->st_ino &&
	    f->size == (uint64_t)st->st_size &&
	    f->mtime_ns == in_ns(st->st_mtim) &&
	    f->ctime_ns == in_ns(st->st_ctim);
}

static void
remember(struct users_file *f, const char *path, const struct stat *st)
{
	f->path = xstrdup(path);
	f->dev = (uint64_t)st->st_dev;
	f->ino = (uint64_t)st->st_ino;
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = in_ns(st->st_mtim);
	f->ctime_ns = in_ns(st->st_ctim);
}

static int
by_name(const void *a, const void *b)
{
	const struct account_line *x = a, *y = b;
	size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
	int d = memcmp(x->name.p, y->name.p, n);

	if (d == 0 && x->name.n != y->name.n) {
		d = x->name.n < y->name.n ? -1 : 1;
	}
	return d;
}

/* Of two lines with one name the first of the file counts, as in passwd(5). */
static int
by_name_and_place(const void *a, const void *b)
{
	const struct account_line *x = a, *y = b;
	int d = by_name(a, b);

	return d != 0 ? d : x->name.p < y->name.p ? -1 : 1;
}

static void
report_line(const struct users_file *f, size_t number, size_t nth,
    struct strbuf *report)
{
	if (nth < REPORTS_MAX) {
		(void)strbuf_printf(report, "%s:%zu: skipped: not a line of "
		    "passwd(5)\n", f->path, number);
	} else if (nth == REPORTS_MAX) {
		(void)strbuf_printf(report, "%s:%zu: skipped, as are further "
		    "lines\n", f->path, number);
	}
}

static void
parse(struct users_file *f, struct strbuf *report)
{
	struct slice rest = strbuf_slice(&f->text), line;
	size_t room = 0, number = 0, bad = 0, n;
	struct account_line l;

	while (rest.n > 0) {
		n = slice_find(rest, '\n');
		line = slice_make(rest.p, n);
		n += n < rest.n ? 1 : 0;
		rest = slice_make(rest.p + n, rest.n - n);
		number++;
		if (line.n == 0 || line.p[0] == '#') {
			continue;
		}
		if (!account_parse_line(line, &l)) {
			report_line(f, number, bad++, report);
			continue;
		}
		if (f->nlines == room) {
			room = room == 0 ? 64 : room * 2;
			f->lines = xreallocarray(f->lines, room,
			    sizeof(f->lines[0]));
		}
		f->lines[f->nlines++] = l;
	}
	if (f->nlines > 0) {
		qsort(f->lines, f->nlines, sizeof(f->lines[0]),
		    by_name_and_place);
	}
}

/* Looks at the file before it reads it: what changes in between is read again
   at the next lookup. */
static bool
refresh(struct users_file *f, int dirfd, const char *path, struct strbuf *why,
    struct strbuf *report)
{
	const char *name = dirfd == -1 ? path : strrchr(path, '/') + 1;
	int at = dirfd == -1 ? AT_FDCWD : dirfd;
	struct stat st;

	if (fstatat(at, name, &st, 0) == 0 && is_same(f, path, &st)) {
		return true;
	}
	users_file_clear(f);
	if (fstatat(at, name, &st, 0) == -1 ||
	    account_read_file(at, name, &f->text) == -1) {
		(void)strbuf_printf(why, "%s: %s", path, strerror(errno));
		strbuf_clear(&f->text);
		return false;
	}
	remember(f, path, &st);
	parse(f, report);
	return true;
}

/* The first of the lines with this name. */
static const struct account_line *
find(const struct users_file *f, struct slice name)
{
	const struct account_line key = { .name = name };
	size_t low = 0, high = f->nlines, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (by_name(&f->lines[mid], &key) < 0) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low < f->nlines && slice_eq(f->lines[low].name, name) ?
	    &f->lines[low] : NULL;
}

enum account_result
users_file_lookup(struct users_file *f, int dirfd, const char *path,
    struct slice name, struct account *a, struct strbuf *why,
    struct strbuf *report)
{
	const struct account_line *l;

	if (!refresh(f, dirfd, path, why, report)) {
		return ACCOUNT_TEMP;
	}
	l = find(f, name);
	if (l == NULL) {
		return ACCOUNT_NONE;
	}
	*a = (struct account){ l->uid, l->gid, xslicedup(l->home) };
	return ACCOUNT_FOUND;
}
