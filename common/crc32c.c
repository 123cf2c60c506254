#include "config.h"

#include <stdbool.h>
#include <string.h>

#include "common/crc32c.h"

#define POLYNOMIAL 0x82f63b78u /* bit-reversed */

/* table[k][b]: the octet b, followed by k zero octets. */
static uint32_t table[8][256];
static bool table_made;

/* Made at the first use; making it twice at once gives the same octets, but
   the flag must not be seen before them: the barrier is for the pool. */
static void
make_table(void)
{
	uint32_t b, k, c;

	for (b = 0; b < 256; b++) {
		c = b;
		for (k = 0; k < 8; k++) {
			c = (c & 1) != 0 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		}
		table[0][b] = c;
	}
	for (b = 0; b < 256; b++) {
		for (k = 1; k < 8; k++) {
			c = table[k - 1][b];
			table[k][b] = c >> 8 ^ table[0][c & 0xff];
		}
	}
	__atomic_store_n(&table_made, true, __ATOMIC_RELEASE);
}

uint32_t
crc32c_portable(uint32_t crc, const void *p, size_t n)
{
	const unsigned char *o = p;
	uint32_t c = ~crc, lo, hi;

	if (!__atomic_load_n(&table_made, __ATOMIC_ACQUIRE)) {
		make_table();
	}
	for (; n >= 8; n -= 8, o += 8) {
		lo = c ^ ((uint32_t)o[0] | (uint32_t)o[1] << 8 |
		    (uint32_t)o[2] << 16 | (uint32_t)o[3] << 24);
		hi = (uint32_t)o[4] | (uint32_t)o[5] << 8 |
		    (uint32_t)o[6] << 16 | (uint32_t)o[7] << 24;
		c = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^
		    table[5][lo >> 16 & 0xff] ^ table[4][lo >> 24] ^
		    table[3][hi & 0xff] ^ table[2][hi >> 8 & 0xff] ^
		    table[1][hi >> 16 & 0xff] ^ table[0][hi >> 24];
	}
	while (n-- > 0) {
		c = c >> 8 ^ table[0][(c ^ *o++) & 0xff];
	}
	return ~c;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t
with_instruction(uint32_t crc, const void *p, size_t n)
{
	const unsigned char *o = p;
	uint64_t c = ~crc, word;

	for (; n >= 8; n -= 8, o += 8) {
		memcpy(&word, o, sizeof(word));
		c = _mm_crc32_u64(c, word);
	}
	while (n-- > 0) {
		c = _mm_crc32_u8((uint32_t)c, *o++);
	}
	return ~(uint32_t)c;
}

uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
	if (__builtin_cpu_supports("sse4.2")) {
		return with_instruction(crc, p, n);
	}
	return crc32c_portable(crc, p, n);
}
#else
uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
	return crc32c_portable(crc, p, n);
}
#endif
