/* The parts of dns that need no server: packets, cache, files. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/dns_cache.h"
#include "services/dns_conf.h"
#include "services/dns_packet.h"
#include "services/dns_watch.h"
#include "tests/unit/dns_kit.h"
#include "tests/unit/unit.h"

static const char one[] = "\300\0\2\1", two[] = "\300\0\2\2";
#define A1 slice_make(one, 4)
#define A2 slice_make(two, 4)

/* -- packets ----------------------------------------------------------------- */

/* "found N ttl", "nodata ttl", "nxdomain ttl", "alias NAME", "failed: WORDS". */
static void
parse(const struct pkt *p, const char *name, enum dns_type type, char *out,
    size_t cap)
{
	struct dns_packet r;
	struct dns_record rec;
	struct slice in;
	unsigned n = 0;
	bool bad;

	/* on the heap, so that valgrind and ASan see a read past the end */
	char *copy = malloc(p->n + 1);

	assert_non_null(copy);
	memcpy(copy, p->b, p->n);
	dns_packet_parse(slice_make(copy, p->n), name, type, &r);
	in = strbuf_slice(&r.records);
	while (dns_record_decode(&in, type, &rec, &bad)) {
		n++;
	}
	assert_false(bad);
	if (r.kind == DNS_PACKET_FAILED) {
		(void)snprintf(out, cap, "failed: %s", r.reason);
	} else if (r.kind == DNS_PACKET_ALIAS) {
		(void)snprintf(out, cap, "alias %s", r.name);
	} else if (r.status == DNS_FOUND) {
		(void)snprintf(out, cap, "found %u %u%s", n, r.ttl,
		    r.secure ? " secure" : "");
	} else {
		(void)snprintf(out, cap, "%s %u%s", r.status == DNS_NODATA ?
		    "nodata" : "nxdomain", r.ttl, r.secure ? " secure" : "");
	}
	dns_packet_clear(&r);
	free(copy);
}

static void
expect(const struct pkt *p, enum dns_type type, const char *want)
{
	char got[300];

	parse(p, "a.test", type, got, sizeof(got));
	assert_string_equal(got, want);
}

static struct pkt *
begin(unsigned flags, unsigned type)
{
	static struct pkt p;

	pkt_begin(&p, 1, flags, "a.test", type);
	return &p;
}

static void
test_good_packets(void **state)
{
	struct pkt *p = begin(OK_FLAGS | AD, T_A);

	(void)state;
	pkt_rr(p, AN, "a.test", T_A, 300, A1);
	pkt_rr(p, AN, "A.Test", T_A, 200, A2);
	pkt_rr(p, AN, "b.test", T_A, 1, A2); /* not ours */
	pkt_rr(p, AR, "", T_OPT, 0, SL(""));
	expect(p, DNS_A, "found 2 200 secure");
	p = begin(OK_FLAGS, T_MX);
	pkt_mx(p, "a.test", 10, "mx.a.test");
	pkt_mx(p, "a.test", 0, "");
	expect(p, DNS_MX, "found 2 300");
	p = begin(OK_FLAGS, T_A); /* ever so long */
	pkt_rr(p, AN, "a.test", T_A, 0x7fffffff, A1);
	expect(p, DNS_A, "found 1 86400");
	p = begin(OK_FLAGS, T_A); /* the top bit: RFC 2181, 8 */
	pkt_rr(p, AN, "a.test", T_A, 0xffffffff, A1);
	expect(p, DNS_A, "found 1 0");
	p = begin(OK_FLAGS, T_MX); /* one is no host, one is */
	pkt_mx(p, "a.test", 10, "m x.test");
	pkt_mx(p, "a.test", 20, "mx.test");
	expect(p, DNS_MX, "found 1 300");
}

