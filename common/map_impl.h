/*
 * map_impl - what the types of maps share; for common/map*.c only.
 */
#ifndef COMMON_MAP_IMPL_H
#define COMMON_MAP_IMPL_H

#include <sys/stat.h>

#include "common/map.h"

#define MAP_TEXT_MAX (64 * 1024 * 1024) /* octets of a text file */

struct map {
	const struct map_type *type;
	char *spec;
	char *path;   /* NULL: no file */
	void *state;  /* the type's own */
	bool trusted; /* of a file: set by map_file_open; else true */
};

typedef bool map_each_cb(void *arg, struct slice key, struct slice value);

struct map_type {
	const char *name;
	/* Fills state, and path if there is a file. On false `why' says it;
	   close is called all the same when state is set. */
	bool (*open)(struct map *m, struct slice name, struct strbuf *why);
	enum map_result (*lookup)(struct map *m, struct slice key,
	    struct strbuf *value);
	void (*close)(struct map *m);
	void (*refresh)(struct map *m); /* may be NULL */
	void (*each)(struct map *m, map_each_cb *cb, void *arg); /* the same */
};

extern const struct map_type map_cdb, map_file, map_inline, map_static,
    map_cidr;

/*
 * Open a map's file to read: regular, not writable by everybody. Fills *st and
 * *trusted (see map_trusted). Returns -1 and `why' on failure.
 */
int map_file_open(const char *path, struct stat *st, bool *trusted,
    struct strbuf *why);
/* open() to read, stat(): by the path, else in a kept directory (map_dirs.c). */
int map_path_open(const char *path);
int map_path_stat(const char *path, struct stat *st);
/* Read a text file whole; *trusted as above. */
bool map_file_read(const char *path, struct strbuf *out, bool *trusted,
    struct strbuf *why);
/* False and `why' unless `name' is an absolute path. */
bool map_path_good(struct slice name, struct strbuf *why);

#endif
