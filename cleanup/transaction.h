/*
 * transaction - a mail transaction (RFC 5321, 3.3): reverse-path, recipients,
 * content, and the moment when we take responsibility. Who submits (an smtpd
 * worker, the drop directory) stands behind three callbacks.
 *
 * Limits: ENVELOPE_RCPT_MAX recipients; message_size_limit, header_size_limit;
 * one RCPT and one piece of content in hand at a time; all transactions
 * together PROGRAM_PENDING_MAX octets.
 */
#ifndef CLEANUP_TRANSACTION_H
#define CLEANUP_TRANSACTION_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup/program.h"
#include "cleanup/reply.h"
#include "common/slice.h"

struct transaction;

/*
 * The answers. Each comes once for its question, maybe before the call that
 * asked returns, so a handler must not call into the transaction: it takes a
 * note and goes on at another turn.
 */
struct transaction_ops {
	/* A recipient was taken (2yz) or refused. */
	void (*verdict)(void *owner, uint32_t tid, unsigned code,
	    const char *esc, const char *text);
	/* Code 0: the next piece, please; else the content is refused. */
	void (*content_ack)(void *owner, uint32_t tid, const struct reply *r);
	/* The end: 250 when the message is durable; `qid' is 0 otherwise. The
	   transaction is gone. */
	void (*committed)(void *owner, uint32_t tid, uint64_t qid,
	    const struct reply *r);
};

/* How it begins. The slices are copied. */
struct transaction_start {
	struct slice reverse_path; /* without <> */
	struct slice client_addr, client_name, helo, proto;
	uint32_t flags;            /* CONTENT_BODY_8BITMIME */
	uint32_t uid;              /* who submits locally, else UINT32_MAX */
	bool trusted;              /* may relay: by listener, or a local user */
};

struct transaction *transaction_new(struct program *pg,
    const struct transaction_start *start, const struct transaction_ops *ops,
    void *owner, uint32_t tid);

/*
 * The next three return false when the order of calls makes no sense; then
 * nothing was done, and the caller ends the transaction.
 */
bool transaction_rcpt(struct transaction *t, struct slice forward_path);
bool transaction_content(struct transaction *t, struct slice piece);
/* `flags' CONTENT_*, `octets' of content in all. */
bool transaction_commit(struct transaction *t, uint32_t flags,
    uint64_t octets);
/*
 * Add a recipient that nobody can deliver to: route "error" with "5.x.x text" or,
 * for now, "4.x.x text", so that its fate is visible in the queue (pick-up:
 * nobody waits for a reply). False: the message has all it can have.
 */
bool transaction_add_error(struct transaction *t, struct slice forward_path,
    const char *esc, const char *text);
/*
 * The submitter has gone or forgets it: no more callbacks. Mail that is just
 * becoming durable stays accepted (RFC 1047). NULL is fine.
 */
void transaction_end(struct transaction *t);
/* Recipients that were taken so far. */
unsigned transaction_accepted(const struct transaction *t);

/* No path, name or HELO that we store may have control octets, nor be longer
   than the envelope takes; who sends such is a bad peer. */
bool transaction_text_ok(struct slice s, size_t max);

#endif
