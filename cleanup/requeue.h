/*
 * requeue - expand a message's unfinished recipients anew: each forward-path
 * goes through the resolver as it stands today, and what it becomes goes into a
 * child message with a copy of the content; the parent's recipients are done
 * with it (FATE_EXPANDED), all in one group of the spool.
 *
 * A mailbox that has the message already gets no second copy. A recipient that
 * resolves to nothing now goes along with the reason as its route ("error"), so
 * that nothing stays behind; when none resolves the message is left as it is.
 */
#ifndef CLEANUP_REQUEUE_H
#define CLEANUP_REQUEUE_H

#include <stdint.h>

#include "cleanup/program.h"

struct requeue;

/* error 0: done and durable; ENOENT: no such message; else `text' says why it
   stays as it was. */
typedef void requeue_cb(void *arg, int error, const char *text);
/* cb comes once, from the event loop. */
struct requeue *requeue_start(struct program *pg, uint64_t qid, requeue_cb *cb,
    void *arg);
/* cb is not called any more; what is being written ends by itself. */
void requeue_cancel(struct requeue *rq);

#endif
