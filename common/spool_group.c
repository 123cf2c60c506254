/*
 * Groups: children first, under names that tell of their parent; then the
 * parent's fates; then the short names. From the moment when the children are
 * durable the group has happened, here in memory and for recovery; a parent that
 * cannot be written then is "unsettled", and is written before the first of the
 * children would be removed.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/qid.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

static void
group_free(struct spool *sp, struct spool_group *g)
{
	struct spool_msg *parent = g->parent;

	TAILQ_REMOVE(&sp->groups, g, next);
	parent->pins--;
	strbuf_clear(&g->records);
	free(g->children);
	free(g);
	spool_msg_ready(sp, parent);
}

static void
log_unsettled(const struct spool_group *g, int error)
{
	char id[QID_TEXT + 1];

	qid_format(g->parent->qid, id);
	log_warn("spool: %s: its state cannot be written (%s); "
	    "its children stand for it", id, strerror(error));
}

/* Those whose names are short now are children no more. */
static void
drop_children(struct spool *sp, struct spool_group *g,
    const struct spool_op *op)
{
	size_t i, left = 0;

	for (i = 0; i < g->nchildren; i++) {
		struct spool_msg *m = g->children[i];

		if (op->late[i].failed) {
			g->children[left++] = m;
			continue;
		}
		m->group = NULL;
		spool_msg_ready(sp, m);
	}
	g->nchildren = left;
}

/* Children that waited for this go on, or learn why not. */
static void
wake_children(struct spool *sp, struct spool_group *g, int error)
{
	size_t i;

	for (i = 0; i < g->nchildren; i++) {
		struct spool_msg *m = g->children[i];

		if (m->waits) {
			m->settle_error = error != 0 ? error : EIO;
			m->waits = m->busy = false;
			spool_msg_ready(sp, m);
		}
	}
}

/* The parent's file is written, or not. Frees g when all is done. */
static void
settled(struct spool *sp, struct spool_group *g, const struct spool_op *op)
{
	struct spool_state *st = g->parent->state;
	size_t i;

	g->settling = false;
	if (op->nacts > 0 && op->acts[0].kind == ACT_APPEND && st != NULL) {
		st->cut = op->error != 0;
		st->end += op->error == 0 ? g->records.n : 0;
	}
	for (i = 0; i < g->nchildren; i++) {
		if (g->children[i]->waits && !op->late[i].failed) {
			g->children[i]->waits = g->children[i]->busy = false;
		}
	}
	drop_children(sp, g, op);
	if (g->nchildren == 0) {
		group_free(sp, g);
		return;
	}
	log_unsettled(g, op->error != 0 ? op->error : EIO);
	wake_children(sp, g, op->error);
}

struct settle_entry {
	struct journal_entry entry;
	struct spool *sp;
	struct spool_op *op;
	bool removes;
};

/* The journal has the parent's fates: the children's names may be short. */
static void
settle_journaled(struct journal_entry *e)
{
	struct settle_entry *s = e->arg;
	struct spool_group *g = s->op->arg;
	struct spool *sp = s->sp;
	size_t i;

	if (e->error != 0) {
		s->op->error = e->error;
		for (i = 0; i < s->op->nlate; i++) {
			s->op->late[i].failed = true;
		}
		s->op->job.done(sp, &s->op->job);
	} else {
		if (s->removes) {
			spool_removed(sp, g->parent, e->lsn);
		} else {
			spool_changed(sp, g->parent,
			    strbuf_slice(&g->records), e->lsn);
		}
		spool_submit(sp, SPOOL_COMMITTER, &s->op->job);
	}
	free(s);
}

static void
settle_by_journal(struct spool *sp, struct spool_group *g, struct spool_op *op,
    bool removes)
{
	struct settle_entry *s = xcalloc(1, sizeof(*s));

	s->sp = sp;
	s->op = op;
	s->removes = removes;
	s->entry.done = settle_journaled;
	s->entry.arg = s;
	spool_journal_change(sp, g->parent->qid, removes,
	    strbuf_slice(&g->records), &s->entry);
}

