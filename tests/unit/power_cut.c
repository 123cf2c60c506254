#include "config.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "tests/unit/power_cut.h"

#define OBJECTS 400
#define ENTRIES 64
#define BLOCK   4096u /* what a file system writes at once, ... */
#define SECTOR  512u  /* ... and a disk never in part */

struct entry {
	char name[64];
	size_t object;
};

/* A change that is not flushed. */
struct change {
	const struct io_record *r;
	size_t object; /* of an added name */
};

struct object {
	ino_t ino;
	bool is_dir;
	char *data;               /* a file, flushed */
	size_t n;
	struct entry *entries;    /* a directory, flushed */
	size_t nentries;
	struct change *changes;   /* since */
	size_t nchanges;
};

struct cut_fs {
	struct object objects[OBJECTS];
	size_t n;
};

/* -- what a change does to a copy of the flushed state ---------------------------- */

static void
dir_remove(struct object *d, const char *name)
{
	size_t i;

	for (i = 0; i < d->nentries; i++) {
		if (strcmp(d->entries[i].name, name) == 0) {
			d->entries[i] = d->entries[--d->nentries];
			return;
		}
	}
}

static void
dir_add(struct object *d, const char *name, size_t object)
{
	dir_remove(d, name);
	if (d->nentries == ENTRIES) {
		abort();
	}
	memcpy(d->entries[d->nentries].name, name, 64);
	d->entries[d->nentries++].object = object;
}

static size_t
dir_find(const struct object *d, const char *name)
{
	size_t i;

	for (i = 0; i < d->nentries; i++) {
		if (strcmp(d->entries[i].name, name) == 0) {
			return d->entries[i].object;
		}
	}
	return SIZE_MAX;
}

static void
file_resize(struct object *f, size_t n)
{
	if (n > f->n) {
		f->data = xrealloc(f->data, n);
		memset(f->data + f->n, 0, n - f->n);
	}
	f->n = n;
}

static void
file_write(struct object *f, const struct io_record *r, size_t n, bool zeros)
{
	size_t at = (size_t)r->offset;

	if (at + n > f->n) {
		file_resize(f, at + n);
	}
	if (zeros) {
		memset(f->data + at, 0, n);
	} else {
		memcpy(f->data + at, r->data, n);
	}
}

static void
change_apply(struct object *o, const struct change *c)
{
	size_t moved;

	switch (c->r->op) {
	case IO_OPEN:
	case IO_MKDIR:
		dir_add(o, c->r->name, c->object);
		break;
	case IO_UNLINK:
		dir_remove(o, c->r->name);
		break;
	case IO_RENAME:
		moved = c->r->dir == c->r->dir2 ? dir_find(o, c->r->name) :
		    c->object;
		if (o->ino == c->r->dir) {
			dir_remove(o, c->r->name);
		}
		if (o->ino == c->r->dir2 && moved != SIZE_MAX) {
			dir_add(o, c->r->name2, moved);
		}
		break;
	case IO_WRITE:
		file_write(o, c->r, c->r->n, false);
		break;
	case IO_TRUNCATE:
		file_resize(o, (size_t)c->r->offset);
		break;
	default:
		abort();
	}
}

/* -- the running file system --------------------------------------------------------- */

static size_t
object_add(struct cut_fs *fs, ino_t ino, bool is_dir)
{
	struct object *o = &fs->objects[fs->n];

	if (fs->n == OBJECTS) {
		abort();
	}
	*o = (struct object){ .ino = ino, .is_dir = is_dir };
	if (is_dir) {
		o->entries = xcalloc(ENTRIES, sizeof(*o->entries));
	}
	return fs->n++;
}

/* The newest with that inode: numbers are used again. */
static struct object *
object_of(struct cut_fs *fs, ino_t ino)
{
	size_t i;

	for (i = fs->n; i > 0; i--) {
		if (fs->objects[i - 1].ino == ino) {
			return &fs->objects[i - 1];
		}
	}
	abort();
}

struct cut_fs *
cut_new(ino_t root)
{
	struct cut_fs *fs = xcalloc(1, sizeof(*fs));

	(void)object_add(fs, root, true);
	return fs;
}

void
cut_free(struct cut_fs *fs)
{
	size_t i;

	for (i = 0; i < fs->n; i++) {
		free(fs->objects[i].data);
		free(fs->objects[i].entries);
		free(fs->objects[i].changes);
	}
	free(fs);
}

static void
flush(struct object *o)
{
	size_t i;

	for (i = 0; i < o->nchanges; i++) {
		change_apply(o, &o->changes[i]);
	}
	o->nchanges = 0;
}

