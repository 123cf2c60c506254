/*
 * dns - what remote and cleanup ask the dns service, and what it answers.
 *
 * A question is a name, a type and flags (IPC_DNS_QUERY); an answer is a status
 * and records (IPC_DNS_ANSWER). dns follows CNAMEs, keeps the cache and decides
 * what is permanent: only NXDOMAIN and an empty answer are, everything else
 * (SERVFAIL, REFUSED, time-outs, answers that make no sense) is DNS_TEMP.
 * Names are lower case without a final dot; A-labels only. One encoder and
 * decoder for the records; pure functions over memory.
 */
#ifndef COMMON_DNS_H
#define COMMON_DNS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

#define DNS_NAME_MAX    253 /* octets of a name as text (RFC 1035, 2.3.4) */
#define DNS_LABEL_MAX   63
#define DNS_RECORDS_MAX 256 /* records of one answer; more are left out */

/* The types that can be asked for: their numbers in DNS. */
enum dns_type {
	DNS_A = 1,
	DNS_MX = 15,
	DNS_AAAA = 28,
};

/* IPC_DNS_QUERY's flags. */
enum {
	DNS_ASK_HOSTS = 1u << 0, /* A, AAAA: dns_hosts_file first */
};

enum dns_status {
	DNS_FOUND,
	DNS_NODATA,   /* the name exists, without such records: permanent */
	DNS_NXDOMAIN, /* there is no such name: permanent */
	DNS_TEMP,     /* anything else: ask again later */
};
#define DNS_STATUS_LAST DNS_TEMP

struct dns_record {
	uint16_t preference; /* MX */
	struct slice data;   /* A: 4 octets, AAAA: 16, MX: a name; "" is the
	                        null MX of RFC 7505 */
};

/* What IPC_DNS_ANSWER says; slices borrow from it. */
struct dns_answer {
	enum dns_status status;
	bool secure;          /* validated by the resolver (AD) */
	uint32_t ttl;         /* seconds that it may be kept */
	struct slice records; /* for dns_record_decode(); not checked yet */
	struct slice reason;  /* in words, when there are no records */
};

void dns_record_encode(const struct dns_record *r, struct strbuf *out);
/* Cut the next record off *in; false at the end or at bad input (*bad tells
   which). `type' decides what is right. Borrows from *in. */
bool dns_record_decode(struct slice *in, enum dns_type type,
    struct dns_record *r, bool *bad);
/* False when the answer makes no sense: the sender broke the rules. */
struct ipc_msg;
bool dns_answer_of(const struct ipc_msg *m, struct dns_answer *out);

const char *dns_type_name(enum dns_type type); /* "MX" */
bool dns_type_known(uint64_t type);

/* Lower case without the final dot into `out' (DNS_NAME_MAX + 1 octets, ends
   with NUL); false when it is not a name (labels of 1 to 63 octets of letters,
   digits, '-' and '_'). */
bool dns_name_normal(struct slice name, char *out);

#endif
