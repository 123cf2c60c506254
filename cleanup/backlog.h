/*
 * backlog - queue ids that have not been handed to qmgr on its channel yet:
 * each exactly once. Two sources, asked by turns so that neither waits for the
 * other: a scan over what was in the spool when the channel came, oldest first;
 * and what was accepted since, in that order.
 *
 * backlog_next() must not be called inside spool_on_accepted's callback: of a
 * batch the spool may list all before it has told each.
 */
#ifndef CLEANUP_BACKLOG_H
#define CLEANUP_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/spool.h"

#define BACKLOG_PAGE 256

struct backlog {
	/* the scan: ids above `after' and up to `end' are still to be listed */
	uint64_t after, end;
	uint64_t page[BACKLOG_PAGE];
	size_t page_at, page_n;
	uint64_t reached; /* the newest of the scan that was taken */
	/* the others, from `head' on; bounded by what the spool holds */
	uint64_t *fresh;
	size_t head, n, cap;
	bool scan_next; /* whose turn it is */
};

void backlog_init(struct backlog *b);
void backlog_clear(struct backlog *b);
/* Begin: scan what `sp' has now. */
void backlog_start(struct backlog *b, struct spool *sp);
/* A message was accepted. */
void backlog_accepted(struct backlog *b, uint64_t qid);
/* Put one back, for another try. */
void backlog_add(struct backlog *b, uint64_t qid);
/* Take the next; false when there is none. */
bool backlog_next(struct backlog *b, const struct spool *sp, uint64_t *qid);
/* All of the scan up to this id has been taken; UINT64_MAX: the whole scan. */
uint64_t backlog_reached(const struct backlog *b);

#endif
