/* The order of the decision: syntax, access, canonical, expansion, verdict. */
#include "config.h"

#include <stdlib.h>

#include "cleanup/resolve_walk.h"
#include "common/addr.h"
#include "common/log.h"
#include "common/xmalloc.h"

void
resolve_target_clear(struct resolve_target *t)
{
	free(t->address);
	free(t->transport);
	free(t->next_hop);
	free(t->extension);
	*t = (struct resolve_target){ NULL, NULL, NULL, NULL };
}

void
decision_clear(struct decision *d)
{
	size_t i;

	for (i = 0; i < d->ntargets; i++) {
		resolve_target_clear(&d->targets[i]);
	}
	free(d->targets);
	free(d->esc);
	free(d->text);
	*d = (struct decision){ .code = 0 };
}

void
resolve_target_key(const struct resolve_target *t, struct strbuf *out)
{
	struct slice a = slice_of(t->address);
	size_t i, at = a.n;

	(void)strbuf_add(out, t->transport, strlen(t->transport) + 1);
	if (strcmp(t->transport, "local") == 0) {
		(void)strbuf_add(out, t->next_hop, strlen(t->next_hop) + 1);
		(void)strbuf_add_str(out, t->extension);
		return;
	}
	while (at > 0 && a.p[at - 1] != '@') {
		at--;
	}
	for (i = 0; i < a.n; i++) {
		(void)strbuf_add_char(out,
		    i < at ? a.p[i] : ascii_lower(a.p[i]));
	}
}

static void
decide(struct decision *d, unsigned code, const char *esc, struct slice text)
{
	*d = (struct decision){ .code = code, .esc = xstrdup(esc),
		.text = xslicedup(text) };
}

/* The first node: the forward-path, completed. */
static bool
take_forward_path(struct walk *w, struct strbuf *address, bool *bare)
{
	struct slice in = w->rq->forward_path;
	struct strbuf local;
	struct addr a;
	enum addr_err e = addr_parse_mailbox(in, ADDR_ALLOW_BARE, &a);

	if (e != ADDR_OK) {
		walk_fail(w, addr_err_code(e), e == ADDR_8BIT ? "5.6.7" :
		    "5.1.3", "Recipient address rejected: %s",
		    addr_err_text(e));
		return false;
	}
	strbuf_init(&local, 0);
	addr_local_value(&a, &local);
	*bare = a.domain.n == 0;
	if (*bare) {
		memo_note(w->memo, "myorigin", in, "completed with @%s",
		    w->p->myorigin);
		a.domain = slice_of(w->p->myorigin);
	}
	addr_print(strbuf_slice(&local), a.domain, address);
	strbuf_clear(&local);
	return true;
}

bool
walk_is_trusted(struct walk *w, bool *temp)
{
	const char *which;
	enum map_result r;

	if (w->rq->trusted) {
		memo_note(w->memo, "trusted", w->rq->client_addr,
		    "may relay: a user of this host");
		return true;
	}
	r = netlist_match(&w->p->mynetworks, w->memo, w->rq->client_addr,
	    &which);
	memo_note(w->memo, "mynetworks", w->rq->client_addr, "%s%s",
	    r == MAP_FOUND ? "matches " : r == MAP_TEMP ? "failed: " :
	    which[0] != '\0' ? "excluded by " : "no match", which);
	*temp = r == MAP_TEMP;
	return r == MAP_FOUND;
}

/* Relay control: is the domain ours, or the client allowed to relay? */
static bool
may_enter(struct walk *w)
{
	enum domain_class class = policy_class(w->p, w->memo, w->addr.domain);
	enum map_result r;
	bool temp = class == DOMAIN_TEMP;

	if (class == DOMAIN_LOCAL || class == DOMAIN_RELAY) {
		return true;
	}
	if (!temp) {
		r = walk_virtual_domain(w);
		if (r == MAP_FOUND || (r == MAP_NONE && walk_is_trusted(w, &temp))) {
			return true;
		}
		temp = temp || r == MAP_TEMP;
	}
	if (temp) {
		walk_fail_temp(w);
	} else {
		walk_fail(w, 550, "5.7.1", "Relay access denied");
	}
	return false;
}

static bool
canonicalise(struct walk *w, struct strbuf *address)
{
	struct strbuf out;
	enum map_result r;

	strbuf_init(&out, 0);
	r = policy_canonical_traced(w->p, w->memo, strbuf_slice(address), &out);
	if (r == MAP_FOUND) {
		memo_note(w->memo, "canonical_maps", strbuf_slice(address),
		    "rewritten to %s", out.p);
		strbuf_reset(address);
		(void)strbuf_add_slice(address, strbuf_slice(&out));
	} else if (r == MAP_TEMP) {
		memo_note(w->memo, "canonical_maps", strbuf_slice(address),
		    "failed: %s", out.p != NULL ? out.p : "");
		walk_fail_temp(w);
	}
	strbuf_clear(&out);
	return r != MAP_TEMP;
}

/* What leads to a mailbox; who names such a one does, too. */
static void
mark_ends(struct walk *w)
{
	bool again;
	size_t i;

	do { /* as often as aliases are nested, mostly once */
		again = false;
		for (i = w->nedges; i-- > 0;) {
			struct node *from = &w->nodes[w->edges[i].from];

			if (!from->ends && w->nodes[w->edges[i].to].ends) {
				from->ends = again = true;
			}
		}
	} while (again);
}

