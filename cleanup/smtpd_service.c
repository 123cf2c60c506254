#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "cleanup/accepting.h"
#include "cleanup/flow.h"
#include "cleanup/resolving.h"
#include "cleanup/smtpd_service.h"
#include "cleanup/tid_table.h"
#include "cleanup/transaction.h"
#include "common/envelope.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define ESC_SENT  15  /* octets of a reply's parts that we send on */
#define TEXT_SENT 500

/* VRFY: a question that has no transaction. */
struct vrfy {
	struct worker *worker;
	uint32_t tid;      /* to answer by */
	uint32_t question; /* at the resolver */
	struct vrfy *prev, *next;
};

struct worker {
	struct smtpd_service *service;
	unsigned index;
	struct ipc_chan *ch; /* NULL: none just now */
	struct tid_table transactions;
	bool overfull;       /* some MAIL was not taken: its tid is unknown */
	bool last_piece;     /* on_content() is at work on one before COMMIT */
	struct vrfy *vrfys;
	unsigned nvrfys;
};

struct smtpd_service {
	struct program *pg;
	struct worker worker[SMTPD_WORKERS_MAX];
};

/* -- answers ---------------------------------------------------------------- */

static struct slice
cut(const char *s, size_t max)
{
	return slice_make(s, strnlen(s, max));
}

static void
put_reply(struct worker *w, enum ipc_type type, uint32_t tid, unsigned code,
    const char *esc, const char *text)
{
	ipc_begin(w->ch, type, tid);
	ipc_put_u(w->ch, code);
	ipc_put_s(w->ch, cut(esc, ESC_SENT));
	ipc_put_s(w->ch, cut(text, TEXT_SENT));
}

static void
send_reply(struct worker *w, enum ipc_type type, uint32_t tid, unsigned code,
    const char *esc, const char *text)
{
	if (w->ch != NULL) {
		put_reply(w, type, tid, code, esc, text);
		ipc_end(w->ch);
	}
}

static void
on_verdict(void *owner, uint32_t tid, unsigned code, const char *esc,
    const char *text)
{
	send_reply(owner, IPC_VERDICT, tid, code, esc, text);
}

static void
on_content_ack(void *owner, uint32_t tid, const struct reply *r)
{
	struct worker *w = owner;

	if (w->ch == NULL) {
		return;
	}
	put_reply(w, IPC_CONTENT_ACK, tid, r->code, r->esc, r->text);
	if (w->last_piece) {
		ipc_end_later(w->ch); /* COMMITTED is what smtpd waits for */
	} else {
		ipc_end(w->ch);
	}
}

static void
on_committed(void *owner, uint32_t tid, uint64_t qid, const struct reply *r)
{
	struct worker *w = owner;

	(void)qid;
	tid_table_drop(&w->transactions, tid);
	send_reply(w, IPC_COMMITTED, tid, r->code, r->esc, r->text);
}

static const struct transaction_ops transaction_ops = {
	.verdict = on_verdict,
	.content_ack = on_content_ack,
	.committed = on_committed,
};

/* -- questions -------------------------------------------------------------- */

static bool
on_mail(struct worker *w, const struct ipc_msg *m)
{
	const struct transaction_start start = {
		.reverse_path = ipc_s(m, 0),
		.flags = (uint32_t)ipc_u(m, 1),
		.client_addr = ipc_s(m, 3), .client_name = ipc_s(m, 4),
		.helo = ipc_s(m, 5), .proto = ipc_s(m, 6),
		.uid = (uint32_t)ipc_u(m, 7), .trusted = ipc_u(m, 8) != 0,
	};

	if (!transaction_text_ok(start.reverse_path, ENVELOPE_PATH_MAX) ||
	    !transaction_text_ok(start.client_addr, ENVELOPE_STR_MAX) ||
	    !transaction_text_ok(start.client_name, ENVELOPE_STR_MAX) ||
	    !transaction_text_ok(start.helo, ENVELOPE_STR_MAX) ||
	    !transaction_text_ok(start.proto, ENVELOPE_STR_MAX) ||
	    ipc_u(m, 7) > UINT32_MAX || ipc_u(m, 8) > 1 ||
	    tid_table_get(&w->transactions, m->tid) != NULL) {
		return false;
	}
	if (w->transactions.used >= SMTPD_TRANSACTIONS_MAX) {
		w->overfull = true;
		return true;
	}
	tid_table_put(&w->transactions, m->tid, transaction_new(w->service->pg,
	    &start, &transaction_ops, w, m->tid));
	return true;
}

