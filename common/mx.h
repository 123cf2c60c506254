/*
 * mx - from a next hop to the addresses to be tried, in order (RFC 5321, 5.1).
 *
 * Pure and restartable: mx_resolve() reads a request and a memo of DNS answers;
 * it is done, or has put new questions into the memo. The caller asks dns, puts
 * the answers in and calls again. The same request and answers give the same
 * result, also at random among equals: the seed is part of the request.
 * The memo is the trace: what was asked, what was left out, and why.
 *
 * Bounded: MX_HOSTS_MAX hosts, two questions each and one for the MX records,
 * and `address_limit' candidates, however many a hostile zone offers.
 */
#ifndef COMMON_MX_H
#define COMMON_MX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/dns.h"
#include "common/fate.h"
#include "common/nexthop.h"

#define MX_HOSTS_MAX 20 /* the best ones; the rest is left out */

struct settings;

/*
 * What the settings say: inet_protocols, and who we are: myhostname, and the
 * addresses of inet_interfaces at the ports of `listen'.
 */
struct mx_policy;
struct mx_policy *mx_policy_new(const struct settings *s);
void mx_policy_free(struct mx_policy *p);

struct mx_request {
	const struct nexthop *hop;      /* not NEXTHOP_UNIX */
	const struct mx_policy *policy;
	uint16_t default_port;          /* when the next hop has none */
	bool no_mx;                     /* LMTP: a domain is a host */
	uint64_t seed;
	size_t address_limit;           /* 1 or more */
};

struct mx_candidate {
	char host[DNS_NAME_MAX + 1];    /* "" for an address literal */
	struct cidr addr;
	uint16_t port, preference;
	bool secure;                    /* every answer was validated (AD) */
};

/*
 * n > 0: candidates, the first to be tried first; fate is FATE_NONE.
 * n == 0: fate is FATE_DEFERRED or FATE_FAILED with esc and text:
 *   4.4.3 a lookup failed               5.4.4 no such domain, no address
 *   4.4.4 MX records without a host     5.4.6 we are the best host for it
 *                                       5.1.10 a null MX (RFC 7505)
 */
struct mx_result {
	struct mx_candidate *at;
	size_t n;
	enum fate fate;
	const char *esc;
	char *text;                     /* one printable line, or NULL */
	uint32_t ttl;                   /* seconds that this may be kept */
	bool mx_used;                   /* the hosts come from MX records */
};
void mx_result_clear(struct mx_result *r);

enum mx_state { MX_DONE, MX_NEED };

struct mx_memo;
struct mx_memo *mx_memo_new(void);
void mx_memo_free(struct mx_memo *m);

struct mx_question {
	struct slice name; /* lower case, no final dot; borrows from the memo */
	enum dns_type type;
	unsigned flags;    /* DNS_ASK_* */
};

/* A question without an answer; false at the end. *place from 0. */
bool mx_memo_need(const struct mx_memo *m, size_t *place,
    struct mx_question *q);
/* Copies the answer. One that nobody asked for is dropped. */
void mx_memo_answer(struct mx_memo *m, const struct mx_question *q,
    const struct dns_answer *a);
/*
 * The trace of the last round, in order: `what' ("MX", "A", "AAAA" or "host"),
 * `key' (a name) and `result' in words. False at the end. *place from 0.
 */
bool mx_memo_step(const struct mx_memo *m, size_t *place, struct slice *what,
    struct slice *key, struct slice *result);

/*
 * MX_NEED: the memo has questions; *out is empty. MX_DONE: *out is filled and
 * the caller's.
 *
 * Hosts are taken by preference, at random among equals; of each host the two
 * families alternate. A name without MX records is its own host. Left out are
 * targets that are no host (a literal, localhost, garbage), and a host whose
 * lookup failed: that is one that cannot be reached now, as if it were down.
 * When we are one of the hosts, it and all of no better preference are left
 * out, or mail would go round in circles.
 */
enum mx_state mx_resolve(const struct mx_request *rq, struct mx_memo *memo,
    struct mx_result *out);

#endif