static void
refuse_loops(struct walk *w)
{
	uint32_t at;

	mark_ends(w);
	for (at = 0; at < w->nnodes; at++) {
		if (!w->nodes[at].ends) {
			walk_fail(w, 451, "4.3.5", "alias loop at \"%.*s\"",
			    SHOWN(w->nodes[at].address));
			return;
		}
	}
}

/* "<postmaster>" is ours whatever myorigin is (RFC 5321, 4.1.1.3). */
static bool
is_our_postmaster(struct walk *w)
{
	return walk_is_postmaster(w) &&
	    slice_case_eq(w->addr.domain, slice_of(w->p->myorigin)) &&
	    policy_class(w->p, w->memo, w->addr.domain) != DOMAIN_LOCAL;
}

static void
expand(struct walk *w)
{
	struct node n = { .parent = NOBODY, .named_by = w->rq->forward_path,
		.skip_alias = slice_make("", 0) };
	struct strbuf address;
	bool bare;

	strbuf_init(&address, 0);
	if (!take_forward_path(w, &address, &bare) ||
	    !lookup_addr_set(w->p, strbuf_slice(&address), &w->addr)) {
		goto out;
	}
	n.local = bare && is_our_postmaster(w);
	w->routing = walk_has_routing(w->addr.local);
	if (!n.local && (!may_enter(w) || !canonicalise(w, &address))) {
		goto out;
	}
	n.address = strbuf_slice(&address);
	walk_push(w, &n);
	walk_run(w);
	if (w->failure.code == 0 && !w->waits) {
		refuse_loops(w);
	}
out:
	strbuf_clear(&address);
}

static void
verdict(struct walk *w, struct decision *d)
{
	if (w->failure.code != 0) {
		decide(d, w->failure.code, w->failure.esc, w->failure.text);
	} else if (w->forward_to.n > 0) {
		strbuf_reset(&w->text);
		(void)strbuf_printf(&w->text, "User not local; will forward "
		    "to <%.*s>", SLF(w->forward_to));
		decide(d, 251, "2.1.5", strbuf_slice(&w->text));
	} else {
		decide(d, 250, "2.1.5", SL("Ok"));
	}
	if (w->failure.code == 0) {
		d->targets = w->targets;
		d->ntargets = w->ntargets;
		w->targets = NULL;
		w->ntargets = 0;
	}
	memo_note(w->memo, "decision", w->rq->forward_path, "%u %s %s", d->code,
	    d->esc, d->text);
}

/* -- the route of an address that was expanded before ---------------------- */

static void
route_account(struct walk *w)
{
	struct slice name, ext;
	uint64_t uid = 0;

	switch (walk_account(w, &name, &ext, &uid)) {
	case MEMO_USER_WAIT:
		w->waits = true;
		break;
	case MEMO_USER_TEMP:
		walk_fail_temp(w);
		break;
	case MEMO_USER_FOUND:
		walk_account_final(w, 0, name, ext, uid);
		break;
	case MEMO_USER_NONE:
		walk_fail(w, 550, "5.1.1", "User unknown");
		break;
	}
}

/* What is wrong with the route for more than a moment is the route. */
static void
route_by_failure(struct walk *w)
{
	struct strbuf b;

	if (w->failure.code == 0 || strcmp(w->failure.esc, "4.3.0") == 0) {
		return;
	}
	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "%s %.*s", w->failure.esc,
	    SLF(w->failure.text));
	w->failure.code = 0;
	walk_final(w, 0, SL("error"), strbuf_slice(&b), SL(""));
	strbuf_clear(&b);
}

static void
route_known(struct walk *w)
{
	enum domain_class class = policy_class(w->p, w->memo, w->addr.domain);
	bool local = class == DOMAIN_LOCAL ||
	    (walk_is_postmaster(w) && (is_our_postmaster(w) ||
	    walk_virtual_domain(w) == MAP_FOUND));

	if (class == DOMAIN_TEMP) {
		walk_fail_temp(w);
	} else if (walk_route(w, 0, class, local)) {
		return;
	} else if (w->p->has_mailbox_route) {
		walk_mailbox_route(w, 0);
	} else {
		route_account(w);
	}
}

static void
route(struct walk *w)
{
	struct node n = { .parent = NOBODY, .named_by = w->rq->forward_path,
		.address = w->rq->forward_path, .configured = true,
		.skip_alias = slice_make("", 0) };

	walk_push(w, &n);
	if (lookup_addr_set(w->p, n.address, &w->addr)) {
		route_known(w);
	} else {
		walk_fail(w, 550, "5.1.3", "not an address");
	}
	route_by_failure(w);
}

enum resolve_state
resolve(const struct policy *p, const struct resolve_request *rq,
    struct memo *memo, struct decision *d)
{
	struct walk w;
	size_t i;

	memo_begin(memo);
	walk_init(&w, p, rq, memo);
	if (rq->route_only) {
		route(&w);
	} else {
		expand(&w);
	}
	if (!w.waits) {
		verdict(&w, d);
	}
	for (i = 0; i < w.ntargets; i++) {
		resolve_target_clear(&w.targets[i]);
	}
	free(w.targets);
	walk_clear(&w);
	return w.waits ? RESOLVE_NEED : RESOLVE_DONE;
}
