/* The resolver beyond tables: routes, lists, the trace, canonical addresses, and
   settings that it refuses. */
#include "config.h"

#include <stdlib.h>
#include <stdio.h>

#include "common/xmalloc.h"
#include "tests/unit/resolve_kit.h"
#include "tests/unit/unit.h"

static void
test_route(void **state)
{
	static const struct {
		const char *address, *transport, *next_hop, *extension;
		unsigned code;
	} t[] = {
		{ "ann@example.org", "local", "ann", "", 250 },
		{ "Carl+X@example.org", "local", "carl", "x", 250 },
		{ "sales@example.org", "error", "5.1.1 User unknown", "", 250 },
		{ "root@example.org", "local", "root", "", 250 },
		{ "x@outside.example", "smtp", "outside.example", "", 250 },
		{ "x@Outside.Example", "smtp", "outside.example", "", 250 },
		{ "x@1.2.3.4", "error", "5.1.2 mail cannot be sent to the "
		    "domain \"1.2.3.4\": an address is written in brackets: "
		    "[192.0.2.1]", "", 250 },
		{ "a b", "error", "5.1.3 not an address", "", 250 },
		{ "tempuser@example.org", NULL, NULL, NULL, 451 },
	};
	struct settings s;
	struct policy *p = make_policy(&worlds[EXT], &s);
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		struct resolve_request rq = { .reverse_path = SL(""),
			.forward_path = slice_of(t[i].address),
			.client_addr = SL(""), .route_only = true };
		struct memo *m = memo_new();
		struct decision d;
		unsigned rounds;

		decide(p, &rq, m, &d, &rounds);
		assert_int_equal(d.code, t[i].code);
		assert_int_equal(d.ntargets, t[i].transport != NULL ? 1 : 0);
		if (d.ntargets == 1) {
			assert_string_equal(d.targets[0].address, t[i].address);
			assert_string_equal(d.targets[0].transport,
			    t[i].transport);
			assert_string_equal(d.targets[0].next_hop,
			    t[i].next_hop);
			assert_string_equal(d.targets[0].extension,
			    t[i].extension);
		}
		decision_clear(&d);
		memo_free(m);
	}
	policy_free(p);
	settings_clear(&s);
}

/* A list of `n' users as a world of its own. */
static char *
big_list(unsigned n, unsigned limit)
{
	struct strbuf b;
	unsigned i;

	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, HEAD "alias_expansion_limit = %u\n"
	    "alias_maps = inline:{ {big=", limit);
	for (i = 0; i < n; i++) {
		(void)strbuf_printf(&b, "u%u,", i);
	}
	(void)strbuf_add_str(&b, "} }\n");
	return strbuf_take(&b);
}

/* All users are asked for in one round, each once. */
static void
test_big_list(void **state)
{
	char *text = big_list(1000, 1000);
	struct world w = { "big", text };
	struct resolve_request rq = { .forward_path = SL("big@example.org"),
		.client_addr = SL(OUT) };
	struct memo *m = memo_new();
	struct settings s;
	struct decision d;
	struct slice user;
	size_t place = 0, asked = 0;
	struct policy *p;

	(void)state;
	p = make_policy(&w, &s);
	assert_int_equal(resolve(p, &rq, m, &d), RESOLVE_NEED);
	while (memo_need(m, &place, &user)) {
		asked++;
		memo_answer_user(m, user, MAP_FOUND, 1000 + asked, SL(""));
	}
	assert_int_equal(asked, 1000);
	assert_int_equal(resolve(p, &rq, m, &d), RESOLVE_DONE);
	assert_int_equal(d.code, 250);
	assert_int_equal(d.ntargets, 1000);
	assert_string_equal(d.targets[999].next_hop, "u999");
	decision_clear(&d);
	memo_free(m);
	policy_free(p);
	settings_clear(&s);
	free(text);
}

