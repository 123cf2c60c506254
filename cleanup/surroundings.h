/*
 * surroundings - what must stay reachable behind cleanup's walls: the spool, and
 * the directories that its maps are in.
 */
#ifndef CLEANUP_SURROUNDINGS_H
#define CLEANUP_SURROUNDINGS_H

#include "common/sandbox.h"
#include "common/settings.h"

/*
 * The directory of each "type:/path" among the settings' maps, once, and the
 * spool, writable. The paths are owned by the caller: surroundings_clear(dirs)
 * after sandbox_enter(); `*paths' is to be freed.
 */
void surroundings_paths(const struct settings *s, struct strlist *dirs,
    struct sandbox_path **paths, size_t *npaths);
void surroundings_clear(struct strlist *l);
/* Keep the maps' directories open (common/map.h). */
void surroundings_keep(const struct settings *s);

#endif
