/*
 * What is known of every message, be it active or not: the entries, sorted by
 * queue id, so that a list can go on where it stopped; and what the entries add
 * up to.
 */
#include "config.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

/* -- the table -------------------------------------------------------------- */

static bool
due_before(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->due_ms != y->due_ms ? x->due_ms < y->due_ms : x->qid < y->qid;
}

void
sched_entries_init(struct sched *s)
{
	spool_index_init(&s->entries);
	heap_init(&s->later, due_before, offsetof(struct entry, place));
	intern_init(&s->tos, s->dest_key);
	intern_init(&s->froms, s->dest_key);
}

void
sched_entries_clear(struct sched *s)
{
	struct spool_index_at at = { 0 };
	void **place;

	while ((place = spool_index_each(&s->entries, &at)) != NULL) {
		free(*place);
	}
	spool_index_clear(&s->entries);
	heap_clear(&s->later);
	intern_clear(&s->tos);
	intern_clear(&s->froms);
}

struct entry *
sched_find(const struct sched *s, uint64_t qid)
{
	void **place = spool_index_find(&s->entries, qid);

	return place != NULL ? *place : NULL;
}

struct entry *
sched_entry_new(struct sched *s, uint64_t qid)
{
	struct entry *e = xcalloc(1, sizeof(*e));

	e->qid = qid;
	e->place = HEAP_OUT;
	*spool_index_add(&s->entries, qid) = e;
	return e;
}

void
sched_entry_free(struct sched *s, struct entry *e)
{
	assert(e->work == NULL);
	sched_not_later(s, e);
	(void)spool_index_drop(&s->entries, e->qid);
	intern_drop(&s->tos, e->to);
	intern_drop(&s->froms, e->from);
	free(e);
}

void
sched_later(struct sched *s, struct entry *e, uint64_t due_ms)
{
	assert(e->work == NULL);
	sched_not_later(s, e);
	e->due_ms = due_ms;
	heap_push(&s->later, e);
}

void
sched_not_later(struct sched *s, struct entry *e)
{
	if (e->place != HEAP_OUT) {
		heap_remove(&s->later, e);
	}
}

/* -- what pages tell -------------------------------------------------------- */

/* Takes the place of a number that the entry has. */
static void
know(struct intern *in, uint32_t *number, struct slice text)
{
	uint32_t was = *number;

	*number = intern_add(in, text);
	intern_drop(in, was);
}

/* "smtp:example.org"; mailboxes of this host are one. */
static void
learn_to(struct sched *s, struct entry *e, const struct rcpt_item *it)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	(void)strbuf_add_slice(&b, it->transport);
	if (sched_transport_of(it->transport) != SCHED_T_LOCAL &&
	    !slice_eq(it->transport, SL("error"))) {
		(void)strbuf_add_char(&b, ':');
		(void)strbuf_add_slice(&b, it->next_hop);
	}
	know(&s->tos, &e->to, strbuf_slice(&b));
	strbuf_clear(&b);
}

/* When all addresses are too many, by their domain. */
static void
learn_from(struct sched *s, struct entry *e, struct slice path)
{
	size_t at;

	if (path.n == 0) {
		path = SL("<>");
	}
	know(&s->froms, &e->from, path);
	at = slice_find(path, '@');
	if (e->from == 0 && at < path.n) {
		know(&s->froms, &e->from, slice_make(path.p + at, path.n - at));
	}
}

void
sched_entry_learn(struct sched *s, struct entry *e,
    const struct sched_entry_in *in)
{
	struct slice page = in->page;
	struct rcpt_item it;
	bool bad;

	e->arrived_s = (uint32_t)(in->arrived_us / 1000000);
	e->size = in->size < UINT32_MAX ? (uint32_t)in->size : UINT32_MAX;
	e->rcpts = in->rcpts_open < UINT16_MAX ? (uint16_t)in->rcpts_open :
	    UINT16_MAX;
	if (e->from == 0) { /* it never changes */
		learn_from(s, e, in->reverse_path);
	}
	if (rcpt_item_decode(&page, &it, &bad)) {
		learn_to(s, e, &it);
	}
}