static void
change_add(struct object *o, const struct io_record *r, size_t object)
{
	o->changes = xreallocarray(o->changes, o->nchanges + 1,
	    sizeof(*o->changes));
	o->changes[o->nchanges++] = (struct change){ r, object };
}

/* What a name means now, flushed or not. */
static size_t
find_now(const struct object *d, const char *name)
{
	size_t i, found = dir_find(d, name);

	for (i = 0; i < d->nchanges; i++) {
		const struct change *c = &d->changes[i];
		const struct io_record *r = c->r;

		if ((r->op == IO_OPEN || r->op == IO_MKDIR) &&
		    strcmp(r->name, name) == 0) {
			found = c->object;
		} else if (r->op == IO_RENAME && r->dir2 == d->ino &&
		    strcmp(r->name2, name) == 0) {
			found = c->object;
		} else if ((r->op == IO_UNLINK || (r->op == IO_RENAME &&
		    r->dir == d->ino)) && strcmp(r->name, name) == 0) {
			found = SIZE_MAX;
		}
	}
	return found;
}

static void
rename_across(struct cut_fs *fs, const struct io_record *r)
{
	size_t moved = find_now(object_of(fs, r->dir), r->name);

	change_add(object_of(fs, r->dir), r, moved);
	if (r->dir2 != r->dir) {
		change_add(object_of(fs, r->dir2), r, moved);
	}
}

void
cut_apply(struct cut_fs *fs, const struct io_record *r)
{
	size_t fresh;

	switch (r->op) {
	case IO_OPEN:
	case IO_MKDIR:
		fresh = object_add(fs, r->file, r->op == IO_MKDIR);
		change_add(object_of(fs, r->dir), r, fresh);
		break;
	case IO_RENAME:
		rename_across(fs, r);
		break;
	case IO_UNLINK:
		change_add(object_of(fs, r->dir), r, 0);
		break;
	case IO_WRITE:
	case IO_TRUNCATE:
		change_add(object_of(fs, r->file), r, 0);
		break;
	case IO_SYNC_FILE:
	case IO_SYNC_DIR:
		flush(object_of(fs, r->file));
		break;
	case IO_PROMISE:
	case IO_CLOSE:
		break;
	case IO_SYNC_FS:
		for (fresh = 0; fresh < fs->n; fresh++) {
			flush(&fs->objects[fresh]);
		}
		break;
	case IO_LINK:
		abort(); /* nobody does */
	}
}

/* -- what is left -------------------------------------------------------------------- */

static uint64_t
roll(uint64_t *seed, uint64_t below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed >> 20) % below;
}

static void
leave_file(struct object *o, enum cut_variant v, uint64_t *seed)
{
	size_t i;

	for (i = 0; i < o->nchanges; i++) {
		const struct change *c = &o->changes[i];
		bool is_write = c->r->op == IO_WRITE;

		if (v == CUT_ZEROS && is_write) {
			file_write(o, c->r, c->r->n, true);
		} else if (v == CUT_RANDOM && is_write) {
			file_write(o, c->r, (size_t)roll(seed, c->r->n + 1),
			    roll(seed, 3) == 0);
		} else if (v == CUT_RANDOM && roll(seed, 2) == 0) {
			change_apply(o, c);
		}
	}
}

static size_t
size_after(size_t n, const struct change *c)
{
	size_t end = (size_t)c->r->offset + c->r->n;

	return c->r->op == IO_TRUNCATE ? (size_t)c->r->offset :
	    end > n ? end : n;
}

/* One change to those sectors that have lived to see it: which[s] changes. */
static void
change_sectors(struct object *o, size_t i, const size_t *which)
{
	const struct io_record *r = o->changes[i].r;
	size_t at, from = (size_t)r->offset;
	size_t to = r->op == IO_TRUNCATE ? o->n : from + r->n;

	for (at = from; at < to; at++) {
		if (which[at / SECTOR] > i) {
			o->data[at] = r->op == IO_TRUNCATE ? '\0' :
			    r->data[at - from];
		}
	}
}

/* How many of the changes each sector has seen: the same within a block, but
   fewer behind the place where it was torn. */
static size_t *
roll_sectors(size_t n, size_t nchanges, uint64_t *seed)
{
	size_t *which = xcalloc(n / SECTOR + 1, sizeof(*which)), s;
	size_t young = 0, old = 0, torn = 0;

	for (s = 0; s <= n / SECTOR; s++) {
		if (s % (BLOCK / SECTOR) == 0) {
			young = (size_t)roll(seed, nchanges + 1);
			old = (size_t)roll(seed, young + 1);
			torn = roll(seed, 3) == 0 ?
			    (size_t)roll(seed, BLOCK / SECTOR) :
			    BLOCK / SECTOR;
		}
		which[s] = s % (BLOCK / SECTOR) < torn ? young : old;
	}
	return which;
}

