/*
 * The journal in front of the files: what is written into it, which of its
 * segments are needed still (anchors), and how messages get their files, or
 * their files what happened to them (settling).
 *
 * A message is anchored in the oldest segment that a recovery would need for
 * it. Anchors are only ever set to the newest position, so the list of the
 * anchored is in order; its head tells what the journal may give up.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "common/journal.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

#define SETTLING_MAX 256   /* messages being settled at a time */
#define SCRATCH_MAX  (64 * 1024) /* octets that are kept for the next message */
#define PAUSE_MS     1000  /* after one that failed */
#define TRIES_MAX    256   /* busy ones that one look passes over */

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* -- anchors ------------------------------------------------------------------- */

void
spool_anchor(struct spool *sp, struct spool_msg *m, uint64_t lsn)
{
	if (lsn > sp->last_lsn) {
		sp->last_lsn = lsn;
	}
	if (m->anchor == 0) {
		m->anchor = lsn >> 32;
		sp->memory += sizeof(*m);
		TAILQ_INSERT_TAIL(&sp->anchored, m, by_anchor);
		sp->nanchored++;
		sp->nunfiled += !m->filed;
	}
}

/* All below the first anchor, and below what was answered last: entries that
   the loop has not seen yet are not anchored. */
static void
raise_floor(struct spool *sp)
{
	const struct spool_msg *m = TAILQ_FIRST(&sp->anchored);

	journal_set_floor(sp->journal, m != NULL ? m->anchor :
	    sp->last_lsn >> 32);
}

void
spool_unanchor(struct spool *sp, struct spool_msg *m)
{
	const bool first = TAILQ_FIRST(&sp->anchored) == m;

	if (m->anchor != 0) {
		m->anchor = 0;
		sp->memory -= sizeof(*m);
		TAILQ_REMOVE(&sp->anchored, m, by_anchor);
		sp->nanchored--;
		sp->nunfiled -= !m->filed;
	}
	if (first && sp->running) {
		raise_floor(sp);
	}
}

void
spool_set_pending(struct spool *sp, struct spool_msg *m, struct slice records)
{
	sp->memory += records.n;
	(void)strbuf_add_slice(&m->pending, records);
}

void
spool_drop_pending(struct spool *sp, struct spool_msg *m)
{
	sp->memory -= m->pending.n;
	strbuf_clear(&m->pending);
	strbuf_init(&m->pending, 0);
}

/* -- entries --------------------------------------------------------------------- */

bool
spool_fits_journal(const struct spool *sp, size_t octets)
{
	return octets <= journal_body_max(sp->journal);
}

static const struct slice no_records;

void
spool_add_image(struct spool_msg *m, struct strbuf *out)
{
	const struct slice content = slice_make(m->content, m->content_n);
	struct strbuf tail;
	char head[SPOOL_HEADER];

	strbuf_init(&tail, 0);
	spool_image(m->state, content, &no_records, head, &tail);
	(void)strbuf_add(out, head, sizeof(head));
	(void)strbuf_add_slice(out, content);
	(void)strbuf_add_slice(out, strbuf_slice(&tail));
	strbuf_clear(&tail);
}

bool
spool_journal_message(struct spool *sp, struct spool_msg *m,
    struct journal_entry *e)
{
	struct strbuf *tail = &sp->scratch;
	char head[SPOOL_HEADER];
	struct slice parts[3];
	bool fits;

	strbuf_reset(tail);
	parts[1] = slice_make(m->content, m->content_n);
	spool_image(m->state, parts[1], &no_records, head, tail);
	parts[0] = slice_make(head, sizeof(head));
	parts[2] = strbuf_slice(tail);
	fits = spool_fits_journal(sp, parts[0].n + parts[1].n + parts[2].n);
	if (fits) {
		journal_append(sp->journal, e, JOURNAL_NEW,
		    SPOOL_ENTRY_MESSAGE, m->qid, parts, 3);
	}
	if (tail->cap > SCRATCH_MAX) { /* of many recipients */
		strbuf_clear(tail);
		strbuf_init(tail, 0);
	}
	return fits;
}

