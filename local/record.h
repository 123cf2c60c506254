/*
 * record - what the dispatcher and the forker say to each other.
 *
 * The forker is root, so it parses next to nothing: a fixed record of 64
 * octets over a SOCK_SEQPACKET socket, no variable length, no optional part.
 *
 *   0   "VRF1" (to the forker) or "VRA1" (its answer)
 *   4   u8 kind (question) or status (answer)
 *   5   zeros
 *   8   u32 serial, little-endian: the dispatcher's name for this worker
 *  12   the user's name, 1 to RECORD_NAME_MAX octets of [a-z0-9._-] that do
 *       not begin with '-' or '.', then zeros up to octet 60 (kind WORKER;
 *       all zeros in the other kinds)
 *  60   zeros
 *
 * Pure functions over memory.
 */
#ifndef LOCAL_RECORD_H
#define LOCAL_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

#define RECORD_SIZE     64
#define RECORD_NAME_MAX 32 /* octets; useradd's own limit on Linux */

enum record_kind {
	RECORD_WORKER = 1, /* a worker for this user, please; answered, unless
	                      it is given up before there was place for it */
	RECORD_KILL = 2,   /* end the worker of this serial; not answered */
};

enum record_status {
	RECORD_OK = 0,      /* the worker's socket comes with the answer */
	RECORD_BUSY = 1,    /* too many workers, or no process or memory left */
	RECORD_STATUSES,    /* not a status */
};

struct record {
	enum record_kind kind;
	uint32_t serial;
	char name[RECORD_NAME_MAX + 1]; /* "" unless kind is RECORD_WORKER */
};

struct record_answer {
	enum record_status status;
	uint32_t serial;
};

/* May this name be asked for? */
bool record_name_ok(struct slice name);

/* `r' must be right: a bad name is our bug and panics. */
void record_encode(const struct record *r, char out[RECORD_SIZE]);
/* False when any octet is not as above; *r is untouched then. */
bool record_decode(struct slice in, struct record *r);

void record_answer_encode(const struct record_answer *a, char out[RECORD_SIZE]);
bool record_answer_decode(struct slice in, struct record_answer *a);

#endif