static void
test_too_big_list(void **state)
{
	char *text = big_list(11, 10);
	struct world w = { "too big", text };
	struct row r = { "too big", 0, "big@example.org", OUT, 451, "4.3.5",
		"expands to more than 10 addresses", NULL };
	struct resolve_request rq = { .forward_path = SL("big@example.org"),
		.client_addr = SL(OUT) };
	struct memo *m = memo_new();
	struct settings s;
	struct decision d;
	struct slice user;
	size_t place = 0;
	struct policy *p;

	(void)state;
	p = make_policy(&w, &s);
	assert_int_equal(resolve(p, &rq, m, &d), RESOLVE_NEED);
	while (memo_need(m, &place, &user)) {
		memo_answer_user(m, user, MAP_FOUND, 1000, SL(""));
	}
	assert_int_equal(resolve(p, &rq, m, &d), RESOLVE_DONE);
	assert_int_equal(d.code, r.code);
	assert_non_null(strstr(d.text, r.text));
	decision_clear(&d);
	memo_free(m);
	policy_free(p);
	settings_clear(&s);
	free(text);
}

/* Deeper than alias_recursion_limit (4 in this world): d1 > d2 > ... */
static void
test_depth(void **state)
{
	struct world w = { "depth", HEAD "alias_recursion_limit = 2\n"
	    "alias_maps = inline:{ d1=d2, d2=d3, d3=ann }\n" };
	struct row deep = { "deep", 0, "d1@example.org", OUT, 451, "4.3.5",
		"nested more than 2 deep", NULL };
	struct row good = { "not deep", 0, "d2@example.org", OUT, 250, "2.1.5",
		"", "ann@example.org>ann" };
	struct settings s;
	struct policy *p;

	(void)state;
	p = make_policy(&w, &s);
	check_row(p, &deep);
	check_row(p, &good);
	policy_free(p);
	settings_clear(&s);
}

/* The trace tells the steps in order, each once, with what decided. */
static void
test_trace(void **state)
{
	static const char want[] =
	    "mydestination [example.org] matches example.org\n"
	    "inline [sales] found: ann\n"
	    "inline [ann] not found\n"
	    "users [ann] found: uid 1000\n"
	    "target [ann@example.org] local ann\n"
	    "decision [sales@example.org] 250 2.1.5 Ok\n";
	struct world w = { "trace", HEAD
	    "mydestination = example.org\n"
	    "alias_maps = inline:{sales=ann}\n" };
	struct resolve_request rq = { .forward_path = SL("sales@example.org"),
		.client_addr = SL(OUT) };
	struct memo *m = memo_new();
	struct settings s;
	struct decision d;
	struct strbuf got;
	char *spec;
	unsigned rounds;
	struct policy *p;

	(void)state;
	p = make_policy(&w, &s);
	decide(p, &rq, m, &d, &rounds);
	assert_int_equal(rounds, 2);
	strbuf_init(&got, 0);
	print_trace(m, &got);
	while ((spec = strstr(got.p, "inline:{sales=ann}")) != NULL) {
		memmove(spec + 6, spec + 18, strlen(spec + 18) + 1);
	}
	assert_string_equal(got.p, want);
	strbuf_clear(&got);
	decision_clear(&d);
	memo_free(m);
	policy_free(p);
	settings_clear(&s);
}

/* One mailbox by several addresses. */
static void
test_target_key(void **state)
{
	static char local[] = "local", smtp[] = "smtp", ann[] = "ann",
	    none[] = "", x[] = "x", a1[] = "ann@localhost",
	    a2[] = "Ann@example.org", o1[] = "A@Out.example",
	    o2[] = "A@out.example", o3[] = "a@out.example", hop[] = "mx";
	const struct {
		struct resolve_target a, b;
		bool same;
	} t[] = {
		{ { a1, local, ann, none }, { a2, local, ann, none }, true },
		{ { a1, local, ann, none }, { a1, local, ann, x }, false },
		{ { o1, smtp, hop, none }, { o2, smtp, hop, none }, true },
		{ { o2, smtp, hop, none }, { o3, smtp, hop, none }, false },
	};
	struct strbuf a, b;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		strbuf_init(&a, 0);
		strbuf_init(&b, 0);
		resolve_target_key(&t[i].a, &a);
		resolve_target_key(&t[i].b, &b);
		assert_int_equal(slice_eq(strbuf_slice(&a), strbuf_slice(&b)),
		    t[i].same);
		strbuf_clear(&a);
		strbuf_clear(&b);
	}
}

