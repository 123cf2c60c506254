/*
 * qid - the queue id: 64 bits, the arrival in microseconds, made unique by
 * max(clock, last + 1). Written in a fixed width of 13 base-32 digits (RFC
 * 4648's "extended hex" alphabet, so text order is number order). Never an
 * inode.
 */
#ifndef COMMON_QID_H
#define COMMON_QID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

#define QID_TEXT 13 /* digits */
#define QID_MAX  ((1ULL << 53) - 1) /* of a message: the year 2255 */

/* Writes QID_TEXT digits and a NUL. */
void qid_format(uint64_t qid, char out[QID_TEXT + 1]);
/* Exactly QID_TEXT digits, either case; false leaves *out untouched. */
bool qid_parse(struct slice s, uint64_t *out);

#endif