static void
test_there_is_none(void **state)
{
	struct pkt *p = begin(OK_FLAGS, T_A);

	(void)state;
	expect(p, DNS_A, "nodata 0"); /* without SOA: not kept */
	pkt_soa(p, "test", 900, 600);
	expect(p, DNS_A, "nodata 600");
	p = begin(OK_FLAGS | AD, T_A);
	pkt_soa(p, "a.test", 300, 600);
	expect(p, DNS_A, "nodata 300 secure");
	p = begin(OK_FLAGS | 3, T_A);
	expect(p, DNS_A, "nxdomain 0");
	pkt_soa(p, "", 900000, 900000);
	expect(p, DNS_A, "nxdomain 10800");
	p = begin(OK_FLAGS, T_A); /* another zone's, or only half a label */
	pkt_soa(p, "other", 900, 600);
	expect(p, DNS_A, "failed: the server sends us elsewhere: it is no "
	    "resolver");
	p = begin(OK_FLAGS, T_A);
	pkt_soa(p, "est", 900, 600);
	expect(p, DNS_A, "failed: the server sends us elsewhere: it is no "
	    "resolver");
	p = begin(QR, T_A); /* a referral */
	pkt_rr_name(p, NS, "test", T_NS, 300, SL(""), "ns.test");
	expect(p, DNS_A, "failed: the server sends us elsewhere: it is no "
	    "resolver");
}

static void
cname(struct pkt *p, const char *name, uint32_t ttl, const char *target)
{
	pkt_rr_name(p, AN, name, T_CNAME, ttl, SL(""), target);
}

static void
test_aliases(void **state)
{
	struct pkt *p = begin(OK_FLAGS, T_A);
	char from[20], to[20];
	unsigned i;

	(void)state;
	pkt_rr(p, AN, "c.test", T_A, 300, A1); /* in any order */
	cname(p, "b.test", 50, "c.test");
	cname(p, "a.test", 70, "b.test");
	expect(p, DNS_A, "found 1 50");
	p = begin(OK_FLAGS, T_A);
	cname(p, "a.test", 70, "b.example");
	expect(p, DNS_A, "alias b.example");
	pkt_soa(p, "example", 60, 60);
	expect(p, DNS_A, "nodata 60");
	p = begin(OK_FLAGS | 3, T_A);
	cname(p, "a.test", 70, "b.example");
	expect(p, DNS_A, "nxdomain 0");
	p = begin(OK_FLAGS, T_A);
	cname(p, "a.test", 70, "a.test");
	expect(p, DNS_A, "failed: aliases (CNAME) go round in circles, or are "
	    "too many");
	p = begin(OK_FLAGS, T_A);
	cname(p, "a.test", 70, "b.test");
	cname(p, "b.test", 70, "a.test");
	expect(p, DNS_A, "failed: aliases (CNAME) go round in circles, or are "
	    "too many");
	p = begin(OK_FLAGS, T_A);
	cname(p, "a.test", 70, "no host.test");
	expect(p, DNS_A, "failed: an alias (CNAME) leads to what is no host "
	    "name");
	p = begin(OK_FLAGS, T_A);
	cname(p, "a.test", 70, "");
	expect(p, DNS_A, "failed: an alias (CNAME) leads to what is no host "
	    "name");
	for (p = begin(OK_FLAGS, T_A), i = 0; i < 33; i++) {
		cname(p, "x.test", 70, "y.test");
		expect(p, DNS_A, i < 32 ? "nodata 0" :
		    "failed: the answer has too many aliases (CNAME)");
	}
	p = begin(OK_FLAGS, T_A);
	for (i = 0; i < 17; i++) {
		(void)snprintf(from, sizeof(from), i == 0 ? "a.test" :
		    "%c.test", (char)('a' + i));
		(void)snprintf(to, sizeof(to), "%c.test", (char)('b' + i));
		cname(p, from, 70, to);
	}
	expect(p, DNS_A, "failed: aliases (CNAME) go round in circles, or are "
	    "too many");
}

