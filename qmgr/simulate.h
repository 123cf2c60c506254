/*
 * simulate - what will become of a queue: the scheduler (qmgr/sched.h) on a copy
 * of it, with a clock of its own and results that are assumed. For a tool: it
 * runs in a process that has nothing to do with the real one.
 *
 * Assumed: a delivery takes SIMULATE_TAKES_MS; an attempt is deferred with the
 * reply that the recipient got last, and succeeds where it got none yet, or
 * everywhere (`delivered'); notices are made at once; nothing new arrives; what
 * is dead is found out anew; the route is the one of the list. A reply of class
 * 4.4 says that the next hop was not reached.
 *
 * Some 200 octets a message of one recipient, SIMULATE_RCPTS_MAX recipients and
 * SIMULATE_ATTEMPTS_MAX attempts at most.
 */
#ifndef QMGR_SIMULATE_H
#define QMGR_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>

#include "qmgr/sched.h"

#define SIMULATE_TAKES_MS     1000
#define SIMULATE_RCPTS_MAX    4000000
#define SIMULATE_ATTEMPTS_MAX 20000000
#define SIMULATE_SLOTS        24 /* of the time that is looked at */

struct simulation;

/* A recipient as the queue lists it; those of a message follow each other. */
struct simulate_rcpt {
	uint64_t qid, arrived_s, size, attempts, next_at;
	bool hold;
	struct slice sender, recipient, transport, next_hop;
	struct slice reply; /* "4.4.1 text", or "" */
};

struct simulation *simulate_new(const struct sched_config *cfg,
    uint64_t now_s);
void simulate_free(struct simulation *sim);
/* False: there are too many. */
bool simulate_add(struct simulation *sim, const struct simulate_rcpt *in);
void simulate_hold_domain(struct simulation *sim, struct slice name,
    uint64_t until);
/*
 * Let so many seconds pass. `progress' is called now and then. Returns the
 * seconds that were simulated: fewer when there were too many attempts.
 */
uint64_t simulate_run(struct simulation *sim, uint64_t seconds,
    bool delivered, void (*progress)(void *arg, uint64_t at_s,
    uint64_t attempts), void *arg);

enum simulate_end {
	SIMULATE_WAITS,     /* is still in the queue */
	SIMULATE_DELIVERED,
	SIMULATE_EXPIRED,
	SIMULATE_FAILED,
	SIMULATE_HOLD,
	SIMULATE_ENDS,
};
const char *simulate_end_name(enum simulate_end end);

/* After simulate_run(): what became of a message. */
struct simulate_message {
	uint64_t qid;
	struct slice sender;
	struct slice transport, to; /* the route of its first recipient */
	uint64_t first_try_s;  /* 0: none */
	uint64_t attempts;     /* deliveries: of some recipients at a time */
	enum simulate_end end;
	uint64_t end_s;        /* WAITS: when it is tried next, 0: not at all */
};
/* The i-th; false: there are no more. */
bool simulate_message(const struct simulation *sim, uint64_t i,
    struct simulate_message *out);

/* What happens in the i-th SIMULATE_SLOTS-th of the time. */
struct simulate_slot {
	uint64_t from_s, attempts, ends[SIMULATE_ENDS]; /* but WAITS */
};
void simulate_slot(const struct simulation *sim, unsigned i,
    struct simulate_slot *out);

#endif