/* -- the view --------------------------------------------------------------- */

static enum sched_state
state_of(const struct entry *e)
{
	return e->hold ? SCHED_S_HOLD :
	    e->work != NULL ? SCHED_S_ACTIVE : SCHED_S_DEFERRED;
}

void
sched_info(const struct sched *s, uint64_t qid, struct sched_info *out)
{
	const struct entry *e = sched_find(s, qid);

	*out = (struct sched_info){ .state = SCHED_S_UNKNOWN };
	if (e == NULL) {
		return;
	}
	*out = (struct sched_info){ .state = state_of(e),
		.held = e->held && e->work == NULL,
		.running = e->work != NULL ? e->work->running : 0,
		.arrived_s = e->arrived_s, .size = e->size, .rcpts = e->rcpts,
		.to = intern_get(&s->tos, e->to),
		.from = intern_get(&s->froms, e->from) };
	if (out->state == SCHED_S_DEFERRED && e->place != HEAP_OUT &&
	    e->due_ms > s->mono_ms) {
		out->due_in_ms = e->due_ms - s->mono_ms;
	}
}

bool
sched_is_active(const struct sched *s, uint64_t qid, uint32_t index)
{
	const struct entry *e = sched_find(s, qid);
	const struct rcpt *rc;

	if (e == NULL || e->work == NULL) {
		return false;
	}
	rc = sched_rcpt_find(e->work, index);
	return rc != NULL && rc->state != RCPT_RECORD;
}

void
sched_counts(const struct sched *s, struct sched_counts *out)
{
	struct spool_index_at at = { 0 };
	void **place;

	*out = (struct sched_counts){ .rcpts = s->nrcpts,
		.running = s->nrunning, .destinations = s->ndests };
	while ((place = spool_index_each(&s->entries, &at)) != NULL) {
		switch (state_of(*place)) {
		case SCHED_S_ACTIVE:
			out->active++;
			break;
		case SCHED_S_HOLD:
			out->hold++;
			break;
		case SCHED_S_DEFERRED:
		case SCHED_S_UNKNOWN:
			out->deferred++;
			break;
		}
	}
}

size_t
sched_list(const struct sched *s, uint64_t after, uint64_t *out, size_t max)
{
	return spool_index_list(&s->entries, after, out, max);
}

size_t
sched_known(const struct sched *s)
{
	return s->entries.entries;
}

uint64_t
sched_last(const struct sched *s)
{
	return spool_index_last(&s->entries);
}

/* Below 5 minutes, 10, 20, ...; the last is all that is older. */
static unsigned
age_class(uint64_t age_s)
{
	uint64_t limit = SCHED_AGE_FIRST_S;
	unsigned i = 0;

	while (i < SCHED_AGES - 1 && age_s >= limit) {
		limit *= 2;
		i++;
	}
	return i;
}

struct sched_sum *
sched_summary(const struct sched *s, enum sched_by by, enum sched_state only,
    size_t *n)
{
	const struct intern *in = by == SCHED_BY_SENDER ? &s->froms : &s->tos;
	struct sched_sum *sums = xcalloc(intern_end(in), sizeof(*sums)), *to;
	struct spool_index_at at = { 0 };
	const struct entry *e;
	void **place;
	uint32_t i;

	*n = intern_end(in);
	while ((place = spool_index_each(&s->entries, &at)) != NULL) {
		e = *place;
		if (only == SCHED_S_UNKNOWN || only == state_of(e)) {
			to = &sums[by == SCHED_BY_SENDER ? e->from : e->to];
			to->n++;
			to->octets += e->size;
			to->by_age[age_class(sched_age_s(s,
			    (uint64_t)e->arrived_s * 1000000))]++;
		}
	}
	for (i = 0; i < *n; i++) {
		sums[i].text = intern_get(in, i);
	}
	return sums;
}
