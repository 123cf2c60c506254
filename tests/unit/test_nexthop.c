/* Next hops, names and records of DNS: what is taken, and as what. */
#include "config.h"

#include "common/dns.h"
#include "common/ipc.h"
#include "common/nexthop.h"
#include "tests/unit/unit.h"

#define L63 "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz_012345678"
#define PATH100 "/123456789/123456789/123456789/123456789/123456789"             \
	"/123456789/123456789/123456789/123456789/123456789"

/* want NULL: refused. */
static const struct {
	const char *in;
	enum nexthop_kind kind;
	const char *want;
} hops[] = {
	{ "example.org", NEXTHOP_DOMAIN, "example.org" },
	{ "Example.ORG.", NEXTHOP_DOMAIN, "example.org" },
	{ "example.org:25", NEXTHOP_DOMAIN, "example.org:25" },
	{ "example.org:smtp", NEXTHOP_DOMAIN, "example.org:25" },
	{ "example.org:Submission", NEXTHOP_DOMAIN, "example.org:587" },
	{ "localhost", NEXTHOP_DOMAIN, "localhost" },
	{ "_x.a-b.c", NEXTHOP_DOMAIN, "_x.a-b.c" },
	{ "1and1.com", NEXTHOP_DOMAIN, "1and1.com" },
	{ "[mx.Example.org]", NEXTHOP_HOST, "[mx.example.org]" },
	{ "[mx.example.org.]:2525", NEXTHOP_HOST, "[mx.example.org]:2525" },
	{ "[localhost]:lmtp", NEXTHOP_HOST, "[localhost]:24" },
	{ "[192.0.2.1]", NEXTHOP_ADDRESS, "[192.0.2.1]" },
	{ "[192.0.2.1]:65535", NEXTHOP_ADDRESS, "[192.0.2.1]:65535" },
	{ "[IPv6:2001:DB8:0::1]", NEXTHOP_ADDRESS, "[2001:db8::1]" },
	{ "[2001:db8::1]:2525", NEXTHOP_ADDRESS, "[2001:db8::1]:2525" },
	{ "[::ffff:192.0.2.1]", NEXTHOP_ADDRESS, "[192.0.2.1]" },
	{ "unix:/run/lmtp", NEXTHOP_UNIX, "unix:/run/lmtp" },
	{ "UNIX:/Run/a:b", NEXTHOP_UNIX, "unix:/Run/a:b" },
	{ "unix:" PATH100 "/234567", NEXTHOP_UNIX, "unix:" PATH100 "/234567" },
	{ "unix:" PATH100 "/2345678", NEXTHOP_UNIX, NULL },
	{ L63 ".org", NEXTHOP_DOMAIN,
	    "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz_012345678"
	    ".org" },
	{ L63 "x.org", 0, NULL },
	{ "", 0, NULL }, { ".", 0, NULL }, { ":25", 0, NULL },
	{ "[]", 0, NULL }, { "[", 0, NULL }, { "]", 0, NULL },
	{ "[]:25", 0, NULL }, { "a..b", 0, NULL }, { ".a", 0, NULL },
	{ "a b", 0, NULL }, { " a", 0, NULL }, { "a ", 0, NULL },
	{ "a\r\nb", 0, NULL }, { "b\303\274cher.example", 0, NULL },
	{ "192.0.2.1", 0, NULL }, { "192.0.2.1:25", 0, NULL },
	{ "1", 0, NULL }, { "[300.1.1.1]", 0, NULL }, { "[1.2.3]", 0, NULL },
	{ "2001:db8::1", 0, NULL }, { "::1", 0, NULL },
	{ "[IPv6:192.0.2.1]", 0, NULL }, { "[IPv6:]", 0, NULL },
	{ "[[192.0.2.1]]", 0, NULL }, { "[fe80::1%eth0]", 0, NULL },
	{ "[a]25", 0, NULL }, { "[a]:", 0, NULL }, { "a:", 0, NULL },
	{ "a:0", 0, NULL }, { "a:65536", 0, NULL }, { "a:-1", 0, NULL },
	{ "a:http", 0, NULL }, { "a:25:25", 0, NULL }, { "a:2 5", 0, NULL },
	{ "unix:", 0, NULL }, { "unix:run", 0, NULL },
	{ "unix:/a b", 0, NULL }, { "unix:/a\n", 0, NULL },
	{ "user@example.org", 0, NULL }, { "a,b", 0, NULL }, { "*.a", 0, NULL },
};

static void
test_nexthops(void **state)
{
	struct strbuf text;
	struct nexthop h;
	const char *why;
	size_t i;
	bool ok;

	(void)state;
	for (i = 0; i < NELEMS(hops); i++) {
		strbuf_init(&text, 0);
		ok = nexthop_parse(slice_of(hops[i].in), &h, &why);
		if (ok != (hops[i].want != NULL)) {
			fail_msg("%s: %s", hops[i].in, ok ? "taken" : why);
		}
		assert_true(ok == (why == NULL));
		if (ok) {
			nexthop_print(&h, &text);
			assert_int_equal(h.kind, hops[i].kind);
			assert_slice(strbuf_slice(&text), hops[i].want);
			assert_true(text.n <= NEXTHOP_TEXT_MAX);
		}
		strbuf_clear(&text);
	}
	/* NUL is data */
	assert_false(nexthop_parse(SL("a\0b"), &h, &why));
	assert_false(nexthop_parse(SL("[192.0.2.1\0]"), &h, &why));
	assert_false(nexthop_parse(SL("unix:/a\0b"), &h, &why));
}

