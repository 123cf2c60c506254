#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

/* -- marks on their way ----------------------------------------------------- */

void
sched_mark_free(struct mark *m)
{
	if (m != NULL) {
		free(m->reason);
		free(m);
	}
}

void
sched_mark_add(struct sched *s, uint64_t qid, enum ipc_mark what,
    const char *reason, uint64_t token)
{
	const struct entry *e = sched_find(s, qid);
	struct mark *m = xcalloc(1, sizeof(*m));
	bool wait = what == IPC_MARK_REQUEUE && e != NULL && e->work != NULL;

	m->qid = qid;
	m->what = what;
	m->token = token;
	m->reason = xstrdup(reason);
	TAILQ_INSERT_TAIL(wait ? &s->marks_wait : &s->marks, m, link);
}

static void
move(struct mark *m, struct marks *from, struct marks *to)
{
	TAILQ_REMOVE(from, m, link);
	TAILQ_INSERT_TAIL(to, m, link);
}

void
sched_marks_ready(struct sched *s, uint64_t qid)
{
	struct mark *m, *next;

	for (m = TAILQ_FIRST(&s->marks_wait); m != NULL; m = next) {
		next = TAILQ_NEXT(m, link);
		if (m->qid == qid) {
			move(m, &s->marks_wait, &s->marks);
		}
	}
}

bool
sched_build_mark(struct sched *s, struct sched_action *a)
{
	struct mark *m;

	while ((m = TAILQ_FIRST(&s->marks_slow)) != NULL &&
	    m->retry_ms <= s->mono_ms) {
		move(m, &s->marks_slow, &s->marks);
	}
	m = TAILQ_FIRST(&s->marks);
	if (m == NULL || s->nmarks_out >= MARKS_OUT) {
		return false;
	}
	move(m, &s->marks, &s->marks_out);
	s->nmarks_out++;
	a->kind = SCHED_MARK;
	a->qid = m->qid;
	a->what = m->what;
	a->reason = m->reason;
	a->token = m->token;
	return true;
}

/* The channel went: they are sent again. All of them are idempotent, except
   requeue, whose second try finds the message gone, and a crash, which may
   count twice. */
void
sched_marks_lost(struct sched *s)
{
	struct mark *m;

	while ((m = TAILQ_FIRST(&s->marks_out)) != NULL) {
		move(m, &s->marks_out, &s->marks);
	}
	s->nmarks_out = 0;
}

/* -- what they do ----------------------------------------------------------- */

/* Read it again as soon as there is room. May free its work. */
static void
resume(struct sched *s, struct entry *e)
{
	if (e->marking > 0) {
		return;
	}
	if (e->work != NULL) {
		e->work->ending = false;
		e->work->again = true;
		sched_work_check(s, e->work);
	} else if ((!e->hold && !e->outside) || sched_has_claim(s, e->qid)) {
		sched_later(s, e, s->mono_ms);
	}
}

/* Nothing more of it is given out. May free its work. */
static void
stop(struct sched *s, struct entry *e)
{
	if (e->work != NULL) {
		sched_withdraw(s, e->work);
		sched_work_check(s, e->work);
	} else {
		sched_not_later(s, e);
	}
}

void
sched_mark(struct sched *s, uint64_t qid, enum ipc_mark what,
    const char *reason, uint64_t token)
{
	struct entry *e = sched_find(s, qid);

	sched_mark_add(s, qid, what, reason, token);
	if (what == IPC_MARK_RELEASE) {
		return; /* takes effect once it is in the spool */
	}
	if (e == NULL) {
		/* Should a TAKE be about to bring it, it is known already. */
		e = sched_entry_new(s, qid);
		e->arrived_s = (uint32_t)(qid / 1000000);
	}
	if (what == IPC_MARK_HOLD) {
		e->hold = true;
	} else {
		e->marking++;
		if (e->work != NULL) {
			e->work->ending = true;
		}
	}
	stop(s, e);
}

static void
hold_done(struct sched *s, struct entry *e, unsigned result)
{
	e->hold = result == 0;
	if (e->hold) {
		stop(s, e);
	} else {
		resume(s, e);
	}
}

static void
release_done(struct sched *s, struct entry *e, unsigned result)
{
	if (result == 0) {
		e->hold = false;
		e->force = true;
		e->crashes = 0;
		resume(s, e);
	}
}

/* Is it the answer to something that we sent? */
static bool
take_out(struct sched *s, uint64_t qid, enum ipc_mark what, uint64_t token,
    bool retry)
{
	struct mark *m;

	TAILQ_FOREACH(m, &s->marks_out, link) {
		if (m->qid == qid && m->what == what && m->token == token) {
			break;
		}
	}
	if (m == NULL) {
		return false;
	}
	s->nmarks_out--;
	if (retry) {
		m->retry_ms = s->mono_ms + SCHED_PAUSE_MS;
		move(m, &s->marks_out, &s->marks_slow);
	} else {
		TAILQ_REMOVE(&s->marks_out, m, link);
		sched_mark_free(m);
	}
	return true;
}

void
sched_marked(struct sched *s, uint64_t qid, enum ipc_mark what,
    uint64_t token, unsigned result)
{
	struct entry *e = sched_find(s, qid);
	bool ours = token == 0;

	if (!take_out(s, qid, what, token, ours && result == 2) || e == NULL) {
		return;
	}
	if (what == IPC_MARK_DELETE || what == IPC_MARK_REQUEUE) {
		if (e->marking > 0) {
			e->marking--;
		}
	}
	if (result == 1 || (result == 0 && what == IPC_MARK_DELETE)) {
		sched_entry_gone(s, e);
	} else if (what == IPC_MARK_CRASHED) {
		return; /* what follows from it has been done */
	} else if (what == IPC_MARK_HOLD) {
		hold_done(s, e, ours ? 0 : result); /* ours is tried again */
	} else if (what == IPC_MARK_RELEASE) {
		release_done(s, e, result);
	} else {
		/* After a requeue, reading it finds it gone, or what is left:
		   a requeue lifts a hold. */
		e->hold = e->hold && (what == IPC_MARK_DELETE || result != 0);
		resume(s, e);
	}
}

/* -- flush ------------------------------------------------------------------ */

/* Returns true when there was something to hurry. */
static bool
flush(struct sched *s, struct entry *e)
{
	if (e->hold || e->marking > 0) {
		return false;
	}
	if (e->work == NULL) {
		e->force = true;
		if (!e->outside) {
			sched_later(s, e, s->mono_ms);
		}
	} else if (e->work->waiting > 0 || e->work->stuck > 0) {
		e->force = e->work->again = true;
	}
	return true; /* else it is being tried just now */
}

void
sched_hurry(struct sched *s)
{
	s->flushes++;
}

bool
sched_flush(struct sched *s, uint64_t qid)
{
	struct entry *e = sched_find(s, qid);

	return e != NULL && flush(s, e);
}

void
sched_wake_held(struct sched *s)
{
	struct spool_index_at at = { 0 };
	struct entry *e;
	void **place;

	while ((place = spool_index_each(&s->entries, &at)) != NULL) {
		e = *place;
		if (e->held && e->work == NULL && !e->hold &&
		    e->marking == 0) {
			sched_later(s, e, s->mono_ms);
		}
	}
}

uint64_t
sched_flush_all(struct sched *s)
{
	struct spool_index_at at = { 0 };
	uint64_t n = 0;
	struct entry *e;
	void **place;

	sched_hurry(s);
	while ((place = spool_index_each(&s->entries, &at)) != NULL) {
		e = *place;
		n += e->work == NULL && flush(s, e);
	}
	return n;
}
