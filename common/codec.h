/*
 * codec - bounded records in memory: fixed-width little-endian numbers and
 * length-prefixed octets. The writer appends to a strbuf; the reader keeps an
 * error flag, so that a sequence of reads is checked once, at its end. A read
 * past the end, or of a length above its cap, sets the flag and gives zeros.
 */
#ifndef COMMON_CODEC_H
#define COMMON_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

void enc_u8(struct strbuf *b, uint8_t v);
void enc_u16(struct strbuf *b, uint16_t v);
void enc_u32(struct strbuf *b, uint32_t v);
void enc_u64(struct strbuf *b, uint64_t v);

/* The same octets to a place of one's own: heads with fixed places. */
static inline void
put_u32(char *p, uint32_t v)
{
	unsigned i;

	for (i = 0; i < 4; i++) {
		p[i] = (char)(unsigned char)(v >> (8 * i));
	}
}

static inline void
put_u64(char *p, uint64_t v)
{
	put_u32(p, (uint32_t)v);
	put_u32(p + 4, (uint32_t)(v >> 32));
}
/* A u32 length and the octets. */
void enc_slice(struct strbuf *b, struct slice s);

struct dec {
	struct slice in; /* what is left */
	bool bad;
};

static inline struct dec
dec_make(struct slice in)
{
	return (struct dec){ in, false };
}

uint8_t dec_u8(struct dec *d);
uint16_t dec_u16(struct dec *d);
uint32_t dec_u32(struct dec *d);
uint64_t dec_u64(struct dec *d);
/* At most `max' octets; borrows from the input. */
struct slice dec_slice(struct dec *d, size_t max);
/* All was read and nothing was wrong. */
bool dec_done(const struct dec *d);

#endif
