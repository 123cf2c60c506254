/*
 * cidr - networks and addresses, IPv4 and IPv6, as text and as octets.
 * Pure functions. An IPv4 address mapped into IPv6 (::ffff:192.0.2.1) is the
 * IPv4 address: a client is the same one whichever socket it came by.
 */
#ifndef COMMON_CIDR_H
#define COMMON_CIDR_H

#include <stdbool.h>

#include "common/slice.h"

struct cidr {
	unsigned char octets[16];
	unsigned bits;  /* 0-32 or 0-128 */
	bool v6;
};

/*
 * An address: "192.0.2.1", "2001:db8::1", with or without [] and "IPv6:"
 * inside. bits is 32 or 128. False: no address, *out untouched.
 */
bool cidr_parse_addr(struct slice text, struct cidr *out);
/*
 * A network: an address, and maybe "/bits" ("192.0.2.0/24", "[::1]/128").
 * NULL, or what is wrong; bits set beyond the prefix are wrong.
 */
const char *cidr_parse_net(struct slice text, struct cidr *out);
bool cidr_match(const struct cidr *net, const struct cidr *addr);

#endif
