#include "config.h"

#include <stdlib.h>

#include "common/addr.h"
#include "tests/unit/unit.h"

#define N ADDR_ALLOW_NULL
#define B ADDR_ALLOW_BARE
#define A10 "aaaaaaaaaa"
#define A50 A10 A10 A10 A10 A10
#define A250 A50 A50 A50 A50 A50
#define L63 A50 A10 "aaa"
#define D255 L63 "." L63 "." L63 "." L63

struct row {
	const char *name, *in;
	unsigned allow;
	enum addr_err want;
	const char *print; /* canonical text; NULL: not of interest */
};

static const struct row paths[] = {
	{ "plain", "<ann@example.org>", 0, ADDR_OK, "ann@example.org" },
	{ "case is kept", "<Ann@Example.ORG>", 0, ADDR_OK, "Ann@Example.ORG" },
	{ "parameters follow", "<a@b> SIZE=1", 0, ADDR_OK, "a@b" },
	{ "null", "<>", N, ADDR_OK, "" },
	{ "null refused", "<>", 0, ADDR_EMPTY, NULL },
	{ "bare", "<postmaster>", B, ADDR_OK, "postmaster" },
	{ "bare refused", "<postmaster>", 0, ADDR_SYNTAX, NULL },
	{ "route", "<@a.example,@b.example:c@d.example>", 0, ADDR_OK,
	    "c@d.example" },
	{ "route with literals", "<@[IPv6:::1],@[192.0.2.1]:c@d>", 0, ADDR_OK,
	    "c@d" },
	{ "route without colon", "<@a.example>", 0, ADDR_SYNTAX, NULL },
	{ "route with a hole", "<@a,:c@d>", 0, ADDR_SYNTAX, NULL },
	{ "route with a bad host", "<@-a:c@d>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "route and nobody", "<@a:@b>", 0, ADDR_EMPTY, NULL },
	{ "route and null", "<@a:>", N, ADDR_EMPTY, NULL },
	{ "quoted", "<\"a b\"@c>", 0, ADDR_OK, "\"a b\"@c" },
	{ "quoted needlessly", "<\"ann\"@c>", 0, ADDR_OK, "ann@c" },
	{ "quoted pair", "<\"a\\nn\\\"\\\\\"@c>", 0, ADDR_OK,
	    "\"ann\\\"\\\\\"@c" },
	{ "quoted > and @", "<\"a>@b\"@c>", 0, ADDR_OK, "\"a>@b\"@c" },
	{ "quoted nothing", "<\"\"@c>", 0, ADDR_EMPTY, NULL },
	{ "quote not closed", "<\"ann@c>", 0, ADDR_SYNTAX, NULL },
	{ "quote ends in a backslash", "<\"ann\\", 0, ADDR_SYNTAX, NULL },
	{ "quoted control", "<\"a\tb\"@c>", 0, ADDR_SYNTAX, NULL },
	{ "quoted escaped control", "<\"a\\\001b\"@c>", 0, ADDR_SYNTAX, NULL },
	{ "quoted 8-bit", "<\"\303\244\"@c>", 0, ADDR_8BIT, NULL },
	{ "all of atext", "<!#$%&'*+-/=?^_`{|}~a1@c>", 0, ADDR_OK,
	    "!#$%&'*+-/=?^_`{|}~a1@c" },
	{ "two dots", "<a..b@c>", 0, ADDR_SYNTAX, NULL },
	{ "leading dot", "<.a@c>", 0, ADDR_SYNTAX, NULL },
	{ "trailing dot", "<a.@c>", 0, ADDR_SYNTAX, NULL },
	{ "quoted dots stay quoted", "<\"a..b\"@c>", 0, ADDR_OK, "\"a..b\"@c" },
	{ "space", "<a b@c>", 0, ADDR_SYNTAX, NULL },
	{ "space inside <", "< a@c>", 0, ADDR_EMPTY, NULL },
	{ "two @", "<a@b@c>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "no local-part", "<@c>", 0, ADDR_SYNTAX, NULL },
	{ "no domain", "<a@>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "no <>", "a@c", 0, ADDR_SYNTAX, NULL },
	{ "no >", "<a@c", 0, ADDR_SYNTAX, NULL },
	{ "nothing", "", N | B, ADDR_SYNTAX, NULL },
	{ "only <", "<", N | B, ADDR_SYNTAX, NULL },
	{ "8-bit local-part", "<\303\244@c>", 0, ADDR_8BIT, NULL },
	{ "8-bit later", "<a\303\244@c>", 0, ADDR_8BIT, NULL },
	{ "8-bit domain", "<a@\303\244>", 0, ADDR_8BIT, NULL },
	{ "trailing dot of domain", "<a@c.>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "double dot in domain", "<a@b..c>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "hyphens at the edge", "<a@b-.c>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "underscore", "<a@_b.c>", 0, ADDR_OK, "a@_b.c" },
	{ "space in domain", "<a@b c>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "control in domain", "<a@b\nc>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "literal", "<a@[192.0.2.1]>", 0, ADDR_OK, "a@[192.0.2.1]" },
	{ "literal 6", "<a@[ipv6:2001:db8::1]>", 0, ADDR_OK,
	    "a@[ipv6:2001:db8::1]" },
	{ "literal too big", "<a@[192.0.2.256]>", 0, ADDR_LITERAL_BAD, NULL },
	{ "literal general", "<a@[x:y]>", 0, ADDR_LITERAL_BAD, NULL },
	{ "literal 6 without tag", "<a@[::1]>", 0, ADDR_LITERAL_BAD, NULL },
	{ "literal open", "<a@[192.0.2.1>", 0, ADDR_LITERAL_BAD, NULL },
	{ "literal with more", "<a@[192.0.2.1]x>", 0, ADDR_LITERAL_BAD, NULL },
	{ "local-part 255", "<" A250 "aaaaa@c>", 0, ADDR_OK, NULL },
	{ "local-part 256", "<" A250 "aaaaaa@c>", 0, ADDR_LOCAL_LONG, NULL },
	{ "label 63", "<a@" L63 ">", 0, ADDR_OK, NULL },
	{ "label 64", "<a@" L63 "a>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "domain 255", "<a@" D255 ">", 0, ADDR_OK, NULL },
	{ "domain 257", "<a@" D255 ".a>", 0, ADDR_DOMAIN_LONG, NULL },
};

static const struct row mailboxes[] = {
	{ "plain", "ann@example.org", 0, ADDR_OK, "ann@example.org" },
	{ "null", "", N, ADDR_OK, "" },
	{ "null refused", "", 0, ADDR_EMPTY, NULL },
	{ "bare", "ann", B, ADDR_OK, "ann" },
	{ "bare refused", "ann", 0, ADDR_SYNTAX, NULL },
	{ "with <>", "<a@b>", 0, ADDR_EMPTY, NULL },
	{ "> at the end", "a@b>", 0, ADDR_DOMAIN_BAD, NULL },
	{ "space after", "a@b ", 0, ADDR_DOMAIN_BAD, NULL },
	{ "space after bare", "a ", B, ADDR_SYNTAX, NULL },
	{ "quoted", "\"a@b\"@c", 0, ADDR_OK, "\"a@b\"@c" },
	{ "8-bit after", "a\377", B, ADDR_8BIT, NULL },
};

static void
check_print(const struct row *r, const struct addr *a)
{
	struct strbuf local, text;

	strbuf_init(&local, 0);
	strbuf_init(&text, 0);
	if (a->local.n > 0) {
		addr_local_value(a, &local);
		addr_print(strbuf_slice(&local), a->domain, &text);
	}
	if (!slice_eq(strbuf_slice(&text), slice_of(r->print))) {
		fail_msg("%s: printed as %s", r->name, text.n ? text.p : "");
	}
	strbuf_clear(&local);
	strbuf_clear(&text);
}

/* Each row from a buffer of its own size, so that ASan sees an overrun. */
static void
check_row(const struct row *r, bool path)
{
	size_t n = strlen(r->in), used = 12345;
	char *copy = malloc(n + 1);
	struct addr a = { { "u", 1 }, { "v", 1 } };
	enum addr_err e;

	assert_non_null(copy);
	memcpy(copy, r->in, n);
	e = path ? addr_parse_path(slice_make(copy, n), r->allow, &a, &used)
	         : addr_parse_mailbox(slice_make(copy, n), r->allow, &a);
	if (e != r->want) {
		fail_msg("%s: %s, not %s", r->name, addr_err_text(e),
		    addr_err_text(r->want));
	}
	if (e != ADDR_OK) {
		assert_int_equal(a.local.n, 1);
		assert_int_equal(used, 12345);
	} else {
		if (path) {
			assert_int_equal(copy[used - 1], '>');
		}
		if (r->print != NULL) {
			check_print(r, &a);
		}
	}
	free(copy);
}

static void
test_paths(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(paths); i++) {
		check_row(&paths[i], true);
	}
}

static void
test_mailboxes(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(mailboxes); i++) {
		check_row(&mailboxes[i], false);
	}
}

static void
test_names(void **state)
{
	(void)state;
	assert_true(addr_is_domain(SL("mail.example.org")));
	assert_true(addr_is_domain(SL("localhost")));
	assert_true(addr_is_domain(SL("xn--bcher-kva.example")));
	assert_false(addr_is_domain(SL("")));
	assert_false(addr_is_domain(SL(".")));
	assert_false(addr_is_domain(SL("a b")));
	assert_false(addr_is_domain(SL("a\0b")));
	assert_false(addr_is_domain(SL("[192.0.2.1]")));
	assert_true(addr_is_literal(SL("[192.0.2.1]")));
	assert_true(addr_is_literal(SL("[IPv6:::1]")));
	assert_false(addr_is_literal(SL("[]")));
	assert_false(addr_is_literal(SL("[")));
	assert_false(addr_is_literal(SL("[192.0.2.1\0]")));
	assert_false(addr_is_literal(SL("192.0.2.1")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
