#include "config.h"

#include <stdlib.h>

#include "common/envelope.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "smtpd/session.h"

void
transaction_begin(struct session *s, struct slice reverse_path, uint64_t size,
    uint32_t flags)
{
	struct transaction *t = xcalloc(1, sizeof(*t));

	t->reverse_path = xslicedup(reverse_path);
	t->size = size;
	t->flags = flags | (s->submit ? CONTENT_LOCAL : 0);
	strbuf_init(&t->piece, 0);
	s->t = t;
	session_set_state(s, SMTPD_MAIL);
}

bool
transaction_open(struct session *s)
{
	struct transaction *t = s->t;
	struct ipc_chan *ch = s->srv->cleanup;

	if (t->lost || !upstream_alive(s->srv)) {
		return false;
	}
	if (t->tid != 0) {
		return true;
	}
	t->tid = slots_add(&s->srv->tids, s);
	if (t->tid == 0) {
		return false;
	}
	ipc_begin(ch, IPC_MAIL, t->tid);
	ipc_put_str(ch, t->reverse_path);
	ipc_put_u(ch, t->flags);
	ipc_put_u(ch, t->size);
	ipc_put_str(ch, s->addr);
	ipc_put_str(ch, s->submit ? "localhost" : "unknown");
	ipc_put_str(ch, s->helo != NULL ? s->helo : "");
	ipc_put_str(ch, s->submit ? "local" : s->esmtp ? "ESMTP" : "SMTP");
	ipc_put_u(ch, s->uid);
	ipc_put_u(ch, s->submit ? 1 : 0);
	ipc_end(ch);
	return true;
}

void
transaction_detach(struct session *s)
{
	if (s->t->tid != 0) {
		slots_drop(&s->srv->tids, s->t->tid);
		s->t->tid = 0;
	}
	s->t->unacked = false;
}

void
transaction_abort(struct session *s)
{
	if (s->t->tid != 0 && upstream_alive(s->srv)) {
		ipc_begin(s->srv->cleanup, IPC_ABORT, s->t->tid);
		ipc_end(s->srv->cleanup);
	}
	transaction_detach(s);
}

void
transaction_end(struct session *s)
{
	struct transaction *t = s->t;

	if (t == NULL) {
		return;
	}
	transaction_abort(s);
	s->t = NULL;
	free(t->reverse_path);
	free(t->forward_path);
	free(t->refusal);
	strbuf_clear(&t->piece);
	free(t);
	if (s->state != SMTPD_CLOSING) {
		session_set_state(s, SMTPD_READY);
	}
}
