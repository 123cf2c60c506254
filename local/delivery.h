/*
 * delivery - one message for one mailbox: what it is, its content piece by
 * piece, and how far it has come. What Maildir and mbox have in common.
 * Reading blocks: for workers.
 */
#ifndef LOCAL_DELIVERY_H
#define LOCAL_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/outcome.h"
#include "common/slice.h"
#include "common/strbuf.h"

#define DELIVERY_BATCH 64 /* deliveries that are made durable together */

/* A message for this mailbox. Content has CRLF lines. All is borrowed. */
struct delivery {
	uint64_t qid, arrived_us;
	uint32_t index;
	bool again;       /* an earlier attempt may have delivered it */
	struct slice reverse_path, address, original;
	struct slice content; /* all of it, when fd is -1 */
	int fd;           /* else: a file, `size' octets from `offset' */
	uint64_t offset, size;
};

/* A delivery between its first octet and its outcome. */
struct pending {
	enum {
		PENDING_DONE,    /* the outcome is final */
		PENDING_WRITTEN, /* written, not yet flushed */
		PENDING_MOVED,   /* Maildir: in new/, not yet flushed */
		PENDING_IN_CUR,  /* Maildir: found in cur/, to be flushed */
	} state;
	int fd;     /* Maildir: the tmp file while WRITTEN, or -1 */
	bool found; /* it was there already */
	struct strbuf name, tmp; /* Maildir */
	uint64_t at; /* mbox: where its NUL stands */
	struct outcome outcome;  /* while not DONE: undefined */
};

void pending_init(struct pending *p); /* DONE, without an outcome */
void pending_clear(struct pending *p);

/* What is still to be read of a delivery's content. */
struct content {
	const struct delivery *d;
	struct strbuf *room; /* borrowed; pieces of files are read into it */
	uint64_t at;
};

/*
 * The next piece; empty at the end. It lives until the next call. False: it
 * cannot be read, or is shorter than it should be; `o' is deferred.
 */
bool content_next(struct content *c, struct slice *piece, struct outcome *o);
/*
 * True: the header says that it has been delivered to this address before,
 * `o' is failed; or the content cannot be read, `o' is deferred.
 */
bool delivery_loops(const struct delivery *d, struct strbuf *room,
    struct outcome *o);

#endif
