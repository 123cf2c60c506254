/*
 * Content on its way from the client to cleanup: one piece unacknowledged, the
 * last piece and COMMIT together. When nobody wants the rest any more (a bad
 * line, too much of it, cleanup refuses, cleanup is gone) it is read to its end
 * all the same, and the reply comes there.
 */
#include "config.h"

#include <stdlib.h>

#include "common/envelope.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "smtpd/session.h"

#define ENDLESS_MORE (64u * 1024 * 1024) /* beyond twice the limit: give up */

/* `last': COMMIT follows in the same turn. */
static void
send_piece(struct session *s, bool last)
{
	struct transaction *t = s->t;
	struct ipc_chan *ch = s->srv->cleanup;

	ipc_begin(ch, IPC_CONTENT, t->tid);
	ipc_put_s(ch, strbuf_slice(&t->piece));
	ipc_put_u(ch, last ? 1 : 0);
	ipc_end(ch);
	t->unacked = true;
	strbuf_reset(&t->piece);
}

/* The content is whole: the last piece and COMMIT, when the last but one is
   acknowledged. */
static void
commit(struct session *s)
{
	struct transaction *t = s->t;
	struct ipc_chan *ch = s->srv->cleanup;

	if (t->piece.n > 0) {
		if (t->unacked) {
			return;
		}
		send_piece(s, true);
		strbuf_clear(&t->piece);
	}
	ipc_begin(ch, IPC_COMMIT, t->tid);
	ipc_put_u(ch, t->flags | t->data.flags);
	ipc_put_u(ch, t->data.size);
	ipc_end(ch);
	t->committed = true;
}

/* The transaction ends without a message. */
static void
refuse(struct session *s, enum smtpd_reply_id id)
{
	session_log_reply(s, "END-OF-MESSAGE", id, NULL);
	session_reply(s, id);
	transaction_end(s);
}

static void
refuse_with(struct session *s, const struct answer *a)
{
	session_log_reject(s, "END-OF-MESSAGE", a, NULL);
	session_say(s, a);
	transaction_end(s);
}

static void
finish(struct session *s)
{
	struct transaction *t = s->t;

	s->verb = "END-OF-MESSAGE";
	switch (t->data.verdict) {
	case DATA_GOOD:
		session_set_state(s, SMTPD_COMMITTING);
		session_await(s, AWAIT_COMMIT);
		commit(s);
		return;
	case DATA_BARE:
		refuse(s, SMTPD_R_CONTENT_BARE);
		return;
	case DATA_NUL:
		refuse(s, SMTPD_R_CONTENT_NUL);
		return;
	case DATA_TOO_BIG:
		refuse(s, SMTPD_R_SIZE_CONTENT);
		return;
	case DATA_UNWANTED:
		if (t->refusal != NULL) {
			refuse_with(s, t->refusal);
		} else {
			refuse(s, SMTPD_R_UPSTREAM);
		}
	}
}

bool
content_run(struct session *s)
{
	struct transaction *t = s->t;
	struct data_parser *d = &t->data;
	size_t n = data_parse(d, s->input, &t->piece, IPC_PIECE_MAX);

	s->input.p += n;
	s->input.n -= n;
	if (d->verdict != DATA_GOOD && t->tid != 0) {
		transaction_abort(s);
		strbuf_clear(&t->piece);
	}
	if (d->done) {
		finish(s);
		return s->awaits == AWAIT_NOTHING;
	}
	if (d->taken > 2 * d->limit + ENDLESS_MORE) {
		session_reply_last(s, SMTPD_R_ENDLESS_CONTENT);
		return false;
	}
	if (s->input.n == 0 || t->unacked) {
		return false;
	}
	if (t->tid != 0) {
		send_piece(s, false);
	}
	return true;
}

void
content_push(struct session *s)
{
	struct transaction *t = s->t;

	if (t->tid != 0 && !t->unacked && t->piece.n >= SESSION_PIECE_MIN) {
		send_piece(s, false);
	}
}

void
content_refuse(struct session *s, const struct answer *a)
{
	struct transaction *t = s->t;

	transaction_abort(s);
	strbuf_clear(&t->piece);
	if (s->state == SMTPD_COMMITTING) {
		s->awaits = AWAIT_NOTHING;
		if (a != NULL) {
			refuse_with(s, a);
		} else {
			refuse(s, SMTPD_R_UPSTREAM);
		}
		return;
	}
	if (t->data.verdict == DATA_GOOD) {
		t->data.verdict = DATA_UNWANTED;
	}
	if (a != NULL && t->refusal == NULL) {
		t->refusal = xmalloc(sizeof(*t->refusal));
		*t->refusal = *a;
	}
}

/* "client=" in the log, with the queue id that cleanup's text names. */
static void
log_queued(const struct session *s, const struct answer *a)
{
	struct slice rest = slice_of(a->text), word, last = SL("NOQUEUE");
	char peer[64];

	while (slice_word(&rest, " ", &word)) {
		last = word;
	}
	if (s->submit) {
		log_info("%.*s: client=%s, uid=%u", SLF(last),
		    session_peer(s, peer), s->uid);
	} else {
		log_info("%.*s: client=%s", SLF(last), session_peer(s, peer));
	}
}

static void
committed(struct session *s, const struct answer *a)
{
	s->awaits = AWAIT_NOTHING;
	transaction_detach(s);
	if (a->code / 100 != 2) {
		refuse_with(s, a);
		return;
	}
	log_queued(s, a);
	session_say(s, a);
	s->messages++;
	session_progress(s);
	transaction_end(s);
}

bool
content_answer(struct session *s, enum ipc_type type, const struct answer *a)
{
	struct transaction *t = s->t;

	if (type == IPC_COMMITTED) {
		if (!t->committed || a->code == 0) {
			return false;
		}
		committed(s, a);
		return true;
	}
	if (!t->unacked || (a->code != 0 && a->code / 100 == 2)) {
		return false;
	}
	t->unacked = false;
	if (a->code != 0) {
		content_refuse(s, a);
	} else if (s->state == SMTPD_COMMITTING && !t->committed) {
		commit(s);
	}
	return true;
}
