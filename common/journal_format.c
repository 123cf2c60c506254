/* The format of a batch (common/journal.h): pure functions over memory. */
#include "config.h"

#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/journal.h"

static const char magic[8] = { 'V', 'R', 'D', 'S', 'J', 0, 0, 1 };
#define VERSION_AT 7 /* in it */

#define HEAD_CRC_AT (JOURNAL_HEAD - 4)

void
journal_encode_head(const struct journal_batch *b, uint32_t crc, char *out)
{
	memset(out, 0, JOURNAL_HEAD);
	memcpy(out, magic, sizeof(magic));
	put_u64(out + 8, b->segment);
	put_u64(out + 16, b->salt);
	put_u64(out + 24, b->number);
	put_u32(out + 32, b->offset);
	put_u32(out + 36, b->octets);
	put_u32(out + 40, b->entries);
	put_u32(out + 44, b->flags);
	put_u32(out + 48, crc);
	put_u64(out + 52, b->first);
	put_u32(out + HEAD_CRC_AT, crc32c(0, out, HEAD_CRC_AT));
}

void
journal_encode_entry(uint8_t kind, uint64_t qid, uint32_t octets, char *out)
{
	put_u32(out, octets);
	out[4] = (char)kind;
	put_u64(out + 5, qid);
}

enum journal_decoded
journal_decode(struct slice segment, uint64_t number, uint64_t salt,
    uint32_t offset, struct journal_batch *out)
{
	struct dec d;
	uint32_t crc, left;

	if (offset > segment.n || segment.n - offset < JOURNAL_HEAD ||
	    memcmp(segment.p + offset, magic, VERSION_AT) != 0) {
		return JOURNAL_STALE;
	}
	d = dec_make(slice_make(segment.p + offset + sizeof(magic),
	    JOURNAL_HEAD - sizeof(magic)));
	memset(out, 0, sizeof(*out));
	out->segment = dec_u64(&d);
	out->salt = dec_u64(&d);
	out->number = dec_u64(&d);
	out->offset = dec_u32(&d);
	out->octets = dec_u32(&d);
	out->entries = dec_u32(&d);
	out->flags = dec_u32(&d);
	crc = dec_u32(&d);
	out->first = dec_u64(&d);
	d = dec_make(slice_make(segment.p + offset + HEAD_CRC_AT, 4));
	if (dec_u32(&d) != crc32c(0, segment.p + offset, HEAD_CRC_AT) ||
	    out->segment != number || out->salt != salt ||
	    out->offset != offset) {
		return JOURNAL_STALE;
	}
	if (segment.p[offset + VERSION_AT] != magic[VERSION_AT]) {
		return JOURNAL_OTHER;
	}
	left = (uint32_t)(segment.n - offset) - JOURNAL_HEAD;
	if (out->octets > left) {
		out->end = (uint32_t)segment.n;
		return JOURNAL_DAMAGED;
	}
	out->end = offset + journal_round((uint64_t)JOURNAL_HEAD +
	    out->octets);
	out->body = slice_make(segment.p + offset + JOURNAL_HEAD, out->octets);
	return crc32c(0, out->body.p, out->body.n) == crc ? JOURNAL_GOOD :
	    JOURNAL_DAMAGED;
}

bool
journal_next(struct slice *body, uint8_t *kind, uint64_t *qid,
    struct slice *entry)
{
	struct dec d = dec_make(*body);
	uint32_t n = dec_u32(&d);

	*kind = dec_u8(&d);
	*qid = dec_u64(&d);
	if (d.bad || n > d.in.n) {
		return false;
	}
	*entry = slice_make(d.in.p, n);
	*body = slice_make(d.in.p + n, d.in.n - n);
	return true;
}
