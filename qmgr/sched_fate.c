#include "config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/grey.h"
#include "qmgr/sched_int.h"

#define HELD_LOOK_S  86400 /* in case that a release was missed */
#define GREY_USUAL_S 300 /* after greylisting that names no time */

/* -- a recipient gets its fate --------------------------------------------- */

/* One printable line of at most REPLY_TEXT_MAX octets; takes `prefix' too. */
static char *
line_of(struct slice prefix, struct slice text)
{
	char *line = xmalloc(REPLY_TEXT_MAX + 1);
	size_t n = 0, i;

	for (i = 0; i < prefix.n + text.n && n < REPLY_TEXT_MAX; i++) {
		line[n] = i < prefix.n ? prefix.p[i] : text.p[i - prefix.n];
		if (ascii_iscntrl(line[n])) {
			line[n] = ' ';
		}
		n++;
	}
	line[n] = '\0';
	return line;
}

/* "5d", "90m": the largest unit that divides it. */
static void
print_seconds(char *out, size_t cap, uint64_t s)
{
	static const struct {
		uint64_t seconds;
		char unit;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	size_t i = 0;
	int n;

	while (s % units[i].seconds != 0) {
		i++;
	}
	n = s == 0 ? snprintf(out, cap, "tried once: ") :
	    snprintf(out, cap, "expired after %llu%c: ",
	    (unsigned long long)(s / units[i].seconds), units[i].unit);
	assert(n > 0 && (size_t)n < cap);
}

/* The code as the fate wants it: an agent may have got it wrong. */
static void
set_esc(struct rcpt *rc, char first, struct slice esc)
{
	if (esc.n < 5 || esc.n >= ESC_MAX || esc.p[1] != '.') {
		esc = SL("x.0.0");
	}
	memcpy(rc->esc, esc.p, esc.n);
	rc->esc[esc.n] = '\0';
	rc->esc[0] = first;
}

static uint64_t
lifetime_of(const struct sched *s, const struct work *w)
{
	return w->reverse_path[0] == '\0' ? s->cfg.bounce_lifetime :
	    s->cfg.lifetime;
}

static bool
has_expired(const struct sched *s, const struct rcpt *rc)
{
	const uint64_t lifetime = lifetime_of(s, rc->work);

	/* Old by the clock, and tried since the clock was set last. Without a
	   lifetime it is tried once. */
	return rc->epoch == s->epoch && (lifetime == 0 ||
	    sched_age_s(s, rc->work->arrived_us) > lifetime);
}

/* When to try again: with the others of this message if that is near. */
static uint64_t
next_try(struct sched *s, struct work *w)
{
	uint64_t age = sched_age_s(s, w->arrived_us);
	uint64_t now = sched_now_s(s);
	uint64_t base = age < s->cfg.min_backoff ? s->cfg.min_backoff :
	    age > s->cfg.max_backoff ? s->cfg.max_backoff : age;
	uint64_t least = base - base / 10 < s->cfg.min_backoff ?
	    s->cfg.min_backoff : base - base / 10;

	if (w->defer_at < now + least || w->defer_at > now + base + base / 10) {
		w->defer_at = now + sched_backoff(&s->cfg, age, sched_random(s));
	}
	return w->defer_at;
}

void
sched_record(struct sched *s, struct rcpt *rc, const struct sched_outcome *o)
{
	enum fate fate = o->fate == FATE_FAILED && s->cfg.soft_bounce ?
	    FATE_DEFERRED : o->fate;
	struct work *w = rc->work;
	struct slice prefix = SL("");
	char expired[64];

	if (rc->state != RCPT_RECORD) {
		sched_leave_job(s, rc);
	}
	rc->fate = fate == FATE_FAILED ? FATE_DEFERRED : fate;
	set_esc(rc, fate == FATE_DELIVERED ? '2' : fate == FATE_FAILED ? '5' : '4',
	    o->esc);
	if (fate == FATE_DEFERRED && has_expired(s, rc)) {
		print_seconds(expired, sizeof(expired), lifetime_of(s, w));
		prefix = slice_of(expired);
		memcpy(rc->esc, "5.4.7", 6); /* delivery time expired */
		rc->stuck = true;
	}
	rc->stuck = rc->stuck || fate == FATE_FAILED;
	rc->next_at = rc->fate == FATE_DELIVERED ? 0 :
	    rc->stuck ? s->real_us / 1000000 :
	    o->next_at > 0 ? o->next_at : next_try(s, w);
	rc->reply = line_of(prefix, o->reply);
	rc->relay = line_of(SL(""), o->relay);
	w->resulted = true;
	w->unsent++;
}

/*
 * After what looks like greylisting: when it says, or soon; else 0. Only once,
 * for who is refused again is better off with the usual backoff.
 */
static uint64_t
grey_try(struct sched *s, const struct rcpt *rc, const struct sched_result *r)
{
	uint64_t usual = s->cfg.min_backoff < GREY_USUAL_S ?
	    s->cfg.min_backoff : GREY_USUAL_S;
	uint64_t wait, spread;

	if (rc->attempt > 0 || r->fate != FATE_DEFERRED || r->site) {
		return 0;
	}
	wait = grey_wait_s(r->esc, r->reply, usual);
	if (wait == 0 || wait > s->cfg.max_backoff) {
		return 0;
	}
	spread = sched_random(s) % (wait / 10 + 1);
	return sched_now_s(s) + wait + spread;
}

static void
record_result(struct sched *s, struct rcpt *rc, const struct sched_result *r)
{
	struct sched_outcome o = { r->fate, r->esc, r->reply, r->relay,
		grey_try(s, rc, r) };

	if (r->site) {
		o.next_at = sched_site_next_try(s, rc);
	}
	sched_record(s, rc, &o);
}

bool
sched_result(struct sched *s, enum sched_agent a, const struct sched_result *r)
{
	struct entry *e = sched_find(s, r->qid);
	struct work *w = e != NULL ? e->work : NULL;
	struct rcpt *rc = w != NULL ? sched_rcpt_find(w, r->index) : NULL;

	if (rc == NULL) {
		sched_claim_result(s, a, r);
		return true;
	}
	if (r->attempt < rc->attempt) {
		sched_ack(s, a, r->qid, r->index, r->attempt);
		return true; /* of an attempt that is recorded */
	}
	if (r->attempt > rc->attempt) {
		return false;
	}
	sched_site_result(s, rc, r);
	if (rc->state != RCPT_RECORD && w->gone) {
		sched_ack(s, a, r->qid, r->index, r->attempt);
		sched_rcpt_free(s, rc);
	} else {
		rc->ack = true;
		rc->agent = a;
		if (rc->state != RCPT_RECORD) {
			record_result(s, rc, r);
		}
	}
	sched_work_check(s, w);
	return true;
}

/* -- recording ------------------------------------------------------------- */

static void
fill_fate(struct sched_item *it, const struct rcpt *rc)
{
	sched_fill_item(it, rc);
	it->fate.index = rc->index;
	it->fate.attempt = rc->attempt + 1;
	it->fate.fate = (uint8_t)rc->fate;
	it->fate.next_at = rc->next_at;
	it->fate.esc = slice_of(rc->esc);
	it->fate.reply = slice_of(rc->reply);
	it->relay = slice_of(rc->relay);
	if (strcmp(rc->relay, "none") != 0) {
		it->fate.relay = slice_make(rc->relay,
		    strnlen(rc->relay, RELAY_TEXT_MAX));
	} else {
		it->fate.relay = SL(""); /* nobody but us said so */
	}
	it->stuck = rc->stuck;
	it->again = rc->again;
}

/* Those that waited after an error may go again. */
static void
wake_slow(struct sched *s)
{
	struct work *w;

	while ((w = TAILQ_FIRST(&s->slow)) != NULL && w->slow_ms <= s->mono_ms) {
		TAILQ_REMOVE(&s->slow, w, fates_link);
		w->slow = false;
		w->fates_queued = true;
		TAILQ_INSERT_TAIL(&s->fates, w, fates_link);
	}
}

/* All that was open of the message when its activity began is delivered. */
static bool
is_delivered(const struct work *w)
{
	const struct rcpt *rc;

	if (w->next_index != 0 || w->page != PAGE_NONE || w->again ||
	    w->waiting + w->stuck + w->parked > 0) {
		return false;
	}
	TAILQ_FOREACH(rc, &w->rcpts, link) {
		if (!rc->sent || rc->stuck || rc->fate != FATE_DELIVERED) {
			return false;
		}
	}
	return true;
}

/* Those of `w' that are not on their way yet, as many as fit. */
static void
fill_fates(struct sched *s, struct sched_action *a, struct work *w)
{
	struct rcpt *rc;
	size_t octets = 0;

	TAILQ_FOREACH(rc, &w->rcpts, link) {
		if (rc->state != RCPT_RECORD || rc->sent) {
			continue;
		}
		octets += 64 + strlen(rc->reply) + strlen(rc->relay);
		if (a->nitems == NELEMS(s->items) ||
		    octets > SCHED_BATCH_SIZE) {
			break;
		}
		fill_fate(&s->items[a->nitems++], rc);
		rc->sent = rc->again = true;
		w->unsent--;
	}
}

bool
sched_build_fates(struct sched *s, struct sched_action *a)
{
	struct work *w;

	wake_slow(s);
	do {
		if ((w = TAILQ_FIRST(&s->fates)) == NULL) {
			return false;
		}
		TAILQ_REMOVE(&s->fates, w, fates_link);
		w->fates_queued = false;
	} while (w->unsent == 0); /* gone in the meantime */
	w->fates_out = true;
	a->kind = SCHED_FATES;
	a->qid = w->entry->qid;
	a->msg = (struct sched_message){ a->qid, w->arrived_us, w->size,
		w->flags, w->reverse_path };
	a->items = s->items;
	fill_fates(s, a, w);
	a->last = is_delivered(w);
	return true;
}

/* A recorded recipient leaves the memory. */
static void
recorded(struct sched *s, struct rcpt *rc)
{
	struct work *w = rc->work;

	if (rc->ack) {
		sched_ack(s, rc->agent, w->entry->qid, rc->index, rc->attempt);
	}
	if (rc->fate == FATE_DEFERRED && rc->stuck) {
		sched_stuck(w, slice_of(rc->esc), slice_of(rc->reply));
	} else if (rc->fate == FATE_DEFERRED) {
		sched_waits(w, rc->next_at, rc->warned);
	}
	sched_rcpt_free(s, rc);
}

void
sched_fates_ack(struct sched *s, uint64_t qid, bool error, bool gone)
{
	struct entry *e = sched_find(s, qid);
	struct work *w = e != NULL ? e->work : NULL;
	struct rcpt *rc, *next;

	if (w == NULL || !w->fates_out) {
		return;
	}
	w->fates_out = false;
	for (rc = TAILQ_FIRST(&w->rcpts); rc != NULL; rc = next) {
		next = TAILQ_NEXT(rc, link);
		if (rc->state != RCPT_RECORD || !rc->sent) {
			continue;
		}
		if (error) {
			rc->sent = false;
			w->unsent++;
		} else {
			recorded(s, rc);
		}
	}
	if (error) {
		w->slow = w->fates_queued = true;
		w->slow_ms = s->mono_ms + SCHED_PAUSE_MS;
		TAILQ_INSERT_TAIL(&s->slow, w, fates_link);
	} else if (gone) {
		sched_entry_gone(s, e);
		return;
	}
	sched_work_check(s, w);
}

/* -- the message as a whole ------------------------------------------------ */

void
sched_withdraw(struct sched *s, struct work *w)
{
	struct rcpt *rc, *next;

	for (rc = TAILQ_FIRST(&w->rcpts); rc != NULL; rc = next) {
		next = TAILQ_NEXT(rc, link);
		if (rc->state == RCPT_READY) {
			sched_rcpt_free(s, rc);
			w->again = true;
		}
	}
	w->entry->force = w->entry->force || w->force;
}

void
sched_entry_gone(struct sched *s, struct entry *e)
{
	struct work *w = e->work;
	struct rcpt *rc, *next;

	sched_claims_end(s, e->qid);
	if (w == NULL) {
		sched_entry_free(s, e);
		return;
	}
	w->gone = w->ending = true;
	sched_notice_drop(s, w);
	for (rc = TAILQ_FIRST(&w->rcpts); rc != NULL; rc = next) {
		next = TAILQ_NEXT(rc, link);
		if (rc->state == RCPT_RUNNING) {
			continue; /* its result is still to come */
		}
		if (rc->ack) {
			sched_ack(s, rc->agent, e->qid, rc->index, rc->attempt);
		}
		sched_rcpt_free(s, rc);
	}
	sched_work_check(s, w);
}

static void
hold_ourselves(struct sched *s, struct entry *e, const char *reason)
{
	e->hold = true;
	sched_mark_add(s, e->qid, IPC_MARK_HOLD, reason, 0);
}

/* "failed: 5.1.1 no such user (and 2 more)" */
void
sched_hold_stuck(struct sched *s, struct work *w)
{
	char reason[REPLY_TEXT_MAX + 64];
	int n;

	n = w->stuck > 1 ?
	    snprintf(reason, sizeof(reason), "%.*s (and %u more)",
		REPLY_TEXT_MAX, w->stuck_reason, w->stuck - 1) :
	    snprintf(reason, sizeof(reason), "%.*s", REPLY_TEXT_MAX,
		w->stuck_reason);
	assert(n > 0 && (size_t)n < sizeof(reason));
	hold_ourselves(s, w->entry, reason);
}

/* Nobody is to be told, or nothing can be done, and nothing else waits. */
static void
hold_rest(struct sched *s, struct work *w)
{
	if (w->waiting > 0 || w->held > 0 || w->again) {
		return;
	}
	if (w->stuck > 0 && !sched_bounces(w)) {
		sched_hold_stuck(s, w);
	} else if (w->parked > 0) {
		hold_ourselves(s, w->entry, w->parked_reason);
	}
}

/* When the first domain on hold is so no more; its release comes sooner. */
static uint64_t
held_due(const struct sched *s, const struct work *w)
{
	uint64_t now = s->real_us / 1000000;
	uint64_t wait = w->held_until == 0 ? HELD_LOOK_S :
	    w->held_until > now ? w->held_until - now : 0;

	return s->mono_ms + 1000 * (wait < HELD_LOOK_S ? wait : HELD_LOOK_S);
}

/* Nothing of it is in memory any more: what becomes of it. Frees `w'. */
static void
settle(struct sched *s, struct work *w)
{
	struct entry *e = w->entry;
	uint64_t due_ms = s->mono_ms + GONE_AGAIN;
	bool ending = w->ending;

	if (w->gone) {
		sched_work_free(s, w);
		sched_entry_free(s, e);
		return;
	}
	if (!w->crashed && w->resulted) {
		e->crashes = 0; /* the agent lives, so it was not this one */
	}
	if (!e->hold && !ending && e->crashes >= SCHED_CRASH_HOLD) {
		hold_ourselves(s, e, "delivery agent died four times");
	} else if (!e->hold && !ending) {
		hold_rest(s, w);
	}
	if (w->waiting > 0) {
		due_ms = sched_due_ms(s, w->next_at);
	}
	e->held = w->held > 0;
	if (e->held && (w->waiting == 0 || held_due(s, w) < due_ms)) {
		due_ms = held_due(s, w);
	}
	e->force = e->force || (w->again && w->force);
	if (w->again && !w->later) {
		due_ms = s->mono_ms;
	} else if (w->later && due_ms < s->mono_ms + GONE_AGAIN) {
		due_ms = s->mono_ms + GONE_AGAIN;
	}
	sched_work_free(s, w);
	/* While it is ending, its MARKED goes on with it. */
	if (!ending && (!e->hold || sched_has_claim(s, e->qid))) {
		sched_later(s, e, due_ms);
	}
}

/* More of its recipients are to be read, and now. */
static bool
wants_page(const struct sched *s, const struct work *w)
{
	if (w->whole || w->page != PAGE_NONE || w->next_index == 0 ||
	    w->ready + w->record > SCHED_RCPTS_WORK ||
	    w->running > SCHED_RCPTS_RUNNING) {
		return false;
	}
	return !(w->entry->hold || w->ending || w->gone) ||
	    sched_has_claim(s, w->entry->qid);
}

void
sched_work_check(struct sched *s, struct work *w)
{
	if (wants_page(s, w)) {
		w->page = PAGE_WANTED;
		w->from = w->next_index;
		TAILQ_INSERT_TAIL(&s->pages, w, page_link);
	}
	if (w->unsent > 0 && !w->fates_out && !w->fates_queued) {
		w->fates_queued = true;
		TAILQ_INSERT_TAIL(&s->fates, w, fates_link);
	}
	if (TAILQ_EMPTY(&w->rcpts) && w->page == PAGE_NONE && !w->fates_out &&
	    !sched_notice_awaited(s, w)) {
		settle(s, w);
	}
}

/* -- the channel ----------------------------------------------------------- */

void
sched_cleanup_up(struct sched *s)
{
	s->cleanup_up = true;
}

void
sched_cleanup_down(struct sched *s)
{
	struct work *w, *next;

	s->cleanup_up = s->take_out = false;
	sched_marks_lost(s);
	sched_keep_lost(s);
	sched_notices_lost(s);
	for (w = TAILQ_FIRST(&s->works); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->page == PAGE_ASKED) {
			s->gets_out--;
			w->page = PAGE_WANTED;
			TAILQ_INSERT_TAIL(&s->pages, w, page_link);
		}
		if (w->fates_out) {
			sched_fates_ack(s, w->entry->qid, true, false);
		}
	}
}
