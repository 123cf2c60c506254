/*
 * map - lookup tables, "type:name", behind one interface.
 *
 * Types: cdb:PATH (compiled; PATH may lack ".cdb"; memory-mapped, opened anew
 * when the file was replaced), file:PATH (text, read at load), inline:{ k=v, .. }
 * static:VALUE (any key), cidr:PATH or cidr:{ net=v, .. } (addresses; the first
 * match counts). Keys are octets; folding of case and the order of keys are the
 * caller's (the resolver's). A lookup that fails is MAP_TEMP, never MAP_NONE.
 */
#ifndef COMMON_MAP_H
#define COMMON_MAP_H

#include <stdbool.h>

#include "common/slice.h"
#include "common/strbuf.h"

enum map_result { MAP_FOUND, MAP_NONE, MAP_TEMP };

struct map;

/*
 * Open `spec' below dirfd (AT_FDCWD: absolute paths). NULL: `why' says what is
 * wrong: an unknown type, a file that is missing, unsafe or broken.
 */
struct map *map_open(struct slice spec, struct strbuf *why);
void map_close(struct map *m);
const char *map_spec(const struct map *m);
/* True when the answers come from what only root can write: such a map may
   name commands and files. */
bool map_trusted(const struct map *m);
/* FOUND: `value' is replaced by it. TEMP: `value' says why. */
enum map_result map_lookup(struct map *m, struct slice key,
    struct strbuf *value);
/* The file behind it was replaced: pick it up. Called before a lookup at most
   once a second by map_lookup itself. */

/* Directories that the map must be able to reach behind walls. NULL: none. */
const char *map_path(const struct map *m);

#endif
