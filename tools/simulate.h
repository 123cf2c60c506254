/*
 * simulate - what becomes of the queue, told by the scheduler's own code: see
 * qmgr/simulate.h for what is assumed.
 */
#ifndef TOOLS_SIMULATE_H
#define TOOLS_SIMULATE_H

#include "tools/tool.h"

struct simulate_options {
	uint64_t seconds; /* of time to come; 0: no simulation */
	bool delivered;   /* assume that all is delivered */
	unsigned view;
};

/* "destination", "time" or "message". */
bool simulate_view(const char *by, unsigned *view);
/* Reads the queue from qmgr, prints; returns the exit code. */
int tool_simulate(struct tool *t, const struct simulate_options *o,
    const char *const *filters, size_t nfilters);

#endif
