#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/map_impl.h"
#include "common/xmalloc.h"

static const struct map_type *const types[] = {
	&map_cdb, &map_file, &map_inline, &map_static, &map_cidr,
};

static const struct map_type *
find_type(struct slice name)
{
	size_t i;

	for (i = 0; i < NELEMS(types); i++) {
		if (slice_eq(name, slice_of(types[i]->name))) {
			return types[i];
		}
	}
	return NULL;
}

bool
map_type_is(struct slice name)
{
	return find_type(name) != NULL;
}

struct map *
map_open(struct slice spec, struct strbuf *why)
{
	size_t colon = slice_find(spec, ':');
	const struct map_type *type = find_type(slice_make(spec.p, colon));
	struct slice name;
	struct map *m;

	if (type == NULL || colon == spec.n || slice_find(spec, '\0') < spec.n) {
		strbuf_add_quoted(why, spec, 200);
		(void)strbuf_add_str(why, ": not of the form type:name with "
		    "type cdb, file, inline, static or cidr\n");
		return NULL;
	}
	name = slice_trim(slice_make(spec.p + colon + 1, spec.n - colon - 1));
	m = xcalloc(1, sizeof(*m));
	m->type = type;
	m->spec = xslicedup(spec);
	m->trusted = true;
	if (!type->open(m, name, why)) {
		map_close(m);
		return NULL;
	}
	return m;
}

void
map_close(struct map *m)
{
	if (m == NULL) {
		return;
	}
	if (m->state != NULL) {
		m->type->close(m);
	}
	free(m->spec);
	free(m->path);
	free(m);
}

const char *
map_spec(const struct map *m)
{
	return m->spec;
}

bool
map_trusted(const struct map *m)
{
	return m->trusted;
}

enum map_result
map_lookup(struct map *m, struct slice key, struct strbuf *value)
{
	strbuf_reset(value);
	return m->type->lookup(m, key, value);
}

void
map_refresh(struct map *m)
{
	if (m->type->refresh != NULL) {
		m->type->refresh(m);
	}
}

void
map_each(struct map *m, map_each_cb *cb, void *arg)
{
	if (m->type->each != NULL) {
		m->type->each(m, cb, arg);
	}
}

const char *
map_path(const struct map *m)
{
	return m->path;
}

bool
map_path_good(struct slice name, struct strbuf *why)
{
	if (name.n > 0 && name.p[0] == '/' && name.n < 4000) {
		return true;
	}
	strbuf_add_quoted(why, name, 200);
	(void)strbuf_add_str(why, ": not an absolute path\n");
	return false;
}

int
map_file_open(const char *path, struct stat *st, bool *trusted,
    struct strbuf *why)
{
	int fd = map_path_open(path);

	if (fd == -1 || fstat(fd, st) == -1) {
		(void)strbuf_printf(why, "%s: %s\n", path, strerror(errno));
		if (fd != -1) {
			(void)close(fd);
		}
		return -1;
	}
	if (!S_ISREG(st->st_mode) || (st->st_mode & S_IWOTH) != 0) {
		(void)strbuf_printf(why, "%s: %s\n", path,
		    S_ISREG(st->st_mode) ? "writable by everybody" :
		    "not a regular file");
		(void)close(fd);
		return -1;
	}
	*trusted = st->st_uid == 0 && (st->st_mode & S_IWGRP) == 0;
	return fd;
}

bool
map_file_read(const char *path, struct strbuf *out, bool *trusted,
    struct strbuf *why)
{
	struct stat st;
	bool ok = false;
	ssize_t got;
	char *to;
	int fd = map_file_open(path, &st, trusted, why);

	if (fd == -1) {
		return false;
	}
	do {
		to = out->n < MAP_TEXT_MAX ? strbuf_room(out, 65536) : NULL;
		if (to == NULL) {
			(void)strbuf_printf(why, "%s: larger than %d octets\n",
			    path, MAP_TEXT_MAX);
			goto out;
		}
		got = read(fd, to, 65536);
		if (got > 0) {
			strbuf_filled(out, (size_t)got);
		}
	} while (got > 0 || (got == -1 && errno == EINTR));
	ok = got == 0;
	if (!ok) {
		(void)strbuf_printf(why, "%s: %s\n", path, strerror(errno));
	}
out:
	(void)close(fd);
	return ok;
}
