/*
 * siphash - SipHash-2-4 (Aumasson and Bernstein, 2012): a short keyed hash for
 * secrets that fit into a message, such as delivery cookies. Pure.
 */
#ifndef COMMON_SIPHASH_H
#define COMMON_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY 16 /* octets */

uint64_t siphash24(const unsigned char key[SIPHASH_KEY], const void *p,
    size_t n);
/*
 * The cookie that lets an agent fetch the content of a message: the hash of the
 * queue id's eight octets, little-endian. Compare cookies as numbers: eight
 * octets in one register leak nothing by time.
 */
uint64_t siphash_cookie(const unsigned char key[SIPHASH_KEY], uint64_t qid);

#endif
