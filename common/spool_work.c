/*
 * The requests of a message, in order: the one at the head is answered from
 * memory, or sets a job going and waits for it (m->busy). Appends that stand
 * one behind the other become one.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/qid.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

/* -- answering ------------------------------------------------------------------- */

static void
answer_info(struct spool_msg *m, const struct spool_req *r, int error)
{
	const struct spool_state *st = m->state;
	struct spool_info info;

	if (error != 0) {
		r->info_cb(r->arg, m->qid, error, NULL);
		return;
	}
	info = (struct spool_info){
		.envelope = &st->envelope,
		.size = st->header.content_n,
		.hold = st->hold,
		.hold_reason = st->hold_reason != NULL ? st->hold_reason : "",
		.rcpts = st->rcpts,
		.rcpts_open = st->open,
		.crashes = st->crashes,
	};
	r->info_cb(r->arg, m->qid, 0, &info);
}

static void
call(struct spool_msg *m, const struct spool_req *r, int error, bool gone)
{
	switch (r->kind) {
	case REQ_INFO:
		answer_info(m, r, error);
		break;
	case REQ_CONTENT: /* the good answer is given by who has it */
		r->content_cb(r->arg, m->qid, error, SL(""), -1, 0, 0, 0);
		break;
	case REQ_STATE:
	case REQ_GROUP:
		if (r->done_cb != NULL) {
			r->done_cb(r->arg, m->qid, error);
		} else if (error == ENOENT) {
			r->fates_cb(r->arg, m->qid, 0, true);
		} else {
			r->fates_cb(r->arg, m->qid, error, gone);
		}
		break;
	case REQ_DELETE:
		r->done_cb(r->arg, m->qid, error);
		break;
	case REQ_SETTLE:
		break;
	}
}

static void
req_drop(struct spool *sp, struct spool_msg *m)
{
	struct spool_req *r = STAILQ_FIRST(&m->reqs);

	STAILQ_REMOVE_HEAD(&m->reqs, next);
	if (r->birth != NULL) {
		spool_birth_free(r->birth);
	}
	strbuf_clear(&r->records);
	free(r);
	sp->busy--;
}

void
spool_req_answer(struct spool *sp, struct spool_msg *m, int error, bool gone)
{
	if (!sp->closing) {
		call(m, STAILQ_FIRST(&m->reqs), error, gone);
	}
	req_drop(sp, m);
}

/* -- reading -------------------------------------------------------------------- */

/* What reading m's file told: the message may have left. */
static void
read_failed(struct spool *sp, struct spool_msg *m, int error, const char *why)
{
	if (error == EBADMSG) {
		spool_msg_corrupt(sp, m, why);
	} else {
		spool_log_failed(m->qid, "read", error);
	}
	if (error == ENOENT) { /* somebody's hand */
		spool_msg_lost(sp, m);
	}
	if (!STAILQ_EMPTY(&m->reqs)) { /* else it was to be settled */
		spool_req_answer(sp, m, error, false);
	}
}

struct load_job {
	struct spool_job job;
	struct spool_msg *m;
	uint64_t qid, parent;
	struct spool_loaded got;
};

static void
load_run(struct spool *sp, struct spool_job *job)
{
	struct load_job *l = (struct load_job *)job;

	spool_load(sp, l->qid, l->parent, &l->got);
}

static void
load_done(struct spool *sp, struct spool_job *job)
{
	struct load_job *l = (struct load_job *)job;
	struct spool_msg *m = l->m;

	m->busy = false;
	if (l->got.error != 0) {
		read_failed(sp, m, l->got.error, l->got.why);
	} else {
		if (l->got.state->cut) {
			char id[QID_TEXT + 1];

			qid_format(m->qid, id);
			log_warn("spool: %s: a damaged state record and what "
			    "follows is ignored", id);
		}
		spool_msg_keep_state(sp, m, l->got.state);
		spool_msg_apply(sp, m, strbuf_slice(&m->pending));
	}
	if (m->settling) {
		spool_settle_loaded(sp, m, l->got.error);
	}
	spool_msg_ready(sp, m);
	free(l);
}

