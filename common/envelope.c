#include "config.h"

#include <stdlib.h>

#include "common/codec.h"
#include "common/envelope.h"
#include "common/xmalloc.h"

#define ENVELOPE_VERSION 1
/* The least a recipient can take: five empty strings. */
#define RCPT_MIN_OCTETS (5 * 4)

/* The empty string of all envelopes: never freed. */
static char none[1];

static void
drop(char *text)
{
	if (text != none) {
		free(text);
	}
}

void
envelope_init(struct envelope *e)
{
	*e = (struct envelope){ .uid = UINT32_MAX };
	e->reverse_path = e->client_addr = e->client_name = none;
	e->helo = e->proto = none;
}

static void
rcpts_clear(struct envelope *e)
{
	uint32_t i;

	for (i = 0; i < e->nrcpts; i++) {
		free(e->rcpts[i].texts);
	}
	free(e->rcpts);
	e->rcpts = NULL;
	e->nrcpts = 0;
}

void
envelope_clear(struct envelope *e)
{
	rcpts_clear(e);
	drop(e->reverse_path);
	drop(e->client_addr);
	drop(e->client_name);
	drop(e->helo);
	drop(e->proto);
	*e = (struct envelope){ .uid = UINT32_MAX };
}

/* Copies `s' with a NUL to *at and moves it on. */
static const char *
put_text(char **at, struct slice s)
{
	char *p = *at;

	memcpy(p, s.n > 0 ? s.p : "", s.n);
	p[s.n] = '\0';
	*at += s.n + 1;
	return p;
}

uint32_t
envelope_add(struct envelope *e, struct slice address, struct slice original,
    struct slice transport, struct slice next_hop, struct slice extension)
{
	struct recipient *r;
	char *at;

	if ((e->nrcpts & (e->nrcpts - 1)) == 0) { /* 0 or a power of two */
		e->rcpts = xreallocarray(e->rcpts,
		    e->nrcpts == 0 ? 1 : (size_t)e->nrcpts * 2,
		    sizeof(*e->rcpts));
	}
	r = &e->rcpts[e->nrcpts];
	r->texts = at = xmalloc(address.n + original.n + transport.n +
	    next_hop.n + extension.n + 5);
	r->address = put_text(&at, address);
	r->original = put_text(&at, original);
	r->transport = put_text(&at, transport);
	r->next_hop = put_text(&at, next_hop);
	r->extension = put_text(&at, extension);
	return e->nrcpts++;
}

void
envelope_set(char **field, struct slice value)
{
	char *fresh = value.n > 0 ? xslicedup(value) : none;

	drop(*field);
	*field = fresh;
}

static void
enc_text(struct strbuf *b, const char *s)
{
	enc_slice(b, slice_of(s));
}

void
envelope_encode(const struct envelope *e, struct strbuf *out)
{
	uint32_t i;

	enc_u16(out, ENVELOPE_VERSION);
	enc_u64(out, e->qid);
	enc_u64(out, e->parent_qid);
	enc_u32(out, e->parent_rcpt);
	enc_u8(out, e->parent_kind);
	enc_u64(out, e->arrived_us);
	enc_u32(out, e->flags);
	enc_u32(out, e->uid);
	enc_text(out, e->reverse_path);
	enc_text(out, e->client_addr);
	enc_text(out, e->client_name);
	enc_text(out, e->helo);
	enc_text(out, e->proto);
	enc_u32(out, e->nrcpts);
	for (i = 0; i < e->nrcpts; i++) {
		enc_text(out, e->rcpts[i].address);
		enc_text(out, e->rcpts[i].original);
		enc_text(out, e->rcpts[i].transport);
		enc_text(out, e->rcpts[i].next_hop);
		enc_text(out, e->rcpts[i].extension);
	}
}

/* A text for the protocol: no NUL, CR or LF (RFC 5321, 4.1.2; lessons C2). */
static struct slice
dec_text(struct dec *d, size_t max)
{
	struct slice s = dec_slice(d, max);
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] <= '\r' && (s.p[i] == '\0' || s.p[i] == '\r' ||
		    s.p[i] == '\n')) {
			d->bad = true;
		}
	}
	return s;
}

static void
dec_owned(struct dec *d, size_t max, char **field)
{
	struct slice s = dec_text(d, max);

	if (!d->bad) {
		envelope_set(field, s);
	}
}