static const struct {
	unsigned flags;
	const char *want;
} headers[] = {
	{ OK_FLAGS | 1, "failed: the resolver does not understand the question "
	    "(FORMERR)" },
	{ OK_FLAGS | 2, "failed: the resolver failed (SERVFAIL)" },
	{ OK_FLAGS | 4, "failed: the resolver knows no such question (NOTIMP)" },
	{ OK_FLAGS | 5, "failed: the resolver refused (REFUSED)" },
	{ OK_FLAGS | 6, "failed: the resolver failed (an unknown rcode)" },
	{ OK_FLAGS | 9, "failed: the server is not responsible (NOTAUTH)" },
	{ OK_FLAGS | 15, "failed: the resolver failed (an unknown rcode)" },
	{ OK_FLAGS | TC, "failed: the answer is cut short" },
	{ RD, "failed: the answer is malformed" },
	{ OK_FLAGS | 0x2800, "failed: the answer is malformed" },
	{ OK_FLAGS | 3, "failed: the answer contradicts itself" },
	{ OK_FLAGS, "found 1 300" },
};

static void
test_headers(void **state)
{
	struct pkt *p;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(headers); i++) {
		p = begin(headers[i].flags, T_A);
		pkt_rr(p, AN, "a.test", T_A, 300, A1);
		expect(p, DNS_A, headers[i].want);
	}
	p = begin(OK_FLAGS, T_A); /* BADVERS */
	pkt_rr(p, AR, "", T_OPT, 1u << 24, SL(""));
	expect(p, DNS_A, "failed: the resolver failed (an extended error)");
}

static void
test_another_question(void **state)
{
	static const char want[] = "failed: the answer is to another question";
	static struct pkt p;

	(void)state;
	pkt_begin(&p, 1, OK_FLAGS, "b.test", T_A);
	expect(&p, DNS_A, want);
	pkt_begin(&p, 1, OK_FLAGS, "a.test", T_MX);
	expect(&p, DNS_A, want);
	pkt_begin(&p, 1, OK_FLAGS, "a.test", T_A);
	p.b[p.n - 1] = 3; /* class CHAOS */
	expect(&p, DNS_A, want);
	pkt_begin(&p, 1, OK_FLAGS, "a.test", T_A);
	p.b[5] = 0; /* no question */
	expect(&p, DNS_A, want);
	p.b[5] = 2;
	expect(&p, DNS_A, want);
	p.n = 0;
	expect(&p, DNS_A, "failed: the answer is malformed");
}

/* RDATA of every length up to 64, and of 65,535, for each type: taken when it
   is right, else malformed; and the packet cut at each octet. */
static void
test_rdata_lengths(void **state)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA, DNS_MX };
	static const char zeros[65535];
	char got[300];
	struct pkt *p;
	size_t i, n, right, whole;

	(void)state;
	for (i = 0; i < NELEMS(types); i++) {
		right = types[i] == DNS_A ? 4 : types[i] == DNS_AAAA ? 16 : 3;
		for (n = 0; n <= 65; n++) {
			p = begin(OK_FLAGS, (unsigned)types[i]);
			pkt_rr(p, AN, "a.test", (unsigned)types[i], 300,
			    slice_make(zeros, n == 65 ? 65535 : n));
			expect(p, types[i], n == right ? "found 1 300" :
			    "failed: the answer is malformed");
		}
		/* of the unknown, any length; SOA and CNAME are looked at */
		p = begin(OK_FLAGS, (unsigned)types[i]);
		pkt_rr(p, AN, "a.test", 16, 300, slice_make(zeros, 65000));
		expect(p, types[i], "nodata 0");
		for (n = 0; n <= 64; n++) {
			p = begin(OK_FLAGS, (unsigned)types[i]);
			pkt_rr(p, NS, "test", T_SOA, 300, slice_make(zeros, n));
			expect(p, types[i], n == 22 ? "nodata 0" :
			    "failed: the answer is malformed");
			p = begin(OK_FLAGS, (unsigned)types[i]);
			pkt_rr(p, AN, "b.test", T_CNAME, 300,
			    slice_make(zeros, n));
			expect(p, types[i], n == 1 ? "nodata 0" :
			    "failed: the answer is malformed");
		}
	}
	p = begin(OK_FLAGS, T_MX);
	pkt_mx(p, "a.test", 10, "mx.a.test");
	pkt_soa(p, "test", 300, 300);
	for (whole = p->n, p->n = 0; p->n < whole; p->n++) {
		parse(p, "a.test", DNS_MX, got, sizeof(got));
		assert_true(strncmp(got, "failed: ", 8) == 0);
	}
	expect(p, DNS_MX, "found 1 300");
	pkt_u8(p, 0); /* more than it says */
	expect(p, DNS_MX, "failed: the answer is malformed");
}

