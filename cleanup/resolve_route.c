/*
 * Where a node goes: transport_maps, then what its domain's class says
 * (mydestination: local; all others: relayhost, or the hosts of the domain;
 * default_transport for what is not in relay_domains).
 */
#include "config.h"

#include "cleanup/resolve_walk.h"
#include "common/fate.h"

/* "error:5.1.6 text": refused at once, or as one of several, it bounces. */
static void
to_error(struct walk *w, uint32_t at, struct slice text)
{
	char esc[ESC_MAX];
	struct strbuf b, shown;

	text = route_error_text(text, esc);
	strbuf_init(&shown, 1000);
	strbuf_init(&b, 0);
	strbuf_add_quoted(&shown, text, 300);
	if (w->nodes[at].shared || w->rq->route_only) {
		(void)strbuf_printf(&b, "%s %s", esc, shown.p);
		walk_final(w, at, SL("error"), strbuf_slice(&b), SL(""));
	} else {
		walk_fail(w, esc[0] == '4' ? 450 : 550,
		    arena_dup(&w->arena, slice_make(esc, strlen(esc) + 1)).p,
		    "%s", shown.p);
	}
	strbuf_clear(&shown);
	strbuf_clear(&b);
}

static void
to_hold(struct walk *w, uint32_t at, struct slice text)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	strbuf_add_quoted(&b, text.n > 0 ? text : SL("by transport hold:"),
	    300);
	walk_final(w, at, SL("hold"), strbuf_slice(&b), SL(""));
	strbuf_clear(&b);
}

/*
 * A stranger's "x%outside@ours" must not become an order for the next host
 * (RFC 5321, appendix F.2; Postfix's allow_untrusted_routing).
 */
static bool
is_untrusted_routing(struct walk *w)
{
	bool temp = false;

	if (!w->routing || !walk_has_routing(w->addr.local) ||
	    walk_is_trusted(w, &temp)) {
		return false;
	}
	if (temp) {
		walk_fail_temp(w);
	} else {
		walk_fail(w, 550, "5.7.1", "Relay access denied");
	}
	return true;
}

static void
to_host(struct walk *w, uint32_t at, enum route_kind kind,
    const struct nexthop *hop)
{
	struct strbuf b;

	if (is_untrusted_routing(w)) {
		return;
	}
	strbuf_init(&b, 0);
	route_print_hop(kind, hop, &b);
	walk_final(w, at, slice_of(route_name(kind)), strbuf_slice(&b), SL(""));
	strbuf_clear(&b);
}

/* The recipient's own domain, or address, is the next hop. */
static void
to_own_domain(struct walk *w, uint32_t at, enum route_kind kind)
{
	struct nexthop hop;
	const char *why;

	if (nexthop_parse(w->addr.domain, &hop, &why)) {
		to_host(w, at, kind, &hop);
	} else {
		walk_fail(w, 550, "5.1.2", "mail cannot be sent to the domain "
		    "\"%.*s\": %s", SHOWN(w->addr.domain), why);
	}
}

/* What transport_maps say; NONE when nothing. False: it was refused. */
static bool
look_up(struct walk *w, struct route *r)
{
	enum map_result found = policy_transport(w->p, w->memo, &w->addr,
	    &w->found.value);
	const char *why = NULL;

	*r = (struct route){ .kind = ROUTE_NONE };
	if (found == MAP_TEMP) {
		walk_fail_temp(w);
		return false;
	}
	if (found == MAP_NONE || route_parse(strbuf_slice(&w->found.value), r,
	    &why)) {
		return true;
	}
	memo_note(w->memo, "transport_maps", w->addr.domain,
	    "a bad entry: %s", why);
	walk_fail(w, 451, "4.3.5", "the entry of \"%.*s\" in transport_maps is "
	    "bad: %s", SHOWN(w->addr.domain), why);
	return false;
}

/* Mail that leaves the host, when transport_maps name no transport. */
static void
by_class(struct walk *w, uint32_t at, enum domain_class class,
    const struct route *said)
{
	const struct route *r = &w->p->default_route.route;
	enum route_kind kind = class == DOMAIN_RELAY ? ROUTE_SMTP : r->kind;

	if (kind == ROUTE_ERROR) {
		memo_note(w->memo, "default_transport", w->addr.domain, "error");
		to_error(w, at, r->text);
	} else if (kind == ROUTE_HOLD) {
		memo_note(w->memo, "default_transport", w->addr.domain, "hold");
		to_hold(w, at, r->text);
	} else if (said->has_hop) {
		to_host(w, at, kind, &said->hop);
	} else if (class != DOMAIN_RELAY && r->has_hop) {
		memo_note(w->memo, "default_transport", w->addr.domain,
		    "its next hop");
		to_host(w, at, kind, &r->hop);
	} else if (w->p->has_relayhost) {
		memo_note(w->memo, "relayhost", w->addr.domain,
		    "the next hop of all that leaves");
		to_host(w, at, kind, &w->p->relayhost);
	} else {
		memo_note(w->memo, "route", w->addr.domain,
		    "by the hosts of the domain");
		to_own_domain(w, at, kind);
	}
}

/* By the transport that a map names for it. */
static void
by_map(struct walk *w, uint32_t at, const struct route *r)
{
	switch (r->kind) {
	case ROUTE_ERROR:
		to_error(w, at, r->text);
		break;
	case ROUTE_HOLD:
		to_hold(w, at, r->text);
		break;
	case ROUTE_SMTP:
	case ROUTE_LMTP:
		if (r->has_hop) {
			to_host(w, at, r->kind, &r->hop);
		} else {
			to_own_domain(w, at, r->kind);
		}
		break;
	case ROUTE_NONE:
	case ROUTE_LOCAL:
		break;
	}
}

bool
walk_route(struct walk *w, uint32_t at, enum domain_class class, bool local)
{
	struct route r;
	bool leaves;

	if (!look_up(w, &r)) {
		return true;
	}
	if (r.kind == ROUTE_LOCAL || (r.kind == ROUTE_NONE && local)) {
		return false;
	}
	leaves = r.kind == ROUTE_SMTP || r.kind == ROUTE_LMTP;
	if (local && leaves && walk_refuse_unlisted(w, at)) {
		return true;
	}
	if (r.kind == ROUTE_NONE) {
		by_class(w, at, class, &r);
	} else {
		by_map(w, at, &r);
	}
	return true;
}

void
walk_mailbox_route(struct walk *w, uint32_t at)
{
	memo_note(w->memo, "mailbox_transport", w->addr.local, "%s",
	    w->p->mailbox_route.text);
	by_map(w, at, &w->p->mailbox_route.route);
}
