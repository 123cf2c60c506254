#include "config.h"

#include <stdlib.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/qid.h"
#include "common/spool_file.h"
#include "common/xmalloc.h"

static const char magic[8] = { 'V', 'R', 'D', 'S', 'Q', 0, 0, 2 };

/* -- names ------------------------------------------------------------------- */

static char *
put_text(char *p, const char *text)
{
	size_t n = strlen(text);

	memcpy(p, text, n + 1);
	return p + n;
}

void
spool_name(uint64_t qid, uint64_t parent, char out[SPOOL_NAME_MAX])
{
	qid_format(qid, out);
	if (parent != 0) {
		qid_format(parent, put_text(out + QID_TEXT, "+"));
	}
}

void
spool_name_tmp(uint64_t qid, char out[SPOOL_NAME_MAX])
{
	qid_format(qid, put_text(out, "."));
}

void
spool_name_corrupt(uint64_t qid, char out[SPOOL_NAME_MAX])
{
	qid_format(qid, out);
	(void)put_text(out + QID_TEXT, ".corrupt");
}

/* Upper case only: each message has one name. */
static bool
parse_id(struct slice s, uint64_t *qid)
{
	char again[QID_TEXT + 1];

	if (!qid_parse(s, qid) || *qid > QID_MAX) {
		return false;
	}
	qid_format(*qid, again);
	return slice_eq(s, slice_make(again, QID_TEXT));
}

enum spool_name_kind
spool_name_parse(const char *name, uint64_t *qid, uint64_t *parent)
{
	struct slice s = slice_of(name), id, rest;

	if (s.n > 0 && s.p[0] == '.') {
		return parse_id(slice_make(s.p + 1, s.n - 1), qid) ?
		    SPOOL_NAME_TMP : SPOOL_NAME_FOREIGN;
	}
	if (s.n < QID_TEXT) {
		return SPOOL_NAME_FOREIGN;
	}
	id = slice_make(s.p, QID_TEXT);
	rest = slice_make(s.p + QID_TEXT, s.n - QID_TEXT);
	if (!parse_id(id, qid)) {
		return SPOOL_NAME_FOREIGN;
	}
	if (rest.n == 0) {
		return SPOOL_NAME_MESSAGE;
	}
	if (slice_eq(rest, SL(".corrupt"))) {
		return SPOOL_NAME_CORRUPT;
	}
	if (rest.p[0] == '+' &&
	    parse_id(slice_make(rest.p + 1, rest.n - 1), parent)) {
		return SPOOL_NAME_CHILD;
	}
	return SPOOL_NAME_FOREIGN;
}

/* -- header ------------------------------------------------------------------ */

/* In place: one is made for each message. */
void
spool_header_encode(const struct spool_header *h, char out[SPOOL_HEADER])
{
	char *p = out + sizeof(magic);

	memset(out, 0, SPOOL_HEADER);
	memcpy(out, magic, sizeof(magic));
	put_u64(p, h->qid);
	put_u32(p + 8, h->envelope_n);
	put_u64(p + 12, h->content_n);
	put_u32(p + 20, h->flags);
	put_u32(p + 24, h->envelope_crc);
	put_u32(p + 28, h->content_crc);
	put_u32(out + SPOOL_HEADER - 4, crc32c(0, out, SPOOL_HEADER - 4));
}

