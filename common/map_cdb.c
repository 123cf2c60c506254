/*
 * cdb: - compiled maps, through tinycdb's memory mapping. tinycdb checks every
 * offset of the file against its size, so a damaged file is an error and no
 * more. The descriptor is closed after mapping; the file is known by what
 * stat(2) says, which is asked at most once a second.
 */
#include "config.h"

#include <cdb.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/map_impl.h"
#include "common/xmalloc.h"

struct state {
	struct cdb cdb;
	struct stat st;
	time_t checked_at; /* CLOCK_MONOTONIC, s */
	bool warned;       /* of a new file that cannot be used */
};

static time_t
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_sec;
}

/* Map the file at `path' into *s, which is untouched on failure. */
static bool
load(const char *path, struct state *s, bool *trusted, struct strbuf *why)
{
	struct cdb cdb;
	struct stat st;
	bool trust;
	int fd = map_file_open(path, &st, &trust, why);

	if (fd == -1) {
		return false;
	}
	if (cdb_init(&cdb, fd) == -1) {
		(void)strbuf_printf(why, "%s: not a cdb file, or a damaged "
		    "one\n", path);
		(void)close(fd);
		return false;
	}
	(void)close(fd);
	s->cdb = cdb;
	s->st = st;
	*trusted = trust;
	return true;
}

static char *
full_path(struct slice name)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	(void)strbuf_add_slice(&b, name);
	if (name.n < 4 || memcmp(name.p + name.n - 4, ".cdb", 4) != 0) {
		(void)strbuf_add_str(&b, ".cdb");
	}
	return strbuf_take(&b);
}

static bool
open_cdb(struct map *m, struct slice name, struct strbuf *why)
{
	struct state *s;

	if (!map_path_good(name, why)) {
		return false;
	}
	m->path = full_path(name);
	s = xcalloc(1, sizeof(*s));
	if (!load(m->path, s, &m->trusted, why)) {
		if (errno == ENOENT && why->n > 0) {
			why->n--; /* the line's end */
			(void)strbuf_add_str(why, " (newaliases or `veredus "
			    "map' makes it)\n");
		}
		free(s);
		return false;
	}
	s->checked_at = now();
	m->state = s;
	return true;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	    a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void
refresh_cdb(struct map *m)
{
	struct state *s = m->state, fresh = { .warned = false };
	struct strbuf why;
	struct stat st;

	s->checked_at = now();
	if (map_path_stat(m->path, &st) == 0 && same_file(&st, &s->st)) {
		s->warned = false;
		return;
	}
	strbuf_init(&why, 1000);
	if (load(m->path, &fresh, &m->trusted, &why)) {
		cdb_free(&s->cdb);
		fresh.checked_at = s->checked_at;
		*s = fresh;
	} else if (!s->warned) {
		s->warned = true;
		log_warn("the map before stays in force: %.*s",
		    (int)(why.n > 0 ? why.n - 1 : 0),
		    why.p != NULL ? why.p : "");
	}
	strbuf_clear(&why);
}

static enum map_result
lookup_cdb(struct map *m, struct slice key, struct strbuf *value)
{
	struct state *s = m->state;
	const void *data;
	int r;

	if (s->checked_at != now()) {
		refresh_cdb(m);
	}
	if (key.n > INT_MAX) {
		return MAP_NONE;
	}
	r = cdb_find(&s->cdb, key.p, (unsigned)key.n);
	if (r == 0) {
		return MAP_NONE;
	}
	data = r > 0 ? cdb_getdata(&s->cdb) : NULL;
	if (data == NULL) {
		(void)strbuf_printf(value, "%s is damaged", m->path);
		return MAP_TEMP;
	}
	(void)strbuf_add(value, data, cdb_datalen(&s->cdb));
	return MAP_FOUND;
}

/* A damaged record ends it: that one is found when it is looked up. */
static void
each_cdb(struct map *m, map_each_cb *cb, void *arg)
{
	struct state *s = m->state;
	const void *key, *value;
	unsigned place;

	cdb_seqinit(&place, &s->cdb);
	while (cdb_seqnext(&place, &s->cdb) > 0) {
		key = cdb_getkey(&s->cdb);
		value = cdb_getdata(&s->cdb);
		if (key == NULL || value == NULL ||
		    !cb(arg, slice_make(key, cdb_keylen(&s->cdb)),
		    slice_make(value, cdb_datalen(&s->cdb)))) {
			break;
		}
	}
}

static void
close_cdb(struct map *m)
{
	struct state *s = m->state;

	cdb_free(&s->cdb);
	free(s);
}

const struct map_type map_cdb = { "cdb", open_cdb, lookup_cdb, close_cdb,
	refresh_cdb, each_cdb };
