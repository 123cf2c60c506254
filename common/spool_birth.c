/*
 * Messages on their way to be durable: large ones are finished by the writer,
 * then one operation of the committer makes and names them all.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "common/spool_int.h"
#include "common/xmalloc.h"

/* Nothing is begun: what no caller may ask for. */
static void
refused(struct spool *sp, struct spool_job *job)
{
	struct spool_birth *b = (struct spool_birth *)job;

	b->error = EINVAL;
	b->done(sp, b);
}

static bool
is_sound(const struct spool_birth *b)
{
	size_t i;

	for (i = 0; i < b->n; i++) {
		const struct envelope *e = &b->msgs[i]->state->envelope;

		if (e->nrcpts == 0 || e->nrcpts > ENVELOPE_RCPT_MAX) {
			return false;
		}
	}
	return true;
}

struct spool_birth *
spool_birth_new(struct spool *sp, struct spool_draft **drafts,
    struct envelope *es, size_t n)
{
	struct spool_birth *b = xcalloc(1, sizeof(*b));
	size_t i;

	b->sp = sp;
	b->n = n;
	b->job.done = refused;
	b->msgs = xcalloc(n, sizeof(struct spool_msg *));
	b->drafts = xcalloc(n, sizeof(struct spool_draft *));
	strbuf_init(&b->fates, 0);
	for (i = 0; i < n; i++) {
		struct spool_msg *m =
		    spool_msg_new(spool_draft_qid(drafts[i]));
		struct spool_header h = { .qid = m->qid,
			.content_n = spool_draft_size(drafts[i]),
			.flags = es[i].flags };

		es[i].qid = m->qid;
		es[i].arrived_us = spool_clock(sp);
		m->flags = es[i].flags;
		m->checked = true;
		m->state = spool_state_new(&h, &es[i]);
		if (spool_draft_filed(drafts[i])) {
			b->drafts[i] = drafts[i];
		} else {
			m->content = spool_draft_take(drafts[i],
			    &m->content_n);
			spool_draft_free(drafts[i]);
		}
		b->msgs[i] = m;
	}
	return b;
}

void
spool_birth_free(struct spool_birth *b)
{
	size_t i;

	for (i = 0; i < b->n; i++) {
		spool_draft_free(b->drafts[i]);
		if (b->msgs[i] != NULL) {
			spool_msg_free(b->msgs[i]);
		}
		if (b->records != NULL) {
			strbuf_clear(&b->records[i]);
		}
	}
	free(b->records);
	free(b->drafts);
	free(b->msgs);
	strbuf_clear(&b->fates);
	free(b);
}

void
spool_birth_settle(struct spool_birth *b, size_t i)
{
	struct spool_msg *m = b->msgs[i];
	struct spool_state *st = m->state;

	b->msgs[i] = NULL;
	m->state = NULL;
	spool_msg_keep_state(b->sp, m, st);
	spool_msg_keep_content(b->sp, m);
	spool_msg_enter(b->sp, m);
}

void
spool_announce(struct spool *sp, uint64_t qid)
{
	if (sp->accepted != NULL && !sp->closing) {
		sp->accepted(sp->accepted_arg, qid);
	}
}

static void
birth_done(struct spool *sp, struct spool_job *job)
{
	struct spool_op *op = (struct spool_op *)job;
	struct spool_birth *b = op->arg;

	b->error = op->error;
	free(op);
	b->done(sp, b);
}

static void
commit(struct spool_birth *b)
{
	struct spool_op *op = spool_op_new(b->n);
	size_t i;

	for (i = 0; i < b->n; i++) {
		struct spool_act *a = &op->acts[i];
		struct spool_msg *m = b->msgs[i];

		a->kind = b->drafts[i] != NULL ? ACT_PUBLISH : ACT_CREATE;
		a->qid = m->qid;
		a->parent = b->parent != NULL ? b->parent->qid : 0;
		a->state = m->state;
		a->content = m->content;
		a->content_n = m->content_n;
		if (b->records != NULL) {
			a->records = strbuf_slice(&b->records[i]);
		}
		if (b->drafts[i] != NULL) {
			spool_draft_given(b->drafts[i]);
		}
	}
	op->arg = b;
	op->job.done = birth_done;
	spool_submit(b->sp, SPOOL_COMMITTER, &op->job);
}

static void
draft_written(void *arg, int error)
{
	struct spool_birth *b = arg;

	if (b->error == 0) {
		b->error = error;
	}
	if (--b->waiting > 0) {
		return;
	}
	if (b->error != 0) {
		b->done(b->sp, b);
	} else {
		commit(b);
	}
}

void
spool_birth_start(struct spool_birth *b)
{
	size_t i;

	if (!is_sound(b)) {
		spool_later(b->sp, &b->job);
		return;
	}
	for (i = 0; i < b->n; i++) {
		if (b->drafts[i] != NULL) {
			b->waiting++;
			spool_draft_finish(b->drafts[i], b->msgs[i]->state,
			    b->records != NULL ? strbuf_slice(&b->records[i]) :
			    SL(""), draft_written, b);
		}
	}
	if (b->waiting == 0) {
		commit(b);
	}
}