void
spool_journal_change(struct spool *sp, uint64_t qid, bool done,
    struct slice records, struct journal_entry *e)
{
	journal_append(sp->journal, e, JOURNAL_COMPANY, done ?
	    SPOOL_ENTRY_DONE : SPOOL_ENTRY_STATE, qid, &records, done ? 0 : 1);
}

void
spool_changed(struct spool *sp, struct spool_msg *m, struct slice records,
    uint64_t lsn)
{
	if (!m->filed) { /* all that is known is in memory, and anchored */
		spool_anchor(sp, m, lsn);
		return;
	}
	spool_set_pending(sp, m, records);
	spool_anchor(sp, m, lsn);
}

void
spool_doom(struct spool *sp, struct spool_msg *m)
{
	if (!m->doomed) {
		m->doomed = true;
		spool_gate_enter(sp, m);
		STAILQ_INSERT_TAIL(&sp->doomed, m, doomed_next);
		spool_wake(sp);
	}
}

void
spool_removed(struct spool *sp, struct spool_msg *m, uint64_t lsn)
{
	if (lsn > sp->last_lsn) {
		sp->last_lsn = lsn;
	}
	spool_msg_leave(sp, m);
	spool_drop_pending(sp, m);
	if (m->filed) {
		spool_anchor(sp, m, lsn);
		spool_doom(sp, m);
	} else {
		spool_unanchor(sp, m);
	}
}

/* -- settling ---------------------------------------------------------------------- */

struct settle_job {
	struct spool_msg *m;
	struct strbuf pending; /* what is appended */
	size_t octets;         /* of memory that are free when it went well */
};

void
spool_settle_later(struct spool *sp, int error)
{
	sp->settle_error = error;
	sp->settle_pause = now_ms() + PAUSE_MS;
	spool_timer(sp, PAUSE_MS + 1);
}

static void
settle_end(struct spool *sp, struct spool_msg *m)
{
	m->busy = m->settling = false;
	sp->settling--;
	sp->settle_more = true;
	spool_msg_ready(sp, m);
}

static void
settle_failed(struct spool *sp, struct spool_msg *m, const struct spool_op *op,
    const struct settle_job *s)
{
	if (sp->settle_error != op->error) {
		spool_log_failed(m->qid, "brought up to date", op->error);
	}
	if (op->acts[0].kind == ACT_APPEND) {
		m->state->cut = true;
		spool_set_pending(sp, m, strbuf_slice(&s->pending));
	} else if (op->acts[0].kind == ACT_REMOVE) {
		STAILQ_INSERT_TAIL(&sp->doomed, m, doomed_next);
	}
	spool_settle_later(sp, op->error);
	if (op->error == ENOSPC || op->error == EDQUOT) {
		journal_refuse_waiting(sp->journal);
	}
	if (op->acts[0].kind == ACT_CREATE) { /* maybe one waits for the file */
		spool_no_file(sp, m, op->error);
	}
}

static void
settle_good(struct spool *sp, struct spool_msg *m, const struct spool_op *op,
    const struct settle_job *s)
{
	sp->settle_error = 0;
	if (op->acts[0].kind == ACT_CREATE) {
		spool_msg_filed(sp, m);
		sp->spilled++;
	} else if (op->acts[0].kind == ACT_APPEND) {
		m->state->end += s->pending.n;
		m->state->cut = false;
	}
	sp->settled++;
	m->doomed = false;
	spool_gate_leave(sp, m);
	spool_unanchor(sp, m);
}

static void
settle_done(struct spool *sp, struct spool_job *job)
{
	struct spool_op *op = (struct spool_op *)job;
	struct settle_job *s = op->arg;
	struct spool_msg *m = s->m;

	sp->settling_octets -= s->octets;
	if (op->error == ENOENT && op->acts[0].kind == ACT_APPEND) {
		spool_log_failed(m->qid, "brought up to date", ENOENT);
		spool_msg_lost(sp, m); /* somebody's hand */
	} else if (op->error != 0) {
		settle_failed(sp, m, op, s);
	} else {
		settle_good(sp, m, op, s);
	}
	settle_end(sp, m);
	strbuf_clear(&s->pending);
	free(s);
	free(op);
}

