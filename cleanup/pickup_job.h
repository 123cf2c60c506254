/*
 * pickup_job - one drop file on its way into the spool: through the same
 * transaction as mail by SMTP, with the file's owner as the submitter.
 *
 * Nobody waits for a reply, so a recipient that is refused, for good or until
 * somebody mends an alias, is taken with its reason as its route ("error"): it
 * waits in the queue, visibly, and holds up no other. What says
 * nothing about the address, a lookup that failed or a spool that takes no mail,
 * leaves the file for later, whole.
 */
#ifndef CLEANUP_PICKUP_JOB_H
#define CLEANUP_PICKUP_JOB_H

#include <stdint.h>

#include "cleanup/program.h"
#include "common/strbuf.h"

struct pickup_job;

enum pickup_end {
	PICKUP_KEPT,  /* durable in the spool: the file may go */
	PICKUP_LATER, /* a temporary trouble: `why' */
	PICKUP_BAD,   /* it will never be taken: `why' */
};

/*
 * Take the octets of a file (moved out of *file) that belongs to `uid'. `done'
 * comes once, from the event loop; the job is gone then.
 */
struct pickup_job *pickup_job_start(struct program *pg, struct strbuf *file,
    uint32_t uid,
    void (*done)(void *arg, enum pickup_end end, const char *why), void *arg);
/* `done' is not called any more. NULL is fine. */
void pickup_job_cancel(struct pickup_job *job);

#endif
