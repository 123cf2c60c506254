#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cleanup/accepting.h"
#include "cleanup/control.h"
#include "cleanup/control_cat.h"
#include "cleanup/resolving.h"
#include "common/addr.h"
#include "common/cidr.h"
#include "common/map.h"
#include "common/strbuf.h"
#include "common/xmalloc.h"

/* "<a@b>" or "a@b": people write both. */
static struct slice
without_angles(struct slice s)
{
	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>') {
		return slice_make(s.p + 1, s.n - 2);
	}
	return s;
}

/* -- trace ------------------------------------------------------------------ */

struct tracing {
	struct program *pg;
	struct ctl_session *cs; /* NULL: the tool has gone */
	uint32_t question;
	char *rcpt;
};

static void
tracing_free(struct tracing *t)
{
	free(t->rcpt);
	free(t);
}

static void
trace_gone(void *arg, struct ctl_session *cs)
{
	struct tracing *t = arg;

	(void)cs;
	resolving_cancel(t->pg->resolving, t->question);
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

/* The last step; the parts of the reply for programs. */
static void
put_decision(struct ctl_session *cs, unsigned step, struct slice key,
    const struct reply *r)
{
	struct strbuf text;

	strbuf_init(&text, 0);
	(void)strbuf_printf(&text, "%u %s %s", r->code, r->esc, r->text);
	put_step(cs, step, SL("decision"), key, strbuf_slice(&text));
	ctl_row_u(cs, "_code", r->code);
	ctl_row_s(cs, "_esc", slice_of(r->esc));
	ctl_row_s(cs, "_text", slice_of(r->text));
	ctl_row_end(cs);
	strbuf_clear(&text);
}

static void
on_traced(void *arg, const struct decision *d, struct memo *trace)
{
	struct tracing *t = arg;
	struct ctl_session *cs = t->cs;
	struct slice what, key, result;
	size_t place = 0;
	unsigned step = 0;

	while (memo_step(trace, &place, &what, &key, &result)) {
		if (slice_eq(what, SL("decision"))) {
			continue; /* follows, with its parts */
		}
		put_step(cs, ++step, what, key, result);
		ctl_row_end(cs);
	}
	put_decision(cs, ++step, slice_of(t->rcpt),
	    &REPLY(d->code, d->esc, d->text));
	ctl_on_gone(cs, NULL, NULL);
	tracing_free(t);
	ctl_end(cs, EX_OK, "%s", "");
}

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

static void
ask_trace(void *arg, struct ctl_session *cs, const struct slice *words,
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
		put_decision(cs, 1, rq.reverse_path, &mail);
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

/* -- map -------------------------------------------------------------------- */

/* As written, then in lower case: how text maps keep their keys. */
static enum map_result
lookup(struct map *m, struct slice key, struct strbuf *value)
{
	enum map_result r = map_lookup(m, key, value);
	struct strbuf lower;
	size_t i;

	if (r != MAP_NONE) {
		return r;
	}
	strbuf_init(&lower, 0);
	for (i = 0; i < key.n; i++) {
		(void)strbuf_add_char(&lower, ascii_lower(key.p[i]));
	}
	r = map_lookup(m, strbuf_slice(&lower), value);
	strbuf_clear(&lower);
	return r;
}

static void
put_value(struct ctl_session *cs, struct slice key, struct slice value)
{
	ctl_row_begin(cs);
	ctl_row_s(cs, "key", key);
	ctl_row_s(cs, "value", value);
	ctl_row_end(cs);
}

static void
ask_map(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct strbuf value, why;
	struct map *m;

	(void)arg;
	(void)nwords;
	strbuf_init(&value, 0);
	strbuf_init(&why, 0);
	m = map_open(words[2], &why);
	if (m == NULL) {
		ctl_end(cs, EX_CONFIG, "%s", why.n > 0 ? why.p : "no such map");
		strbuf_clear(&why);
		return;
	}
	switch (lookup(m, words[1], &value)) {
	case MAP_FOUND:
		put_value(cs, words[1], strbuf_slice(&value));
		ctl_end(cs, EX_OK, "%s", "");
		break;
	case MAP_NONE:
		ctl_end(cs, 1, "%.*s: not found in %s", SLF(words[1]),
		    map_spec(m));
		break;
	case MAP_TEMP:
		ctl_end(cs, EX_TEMPFAIL, "%s", value.n > 0 ? value.p :
		    "the lookup failed");
		break;
	}
	map_close(m);
	strbuf_clear(&value);
	strbuf_clear(&why);
}

const struct ctl_verb control_verbs[] = {
	/* name, admin, least and most words after it, handler */
	{ "cat", true, 1, 1, control_cat },
	{ "trace", true, 3, 3, ask_trace },
	{ "map", true, 2, 2, ask_map },
};
const size_t control_nverbs = NELEMS(control_verbs);
