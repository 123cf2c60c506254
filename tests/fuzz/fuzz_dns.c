/*
 * An answer of a DNS server, octet by octet from anywhere. Whatever it is: what
 * comes out is in order, and can be sent on. And resolv.conf and hosts.
 */
#include "config.h"

#include <stdlib.h>

#include "services/dns_conf.h"
#include "services/dns_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static unsigned
count(enum dns_type type, struct slice records)
{
	struct dns_record r;
	unsigned n = 0;
	bool bad;

	while (dns_record_decode(&records, type, &r, &bad)) {
		n++;
	}
	check(!bad);
	return n;
}

static void
packet(struct slice in, enum dns_type type)
{
	char normal[DNS_NAME_MAX + 1];
	struct dns_packet p;
	unsigned n;

	dns_packet_parse(in, "www.example.org", type, &p);
	n = count(type, strbuf_slice(&p.records));
	check(n <= DNS_RECORDS_MAX && p.ttl <= DNS_TTL_MAX);
	switch (p.kind) {
	case DNS_PACKET_FAILED:
		check(p.reason != NULL && n == 0 && p.status == DNS_TEMP);
		break;
	case DNS_PACKET_ALIAS:
		check(p.aliases > 0 && p.aliases <= DNS_ALIASES_MAX && n == 0);
		break;
	case DNS_PACKET_ANSWER:
		check(p.status != DNS_TEMP && (n > 0) ==
		    (p.status == DNS_FOUND));
		check(p.status == DNS_FOUND || p.ttl <= DNS_NO_TTL_MAX);
		break;
	}
	if (p.kind != DNS_PACKET_FAILED) {
		check(dns_name_normal(slice_of(p.name), normal) &&
		    strcmp(normal, p.name) == 0);
	}
	dns_packet_clear(&p);
}

static void
files(struct slice in)
{
	struct strlist servers;
	struct dns_hosts *h;
	struct strbuf out;

	dns_conf_servers(in, &servers);
	check(servers.n > 0 && servers.n <= DNS_SERVERS_MAX);
	strlist_clear(&servers);
	h = dns_hosts_new(in);
	strbuf_init(&out, 0);
	if (dns_hosts_find(h, SL("mx"), DNS_AAAA, &out)) {
		(void)count(DNS_AAAA, strbuf_slice(&out));
	}
	strbuf_reset(&out);
	(void)dns_hosts_find(h, SL("mx"), DNS_A, &out);
	check(count(DNS_A, strbuf_slice(&out)) <= DNS_RECORDS_MAX + 1);
	strbuf_clear(&out);
	dns_hosts_free(h);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = { DNS_A, DNS_MX, DNS_AAAA };
	struct slice in = slice_make((const char *)data, size);
	size_t i;

	for (i = 0; i < NELEMS(types); i++) {
		packet(in, types[i]);
	}
	files(in);
	return 0;
}
