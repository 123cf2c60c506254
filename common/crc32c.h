/*
 * crc32c - the checksum of what lies on disk (Castagnoli; RFC 3720, B.4).
 * It finds torn and flipped octets; it is no defence against forgers.
 */
#ifndef COMMON_CRC32C_H
#define COMMON_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * Go on with `crc' (0 at the start) over `n' octets. The same value comes out
 * however the octets are cut.
 */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same without the processor's instruction, for the tests. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
