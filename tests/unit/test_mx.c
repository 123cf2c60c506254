/*
 * From a next hop to addresses. Each case has its own small DNS, as text:
 * "TYPE name status-or-records"; what is not in it is NXDOMAIN, except MX,
 * which is NODATA. A question that a case does not expect is its own failure.
 */
#include "config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mx.h"
#include "common/settings.h"
#include "tests/unit/unit.h"

struct world {
	const char *dns;       /* lines */
	unsigned questions;
	uint32_t ttl;
};

static void
encode(enum dns_type type, struct slice word, struct strbuf *out)
{
	struct dns_record r = { 0, slice_make("", 0) };
	size_t eq = slice_find(word, '=');
	char text[300];
	unsigned char addr[16];
	uint64_t n;

	if (type == DNS_MX) { /* "10=host" */
		assert_true(slice_number(slice_make(word.p, eq), 65535, &n));
		r.preference = (uint16_t)n;
		r.data = slice_make(word.p + eq + 1, word.n - eq - 1);
	} else {
		memcpy(text, word.p, word.n);
		text[word.n] = '\0';
		assert_int_equal(inet_pton(type == DNS_A ? AF_INET : AF_INET6,
		    text, addr), 1);
		r.data = slice_make((char *)addr, type == DNS_A ? 4 : 16);
	}
	dns_record_encode(&r, out);
}

static void
answer(struct world *w, struct mx_memo *m, const struct mx_question *q)
{
	struct dns_answer a = { .ttl = w->ttl, .reason = SL("") };
	struct slice dns = slice_of(w->dns), line, word, type, name;
	struct strbuf records;

	w->questions++;
	strbuf_init(&records, 0);
	a.status = q->type == DNS_MX ? DNS_NODATA : DNS_NXDOMAIN;
	while (slice_word(&dns, "\n", &line)) {
		assert_true(slice_word(&line, " ", &type));
		assert_true(slice_word(&line, " ", &name));
		if (!slice_eq(type, slice_of(dns_type_name(q->type))) ||
		    !slice_eq(name, q->name)) {
			continue;
		}
		a.status = DNS_FOUND;
		while (slice_word(&line, " ", &word)) {
			if (slice_eq(word, SL("TEMP"))) {
				a.status = DNS_TEMP;
				a.reason = SL("SERVFAIL\r\n");
			} else if (slice_eq(word, SL("NODATA"))) {
				a.status = DNS_NODATA;
			} else if (slice_eq(word, SL("NX"))) {
				a.status = DNS_NXDOMAIN;
			} else if (slice_eq(word, SL("GARBAGE"))) {
				(void)strbuf_add_str(&records, "garbage");
			} else if (slice_eq(word, SL("AD"))) {
				a.secure = true;
			} else if (slice_eq(word, SL("HOSTS"))) {
				assert_int_equal(q->flags, DNS_ASK_HOSTS);
			} else if (slice_eq(word, SL("NEVER"))) {
				fail_msg("%.*s was asked for", SLF(q->name));
			} else {
				encode(q->type, word, &records);
			}
		}
	}
	a.records = strbuf_slice(&records);
	if (a.records.p == NULL) {
		a.records = SL("");
	}
	mx_memo_answer(m, q, &a);
	strbuf_clear(&records);
}

/* Resolve to the end; *m is the memo at the end. */
static void
run(struct world *w, const struct mx_request *rq, struct mx_result *out,
    struct mx_memo **m)
{
	struct mx_question q;
	unsigned rounds = 0;
	size_t place;

	*m = mx_memo_new();
	while (mx_resolve(rq, *m, out) == MX_NEED) {
		assert_int_equal(out->n, 0);
		assert_true(++rounds < 4);
		place = 0;
		while (mx_memo_need(*m, &place, &q)) {
			answer(w, *m, &q);
		}
	}
}