bool
spool_msg_need_state(struct spool *sp, struct spool_msg *m)
{
	struct load_job *l;

	if (m->state != NULL) {
		if (m->filed) { /* the newest */
			TAILQ_REMOVE(&sp->states, m, by_state);
			TAILQ_INSERT_TAIL(&sp->states, m, by_state);
		}
		return true;
	}
	l = xcalloc(1, sizeof(*l));
	l->job.run = load_run;
	l->job.done = load_done;
	l->m = m;
	l->qid = m->qid;
	l->parent = spool_msg_parent(m);
	m->busy = true;
	spool_submit(sp, SPOOL_READER, &l->job);
	return false;
}

static void
work_info(struct spool *sp, struct spool_msg *m)
{
	if (!m->indexed) {
		spool_req_answer(sp, m, ENOENT, false);
	} else if (spool_msg_need_state(sp, m)) {
		spool_req_answer(sp, m, 0, false);
	}
}

/* -- content --------------------------------------------------------------------- */

struct content_job {
	struct spool_job job;
	struct spool_msg *m;
	struct spool_content_read c;
};

static void
content_run(struct spool *sp, struct spool_job *job)
{
	spool_read_content(sp, &((struct content_job *)job)->c);
}

static void
content_answer(struct spool *sp, struct spool_msg *m,
    const struct spool_content_read *c)
{
	const struct spool_req *r = STAILQ_FIRST(&m->reqs);
	struct slice s = slice_make(c->content, c->content != NULL ?
	    (size_t)c->header.content_n : 0);

	if (!sp->closing) {
		r->content_cb(r->arg, m->qid, 0, s, c->fd, SPOOL_HEADER,
		    c->header.content_n, c->header.flags);
	} else if (c->fd != -1) {
		(void)close(c->fd);
	}
	req_drop(sp, m);
}

static void
content_done(struct spool *sp, struct spool_job *job)
{
	struct content_job *j = (struct content_job *)job;
	struct spool_msg *m = j->m;

	m->busy = false;
	if (j->c.error != 0) {
		read_failed(sp, m, j->c.error, j->c.why);
	} else {
		m->checked = true;
		content_answer(sp, m, &j->c);
	}
	free(j->c.content);
	spool_msg_ready(sp, m);
	free(j);
}

static void
content_from_memory(struct spool *sp, struct spool_msg *m)
{
	struct spool_content_read c = { .content = m->content, .fd = -1 };

	c.header.content_n = m->content_n;
	c.header.flags = m->flags;
	content_answer(sp, m, &c);
}

static bool
is_at_hand(const struct spool_msg *m, const struct spool_req *r)
{
	return m->content != NULL && m->content_n <= r->inline_max &&
	    r->inline_max > 0;
}

void
spool_no_file(struct spool *sp, struct spool_msg *m, int error)
{
	const struct spool_req *r = STAILQ_FIRST(&m->reqs);

	if (r != NULL && r->kind == REQ_CONTENT && !is_at_hand(m, r)) {
		spool_req_answer(sp, m, error, false);
	}
}

static void
work_content(struct spool *sp, struct spool_msg *m)
{
	const struct spool_req *r = STAILQ_FIRST(&m->reqs);
	struct content_job *j;

	if (!m->indexed) {
		spool_req_answer(sp, m, ENOENT, false);
		return;
	}
	if (is_at_hand(m, r)) {
		content_from_memory(sp, m);
		return;
	}
	if (!m->filed) { /* a descriptor of what has no file yet */
		spool_settle(sp, m);
		return;
	}
	j = xcalloc(1, sizeof(*j));
	j->job.run = content_run;
	j->job.done = content_done;
	j->m = m;
	j->c.qid = m->qid;
	j->c.parent = spool_msg_parent(m);
	j->c.inline_max = r->inline_max;
	j->c.checked = m->checked;
	m->busy = true;
	spool_submit(sp, SPOOL_READER, &j->job);
}

/* -- state ------------------------------------------------------------------------ */

struct spool_op *
spool_remove_op(const struct spool_msg *m)
{
	struct spool_op *op = spool_op_new(1);

	op->acts[0].kind = ACT_REMOVE;
	op->acts[0].qid = m->qid;
	op->acts[0].parent = spool_msg_parent(m);
	return op;
}

struct spool_op *
spool_append_op(const struct spool_msg *m, struct slice records)
{
	struct spool_op *op = spool_op_new(1);

	op->acts[0].kind = ACT_APPEND;
	op->acts[0].qid = m->qid;
	op->acts[0].parent = spool_msg_parent(m);
	op->acts[0].records = records;
	op->acts[0].end = m->state->end;
	op->acts[0].cut = m->state->cut;
	return op;
}

