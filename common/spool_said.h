/*
 * spool_said - what the entries of the journal, read in order, say of each
 * message: a start makes messages of it, `veredus spool check' counts it. Kept
 * in an index of struct spool_said, which is made by spool_index_init().
 */
#ifndef COMMON_SPOOL_SAID_H
#define COMMON_SPOOL_SAID_H

#include "common/slice.h"
#include "common/spool_index.h"
#include "common/strbuf.h"

/* Of one message. */
struct spool_said {
	uint64_t qid;
	char *image; /* of its file, as the last copy was; NULL: none */
	size_t n;
	struct strbuf records; /* the state records that came after it */
	bool done;   /* it is removed: no image, no records */
	bool filed;  /* the caller's: it has a file */
};

/* The next entry. False: it makes no sense, and counts only as far as it can be
   read. */
bool spool_said_add(struct spool_index *ix, uint8_t kind, uint64_t qid,
    struct slice body);
/* NULL: nothing is said of it. */
struct spool_said *spool_said_find(const struct spool_index *ix, uint64_t qid);
/* As spool_index_each(). */
struct spool_said *spool_said_each(const struct spool_index *ix,
    struct spool_index_at *at);
/* Forget all; the index is as after spool_index_init(). */
void spool_said_clear(struct spool_index *ix);

#endif
