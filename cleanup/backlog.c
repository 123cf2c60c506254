#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup/backlog.h"
#include "common/xmalloc.h"

void
backlog_init(struct backlog *b)
{
	*b = (struct backlog){ 0 };
}

void
backlog_clear(struct backlog *b)
{
	free(b->fresh);
	backlog_init(b);
}

void
backlog_start(struct backlog *b, struct spool *sp)
{
	struct spool_draft *newest = spool_draft_new(sp);

	backlog_clear(b);
	b->end = spool_draft_qid(newest); /* all there are now are below */
	spool_draft_free(newest);
}

void
backlog_add(struct backlog *b, uint64_t qid)
{
	if (b->head + b->n == b->cap) {
		if (b->head > b->cap / 2) { /* room at the front is enough */
			memmove(b->fresh, b->fresh + b->head,
			    b->n * sizeof(*b->fresh));
			b->head = 0;
		} else {
			b->cap = b->cap == 0 ? 256 : b->cap * 2;
			b->fresh = xreallocarray(b->fresh, b->cap,
			    sizeof(*b->fresh));
		}
	}
	b->fresh[b->head + b->n++] = qid;
}

void
backlog_accepted(struct backlog *b, uint64_t qid)
{
	/* An id drawn long ago may be accepted only now: when the scan has
	   not been there yet, it will find it. */
	if (qid > b->after && qid <= b->end) {
		return;
	}
	backlog_add(b, qid);
}

static bool
next_scanned(struct backlog *b, const struct spool *sp, uint64_t *qid)
{
	if (b->page_at == b->page_n && b->after < b->end) {
		b->page_at = 0;
		b->page_n = spool_list(sp, b->after, b->page, BACKLOG_PAGE);
		while (b->page_n > 0 && b->page[b->page_n - 1] > b->end) {
			b->page_n--; /* told by backlog_accepted() */
		}
		b->after = b->page_n > 0 ? b->page[b->page_n - 1] : b->end;
	}
	if (b->page_at == b->page_n) {
		return false;
	}
	*qid = b->reached = b->page[b->page_at++];
	return true;
}

uint64_t
backlog_reached(const struct backlog *b)
{
	return b->page_at == b->page_n && b->after >= b->end ? UINT64_MAX :
	    b->reached;
}

static bool
next_fresh(struct backlog *b, uint64_t *qid)
{
	if (b->n == 0) {
		return false;
	}
	*qid = b->fresh[b->head++];
	if (--b->n == 0) {
		b->head = 0;
	}
	return true;
}

bool
backlog_next(struct backlog *b, const struct spool *sp, uint64_t *qid)
{
	b->scan_next = !b->scan_next;
	if (b->scan_next) {
		return next_scanned(b, sp, qid) || next_fresh(b, qid);
	}
	return next_fresh(b, qid) || next_scanned(b, sp, qid);
}
