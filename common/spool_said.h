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
	uint64_t lsn; /* of the oldest entry that all this needs; 0: none */
	/* the caller's: */
	bool filed;  /* it has a file */
	bool over;   /* that it is done, and */
	struct strbuf news; /* state records, which no entry says yet */
};

/* The next entry, at this position. False: it makes no sense, and counts only as
   far as it can be read. */
bool spool_said_add(struct spool_index *ix, uint64_t lsn, uint8_t kind,
    uint64_t qid, struct slice body);
/* A fresh one if nothing is said of it. */
struct spool_said *spool_said_get(struct spool_index *ix, uint64_t qid);
/* NULL: nothing is said of it. */
struct spool_said *spool_said_find(const struct spool_index *ix, uint64_t qid);
/* As spool_index_each(). */
struct spool_said *spool_said_each(const struct spool_index *ix,
    struct spool_index_at *at);
/* Forget all; the index is as after spool_index_init(). */
void spool_said_clear(struct spool_index *ix);

#endif