static void
leave_blocks(struct object *o, uint64_t *seed)
{
	size_t i, keep = (size_t)roll(seed, o->nchanges + 1);
	size_t n = o->n, most = o->n, size = o->n, *which;

	for (i = 0; i < o->nchanges; i++) {
		n = size_after(n, &o->changes[i]);
		most = n > most ? n : most;
		size = i < keep ? n : size;
	}
	file_resize(o, most);
	which = roll_sectors(most, o->nchanges, seed);
	for (i = 0; i < o->nchanges; i++) {
		change_sectors(o, i, which);
	}
	free(which);
	o->n = size;
}

static void
leave_dir(struct object *o, enum cut_variant v, uint64_t *seed)
{
	size_t i, n = o->nchanges;

	n = v == CUT_LOST ? 0 : v == CUT_RANDOM || v == CUT_BLOCKS ?
	    (size_t)roll(seed, n + 1) : n;
	for (i = 0; i < n; i++) {
		change_apply(o, &o->changes[i]);
	}
}

static void
make_file(const struct object *o, const char *path)
{
	FILE *f = fopen(path, "wb");

	if (f == NULL || (o->n > 0 && fwrite(o->data, 1, o->n, f) != o->n) ||
	    fclose(f) != 0) {
		abort();
	}
}

static void
make_object(const struct cut_fs *fs, size_t which, enum cut_variant v,
    uint64_t *seed, const char *path)
{
	struct object o = fs->objects[which];
	char below[1024];
	size_t i;

	if (!o.is_dir) {
		o.data = xmalloc(o.n + 1);
		if (o.n > 0) {
			memcpy(o.data, fs->objects[which].data, o.n);
		}
		if (v == CUT_BLOCKS) {
			leave_blocks(&o, seed);
		} else {
			leave_file(&o, v, seed);
		}
		make_file(&o, path);
		free(o.data);
		return;
	}
	o.entries = xcalloc(ENTRIES, sizeof(*o.entries));
	memcpy(o.entries, fs->objects[which].entries,
	    ENTRIES * sizeof(*o.entries));
	leave_dir(&o, v, seed);
	if (which != 0 && mkdir(path, 0700) == -1) {
		abort();
	}
	for (i = 0; i < o.nentries; i++) {
		if (snprintf(below, sizeof(below), "%s/%s", path,
		    o.entries[i].name) >= (int)sizeof(below)) {
			abort();
		}
		make_object(fs, o.entries[i].object, v, seed, below);
	}
	free(o.entries);
}

void
cut_make(const struct cut_fs *fs, enum cut_variant v, uint64_t seed,
    const char *path)
{
	make_object(fs, 0, v, &seed, path);
}

/* -- from a directory ------------------------------------------------------------------ */

static void
load_file(struct object *o, const char *from, const char *path)
{
	FILE *f = fopen(from, "rb");
	struct stat st;

	if (f == NULL || fstat(fileno(f), &st) == -1) {
		abort();
	}
	o->n = (size_t)st.st_size;
	o->data = xmalloc(o->n + 1);
	if (fread(o->data, 1, o->n, f) != o->n) {
		abort();
	}
	(void)fclose(f);
	make_file(o, path);
}

static size_t
load_object(struct cut_fs *fs, const char *from, const char *path)
{
	struct stat st;
	struct dirent *de;
	char a[1024], b[1024], name[64];
	size_t which;
	DIR *d = from != NULL ? opendir(from) : NULL;
	const bool is_dir = d != NULL || from == NULL;

	if (is_dir && fs->n > 0 && mkdir(path, 0700) == -1) {
		abort();
	}
	which = object_add(fs, 0, is_dir);
	if (!is_dir) {
		load_file(&fs->objects[which], from, path);
	}
	while (d != NULL && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 ||
		    strcmp(de->d_name, "..") == 0) {
			continue;
		}
		if (snprintf(a, sizeof(a), "%s/%s", from, de->d_name) >=
		    (int)sizeof(a) || snprintf(b, sizeof(b), "%s/%s", path,
		    de->d_name) >= (int)sizeof(b) || snprintf(name,
		    sizeof(name), "%s", de->d_name) >= (int)sizeof(name)) {
			abort();
		}
		dir_add(&fs->objects[which], name, load_object(fs, a, b));
	}
	if (d != NULL) {
		(void)closedir(d);
	}
	if (stat(path, &st) == -1) {
		abort();
	}
	fs->objects[which].ino = st.st_ino;
	return which;
}

struct cut_fs *
cut_load(const char *from, const char *path)
{
	struct cut_fs *fs = xcalloc(1, sizeof(*fs));

	(void)load_object(fs, from, path);
	return fs;
}
