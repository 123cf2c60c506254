/* What a message's records add up to, in memory. */
#include "config.h"

#include <stdlib.h>

#include "common/crc32c.h"
#include "common/spool_file.h"
#include "common/xmalloc.h"

/* A recipient with its five texts, about. */
#define RCPT_OCTETS                                                            \
	(sizeof(struct recipient) + sizeof(struct spool_rcpt_state) + 160)

struct spool_state *
spool_state_new(const struct spool_header *h, struct envelope *e)
{
	struct spool_state *st = xcalloc(1, sizeof(*st));
	uint32_t i;

	st->header = *h;
	st->envelope = *e;
	envelope_init(e);
	strbuf_init(&st->group, 0);
	st->end = SPOOL_HEADER + h->content_n + h->envelope_n;
	st->rcpts = xcalloc(st->envelope.nrcpts, sizeof(*st->rcpts));
	for (i = 0; i < st->envelope.nrcpts; i++) {
		st->rcpts[i].esc = st->rcpts[i].reply = "";
		st->rcpts[i].relay = "";
	}
	st->open = st->envelope.nrcpts;
	st->octets = sizeof(*st) + 256 + st->envelope.nrcpts * RCPT_OCTETS;
	return st;
}

void
spool_state_free(struct spool_state *st)
{
	uint32_t i;

	if (st == NULL) {
		return;
	}
	for (i = 0; i < st->envelope.nrcpts; i++) {
		free(st->rcpts[i].owned);
	}
	free(st->rcpts);
	free(st->hold_reason);
	strbuf_clear(&st->group);
	envelope_clear(&st->envelope);
	free(st);
}

static bool
is_done(uint8_t fate)
{
	return fate != FATE_NONE && fate != FATE_DEFERRED &&
	    fate != FATE_WARNED;
}

bool
spool_state_news(const struct spool_state *st, const struct fate_item *item)
{
	const struct spool_rcpt_state *r;

	if (item->index >= st->envelope.nrcpts) {
		return false;
	}
	r = &st->rcpts[item->index];
	if (is_done(r->fate)) {
		return false;
	}
	if (item->fate == FATE_WARNED) {
		return !r->warned;
	}
	return is_done(item->fate) || item->attempt > r->attempt ||
	    (item->attempt == r->attempt && item->next_at != r->next_at);
}

/* Copies `s' with a NUL to *at and moves it on. */
static const char *
put_text(char **at, struct slice s)
{
	char *p = *at;

	memcpy(p, s.n > 0 ? s.p : "", s.n);
	*at += s.n + 1;
	return p;
}

/* The texts in one allocation, or none. */
static void
set_texts(struct spool_state *st, struct spool_rcpt_state *r,
    const struct fate_item *item)
{
	size_t n = item->esc.n + item->reply.n + item->relay.n;
	char *p;

	if (r->owned != NULL) {
		st->octets -= strlen(r->esc) + strlen(r->reply) +
		    strlen(r->relay) + 3;
		free(r->owned);
	}
	r->owned = NULL;
	r->esc = r->reply = r->relay = "";
	if (n == 0) {
		return;
	}
	p = r->owned = xcalloc(1, n + 3);
	r->esc = put_text(&p, item->esc);
	r->reply = put_text(&p, item->reply);
	r->relay = put_text(&p, item->relay);
	st->octets += n + 3;
}

static void
apply_fate(struct spool_state *st, const struct fate_item *item)
{
	struct spool_rcpt_state *r;

	if (!spool_state_news(st, item)) {
		return;
	}
	r = &st->rcpts[item->index];
	if (item->fate == FATE_WARNED) {
		r->warned = true;
		return;
	}
	r->fate = item->fate;
	r->attempt = item->attempt;
	r->next_at = item->next_at;
	set_texts(st, r, item);
	st->open -= is_done(r->fate);
}

static void
apply_hold(struct spool_state *st, const struct spool_record *r)
{
	st->hold = r->on;
	free(st->hold_reason);
	st->hold_reason = r->on ? xslicedup(r->reason) : NULL;
}

size_t
spool_state_apply(struct spool_state *st, struct slice in)
{
	size_t all = in.n;
	struct spool_record r;
	const char *at;

	for (at = in.p; spool_record_next(&in, st->header.qid, &r);
	    at = in.p) {
		switch ((enum spool_record_kind)r.kind) {
		case SPOOL_REC_FATE:
			apply_fate(st, &r.fate);
			break;
		case SPOOL_REC_HOLD:
			apply_hold(st, &r);
			break;
		case SPOOL_REC_CRASH:
			if (r.crashes > st->crashes) {
				st->crashes = r.crashes;
			}
			break;
		case SPOOL_REC_GROUP:
			strbuf_reset(&st->group);
			(void)strbuf_add(&st->group, at, (size_t)(in.p - at));
			break;
		}
	}
	return all - in.n;
}

void
spool_state_records(const struct spool_state *st, struct strbuf *out)
{
	const uint64_t qid = st->header.qid;
	uint32_t i;

	if (st->group.n > 0) {
		(void)strbuf_add_slice(out, strbuf_slice(&st->group));
	}
	for (i = 0; i < st->envelope.nrcpts; i++) {
		const struct spool_rcpt_state *r = &st->rcpts[i];
		struct fate_item item = { .index = i, .fate = r->fate,
			.attempt = r->attempt, .next_at = r->next_at,
			.esc = slice_of(r->esc), .reply = slice_of(r->reply),
			.relay = slice_of(r->relay) };

		if (r->fate != FATE_NONE) {
			spool_record_fate(out, qid, &item);
		}
		if (r->warned && !is_done(r->fate)) {
			item = (struct fate_item){ .index = i,
				.fate = FATE_WARNED };
			spool_record_fate(out, qid, &item);
		}
	}
	if (st->hold) {
		spool_record_hold(out, qid, true, slice_of(
		    st->hold_reason != NULL ? st->hold_reason : ""));
	}
	if (st->crashes > 0) {
		spool_record_crash(out, qid, st->crashes);
	}
}

void
spool_image(struct spool_state *st, struct slice content,
    const struct slice *records, char *head, struct strbuf *tail)
{
	struct spool_header *h = &st->header;
	const size_t at = tail->n;

	envelope_encode(&st->envelope, tail);
	h->envelope_n = (uint32_t)(tail->n - at);
	h->envelope_crc = crc32c(0, tail->p + at, h->envelope_n);
	h->content_crc = crc32c(0, content.p, content.n);
	if (records != NULL) {
		(void)strbuf_add_slice(tail, *records);
	} else {
		spool_state_records(st, tail);
	}
	st->end = SPOOL_HEADER + h->content_n + (tail->n - at);
	spool_header_encode(h, head);
}

static int
compare_u32(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

uint32_t
spool_state_open_after(const struct spool_state *st, struct slice records)
{
	uint32_t *done = NULL, open = st->open;
	struct spool_record r;
	size_t i, n = 0;

	while (spool_record_next(&records, st->header.qid, &r)) {
		if (r.kind != SPOOL_REC_FATE || !is_done(r.fate.fate) ||
		    !spool_state_news(st, &r.fate)) {
			continue;
		}
		if ((n & (n - 1)) == 0) {
			done = xreallocarray(done, n == 0 ? 1 : n * 2,
			    sizeof(*done));
		}
		done[n++] = r.fate.index;
	}
	if (n > 1) {
		qsort(done, n, sizeof(*done), compare_u32);
	}
	for (i = 0; i < n; i++) {
		open -= i == 0 || done[i] != done[i - 1];
	}
	free(done);
	return open;
}
