/* DNS packets made by hand, and a DNS server that says whatever a test wants. */
#ifndef TESTS_UNIT_DNS_KIT_H
#define TESTS_UNIT_DNS_KIT_H

#include <event2/event.h>

#include "common/slice.h"

enum { T_A = 1, T_NS = 2, T_CNAME = 5, T_SOA = 6, T_MX = 15, T_AAAA = 28,
	T_OPT = 41 };
enum { AN = 6, NS = 8, AR = 10 }; /* where a section's count stands */
enum { QR = 0x8000, TC = 0x0200, RD = 0x0100, RA = 0x0080, AD = 0x0020 };
#define OK_FLAGS (QR | RD | RA)

struct pkt {
	unsigned char b[70000];
	size_t n;
};

void pkt_u8(struct pkt *p, unsigned v);
void pkt_u16(struct pkt *p, unsigned v);
void pkt_u32(struct pkt *p, uint32_t v);
/* "a.b" without compression; "" is the root. A label may hold any octet but a
   dot and NUL. */
void pkt_name(struct pkt *p, const char *name);
/* Header and question. `id' in network order is copied when it matters. */
void pkt_begin(struct pkt *p, unsigned id, unsigned flags, const char *name,
    unsigned type);
/* A record of class IN in `section' (AN, NS, AR), RDATA as it is. */
void pkt_rr(struct pkt *p, unsigned section, const char *name, unsigned type,
    uint32_t ttl, struct slice data);
/* The same with a name as RDATA, behind `before' octets. */
void pkt_rr_name(struct pkt *p, unsigned section, const char *name,
    unsigned type, uint32_t ttl, struct slice before, const char *target);
void pkt_mx(struct pkt *p, const char *name, unsigned preference,
    const char *target);
void pkt_soa(struct pkt *p, const char *name, uint32_t ttl, uint32_t minimum);
struct slice pkt_slice(const struct pkt *p);

/* -- a server ---------------------------------------------------------------- */

struct fake;
/*
 * A question came (`name' in lower case). Fill *reply, whose id is the
 * question's until you change it; leaving reply->n 0 means silence.
 */
typedef void fake_fn(void *arg, const char *name, unsigned type,
    unsigned flags, bool tcp, struct pkt *reply);

struct fake *fake_new(struct event_base *base, fake_fn *fn, void *arg);
void fake_free(struct fake *f);
/* "127.0.0.1:port", UDP and TCP. */
const char *fake_address(const struct fake *f);
unsigned fake_questions(const struct fake *f);
/* An address that nobody listens at. */
const char *fake_nobody(void);

#endif
