/* Routes and valid recipients of the policy: parsed and checked at load. */
#include "config.h"

#include <stdlib.h>

#include "cleanup/policy.h"
#include "common/addr.h"
#include "common/xmalloc.h"

#define BAD_ENTRIES_TOLD 10 /* of one map */

static bool
refuse(struct strbuf *why, const char *setting, struct slice value,
    const char *reason)
{
	(void)strbuf_printf(why, "%s: \"", setting);
	strbuf_add_quoted(why, value, 200);
	(void)strbuf_printf(why, "\" %s\n", reason);
	return false;
}

/* -- UNIX sockets ------------------------------------------------------------ */

/* Master connects to what these settings name, and to nothing else. */
static bool
is_connected_to(const struct settings *s, const struct policy *p,
    const struct nexthop *hop)
{
	const struct route *const named[] = { &p->default_route.route,
		&p->mailbox_route.route };
	size_t i;

	for (i = 0; i < NELEMS(named); i++) {
		if (named[i]->has_hop && named[i]->hop.kind == NEXTHOP_UNIX &&
		    strcmp(named[i]->hop.name, hop->name) == 0) {
			return true;
		}
	}
	return settings_list_has(&s->lmtp_sockets, hop->name);
}

/* -- transport_maps ---------------------------------------------------------- */

struct checking {
	const struct settings *s;
	const struct policy *p;
	struct strbuf *why;
	unsigned bad;
};

static bool
check_entry(void *arg, struct slice key, struct slice value)
{
	struct checking *c = arg;
	struct route r;
	const char *why = NULL;

	if (route_parse(value, &r, &why)) {
		if (!r.has_hop || r.hop.kind != NEXTHOP_UNIX ||
		    is_connected_to(c->s, c->p, &r.hop)) {
			return true;
		}
		why = "names a socket that nobody connects to: add it to "
		    "lmtp_sockets";
	}
	(void)strbuf_add_str(c->why, "transport_maps: ");
	strbuf_add_quoted(c->why, key, 200);
	(void)strbuf_add_str(c->why, ": \"");
	strbuf_add_quoted(c->why, value, 200);
	(void)strbuf_printf(c->why, "\": %s (mail for it would wait)\n", why);
	return ++c->bad < BAD_ENTRIES_TOLD;
}

static bool
check_transports(const struct policy *p, const struct settings *s,
    struct strbuf *why)
{
	struct checking c = { .s = s, .p = p, .why = why };
	bool ok = true;
	size_t i;

	for (i = 0; i < p->transport.n; i++) {
		c.bad = 0;
		map_each(p->transport.at[i], check_entry, &c);
		ok = ok && c.bad == 0;
	}
	return ok;
}

/* -- settings that hold a route ---------------------------------------------- */

/* mailbox_transport needs a next hop, unless it is for nobody. */
static bool
take_route(struct policy_route *pr, const char *setting, const char *text,
    bool needs_hop, struct strbuf *why)
{
	const char *reason = NULL;

	pr->text = xstrdup(text);
	if (!route_parse(slice_of(pr->text), &pr->route, &reason)) {
		return refuse(why, setting, slice_of(text), reason);
	}
	if (pr->route.kind == ROUTE_NONE || pr->route.kind == ROUTE_LOCAL) {
		return refuse(why, setting, slice_of(text),
		    "is not smtp:..., lmtp:..., error:... or hold:");
	}
	if (needs_hop && !pr->route.has_hop &&
	    (pr->route.kind == ROUTE_SMTP || pr->route.kind == ROUTE_LMTP)) {
		return refuse(why, setting, slice_of(text), "has no next hop: "
		    "write lmtp:unix:/path or lmtp:[host]:port");
	}
	return true;
}

static bool
take_relayhost(struct policy *p, const struct settings *s, struct strbuf *why)
{
	const char *reason = NULL;

	p->has_relayhost = s->relayhost[0] != '\0';
	if (!p->has_relayhost) {
		return true;
	}
	if (!nexthop_parse(slice_of(s->relayhost), &p->relayhost, &reason)) {
		return refuse(why, "relayhost", slice_of(s->relayhost), reason);
	}
	return p->relayhost.kind != NEXTHOP_UNIX || refuse(why, "relayhost",
	    slice_of(s->relayhost), "is not spoken to by SMTP: write "
	    "default_transport = lmtp:unix:/path");
}

/* -- valid recipients -------------------------------------------------------- */

/* local_recipient_maps without its "users:", which is no map, and without
   alias_maps, which are open already, when it has all of them. */