/* Write the parent, then rename the children. `done' gets op->arg = g. */
static void
settle(struct spool *sp, struct spool_group *g,
    void (*done)(struct spool *sp, struct spool_job *job))
{
	struct spool_msg *p = g->parent;
	const bool removes = p->state == NULL || p->state->open == 0 ||
	    !p->indexed;
	struct spool_op *op;
	size_t i;

	if (sp->journal != NULL) {
		op = spool_op_new(0);
	} else if (!removes) {
		op = spool_append_op(p, strbuf_slice(&g->records));
	} else {
		op = spool_remove_op(p);
	}
	op->nlate = g->nchildren;
	op->late = xcalloc(op->nlate, sizeof(*op->late));
	for (i = 0; i < op->nlate; i++) {
		op->late[i].qid = g->children[i]->qid;
		op->late[i].parent = p->qid;
	}
	op->arg = g;
	op->job.done = done;
	g->settling = true;
	p->busy = true;
	if (sp->journal != NULL) {
		settle_by_journal(sp, g, op, removes);
	} else {
		spool_submit(sp, SPOOL_COMMITTER, &op->job);
	}
}

/* -- a new group ---------------------------------------------------------------------- */

/* The group has happened; its request is answered and the children announced. */
static void
group_finish(struct spool *sp, struct spool_msg *m)
{
	struct spool_req *r = STAILQ_FIRST(&m->reqs);
	struct spool_birth *b = r->birth;
	uint64_t *qids = xcalloc(b->n, sizeof(*qids));
	size_t i, n = b->n;
	bool gone = m->state->open == 0;

	for (i = 0; i < n; i++) {
		qids[i] = b->msgs[i]->qid;
		spool_birth_settle(b, i);
	}
	m->busy = false;
	if (gone) {
		spool_msg_leave(sp, m);
	}
	spool_req_answer(sp, m, 0, gone);
	for (i = 0; i < n; i++) {
		spool_announce(sp, qids[i]);
	}
	free(qids);
	spool_msg_ready(sp, m);
}

static void
first_settle_done(struct spool *sp, struct spool_job *job)
{
	struct spool_op *op = (struct spool_op *)job;
	struct spool_group *g = op->arg;
	struct spool_msg *m = g->parent;

	settled(sp, g, op);
	free(op->late);
	free(op);
	group_finish(sp, m);
}

static struct spool_group *
group_new(struct spool *sp, struct spool_msg *parent, struct spool_birth *b)
{
	struct spool_group *g = xcalloc(1, sizeof(*g));
	size_t i;

	g->parent = parent;
	g->records = b->fates;
	strbuf_init(&b->fates, 0);
	g->nchildren = b->n;
	g->children = xcalloc(b->n, sizeof(struct spool_msg *));
	for (i = 0; i < b->n; i++) {
		g->children[i] = b->msgs[i];
		b->msgs[i]->group = g;
	}
	parent->pins++;
	TAILQ_INSERT_TAIL(&sp->groups, g, next);
	return g;
}

static void
not_born(struct spool *sp, const struct spool_birth *b)
{
	struct spool_msg *m = b->parent;

	spool_log_failed(m->qid, "given children", b->error);
	m->busy = false;
	spool_req_answer(sp, m, b->error, false);
	spool_msg_ready(sp, m);
}

/* One entry of the journal has it all. */
static void
group_journaled(struct spool *sp, struct spool_birth *b)
{
	struct spool_msg *m = b->parent;

	if (b->error != 0) {
		not_born(sp, b);
		return;
	}
	spool_msg_apply(sp, m, strbuf_slice(&b->fates));
	if (m->state->open == 0) {
		spool_removed(sp, m, b->entry.lsn);
	} else {
		spool_changed(sp, m, strbuf_slice(&b->fates), b->entry.lsn);
		if (m->filed) {
			spool_msg_drop_content(sp, m);
		}
	}
	group_finish(sp, m);
}

/* The children are durable, or the group did not happen. */
static void
group_born(struct spool *sp, struct spool_birth *b)
{
	struct spool_msg *m = b->parent;
	struct spool_group *g;
	int error;

	if (b->error != 0) {
		not_born(sp, b);
		return;
	}
	g = group_new(sp, m, b);
	spool_msg_apply(sp, m, strbuf_slice(&g->records));
	if (m->filed) {
		spool_msg_drop_content(sp, m);
	}
	/* A parent that is itself an unsettled child must not be removed now:
	   this group is settled when its own children go. */
	error = m->state->open == 0 && m->group != NULL ? EAGAIN : 0;
	if (error == 0) {
		settle(sp, g, first_settle_done);
	} else {
		group_finish(sp, m);
	}
}

