/*
 * The requests of a message, in order: the one at the head is answered from
 * memory, or sets a job going and waits for it (m->busy).
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
			spool_state_work(sp, m);
			break;
		case REQ_DELETE:
			spool_delete_work(sp, m);
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
