/* Making the policy from the settings; all that is wrong is told at once. */
#include "config.h"

#include <stdlib.h>

#include "cleanup/policy.h"
#include "common/addr.h"
#include "common/xmalloc.h"

bool
policy_open_maps(struct maplist *l, const char *setting,
    const struct strlist *from, struct strbuf *why)
{
	struct strbuf reason;
	bool ok = true;
	size_t i;

	l->setting = setting;
	l->at = xcalloc(from->n, sizeof(struct map *));
	for (i = 0; i < from->n; i++) {
		strbuf_init(&reason, 0);
		l->at[l->n] = map_open(slice_of(from->at[i]), &reason);
		if (l->at[l->n] != NULL) {
			l->n++;
		} else {
			ok = false;
			(void)strbuf_printf(why, "%s: %s", setting,
			    reason.p != NULL ? reason.p : "?\n");
		}
		strbuf_clear(&reason);
	}
	return ok;
}

static void
close_maps(struct maplist *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		map_close(l->at[i]);
	}
	free(l->at);
}

static bool
refuse(struct strbuf *why, const char *setting, struct slice member,
    const char *reason)
{
	(void)strbuf_printf(why, "%s: ", setting);
	strbuf_add_quoted(why, member, 200);
	(void)strbuf_printf(why, ": %s\n", reason);
	return false;
}

/* "!member" */
static bool
take_negation(struct slice *s)
{
	if (s->n == 0 || s->p[0] != '!') {
		return false;
	}
	*s = slice_trim(slice_make(s->p + 1, s->n - 1));
	return true;
}

static struct map *
open_member(const char *setting, struct slice spec, struct strbuf *why)
{
	struct strbuf reason;
	struct map *m;

	strbuf_init(&reason, 0);
	m = map_open(spec, &reason);
	if (m == NULL) {
		(void)strbuf_printf(why, "%s: %s", setting, reason.p);
	}
	strbuf_clear(&reason);
	return m;
}

static bool
add_domain(struct domlist *l, struct slice member, struct strbuf *why)
{
	struct domlist_member *d = &l->at[l->n];
	struct slice text;
	size_t i;

	d->negated = take_negation(&member);
	text = member.n > 1 && member.p[0] == '.' ?
	    slice_make(member.p + 1, member.n - 1) : member;
	if (addr_is_domain(text) || addr_is_literal(member)) {
		d->text = xslicedup(member);
		for (i = 0; i < member.n; i++) {
			d->text[i] = ascii_lower(d->text[i]);
		}
		/* The first of two equal names decides. */
		(void)table_add(&l->names, slice_of(d->text), (uint32_t)l->n);
	} else if (slice_find(member, ':') < member.n) {
		d->map = open_member(l->setting, member, why);
		if (d->map == NULL) {
			return false;
		}
		d->text = xslicedup(member);
		l->maps[l->nmaps++] = l->n;
	} else {
		return refuse(why, l->setting, member, "not a domain");
	}
	l->n++;
	return true;
}

static bool
open_domains(struct domlist *l, const char *setting, const struct strlist *from,
    bool parents, struct strbuf *why)
{
	bool ok = true;
	size_t i;

	l->setting = setting;
	l->parents = parents;
	l->at = xcalloc(from->n, sizeof(*l->at));
	l->maps = xcalloc(from->n, sizeof(*l->maps));
	for (i = 0; i < from->n; i++) {
		ok = add_domain(l, slice_of(from->at[i]), why) && ok;
	}
	return ok;
}

static void
close_domains(struct domlist *l)
{
	size_t i;

	table_clear(&l->names);
	for (i = 0; i < l->n; i++) {
		free(l->at[i].text);
		map_close(l->at[i].map);
	}
	free(l->at);
	free(l->maps);
}

static bool
add_net(struct netlist *l, struct slice member, struct strbuf *why)
{
	struct netlist_member *d = &l->at[l->n];
	size_t slash = slice_find(member, '/');
	struct slice text = member;
	const char *bad;

	d->negated = take_negation(&text);
	bad = cidr_parse_net(text, &d->net);
	if (bad != NULL && text.n > 0 && ascii_isalpha(text.p[0]) &&
	    slice_find(text, ':') < slash) {
		d->map = open_member("mynetworks", text, why);
		if (d->map == NULL) {
			return false;
		}
	} else if (bad != NULL) {
		return refuse(why, "mynetworks", member, bad);
	}
	d->text = xslicedup(member);
	l->n++;
	return true;
}

