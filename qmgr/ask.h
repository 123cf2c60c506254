/*
 * ask - the questions to cleanup that are open, for to_cleanup.c, which asks,
 * and from_cleanup.c, which hears the answers. A question goes out with an id of
 * the slots' table, so that an answer that comes too late finds nothing.
 */
#ifndef QMGR_ASK_H
#define QMGR_ASK_H

#include <sys/queue.h>

#include "qmgr/qmgr.h"

#define ASK_REASON 1000 /* octets of a reason */

enum ask_kind {
	ASK_TAKE, ASK_GET, ASK_FATES, ASK_MARK, ASK_NOTICE, ASK_VIEW,
	ASK_LOAD, ASK_KEEP
};

struct ask {
	TAILQ_ENTRY(ask) link; /* q->asks, except TAKE */
	enum ask_kind kind;
	uint32_t id;
	uint64_t qid, token, deadline_ms;
	enum ipc_mark what;
	enum ipc_notice notice;
	char *reason;          /* MARK: for the log */
	qmgr_view_cb *cb;
	void *arg;
};

/* An open question, with a fresh id and (not a TAKE) its deadline. */
struct ask *ask_new(struct qmgr *q, enum ask_kind kind, uint64_t qid);
/* It is answered. */
void ask_free(struct qmgr *q, struct ask *a);
/* The question that `m' answers, if it is of this kind and still open. */
struct ask *ask_find(struct qmgr *q, const struct ipc_msg *m,
    enum ask_kind kind);
/* Tell who asked that no answer came to what had to be answered by `now'
   (mono_ms); returns how many those were. */
unsigned ask_fail_late(struct qmgr *q, uint64_t now);
/* The channel is gone. Views fail; what the scheduler asked is asked again by
   itself. */
void ask_down(struct qmgr *q);
/* Forget all; nobody is told. */
void ask_clear(struct qmgr *q);

/* from_cleanup.c: an answer of cleanup. False when it makes no sense. */
bool qmgr_cleanup_answer(struct qmgr *q, const struct ipc_msg *m);

#endif
