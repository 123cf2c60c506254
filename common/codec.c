#include "config.h"

#include "common/codec.h"

static void
enc_number(struct strbuf *b, uint64_t v, size_t width)
{
	char raw[8];
	size_t i;

	for (i = 0; i < width; i++) {
		raw[i] = (char)(v & 0xff);
		v >>= 8;
	}
	(void)strbuf_add(b, raw, width);
}

void
enc_u8(struct strbuf *b, uint8_t v)
{
	enc_number(b, v, 1);
}

void
enc_u16(struct strbuf *b, uint16_t v)
{
	enc_number(b, v, 2);
}

void
enc_u32(struct strbuf *b, uint32_t v)
{
	enc_number(b, v, 4);
}

void
enc_u64(struct strbuf *b, uint64_t v)
{
	enc_number(b, v, 8);
}

void
enc_slice(struct strbuf *b, struct slice s)
{
	enc_u32(b, (uint32_t)s.n);
	(void)strbuf_add_slice(b, s);
}

static uint64_t
dec_number(struct dec *d, size_t width)
{
	uint64_t v = 0;
	size_t i;

	if (d->bad || d->in.n < width) {
		d->bad = true;
		return 0;
	}
	for (i = width; i-- > 0;) {
		v = v << 8 | (unsigned char)d->in.p[i];
	}
	d->in.p += width;
	d->in.n -= width;
	return v;
}

uint8_t
dec_u8(struct dec *d)
{
	return (uint8_t)dec_number(d, 1);
}

uint16_t
dec_u16(struct dec *d)
{
	return (uint16_t)dec_number(d, 2);
}

uint32_t
dec_u32(struct dec *d)
{
	return (uint32_t)dec_number(d, 4);
}

uint64_t
dec_u64(struct dec *d)
{
	return dec_number(d, 8);
}

struct slice
dec_slice(struct dec *d, size_t max)
{
	uint32_t n = dec_u32(d);
	struct slice s;

	if (d->bad || n > max || n > d->in.n) {
		d->bad = true;
		return SL("");
	}
	s = slice_make(d->in.p, n);
	d->in.p += n;
	d->in.n -= n;
	return s;
}

bool
dec_done(const struct dec *d)
{
	return !d->bad && d->in.n == 0;
}