static bool
open_networks(struct netlist *l, const struct strlist *from, struct strbuf *why)
{
	bool ok = true;
	size_t i;

	l->at = xcalloc(from->n, sizeof(*l->at));
	for (i = 0; i < from->n; i++) {
		ok = add_net(l, slice_of(from->at[i]), why) && ok;
	}
	return ok;
}

static void
close_networks(struct netlist *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		free(l->at[i].text);
		map_close(l->at[i].map);
	}
	free(l->at);
}

static bool
take_names(struct policy *p, const struct settings *s, struct strbuf *why)
{
	struct slice host = slice_of(s->myhostname), domain;
	struct slice origin = slice_of(s->myorigin);
	bool ok = true;
	size_t dot;

	domain = slice_of(s->mydomain);
	if (domain.n == 0) {
		dot = slice_find(host, '.');
		domain = dot < host.n ? slice_make(host.p + dot + 1,
		    host.n - dot - 1) : domain;
	}
	if (!addr_is_domain(origin)) {
		ok = refuse(why, "myorigin", origin, "not a domain");
	}
	p->myorigin = xslicedup(origin);
	p->mydomain = xslicedup(domain);
	return ok;
}

static bool
take_own(struct policy *p, const struct strlist *own, struct strbuf *why)
{
	static const char *const always[] = { "127.0.0.1", "::1" };
	bool ok = true;
	size_t i;

	p->own = xcalloc(own->n + NELEMS(always), sizeof(*p->own));
	for (i = 0; i < NELEMS(always); i++) {
		(void)cidr_parse_addr(slice_of(always[i]), &p->own[p->nown++]);
	}
	for (i = 0; i < own->n; i++) {
		if (cidr_parse_addr(slice_of(own->at[i]), &p->own[p->nown])) {
			p->nown++;
		} else {
			ok = refuse(why, "listen", slice_of(own->at[i]),
			    "not an address");
		}
	}
	return ok;
}

struct policy *
policy_new(const struct settings *s, const struct strlist *own_addresses,
    struct strbuf *why)
{
	struct policy *p = xcalloc(1, sizeof(*p));
	bool ok;

	p->delimiter = s->recipient_delimiter[0];
	p->relocated_forward = s->relocated_forward;
	p->expansion_limit = s->alias_expansion_limit;
	p->recursion_limit = s->alias_recursion_limit;
	ok = take_names(p, s, why);
	ok = take_own(p, own_addresses, why) && ok;
	ok = policy_open_maps(&p->alias, "alias_maps", &s->alias_maps, why) &&
	    ok;
	ok = policy_open_maps(&p->canonical, "canonical_maps",
	    &s->canonical_maps, why) && ok;
	ok = policy_open_maps(&p->virtual_alias, "virtual_alias_maps",
	    &s->virtual_alias_maps, why) && ok;
	ok = policy_open_maps(&p->transport, "transport_maps",
	    &s->transport_maps, why) && ok;
	ok = policy_open_maps(&p->relocated, "relocated_maps",
	    &s->relocated_maps, why) && ok;
	ok = open_domains(&p->mydestination, "mydestination",
	    &s->mydestination, false, why) && ok;
	ok = open_domains(&p->relay_domains, "relay_domains",
	    &s->relay_domains, true, why) && ok;
	ok = open_networks(&p->mynetworks, &s->mynetworks, why) && ok;
	ok = policy_open_routes(p, s, why) && ok;
	if (!ok) {
		policy_free(p);
		return NULL;
	}
	return p;
}

void
policy_free(struct policy *p)
{
	if (p == NULL) {
		return;
	}
	close_maps(&p->alias);
	close_maps(&p->canonical);
	close_maps(&p->virtual_alias);
	close_maps(&p->transport);
	close_maps(&p->relocated);
	close_maps(&p->relay_recipient);
	close_maps(&p->local_recipient);
	close_domains(&p->mydestination);
	close_domains(&p->relay_domains);
	close_networks(&p->mynetworks);
	policy_close_routes(p);
	free(p->own);
	free(p->myorigin);
	free(p->mydomain);
	free(p);
}
