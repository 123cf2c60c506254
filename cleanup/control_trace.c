#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cleanup/accepting.h"
#include "cleanup/control_trace.h"
#include "cleanup/hosts.h"
#include "cleanup/resolving.h"
#include "common/addr.h"
#include "common/cidr.h"
#include "common/soften.h"
#include "common/strbuf.h"
#include "common/xmalloc.h"

#define HOPS_MAX 8 /* next hops whose hosts are shown */

struct tracing {
	struct program *pg;
	struct ctl_session *cs;
	uint32_t question, looking;
	char *rcpt;
	unsigned step;
	unsigned code;   /* the decision */
	char *esc, *text;
	struct hop {
		char *text;
		bool lmtp;
	} hops[HOPS_MAX];
	unsigned nhops, next_hop;
};

/* "<a@b>" or "a@b": people write both. */
static struct slice
without_angles(struct slice s)
{
	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>') {
		return slice_make(s.p + 1, s.n - 2);
	}
	return s;
}

static void
tracing_free(struct tracing *t)
{
	while (t->nhops > 0) {
		free(t->hops[--t->nhops].text);
	}
	free(t->esc);
	free(t->text);
	free(t->rcpt);
	free(t);
}

static void
trace_gone(void *arg, struct ctl_session *cs)
{
	struct tracing *t = arg;

	(void)cs;
	resolving_cancel(t->pg->resolving, t->question);
	hosts_cancel(t->pg->hosts, t->looking);
	tracing_free(t);
}

static void
put_step(struct ctl_session *cs, unsigned step, struct slice what,
    struct slice key, struct slice result)
{
	ctl_row_begin(cs);
	ctl_row_u(cs, "step", step);
	ctl_row_s(cs, "what", what);
	ctl_row_s(cs, "key", key);
	ctl_row_s(cs, "result", result);
}

/* The last step, as smtpd will say it; the parts of the reply for programs. */
static void
put_decision(const struct program *pg, struct ctl_session *cs, unsigned step,
    struct slice key, const struct reply *r)
{
	const char *esc = r->esc;
	char room[ESC_MAX];
	unsigned code = pg->settings->soft_bounce ?
	    soften(r->code, &esc, room) : r->code;
	struct strbuf text;

	strbuf_init(&text, 0);
	if (code != r->code) {
		(void)strbuf_printf(&text, "yes: %u %s is said as %u %s",
		    r->code, r->esc, code, esc);
		put_step(cs, step++, SL("soft_bounce"), key,
		    strbuf_slice(&text));
		ctl_row_end(cs);
		strbuf_reset(&text);
	}
	(void)strbuf_printf(&text, "%u %s %s", code, esc, r->text);
	put_step(cs, step, SL("decision"), key, strbuf_slice(&text));
	ctl_row_u(cs, "_code", code);
	ctl_row_s(cs, "_esc", slice_of(esc));
	ctl_row_s(cs, "_text", slice_of(r->text));
	ctl_row_end(cs);
	strbuf_clear(&text);
}

/* -- the hosts ----------------------------------------------------------------- */

static void
put_candidate(struct tracing *t, const char *hop, const struct mx_candidate *c,
    bool mx_used)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "%s[", c->host);
	nexthop_print_addr(&c->addr, &b);
	(void)strbuf_printf(&b, "]:%u", (unsigned)c->port);
	if (mx_used) {
		(void)strbuf_printf(&b, " preference %u",
		    (unsigned)c->preference);
	}
	put_step(t->cs, ++t->step, SL("try"), slice_of(hop), strbuf_slice(&b));
	ctl_row_end(t->cs);
	strbuf_clear(&b);
}

static void next_hop(struct tracing *t);

static void
on_hosts(void *arg, const struct mx_memo *trace, const struct mx_result *r)
{
	struct tracing *t = arg;
	const char *hop = t->hops[t->next_hop++].text;
	struct slice what, key, result;
	struct strbuf b;
	size_t place = 0, i;

	t->looking = 0;
	while (mx_memo_step(trace, &place, &what, &key, &result)) {
		put_step(t->cs, ++t->step, what, key, result);
		ctl_row_end(t->cs);
	}
	for (i = 0; i < r->n; i++) {
		put_candidate(t, hop, &r->at[i], r->mx_used);
	}
	if (r->n == 0) {
		strbuf_init(&b, 0);
		(void)strbuf_printf(&b, "%s: %s %s", r->fate == FATE_FAILED &&
		    !t->pg->settings->soft_bounce ?
		    "would bounce" : "would wait", r->esc,
		    r->text != NULL ? r->text : "");
		put_step(t->cs, ++t->step, SL("try"), slice_of(hop),
		    strbuf_slice(&b));
		ctl_row_end(t->cs);
		strbuf_clear(&b);
	}
	next_hop(t);
}

