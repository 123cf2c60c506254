/* control_cat - the verb "cat": a message as the spool has it, envelope and
   states as lines for people, an empty line, then the content to the octet. */
#ifndef CLEANUP_CONTROL_CAT_H
#define CLEANUP_CONTROL_CAT_H

#include "common/ctl.h"

void control_cat(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords);

#endif