struct spool_op *
spool_create_op(struct spool_msg *m)
{
	struct spool_op *op = spool_op_new(1);
	struct spool_act *a = &op->acts[0];

	a->kind = ACT_CREATE;
	a->qid = m->qid;
	a->state = m->state;
	a->content = m->content;
	a->content_n = m->content_n;
	a->whole = true;
	return op;
}

/* All that it takes is in memory. */
static void
settle_submit(struct spool *sp, struct spool_msg *m)
{
	struct settle_job *s = xcalloc(1, sizeof(*s));
	struct spool_op *op;

	s->m = m;
	strbuf_init(&s->pending, 0);
	if (m->doomed) {
		op = spool_remove_op(m);
	} else if (!m->filed) {
		op = spool_create_op(m);
		s->octets = m->content_n;
	} else {
		s->pending = m->pending;
		sp->memory -= m->pending.n;
		strbuf_init(&m->pending, 0);
		op = spool_append_op(m, strbuf_slice(&s->pending));
	}
	op->arg = s;
	op->job.done = settle_done;
	m->busy = true;
	sp->settling_octets += s->octets;
	spool_submit(sp, SPOOL_COMMITTER, &op->job);
}

void
spool_settle(struct spool *sp, struct spool_msg *m)
{
	m->settling = true;
	sp->settling++;
	if (m->doomed || !m->filed || spool_msg_need_state(sp, m)) {
		settle_submit(sp, m);
	}
}

void
spool_settle_loaded(struct spool *sp, struct spool_msg *m, int error)
{
	if (error == 0) {
		settle_submit(sp, m);
		return;
	}
	if (m->anchor != 0) {
		spool_settle_later(sp, error);
	}
	settle_end(sp, m);
}

/* -- who is settled ------------------------------------------------------------------ */

/* Who is anchored below this segment has to go, so that half of the ring is
   free again. */
static uint64_t
segments_wanted(struct spool *sp)
{
	struct journal_usage u;
	uint64_t segment, over, used;

	if (sp->closing && sp->settle_error != 0) {
		journal_refuse_waiting(sp->journal); /* nobody gives room now */
	}
	if (sp->closing || sp->resting) {
		return UINT64_MAX;
	}
	journal_usage(sp->journal, &u);
	if (u.waiting > 0 && u.waiting_ms >= sp->patience_ms) {
		journal_refuse_waiting(sp->journal);
	} else if (u.waiting > 0) {
		spool_timer(sp, (unsigned)(sp->patience_ms - u.waiting_ms) + 1);
	}
	used = u.used - u.going;
	if (used <= u.size / 2 && (u.waiting == 0 || u.going > 0)) {
		return 0;
	}
	segment = u.size / sp->journal_segments;
	over = used > u.size / 2 ? used - u.size / 2 : 1;
	return u.oldest + (over + segment - 1) / segment;
}

/* Without what is being settled. */
static bool
is_memory_short(const struct spool *sp)
{
	return sp->memory - sp->settling_octets > sp->memory_limit;
}

/* A timer may come a little early: it is set again. */
static bool
is_pausing(struct spool *sp)
{
	const uint64_t now = now_ms();

	if (sp->settle_error == 0 || now >= sp->settle_pause) {
		return false;
	}
	spool_timer(sp, (unsigned)(sp->settle_pause - now) + 1);
	return true;
}

static void
unlink_doomed(struct spool *sp)
{
	struct spool_msg *m;

	while ((m = STAILQ_FIRST(&sp->doomed)) != NULL && !m->busy &&
	    sp->settling < SETTLING_MAX) {
		STAILQ_REMOVE_HEAD(&sp->doomed, doomed_next);
		spool_settle(sp, m);
	}
	if (m != NULL) {
		m->passed = true;
	}
}