static void
test_canonical_and_complete(void **state)
{
	static const struct {
		const char *in, *canonical, *complete;
	} t[] = {
		{ "ann.smith@example.org", "ann@example.org", NULL },
		{ "Ann.Smith@Example.ORG", "ann@example.org", NULL },
		{ "x@example.net", NULL, "x@example.net" },
		{ "\"a b\"@old.example", "\"a b\"@example.org", NULL },
		{ "ann", NULL, "ann@example.org" },
		{ "ann@host", NULL, "ann@host.example.org" },
		{ "ann@localhost", NULL, "ann@localhost" },
		{ "ann@[192.0.2.1]", NULL, "ann@[192.0.2.1]" },
		{ "not an address", NULL, "not an address" },
	};
	struct settings s;
	struct policy *p = make_policy(&worlds[CANON], &s);
	struct strbuf out;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		strbuf_init(&out, 0);
		if (t[i].complete != NULL) {
			policy_complete(p, slice_of(t[i].in), &out);
			assert_slice(strbuf_slice(&out), t[i].complete);
			strbuf_reset(&out);
		}
		assert_int_equal(policy_canonical(p, slice_of(t[i].in), &out),
		    t[i].canonical != NULL ? MAP_FOUND : MAP_NONE);
		if (t[i].canonical != NULL) {
			assert_slice(strbuf_slice(&out), t[i].canonical);
		}
		strbuf_clear(&out);
	}
	policy_free(p);
	settings_clear(&s);
}

static void
test_my_network(void **state)
{
	static const struct {
		const char *addr;
		bool mine;
	} t[] = {
		{ "10.255.255.255", true }, { "11.0.0.0", false },
		{ "10.0.0.7", false }, { "10.0.0.8", true },
		{ "::ffff:10.0.0.8", true }, { "::ffff:10.0.0.7", false },
		{ "2001:db8:ffff::1", true }, { "2001:db9::", false },
		{ "192.0.2.1", true }, { "192.0.2.2", false }, { "", false },
		{ "10.0.0", false }, { "10.0.0.8 ", false },
		{ "172.16.1.1", true }, { "172.17.1.1", false },
	};
	struct world w = { "networks", HEAD
	    "mynetworks = !10.0.0.7, 10.0.0.0/8, [2001:db8::]/32, 192.0.2.1, "
	    "cidr:{172.16.0.0/16=x}\n" };
	struct settings s;
	struct policy *p = make_policy(&w, &s);
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		assert_int_equal(policy_is_my_network(p, slice_of(t[i].addr)),
		    t[i].mine);
	}
	policy_free(p);
	settings_clear(&s);
}

static void
test_bad_policy(void **state)
{
	struct settings s;
	struct settings_source src = { 0 };
	struct strlist own = { NULL, 0 };
	struct strbuf why;

	(void)state;
	settings_init(&s);
	strbuf_init(&why, 0);
	assert_true(settings_load("t", SL("myhostname = a.example\n"
	    "alias_maps = cdb:/nonexistent/aliases\n"
	    "canonical_maps = file:/nonexistent/x\nvirtual_alias_maps = inline:{x}\n"),
	    &s, &src, &why));
	assert_null(policy_new(&s, &own, &why));
	assert_non_null(strstr(why.p, "alias_maps: /nonexistent/aliases.cdb: "
	    "No such file"));
	assert_non_null(strstr(why.p, "canonical_maps: /nonexistent/x: "
	    "No such file"));
	assert_non_null(strstr(why.p, "virtual_alias_maps: inline:1: not of"));
	strbuf_clear(&why);
	settings_source_clear(&src);
	settings_clear(&s);
}

