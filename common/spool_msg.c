/*
 * Messages in use. One is in memory while it has requests, or a state or
 * content is kept, or a group holds it; everything else is its id in the index.
 */
#include "config.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/qid.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

#define TRIM_TRIES 64 /* busy messages that one trim passes over */

struct spool_msg *
spool_msg_new(uint64_t qid)
{
	struct spool_msg *m = xcalloc(1, sizeof(*m));

	m->qid = qid;
	m->filed = true;
	strbuf_init(&m->pending, 0);
	STAILQ_INIT(&m->reqs);
	return m;
}

struct spool_msg *
spool_msg_get(struct spool *sp, uint64_t qid)
{
	void **place = spool_index_find(&sp->index, qid);
	struct spool_msg *m;

	if (place != NULL && *place != NULL) {
		return *place;
	}
	m = spool_msg_new(qid);
	if (place != NULL) {
		*place = m;
		m->indexed = true;
	}
	return m;
}

void
spool_msg_ready(struct spool *sp, struct spool_msg *m)
{
	if (m->passed && !m->busy) {
		m->passed = false;
		sp->settle_more = true;
	}
	if (!m->ready) {
		m->ready = true;
		STAILQ_INSERT_TAIL(&sp->ready, m, ready_next);
		spool_wake(sp);
	}
}

uint64_t
spool_msg_parent(const struct spool_msg *m)
{
	return m->group != NULL ? m->group->parent->qid : 0;
}

/* The journal's answers come outside of our turns. */
static void
look_at_memory(struct spool *sp)
{
	if (sp->memory > sp->memory_limit) {
		spool_wake(sp);
	}
}

/* -- what is kept ---------------------------------------------------------------- */

void
spool_msg_keep_state(struct spool *sp, struct spool_msg *m,
    struct spool_state *st)
{
	m->state = st;
	sp->memory += sizeof(*m) + st->octets;
	if (m->filed) { /* else it is needed until it is */
		TAILQ_INSERT_TAIL(&sp->states, m, by_state);
	}
	look_at_memory(sp);
}

static void
drop_state(struct spool *sp, struct spool_msg *m)
{
	if (m->state != NULL) {
		sp->memory -= sizeof(*m) + m->state->octets;
		if (m->filed) {
			TAILQ_REMOVE(&sp->states, m, by_state);
		}
		spool_state_free(m->state);
		m->state = NULL;
	}
}

void
spool_msg_apply(struct spool *sp, struct spool_msg *m, struct slice records)
{
	sp->memory -= m->state->octets;
	(void)spool_state_apply(m->state, records);
	sp->memory += m->state->octets;
}

void
spool_msg_keep_content(struct spool *sp, struct spool_msg *m)
{
	if (m->content != NULL) {
		sp->memory += m->content_n;
		if (m->filed) { /* as above */
			TAILQ_INSERT_TAIL(&sp->contents, m, by_content);
		}
		look_at_memory(sp);
	}
}

void
spool_msg_drop_content(struct spool *sp, struct spool_msg *m)
{
	if (m->content != NULL) {
		sp->memory -= m->content_n;
		if (m->filed) {
			TAILQ_REMOVE(&sp->contents, m, by_content);
		}
		free(m->content);
		m->content = NULL;
	}
}

void
spool_msg_filed(struct spool *sp, struct spool_msg *m)
{
	spool_msg_drop_content(sp, m);
	m->filed = true;
	sp->nunfiled -= m->anchor != 0;
	if (m->state != NULL) {
		TAILQ_INSERT_TAIL(&sp->states, m, by_state);
	}
}

/* Nobody is at it, and its file says the same as its state. */
static bool
is_idle(const struct spool_msg *m)
{
	return !m->busy && !m->ready && m->pins == 0 && STAILQ_EMPTY(&m->reqs);
}