static struct mx_policy *
policy(const char *protocols)
{
	struct strbuf text, errors;
	struct settings_source src;
	struct settings s;
	struct mx_policy *p;

	strbuf_init(&text, 0);
	strbuf_init(&errors, 0);
	(void)strbuf_printf(&text, "myhostname = me.example\n"
	    "inet_interfaces = 192.0.2.99, 2001:db8::99\n"
	    "listen = *:25, *:587\ninet_protocols = %s\n", protocols);
	settings_init(&s);
	memset(&src, 0, sizeof(src));
	if (!settings_load("test", strbuf_slice(&text), &s, &src, &errors)) {
		fail_msg("%s", errors.p);
	}
	p = mx_policy_new(&s);
	settings_clear(&s);
	settings_source_clear(&src);
	strbuf_clear(&text);
	strbuf_clear(&errors);
	return p;
}

/* "host pref addr:port!" in order; "!" for secure. Or "esc text". */
static void
print(const struct mx_result *r, struct strbuf *out)
{
	size_t i;

	strbuf_reset(out);
	(void)strbuf_add_str(out, "");
	if (r->n == 0) {
		(void)strbuf_printf(out, "%s %s", r->esc, r->text);
		assert_int_equal(r->fate, r->esc[0] == '4' ? FATE_DEFERRED :
		    FATE_FAILED);
		return;
	}
	assert_int_equal(r->fate, FATE_NONE);
	for (i = 0; i < r->n; i++) {
		(void)strbuf_printf(out, "%s%s %u ", i > 0 ? "; " : "",
		    r->at[i].host, (unsigned)r->at[i].preference);
		nexthop_print_addr(&r->at[i].addr, out);
		(void)strbuf_printf(out, ":%u%s", (unsigned)r->at[i].port,
		    r->at[i].secure ? "!" : "");
	}
}