/* The oldest first. Those that live are mostly slow or deferred ones: what is
   delivered within its first second is gone before its segment is wanted. */
void
spool_settle_some(struct spool *sp)
{
	struct spool_msg *m, *next;
	unsigned tries = 0;
	uint64_t below;

	if (sp->journal == NULL || sp->failed != 0 ||
	    (!sp->settle_more && STAILQ_EMPTY(&sp->doomed) &&
	    !is_memory_short(sp))) {
		return;
	}
	below = sp->settle_more ? segments_wanted(sp) : 0;
	sp->settle_more = false;
	if (is_pausing(sp)) {
		return;
	}
	unlink_doomed(sp);
	for (m = TAILQ_FIRST(&sp->anchored); m != NULL &&
	    (m->anchor < below || is_memory_short(sp)) &&
	    sp->settling < SETTLING_MAX && tries < TRIES_MAX; m = next) {
		next = TAILQ_NEXT(m, by_anchor);
		if (m->busy || m->doomed) {
			m->passed = true;
			tries++;
		} else {
			spool_settle(sp, m);
		}
	}
}

/* -- the journal's own calls --------------------------------------------------------- */

static void
on_failed(void *arg, int error)
{
	struct spool *sp = arg;

	log_error("spool: the journal cannot be written: %s; nothing more is "
	    "accepted, a new start is needed", strerror(error));
	sp->failed = error;
	if (sp->on_fatal != NULL) {
		sp->on_fatal(sp->on_fatal_arg, error);
	}
}

static void
on_pressure(void *arg)
{
	struct spool *sp = arg;

	sp->settle_more = true;
	if (TAILQ_EMPTY(&sp->anchored)) {
		raise_floor(sp);
	}
	spool_wake(sp);
}

void
spool_journal_ready(struct spool *sp)
{
	journal_on_failed(sp->journal, on_failed, sp);
	journal_on_pressure(sp->journal, on_pressure, sp);
	sp->running = true;
	sp->settle_more = true;
}

/* At the end: messages that have no file get one, if that can be. Gives up when
   it cannot: then the next start reads the journal. */
bool
spool_at_rest(const struct spool *sp)
{
	return sp->journal == NULL || sp->failed != 0 ||
	    sp->settle_error != 0 || TAILQ_EMPTY(&sp->anchored);
}

void
spool_counters(const struct spool *sp, struct spool_counters *out)
{
	struct journal_usage u;

	*out = (struct spool_counters){ .messages = sp->index.entries,
		.corrupt = sp->corrupt, .memory = sp->memory,
		.unfiled = sp->nunfiled,
		.unsettled = sp->nanchored - sp->nunfiled,
		.spilled = sp->spilled, .settled = sp->settled };
	if (sp->journal == NULL) {
		return;
	}
	journal_usage(sp->journal, &u);
	out->journal_used = u.used;
	out->journal_size = u.size;
	out->waiting = u.waiting;
	out->flushes = u.flushes;
	out->entries = u.entries;
}

bool
spool_rest(struct spool *sp)
{
	if (sp->journal == NULL) {
		return true;
	}
	if (!sp->resting) {
		sp->resting = true;
		sp->settle_error = 0;
	}
	sp->settle_more = true;
	spool_wake(sp);
	return sp->settling == 0 && spool_at_rest(sp);
}

void
spool_journal_close(struct spool *sp)
{
	if (sp->journal == NULL) {
		return;
	}
	if (TAILQ_EMPTY(&sp->anchored) && sp->failed == 0) {
		journal_set_floor(sp->journal, UINT64_MAX);
	} else if (sp->failed == 0) {
		log_warn("spool: not at rest: the journal keeps what is news of "
		    "%zu messages, for the next start%s%s", sp->nanchored,
		    sp->settle_error != 0 ? ": " : "", sp->settle_error != 0 ?
		    strerror(sp->settle_error) : "");
	}
	journal_close(sp->journal);
	sp->journal = NULL;
}
