/*
 * sendmail_drop - keep a message in the drop directory until cleanup picks it
 * up: written under a hidden name, renamed, then syncfs (common/drop.h).
 */
#ifndef TOOLS_SENDMAIL_DROP_H
#define TOOLS_SENDMAIL_DROP_H

#include "common/drop.h"
#include "common/slice.h"

/*
 * Write head and message below `directory'. Blocks until it would survive a
 * power cut. 0; or -1 with errno, and nothing is kept.
 */
int sendmail_drop(const char *directory, const struct drop_head *head,
    struct slice message);

#endif
