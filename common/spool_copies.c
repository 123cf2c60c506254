/*
 * The end of the start: what lives is copied into the fresh journal; or, when the
 * disk is full, the old journal is gone on with, where all stays where it is, and
 * only what no entry says yet is added. A start on a full disk takes no room, but
 * for the fates of a group that a crash has cut.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "common/journal.h"
#include "common/log.h"
#include "common/spool_int.h"
#include "common/spool_said.h"
#include "common/xmalloc.h"

#define SOMEWHERE (1ULL << 32) /* not behind any position */

/* -- the copies -------------------------------------------------------------------------- */

/* In pieces of whole records that fit; *first is the position of the first. */
static int
copy_records(struct spool *sp, uint64_t qid, struct slice rest, uint64_t *first)
{
	const size_t max = journal_body_max(sp->journal);
	struct slice piece, before;
	struct spool_record r;
	uint64_t lsn;

	*first = 0;
	while (rest.n > 0) {
		piece = slice_make(rest.p, 0);
		for (before = rest; spool_record_next(&rest, qid, &r) &&
		    piece.n + (before.n - rest.n) <= max; before = rest) {
			piece.n += before.n - rest.n;
		}
		if (piece.n == 0) {
			errno = EMSGSIZE; /* no record is as large as that */
			return -1;
		}
		rest = before;
		if (journal_copy(sp->journal, SPOOL_ENTRY_STATE, qid, &piece, 1,
		    &lsn) == -1) {
			return -1;
		}
		*first = *first == 0 ? lsn : *first;
	}
	return 0;
}

/* Too large for this journal, whose size was changed: into its file at once. */
static int
spill_now(struct spool *sp, struct spool_msg *m)
{
	struct spool_op *op = spool_create_op(m);
	int error;

	spool_commit_batch(sp, &op->job);
	error = op->error;
	free(op);
	if (error == 0) {
		spool_msg_filed(sp, m);
	}
	errno = error;
	return error == 0 ? 0 : -1;
}

static int
copy_message(struct spool *sp, struct spool_msg *m)
{
	struct slice parts[3];
	struct strbuf tail;
	char head[SPOOL_HEADER];
	uint64_t lsn;
	int ret;

	strbuf_init(&tail, 0);
	parts[1] = slice_make(m->content, m->content_n);
	spool_image(m->state, parts[1], NULL, head, &tail);
	parts[0] = slice_make(head, sizeof(head));
	parts[2] = strbuf_slice(&tail);
	ret = journal_copy(sp->journal, SPOOL_ENTRY_MESSAGE, m->qid, parts, 3,
	    &lsn);
	strbuf_clear(&tail);
	if (ret == 0) {
		spool_anchor(sp, m, lsn);
	}
	return ret == -1 && errno == EMSGSIZE ? spill_now(sp, m) : ret;
}

static int
copy_pending(struct spool *sp, struct spool_msg *m)
{
	uint64_t lsn;

	if (copy_records(sp, m->qid, strbuf_slice(&m->pending), &lsn) == -1) {
		return -1;
	}
	if (lsn != 0) {
		spool_anchor(sp, m, lsn);
	}
	return 0;
}

static int
copy(struct spool *sp, struct spool_msg *m)
{
	uint64_t lsn;

	if (!m->doomed) {
		return m->filed ? copy_pending(sp, m) : copy_message(sp, m);
	}
	if (journal_copy(sp->journal, SPOOL_ENTRY_DONE, m->qid, NULL, 0,
	    &lsn) == -1) {
		return -1;
	}
	spool_anchor(sp, m, lsn);
	return 0;
}

/* Each that is anchored is anchored anew, behind those that were not yet. */
static int
copy_all(struct spool *sp)
{
	struct spool_msg *m;
	size_t n;

	sp->last_lsn = 0;
	for (n = sp->nanchored; n > 0; n--) {
		m = TAILQ_FIRST(&sp->anchored);
		spool_unanchor(sp, m);
		if (copy(sp, m) == -1) {
			spool_anchor(sp, m, SOMEWHERE);
			return -1;
		}
	}
	return journal_start(sp->journal);
}

/* -- on a full disk ------------------------------------------------------------------------ */

struct place {
	uint64_t lsn;
	struct spool_msg *m;
};

static int
compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->lsn != y->lsn ? (x->lsn > y->lsn) - (x->lsn < y->lsn) :
	    (x->m->qid > y->m->qid) - (x->m->qid < y->m->qid);
}

/* All that is anchored, where the journal has it, in its order. */
static void
anchor_as_they_were(struct spool *sp)
{
	const size_t n = sp->nanchored;
	struct place *l = xreallocarray(NULL, n + 1, sizeof(*l));
	size_t i;

	for (i = 0; i < n; i++) {
		l[i].m = TAILQ_FIRST(&sp->anchored);
		l[i].lsn = spool_replay_lsn(sp, l[i].m->qid);
		l[i].lsn = l[i].lsn != 0 ? l[i].lsn : SOMEWHERE;
		spool_unanchor(sp, l[i].m);
	}
	qsort(l, n, sizeof(*l), compare_places);
	sp->last_lsn = 0;
	for (i = 0; i < n; i++) {
		spool_anchor(sp, l[i].m, l[i].lsn);
	}
	free(l);
}

static int
add_news(struct spool *sp, uint64_t qid, bool done, struct slice records,
    uint64_t *lsn)
{
	return done ? journal_copy(sp->journal, SPOOL_ENTRY_DONE, qid, NULL, 0,
	    lsn) : copy_records(sp, qid, records, lsn);
}

static int
keep_all(struct spool *sp)
{
	if (journal_keep(sp->journal) == -1) {
		return -1;
	}
	log_warn("spool: no room on the disk for copies: the journal is gone on "
	    "with as it is");
	if (spool_replay_news(sp, add_news) == -1) {
		return -1;
	}
	anchor_as_they_were(sp);
	return journal_start(sp->journal);
}

int
spool_replay_finish(struct spool *sp)
{
	if (sp->journal == NULL) {
		return 0;
	}
	spool_replay_children(sp);
	if (copy_all(sp) == -1 && (!journal_is_full(errno) ||
	    keep_all(sp) == -1)) {
		return -1;
	}
	spool_said_clear(&sp->replay);
	spool_journal_ready(sp);
	if (sp->nanchored > 0) {
		log_info("spool: %zu messages live in the journal, the files "
		    "of %zu are to be brought up to date", sp->nunfiled,
		    sp->nanchored - sp->nunfiled);
	}
	return 0;
}