/* A message about a transaction that we do not have: its MAIL found no room,
   or the peer talks nonsense. */
static bool
not_there(struct worker *w, enum ipc_type answer, uint32_t tid)
{
	const struct reply busy = REPLY_BUSY;

	if (w->overfull) {
		send_reply(w, answer, tid, busy.code, busy.esc, busy.text);
	}
	return w->overfull;
}

static bool
on_rcpt(struct worker *w, const struct ipc_msg *m)
{
	struct transaction *t = tid_table_get(&w->transactions, m->tid);

	return t != NULL ? transaction_rcpt(t, ipc_s(m, 0)) :
	    not_there(w, IPC_VERDICT, m->tid);
}

static bool
on_content(struct worker *w, const struct ipc_msg *m)
{
	struct transaction *t = tid_table_get(&w->transactions, m->tid);
	bool ok;

	if (ipc_s(m, 0).n > IPC_PIECE_MAX || ipc_u(m, 1) > 1) {
		return false;
	}
	if (t == NULL) {
		return not_there(w, IPC_CONTENT_ACK, m->tid);
	}
	w->last_piece = ipc_u(m, 1) == 1;
	ok = transaction_content(t, ipc_s(m, 0));
	w->last_piece = false;
	return ok;
}

static bool
on_commit(struct worker *w, const struct ipc_msg *m)
{
	struct transaction *t = tid_table_get(&w->transactions, m->tid);

	if (ipc_u(m, 0) > UINT32_MAX) {
		return false;
	}
	return t != NULL ?
	    transaction_commit(t, (uint32_t)ipc_u(m, 0), ipc_u(m, 1)) :
	    not_there(w, IPC_COMMITTED, m->tid);
}

/* May come too late, when the end was told already: then it finds nothing. */
static bool
on_abort(struct worker *w, const struct ipc_msg *m)
{
	struct transaction *t = tid_table_get(&w->transactions, m->tid);

	tid_table_drop(&w->transactions, m->tid);
	transaction_end(t);
	if (w->transactions.used == 0) {
		w->overfull = false;
	}
	return true;
}

static void
vrfy_free(struct vrfy *v)
{
	struct worker *w = v->worker;

	*(v->prev != NULL ? &v->prev->next : &w->vrfys) = v->next;
	if (v->next != NULL) {
		v->next->prev = v->prev;
	}
	w->nvrfys--;
	free(v);
}

static void
on_vrfy_decision(void *arg, const struct decision *d, struct memo *trace)
{
	struct vrfy *v = arg;

	(void)trace;
	send_reply(v->worker, IPC_VERDICT, v->tid, d->code, d->esc, d->text);
	vrfy_free(v);
}

static bool
on_resolve(struct worker *w, const struct ipc_msg *m)
{
	const struct resolve_request rq = {
		.reverse_path = ipc_s(m, 0), .forward_path = ipc_s(m, 1),
		.client_addr = ipc_s(m, 2), .trusted = ipc_u(m, 4) != 0,
	};
	const struct reply busy = REPLY_BUSY;
	struct vrfy *v;
	uint32_t id;

	if (!transaction_text_ok(rq.reverse_path, ENVELOPE_PATH_MAX) ||
	    !transaction_text_ok(rq.forward_path, ENVELOPE_PATH_MAX) ||
	    !transaction_text_ok(rq.client_addr, ENVELOPE_STR_MAX)) {
		return false;
	}
	if (w->nvrfys >= SMTPD_TRANSACTIONS_MAX) {
		send_reply(w, IPC_VERDICT, m->tid, busy.code, busy.esc,
		    busy.text);
		return true;
	}
	v = xcalloc(1, sizeof(*v));
	*v = (struct vrfy){ .worker = w, .tid = m->tid, .next = w->vrfys };
	if (w->vrfys != NULL) {
		w->vrfys->prev = v;
	}
	w->vrfys = v;
	w->nvrfys++;
	id = resolving_ask(w->service->pg->resolving, &rq, on_vrfy_decision, v);
	if (id != 0) { /* else v is answered and gone */
		v->question = id;
	}
	return true;
}

