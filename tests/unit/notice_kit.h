/*
 * notice_kit - what qmgr does about notices, as calls on a cleanup_world: say
 * that a recipient failed, order a notice, look at what came of it.
 */
#ifndef TESTS_UNIT_NOTICE_KIT_H
#define TESTS_UNIT_NOTICE_KIT_H

#include "common/envelope.h"
#include "tests/unit/cleanup_world.h"

/* What qmgr records when a recipient fails for good; returns the error. */
int notice_stuck(struct world *w, uint64_t qid, uint32_t index);
int notice_fate(struct world *w, uint64_t qid, uint32_t index, enum fate fate);
/* Order a notice; the answer: kind IPC_NOTICED, u[2] error, u[3] gone. */
struct got *notice_order(struct world *w, uint64_t qid, enum ipc_notice kind);

/* A queued message, whole. */
struct letter_seen {
	uint64_t qid, parent_qid;
	uint8_t parent_kind;
	uint32_t flags, nrcpts, open;
	char reverse_path[128];
	char address[128], transport[16], next_hop[256]; /* of the first */
	uint8_t fate[8];
	bool warned[8];
	char *content; /* freed by letter_clear() */
};
/* False: there is no such message. */
bool letter_see(struct world *w, uint64_t qid, struct letter_seen *l);
void letter_clear(struct letter_seen *l);
/* The children of `parent' that are notices, oldest first; at most max. */
size_t notice_children(struct world *w, uint64_t parent, uint64_t *qids,
    size_t max);

#endif
