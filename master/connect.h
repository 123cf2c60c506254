/*
 * connect - UNIX sockets for remote, which can open no path itself.
 *
 * Only a socket that the settings name is connected to: a member of
 * lmtp_sockets, or the path of an "lmtp:unix:/path" that is mailbox_transport or
 * default_transport. What maps say is not known here: cleanup wants their paths
 * in lmtp_sockets.
 */
#ifndef MASTER_CONNECT_H
#define MASTER_CONNECT_H

#include "master/proc.h"

bool connect_is_named(const struct settings *s, struct slice path);
/* Answers CONNECT of `p': CONNECTED or CONNECT_FAILED. Does not wait. */
void connect_serve(struct proc *p, uint32_t tid, struct slice path);

#endif