static void
test_counts_lie(void **state)
{
	struct pkt *p = begin(OK_FLAGS, T_A);
	unsigned section;

	(void)state;
	for (section = AN; section <= AR; section += 2) {
		p = begin(OK_FLAGS, T_A);
		pkt_rr(p, AN, "a.test", T_A, 300, A1);
		p->b[section] = p->b[section + 1] = 255;
		expect(p, DNS_A, "failed: the answer is malformed");
	}
	p = begin(OK_FLAGS, T_A);
	pkt_rr(p, AN, "a.test", T_A, 300, A1);
	p->b[p->n - 5] = 255; /* RDLENGTH */
	expect(p, DNS_A, "failed: the answer is malformed");
}

/* A record whose owner is these octets; the question's name is at 12. */
static void
owner(struct slice name, const char *want)
{
	struct pkt *p = begin(OK_FLAGS, T_A);
	size_t i;

	p->b[AN + 1] = 1;
	for (i = 0; i < name.n; i++) {
		pkt_u8(p, (unsigned char)name.p[i]);
	}
	pkt_u16(p, T_A);
	pkt_u16(p, 1);
	pkt_u32(p, 300);
	pkt_u16(p, 4);
	pkt_u32(p, 1);
	expect(p, DNS_A, want);
}

static void
test_names(void **state)
{
	static const char bad[] = "failed: the answer is malformed";
	char longest[300];
	size_t i;

	(void)state;
	owner(SL("\300\014"), "found 1 300");
	owner(SL("\1a\300\016"), "found 1 300");
	owner(SL("\1A\4TEST\0"), "found 1 300");
	owner(SL("\3a\0b\4test\0"), "nodata 0");
	owner(SL("\6a.test\0"), "nodata 0"); /* one label with a dot */
	owner(SL("\300\030"), bad);  /* to itself */
	owner(SL("\300\040"), bad);  /* forwards */
	owner(SL("\377\377"), bad);  /* behind the end */
	owner(SL("\1a\300\030"), bad); /* to where it began */
	owner(SL("\100a"), bad);     /* reserved label types */
	owner(SL("\200a"), bad);
	owner(SL("\77a"), bad);      /* a label past the end */
	for (i = 0; i < sizeof(longest); i++) {
		longest[i] = i % 2 == 0 ? 1 : 'a';
	}
	longest[254] = '\0';
	owner(slice_make(longest, 255), "nodata 0"); /* 253 octets as text */
	longest[254] = 1;
	longest[256] = '\0';
	owner(slice_make(longest, 257), bad);
}

/* A chain of pointers, each to the one before: followed to the end, once. */
static void
test_pointer_chain(void **state)
{
	struct pkt *p = begin(OK_FLAGS, T_A);
	unsigned i, at = 12;

	(void)state;
	p->b[AN] = 0x0f;
	p->b[AN + 1] = 0xa0; /* 4,000 records */
	for (i = 0; i < 4000; i++) {
		unsigned here = (unsigned)p->n;

		pkt_u16(p, 0xc000 | at);
		pkt_u16(p, T_A);
		pkt_u16(p, 1);
		pkt_u32(p, 300);
		pkt_u16(p, 4);
		pkt_u32(p, i);
		if (here < 0x4000) {
			at = here;
		}
	}
	expect(p, DNS_A, "found 256 300");
}

