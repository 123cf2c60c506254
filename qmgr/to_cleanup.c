/*
 * The channel to cleanup: questions go out with an id of the slots' table, so
 * that an answer that comes too late finds nothing.
 */
#include "config.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"
#include "qmgr/qmgr.h"

#define REASON_SENT 1000 /* octets of a reason */

enum ask_kind {
	ASK_TAKE, ASK_GET, ASK_FATES, ASK_MARK, ASK_NOTICE, ASK_VIEW,
	ASK_LOAD, ASK_KEEP
};

struct ask {
	TAILQ_ENTRY(ask) link; /* q->asks, except TAKE */
	enum ask_kind kind;
	uint32_t id;
	uint64_t qid, token, deadline_ms;
	enum ipc_mark what;
	enum ipc_notice notice;
	char *reason;          /* MARK: for the log */
	qmgr_view_cb *cb;
	void *arg;
};

static struct ask *
ask_new(struct qmgr *q, enum ask_kind kind, uint64_t qid)
{
	struct ask *a = xcalloc(1, sizeof(*a));

	a->kind = kind;
	a->qid = qid;
	a->id = slots_add(&q->slots, a);
	if (a->id == 0) {
		log_panic("qmgr: more questions than ids"); /* bounded: our bug */
	}
	if (kind != ASK_TAKE) {
		a->deadline_ms = qmgr_mono_ms() + q->ipc_timeout_ms;
		TAILQ_INSERT_TAIL(&q->asks, a, link);
	}
	return a;
}

static void
ask_free(struct qmgr *q, struct ask *a)
{
	slots_drop(&q->slots, a->id);
	if (a->kind == ASK_TAKE) {
		q->take_id = 0;
	} else {
		TAILQ_REMOVE(&q->asks, a, link);
	}
	free(a->reason);
	free(a);
}

/* The question that `m' answers, if it is of this kind and still open. */
static struct ask *
find(struct qmgr *q, const struct ipc_msg *m, enum ask_kind kind)
{
	struct ask *a = slots_get(&q->slots, m->tid);

	return a != NULL && a->kind == kind ? a : NULL;
}

