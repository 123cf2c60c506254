#include "config.h"

#include "common/codec.h"
#include "common/siphash.h"

struct sip {
	uint64_t v0, v1, v2, v3;
};

static uint64_t
load64(const unsigned char *p)
{
	uint64_t v = 0;
	int i;

	for (i = 7; i >= 0; i--) {
		v = v << 8 | p[i];
	}
	return v;
}

static uint64_t
rotl(uint64_t v, int bits)
{
	return v << bits | v >> (64 - bits);
}

static void
rounds(struct sip *s, int n)
{
	while (n-- > 0) {
		s->v0 += s->v1;
		s->v1 = rotl(s->v1, 13) ^ s->v0;
		s->v0 = rotl(s->v0, 32);
		s->v2 += s->v3;
		s->v3 = rotl(s->v3, 16) ^ s->v2;
		s->v0 += s->v3;
		s->v3 = rotl(s->v3, 21) ^ s->v0;
		s->v2 += s->v1;
		s->v1 = rotl(s->v1, 17) ^ s->v2;
		s->v2 = rotl(s->v2, 32);
	}
}

static void
absorb(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	rounds(s, 2);
	s->v0 ^= word;
}

uint64_t
siphash24(const unsigned char key[SIPHASH_KEY], const void *p, size_t n)
{
	uint64_t k0 = load64(key), k1 = load64(key + 8);
	struct sip s = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
		k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };
	const unsigned char *in = p;
	uint64_t last = (uint64_t)n << 56;
	size_t i;

	for (; n >= 8; n -= 8, in += 8) {
		absorb(&s, load64(in));
	}
	for (i = 0; i < n; i++) {
		last |= (uint64_t)in[i] << (8 * i);
	}
	absorb(&s, last);
	s.v2 ^= 0xff;
	rounds(&s, 4);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t
siphash_cookie(const unsigned char key[SIPHASH_KEY], uint64_t qid)
{
	char octets[8];

	put_u64(octets, qid);
	return siphash24(key, octets, sizeof(octets));
}