void
spool_msg_trim(struct spool *sp)
{
	struct spool_msg *m;
	unsigned tries = 0;

	while (sp->memory > sp->memory_limit &&
	    (m = TAILQ_FIRST(&sp->contents)) != NULL) {
		spool_msg_drop_content(sp, m);
		spool_msg_release(sp, m);
	}
	while (sp->memory > sp->memory_limit && tries < TRIM_TRIES &&
	    (m = TAILQ_FIRST(&sp->states)) != NULL) {
		if (is_idle(m)) {
			drop_state(sp, m);
			spool_msg_release(sp, m);
		} else { /* it is in use: as if it were the newest */
			TAILQ_REMOVE(&sp->states, m, by_state);
			TAILQ_INSERT_TAIL(&sp->states, m, by_state);
			tries++;
		}
	}
}

/* -- coming and going ------------------------------------------------------------- */

void
spool_msg_enter(struct spool *sp, struct spool_msg *m)
{
	*spool_index_add(&sp->index, m->qid) = m;
	m->indexed = true;
}

void
spool_msg_leave(struct spool *sp, struct spool_msg *m)
{
	if (m->indexed) {
		(void)spool_index_drop(&sp->index, m->qid);
		m->indexed = false;
	}
	spool_msg_drop_content(sp, m);
}

void
spool_msg_free(struct spool_msg *m)
{
	spool_state_free(m->state);
	strbuf_clear(&m->pending);
	free(m->content);
	free(m);
}

void
spool_msg_release(struct spool *sp, struct spool_msg *m)
{
	void **place;

	if (!is_idle(m) || m->group != NULL || m->anchor != 0) {
		return;
	}
	if (!m->indexed) {
		drop_state(sp, m);
		spool_msg_drop_content(sp, m);
	} else if (m->state != NULL || m->content != NULL) {
		return;
	} else {
		place = spool_index_find(&sp->index, m->qid);
		*place = NULL;
	}
	spool_msg_free(m);
}

void
spool_log_failed(uint64_t qid, const char *what, int error)
{
	char id[QID_TEXT + 1];

	qid_format(qid, id);
	log_error("spool: %s: cannot be %s: %s", id, what, strerror(error));
}

static void
corrupt_done(struct spool *sp, struct spool_job *job)
{
	struct spool_op *op = (struct spool_op *)job;

	sp->busy--;
	if (op->error != 0) {
		spool_log_failed(op->acts[0].qid, "set aside", op->error);
	}
	free(op);
}

void
spool_msg_corrupt(struct spool *sp, struct spool_msg *m, const char *why)
{
	struct spool_op *op = spool_op_new(1);
	char id[QID_TEXT + 1];

	qid_format(m->qid, id);
	log_error("spool: %s: the queue file cannot be read (%s); "
	    "kept as %s.corrupt", id, why, id);
	op->acts[0].kind = ACT_SET_ASIDE;
	op->acts[0].qid = m->qid;
	op->acts[0].parent = spool_msg_parent(m);
	op->job.done = corrupt_done;
	sp->busy++;
	sp->corrupt++;
	spool_submit(sp, SPOOL_COMMITTER, &op->job);
	spool_msg_lost(sp, m);
}

void
spool_msg_lost(struct spool *sp, struct spool_msg *m)
{
	spool_msg_leave(sp, m);
	spool_drop_pending(sp, m);
	spool_unanchor(sp, m);
}

void
spool_msg_free_all(struct spool *sp)
{
	struct spool_msg *m;

	sp->memory_limit = 0;
	while ((m = TAILQ_FIRST(&sp->anchored)) != NULL) {
		TAILQ_REMOVE(&sp->anchored, m, by_anchor);
		m->anchor = 0;
		if (!m->filed) {
			spool_msg_filed(sp, m);
		}
		spool_msg_release(sp, m);
	}
	while ((m = TAILQ_FIRST(&sp->contents)) != NULL) {
		spool_msg_drop_content(sp, m);
		spool_msg_release(sp, m);
	}
	while ((m = TAILQ_FIRST(&sp->states)) != NULL) {
		drop_state(sp, m);
		m->pins = 0;
		spool_msg_release(sp, m);
	}
}