const char *
spool_header_decode(struct slice in, struct spool_header *h)
{
	struct dec d;
	size_t i;

	if (in.n < SPOOL_HEADER) {
		return "shorter than a header";
	}
	if (memcmp(in.p, magic, sizeof(magic)) != 0) {
		return "not a queue file of this version";
	}
	d = dec_make(slice_make(in.p + sizeof(magic),
	    SPOOL_HEADER - sizeof(magic)));
	h->qid = dec_u64(&d);
	h->envelope_n = dec_u32(&d);
	h->content_n = dec_u64(&d);
	h->flags = dec_u32(&d);
	h->envelope_crc = dec_u32(&d);
	h->content_crc = dec_u32(&d);
	for (i = SPOOL_HEADER - d.in.n; i < SPOOL_HEADER - 4; i++) {
		if (dec_u8(&d) != 0) {
			return "header: octets that must be zero are not";
		}
	}
	if (dec_u32(&d) != crc32c(0, in.p, SPOOL_HEADER - 4)) {
		return "header: wrong checksum";
	}
	if (h->content_n > INT64_MAX - SPOOL_HEADER - UINT32_MAX) {
		return "header: impossible size";
	}
	return NULL;
}

/* -- writing records --------------------------------------------------------- */

static uint32_t
record_crc(uint64_t qid, struct slice body)
{
	char id[8];

	put_u64(id, qid);
	return crc32c(crc32c(0, id, sizeof(id)), body.p, body.n);
}

/* Leaves room for a record's head; returns where the record begins. */
static size_t
record_begin(struct strbuf *out, enum spool_record_kind kind)
{
	size_t at = out->n;

	enc_u64(out, 0);
	enc_u8(out, (uint8_t)kind);
	return at;
}

static void
record_end(struct strbuf *out, size_t at, uint64_t qid)
{
	struct slice body = slice_make(out->p + at + SPOOL_RECORD_HEAD,
	    out->n - at - SPOOL_RECORD_HEAD);

	put_u32(out->p + at, (uint32_t)body.n);
	put_u32(out->p + at + 4, record_crc(qid, body));
}

void
spool_record_fate(struct strbuf *out, uint64_t qid,
    const struct fate_item *item)
{
	size_t at = record_begin(out, SPOOL_REC_FATE);

	fate_item_encode(item, out);
	record_end(out, at, qid);
}

void
spool_record_hold(struct strbuf *out, uint64_t qid, bool on,
    struct slice reason)
{
	size_t at = record_begin(out, SPOOL_REC_HOLD);

	enc_u8(out, on);
	enc_slice(out, slice_make(reason.p, reason.n > REPLY_TEXT_MAX ?
	    REPLY_TEXT_MAX : reason.n));
	record_end(out, at, qid);
}

void
spool_record_crash(struct strbuf *out, uint64_t qid, uint8_t crashes)
{
	size_t at = record_begin(out, SPOOL_REC_CRASH);

	enc_u8(out, crashes);
	record_end(out, at, qid);
}

void
spool_record_group(struct strbuf *out, uint64_t qid, uint64_t parent,
    const uint64_t *siblings, size_t nsiblings, struct slice fates)
{
	size_t i, at = record_begin(out, SPOOL_REC_GROUP);

	enc_u64(out, parent);
	enc_u32(out, (uint32_t)nsiblings);
	for (i = 0; i < nsiblings; i++) {
		enc_u64(out, siblings[i]);
	}
	enc_slice(out, fates);
	record_end(out, at, qid);
}

/* -- reading records --------------------------------------------------------- */

/* The body of the record at *in; false at the end or at damage. */
static bool
next_body(struct slice *in, uint64_t qid, struct slice *body)
{
	struct dec d = dec_make(*in);
	uint32_t n = dec_u32(&d), crc = dec_u32(&d);

	if (d.bad || n == 0 || n > SPOOL_RECORD_MAX || n > d.in.n) {
		return false;
	}
	*body = slice_make(d.in.p, n);
	if (record_crc(qid, *body) != crc) {
		return false;
	}
	*in = slice_make(d.in.p + n, d.in.n - n);
	return true;
}