/* There is no answer, and none will come. Frees it. */
static void
fail(struct qmgr *q, struct ask *a)
{
	struct ask was = *a;

	a->reason = NULL;
	ask_free(q, a);
	switch (was.kind) {
	case ASK_TAKE:
		break;
	case ASK_GET:
		sched_gone(q->s, was.qid, true);
		break;
	case ASK_FATES:
		sched_fates_ack(q->s, was.qid, true, false);
		break;
	case ASK_MARK:
		sched_marked(q->s, was.qid, was.what, was.token, 2);
		if (was.token != 0) {
			q->ops->marked(q->arg, was.token, was.qid, 2,
			    SL("no answer from cleanup in time"));
		}
		break;
	case ASK_NOTICE:
		sched_noticed(q->s, was.qid, was.notice, SCHED_NOTICED_LATER,
		    false, SL(""));
		break;
	case ASK_VIEW:
		was.cb(was.arg, NULL, SL(""));
		break;
	case ASK_LOAD:
		sched_loaded(q->s, true, SL(""));
		break;
	case ASK_KEEP:
		sched_kept(q->s, true);
		q->ops->kept(q->arg, SL("no answer from cleanup in time"));
		break;
	}
	free(was.reason);
}

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
	    strnlen(act->reason, REASON_SENT)));
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
	unsigned late = 0;
	struct ask *a;

	while ((a = TAILQ_FIRST(&q->asks)) != NULL && a->deadline_ms <= now) {
		late++;
		fail(q, a);
		qmgr_wake(q);
	}
	if (late > 0) {
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

/* -- answers ------------------------------------------------------------------ */

static bool
read_entry(const struct ipc_msg *m, struct sched_entry_in *in)
{
	uint64_t counts[] = { ipc_u(m, 3), ipc_u(m, 5), ipc_u(m, 6),
		ipc_u(m, 7) };
	size_t i;

	for (i = 0; i < NELEMS(counts); i++) {
		if (counts[i] > UINT32_MAX) {
			return false;
		}
	}
	*in = (struct sched_entry_in){ .qid = ipc_u(m, 0),
		.arrived_us = ipc_u(m, 1), .size = ipc_u(m, 2),
		.flags = (uint32_t)counts[0], .hold = ipc_u(m, 4) != 0,
		.crashes = (uint8_t)(ipc_u(m, 11) < UINT8_MAX ?
		    ipc_u(m, 11) : UINT8_MAX),
		.rcpts = (uint32_t)counts[1], .rcpts_open = (uint32_t)counts[2],
		.next_index = (uint32_t)counts[3], .reverse_path = ipc_s(m, 8),
		.page = ipc_s(m, 9) };
	return in->reverse_path.n <= ENVELOPE_PATH_MAX;
}

static bool
entry_for_sched(struct qmgr *q, const struct sched_entry_in *in, bool taken)
{
	enum sched_entry r = sched_entry(q->s, in, taken);

	if (r == SCHED_ENTRY_ACTIVE) {
		qlog_active(in);
	}
	return r != SCHED_ENTRY_BAD;
}

static bool
on_entry(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = slots_get(&q->slots, m->tid);
	struct sched_entry_in in;
	struct ask was;

	if (!read_entry(m, &in)) {
		return false;
	}
	if (a == NULL) {
		return true; /* too late */
	}
	if (a->kind == ASK_TAKE) {
		return entry_for_sched(q, &in, true);
	}
	was = *a;
	if (in.qid != was.qid ||
	    (was.kind != ASK_GET && was.kind != ASK_VIEW)) {
		return false;
	}
	ask_free(q, a);
	if (was.kind == ASK_VIEW) {
		was.cb(was.arg, &in, ipc_s(m, 10));
		return true;
	}
	return entry_for_sched(q, &in, false);
}

static bool
on_taken(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = find(q, m, ASK_TAKE);

	if (a == NULL) {
		return false; /* it has no deadline: it cannot be late */
	}
	ask_free(q, a);
	sched_taken(q->s);
	return true;
}

static bool
on_gone(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = slots_get(&q->slots, m->tid);
	char id[QID_TEXT + 1];
	struct ask was;

	if (a == NULL) {
		return true;
	}
	was = *a;
	if (was.kind != ASK_GET && was.kind != ASK_VIEW) {
		return false;
	}
	ask_free(q, a);
	if (was.kind == ASK_VIEW) {
		was.cb(was.arg, NULL, ipc_s(m, 1));
		return true;
	}
	if (ipc_u(m, 0) != 0) {
		qid_format(was.qid, id);
		log_warn("%s: cannot be read just now", id);
	}
	sched_gone(q->s, was.qid, ipc_u(m, 0) != 0);
	return true;
}

static bool
on_fates_ack(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = find(q, m, ASK_FATES);
	uint64_t qid = ipc_u(m, 0);
	bool error = ipc_u(m, 1) != 0, gone = !error && ipc_u(m, 2) != 0;

	if (a == NULL) {
		return true;
	}
	if (a->qid != qid) {
		return false;
	}
	ask_free(q, a);
	if (error) {
		log_warn("cleanup could not record results (error %u): again "
		    "in a second", (unsigned)ipc_u(m, 1));
	} else if (gone) {
		qlog_removed(qid);
	}
	sched_fates_ack(q->s, qid, error, gone);
	return true;
}

static void
log_marked(const struct ask *a, unsigned result, struct slice text)
{
	struct strbuf why;

	if (result == 0) {
		qlog_mark(a->qid, a->what, a->reason);
		return;
	}
	if (result == 2) {
		strbuf_init(&why, 0);
		strbuf_add_quoted(&why, text, REASON_SENT);
		log_warn("cleanup could not change a message's state: %s",
		    why.n > 0 ? why.p : "no reason");
		strbuf_clear(&why);
	}
}

static bool
on_marked(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = find(q, m, ASK_MARK);
	struct ask was;

	if (ipc_u(m, 1) > 2) {
		return false;
	}
	if (a == NULL) {
		return true;
	}
	if (a->qid != ipc_u(m, 0)) {
		return false;
	}
	log_marked(a, (unsigned)ipc_u(m, 1), ipc_s(m, 2));
	was = *a;
	ask_free(q, a);
	sched_marked(q->s, was.qid, was.what, was.token,
	    (unsigned)ipc_u(m, 1));
	if (was.token != 0) {
		q->ops->marked(q->arg, was.token, was.qid,
		    (unsigned)ipc_u(m, 1), ipc_s(m, 2));
	}
	return true;
}

static bool
on_noticed(struct qmgr *q, const struct ipc_msg *m)
{
	static const enum sched_noticed results[] = { SCHED_NOTICED,
		SCHED_NOTICED_NEVER, SCHED_NOTICED_LATER };
	struct ask *a = find(q, m, ASK_NOTICE);
	bool gone = ipc_u(m, 2) == 0 && ipc_u(m, 3) != 0;
	enum ipc_notice kind;
	uint64_t qid;

	if (ipc_u(m, 2) >= NELEMS(results)) {
		return false;
	}
	if (a == NULL) {
		return true;
	}
	qid = a->qid;
	kind = a->notice;
	if (qid != ipc_u(m, 0) || kind != ipc_u(m, 1)) {
		return false;
	}
	ask_free(q, a);
	qlog_noticed(qid, kind, results[ipc_u(m, 2)], ipc_s(m, 4));
	if (gone) {
		qlog_removed(qid);
	}
	sched_noticed(q->s, qid, kind, results[ipc_u(m, 2)], gone,
	    ipc_s(m, 4));
	return true;
}

static bool
on_loaded(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = find(q, m, ASK_LOAD);
	unsigned bad;

	if (a == NULL) {
		return true;
	}
	ask_free(q, a);
	bad = sched_loaded(q->s, ipc_u(m, 0) != 0, ipc_s(m, 1));
	if (bad > 0) {
		log_error("what was kept beside the queue has %u lines that "
		    "cannot be read; they are ignored", bad);
	}
	return true;
}

static bool
on_kept(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = find(q, m, ASK_KEEP);
	bool error = ipc_u(m, 0) != 0;

	if (a == NULL) {
		return true;
	}
	ask_free(q, a);
	sched_kept(q->s, error);
	q->ops->kept(q->arg, error ? ipc_s(m, 1) : SL(""));
	return true;
}

/* -- the channel -------------------------------------------------------------- */

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	static const struct {
		enum ipc_type type;
		bool (*handle)(struct qmgr *q, const struct ipc_msg *m);
	} handlers[] = {
		{ IPC_ENTRY, on_entry },
		{ IPC_TAKEN, on_taken },
		{ IPC_GONE, on_gone },
		{ IPC_FATES_ACK, on_fates_ack },
		{ IPC_MARKED, on_marked },
		{ IPC_NOTICED, on_noticed },
		{ IPC_LOADED, on_loaded },
		{ IPC_KEPT, on_kept },
	};
	struct qmgr *q = owner;
	size_t i;

	(void)ch;
	qmgr_time(q);
	qmgr_wake(q);
	for (i = 0; i < NELEMS(handlers); i++) {
		if (handlers[i].type == m->type) {
			return handlers[i].handle(q, m);
		}
	}
	return false;
}

/* Views fail; what the scheduler asked is asked again by itself. */
static void
down(struct qmgr *q)
{
	struct ask *a, *next;

	ipc_chan_free(q->cleanup);
	q->cleanup = NULL;
	sched_cleanup_down(q->s);
	if (q->take_id != 0) {
		ask_free(q, slots_get(&q->slots, q->take_id));
	}
	for (a = TAILQ_FIRST(&q->asks); a != NULL; a = next) {
		next = TAILQ_NEXT(a, link);
		if (a->kind != ASK_VIEW) {
			ask_free(q, a);
		}
	}
	while ((a = TAILQ_FIRST(&q->asks)) != NULL) {
		fail(q, a);
	}
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
	if (q->take_id != 0) {
		ask_free(q, slots_get(&q->slots, q->take_id));
	}
	while (!TAILQ_EMPTY(&q->asks)) {
		ask_free(q, TAILQ_FIRST(&q->asks));
	}
}