/* The next hop to be looked up, or the end. May free t. */
static void
next_hop(struct tracing *t)
{
	struct ctl_session *cs = t->cs;
	struct nexthop hop;
	const char *why;
	uint32_t id;

	if (t->next_hop < t->nhops) {
		struct hop *h = &t->hops[t->next_hop];

		if (nexthop_parse(slice_of(h->text), &hop, &why)) {
			id = hosts_ask(t->pg->hosts, &hop, h->lmtp, on_hosts, t);
			if (id != 0) { /* else t may be gone */
				t->looking = id;
			}
			return;
		}
	}
	put_decision(t->pg, cs, ++t->step, slice_of(t->rcpt),
	    &REPLY(t->code, t->esc, t->text));
	ctl_on_gone(cs, NULL, NULL);
	tracing_free(t);
	ctl_end(cs, EX_OK, "%s", "");
}

/* The different next hops of the targets that leave by SMTP or LMTP. */
static void
note_hops(struct tracing *t, const struct decision *d)
{
	size_t i;
	unsigned k;

	for (i = 0; i < d->ntargets && t->nhops < HOPS_MAX; i++) {
		const struct resolve_target *g = &d->targets[i];
		bool lmtp = strcmp(g->transport, "lmtp") == 0;

		if ((!lmtp && strcmp(g->transport, "smtp") != 0) ||
		    strncmp(g->next_hop, "unix:", 5) == 0) {
			continue;
		}
		for (k = 0; k < t->nhops && (t->hops[k].lmtp != lmtp ||
		    strcmp(t->hops[k].text, g->next_hop) != 0); k++) {
		}
		if (k == t->nhops) {
			t->hops[t->nhops++] = (struct hop){
				xstrdup(g->next_hop), lmtp };
		}
	}
}

static void
on_traced(void *arg, const struct decision *d, struct memo *trace)
{
	struct tracing *t = arg;
	struct slice what, key, result;
	size_t place = 0;

	t->question = 0;
	while (memo_step(trace, &place, &what, &key, &result)) {
		if (slice_eq(what, SL("decision"))) {
			continue; /* follows, with its parts */
		}
		put_step(t->cs, ++t->step, what, key, result);
		ctl_row_end(t->cs);
	}
	t->code = d->code;
	t->esc = xstrdup(d->esc);
	t->text = xstrdup(d->text);
	note_hops(t, d);
	next_hop(t);
}

/* -- the question --------------------------------------------------------------- */

/* What MAIL would be answered: RCPT is not asked unless it is 250. */
static struct reply
mail_reply(const struct program *pg, struct slice reverse_path)
{
	struct addr a;
	enum addr_err e = reverse_path.n == 0 ? ADDR_OK :
	    addr_parse_mailbox(reverse_path, ADDR_ALLOW_BARE, &a);

	if (e != ADDR_OK) {
		return REPLY(addr_err_code(e), e == ADDR_8BIT ? "5.6.7" :
		    "5.1.7", addr_err_text(e));
	}
	return accepting_reply(pg->accepting);
}

void
control_trace(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct program *pg = arg;
	bool local = words[1].n == 0 || slice_eq(words[1], SL("local"));
	const struct resolve_request rq = {
		.client_addr = local ? SL("") : words[1],
		.reverse_path = without_angles(words[2]),
		.forward_path = without_angles(words[3]),
		.trusted = local,
	};
	const struct reply mail = mail_reply(pg, rq.reverse_path);
	struct tracing *t;
	struct cidr client;
	uint32_t id;

	(void)nwords;
	if (!local && !cidr_parse_addr(words[1], &client)) {
		ctl_end(cs, EX_USAGE, "%.*s: a client is an IP address, or "
		    "local", SLF(words[1]));
		return;
	}
	if (mail.code != 250) {
		put_decision(pg, cs, 1, rq.reverse_path, &mail);
		ctl_end(cs, EX_OK, "%s", "");
		return;
	}
	t = xcalloc(1, sizeof(*t));
	t->pg = pg;
	t->cs = cs;
	t->rcpt = xslicedup(rq.forward_path);
	ctl_on_gone(cs, trace_gone, t);
	id = resolving_ask(pg->resolving, &rq, on_traced, t);
	if (id != 0) { /* else it is answered and gone */
		t->question = id;
	}
}