/* -- channels --------------------------------------------------------------- */

static const struct {
	enum ipc_type type;
	bool (*handle)(struct worker *w, const struct ipc_msg *m);
} handlers[] = {
	{ IPC_MAIL, on_mail },
	{ IPC_RCPT, on_rcpt },
	{ IPC_CONTENT, on_content },
	{ IPC_COMMIT, on_commit },
	{ IPC_ABORT, on_abort },
	{ IPC_RESOLVE, on_resolve },
};

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	size_t i;

	flow_check(ch);
	for (i = 0; i < NELEMS(handlers); i++) {
		if (handlers[i].type == m->type) {
			return handlers[i].handle(owner, m);
		}
	}
	return false;
}

/* Forget all that the worker has begun. */
static void
worker_clear(struct worker *w)
{
	struct transaction *t;
	uint32_t tid, place = 0;

	while ((t = tid_table_any(&w->transactions, &place, &tid)) != NULL) {
		tid_table_drop(&w->transactions, tid);
		transaction_end(t);
	}
	tid_table_clear(&w->transactions);
	while (w->vrfys != NULL) {
		resolving_cancel(w->service->pg->resolving, w->vrfys->question);
		vrfy_free(w->vrfys);
	}
	ipc_chan_free(w->ch);
	w->ch = NULL;
	w->overfull = false;
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct worker *w = owner;

	(void)ch;
	log_info("the channel to smtpd %u closed: %s; %u transactions forgotten",
	    w->index, why, (unsigned)w->transactions.used);
	worker_clear(w);
}

static const struct ipc_chan_ops smtpd_ops = {
	.me = IPC_CLEANUP, .peer = IPC_SMTPD,
	.message = on_message, .closed = on_closed, .drained = flow_drained,
};

static void
tell_accepting(struct worker *w, const struct reply *r)
{
	send_reply(w, IPC_ACCEPTING, 0, r->code, r->esc, r->text);
}

void
smtpd_service_channel(struct smtpd_service *s, unsigned index, int fd)
{
	struct worker *w;
	struct reply r = accepting_reply(s->pg->accepting);

	if (index >= SMTPD_WORKERS_MAX) {
		log_error("a channel to smtpd %u: there are only %d", index,
		    SMTPD_WORKERS_MAX);
		(void)close(fd);
		return;
	}
	w = &s->worker[index];
	worker_clear(w);
	w->ch = ipc_chan_new(s->pg->base, fd, &smtpd_ops, w);
	tell_accepting(w, &r);
}

void
smtpd_service_accepting(struct smtpd_service *s, const struct reply *r)
{
	unsigned i;

	for (i = 0; i < SMTPD_WORKERS_MAX; i++) {
		tell_accepting(&s->worker[i], r);
	}
}

size_t
smtpd_service_open(const struct smtpd_service *s)
{
	size_t i, n = 0;

	for (i = 0; i < SMTPD_WORKERS_MAX; i++) {
		n += s->worker[i].transactions.used + s->worker[i].nvrfys;
	}
	return n;
}

struct smtpd_service *
smtpd_service_new(struct program *pg)
{
	struct smtpd_service *s = xcalloc(1, sizeof(*s));
	unsigned i;

	s->pg = pg;
	for (i = 0; i < SMTPD_WORKERS_MAX; i++) {
		s->worker[i].service = s;
		s->worker[i].index = i;
		tid_table_init(&s->worker[i].transactions);
	}
	return s;
}

void
smtpd_service_free(struct smtpd_service *s)
{
	unsigned i;

	if (s == NULL) {
		return;
	}
	for (i = 0; i < SMTPD_WORKERS_MAX; i++) {
		worker_clear(&s->worker[i]);
	}
	free(s);
}
