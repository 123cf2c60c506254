/*
 * until - a point of time in the future as an administrator writes it: "2h"
 * from now, "17:30" (the next one), "2026-01-31" (its first moment),
 * "2026-01-31T17:30[:00]", and with a final Z in UTC, else in local time.
 */
#ifndef TOOLS_UNTIL_H
#define TOOLS_UNTIL_H

#include <stdbool.h>
#include <stdint.h>

/* Both in seconds of CLOCK_REALTIME. False: not such a time, or over. */
bool until_parse(const char *text, uint64_t now, uint64_t *out);

#endif