static const struct {
	const char *name, *hop, *protocols, *dns, *want;
} cases[] = {
	{ "one MX", "a.example", "ipv4, ipv6",
	    "MX a.example 10=mx.a.example\nA mx.a.example 192.0.2.1\n",
	    "mx.a.example 10 192.0.2.1:25" },
	{ "a port goes with MX", "a.example:2525", "ipv4, ipv6",
	    "MX a.example 10=mx.a.example\nA mx.a.example 192.0.2.1\n",
	    "mx.a.example 10 192.0.2.1:2525" },
	{ "by preference", "a.example", "ipv4",
	    "MX a.example 30=c 10=a 20=b\nA a 192.0.2.1\nA b 192.0.2.2\n"
	    "A c 192.0.2.3\n",
	    "a 10 192.0.2.1:25; b 20 192.0.2.2:25; c 30 192.0.2.3:25" },
	{ "preference 0 and 65535", "a.example", "ipv4",
	    "MX a.example 65535=b 0=a\nA a 192.0.2.1\nA b 192.0.2.2\n",
	    "a 0 192.0.2.1:25; b 65535 192.0.2.2:25" },
	{ "a host twice", "a.example", "ipv4",
	    "MX a.example 30=a 20=b 10=a\nA a 192.0.2.1\nA b 192.0.2.2\n",
	    "a 10 192.0.2.1:25; b 20 192.0.2.2:25" },
	{ "no MX: the name's own addresses", "a.example", "ipv4, ipv6",
	    "A a.example 192.0.2.1\n", "a.example 0 192.0.2.1:25" },
	{ "no MX: AAAA only", "a.example", "ipv4, ipv6",
	    "A a.example NODATA\nAAAA a.example 2001:db8::1\n",
	    "a.example 0 2001:db8::1:25" },
	{ "MX without address: no way back to A", "a.example", "ipv4",
	    "MX a.example 10=gone\nA a.example NEVER 192.0.2.1\n",
	    "5.4.4 no mail exchanger of a.example has an address of a family "
	    "in inet_protocols" },
	{ "MX without address", "a.example", "ipv4, ipv6",
	    "MX a.example 10=gone 20=bare\nA bare NODATA\nAAAA bare NODATA\n",
	    "5.4.4 no mail exchanger of a.example has an address" },
	{ "one of two has an address", "a.example", "ipv4, ipv6",
	    "MX a.example 10=gone 20=b\nA b 192.0.2.2\n",
	    "b 20 192.0.2.2:25" },
	{ "no such domain", "a.example", "ipv4, ipv6", "MX a.example NX\n",
	    "5.4.4 a.example: there is no such domain" },
	{ "no address at all", "a.example", "ipv4, ipv6",
	    "A a.example NODATA\nAAAA a.example NODATA\n",
	    "5.4.4 a.example has no address" },
	{ "null MX", "a.example", "ipv4",
	    "MX a.example 0=\nA a.example NEVER 192.0.2.1\n",
	    "5.1.10 a.example takes no mail (null MX, RFC 7505)" },
	{ "a null MX among others is no null MX", "a.example", "ipv4",
	    "MX a.example 0= 10=b\nA b 192.0.2.2\n", "b 10 192.0.2.2:25" },
	{ "the MX lookup fails", "a.example", "ipv4",
	    "MX a.example TEMP\nA a.example NEVER 192.0.2.1\n",
	    "4.4.3 looking up MX of a.example: SERVFAIL\\x0d\\x0a" },
	{ "an address lookup fails", "a.example", "ipv4",
	    "MX a.example 10=b\nA b TEMP\n",
	    "4.4.3 looking up A of b: SERVFAIL\\x0d\\x0a" },
	{ "one fails, one is gone", "a.example", "ipv4",
	    "MX a.example 10=b 20=c\nA b TEMP\nA c NX\n",
	    "4.4.3 looking up A of b: SERVFAIL\\x0d\\x0a" },
	{ "one fails, an equal one answers", "a.example", "ipv4",
	    "MX a.example 10=b 10=c\nA b TEMP\nA c 192.0.2.3\n",
	    "c 10 192.0.2.3:25" },
	{ "the best fails, the next answers", "a.example", "ipv4",
	    "MX a.example 10=b 20=c\nA b TEMP\nA c 192.0.2.3\n",
	    "c 20 192.0.2.3:25" },
	{ "one family fails, the other answers", "a.example", "ipv4, ipv6",
	    "MX a.example 10=b\nA b TEMP\nAAAA b 2001:db8::2\n",
	    "b 10 2001:db8::2:25" },
	{ "one family fails, the other is empty", "a.example", "ipv4, ipv6",
	    "A a.example NODATA\nAAAA a.example TEMP\n",
	    "4.4.3 looking up AAAA of a.example: SERVFAIL\\x0d\\x0a" },
	{ "records that make no sense", "a.example", "ipv4",
	    "MX a.example GARBAGE\n", "4.4.3 looking up MX of a.example: dns "
	    "sent records that make no sense" },
	{ "found, without records", "a.example", "ipv4",
	    "A a.example\n", "4.4.3 looking up A of a.example: dns "
	    "sent records that make no sense" },
	{ "targets that are no host", "a.example", "ipv4",
	    "MX a.example 1=192.0.2.7 2=localhost 3=a.localhost 4=7 10=b\n"
	    "A b 192.0.2.2\n", "b 10 192.0.2.2:25" },
	{ "nothing but such targets", "a.example", "ipv4",
	    "MX a.example 1=192.0.2.7 2=localhost\n",
	    "4.4.4 no MX record of a.example names a host" },
	{ "only IPv4", "a.example", "ipv4",
	    "A a.example 192.0.2.1\nAAAA a.example NEVER\n",
	    "a.example 0 192.0.2.1:25" },
	{ "only IPv6", "a.example", "ipv6",
	    "A a.example NEVER\nAAAA a.example 2001:db8::1\n",
	    "a.example 0 2001:db8::1:25" },
	{ "a host: no MX, hosts file", "[b.example]", "ipv4",
	    "MX b.example NEVER\nA b.example HOSTS 192.0.2.2\n",
	    "b.example 0 192.0.2.2:25" },
	{ "a host with port", "[b.example]:26", "ipv4",
	    "A b.example HOSTS 192.0.2.2\n", "b.example 0 192.0.2.2:26" },
	{ "[localhost] is asked for", "[localhost]:26", "ipv4",
	    "A localhost HOSTS 127.0.0.1\n", "localhost 0 127.0.0.1:26" },
	{ "an address", "[192.0.2.1]", "ipv4, ipv6", "", " 0 192.0.2.1:25" },
	{ "an IPv6 address", "[2001:db8::1]:26", "ipv4, ipv6", "",
	    " 0 2001:db8::1:26" },
	{ "an address of a family we lack", "[2001:db8::1]", "ipv4", "",
	    "5.4.4 [2001:db8::1] is not of a family in inet_protocols" },
	{ "secure all the way", "a.example", "ipv4",
	    "MX a.example AD 10=b\nA b AD 192.0.2.2\n",
	    "b 10 192.0.2.2:25!" },
	{ "an insecure MX spoils it", "a.example", "ipv4",
	    "MX a.example 10=b\nA b AD 192.0.2.2\n", "b 10 192.0.2.2:25" },
	{ "an insecure address too", "a.example", "ipv4",
	    "MX a.example AD 10=b\nA b 192.0.2.2\n", "b 10 192.0.2.2:25" },
	{ "a secure host", "[b]", "ipv4", "A b AD 192.0.2.2\n",
	    "b 0 192.0.2.2:25!" },
	/* "MX points back to me" */
	{ "we are the best, by name", "a.example", "ipv4",
	    "MX a.example 10=me.example 20=b\nA b NEVER 192.0.2.2\n"
	    "A me.example NEVER\n",
	    "5.4.6 mail for a.example loops back to myself" },
	{ "we are second, by name", "a.example", "ipv4",
	    "MX a.example 10=b 20=me.example 20=c 30=d\nA b 192.0.2.2\n"
	    "A c NEVER\nA d NEVER\n", "b 10 192.0.2.2:25" },
	{ "we are one of the best", "a.example", "ipv4",
	    "MX a.example 10=b 10=me.example\nA b NEVER 192.0.2.2\n",
	    "5.4.6 mail for a.example loops back to myself" },
	{ "we are the best, by address", "a.example", "ipv4",
	    "MX a.example 10=b 20=c\nA b 192.0.2.99\nA c 192.0.2.3\n",
	    "5.4.6 mail for a.example loops back to myself" },
	{ "we are second, by address", "a.example", "ipv4, ipv6",
	    "MX a.example 10=b 20=c 30=d\nA b 192.0.2.2\n"
	    "AAAA c 2001:db8::99\nA d 192.0.2.4\n", "b 10 192.0.2.2:25" },
	{ "we are second, the first has no address", "a.example", "ipv4, ipv6",
	    "MX a.example 10=b 20=me.example\n",
	    "5.4.4 no mail exchanger of a.example has an address" },
	{ "we are second, the first's lookup fails", "a.example", "ipv4",
	    "MX a.example 10=b 20=me.example\nA b TEMP\n",
	    "4.4.3 looking up A of b: SERVFAIL\\x0d\\x0a" },
	{ "no MX, and it is us", "a.example", "ipv4",
	    "A a.example 192.0.2.99\n",
	    "5.4.6 mail for a.example loops back to myself" },
	{ "our address, another's port", "a.example:2525", "ipv4",
	    "A a.example 192.0.2.99\n", "a.example 0 192.0.2.99:2525" },
	{ "our name, another's port", "[me.example]:2525", "ipv4",
	    "A me.example 192.0.2.99\n", "me.example 0 192.0.2.99:2525" },
	{ "our other port", "[192.0.2.99]:587", "ipv4", "",
	    "5.4.6 mail for 192.0.2.99 loops back to myself" },
	{ "our address as a literal", "[2001:db8::99]", "ipv6", "",
	    "5.4.6 mail for 2001:db8::99 loops back to myself" },
	/* what Linux connects to ourselves, whoever's zone names it */
	{ "no address at all", "a.example", "ipv4", "A a.example 0.0.0.0\n",
	    "5.4.6 mail for a.example loops back to myself" },
	{ "no address, another's port", "a.example:2525", "ipv4",
	    "A a.example 0.0.0.0\n", "a.example 0 0.0.0.0:2525" },
	{ "all of loopback, listening to *", "a.example", "ipv4",
	    "MX a.example 10=b\nA b 127.3.4.5\n",
	    "5.4.6 mail for a.example loops back to myself" },
	{ "loopback, another's port", "a.example:2525", "ipv4",
	    "A a.example 127.3.4.5\n", "a.example 0 127.3.4.5:2525" },
	{ "our address, mapped into IPv6", "a.example", "ipv6",
	    "AAAA a.example ::ffff:192.0.2.99\n",
	    "5.4.6 mail for a.example loops back to myself" },
	{ "loopback, mapped into IPv6", "a.example", "ipv6",
	    "MX a.example 10=b 20=c\nAAAA b ::ffff:127.0.0.1\n"
	    "AAAA c 2001:db8::3\n",
	    "5.4.6 mail for a.example loops back to myself" },
	{ "another's address, mapped", "a.example", "ipv6",
	    "AAAA a.example ::ffff:192.0.2.1\n",
	    "a.example 0 ::ffff:192.0.2.1:25" },
};

