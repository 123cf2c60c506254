/*
 * The requests that change a message, or remove it: by an entry of the journal,
 * or, without one, by an operation of the committer on its file. Changes that
 * stand one behind the other become one.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "common/spool_int.h"
#include "common/xmalloc.h"

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

void
spool_state_work(struct spool *sp, struct spool_msg *m)
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

void
spool_delete_work(struct spool *sp, struct spool_msg *m)
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
