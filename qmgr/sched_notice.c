/*
 * Notices: what the sender is told when a pass over a message ends. Cleanup
 * knows which recipients are meant, by its records, so an order may be given
 * again whenever its answer is lost.
 */
#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

bool
sched_bounces(const struct work *w)
{
	return w->reverse_path[0] != '\0' ||
	    (w->flags & (CONTENT_NOTICE | CONTENT_DOUBLE)) == CONTENT_NOTICE;
}

/* Is it time to say that it waits? Of a notice nobody is told that. */
static bool
warns(const struct sched *s, const struct work *w)
{
	return w->unwarned > 0 && s->cfg.delay_warning > 0 &&
	    w->reverse_path[0] != '\0' && (w->flags & CONTENT_NOTICE) == 0 &&
	    sched_age_s(s, w->arrived_us) >= s->cfg.delay_warning;
}

static void
want(struct sched *s, struct work *w, enum ipc_notice kind)
{
	w->notice = NOTICE_WANTED;
	w->notice_kind = kind;
	TAILQ_INSERT_TAIL(&s->notices, w, notice_link);
}

bool
sched_notice_awaited(struct sched *s, struct work *w)
{
	if (w->notice == NOTICE_OUT) {
		return true;
	}
	/* Those that are to be tried again first: nothing is final yet. */
	if (w->gone || w->ending || w->entry->hold || w->entry->force) {
		sched_notice_drop(s, w);
		return false;
	}
	if (w->notice == NOTICE_WANTED) {
		return true;
	}
	if (w->stuck > 0 && sched_bounces(w) && !w->no_notice) {
		want(s, w, IPC_NOTICE_FAILED);
	} else if (warns(s, w) && !w->no_warning) {
		want(s, w, IPC_NOTICE_DELAYED);
	}
	return w->notice != NOTICE_NONE;
}

void
sched_notice_drop(struct sched *s, struct work *w)
{
	if (w->notice == NOTICE_WANTED) {
		TAILQ_REMOVE(&s->notices, w, notice_link);
	} else if (w->notice == NOTICE_OUT) {
		s->notices_out--;
	}
	w->notice = NOTICE_NONE;
}

bool
sched_build_notice(struct sched *s, struct sched_action *a)
{
	struct work *w = TAILQ_FIRST(&s->notices);

	if (w == NULL || s->notices_out >= SCHED_NOTICES_MAX) {
		return false;
	}
	TAILQ_REMOVE(&s->notices, w, notice_link);
	w->notice = NOTICE_OUT;
	s->notices_out++;
	a->kind = SCHED_NOTICE;
	a->qid = w->entry->qid;
	a->notice = w->notice_kind;
	return true;
}

static void
failed_noticed(struct sched *s, struct work *w, enum sched_noticed result,
    struct slice text)
{
	switch (result) {
	case SCHED_NOTICED:
		w->stuck = 0;
		break;
	case SCHED_NOTICED_NEVER:
		if (text.n > 0) {
			free(w->stuck_reason);
			w->stuck_reason = xslicedup(text);
		}
		sched_hold_stuck(s, w);
		break;
	case SCHED_NOTICED_LATER:
		w->no_notice = true; /* not in this pass */
		w->again = w->later = true;
		break;
	}
}

void
sched_noticed(struct sched *s, uint64_t qid, enum ipc_notice kind,
    enum sched_noticed result, bool gone, struct slice text)
{
	struct entry *e = sched_find(s, qid);
	struct work *w = e != NULL ? e->work : NULL;

	if (w == NULL || w->notice != NOTICE_OUT || w->notice_kind != kind) {
		return;
	}
	sched_notice_drop(s, w);
	if (gone && result == SCHED_NOTICED) {
		sched_entry_gone(s, e);
		return;
	}
	if (kind == IPC_NOTICE_FAILED) {
		failed_noticed(s, w, result, text);
	} else if (result == SCHED_NOTICED) {
		w->unwarned = 0;
	} else {
		w->no_warning = true; /* the next pass asks again */
	}
	sched_work_check(s, w);
}

void
sched_notices_lost(struct sched *s)
{
	struct work *w;

	TAILQ_FOREACH(w, &s->works, link) {
		if (w->notice == NOTICE_OUT) {
			sched_notice_drop(s, w);
			want(s, w, w->notice_kind);
		}
	}
}
