/*
 * reload - new settings, all or nothing.
 *
 * The file is read, what it opens is tried in a child under cleanup's account,
 * new listeners are bound; only when all of that is well anything changes. Any
 * error leaves the old settings in force and is told to who asked and the log.
 */
#ifndef MASTER_RELOAD_H
#define MASTER_RELOAD_H

#include "master/master.h"

/* `session' (common/ctl.h) gets the answer; 0: by signal. */
void reload_begin(struct master *m, uint32_t session);
/* master stops: forget a reload under way. */
void reload_cancel(struct master *m);

#endif
