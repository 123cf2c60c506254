#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

/* -- recipients ------------------------------------------------------------ */

struct rcpt *
sched_rcpt_find(const struct work *w, uint32_t index)
{
	struct rcpt *rc;

	TAILQ_FOREACH(rc, &w->rcpts, link) {
		if (rc->index == index) {
			return rc;
		}
	}
	return NULL;
}

static struct slice
keep(char **at, struct slice from)
{
	struct slice copy = slice_make(*at, from.n);

	if (from.n > 0) {
		memcpy(*at, from.p, from.n);
	}
	*at += from.n;
	return copy;
}

/* RECORD, until it is given a job. */
static struct rcpt *
rcpt_new(struct sched *s, struct work *w, const struct rcpt_item *in)
{
	struct rcpt *rc = xcalloc(1, sizeof(*rc));
	char *at = rc->text = xmalloc(in->address.n + in->original.n +
	    in->extension.n + 1);

	rc->work = w;
	rc->index = in->index;
	rc->attempt = in->attempt;
	rc->epoch = s->epoch;
	rc->warned = in->warned;
	rc->address = keep(&at, in->address);
	rc->original = keep(&at, in->original);
	rc->extension = keep(&at, in->extension);
	rc->state = RCPT_RECORD;
	w->record++;
	s->nrcpts++;
	TAILQ_INSERT_TAIL(&w->rcpts, rc, link);
	return rc;
}

void
sched_rcpt_free(struct sched *s, struct rcpt *rc)
{
	struct work *w = rc->work;

	if (rc->state != RCPT_RECORD) {
		sched_leave_job(s, rc);
	}
	if (!rc->sent && rc->fate != FATE_NONE) {
		w->unsent--;
	}
	w->record--;
	s->nrcpts--;
	TAILQ_REMOVE(&w->rcpts, rc, link);
	free(rc->text);
	free(rc->reply);
	free(rc->relay);
	free(rc);
}

void
sched_waits(struct work *w, uint64_t next_at, bool warned)
{
	w->waiting++;
	w->unwarned += !warned;
	if (next_at < w->next_at) {
		w->next_at = next_at;
	}
}

void
sched_stuck(struct work *w, struct slice esc, struct slice reply)
{
	struct strbuf text;

	if (w->stuck++ > 0) {
		return;
	}
	strbuf_init(&text, 0);
	if (slice_eq(esc, SL("5.4.7"))) {
		(void)strbuf_add_slice(&text, reply);
	} else {
		(void)strbuf_printf(&text, "failed: %.*s %.*s", SLF(esc),
		    SLF(reply));
	}
	free(w->stuck_reason);
	w->stuck_reason = strbuf_take(&text);
}

/* -- pages ----------------------------------------------------------------- */

static void
park(struct work *w, struct slice reason)
{
	if (w->parked++ == 0) {
		w->parked_reason = xslicedup(reason.n > 0 ? reason :
		    SL("held by its transport"));
	}
}

/* A recipient that is to be tried now. */
static void
load_due(struct sched *s, struct work *w, const struct rcpt_item *in)
{
	uint64_t until;

	if (slice_eq(in->transport, SL("hold"))) {
		park(w, in->next_hop);
	} else if (sched_domain_held(s, in->address, &until)) {
		if (until != 0 && (w->held_until == 0 || until < w->held_until)) {
			w->held_until = until;
		}
		w->held++;
	} else {
		sched_route(s, rcpt_new(s, w, in), in->transport,
		    in->next_hop);
	}
}

/* The route may have changed since, the agent that has it has not. */
static enum sched_transport
claimed_by(const struct claim *c, struct slice transport)
{
	int t = sched_transport_of(transport);

	if (t >= 0 && sched_agent_of((enum sched_transport)t) == c->agent) {
		return (enum sched_transport)t;
	}
	return c->agent == SCHED_LOCAL ? SCHED_T_LOCAL : SCHED_T_SMTP;
}

/* Returns true when the agent has it, or its result. */
static bool
load_claimed(struct sched *s, struct work *w, const struct rcpt_item *in)
{
	struct claim *c = sched_claim_take(s, w->entry->qid, in->index);
	struct sched_outcome o;
	struct rcpt *rc;

	if (c == NULL) {
		return false;
	}
	if (c->attempt != in->attempt) { /* of an attempt that is recorded */
		if (c->is_result) {
			sched_ack(s, c->agent, c->qid, c->index, c->attempt);
		}
		sched_claim_free(c);
		return false;
	}
	rc = rcpt_new(s, w, in);
	if (c->is_result) {
		rc->ack = true;
		rc->agent = c->agent;
		o = (struct sched_outcome){ c->fate, slice_of(c->esc),
			slice_of(c->reply), slice_of(c->relay), 0 };
		sched_record(s, rc, &o);
	} else {
		sched_dispatch(s, rc, claimed_by(c, in->transport),
		    in->next_hop, true);
	}
	sched_claim_free(c);
	return true;
}

static void
load_item(struct sched *s, struct work *w, const struct rcpt_item *in)
{
	if (sched_rcpt_find(w, in->index) != NULL || load_claimed(s, w, in)) {
		return;
	}
	if (w->entry->hold || w->ending) {
		w->again = true;
	} else if (!w->force && !s->cfg.soft_bounce &&
	    in->fate == FATE_DEFERRED && in->esc.n > 0 &&
	    in->esc.p[0] == '5') {
		sched_stuck(w, in->esc, in->reply);
	} else if (!w->force && !sched_is_due(s, in->next_at)) {
		sched_waits(w, in->next_at, in->warned);
	} else if (!w->route && in->attempt > 0) {
		sched_waits(w, 0, true); /* at once, but with a fresh route */
	} else {
		load_due(s, w, in);
	}
}