static bool
take_local_recipients(struct policy *p, const struct settings *s,
    struct strbuf *why)
{
	const struct strlist *l = &s->local_recipient_maps;
	struct strlist maps = { xcalloc(l->n + 1, sizeof(char *)), 0 };
	bool ok;
	size_t i;

	p->local_all = l->n == 0;
	p->local_users = settings_list_has(l, "users:");
	p->aliases_listed = true;
	for (i = 0; i < s->alias_maps.n && !p->local_all; i++) {
		p->aliases_listed = p->aliases_listed &&
		    settings_list_has(l, s->alias_maps.at[i]);
	}
	for (i = 0; i < l->n; i++) {
		if (strcmp(l->at[i], "users:") != 0 && !(p->aliases_listed &&
		    settings_list_has(&s->alias_maps, l->at[i]))) {
			maps.at[maps.n++] = l->at[i];
		}
	}
	ok = policy_open_maps(&p->local_recipient, "local_recipient_maps",
	    &maps, why);
	free(maps.at);
	return ok;
}

/* "$user@example.org", "crew": settings left "${user}" of it. */
static bool
take_luser(struct policy *p, const struct settings *s, struct strbuf *why)
{
	struct slice text = slice_of(s->luser_relay), domain;
	struct strbuf sample;
	struct addr a;
	size_t at = text.n;
	bool ok;

	p->luser_relay = xstrdup(s->luser_relay);
	if (text.n == 0) {
		return true;
	}
	while (at > 0 && text.p[at - 1] != '@') {
		at--;
	}
	domain = slice_make(text.p + at, at > 0 ? text.n - at : 0);
	strbuf_init(&sample, 0);
	policy_luser_local(slice_make(text.p, at > 0 ? at - 1 : text.n),
	    SL("user"), SL("ext"), &sample);
	ok = sample.n > 0 && slice_find(strbuf_slice(&sample), '$') ==
	    sample.n && (at == 0 || slice_eq(domain, SL("${domain}")) ||
	    addr_is_domain(domain)) &&
	    addr_parse_mailbox(strbuf_slice(&sample), ADDR_ALLOW_BARE, &a) ==
	    ADDR_OK && a.domain.n == 0;
	strbuf_clear(&sample);
	return ok || refuse(why, "luser_relay", text, "is not an address, in "
	    "which $user, $extension and $domain may stand");
}

/* What nobody else is told of goes there: it must be possible. */
static bool
check_notice_recipient(const struct settings *s, struct strbuf *why)
{
	struct slice text = slice_of(s->notice_recipient);
	struct addr a;

	return addr_parse_mailbox(text, ADDR_ALLOW_BARE, &a) == ADDR_OK ||
	    refuse(why, "notice_recipient", text, "is not an address");
}

void
policy_luser_local(struct slice template, struct slice user, struct slice ext,
    struct strbuf *out)
{
	const struct {
		struct slice name, value;
	} parts[] = { { SL_INIT("${user}"), user },
		{ SL_INIT("${extension}"), ext } };
	size_t i, used;

	while (template.n > 0) {
		for (i = 0; i < NELEMS(parts); i++) {
			if (template.n >= parts[i].name.n &&
			    memcmp(template.p, parts[i].name.p,
			    parts[i].name.n) == 0) {
				(void)strbuf_add_slice(out, parts[i].value);
				break;
			}
		}
		if (i == NELEMS(parts)) {
			(void)strbuf_add_char(out, template.p[0]);
		}
		used = i < NELEMS(parts) ? parts[i].name.n : 1;
		template = slice_make(template.p + used, template.n - used);
	}
}

bool
policy_open_routes(struct policy *p, const struct settings *s,
    struct strbuf *why)
{
	bool ok = take_route(&p->default_route, "default_transport",
	    s->default_transport, false, why);

	p->has_mailbox_route = s->mailbox_transport[0] != '\0';
	if (p->has_mailbox_route) {
		ok = take_route(&p->mailbox_route, "mailbox_transport",
		    s->mailbox_transport, true, why) && ok;
	}
	ok = take_relayhost(p, s, why) && ok;
	ok = take_luser(p, s, why) && ok;
	ok = check_notice_recipient(s, why) && ok;
	ok = take_local_recipients(p, s, why) && ok;
	ok = policy_open_maps(&p->relay_recipient, "relay_recipient_maps",
	    &s->relay_recipient_maps, why) && ok;
	return check_transports(p, s, why) && ok;
}

void
policy_close_routes(struct policy *p)
{
	free(p->default_route.text);
	free(p->mailbox_route.text);
	free(p->luser_relay);
}
