/*
 * pickup - watches the drop directory (common/drop.h) by inotify, and looks
 * again every PICKUP_EVERY_S seconds: for a lost event, and for what had to
 * wait. One file at a time. A look goes through the whole directory, a piece a
 * turn of the loop, and the files of events have turns meanwhile: whatever one
 * user leaves there, the others' files come.
 *
 * A file is hostile: it is opened without following links and without waiting,
 * must be regular, have one link and a bounded size, and is copied into memory
 * before it is looked at. The file goes after the message is durable: a crash
 * between the two may take the message twice, never lose it. A file that can
 * never be taken is renamed to NAME.bad and reported, never deleted (to a random
 * name when there is a NAME.bad); links, pipes and sockets are removed and
 * reported. Of such reports PICKUP_SAYS are written between two looks, and then
 * how many there were.
 */
#ifndef CLEANUP_PICKUP_H
#define CLEANUP_PICKUP_H

#include "cleanup/program.h"

#define PICKUP_EVERY_S   60
#define PICKUP_NEWS_MAX  1024 /* files of events that have to wait */
#define PICKUP_STUCK_MAX 64   /* taken files that cannot be removed */
#define PICKUP_SAYS      100  /* lines of the log between two looks */
#define PICKUP_SUFFIX    ".bad"

struct pickup;

/*
 * `dirfd' (taken) is the drop directory, `inotify_fd' (taken) watches it, -1:
 * only by the clock. Starts with a look at what is there.
 */
struct pickup *pickup_new(struct program *pg, int dirfd, int inotify_fd);
void pickup_free(struct pickup *p);
/* Before the walls stand: make the directory below queue_fd if it is missing,
   for `uid' and `gid'; both descriptors, or -1 with errno. */
int pickup_open(int queue_fd, unsigned uid, unsigned gid, int *dirfd,
    int *inotify_fd);

#endif
