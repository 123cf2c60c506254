/* The channel to cleanup: what is asked of it. */
#include "config.h"

#include "common/log.h"
#include "common/xmalloc.h"
#include "qmgr/ask.h"
#include "qmgr/qmgr.h"

/* -- questions ---------------------------------------------------------------- */

static void
send_get(struct qmgr *q, const struct ask *a, uint32_t from, bool route)
{
	ipc_begin(q->cleanup, IPC_GET, a->id);
	ipc_put_u(q->cleanup, a->qid);
	ipc_put_u(q->cleanup, from);
	ipc_put_u(q->cleanup, route ? 1 : 0);
	ipc_end(q->cleanup);
}

static void
send_take(struct qmgr *q, unsigned max)
{
	q->take_id = ask_new(q, ASK_TAKE, 0)->id;
	ipc_begin(q->cleanup, IPC_TAKE, q->take_id);
	ipc_put_u(q->cleanup, max);
	ipc_end(q->cleanup);
}

static void
send_fates(struct qmgr *q, const struct sched_action *act)
{
	struct ask *a = ask_new(q, ASK_FATES, act->qid);
	size_t i;

	strbuf_reset(&q->scratch);
	for (i = 0; i < act->nitems; i++) {
		fate_item_encode(&act->items[i].fate, &q->scratch);
	}
	ipc_begin(q->cleanup, IPC_FATES, a->id);
	ipc_put_u(q->cleanup, a->qid);
	ipc_put_s(q->cleanup, strbuf_slice(&q->scratch));
	/* The agent keeps the results until they are acknowledged; nobody else
	   waits for the end of a message that is delivered. */
	if (act->last && !q->stopping) {
		ipc_end_later(q->cleanup);
	} else {
		ipc_end(q->cleanup);
	}
}

static void
send_mark(struct qmgr *q, const struct sched_action *act)
{
	struct ask *a = ask_new(q, ASK_MARK, act->qid);

	a->what = act->what;
	a->token = act->token;
	a->reason = xslicedup(slice_make(act->reason,
	    strnlen(act->reason, ASK_REASON)));
	ipc_begin(q->cleanup, IPC_MARK, a->id);
	ipc_put_u(q->cleanup, a->qid);
	ipc_put_u(q->cleanup, a->what);
	ipc_put_str(q->cleanup, a->reason);
	ipc_end(q->cleanup);
}

static void
send_notice(struct qmgr *q, const struct sched_action *act)
{
	struct ask *a = ask_new(q, ASK_NOTICE, act->qid);

	a->notice = act->notice;
	ipc_begin(q->cleanup, IPC_NOTICE, a->id);
	ipc_put_u(q->cleanup, a->qid);
	ipc_put_u(q->cleanup, a->notice);
	ipc_end(q->cleanup);
}

static void
send_load(struct qmgr *q)
{
	struct ask *a = ask_new(q, ASK_LOAD, 0);

	ipc_begin(q->cleanup, IPC_LOAD, a->id);
	ipc_end(q->cleanup);
}

static void
send_keep(struct qmgr *q, struct slice text)
{
	struct ask *a = ask_new(q, ASK_KEEP, 0);

	ipc_begin(q->cleanup, IPC_KEEP, a->id);
	ipc_put_s(q->cleanup, text);
	ipc_end(q->cleanup);
}

void
qmgr_cleanup_do(struct qmgr *q, const struct sched_action *act)
{
	switch (act->kind) {
	case SCHED_TAKE:
		send_take(q, act->max);
		break;
	case SCHED_GET:
		send_get(q, ask_new(q, ASK_GET, act->qid), act->from,
		    act->route);
		break;
	case SCHED_FATES:
		send_fates(q, act);
		break;
	case SCHED_MARK:
		send_mark(q, act);
		break;
	case SCHED_NOTICE:
		send_notice(q, act);
		break;
	case SCHED_LOAD:
		send_load(q);
		break;
	case SCHED_KEEP:
		send_keep(q, act->text);
		break;
	case SCHED_DELIVER:
	case SCHED_ACK:
		break; /* not cleanup's */
	}
}

uint32_t
qmgr_view(struct qmgr *q, uint64_t qid, uint32_t from, qmgr_view_cb *cb,
    void *arg)
{
	struct ask *a;

	if (!ipc_chan_alive(q->cleanup)) {
		return 0;
	}
	a = ask_new(q, ASK_VIEW, qid);
	a->cb = cb;
	a->arg = arg;
	send_get(q, a, from, false);
	return a->id;
}

void
qmgr_view_cancel(struct qmgr *q, uint32_t id)
{
	struct ask *a = slots_get(&q->slots, id);

	if (a != NULL && a->kind == ASK_VIEW) {
		ask_free(q, a);
	}
}

uint64_t
qmgr_cleanup_deadlines(struct qmgr *q)
{
	uint64_t now = qmgr_mono_ms();
	unsigned late = ask_fail_late(q, now);
	const struct ask *a = TAILQ_FIRST(&q->asks);

	if (late > 0) {
		qmgr_wake(q);
		log_warn("cleanup has not answered %u questions in time", late);
	}
	if (q->cleanup_gone_ms != 0 &&
	    now >= q->cleanup_gone_ms + q->ipc_timeout_ms) {
		q->cleanup_gone_ms = now; /* said once in a while */
		q->ops->lost(q->arg, "cleanup");
	}
	return a != NULL ? a->deadline_ms : q->cleanup_gone_ms != 0 ?
	    q->cleanup_gone_ms + q->ipc_timeout_ms : UINT64_MAX;
}

/* -- the channel -------------------------------------------------------------- */

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct qmgr *q = owner;

	(void)ch;
	qmgr_time(q);
	qmgr_wake(q);
	return qmgr_cleanup_answer(q, m);
}

static void
down(struct qmgr *q)
{
	ipc_chan_free(q->cleanup);
	q->cleanup = NULL;
	sched_cleanup_down(q->s);
	ask_down(q);
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct qmgr *q = owner;

	(void)ch;
	log_warn("the channel to cleanup is lost: %s", why);
	qmgr_time(q);
	down(q);
	q->cleanup_gone_ms = qmgr_mono_ms();
	qmgr_wake(q);
}

static const struct ipc_chan_ops chan_ops = {
	.me = IPC_QMGR, .peer = IPC_CLEANUP,
	.message = on_message, .closed = on_closed,
};

void
qmgr_cleanup_channel(struct qmgr *q, int fd)
{
	qmgr_time(q);
	if (q->cleanup != NULL) {
		down(q);
	}
	q->cleanup = ipc_chan_new(q->base, fd, &chan_ops, q);
	q->cleanup_gone_ms = 0;
	sched_cleanup_up(q->s);
	qmgr_wake(q);
}

void
qmgr_cleanup_clear(struct qmgr *q)
{
	ipc_chan_free(q->cleanup);
	q->cleanup = NULL;
	ask_clear(q);
}