static void
test_rules(void **state)
{
	struct mx_request rq = { .default_port = 25, .address_limit = 5 };
	struct strbuf got;
	struct mx_result r;
	struct nexthop hop;
	struct mx_memo *m;
	struct world w;
	const char *why;
	size_t i;

	(void)state;
	strbuf_init(&got, 0);
	for (i = 0; i < NELEMS(cases); i++) {
		struct mx_policy *p = policy(cases[i].protocols);

		assert_true(nexthop_parse(slice_of(cases[i].hop), &hop, &why));
		rq.hop = &hop;
		rq.policy = p;
		w = (struct world){ .dns = cases[i].dns, .ttl = 300 };
		/* whatever the chance */
		for (rq.seed = 0; rq.seed < 8; rq.seed++) {
			run(&w, &rq, &r, &m);
			print(&r, &got);
			if (strcmp(got.p, cases[i].want) != 0) {
				fail_msg("%s: %s", cases[i].name, got.p);
			}
			mx_result_clear(&r);
			mx_memo_free(m);
		}
		mx_policy_free(p);
	}
	strbuf_clear(&got);
}

static struct mx_request
request(struct nexthop *hop, const char *text, const struct mx_policy *p)
{
	const char *why;

	assert_true(nexthop_parse(slice_of(text), hop, &why));
	return (struct mx_request){ .hop = hop, .policy = p,
		.default_port = 25, .address_limit = 5 };
}

