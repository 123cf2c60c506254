#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup/flow.h"
#include "cleanup/queue_int.h"
#include "common/envelope.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"

#define REASON_SENT 500 /* octets of a text that we send */

struct asked *
queue_asked_new(struct queue_service *s, const struct ipc_msg *m)
{
	struct asked *a = xcalloc(1, sizeof(*a));

	a->s = s;
	a->epoch = s->epoch;
	a->tid = m->tid;
	a->qid = m->nfields > 0 && m->type != IPC_KEEP ? ipc_u(m, 0) : 0;
	a->next = s->asks;
	if (s->asks != NULL) {
		s->asks->prev = a;
	}
	s->asks = a;
	s->asked++;
	return a;
}

struct ipc_chan *
queue_asked_end(struct asked *a)
{
	struct queue_service *s = a->s;
	struct ipc_chan *ch = a->epoch == s->epoch ? s->ch : NULL;

	*(a->prev != NULL ? &a->prev->next : &s->asks) = a->next;
	if (a->next != NULL) {
		a->next->prev = a->prev;
	}
	entry_routes_free(a->routes);
	requeue_cancel(a->requeue);
	notice_job_cancel(a->notice);
	free(a);
	if (s->asked-- == QUEUE_ASKED_MAX && s->ch != NULL) {
		ipc_chan_pause(s->ch, false);
	}
	return ch;
}

/* -- GET -------------------------------------------------------------------- */

static void
send_gone(struct ipc_chan *ch, uint32_t tid, int error)
{
	ipc_begin(ch, IPC_GONE, tid);
	ipc_put_u(ch, error == ENOENT || error == EBADMSG ? 0 : 1);
	ipc_put_str(ch, error == ENOENT ? "no such message" :
	    error == EBADMSG ? "the message is damaged and was set aside" :
	    strerror(error));
	ipc_end(ch);
}

static void
on_page(void *arg, uint64_t qid, int error, const struct spool_info *info)
{
	struct asked *a = arg;
	struct queue_service *s = a->s;
	uint32_t tid = a->tid, from = a->from;
	struct ipc_chan *ch = queue_asked_end(a);

	(void)qid;
	if (ch == NULL) {
		return;
	}
	if (error != 0) {
		send_gone(ch, tid, error);
	} else {
		entry_send(ch, tid, info, from, &s->page);
	}
}

static void
on_routed(void *arg)
{
	struct asked *a = arg;

	if (a->epoch == a->s->epoch) {
		entry_routes_send(a->routes, a->s->ch, a->tid, &a->s->page);
	}
	(void)queue_asked_end(a);
}

static void
on_page_to_route(void *arg, uint64_t qid, int error,
    const struct spool_info *info)
{
	struct asked *a = arg;

	if (error != 0 || a->epoch != a->s->epoch) {
		on_page(arg, qid, error, info);
		return;
	}
	entry_routes_ask(a->s->pg->resolving, info, a->from, &a->routes,
	    on_routed, a);
}

static bool
on_get(struct queue_service *s, const struct ipc_msg *m)
{
	struct asked *a;

	if (ipc_u(m, 1) > UINT32_MAX || ipc_u(m, 2) > 1) {
		return false;
	}
	a = queue_asked_new(s, m);
	a->from = (uint32_t)ipc_u(m, 1);
	spool_info_get(s->pg->spool, a->qid,
	    ipc_u(m, 2) == 1 ? on_page_to_route : on_page, a);
	return true;
}

/* -- FATES ------------------------------------------------------------------ */

static void
on_fates_done(void *arg, uint64_t qid, int error, bool gone)
{
	struct asked *a = arg;
	uint32_t tid = a->tid;
	struct ipc_chan *ch = queue_asked_end(a);

	if (ch != NULL) {
		ipc_begin(ch, IPC_FATES_ACK, tid);
		ipc_put_u(ch, qid);
		ipc_put_u(ch, (uint64_t)error);
		ipc_put_u(ch, gone ? 1 : 0);
		if (error == 0 && gone) {
			ipc_end_later(ch); /* all is over: nothing waits */
		} else {
			ipc_end(ch);
		}
	}
}

static bool
on_fates(struct queue_service *s, const struct ipc_msg *m)
{
	struct fate_item items[ENVELOPE_PAGE_RCPTS];
	struct slice in = ipc_s(m, 1);
	size_t n = 0;
	bool bad = false;

	while (n < NELEMS(items) && fate_item_decode(&in, &items[n], &bad)) {
		n++;
	}
	if (bad || in.n > 0 || n == 0) {
		return false;
	}
	spool_fates(s->pg->spool, ipc_u(m, 0), items, n, on_fates_done,
	    queue_asked_new(s, m));
	return true;
}

