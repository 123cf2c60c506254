/*
 * dispatch - local's dispatcher: takes deliveries from qmgr, fetches content
 * from cleanup, has the forker start a worker for each user, and tells qmgr
 * what became of each recipient.
 *
 * Promises:
 * - A delivery is keyed {queue id, index, attempt}. Its result is kept until
 *   qmgr acknowledges it, and told again on each fresh channel; a DELIVER for
 *   something that runs or waits to be acknowledged starts nothing.
 * - At most local_process_limit workers; users wait for one in order of
 *   arrival, and the worker that has been idle longest makes room. When none
 *   is idle, those that have had their share finish what they have and go.
 * - Content is fetched when it can be passed on; what waits inside is bounded
 *   (DISPATCH_BUDGET octets, DISPATCH_FILES descriptors, and a window for each
 *   worker, so that one user's slow disk does not hold up the others).
 * - Every wait has a deadline; what is late is deferred, never failed.
 *
 * Trust: qmgr's and cleanup's messages are checked at the door, a bad one
 * closes the channel. A worker is a user's process: it can only say what became
 * of that user's deliveries. The dispatcher itself opens no file.
 */
#ifndef LOCAL_DISPATCH_H
#define LOCAL_DISPATCH_H

#include <stdint.h>

#include "common/settings.h"

#define DISPATCH_BUDGET   (64 * 1024 * 1024) /* octets of content on the way */
#define DISPATCH_FILES    64     /* deliveries with a descriptor on the way */
#define DISPATCH_JOBS     100000 /* deliveries known; more are deferred */
#define DISPATCH_WINDOW   64     /* deliveries given to one worker ... */
#define DISPATCH_WINDOW_FILES 4  /* ... and of these, with a descriptor */
#define DISPATCH_SHARE    256    /* deliveries of one worker while others wait */

struct dispatch;
struct event_base;

/* Borrows `settings', which may change between two events (reload). */
struct dispatch *dispatch_new(struct event_base *base,
    const struct settings *settings);
/* Closes all channels; the workers end. Not from inside a callback of it. */
void dispatch_free(struct dispatch *d);

/* Fresh channels (taken); each replaces the old one. */
void dispatch_qmgr(struct dispatch *d, int fd);
void dispatch_cleanup(struct dispatch *d, int fd);
void dispatch_forker(struct dispatch *d, int fd);

/* The settings have changed: in a moment, when the forker has them too, each
   worker finishes what it has and makes place for a fresh one. */
void dispatch_reloaded(struct dispatch *d);
/* Start nothing more; `done' is called once no delivery is in a worker's
   hands, or after deadline_ms. */
void dispatch_stop(struct dispatch *d, uint64_t deadline_ms,
    void (*done)(void *arg), void *arg);
/*
 * Called when a link has been gone for longer than ipc_timeout: only a restart
 * brings a fresh one (a peer that lives has disconnected us).
 */
void dispatch_on_lost(struct dispatch *d, void (*lost)(void *arg,
    const char *peer), void *arg);

#endif
