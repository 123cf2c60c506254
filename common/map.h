/*
 * map - lookup tables, "type:name", behind one interface.
 *
 * Types: cdb:PATH (compiled; PATH may lack ".cdb"; memory-mapped, opened anew
 * when the file was replaced), file:PATH (text, read at load), inline:{ k=v, .. }
 * static:VALUE (any key), cidr:PATH or cidr:{ net=v, .. } (addresses; the first
 * match counts, "!net" matches what is outside). Paths are absolute. In text a
 * line is a key, white space and a value; a key may stand in double quotes and
 * end in a colon; keys are stored in lower case. Keys are octets; folding of
 * case and the order of keys are the caller's (the resolver's). A lookup that
 * fails is MAP_TEMP, never MAP_NONE.
 *
 * A cdb file must be replaced by rename (as newaliases and `veredus map' do):
 * one that is cut while it is mapped can end the process. When the new file is
 * missing or broken, the old one stays in force and a warning is logged.
 */
#ifndef COMMON_MAP_H
#define COMMON_MAP_H

#include <stdbool.h>

#include "common/slice.h"
#include "common/strbuf.h"

enum map_result { MAP_FOUND, MAP_NONE, MAP_TEMP };

struct map;

/*
 * Before rights go away: keep this directory open, so that maps in it can be
 * opened, and found replaced, by an account that may not walk there.
 */
void map_keep_directory(const char *dir);
/*
 * Open `spec'. NULL: `why' says what is wrong, a line for each thing: an unknown
 * type, a file that is missing, unsafe (writable by everybody) or broken.
 */
struct map *map_open(struct slice spec, struct strbuf *why);
/* Is there such a type: "cdb"? */
bool map_type_is(struct slice name);
#define MAP_TYPES "cdb, file, inline, static, cidr" /* for people */
void map_close(struct map *m);
const char *map_spec(const struct map *m);
/* True when the answers come from what only root can write: such a map may
   name commands and files. */
bool map_trusted(const struct map *m);
/* FOUND: `value' is replaced by it. TEMP: `value' says why. */
enum map_result map_lookup(struct map *m, struct slice key,
    struct strbuf *value);
/*
 * Call `cb' for each entry, until it returns false: to check the values at load.
 * A type whose entries cannot be listed (cidr) calls it for none.
 */
void map_each(struct map *m,
    bool (*cb)(void *arg, struct slice key, struct slice value), void *arg);
/* A cdb file that was replaced is found out by map_lookup, at most once a
   second; this looks at once (tests, `veredus map -q'). */
void map_refresh(struct map *m);

/* The file whose directory must stay reachable behind walls. NULL: none. */
const char *map_path(const struct map *m);

#endif
