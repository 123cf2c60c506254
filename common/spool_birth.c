/*
 * Messages on their way to be durable: large ones are finished by the writer,
 * then one operation of the committer makes and names them all.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "common/codec.h"
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
	b->msgs = n == 1 ? &b->one_msg : xcalloc(n, sizeof(struct spool_msg *));
	b->drafts = n == 1 ? &b->one_draft :
	    xcalloc(n, sizeof(struct spool_draft *));
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
	if (b->n != 1) {
		free(b->drafts);
		free(b->msgs);
	}
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

/* -- into the journal ------------------------------------------------------------- */

static void
journaled(struct journal_entry *e)
{
	struct spool_birth *b = e->arg;
	size_t i;

	b->error = e->error;
	for (i = 0; i < b->n && b->error == 0; i++) {
		b->msgs[i]->filed = false;
		spool_anchor(b->sp, b->msgs[i], e->lsn);
	}
	b->done(b->sp, b);
}

/* All contents are in memory: else there is a file already. */
static bool
is_in_memory(const struct spool_birth *b)
{
	size_t i;

	for (i = 0; i < b->n; i++) {
		if (b->drafts[i] != NULL) {
			return false;
		}
	}
	return true;
}

/* One entry for all: the parent's fates and its children. */
static bool
append_group(struct spool_birth *b)
{
	const bool done = spool_state_open_after(b->parent->state,
	    strbuf_slice(&b->fates)) == 0;
	struct strbuf body, image;
	struct slice part;
	size_t i;
	bool fits;

	strbuf_init(&body, 0);
	enc_u8(&body, done);
	enc_slice(&body, done ? SL("") : strbuf_slice(&b->fates));
	for (i = 0; i < b->n; i++) {
		strbuf_init(&image, 0);
		spool_add_image(b->msgs[i], &image);
		enc_u64(&body, b->msgs[i]->qid);
		enc_slice(&body, strbuf_slice(&image));
		strbuf_clear(&image);
	}
	part = strbuf_slice(&body);
	fits = spool_fits_journal(b->sp, part.n);
	if (fits) {
		journal_append(b->sp->journal, &b->entry, JOURNAL_RESERVED,
		    SPOOL_ENTRY_GROUP, b->parent->qid, &part, 1);
	}
	strbuf_clear(&body);
	return fits;
}

bool
spool_birth_journal(struct spool_birth *b)
{
	if (b->sp->journal == NULL || !is_in_memory(b)) {
		return false;
	}
	b->entry.done = journaled;
	b->entry.arg = b;
	return b->parent != NULL ? append_group(b) :
	    spool_journal_message(b->sp, b->msgs[0], &b->entry);
}

/* -- into files ---------------------------------------------------------------------- */

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
	if (b->parent == NULL && spool_birth_journal(b)) {
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
