/*
 * A round has three steps: which hosts (from the MX records, or the next hop
 * itself), which addresses each has, and what is left of them in which order.
 * Whatever a step lacks goes into the memo, all of it at once.
 */
#include "config.h"

#include <stdlib.h>

#include "common/mx_memo.h"
#include "common/mx_policy.h"
#include "common/xmalloc.h"

#define ADDRESSES_MAX 32 /* of one host and family; the rest is left out */
#define NO_SELF       65536u

struct host {
	char name[DNS_NAME_MAX + 1];
	uint16_t preference;
	bool failed;        /* a lookup gave no answer, and there is no address */
	struct mx_candidate *at;
	size_t n;
};

/* One run of mx_resolve(). */
struct round {
	const struct mx_request *rq;
	struct mx_memo *memo;
	uint16_t port;
	uint64_t random;
	struct host hosts[DNS_RECORDS_MAX];
	size_t nhosts;
	unsigned self;      /* the best preference that is us; else NO_SELF */
	unsigned flags;     /* DNS_ASK_* for addresses */
	bool secure, mx_used, missing;
	uint32_t ttl;
	struct strbuf why;  /* of the last lookup that failed */
	struct mx_result *out;
};

void
mx_result_clear(struct mx_result *r)
{
	free(r->at);
	free(r->text);
	*r = (struct mx_result){ .n = 0 };
}