/* Every item can be read, and there is nothing behind. */
static bool
page_is_good(struct slice page)
{
	struct rcpt_item it;
	bool bad = false;
	unsigned n = 0;

	while (rcpt_item_decode(&page, &it, &bad)) {
		if (it.fate != FATE_NONE && it.fate != FATE_DEFERRED) {
			return false;
		}
		n++;
	}
	return !bad && n <= ENVELOPE_PAGE_RCPTS;
}

static void
load_page(struct sched *s, struct work *w, const struct sched_entry_in *in)
{
	struct slice page = in->page;
	struct rcpt_item it;
	bool bad;

	free(w->reverse_path);
	w->reverse_path = xslicedup(in->reverse_path);
	w->sender = sched_sender_key(s, in->reverse_path);
	w->arrived_us = in->arrived_us;
	w->size = in->size;
	w->flags = in->flags;
	w->next_index = in->next_index;
	while (rcpt_item_decode(&page, &it, &bad)) {
		load_item(s, w, &it);
	}
	sched_came_in(s, w); /* after its jobs: they count instead */
	if (in->next_index == 0) {
		w->whole = true;
		if (!w->fresh_claim) {
			sched_claims_end(s, w->entry->qid);
		}
	}
}

/* The earliest time at which anything of a first page is to be done; 0: now. */
static uint64_t
page_due(const struct sched *s, const struct sched_entry_in *in)
{
	struct slice page = in->page;
	struct rcpt_item it;
	uint64_t at = UINT64_MAX;
	bool bad;

	if (in->next_index != 0) {
		return 0;
	}
	while (rcpt_item_decode(&page, &it, &bad)) {
		if (sched_is_due(s, it.next_at)) {
			return 0;
		}
		if (it.next_at < at) {
			at = it.next_at;
		}
	}
	return at == UINT64_MAX ? 0 : at;
}

/* A message of a TAKE. */
static enum sched_entry
take_entry(struct sched *s, const struct sched_entry_in *in)
{
	struct entry *e = sched_find(s, in->qid);
	struct work *w;
	bool active;

	if (e != NULL) {
		return SCHED_ENTRY_KEPT; /* cleanup began anew: known already */
	}
	e = sched_entry_new(s, in->qid);
	e->hold = in->hold;
	sched_entry_learn(s, e, in);
	/* One that has as many and is not on hold was released since. */
	e->crashes = in->crashes < SCHED_CRASH_HOLD ? in->crashes :
	    SCHED_CRASH_HOLD - 1;
	if (sched_has_claim(s, in->qid)) {
		sched_later(s, e, s->mono_ms);
	} else if (in->hold) {
		return SCHED_ENTRY_KEPT;
	} else if (page_due(s, in) != 0) {
		sched_later(s, e, sched_due_ms(s, page_due(s, in)));
	} else if (s->nactive >= s->cfg.active_limit ||
	    s->nrcpts >= SCHED_RCPTS_MAX) {
		/* Known by id only, before the retries that have come due. */
		sched_later(s, e, s->mono_ms > s->cfg.min_backoff * 1000 ?
		    s->mono_ms - s->cfg.min_backoff * 1000 : 0);
	} else if (!sched_stays_outside(s, e, in, e->force)) {
		w = sched_work_new(s, e);
		load_page(s, w, in);
		active = !TAILQ_EMPTY(&w->rcpts);
		sched_work_check(s, w);
		return active ? SCHED_ENTRY_ACTIVE : SCHED_ENTRY_KEPT;
	}
	return SCHED_ENTRY_KEPT;
}

/* Its first page has come, and that is all that is known of it. */
static bool
is_fresh(const struct sched *s, const struct work *w)
{
	return w->lane == NULL && w->from == 0 && TAILQ_EMPTY(&w->rcpts) &&
	    !w->ending && !w->entry->hold && !w->fresh_claim &&
	    !w->again && !w->slow && !w->fates_out &&
	    !sched_has_claim(s, w->entry->qid);
}

enum sched_entry
sched_entry(struct sched *s, const struct sched_entry_in *in, bool taken)
{
	struct entry *e;
	struct work *w;
	bool active;

	if (!page_is_good(in->page)) {
		return SCHED_ENTRY_BAD;
	}
	if (taken) {
		return take_entry(s, in);
	}
	e = sched_find(s, in->qid);
	w = e != NULL ? e->work : NULL;
	if (w == NULL || w->page != PAGE_ASKED) {
		return SCHED_ENTRY_KEPT;
	}
	w->page = PAGE_NONE;
	s->gets_out--;
	e->hold = e->hold || in->hold;
	if (w->from == 0) {
		sched_entry_learn(s, e, in);
	}
	if (is_fresh(s, w) && sched_stays_outside(s, e, in, w->force)) {
		e->force = e->force || w->force;
		sched_work_free(s, w);
		return SCHED_ENTRY_KEPT;
	}
	load_page(s, w, in);
	active = w->from == 0 && !TAILQ_EMPTY(&w->rcpts);
	sched_work_check(s, w);
	return active ? SCHED_ENTRY_ACTIVE : SCHED_ENTRY_KEPT;
}

void
sched_taken(struct sched *s)
{
	s->take_out = false;
}

void
sched_gone(struct sched *s, uint64_t qid, bool temporary)
{
	struct entry *e = sched_find(s, qid);
	struct work *w = e != NULL ? e->work : NULL;

	if (w == NULL || w->page != PAGE_ASKED) {
		return;
	}
	w->page = PAGE_NONE;
	s->gets_out--;
	if (!temporary) {
		sched_entry_gone(s, e);
		return;
	}
	/* What was not read is tried later, with what waits. */
	w->whole = true;
	w->again = w->later = true;
	sched_work_check(s, w);
}
