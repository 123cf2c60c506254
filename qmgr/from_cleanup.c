/*
 * Cleanup's answers to the questions of to_cleanup.c: to the scheduler, and to
 * who asked for a view.
 */
#include "config.h"

#include "common/log.h"
#include "common/qid.h"
#include "qmgr/ask.h"
#include "qmgr/qmgr.h"

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
	struct ask *a = ask_find(q, m, ASK_TAKE);

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
	struct ask *a = ask_find(q, m, ASK_FATES);
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
		strbuf_add_quoted(&why, text, ASK_REASON);
		log_warn("cleanup could not change a message's state: %s",
		    why.n > 0 ? why.p : "no reason");
		strbuf_clear(&why);
	}
}

static bool
on_marked(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = ask_find(q, m, ASK_MARK);
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
	struct ask *a = ask_find(q, m, ASK_NOTICE);
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
	struct ask *a = ask_find(q, m, ASK_LOAD);
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

/* Of a second channel's scan: what the first told of is known still. */
static bool
on_scanned(struct qmgr *q, const struct ipc_msg *m)
{
	if (ipc_u(m, 0) > q->scanned) {
		q->scanned = ipc_u(m, 0);
		q->ops->scanned(q->arg);
	}
	return true;
}

static bool
on_kept(struct qmgr *q, const struct ipc_msg *m)
{
	struct ask *a = ask_find(q, m, ASK_KEEP);
	bool error = ipc_u(m, 0) != 0;

	if (a == NULL) {
		return true;
	}
	ask_free(q, a);
	sched_kept(q->s, error);
	q->ops->kept(q->arg, error ? ipc_s(m, 1) : SL(""));
	return true;
}

bool
qmgr_cleanup_answer(struct qmgr *q, const struct ipc_msg *m)
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
		{ IPC_SCANNED, on_scanned },
	};
	size_t i;

	for (i = 0; i < NELEMS(handlers); i++) {
		if (handlers[i].type == m->type) {
			return handlers[i].handle(q, m);
		}
	}
	return false;
}