static void
test_a_thousand_records(void **state)
{
	struct pkt *p = begin(OK_FLAGS, T_MX);
	char name[30];
	unsigned i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "mx%u.a.test", i);
		pkt_mx(p, "a.test", i, name);
	}
	expect(p, DNS_MX, "found 256 300");
	p = begin(OK_FLAGS, T_MX);
	pkt_mx(p, "a.test", 10, "no host");
	expect(p, DNS_MX, "failed: no MX record names a host");
}

/* -- the cache --------------------------------------------------------------- */

static void
put(struct dns_cache *c, const char *name, uint64_t now, uint32_t ttl,
    struct slice records)
{
	const struct dns_answer a = { .status = DNS_FOUND, .ttl = ttl,
		.records = records, .reason = SL("why") };

	dns_cache_put(c, slice_of(name), DNS_A, now, &a);
}

static void
test_cache(void **state)
{
	struct dns_cache *c = dns_cache_new(3);
	struct dns_answer a;

	(void)state;
	put(c, "a", 1000, 10, SL("aa"));
	assert_true(dns_cache_get(c, SL("a"), DNS_A, 1000, &a));
	assert_int_equal(a.ttl, 10);
	assert_slice(a.records, "aa");
	assert_slice(a.reason, "why");
	assert_true(dns_cache_get(c, SL("a"), DNS_A, 10999, &a));
	assert_int_equal(a.ttl, 1);
	assert_false(dns_cache_get(c, SL("a"), DNS_MX, 1000, &a));
	assert_false(dns_cache_get(c, SL("a"), DNS_A, 11000, &a));
	assert_int_equal(dns_cache_count(c), 0);
	put(c, "a", 0, 0, SL("aa")); /* a TTL of 0 is not kept */
	assert_int_equal(dns_cache_count(c), 0);
	/* the one longest not asked for goes */
	put(c, "a", 0, 9, SL("1"));
	put(c, "b", 0, 9, SL("2"));
	put(c, "c", 0, 9, SL("3"));
	assert_true(dns_cache_get(c, SL("a"), DNS_A, 0, &a));
	put(c, "d", 0, 9, SL("4"));
	assert_int_equal(dns_cache_count(c), 3);
	assert_true(dns_cache_get(c, SL("a"), DNS_A, 0, &a));
	assert_false(dns_cache_get(c, SL("b"), DNS_A, 0, &a));
	put(c, "a", 0, 9, SL("new")); /* replaces */
	assert_int_equal(dns_cache_count(c), 3);
	assert_true(dns_cache_get(c, SL("a"), DNS_A, 0, &a));
	assert_slice(a.records, "new");
	dns_cache_forget_all(c);
	assert_int_equal(dns_cache_octets(c), 0);
	dns_cache_free(c);
}

/* Great answers are bounded by their octets, not their number. */
static void
test_cache_octets(void **state)
{
	static char large[30000];
	struct dns_cache *c = dns_cache_new(100);
	char name[20];
	unsigned i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		put(c, name, 0, 9, slice_make(large, sizeof(large)));
		assert_true(dns_cache_octets(c) <= 100 * DNS_CACHE_OCTETS);
	}
	assert_int_equal(dns_cache_count(c), 3);
	dns_cache_free(c);
	c = dns_cache_new(20); /* alone more than all may be */
	put(c, "a", 0, 9, slice_make(large, sizeof(large)));
	assert_int_equal(dns_cache_count(c), 0);
	dns_cache_free(c);
	c = dns_cache_new(0); /* switched off */
	put(c, "a", 0, 9, SL("x"));
	assert_int_equal(dns_cache_count(c), 0);
	dns_cache_free(c);
}

/* -- files ------------------------------------------------------------------- */

