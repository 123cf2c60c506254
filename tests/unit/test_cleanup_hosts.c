/* The hosts of a next hop, for trace: with a fake dns at the other end. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "cleanup/hosts.h"
#include "tests/unit/cleanup_world.h"

struct seen {
	unsigned times;
	size_t n;
	char first[DNS_NAME_MAX + 1], text[200];
	enum fate fate;
	unsigned steps;
};

static void
on_hosts(void *arg, const struct mx_memo *trace, const struct mx_result *r)
{
	struct seen *s = arg;
	struct slice what, key, result;
	size_t place = 0;

	s->times++;
	s->n = r->n;
	s->fate = r->fate;
	(void)snprintf(s->first, sizeof(s->first), "%s",
	    r->n > 0 ? r->at[0].host : "");
	(void)snprintf(s->text, sizeof(s->text), "%s",
	    r->text != NULL ? r->text : "");
	while (mx_memo_step(trace, &place, &what, &key, &result)) {
		s->steps++;
	}
}

static uint32_t
ask(struct world *w, const char *hop, bool lmtp, struct seen *s)
{
	struct nexthop h;
	const char *why;

	*s = (struct seen){ 0 };
	assert_true(nexthop_parse(slice_of(hop), &h, &why));
	return hosts_ask(w->pg.hosts, &h, lmtp, on_hosts, s);
}

/* Answer the next question: with these records, or with a status. */
static void
answer(struct world *w, const char *name, enum dns_type type,
    enum dns_status status, const struct dns_record *r)
{
	struct got *g = peer_next(w, &w->dns, IPC_DNS_QUERY);
	struct strbuf b;

	assert_slice(strbuf_slice(&g->s[0]), name);
	assert_int_equal(g->u[1], type);
	strbuf_init(&b, 0);
	if (r != NULL) {
		dns_record_encode(r, &b);
	}
	ipc_begin(w->dns.ch, IPC_DNS_ANSWER, g->tid);
	ipc_put_u(w->dns.ch, (uint64_t)status);
	ipc_put_u(w->dns.ch, 0);
	ipc_put_u(w->dns.ch, 60);
	ipc_put_s(w->dns.ch, strbuf_slice(&b));
	ipc_put_str(w->dns.ch, r != NULL ? "" : "said so");
	ipc_end(w->dns.ch);
	strbuf_clear(&b);
}

static const struct dns_record mx = { 10, SL_INIT("mx.far.example") };
static const struct dns_record a = { 0, SL_INIT("\xc0\0\2\7") };

static void
mx_and_address(void **state)
{
	struct world w;
	struct seen s;

	(void)state;
	world_begin(&w, "inet_protocols = ipv4\n");
	world_connect_dns(&w);
	assert_int_not_equal(ask(&w, "far.example", false, &s), 0);
	answer(&w, "far.example", DNS_MX, DNS_FOUND, &mx);
	answer(&w, "mx.far.example", DNS_A, DNS_FOUND, &a);
	world_wait(&w, s.times == 1);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.first, "mx.far.example");
	assert_true(s.steps >= 2);
	/* LMTP has no MX */
	assert_int_not_equal(ask(&w, "far.example", true, &s), 0);
	answer(&w, "far.example", DNS_A, DNS_FOUND, &a);
	world_wait(&w, s.times == 1);
	assert_string_equal(s.first, "far.example");
	/* an address needs nobody */
	assert_int_equal(ask(&w, "[192.0.2.1]", false, &s), 0);
	assert_int_equal(s.n, 1);
	world_end(&w);
}

static void
no_hosts(void **state)
{
	struct world w;
	struct seen s;

	(void)state;
	world_begin(&w, "inet_protocols = ipv4\n");
	world_connect_dns(&w);
	assert_int_not_equal(ask(&w, "none.example", false, &s), 0);
	answer(&w, "none.example", DNS_MX, DNS_NXDOMAIN, NULL);
	world_wait(&w, s.times == 1);
	assert_int_equal(s.n, 0);
	assert_int_equal(s.fate, FATE_FAILED);
	world_end(&w);
}

/* dns is away, goes away, answers too late, or makes no sense. */
static void
no_answers(void **state)
{
	struct world w;
	struct seen s, other;
	uint32_t id;

	(void)state;
	world_begin(&w, "");
	assert_int_equal(ask(&w, "far.example", false, &s), 0);
	assert_int_equal(s.fate, FATE_DEFERRED);
	assert_string_equal(s.text, "dns is not there to be asked");
	world_connect_dns(&w);
	assert_int_not_equal(ask(&w, "far.example", false, &s), 0);
	world_connect_dns(&w);
	assert_int_equal(s.times, 1);
	assert_string_equal(s.text, "dns went away before it answered");
	id = ask(&w, "far.example", false, &s);
	assert_int_not_equal(ask(&w, "far.example", false, &other), 0);
	hosts_cancel(w.pg.hosts, id);
	answer(&w, "far.example", DNS_MX, DNS_NXDOMAIN, NULL);
	answer(&w, "far.example", DNS_MX, DNS_NXDOMAIN, NULL);
	world_wait(&w, other.times == 1);
	assert_int_equal(s.times, 0);
	assert_int_not_equal(ask(&w, "far.example", false, &s), 0);
	peer_send(&w.dns, IPC_DNS_ANSWER, 1, "uuuss", (uint64_t)99,
	    (uint64_t)0, (uint64_t)0, "", "");
	world_wait(&w, w.dns.closed);
	world_wait(&w, s.times == 1);
	/* and one that waits at the end */
	world_connect_dns(&w);
	assert_int_not_equal(ask(&w, "far.example", false, &s), 0);
	world_end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mx_and_address),
		cmocka_unit_test(no_hosts),
		cmocka_unit_test(no_answers),
	};

	return cmocka_run_group_tests_name("cleanup_hosts", tests, NULL, NULL);
}
