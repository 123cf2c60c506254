/*
 * dns_packet - what an answer of a DNS server says about one question.
 *
 * A pure parser of octets that anyone may have sent: strict, bounded by the
 * packet's size, no pointer forwards, no pointer twice. What is malformed in
 * any section, or contradicts itself, is a failure in words and nothing more.
 */
#ifndef SERVICES_DNS_PACKET_H
#define SERVICES_DNS_PACKET_H

#include "common/dns.h"
#include "common/strbuf.h"

#define DNS_ALIASES_MAX 16     /* CNAMEs one after the other */
#define DNS_TTL_MAX     86400  /* s; a record is kept a day at most */
#define DNS_NO_TTL_MAX  10800  /* s; "there is none": RFC 2308, 5 */

enum dns_packet_kind {
	DNS_PACKET_ANSWER, /* status is FOUND, NODATA or NXDOMAIN */
	DNS_PACKET_ALIAS,  /* CNAMEs lead to `name', which is to be asked for */
	DNS_PACKET_FAILED, /* reason says why it is no answer */
};

struct dns_packet {
	enum dns_packet_kind kind;
	enum dns_status status;
	bool secure;                 /* AD */
	uint32_t ttl;                /* s; 0: not to be kept */
	unsigned aliases;            /* CNAMEs that were followed */
	char name[DNS_NAME_MAX + 1]; /* where they end */
	struct strbuf records;       /* DNS_RECORDS_MAX encoded dns_records */
	const char *reason;          /* static */
};

/* `name' as of dns_name_normal(). Fills *out; clear it afterwards. */
void dns_packet_parse(struct slice packet, const char *name,
    enum dns_type type, struct dns_packet *out);
void dns_packet_clear(struct dns_packet *p);

#endif
