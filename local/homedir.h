/*
 * homedir - directories below a user's home: walked down to, made when they are
 * missing, and the user's own. Blocks: for workers.
 */
#ifndef LOCAL_HOMEDIR_H
#define LOCAL_HOMEDIR_H

#include <fcntl.h>
#include <stdbool.h>

#include "common/outcome.h"
#include "common/slice.h"

#define HOMEDIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK)

/* Can a mailbox of this name be below a home? Else `o' says why not. */
bool homedir_path_ok(const char *path, struct outcome *o);
/*
 * Open the directory `name' in `parent', made with mode 0700 and flushed when
 * it is missing; `flags' may add O_NOFOLLOW. It must belong to the user. -1:
 * `o' says why, of `shown'.
 */
int homedir_open(int parent, const char *name, int flags, const char *shown,
    struct outcome *o);
/*
 * Walk down from `home' by all members of `path', each as above. Returns a
 * fresh descriptor, of the home itself when there are none; -1: `o' says why.
 */
int homedir_walk(int home, struct slice path, struct outcome *o);

#endif
