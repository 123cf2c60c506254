/*
 * notice_job - the order NOTICE of qmgr, carried out: a notice about a message's
 * recipients that failed for good (or are delayed), their fates, and if
 * notify_classes say so a copy for postmaster, all in one group of the spool
 * (common/spool.h). So no notice is lost, and an order that is given again after
 * a crash makes no second one.
 *
 * To whom: the reverse-path, by the resolver. A notice of ours that fails goes
 * to notice_recipient, as a double bounce; when that fails, too, nobody is told:
 * it goes on hold. So does other mail with the null reverse-path that fails.
 * A recipient of a notice that the resolver refuses gets the transport "error",
 * fails, and makes that double bounce.
 */
#ifndef CLEANUP_NOTICE_JOB_H
#define CLEANUP_NOTICE_JOB_H

#include <stdint.h>

#include "cleanup/program.h"

enum notice_result {
	NOTICE_DONE,  /* durable, or there was nothing to tell */
	NOTICE_NEVER, /* none can be made: `text' says why */
	NOTICE_LATER, /* try again */
};
typedef void notice_job_cb(void *arg, enum notice_result r, bool gone,
    const char *text);

struct notice_job;
/* `kind' is of enum ipc_notice. cb is called once, later. */
struct notice_job *notice_job_start(struct program *pg, uint64_t qid,
    unsigned kind, notice_job_cb *cb, void *arg);
/* cb is not called any more; what is in the spool already goes on. */
void notice_job_cancel(struct notice_job *job);

#endif