static void
dec_recipients(struct dec *d, struct envelope *e)
{
	uint32_t i, n = dec_u32(d);
	struct slice address, original, transport, next_hop, extension;

	if (n > ENVELOPE_RCPT_MAX || (size_t)n * RCPT_MIN_OCTETS > d->in.n) {
		d->bad = true;
	}
	for (i = 0; i < n && !d->bad; i++) {
		address = dec_text(d, ENVELOPE_PATH_MAX);
		original = dec_text(d, ENVELOPE_PATH_MAX);
		transport = dec_text(d, ENVELOPE_STR_MAX);
		next_hop = dec_text(d, ENVELOPE_STR_MAX);
		extension = dec_text(d, ENVELOPE_PATH_MAX);
		if (!d->bad) {
			(void)envelope_add(e, address, original, transport,
			    next_hop, extension);
		}
	}
}

bool
envelope_decode(struct slice in, struct envelope *e)
{
	struct dec d = dec_make(in);

	if (dec_u16(&d) != ENVELOPE_VERSION) {
		return false;
	}
	e->qid = dec_u64(&d);
	e->parent_qid = dec_u64(&d);
	e->parent_rcpt = dec_u32(&d);
	e->parent_kind = dec_u8(&d);
	e->arrived_us = dec_u64(&d);
	e->flags = dec_u32(&d);
	e->uid = dec_u32(&d);
	dec_owned(&d, ENVELOPE_PATH_MAX, &e->reverse_path);
	dec_owned(&d, ENVELOPE_STR_MAX, &e->client_addr);
	dec_owned(&d, ENVELOPE_STR_MAX, &e->client_name);
	dec_owned(&d, ENVELOPE_STR_MAX, &e->helo);
	dec_owned(&d, ENVELOPE_STR_MAX, &e->proto);
	dec_recipients(&d, e);
	if (!dec_done(&d)) {
		envelope_clear(e);
		envelope_init(e);
		return false;
	}
	return true;
}

void
rcpt_item_encode(const struct rcpt_item *r, struct strbuf *out)
{
	enc_u32(out, r->index);
	enc_u32(out, r->attempt);
	enc_u8(out, r->fate);
	enc_u64(out, r->next_at);
	enc_slice(out, r->address);
	enc_slice(out, r->original);
	enc_slice(out, r->transport);
	enc_slice(out, r->next_hop);
	enc_slice(out, r->extension);
	enc_slice(out, r->esc);
	enc_slice(out, r->reply);
	enc_slice(out, r->relay);
	enc_u8(out, r->warned);
}

bool
rcpt_item_decode(struct slice *in, struct rcpt_item *r, bool *bad)
{
	struct dec d = dec_make(*in);
	uint8_t warned;

	*bad = false;
	if (in->n == 0) {
		return false;
	}
	r->index = dec_u32(&d);
	r->attempt = dec_u32(&d);
	r->fate = dec_u8(&d);
	r->next_at = dec_u64(&d);
	r->address = dec_text(&d, ENVELOPE_PATH_MAX);
	r->original = dec_text(&d, ENVELOPE_PATH_MAX);
	r->transport = dec_text(&d, ENVELOPE_STR_MAX);
	r->next_hop = dec_text(&d, ENVELOPE_STR_MAX);
	r->extension = dec_text(&d, ENVELOPE_PATH_MAX);
	r->esc = dec_text(&d, ESC_MAX - 1);
	r->reply = dec_text(&d, REPLY_TEXT_MAX);
	r->relay = dec_text(&d, RELAY_TEXT_MAX);
	warned = dec_u8(&d);
	r->warned = warned == 1;
	if (d.bad || r->fate > FATE_LAST || warned > 1) {
		*bad = true;
		return false;
	}
	*in = d.in;
	return true;
}

void
fate_item_encode(const struct fate_item *f, struct strbuf *out)
{
	enc_u32(out, f->index);
	enc_u32(out, f->attempt);
	enc_u8(out, f->fate);
	enc_u64(out, f->next_at);
	enc_slice(out, f->esc);
	enc_slice(out, f->reply);
	enc_slice(out, f->relay);
}

bool
fate_item_decode(struct slice *in, struct fate_item *f, bool *bad)
{
	struct dec d = dec_make(*in);

	*bad = false;
	if (in->n == 0) {
		return false;
	}
	f->index = dec_u32(&d);
	f->attempt = dec_u32(&d);
	f->fate = dec_u8(&d);
	f->next_at = dec_u64(&d);
	f->esc = dec_text(&d, ESC_MAX - 1);
	f->reply = dec_text(&d, REPLY_TEXT_MAX);
	f->relay = dec_text(&d, RELAY_TEXT_MAX);
	if (d.bad || f->fate == FATE_NONE || f->fate > FATE_RECORD_LAST) {
		*bad = true;
		return false;
	}
	*in = d.in;
	return true;
}