static const struct {
	const char *text, *want;
} resolv_confs[] = {
	{ "", "127.0.0.1:53" },
	{ "# nameserver 192.0.2.1\n;nameserver 192.0.2.2\n", "127.0.0.1:53" },
	{ "nameserver 192.0.2.1\n", "192.0.2.1:53" },
	{ "search a.test\nnameserver\t192.0.2.1  \r\noptions edns0\n"
	    "nameserver 2001:db8::1", "192.0.2.1:53 [2001:db8::1]:53" },
	{ "nameserver fe80::1%eth0\nnameserver\nnameserver x\n"
	    "nameserver 192.0.2.256\n nameserver 192.0.2.1\n"
	    "nameservers 192.0.2.1\nNAMESERVER 192.0.2.1\n", "127.0.0.1:53" },
	{ "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n"
	    "nameserver 1.1.1.4\nnameserver 1.1.1.5\nnameserver 1.1.1.6\n"
	    "nameserver 1.1.1.7\nnameserver 1.1.1.8\nnameserver 1.1.1.9\n",
	    "1.1.1.1:53 1.1.1.2:53 1.1.1.3:53 1.1.1.4:53 1.1.1.5:53 "
	    "1.1.1.6:53 1.1.1.7:53 1.1.1.8:53" },
};

static void
test_resolv_conf(void **state)
{
	struct strlist l;
	struct strbuf got;
	size_t i, j;

	(void)state;
	for (i = 0; i < NELEMS(resolv_confs); i++) {
		strbuf_init(&got, 0);
		dns_conf_servers(slice_of(resolv_confs[i].text), &l);
		for (j = 0; j < l.n; j++) {
			(void)strbuf_printf(&got, "%s%s", j > 0 ? " " : "",
			    l.at[j]);
		}
		assert_string_equal(got.p, resolv_confs[i].want);
		strlist_clear(&l);
		strbuf_clear(&got);
	}
}

static unsigned
addresses(const struct dns_hosts *h, const char *name, enum dns_type type)
{
	struct dns_record r;
	struct strbuf b;
	struct slice in;
	unsigned n = 0;
	bool bad;

	strbuf_init(&b, 0);
	if (!dns_hosts_find(h, slice_of(name), type, &b)) {
		return 1000;
	}
	in = strbuf_slice(&b);
	while (dns_record_decode(&in, type, &r, &bad)) {
		n++;
	}
	assert_false(bad);
	strbuf_clear(&b);
	return n;
}

static void
test_hosts(void **state)
{
	struct dns_hosts *h = dns_hosts_new(SL(
	    "127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\r\n"
	    "# 192.0.2.1 comment\n192.0.2.1 Mail.Example.org. mail # mx\n"
	    "192.0.2.2 mail\n2001:db8::1%eth0 scoped\n"
	    "bad line\n192.0.2.3\n[192.0.2.4] bracket\n192.0.2.5 a/b ok"));

	(void)state;
	assert_int_equal(addresses(h, "localhost", DNS_A), 1);
	assert_int_equal(addresses(h, "localhost", DNS_AAAA), 1);
	assert_int_equal(addresses(h, "ip6-localhost", DNS_A), 0);
	assert_int_equal(addresses(h, "mail.example.org", DNS_A), 1);
	assert_int_equal(addresses(h, "mail", DNS_A), 2);
	assert_int_equal(addresses(h, "ok", DNS_A), 1);
	assert_int_equal(addresses(h, "comment", DNS_A), 1000);
	assert_int_equal(addresses(h, "mx", DNS_A), 1000);
	assert_int_equal(addresses(h, "scoped", DNS_AAAA), 1000);
	assert_int_equal(addresses(h, "line", DNS_A), 1000);
	assert_int_equal(addresses(h, "bracket", DNS_A), 1000);
	assert_int_equal(addresses(h, "a/b", DNS_A), 1000);
	dns_hosts_free(h);
}

/* A name in a line of its own 100,000 times: no more than an answer holds. */
static void
test_hosts_bounded(void **state)
{
	struct strbuf b;
	struct dns_hosts *h;
	unsigned i;

	(void)state;
	strbuf_init(&b, 0);
	for (i = 0; i < 3000; i++) {
		(void)strbuf_printf(&b, "192.0.%u.%u many\n", i >> 8, i & 255);
	}
	h = dns_hosts_new(strbuf_slice(&b));
	assert_true(addresses(h, "many", DNS_A) <= DNS_RECORDS_MAX + 1);
	dns_hosts_free(h);
	strbuf_clear(&b);
}

