/*
 * mapmake - compile a text file to a cdb file beside it.
 *
 * The text is checked whole first; the map is written to a fresh file in the
 * same directory, flushed, renamed over the old one, and the directory flushed:
 * a reader sees the old or the new map, never half, and on any error the old
 * one stays in force.
 *
 * Run by root on another user's text it works with that user's rights: what he
 * can make of his directory meanwhile is then his own business only. A
 * directory that others can write to is refused.
 */
#ifndef TOOLS_MAPMAKE_H
#define TOOLS_MAPMAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/mapentries.h"
#include "common/strbuf.h"

enum mapmake_kind {
	MAPMAKE_MAP,     /* "key value" (common/mapentries.h) */
	MAPMAKE_ALIASES, /* "name: target, ..." (common/aliases.h) */
};

struct mapmake {
	char *path;          /* of the text */
	struct mapentries entries;
	unsigned uid, gid, mode; /* of the text */
	size_t longest, total;   /* octets of the values */
};

/* Read and check the text at `path'; `deepest': see aliases_parse(). False: a
   line in `errors' for each thing that is wrong. mapmake_clear() in either
   case. */
bool mapmake_read(struct mapmake *m, const char *path, enum mapmake_kind kind,
    uint64_t deepest, struct strbuf *errors);
/* Write PATH.cdb. Blocks. */
bool mapmake_write(const struct mapmake *m, struct strbuf *errors);
void mapmake_clear(struct mapmake *m);

#endif