static void
test_names(void **state)
{
	char out[DNS_NAME_MAX + 1];
	char longest[DNS_NAME_MAX + 3];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(longest); i++) {
		longest[i] = i % 2 == 0 ? 'A' : '.';
	}
	assert_true(dns_name_normal(slice_make(longest, 253), out));
	assert_int_equal(strlen(out), 253);
	assert_true(dns_name_normal(slice_make(longest, 254), out));
	assert_int_equal(strlen(out), 253);
	assert_false(dns_name_normal(slice_make(longest, 255), out));
	assert_false(dns_name_normal(SL("."), out));
	assert_false(dns_name_normal(SL("a.."), out));
	assert_false(dns_name_normal(SL("a/b"), out));
	assert_false(dns_name_normal(SL("a\\.b"), out));
	assert_true(dns_name_normal(SL("XN--Bcher-kva.example"), out));
	assert_string_equal(out, "xn--bcher-kva.example");
	assert_true(dns_type_known(DNS_MX) && !dns_type_known(16));
	assert_string_equal(dns_type_name(DNS_AAAA), "AAAA");
}

static const struct {
	enum dns_type type;
	struct slice data;
	bool good;
} records[] = {
	{ DNS_A, SL_INIT("\177\0\0\1"), true },
	{ DNS_A, SL_INIT("\177\0\0"), false },
	{ DNS_A, SL_INIT("\177\0\0\1\1"), false },
	{ DNS_A, SL_INIT(""), false },
	{ DNS_AAAA, SL_INIT("0123456789abcdef"), true },
	{ DNS_AAAA, SL_INIT("0123456789abcde"), false },
	{ DNS_MX, SL_INIT("mx.example.org"), true },
	{ DNS_MX, SL_INIT(""), true },
	{ DNS_MX, SL_INIT("MX.example.org"), false },
	{ DNS_MX, SL_INIT("mx.example.org."), false },
	{ DNS_MX, SL_INIT("a b"), false },
	{ DNS_MX, SL_INIT("a\0b"), false },
};

static void
test_records(void **state)
{
	struct dns_record r, got;
	struct strbuf b;
	struct slice in;
	bool bad;
	size_t i, cut;

	(void)state;
	for (i = 0; i < NELEMS(records); i++) {
		strbuf_init(&b, 0);
		r = (struct dns_record){ (uint16_t)(i * 1000),
			records[i].data };
		dns_record_encode(&r, &b);
		in = strbuf_slice(&b);
		assert_true(dns_record_decode(&in, records[i].type, &got,
		    &bad) == records[i].good);
		assert_true(bad == !records[i].good);
		if (!bad) {
			assert_int_equal(got.preference, i * 1000);
			assert_true(slice_eq(got.data, r.data));
			assert_false(dns_record_decode(&in, records[i].type,
			    &got, &bad));
			assert_false(bad); /* the end */
		}
		for (cut = 1; cut < b.n; cut++) {
			in = slice_make(b.p, cut);
			assert_false(dns_record_decode(&in, records[i].type,
			    &got, &bad));
			assert_true(bad);
		}
		strbuf_clear(&b);
	}
}

static bool
answer(uint64_t status, uint64_t secure, uint64_t ttl, struct dns_answer *a)
{
	static struct strbuf b;
	struct ipc_build bl;
	struct ipc_msg m;
	const char *why;
	bool fd;
	size_t used;

	strbuf_reset(&b);
	ipc_build_begin(&bl, &b, IPC_DNS_ANSWER, 7);
	ipc_build_u(&bl, status);
	ipc_build_u(&bl, secure);
	ipc_build_u(&bl, ttl);
	ipc_build_s(&bl, SL("records"));
	ipc_build_s(&bl, SL("reason"));
	ipc_build_end(&bl);
	assert_int_equal(ipc_decode(strbuf_slice(&b), IPC_DNS, IPC_CLEANUP, &m,
	    &used, &fd, &why), IPC_DEC_OK);
	return dns_answer_of(&m, a);
}

static void
test_answers(void **state)
{
	struct dns_answer a;

	(void)state;
	assert_true(answer(DNS_TEMP, 1, 300, &a));
	assert_int_equal(a.status, DNS_TEMP);
	assert_true(a.secure);
	assert_int_equal(a.ttl, 300);
	assert_slice(a.records, "records");
	assert_slice(a.reason, "reason");
	assert_false(answer(DNS_STATUS_LAST + 1, 0, 0, &a));
	assert_false(answer(0, 2, 0, &a));
	assert_false(answer(0, 0, (uint64_t)UINT32_MAX + 1, &a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nexthops),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