static bool
decode_body(struct slice body, struct spool_record *r)
{
	struct dec d = dec_make(body);
	bool bad;

	*r = (struct spool_record){ .kind = dec_u8(&d) };
	switch ((enum spool_record_kind)r->kind) {
	case SPOOL_REC_FATE:
		return fate_item_decode(&d.in, &r->fate, &bad) && d.in.n == 0;
	case SPOOL_REC_HOLD:
		r->on = dec_u8(&d) != 0;
		r->reason = dec_slice(&d, REPLY_TEXT_MAX);
		return dec_done(&d);
	case SPOOL_REC_CRASH:
		r->crashes = dec_u8(&d);
		return dec_done(&d);
	case SPOOL_REC_GROUP:
		r->parent = dec_u64(&d);
		r->nsiblings = dec_u32(&d);
		if (r->nsiblings > d.in.n / 8) {
			return false;
		}
		r->siblings = slice_make(d.in.p, (size_t)r->nsiblings * 8);
		d.in.p += r->siblings.n;
		d.in.n -= r->siblings.n;
		r->fates = dec_slice(&d, SPOOL_RECORD_MAX);
		return dec_done(&d);
	}
	return true; /* of a later version: kept, and of no meaning to us */
}

bool
spool_record_next(struct slice *in, uint64_t qid, struct spool_record *r)
{
	struct slice rest = *in, body;

	if (!next_body(&rest, qid, &body) || !decode_body(body, r)) {
		return false;
	}
	*in = rest;
	return true;
}

uint64_t
spool_record_sibling(const struct spool_record *r, uint32_t i)
{
	struct dec d = dec_make(slice_make(r->siblings.p + (size_t)i * 8, 8));

	return dec_u64(&d);
}

/* -- the whole file ---------------------------------------------------------- */

static const char *
decode_envelope(const struct spool_header *h, struct slice text,
    struct envelope *e)
{
	if (crc32c(0, text.p, text.n) != h->envelope_crc) {
		return "envelope: wrong checksum";
	}
	if (!envelope_decode(text, e)) {
		return "envelope: not readable";
	}
	if (e->qid != h->qid || e->nrcpts == 0) {
		return e->nrcpts == 0 ? "envelope: no recipients" :
		    "envelope: of another message";
	}
	return NULL;
}

const char *
spool_parse(struct slice file, struct envelope *e, struct slice *content,
    uint32_t *flags, size_t *records_at, bool check_content)
{
	struct spool_header h;
	struct envelope own;
	struct slice text, body;
	const char *why = spool_header_decode(file, &h);

	if (why != NULL) {
		return why;
	}
	if (h.content_n > file.n - SPOOL_HEADER ||
	    h.envelope_n > file.n - SPOOL_HEADER - h.content_n) {
		return "shorter than its header says";
	}
	body = slice_make(file.p + SPOOL_HEADER, (size_t)h.content_n);
	text = slice_make(body.p + body.n, h.envelope_n);
	if (check_content && crc32c(0, body.p, body.n) != h.content_crc) {
		return "content: wrong checksum";
	}
	envelope_init(&own);
	why = decode_envelope(&h, text, &own);
	if (why == NULL && e != NULL) {
		envelope_clear(e);
		*e = own;
	} else {
		envelope_clear(&own);
	}
	if (why == NULL && content != NULL) {
		*content = body;
	}
	if (why == NULL && flags != NULL) {
		*flags = h.flags;
	}
	if (why == NULL && records_at != NULL) {
		*records_at = SPOOL_HEADER + body.n + text.n;
	}
	return why;
}

const char *
spool_state_decode(const struct spool_header *h, struct slice tail,
    struct spool_state **out)
{
	struct envelope e;
	struct spool_state *st;
	const char *why;
	size_t used;

	if (tail.n < h->envelope_n) {
		return "shorter than its header says";
	}
	envelope_init(&e);
	why = decode_envelope(h, slice_make(tail.p, h->envelope_n), &e);
	if (why == NULL) {
		st = spool_state_new(h, &e);
		tail = slice_make(tail.p + h->envelope_n,
		    tail.n - h->envelope_n);
		used = spool_state_apply(st, tail);
		st->end += used;
		st->cut = used != tail.n;
		*out = st;
	}
	envelope_clear(&e);
	return why;
}
