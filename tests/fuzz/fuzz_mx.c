/*
 * A next hop, and what dns answers. The first line is the next hop; the rest,
 * in pieces, are the answers, good and bad. Whatever they are: a bounded number
 * of questions and rounds, then a list within its limit, or a failure in words.
 */
#include "config.h"

#include <stdlib.h>

#include "common/mx.h"
#include "common/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void
hop_round_trip(const struct nexthop *h)
{
	struct strbuf one, two;
	struct nexthop back;
	const char *why;

	strbuf_init(&one, 0);
	strbuf_init(&two, 0);
	nexthop_print(h, &one);
	check(one.n > 0 && one.n <= NEXTHOP_TEXT_MAX);
	check(nexthop_parse(strbuf_slice(&one), &back, &why));
	nexthop_print(&back, &two);
	check(slice_eq(strbuf_slice(&one), strbuf_slice(&two)) &&
	    back.kind == h->kind && back.port == h->port);
	strbuf_clear(&one);
	strbuf_clear(&two);
}

/* The next answer: a status octet, a length octet, records. */
static struct dns_answer
next_answer(struct slice *in)
{
	struct dns_answer a = { .status = DNS_NXDOMAIN, .records = SL(""),
		.reason = SL("\x1b[m fuzz"), .ttl = 5 };
	size_t n;

	if (in->n >= 2) {
		a.status = (enum dns_status)((unsigned char)in->p[0] & 3);
		a.secure = ((unsigned char)in->p[0] & 4) != 0;
		n = (unsigned char)in->p[1];
		*in = slice_make(in->p + 2, in->n - 2);
		if (n > in->n) {
			n = in->n;
		}
		a.records = slice_make(in->p, n);
		*in = slice_make(in->p + n, in->n - n);
	}
	return a;
}

static void
look_at(const struct mx_request *rq, const struct mx_result *r)
{
	size_t i;

	check(r->n <= rq->address_limit && (r->n > 0) == (r->text == NULL));
	for (i = 1; i < r->n; i++) {
		check(r->at[i].preference >= r->at[i - 1].preference);
	}
	if (r->n == 0) {
		check(r->fate == (r->esc[0] == '4' ? FATE_DEFERRED :
		    FATE_FAILED));
		for (i = 0; r->text[i] != '\0'; i++) {
			check(r->text[i] >= ' ' && r->text[i] <= '~');
		}
	}
}

static void
resolve(const struct mx_request *rq, struct slice answers)
{
	struct mx_memo *m = mx_memo_new();
	struct slice what, key, result;
	struct mx_question q;
	struct dns_answer a;
	unsigned questions = 0;
	struct mx_result r;
	size_t place;

	while (mx_resolve(rq, m, &r) == MX_NEED) {
		place = 0;
		while (mx_memo_need(m, &place, &q)) {
			check(++questions <= 2 * MX_HOSTS_MAX + 1);
			a = next_answer(&answers);
			mx_memo_answer(m, &q, &a);
		}
	}
	look_at(rq, &r);
	place = 0;
	while (mx_memo_step(m, &place, &what, &key, &result)) {
		check(what.n > 0 && key.n > 0 && result.n > 0);
	}
	mx_result_clear(&r);
	mx_memo_free(m);
}

static const struct mx_policy *
our_policy(void)
{
	static struct mx_policy *p;
	struct settings_source src = { NULL, NULL, NULL };
	struct strbuf errors;
	struct settings s;

	if (p == NULL) {
		strbuf_init(&errors, 0);
		settings_init(&s);
		check(settings_load("fuzz", SL("myhostname = me.example\n"
		    "inet_interfaces = 1.2.3.4\nlisten = *:25\n"), &s, &src,
		    &errors));
		p = mx_policy_new(&s);
		settings_clear(&s);
		settings_source_clear(&src);
	}
	return p;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	size_t end = slice_find(in, '\n');
	struct nexthop hop;
	struct mx_request rq = { .hop = &hop, .policy = our_policy(),
		.default_port = 25, .address_limit = 5, .seed = size };
	char name[DNS_NAME_MAX + 1];
	const char *why;

	if (dns_name_normal(slice_make(in.p, end), name)) {
		check(strlen(name) <= DNS_NAME_MAX);
	}
	if (!nexthop_parse(slice_make(in.p, end), &hop, &why)) {
		check(why != NULL);
		return 0;
	}
	hop_round_trip(&hop);
	if (hop.kind != NEXTHOP_UNIX && end < size) {
		resolve(&rq, slice_make(in.p + end + 1, size - end - 1));
	}
	return 0;
}