/* -- MARK ------------------------------------------------------------------- */

enum { MARK_DONE, MARK_NO_SUCH, MARK_FAILED };

static void
answer_mark(struct asked *a, unsigned result, const char *text)
{
	uint32_t tid = a->tid;
	uint64_t qid = a->qid;
	struct ipc_chan *ch = queue_asked_end(a);

	if (ch != NULL) {
		ipc_begin(ch, IPC_MARKED, tid);
		ipc_put_u(ch, qid);
		ipc_put_u(ch, result);
		ipc_put_s(ch, slice_make(text, strnlen(text, REASON_SENT)));
		ipc_end(ch);
	}
}

static void
on_marked(void *arg, uint64_t qid, int error)
{
	(void)qid;
	answer_mark(arg, error == 0 ? MARK_DONE :
	    error == ENOENT ? MARK_NO_SUCH : MARK_FAILED,
	    error == 0 ? "" : strerror(error));
}

static void
on_requeued(void *arg, int error, const char *text)
{
	struct asked *a = arg;

	a->requeue = NULL; /* it ends by itself */
	answer_mark(a, error == 0 ? MARK_DONE :
	    error == ENOENT ? MARK_NO_SUCH : MARK_FAILED, text);
}

static void
hold(struct queue_service *s, uint64_t qid, struct slice reason,
    struct asked *a)
{
	struct strbuf text;

	strbuf_init(&text, REPLY_TEXT_MAX);
	strbuf_add_quoted(&text, reason, REPLY_TEXT_MAX / 4 - 1);
	spool_hold(s->pg->spool, qid, true, strbuf_slice(&text), on_marked, a);
	strbuf_clear(&text);
}

static bool
on_mark(struct queue_service *s, const struct ipc_msg *m)
{
	uint64_t qid = ipc_u(m, 0);
	struct asked *a;

	if (ipc_u(m, 1) > IPC_MARK_CRASHED) {
		return false;
	}
	a = queue_asked_new(s, m);
	switch ((enum ipc_mark)ipc_u(m, 1)) {
	case IPC_MARK_HOLD:
		hold(s, qid, ipc_s(m, 2), a);
		break;
	case IPC_MARK_RELEASE:
		spool_hold(s->pg->spool, qid, false, SL(""), on_marked, a);
		break;
	case IPC_MARK_DELETE:
		spool_delete(s->pg->spool, qid, on_marked, a);
		break;
	case IPC_MARK_REQUEUE:
		a->requeue = requeue_start(s->pg, qid, on_requeued, a);
		break;
	case IPC_MARK_CRASHED:
		spool_crashed(s->pg->spool, qid, on_marked, a);
		break;
	}
	return true;
}

/* -- NOTICE ----------------------------------------------------------------- */

static void
on_noticed(void *arg, enum notice_result r, bool gone, const char *text)
{
	struct asked *a = arg;
	uint32_t tid = a->tid, kind = a->from;
	uint64_t qid = a->qid;
	struct ipc_chan *ch;

	a->notice = NULL; /* it ends by itself */
	ch = queue_asked_end(a);
	if (ch != NULL) {
		ipc_begin(ch, IPC_NOTICED, tid);
		ipc_put_u(ch, qid);
		ipc_put_u(ch, kind);
		ipc_put_u(ch, (uint64_t)r);
		ipc_put_u(ch, gone ? 1 : 0);
		ipc_put_s(ch, slice_make(text, strnlen(text, REASON_SENT)));
		ipc_end(ch);
	}
}

static bool
on_notice(struct queue_service *s, const struct ipc_msg *m)
{
	struct asked *a;

	if (ipc_u(m, 1) > IPC_NOTICE_DELAYED) {
		return false;
	}
	a = queue_asked_new(s, m);
	a->from = (uint32_t)ipc_u(m, 1);
	a->notice = notice_job_start(s->pg, a->qid, a->from, on_noticed, a);
	return true;
}

/*
 * Orders whose asker has gone: it gives them again. What is in the spool already
 * goes on; an order that comes anew is read behind it, and finds it done.
 */
static void
forget_notices(struct queue_service *s)
{
	struct asked *a, *next;

	for (a = s->asks; a != NULL; a = next) {
		next = a->next;
		if (a->notice != NULL) {
			(void)queue_asked_end(a);
		}
	}
}

/* -- KEEP and LOAD -------------------------------------------------------- */

