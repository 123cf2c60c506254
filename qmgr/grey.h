/*
 * grey - does a reply look like greylisting, and when is one to come back?
 * Pure; knows the texts of postgrey, rspamd, milter-greylist, sqlgrey, spamd,
 * Exim's and others' recipes. Who is wrong here tries too early, once.
 */
#ifndef QMGR_GREY_H
#define QMGR_GREY_H

#include <stdint.h>

#include "common/slice.h"

#define GREY_LEAST_S 10   /* a time named below counts as this */
#define GREY_MOST_S  7200 /* ... and one beyond is not believed */

/*
 * Seconds to wait after the reply "450 ..." or "451 ..." with this enhanced
 * status code, `usual' when it names no time; 0: it does not look like
 * greylisting.
 */
uint64_t grey_wait_s(struct slice esc, struct slice reply, uint64_t usual);

#endif
