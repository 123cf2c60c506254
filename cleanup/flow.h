/*
 * flow - a peer that asks faster than it reads our answers is not read from
 * until it has: what waits for it stays bounded, whoever it is.
 */
#ifndef CLEANUP_FLOW_H
#define CLEANUP_FLOW_H

#include "common/ipc.h"

#define FLOW_HIGH_WATER (4u * 1024 * 1024) /* octets that wait to be sent */

/* At the end of each message handler. */
static inline void
flow_check(struct ipc_chan *ch)
{
	if (ipc_chan_alive(ch) && ipc_chan_queued(ch) > FLOW_HIGH_WATER) {
		ipc_chan_pause(ch, true);
	}
}

/* The `drained' of a channel. */
static inline void
flow_drained(void *owner, struct ipc_chan *ch)
{
	(void)owner;
	if (ipc_chan_alive(ch)) {
		ipc_chan_pause(ch, false);
	}
}

#endif