/* Each child's first record names the whole group. */
static void
make_records(struct spool_birth *b)
{
	uint64_t *qids = xcalloc(b->n, sizeof(*qids));
	size_t i;

	for (i = 0; i < b->n; i++) {
		qids[i] = b->msgs[i]->qid;
	}
	b->records = xcalloc(b->n, sizeof(*b->records));
	for (i = 0; i < b->n; i++) {
		strbuf_init(&b->records[i], 0);
		spool_record_group(&b->records[i], qids[i], b->parent->qid,
		    qids, b->n, strbuf_slice(&b->fates));
	}
	free(qids);
}

static bool
any_news(const struct spool_msg *m, struct slice records)
{
	struct spool_record r;

	while (spool_record_next(&records, m->qid, &r)) {
		if (r.kind == SPOOL_REC_FATE &&
		    spool_state_news(m->state, &r.fate)) {
			return true;
		}
	}
	return false;
}

void
spool_group_work(struct spool *sp, struct spool_msg *m)
{
	struct spool_req *r = STAILQ_FIRST(&m->reqs);
	struct spool_birth *b = r->birth;

	if (!m->indexed) {
		spool_req_answer(sp, m, ENOENT, true);
		return;
	}
	if (!spool_msg_need_state(sp, m)) {
		return;
	}
	if (r->invalid || r->index_max >= m->state->envelope.nrcpts) {
		spool_req_answer(sp, m, EINVAL, false);
		return;
	}
	if (!any_news(m, strbuf_slice(&r->records))) {
		spool_req_answer(sp, m, 0, false);
		return;
	}
	if (sp->journal != NULL && spool_state_open_after(m->state,
	    strbuf_slice(&r->records)) == 0 && !spool_gate_pass(sp, m)) {
		return;
	}
	b->parent = m;
	b->fates = r->records;
	strbuf_init(&r->records, 0);
	m->busy = true;
	b->done = group_journaled;
	if (m->group == NULL && spool_birth_journal(b)) {
		return;
	}
	b->done = group_born;
	make_records(b);
	spool_birth_start(b);
}

/* -- an unsettled one ------------------------------------------------------------------ */

static void
again_done(struct spool *sp, struct spool_job *job)
{
	struct spool_op *op = (struct spool_op *)job;
	struct spool_group *g = op->arg;
	struct spool_msg *m = g->parent;

	m->busy = false;
	settled(sp, g, op);
	free(op->late);
	free(op);
	spool_req_answer(sp, m, 0, false);
	spool_msg_ready(sp, m);
}

void
spool_settle_work(struct spool *sp, struct spool_msg *m)
{
	struct spool_req *r = STAILQ_FIRST(&m->reqs);
	struct spool_group *g = r->group;
	int error = 0;

	if (m->state->open == 0 || !m->indexed) {
		error = spool_group_may_remove(sp, m);
	}
	if (error == EAGAIN) {
		return;
	}
	if (error != 0) {
		g->settling = false;
		wake_children(sp, g, error);
		spool_req_answer(sp, m, 0, false);
		return;
	}
	settle(sp, g, again_done);
}

int
spool_group_may_remove(struct spool *sp, struct spool_msg *m)
{
	struct spool_group *g = m->group;
	struct spool_req *r;
	int error = m->settle_error;

	m->settle_error = 0;
	if (g == NULL || error != 0) {
		return g == NULL ? 0 : error;
	}
	m->busy = m->waits = true;
	if (!g->settling) {
		g->settling = true;
		r = xcalloc(1, sizeof(*r));
		r->kind = REQ_SETTLE;
		r->group = g;
		strbuf_init(&r->records, 0);
		sp->busy++;
		STAILQ_INSERT_TAIL(&g->parent->reqs, r, next);
		spool_msg_ready(sp, g->parent);
	}
	return EAGAIN;
}

void
spool_groups_free(struct spool *sp)
{
	struct spool_group *g;
	size_t i;

	while ((g = TAILQ_FIRST(&sp->groups)) != NULL) {
		for (i = 0; i < g->nchildren; i++) {
			g->children[i]->group = NULL;
			spool_msg_ready(sp, g->children[i]);
		}
		group_free(sp, g);
	}
}