/* -- watching ---------------------------------------------------------------- */

struct seen {
	unsigned times;
	bool there;
	char text[100];
	struct event_base *base;
};

static void
on_file(void *arg, bool there, struct slice text)
{
	struct seen *s = arg;

	s->times++;
	s->there = there;
	assert_true(text.n < sizeof(s->text));
	if (text.n > 0) {
		memcpy(s->text, text.p, text.n);
	}
	s->text[text.n] = '\0';
	(void)event_base_loopbreak(s->base);
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Turn the loop until `times' is reached; 10 s at most. */
static void
await(struct seen *s, unsigned times)
{
	const struct timeval limit = { 10, 0 };

	while (s->times < times) {
		assert_int_equal(event_base_loopexit(s->base, &limit), 0);
		assert_int_equal(event_base_loop(s->base, 0), 0);
		assert_false(event_base_got_exit(s->base));
	}
	assert_int_equal(s->times, times);
}

static void
test_watch(void **state)
{
	char dir[] = "/tmp/veredus-test-XXXXXX";
	char path[60], real[60], fresh[60], other[60];
	struct seen s = { .base = event_base_new() };
	struct dns_watch *w;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/conf", dir);
	(void)snprintf(other, sizeof(other), "%s/run", dir);
	(void)snprintf(real, sizeof(real), "%s/run/real", dir);
	(void)snprintf(fresh, sizeof(fresh), "%s/run/fresh", dir);
	assert_int_equal(mkdir(other, 0755), 0);
	w = dns_watch_new(s.base, path, 50, on_file, &s);
	assert_int_equal(s.times, 1); /* at once: it is missing */
	assert_false(s.there);
	write_file(path, "one");
	await(&s, 2);
	assert_string_equal(s.text, "one");
	write_file(path, "two"); /* in place */
	await(&s, 3);
	assert_string_equal(s.text, "two");
	/* a link into another directory takes its place */
	write_file(real, "three");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("run/real", path), 0);
	await(&s, 4);
	assert_string_equal(s.text, "three");
	/* and what it leads to is replaced */
	write_file(fresh, "four");
	assert_int_equal(rename(fresh, real), 0);
	await(&s, 5);
	assert_string_equal(s.text, "four");
	/* too large: what was read stays */
	write_file(fresh, "a line that is longer than the fifty octets allowed"
	    " here");
	assert_int_equal(rename(fresh, real), 0);
	write_file(fresh, "five");
	assert_int_equal(rename(fresh, real), 0);
	await(&s, 6);
	assert_string_equal(s.text, "five");
	assert_int_equal(unlink(path), 0);
	await(&s, 7);
	assert_false(s.there);
	dns_watch_free(w);
	event_base_free(s.base);
	(void)unlink(real);
	assert_int_equal(rmdir(other), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void
test_watch_takes_no_odd_file(void **state)
{
	char dir[] = "/tmp/veredus-test-XXXXXX";
	char path[60];
	struct seen s = { .base = event_base_new() };
	struct dns_watch *w;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0644), 0); /* reading would wait */
	w = dns_watch_new(s.base, path, 50, on_file, &s);
	assert_int_equal(s.times, 1);
	assert_false(s.there);
	dns_watch_free(w);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("fifo", path), 0); /* to itself */
	w = dns_watch_new(s.base, path, 50, on_file, &s);
	assert_int_equal(s.times, 2);
	assert_false(s.there);
	dns_watch_free(w);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	event_base_free(s.base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_packets),
		cmocka_unit_test(test_there_is_none),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_another_question),
		cmocka_unit_test(test_rdata_lengths),
		cmocka_unit_test(test_counts_lie),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_pointer_chain),
		cmocka_unit_test(test_a_thousand_records),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_octets),
		cmocka_unit_test(test_resolv_conf),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_hosts_bounded),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_watch_takes_no_odd_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