/* An append, or a removal, that answers the first m->merged requests. */
struct state_job {
	struct journal_entry entry;
	struct spool *sp;
	struct spool_msg *m;
	struct strbuf records;
	bool removes;
};

static void
state_answer(struct spool *sp, struct state_job *j, int error)
{
	struct spool_msg *m = j->m;

	m->busy = false;
	if (error != 0) {
		spool_log_failed(m->qid, j->removes ? "removed" : "changed",
		    error);
	}
	for (; m->merged > 0; m->merged--) {
		spool_req_answer(sp, m, error, j->removes && error == 0);
	}
	spool_msg_ready(sp, m);
	strbuf_clear(&j->records);
	free(j);
}

/* The journal has it, or has failed. */
static void
state_journaled(struct journal_entry *e)
{
	struct state_job *j = e->arg;
	struct spool_msg *m = j->m;

	if (e->error == 0 && j->removes) {
		spool_removed(j->sp, m, e->lsn);
	} else if (e->error == 0) {
		spool_msg_apply(j->sp, m, strbuf_slice(&j->records));
		spool_changed(j->sp, m, strbuf_slice(&j->records), e->lsn);
		if (m->filed) { /* not needed for a while */
			spool_msg_drop_content(j->sp, m);
		}
	}
	state_answer(j->sp, j, e->error);
}

static void
state_done(struct spool *sp, struct spool_job *job)
{
	struct spool_op *op = (struct spool_op *)job;
	struct state_job *j = op->arg;
	struct spool_msg *m = j->m;

	if ((j->removes && op->error == 0) || op->error == ENOENT) {
		spool_msg_leave(sp, m);
	} else if (op->error == 0) {
		m->state->end += j->records.n;
		m->state->cut = false;
		spool_msg_apply(sp, m, strbuf_slice(&j->records));
		spool_msg_drop_content(sp, m); /* not needed for a while */
	} else if (!j->removes) {
		m->state->cut = true;
	}
	state_answer(sp, j, op->error);
	free(op);
}

/* What of the request's records is news, to the end of `out'. */
static void
add_news(const struct spool_msg *m, const struct spool_req *r,
    struct strbuf *out)
{
	struct slice rest = strbuf_slice(&r->records);
	struct spool_record rec;
	const char *at;

	for (at = rest.p; spool_record_next(&rest, m->qid, &rec);
	    at = rest.p) {
		if (rec.kind != SPOOL_REC_FATE ||
		    spool_state_news(m->state, &rec.fate)) {
			(void)strbuf_add(out, at, (size_t)(rest.p - at));
		}
	}
}

static bool
is_sound(const struct spool_msg *m, const struct spool_req *r)
{
	return !r->invalid && r->index_max < m->state->envelope.nrcpts;
}

/* Octets of records in one append, but for those of one request alone. */
#define MERGE_MAX (64 * 1024)

/* Take in the requests that can be answered together; returns how many. */
static size_t
merge_state(const struct spool_msg *m, struct strbuf *out)
{
	const struct spool_req *r;
	size_t n = 0;
	uint8_t crashes = m->state->crashes;

	STAILQ_FOREACH (r, &m->reqs, next) {
		if (r->kind != REQ_STATE || !is_sound(m, r) ||
		    (n > 0 && out->n + r->records.n > MERGE_MAX)) {
			break;
		}
		if (r->crash && crashes < UINT8_MAX) {
			spool_record_crash(out, m->qid, ++crashes);
		}
		add_news(m, r, out);
		n++;
	}
	return n;
}

static void
submit_state(struct spool *sp, struct spool_msg *m, struct strbuf *records)
{
	struct state_job *j = xcalloc(1, sizeof(*j));
	struct spool_op *op;

	j->sp = sp;
	j->m = m;
	j->records = *records;
	j->removes = spool_state_open_after(m->state,
	    strbuf_slice(records)) == 0;
	m->busy = true;
	if (sp->journal != NULL) {
		j->entry.done = state_journaled;
		j->entry.arg = j;
		spool_journal_change(sp, m->qid, j->removes,
		    strbuf_slice(&j->records), &j->entry);
		return;
	}
	op = j->removes ? spool_remove_op(m) :
	    spool_append_op(m, strbuf_slice(&j->records));
	op->arg = j;
	op->job.done = state_done;
	spool_submit(sp, SPOOL_COMMITTER, &op->job);
}