static void
test_lmtp_asks_for_no_mx(void **state)
{
	struct mx_policy *p = policy("ipv4");
	struct world w = { .dns = "MX a.example NEVER\n"
	    "A a.example HOSTS 192.0.2.1\n", .ttl = 60 };
	struct nexthop hop;
	struct mx_request rq = request(&hop, "a.example", p);
	struct mx_result r;
	struct mx_memo *m;

	(void)state;
	rq.no_mx = true;
	rq.default_port = 24;
	run(&w, &rq, &r, &m);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.at[0].port, 24);
	assert_false(r.mx_used);
	mx_result_clear(&r);
	mx_memo_free(m);
	mx_policy_free(p);
}

/* Equals come in every order, and the same seed gives the same. */
static void
test_random_among_equals(void **state)
{
	struct mx_policy *p = policy("ipv4");
	struct world w = { .dns = "MX a.example 10=a 10=b 10=c 20=d\n"
	    "A a 192.0.2.1\nA b 192.0.2.2\nA c 192.0.2.3\nA d 192.0.2.4\n" };
	struct nexthop hop;
	struct mx_request rq = request(&hop, "a.example", p);
	struct mx_result r, again;
	unsigned first[3] = { 0, 0, 0 };
	struct mx_memo *m;
	size_t i;

	(void)state;
	for (rq.seed = 0; rq.seed < 3000; rq.seed++) {
		run(&w, &rq, &r, &m);
		assert_int_equal(r.n, 4);
		assert_string_equal(r.at[3].host, "d");
		first[r.at[0].host[0] - 'a']++;
		assert_int_equal(mx_resolve(&rq, m, &again), MX_DONE);
		for (i = 0; i < 4; i++) {
			assert_string_equal(again.at[i].host, r.at[i].host);
			assert_memory_equal(again.at[i].addr.octets,
			    r.at[i].addr.octets, 4);
		}
		mx_result_clear(&again);
		mx_result_clear(&r);
		mx_memo_free(m);
	}
	assert_true(first[0] > 800 && first[1] > 800 && first[2] > 800);
	mx_policy_free(p);
}