/* Routes that cannot be: told with the setting, the value and what is wrong. */
static void
test_bad_routes(void **state)
{
	static const struct {
		const char *settings, *why;
	} t[] = {
		{ "default_transport = smtp:[a", "default_transport: \"smtp:[a\""
		    " no ] after [" },
		{ "default_transport = uucp:x", "default_transport: \"uucp:x\" is "
		    "not smtp:..., lmtp:..., local:" },
		{ "default_transport = local:", "default_transport: \"local:\" is "
		    "not smtp:..., lmtp:..., error:... or hold:" },
		{ "default_transport = :[a.example]", "is not smtp:" },
		{ "default_transport = smtp:unix:/x", "spoken to by lmtp only" },
		{ "mailbox_transport = lmtp:", "mailbox_transport: \"lmtp:\" has "
		    "no next hop" },
		{ "mailbox_transport = lmtp:unix:x", "begins with /" },
		{ "relayhost = 192.0.2.1", "relayhost" },
		{ "relayhost = mx.example.org:nosuch", "relayhost" },
		{ "luser_relay = $user@$extension", "luser_relay: \"${user}@"
		    "${extension}\" is not an address" },
		{ "luser_relay = a b@x.example", "luser_relay" },
		{ "luser_relay = @x.example", "luser_relay" },
		{ "luser_relay = ${user}.@x.example", "luser_relay" },
		{ "transport_maps = inline:{ a.example=smtp:[, b.example=x:y }",
		    "transport_maps: b.example: \"x:y\": is not smtp:" },
		{ "transport_maps = inline:{ a.example={local:x} }",
		    "transport_maps: a.example: \"local:x\": local: has no next "
		    "hop (mail for it would wait)" },
		{ "transport_maps = static:smtp:1.2.3.4", "any key" },
		{ "transport_maps = inline:{ a.example=lmtp:unix:/run/x }",
		    "names a socket that nobody connects to: add it to "
		    "lmtp_sockets" },
		{ "notice_recipient = the postmaster", "notice_recipient: \"the "
		    "postmaster\" is not an address" },
		{ "notice_recipient = <a@b.example>", "is not an address" },
		{ "relay_recipient_maps = cdb:/nonexistent/r",
		    "relay_recipient_maps: /nonexistent/r.cdb" },
		{ "local_recipient_maps = users: cdb:/nonexistent/l",
		    "local_recipient_maps: /nonexistent/l.cdb" },
	};
	static const char *const good[] = {
		"lmtp_sockets = /run/x\n"
		    "transport_maps = inline:{ a.example=lmtp:unix:/run/x }",
		"mailbox_transport = lmtp:unix:/run/x\n"
		    "transport_maps = inline:{ a.example=lmtp:unix:/run/x }",
		"default_transport = hold:",
		"notice_recipient = a.b@c.example",
		"luser_relay = ${user}+$extension@$domain",
	};
	struct strlist own = { NULL, 0 };
	struct strbuf why, text;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t) + NELEMS(good); i++) {
		struct settings_source src = { 0 };
		struct settings s;
		struct policy *p = NULL;

		strbuf_init(&why, 0);
		strbuf_init(&text, 0);
		(void)strbuf_printf(&text, "myhostname = a.example\n"
		    "alias_maps =\n%s\n",
		    i < NELEMS(t) ? t[i].settings : good[i - NELEMS(t)]);
		settings_init(&s);
		if (settings_load("t", strbuf_slice(&text), &s, &src, &why)) {
			p = policy_new(&s, &own, &why);
			settings_source_clear(&src);
			settings_clear(&s);
		}
		if (i < NELEMS(t) && (p != NULL ||
		    strstr(why.p, t[i].why) == NULL)) {
			fail_msg("%s: %s", t[i].settings,
			    why.p != NULL ? why.p : "taken");
		}
		if (i >= NELEMS(t) && p == NULL) {
			fail_msg("%s: %s", text.p, why.p);
		}
		policy_free(p);
		strbuf_clear(&text);
		strbuf_clear(&why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_route),
		cmocka_unit_test(test_big_list),
		cmocka_unit_test(test_too_big_list),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_target_key),
		cmocka_unit_test(test_canonical_and_complete),
		cmocka_unit_test(test_my_network),
		cmocka_unit_test(test_bad_policy),
		cmocka_unit_test(test_bad_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
