#include "config.h"

#include <arpa/inet.h>

#include "common/cidr.h"

static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff,
	0xff };

bool
cidr_parse_addr(struct slice text, struct cidr *out)
{
	struct cidr c = { .v6 = false };
	char z[INET6_ADDRSTRLEN];

	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']') {
		text = slice_make(text.p + 1, text.n - 2);
		if (text.n > 5 &&
		    slice_case_eq(slice_make(text.p, 5), SL("IPv6:"))) {
			text = slice_make(text.p + 5, text.n - 5);
		}
	}
	if (text.n == 0 || text.n >= sizeof(z) ||
	    slice_find(text, '\0') < text.n) {
		return false;
	}
	memcpy(z, text.p, text.n);
	z[text.n] = '\0';
	c.v6 = slice_find(text, ':') < text.n;
	if (inet_pton(c.v6 ? AF_INET6 : AF_INET, z, c.octets) != 1) {
		return false;
	}
	c.bits = c.v6 ? 128 : 32;
	if (c.v6 && memcmp(c.octets, mapped, sizeof(mapped)) == 0) {
		memmove(c.octets, c.octets + 12, 4);
		memset(c.octets + 4, 0, 12);
		c.v6 = false;
		c.bits = 32;
	}
	*out = c;
	return true;
}

static bool
bit(const struct cidr *c, unsigned i)
{
	return (c->octets[i / 8] >> (7 - i % 8) & 1) != 0;
}

const char *
cidr_parse_net(struct slice text, struct cidr *out)
{
	size_t at = slice_find(text, '/');
	struct slice addr = slice_make(text.p, at);
	uint64_t bits;
	struct cidr c;
	unsigned i, all;

	if (!cidr_parse_addr(addr, &c)) {
		return "not an address or network";
	}
	if (at < text.n) {
		if (!slice_number(slice_make(text.p + at + 1, text.n - at - 1),
		    128, &bits)) {
			return "the prefix length is not a number up to 128";
		}
		/* ::ffff:192.0.2.0/120 is 192.0.2.0/24 */
		if (!c.v6 && slice_find(addr, ':') < addr.n) {
			if (bits < 96) {
				return "the prefix of a mapped address is "
				       "below 96";
			}
			bits -= 96;
		}
		if (bits > c.bits) {
			return "the prefix length is above 32";
		}
		all = c.bits;
		c.bits = (unsigned)bits;
		for (i = c.bits; i < all; i++) {
			if (bit(&c, i)) {
				return "the address has bits set beyond the "
				       "prefix length";
			}
		}
	}
	*out = c;
	return NULL;
}

bool
cidr_match(const struct cidr *net, const struct cidr *addr)
{
	unsigned whole = net->bits / 8, left = net->bits % 8;
	unsigned char mask = (unsigned char)(0xff00u >> left & 0xff);

	return net->v6 == addr->v6 &&
	    memcmp(net->octets, addr->octets, whole) == 0 &&
	    (left == 0 ||
	    ((net->octets[whole] ^ addr->octets[whole]) & mask) == 0);
}
