/*
 * control_trace - `veredus trace': what would be answered to a client's MAIL and
 * RCPT, each step with what decided it, and to which hosts the mail would go.
 * Asks the resolver that decides for real mail, and dns.
 */
#ifndef CLEANUP_CONTROL_TRACE_H
#define CLEANUP_CONTROL_TRACE_H

#include "common/ctl.h"

/* words: "trace", client ("local", or an address), sender, recipient. */
void control_trace(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords);

#endif