/* splitmix64: evenly spread is all that is asked of it. */
static uint64_t
draw(struct round *r)
{
	uint64_t z = (r->random += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static enum mx_state fail(struct round *r, enum fate fate, const char *esc,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static enum mx_state
fail(struct round *r, enum fate fate, const char *esc, const char *fmt, ...)
{
	struct strbuf text;
	va_list ap;

	strbuf_init(&text, 0);
	va_start(ap, fmt);
	(void)strbuf_vprintf(&text, fmt, ap);
	va_end(ap);
	r->out->fate = fate;
	r->out->esc = esc;
	r->out->ttl = r->ttl;
	r->out->text = strbuf_take(&text);
	return MX_DONE;
}

/* Ask; NULL when it is not known yet. */
static const struct dns_answer *
ask(struct round *r, const char *name, enum dns_type type, unsigned flags)
{
	const struct dns_answer *a = mx_memo_ask(r->memo, slice_of(name), type,
	    flags);

	if (a == NULL) {
		r->missing = true;
		return NULL;
	}
	if (a->ttl < r->ttl) {
		r->ttl = a->ttl;
	}
	if (a->status == DNS_TEMP) {
		strbuf_reset(&r->why);
		(void)strbuf_printf(&r->why, "looking up %s of %s: ",
		    dns_type_name(type), name);
		strbuf_add_quoted(&r->why, a->reason, REPLY_TEXT_MAX / 2);
	}
	return a;
}

/* -- which hosts ----------------------------------------------------------- */

/* Why a name cannot be a host that mail is sent to; NULL: it can. */
static const char *
unusable(const char *name)
{
	const char *dot = strrchr(name, '.');
	const char *last = dot != NULL ? dot + 1 : name;

	if (strcmp(last, "localhost") == 0) {
		return "left out: not a host of the Internet";
	}
	if (last[strspn(last, "0123456789")] == '\0') {
		return "left out: an address is no host name";
	}
	return NULL;
}

static void
add_host(struct round *r, struct slice name, uint16_t preference)
{
	struct host *h;
	size_t i;

	for (i = 0; i < r->nhosts; i++) { /* named twice: the better counts */
		h = &r->hosts[i];
		if (slice_eq(slice_of(h->name), name)) {
			if (preference < h->preference) {
				h->preference = preference;
			}
			return;
		}
	}
	h = &r->hosts[r->nhosts++];
	*h = (struct host){ .preference = preference };
	memcpy(h->name, name.p, name.n);
	h->name[name.n] = '\0';
}

/* False: it is a null MX, and nothing else (RFC 7505). */
static bool
hosts_of_records(struct round *r, struct slice records)
{
	char name[DNS_NAME_MAX + 1];
	bool bad, null_mx = false, others = false;
	struct dns_record rec;
	const char *why;

	while (dns_record_decode(&records, DNS_MX, &rec, &bad)) {
		if (rec.data.n == 0) {
			null_mx = true;
			continue;
		}
		others = true;
		memcpy(name, rec.data.p, rec.data.n);
		name[rec.data.n] = '\0';
		why = unusable(name);
		if (why != NULL) {
			mx_memo_note(r->memo, "host", rec.data, why);
		} else if (r->nhosts < DNS_RECORDS_MAX) {
			add_host(r, rec.data, rec.preference);
		}
	}
	return others || !null_mx;
}

static int
by_preference(const void *a, const void *b)
{
	const struct host *x = a, *y = b;

	return x->preference < y->preference ? -1 :
	    x->preference > y->preference ? 1 : strcmp(x->name, y->name);
}

/* By preference, at random among equals; the best MX_HOSTS_MAX. */
static void
order_hosts(struct round *r)
{
	size_t from, to, i, j;
	struct host swap;

	qsort(r->hosts, r->nhosts, sizeof(r->hosts[0]), by_preference);
	for (from = 0; from < r->nhosts; from = to) {
		for (to = from + 1; to < r->nhosts && r->hosts[to].preference ==
		    r->hosts[from].preference; to++) {
			continue;
		}
		for (i = to - 1; i > from; i--) {
			j = from + draw(r) % (i - from + 1);
			swap = r->hosts[i];
			r->hosts[i] = r->hosts[j];
			r->hosts[j] = swap;
		}
	}
	if (r->nhosts > MX_HOSTS_MAX) {
		mx_memo_note(r->memo, "host",
		    slice_of(r->hosts[MX_HOSTS_MAX].name),
		    "left out, and all after it: enough hosts");
		r->nhosts = MX_HOSTS_MAX;
	}
}

/* NEED, or DONE with a failure, or DONE with r->nhosts > 0. */
static enum mx_state
find_hosts(struct round *r)
{
	const char *name = r->rq->hop->name;
	const struct dns_answer *a;

	if (r->rq->hop->kind == NEXTHOP_HOST || r->rq->no_mx) {
		r->flags = DNS_ASK_HOSTS;
		add_host(r, slice_of(name), 0);
		return MX_DONE;
	}
	a = ask(r, name, DNS_MX, 0);
	if (a == NULL) {
		return MX_NEED;
	}
	r->secure = a->secure;
	switch (a->status) {
	case DNS_TEMP:
		return fail(r, FATE_DEFERRED, "4.4.3", "%s",
		    strbuf_slice(&r->why).p);
	case DNS_NXDOMAIN:
		return fail(r, FATE_FAILED, "5.4.4",
		    "%s: there is no such domain", name);
	case DNS_NODATA:
		mx_memo_note(r->memo, "host", slice_of(name),
		    "the domain itself, as it has no MX records");
		add_host(r, slice_of(name), 0);
		return MX_DONE;
	case DNS_FOUND:
		break;
	}
	r->mx_used = true;
	if (!hosts_of_records(r, a->records)) {
		return fail(r, FATE_FAILED, "5.1.10",
		    "%s takes no mail (null MX, RFC 7505)", name);
	}
	if (r->nhosts == 0) {
		return fail(r, FATE_DEFERRED, "4.4.4",
		    "no MX record of %s names a host", name);
	}
	order_hosts(r);
	return MX_DONE;
}

/* -- which addresses ------------------------------------------------------- */

static void
shuffle(struct round *r, struct mx_candidate *at, size_t n)
{
	struct mx_candidate swap;
	size_t i, j;

	for (i = n; i > 1; i--) {
		j = draw(r) % i;
		swap = at[i - 1];
		at[i - 1] = at[j];
		at[j] = swap;
	}
}

static size_t
addresses_of(struct round *r, const struct host *h, enum dns_type type,
    const struct dns_answer *a, struct mx_candidate *out)
{
	struct slice records = a->records;
	struct dns_record rec;
	size_t n = 0;
	bool bad;

	while (n < ADDRESSES_MAX &&
	    dns_record_decode(&records, type, &rec, &bad)) {
		struct mx_candidate *c = &out[n++];

		memcpy(c->host, h->name, sizeof(c->host));
		c->addr = (struct cidr){ .v6 = type == DNS_AAAA,
			.bits = type == DNS_AAAA ? 128 : 32 };
		memcpy(c->addr.octets, rec.data.p, rec.data.n);
		c->port = r->port;
		c->preference = h->preference;
		c->secure = a->secure && (r->secure || !r->mx_used);
	}
	shuffle(r, out, n);
	return n;
}

/* One after the other from each family, the first by chance. */
static void
alternate(struct round *r, struct host *h, const struct mx_candidate *four,
    size_t nfour, const struct mx_candidate *six, size_t nsix)
{
	bool take_six = (draw(r) & 1) != 0;
	size_t i = 0, j = 0;

	h->at = xcalloc(nfour + nsix + 1, sizeof(*h->at));
	while (i < nfour || j < nsix) {
		if (j < nsix && (take_six || i == nfour)) {
			h->at[h->n++] = six[j++];
		} else {
			h->at[h->n++] = four[i++];
		}
		take_six = !take_six;
	}
}

/* False: not known yet. */
static bool
find_addresses(struct round *r, struct host *h)
{
	struct mx_candidate found[2][ADDRESSES_MAX];
	const struct dns_answer *a;
	size_t n[2] = { 0, 0 };
	bool failed = false, missing = false;
	unsigned v6;

	for (v6 = 0; v6 < 2; v6++) {
		enum dns_type type = v6 == 1 ? DNS_AAAA : DNS_A;

		if (!mx_policy_family(r->rq->policy, v6 == 1)) {
			continue;
		}
		a = ask(r, h->name, type, r->flags);
		if (a == NULL) {
			missing = true;
		} else if (a->status == DNS_FOUND) {
			n[v6] = addresses_of(r, h, type, a, found[v6]);
		} else {
			failed |= a->status == DNS_TEMP;
		}
	}
	if (!missing) {
		alternate(r, h, found[0], n[0], found[1], n[1]);
		h->failed = failed && h->n == 0;
	}
	return !missing;
}

/* -- what is left, in which order ------------------------------------------ */

static void
note_self(struct round *r, const struct host *h)
{
	if (h->preference < r->self) {
		r->self = h->preference;
		mx_memo_note(r->memo, "host", slice_of(h->name),
		    "this is us: it and all of no better preference are left "
		    "out");
	}
}

static void
drop_from_self(struct round *r)
{
	while (r->nhosts > 0 &&
	    r->hosts[r->nhosts - 1].preference >= r->self) {
		free(r->hosts[--r->nhosts].at);
	}
}

static void
find_self_by_name(struct round *r)
{
	size_t i;

	for (i = 0; i < r->nhosts; i++) {
		if (mx_policy_own_name(r->rq->policy, r->hosts[i].name,
		    r->port)) {
			note_self(r, &r->hosts[i]);
		}
	}
	drop_from_self(r);
}

static void
find_self_by_address(struct round *r)
{
	size_t i, j;

	for (i = 0; i < r->nhosts; i++) {
		for (j = 0; j < r->hosts[i].n; j++) {
			if (mx_policy_own_addr(r->rq->policy,
			    &r->hosts[i].at[j].addr, r->port)) {
				note_self(r, &r->hosts[i]);
				break;
			}
		}
	}
	drop_from_self(r);
}

/*
 * How many addresses each host may keep: one is taken from who has most until
 * the limit holds, so that no host loses its last one to another's second.
 */
static size_t
share(struct round *r)
{
	size_t i, most, total = 0;

	for (i = 0; i < r->nhosts; i++) {
		total += r->hosts[i].n;
	}
	while (total > r->rq->address_limit) {
		for (i = most = 0; i < r->nhosts; i++) {
			if (r->hosts[i].n >= r->hosts[most].n) {
				most = i; /* the last of equals: the worst */
			}
		}
		r->hosts[most].n--;
		total--;
	}
	return total;
}

static void
collect(struct round *r)
{
	size_t i, total = share(r);

	r->out->at = xcalloc(total, sizeof(*r->out->at));
	for (i = 0; i < r->nhosts; i++) {
		memcpy(r->out->at + r->out->n, r->hosts[i].at,
		    r->hosts[i].n * sizeof(*r->out->at));
		r->out->n += r->hosts[i].n;
	}
	r->out->ttl = r->ttl;
	r->out->mx_used = r->mx_used;
}

static enum mx_state
loops(struct round *r, struct slice name)
{
	return fail(r, FATE_FAILED, "5.4.6",
	    "mail for %.*s loops back to myself", SLF(name));
}

static enum mx_state
finish(struct round *r)
{
	const char *name = r->rq->hop->name;
	bool failed = false, some = false;
	size_t i;

	if (r->nhosts == 0) {
		return loops(r, slice_of(name));
	}
	for (i = 0; i < r->nhosts; i++) {
		some |= r->hosts[i].n > 0;
		failed |= r->hosts[i].failed;
	}
	if (some) {
		collect(r);
		return MX_DONE;
	}
	if (failed) {
		return fail(r, FATE_DEFERRED, "4.4.3", "%s",
		    strbuf_slice(&r->why).p);
	}
	return fail(r, FATE_FAILED, "5.4.4", r->mx_used ?
	    "no mail exchanger of %s has an address%s" :
	    "%s has no address%s", name, mx_policy_family(r->rq->policy, false) &&
	    mx_policy_family(r->rq->policy, true) ? "" :
	    " of a family in inet_protocols");
}

static enum mx_state
resolve_hosts(struct round *r)
{
	enum mx_state s = find_hosts(r);
	bool known = true;
	size_t i;

	if (s == MX_NEED || r->out->fate != FATE_NONE) {
		return s;
	}
	find_self_by_name(r);
	for (i = 0; i < r->nhosts; i++) {
		known = find_addresses(r, &r->hosts[i]) && known;
	}
	if (!known) {
		return MX_NEED;
	}
	find_self_by_address(r);
	return finish(r);
}

static enum mx_state
resolve_address(struct round *r)
{
	const struct cidr *addr = &r->rq->hop->addr;
	struct strbuf text;
	enum mx_state s = MX_DONE;

	strbuf_init(&text, 0);
	nexthop_print_addr(addr, &text);
	if (!mx_policy_family(r->rq->policy, addr->v6)) {
		s = fail(r, FATE_FAILED, "5.4.4",
		    "[%s] is not of a family in inet_protocols",
		    strbuf_slice(&text).p);
	} else if (mx_policy_own_addr(r->rq->policy, addr, r->port)) {
		s = loops(r, strbuf_slice(&text));
	} else {
		r->out->at = xcalloc(1, sizeof(*r->out->at));
		r->out->at[0] = (struct mx_candidate){ .addr = *addr,
			.port = r->port };
		r->out->n = 1;
		r->out->ttl = r->ttl;
	}
	strbuf_clear(&text);
	return s;
}

enum mx_state
mx_resolve(const struct mx_request *rq, struct mx_memo *memo,
    struct mx_result *out)
{
	struct round *r = xcalloc(1, sizeof(*r));
	enum mx_state s;
	size_t i;

	*out = (struct mx_result){ .fate = FATE_NONE };
	*r = (struct round){ .rq = rq, .memo = memo, .self = NO_SELF,
		.random = rq->seed, .ttl = UINT32_MAX, .out = out,
		.port = rq->hop->port != 0 ? rq->hop->port :
		rq->default_port };
	strbuf_init(&r->why, 0);
	mx_memo_begin(memo);
	s = rq->hop->kind == NEXTHOP_ADDRESS ? resolve_address(r) :
	    resolve_hosts(r);
	for (i = 0; i < r->nhosts; i++) {
		free(r->hosts[i].at);
	}
	strbuf_clear(&r->why);
	free(r);
	return s;
}