/* Five places: each host has one before any has two; families alternate. */
static void
test_places_are_shared(void **state)
{
	struct mx_policy *p = policy("ipv4, ipv6");
	struct world w = { .dns = "MX a.example 10=a 20=b\n"
	    "A a 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5\n"
	    "AAAA a 2001:db8::1 2001:db8::2 2001:db8::3\nA b 192.0.2.9\n",
	    .ttl = 77 };
	struct nexthop hop;
	struct mx_request rq = request(&hop, "a.example", p);
	struct mx_result r;
	struct mx_memo *m;

	(void)state;
	for (rq.seed = 0; rq.seed < 50; rq.seed++) {
		run(&w, &rq, &r, &m);
		assert_int_equal(r.n, 5);
		assert_true(r.at[0].addr.v6 != r.at[1].addr.v6);
		assert_true(r.at[2].addr.v6 != r.at[3].addr.v6);
		assert_string_equal(r.at[3].host, "a");
		assert_string_equal(r.at[4].host, "b");
		assert_int_equal(r.ttl, 77);
		assert_true(r.mx_used);
		mx_result_clear(&r);
		mx_memo_free(m);
	}
	rq.address_limit = 1;
	run(&w, &rq, &r, &m);
	assert_int_equal(r.n, 1);
	assert_string_equal(r.at[0].host, "a");
	mx_result_clear(&r);
	mx_memo_free(m);
	mx_policy_free(p);
}

/* 1,000 MX records, as many as fit into an answer: bounded questions. */
static void
test_a_thousand_hosts(void **state)
{
	struct mx_policy *p = policy("ipv4, ipv6");
	struct strbuf dns;
	struct world w = { .ttl = 1 };
	struct nexthop hop;
	struct mx_request rq = request(&hop, "a.example", p);
	struct mx_result r;
	struct mx_memo *m;
	unsigned i;

	(void)state;
	strbuf_init(&dns, 0);
	(void)strbuf_add_str(&dns, "MX a.example");
	for (i = 0; i < 1000; i++) {
		(void)strbuf_printf(&dns, " %u=h%u", 1000 - i, i);
	}
	(void)strbuf_add_str(&dns, "\nA h995 192.0.2.1\n");
	w.dns = dns.p;
	run(&w, &rq, &r, &m);
	assert_true(w.questions <= 2 * MX_HOSTS_MAX + 1);
	mx_result_clear(&r);
	mx_memo_free(m);
	strbuf_clear(&dns);
	mx_policy_free(p);
}

static void
test_trace(void **state)
{
	static const char want[] =
	    "MX a.example: found: 10 b, 20 localhost, 30 me.example\n"
	    "host localhost: left out: not a host of the Internet\n"
	    "host me.example: this is us: it and all of no better preference "
	    "are left out\n"
	    "A b: found: 192.0.2.2\n"
	    "AAAA b: no such name\n";
	struct mx_policy *p = policy("ipv4, ipv6");
	struct world w = { .dns = "MX a.example 10=b 20=localhost "
	    "30=me.example\nA b 192.0.2.2\n" };
	struct slice what, key, result;
	struct nexthop hop;
	struct mx_request rq = request(&hop, "a.example", p);
	struct mx_result r;
	struct mx_memo *m;
	struct strbuf got;
	size_t place = 0;

	(void)state;
	strbuf_init(&got, 0);
	run(&w, &rq, &r, &m);
	while (mx_memo_step(m, &place, &what, &key, &result)) {
		(void)strbuf_printf(&got, "%.*s %.*s: %.*s\n", SLF(what),
		    SLF(key), SLF(result));
	}
	assert_string_equal(got.p, want);
	strbuf_clear(&got);
	mx_result_clear(&r);
	mx_memo_free(m);
	mx_policy_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_lmtp_asks_for_no_mx),
		cmocka_unit_test(test_random_among_equals),
		cmocka_unit_test(test_places_are_shared),
		cmocka_unit_test(test_a_thousand_hosts),
		cmocka_unit_test(test_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
