/*
 * intake - the content of a message on its way into a spool draft.
 *
 * The header is collected up to its end (at most header_size_limit octets),
 * rewritten and completed once (cleanup/header.h), and written; what follows
 * goes straight into the draft. Pieces may be cut anywhere. Whatever is wrong
 * with the content is a reply; nothing is ever shortened.
 */
#ifndef CLEANUP_INTAKE_H
#define CLEANUP_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup/header.h"
#include "cleanup/program.h"
#include "cleanup/reply.h"
#include "common/envelope.h"
#include "common/slice.h"
#include "common/strbuf.h"


struct intake {
	struct program *pg;
	struct spool_draft *draft; /* NULL before the first octet, and at the end */
	struct strbuf header;      /* collected so far */
	struct header_scan scan;   /* how far it was looked at */
	uint64_t received;         /* octets from the client */
	uint64_t held;             /* counted in pg->pending_octets */
	bool in_body;
	struct reply refusal;      /* code 0: none */
};

/* What the header needs to know of the transaction; borrowed for a call. */
struct intake_facts {
	const struct envelope *envelope;
	bool local;            /* submitted here: what is missing is added */
	bool ours;             /* by one of us: addresses are rewritten */
	struct slice only_for; /* the one forward-path, or n 0 */
};

enum intake_state {
	INTAKE_MORE,    /* the next piece, please */
	INTAKE_WAIT,    /* not before the draft has drained */
	INTAKE_REFUSED, /* in->refusal says why; the draft is gone */
};

void intake_init(struct intake *in, struct program *pg);
/* Frees the draft, if it was not taken. */
void intake_clear(struct intake *in);
/* A piece of content. */
enum intake_state intake_add(struct intake *in, const struct intake_facts *f,
    struct slice piece);
/* The end of the content: also a message of nothing but a header is complete
   now. MORE: the draft is ready to be taken. */
enum intake_state intake_end(struct intake *in, const struct intake_facts *f);
/* Refuse: free the draft, remember why. */
void intake_refuse(struct intake *in, struct reply why);
/* The reply for an error of the spool. */
struct reply intake_spool_reply(int error);
/* The draft, for spool_accept(). */
struct spool_draft *intake_take_draft(struct intake *in);

#endif