static void
on_kept(void *arg, int error, struct slice text)
{
	struct asked *a = arg;
	uint32_t tid = a->tid;
	struct ipc_chan *ch = queue_asked_end(a);

	(void)text;
	if (ch != NULL) {
		ipc_begin(ch, IPC_KEPT, tid);
		ipc_put_u(ch, (uint64_t)error);
		ipc_put_str(ch, error == 0 ? "" : strerror(error));
		ipc_end(ch);
	}
}

static bool
on_keep(struct queue_service *s, const struct ipc_msg *m)
{
	if (ipc_s(m, 0).n > SPOOL_KEEP_MAX) {
		return false;
	}
	spool_keep(s->pg->spool, ipc_s(m, 0), on_kept, queue_asked_new(s, m));
	return true;
}

static void
on_loaded(void *arg, int error, struct slice text)
{
	struct asked *a = arg;
	uint32_t tid = a->tid;
	struct ipc_chan *ch = queue_asked_end(a);

	if (error == EFBIG) { /* as good as none */
		log_error("spool: queue/kept is too large; it is ignored");
		error = 0;
	} else if (error != 0) {
		log_error("spool: queue/kept cannot be read: %s",
		    strerror(error));
	}
	if (ch != NULL) {
		ipc_begin(ch, IPC_LOADED, tid);
		ipc_put_u(ch, (uint64_t)error);
		ipc_put_s(ch, text);
		ipc_end(ch);
	}
}

static bool
on_load(struct queue_service *s, const struct ipc_msg *m)
{
	spool_kept(s->pg->spool, on_loaded, queue_asked_new(s, m));
	return true;
}

/* -- the channel ------------------------------------------------------------ */

static const struct {
	enum ipc_type type;
	bool (*handle)(struct queue_service *s, const struct ipc_msg *m);
} handlers[] = {
	{ IPC_TAKE, queue_take },
	{ IPC_GET, on_get },
	{ IPC_FATES, on_fates },
	{ IPC_MARK, on_mark },
	{ IPC_NOTICE, on_notice },
	{ IPC_KEEP, on_keep },
	{ IPC_LOAD, on_load },
};

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct queue_service *s = owner;
	size_t i;

	flow_check(ch);
	for (i = 0; i < NELEMS(handlers); i++) {
		if (handlers[i].type == m->type) {
			bool ok = handlers[i].handle(s, m);

			if (s->asked >= QUEUE_ASKED_MAX) {
				ipc_chan_pause(ch, true);
			}
			return ok;
		}
	}
	return false;
}

/* The TAKE and all questions are void; those in the spool end by themselves. */
static void
forget(struct queue_service *s)
{
	forget_notices(s);
	s->epoch++;
	s->taking = false;
	s->reading = 0;
	ipc_chan_free(s->ch);
	s->ch = NULL;
	backlog_clear(&s->backlog);
	s->scanned = 0;
	s->nlater = 0;
	(void)event_del(s->retry);
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	(void)ch;
	log_info("the channel to qmgr closed: %s", why);
	forget(owner);
}

static void
on_drained(void *owner, struct ipc_chan *ch)
{
	struct queue_service *s = owner;

	if (s->asked < QUEUE_ASKED_MAX) {
		flow_drained(owner, ch);
	}
	queue_take_later(s);
}

static const struct ipc_chan_ops qmgr_ops = {
	.me = IPC_CLEANUP, .peer = IPC_QMGR,
	.message = on_message, .closed = on_closed, .drained = on_drained,
};

void
queue_service_channel(struct queue_service *s, int fd)
{
	forget(s);
	backlog_start(&s->backlog, s->pg->spool);
	s->ch = ipc_chan_new(s->pg->base, fd, &qmgr_ops, s);
}

struct queue_service *
queue_service_new(struct program *pg)
{
	struct queue_service *s = xcalloc(1, sizeof(*s));

	s->pg = pg;
	strbuf_init(&s->page, IPC_BLOB_MAX);
	backlog_init(&s->backlog);
	s->turn = event_new(pg->base, -1, 0, queue_take_turn, s);
	s->retry = event_new(pg->base, -1, 0, queue_take_retry, s);
	if (s->turn == NULL || s->retry == NULL) {
		log_panic("queue_service: no event");
	}
	spool_on_accepted(pg->spool, queue_take_accepted, s);
	return s;
}

void
queue_service_free(struct queue_service *s)
{
	if (s == NULL) {
		return;
	}
	while (s->asks != NULL) {
		(void)queue_asked_end(s->asks);
	}
	forget(s);
	event_free(s->turn);
	event_free(s->retry);
	free(s->later);
	strbuf_clear(&s->page);
	free(s);
}
