#include "config.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "qmgr/ask.h"
#include "qmgr/qmgr.h"

struct ask *
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

void
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

struct ask *
ask_find(struct qmgr *q, const struct ipc_msg *m, enum ask_kind kind)
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

unsigned
ask_fail_late(struct qmgr *q, uint64_t now)
{
	unsigned late = 0;
	struct ask *a;

	while ((a = TAILQ_FIRST(&q->asks)) != NULL && a->deadline_ms <= now) {
		late++;
		fail(q, a);
	}
	return late;
}

void
ask_down(struct qmgr *q)
{
	struct ask *a, *next;

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

void
ask_clear(struct qmgr *q)
{
	if (q->take_id != 0) {
		ask_free(q, slots_get(&q->slots, q->take_id));
	}
	while (!TAILQ_EMPTY(&q->asks)) {
		ask_free(q, TAILQ_FIRST(&q->asks));
	}
}