/* As spool_group_may_remove(); EAGAIN also: it waits at the gate. */
static int
may_remove(struct spool *sp, struct spool_msg *m)
{
	const int error = spool_group_may_remove(sp, m);

	return error == 0 && sp->journal != NULL && !spool_gate_pass(sp, m) ?
	    EAGAIN : error;
}

static void
work_state(struct spool *sp, struct spool_msg *m)
{
	struct strbuf records;
	size_t n;
	int error = 0;

	if (!m->indexed) {
		spool_req_answer(sp, m, ENOENT, true);
		return;
	}
	if (!spool_msg_need_state(sp, m)) {
		return;
	}
	if (!is_sound(m, STAILQ_FIRST(&m->reqs))) {
		spool_req_answer(sp, m, EINVAL, false);
		return;
	}
	strbuf_init(&records, 0);
	n = merge_state(m, &records);
	if (spool_state_open_after(m->state, strbuf_slice(&records)) == 0) {
		error = may_remove(sp, m);
	}
	if (error == 0 && (records.n > 0 || m->state->open == 0)) {
		m->merged = n;
		submit_state(sp, m, &records);
		return;
	}
	strbuf_clear(&records);
	if (error != EAGAIN) {
		spool_req_answer(sp, m, error, false);
	}
}

/* -- delete ------------------------------------------------------------------------ */

static void
delete_done(struct spool *sp, struct spool_job *job)
{
	struct spool_op *op = (struct spool_op *)job;
	struct spool_msg *m = op->arg;

	m->busy = false;
	if (op->error == 0) {
		spool_msg_leave(sp, m);
	} else {
		spool_log_failed(m->qid, "removed", op->error);
	}
	spool_req_answer(sp, m, op->error, true);
	spool_msg_ready(sp, m);
	free(op);
}

struct delete_job {
	struct journal_entry entry;
	struct spool *sp;
	struct spool_msg *m;
};

static void
delete_journaled(struct journal_entry *e)
{
	struct delete_job *d = e->arg;

	d->m->busy = false;
	if (e->error == 0) {
		spool_removed(d->sp, d->m, e->lsn);
	} else {
		spool_log_failed(d->m->qid, "removed", e->error);
	}
	spool_req_answer(d->sp, d->m, e->error, true);
	spool_msg_ready(d->sp, d->m);
	free(d);
}

static void
delete_by_journal(struct spool *sp, struct spool_msg *m)
{
	struct delete_job *d = xcalloc(1, sizeof(*d));

	d->sp = sp;
	d->m = m;
	d->entry.done = delete_journaled;
	d->entry.arg = d;
	m->busy = true;
	spool_journal_change(sp, m->qid, true, SL(""), &d->entry);
}

static void
work_delete(struct spool *sp, struct spool_msg *m)
{
	struct spool_op *op;
	int error = m->indexed ? may_remove(sp, m) : ENOENT;

	if (error == EAGAIN) {
		return;
	}
	if (error != 0) {
		spool_req_answer(sp, m, error, false);
		return;
	}
	if (sp->journal != NULL) {
		delete_by_journal(sp, m);
		return;
	}
	op = spool_remove_op(m);
	op->arg = m;
	op->job.done = delete_done;
	m->busy = true;
	spool_submit(sp, SPOOL_COMMITTER, &op->job);
}

/* Works through m's requests until one waits; m may be freed. */
void
spool_msg_work(struct spool *sp, struct spool_msg *m)
{
	const struct spool_req *r;

	if (!m->busy && !m->doomed) { /* until it passes the gate again */
		spool_gate_leave(sp, m);
	}
	while (!m->busy && (r = STAILQ_FIRST(&m->reqs)) != NULL) {
		switch (r->kind) {
		case REQ_INFO:
			work_info(sp, m);
			break;
		case REQ_CONTENT:
			work_content(sp, m);
			break;
		case REQ_STATE:
			work_state(sp, m);
			break;
		case REQ_DELETE:
			work_delete(sp, m);
			break;
		case REQ_GROUP:
			spool_group_work(sp, m);
			break;
		case REQ_SETTLE:
			spool_settle_work(sp, m);
			break;
		}
	}
	spool_msg_release(sp, m);
}
