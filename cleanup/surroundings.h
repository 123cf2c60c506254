/*
 * surroundings - what cleanup must know before its walls stand: the addresses
 * that mean this host, and the directories that its maps are in.
 */
#ifndef CLEANUP_SURROUNDINGS_H
#define CLEANUP_SURROUNDINGS_H

#include "common/sandbox.h"
#include "common/settings.h"

/*
 * The addresses that `listen' names, without ports and brackets; for "*",
 * "0.0.0.0" and "[::]" those of the host's interfaces. Owned by the caller:
 * strings_clear().
 */
void surroundings_addresses(const struct settings *s, struct strlist *out);
/*
 * The directory of each "type:/path" among the settings' maps, once, and the
 * spool, writable. The paths are owned by the caller: strings_clear(dirs)
 * after sandbox_enter(); `*paths' is to be freed.
 */
void surroundings_paths(const struct settings *s, struct strlist *dirs,
    struct sandbox_path **paths, size_t *npaths);
void strings_clear(struct strlist *l);

#endif
