/* Asking the policy: classes of domains, networks, and the order of keys. */
#include "config.h"

#include <stdlib.h>

#include "cleanup/policy.h"
#include "common/addr.h"
#include "common/aliases.h"

/* The place of the first name that stands for `domain', or l->n. */
static size_t
first_name(const struct domlist *l, struct slice domain)
{
	size_t best = l->n, at;
	struct slice rest;
	uint32_t i;

	if (table_get(&l->names, domain, &i)) {
		best = i;
	}
	for (at = 1; at < domain.n; at++) {
		if (domain.p[at] != '.') {
			continue;
		}
		rest = slice_make(domain.p + at, domain.n - at);
		if (table_get(&l->names, rest, &i) && i < best) {
			best = i;
		}
		rest = slice_make(rest.p + 1, rest.n - 1);
		if (l->parents && table_get(&l->names, rest, &i) && i < best) {
			best = i;
		}
	}
	return best;
}

enum map_result
domlist_match(const struct domlist *l, struct memo *m, struct slice domain)
{
	size_t best = first_name(l, domain), i;
	enum map_result r = MAP_NONE;
	struct strbuf value;

	strbuf_init(&value, 0);
	for (i = 0; i < l->nmaps && l->maps[i] < best; i++) {
		r = memo_map(m, l->at[l->maps[i]].map, domain, &value);
		if (r == MAP_FOUND) {
			best = l->maps[i];
		} else if (r == MAP_TEMP) {
			break;
		}
	}
	strbuf_clear(&value);
	if (r == MAP_TEMP) {
		memo_note(m, l->setting, domain, "the lookup failed");
		return r;
	}
	if (best == l->n) {
		memo_note(m, l->setting, domain, "no match");
		return MAP_NONE;
	}
	memo_note(m, l->setting, domain, "matches %s%s",
	    l->at[best].negated ? "!" : "", l->at[best].text);
	return l->at[best].negated ? MAP_NONE : MAP_FOUND;
}

static bool
is_own_literal(const struct policy *p, struct slice domain)
{
	struct cidr addr;
	size_t i;

	if (!addr_is_literal(domain) || !cidr_parse_addr(domain, &addr)) {
		return false;
	}
	for (i = 0; i < p->nown; i++) {
		if (cidr_match(&p->own[i], &addr)) {
			return true;
		}
	}
	return false;
}

enum domain_class
policy_class(const struct policy *p, struct memo *m, struct slice domain)
{
	enum map_result r;

	if (is_own_literal(p, domain)) {
		memo_note(m, "listen", domain, "our own address");
		return DOMAIN_LOCAL;
	}
	r = domlist_match(&p->mydestination, m, domain);
	if (r == MAP_NONE) {
		r = domlist_match(&p->relay_domains, m, domain);
		if (r == MAP_NONE) {
			return DOMAIN_OUTSIDE;
		}
		return r == MAP_FOUND ? DOMAIN_RELAY : DOMAIN_TEMP;
	}
	return r == MAP_FOUND ? DOMAIN_LOCAL : DOMAIN_TEMP;
}

enum map_result
netlist_match(const struct netlist *l, struct memo *m, struct slice addr,
    const char **which)
{
	struct strbuf value;
	enum map_result r = MAP_NONE;
	struct cidr c;
	size_t i;

	*which = "";
	if (!cidr_parse_addr(addr, &c)) {
		return MAP_NONE;
	}
	strbuf_init(&value, 0);
	for (i = 0; i < l->n && r == MAP_NONE; i++) {
		if (l->at[i].map != NULL) {
			r = memo_map(m, l->at[i].map, addr, &value);
		} else if (cidr_match(&l->at[i].net, &c)) {
			r = MAP_FOUND;
		}
		if (r != MAP_NONE) {
			*which = l->at[i].text;
		}
		if (r == MAP_FOUND && l->at[i].negated) {
			r = MAP_NONE;
			break;
		}
	}
	strbuf_clear(&value);
	return r;
}

bool
policy_is_my_network(const struct policy *p, struct slice client_addr)
{
	const char *which;

	return netlist_match(&p->mynetworks, NULL, client_addr, &which) ==
	    MAP_FOUND;
}

void
lookup_addr_init(struct lookup_addr *a)
{
	*a = (struct lookup_addr){ .has_ext = false };
	strbuf_init(&a->text, 0);
}

void
lookup_addr_clear(struct lookup_addr *a)
{
	strbuf_clear(&a->text);
}

/* Names that Postfix never splits (split_addr.c). */
static bool
never_split(struct slice local, char delimiter)
{
	static const char *const names[] = { "postmaster", "mailer-daemon",
		"double-bounce" };
	size_t i;

	for (i = 0; i < NELEMS(names); i++) {
		if (slice_eq(local, slice_of(names[i]))) {
			return true;
		}
	}
	return delimiter == '-' && ((local.n > 6 &&
	    memcmp(local.p, "owner-", 6) == 0) || (local.n > 8 &&
	    memcmp(local.p + local.n - 8, "-request", 8) == 0));
}

static void
split_ext(const struct policy *p, struct lookup_addr *a)
{
	size_t at;

	a->user = a->local;
	a->ext = slice_make("", 0);
	a->has_ext = false;
	if (p->delimiter == '\0' || never_split(a->local, p->delimiter)) {
		return;
	}
	at = slice_find(a->local, p->delimiter);
	if (at > 0 && at < a->local.n) {
		a->user = slice_make(a->local.p, at);
		a->ext = slice_make(a->local.p + at + 1, a->local.n - at - 1);
		a->has_ext = true;
	}
}

bool
lookup_addr_set(const struct policy *p, struct slice address,
    struct lookup_addr *a)
{
	struct addr parsed;
	size_t i, n;

	if (addr_parse_mailbox(address, ADDR_ALLOW_BARE, &parsed) != ADDR_OK) {
		return false;
	}
	strbuf_reset(&a->text);
	addr_local_value(&parsed, &a->text);
	n = a->text.n;
	(void)strbuf_add_char(&a->text, '@');
	(void)strbuf_add_slice(&a->text, parsed.domain);
	for (i = 0; i < a->text.n; i++) {
		a->text.p[i] = ascii_lower(a->text.p[i]);
	}
	a->local = slice_make(a->text.p, n);
	a->domain = slice_make(a->text.p + n + 1, a->text.n - n - 1);
	split_ext(p, a);
	return true;
}

enum map_result
maplist_find(const struct maplist *l, struct memo *m, struct slice key,
    struct strbuf *value)
{
	enum map_result r = MAP_NONE;
	size_t i;

	for (i = 0; i < l->n && r == MAP_NONE; i++) {
		r = memo_map(m, l->at[i], key, value);
	}
	return r;
}

/* Is a bare name a key for addresses of this domain? */
static enum map_result
bare_keys(const struct policy *p, struct memo *m, struct slice domain)
{
	if (slice_case_eq(domain, slice_of(p->myorigin)) ||
	    is_own_literal(p, domain)) {
		return MAP_FOUND;
	}
	return domlist_match(&p->mydestination, m, domain);
}

enum map_result
policy_find(const struct policy *p, struct memo *m, const struct maplist *l,
    const struct lookup_addr *a, struct found *f)
{
	/* local, with domain?, is it the whole local-part? */
	const struct {
		struct slice local;
		bool domain, use, whole;
	} keys[] = {
		{ a->local, true, true, true },
		{ a->user, true, a->has_ext, false },
		{ a->local, false, true, true },
		{ a->user, false, a->has_ext, false },
		{ { "", 0 }, true, true, !a->has_ext },
	};
	enum map_result r = l->n > 0 ? bare_keys(p, m, a->domain) : MAP_NONE;
	bool bare = r == MAP_FOUND;
	struct strbuf key;
	size_t i;

	f->ext_unmatched = f->by_domain = false;
	if (l->n == 0 || r == MAP_TEMP) {
		return r;
	}
	strbuf_init(&key, 0);
	r = MAP_NONE;
	for (i = 0; i < NELEMS(keys) && r == MAP_NONE; i++) {
		if (!keys[i].use || (!keys[i].domain && !bare)) {
			continue;
		}
		strbuf_reset(&key);
		(void)strbuf_add_slice(&key, keys[i].local);
		if (keys[i].domain) {
			(void)strbuf_add_char(&key, '@');
			(void)strbuf_add_slice(&key, a->domain);
		}
		f->ext_unmatched = !keys[i].whole;
		f->by_domain = keys[i].local.n == 0;
		r = maplist_find(l, m, strbuf_slice(&key), &f->value);
	}
	strbuf_clear(&key);
	return r;
}

enum map_result
policy_transport(const struct policy *p, struct memo *m,
    const struct lookup_addr *a, struct strbuf *value)
{
	const struct maplist *l = &p->transport;
	enum map_result r;
	struct strbuf key;
	size_t at;

	if (l->n == 0) {
		return MAP_NONE;
	}
	r = maplist_find(l, m, strbuf_slice(&a->text), value);
	if (r == MAP_NONE && a->has_ext) {
		strbuf_init(&key, 0);
		(void)strbuf_add_slice(&key, a->user);
		(void)strbuf_add_char(&key, '@');
		(void)strbuf_add_slice(&key, a->domain);
		r = maplist_find(l, m, strbuf_slice(&key), value);
		strbuf_clear(&key);
	}
	for (at = 0; r == MAP_NONE && at < a->domain.n; at++) {
		if (at == 0 || a->domain.p[at] == '.') {
			r = maplist_find(l, m, slice_make(a->domain.p + at,
			    a->domain.n - at), value);
		}
	}
	return r == MAP_NONE ? maplist_find(l, m, SL("*"), value) : r;
}

void
policy_target_address(const struct policy *p, const struct alias_target *t,
    struct slice address, const struct lookup_addr *a, bool ext_unmatched,
    struct strbuf *out)
{
	struct slice text = t->text, domain = slice_of(p->myorigin);
	struct strbuf local;
	struct addr parsed = { { "", 0 }, { "", 0 } };

	strbuf_init(&local, 0);
	if (t->kind == ALIAS_DOMAIN) {
		text = address;
		ext_unmatched = false;
	}
	(void)addr_parse_mailbox(text, ADDR_ALLOW_BARE, &parsed);
	addr_local_value(&parsed, &local);
	if (ext_unmatched) {
		(void)strbuf_add_char(&local, p->delimiter);
		(void)strbuf_add_slice(&local, a->ext);
	}
	if (t->kind == ALIAS_DOMAIN) {
		domain = t->text;
	} else if (!t->bare) {
		domain = parsed.domain;
	}
	addr_print(strbuf_slice(&local), domain, out);
	strbuf_clear(&local);
}

enum map_result
policy_canonical_traced(const struct policy *p, struct memo *m,
    struct slice address, struct strbuf *out)
{
	struct lookup_addr a;
	struct alias_target t;
	struct found f;
	struct strbuf buf;
	struct slice rest;
	enum map_result r = MAP_NONE;
	const char *why = "several addresses";

	if (p->canonical.n == 0) {
		return MAP_NONE;
	}
	lookup_addr_init(&a);
	strbuf_init(&f.value, 0);
	strbuf_init(&buf, 0);
	if (lookup_addr_set(p, address, &a) && a.domain.n > 0) {
		r = policy_find(p, m, &p->canonical, &a, &f);
	}
	strbuf_reset(out);
	if (r == MAP_FOUND) {
		rest = strbuf_slice(&f.value);
		r = MAP_TEMP;
		if (aliases_next(&rest, &t, &buf, &why) == ALIAS_NEXT &&
		    slice_trim(rest).n == 0) {
			why = "not an address";
			if (t.kind <= ALIAS_DOMAIN && !t.escaped) {
				policy_target_address(p, &t, address, &a,
				    f.ext_unmatched, out);
				r = MAP_FOUND;
			}
		}
		if (r == MAP_TEMP) {
			(void)strbuf_printf(out, "canonical_maps: %s", why);
		}
	} else if (r == MAP_TEMP) {
		(void)strbuf_add_slice(out, strbuf_slice(&f.value));
	}
	lookup_addr_clear(&a);
	strbuf_clear(&f.value);
	strbuf_clear(&buf);
	return r;
}

enum map_result
policy_canonical(const struct policy *p, struct slice address,
    struct strbuf *out)
{
	return policy_canonical_traced(p, NULL, address, out);
}

void
policy_complete(const struct policy *p, struct slice address,
    struct strbuf *out)
{
	struct lookup_addr a;

	(void)strbuf_add_slice(out, address);
	lookup_addr_init(&a);
	if (lookup_addr_set(p, address, &a)) {
		if (a.domain.n == 0) {
			(void)strbuf_printf(out, "@%s", p->myorigin);
		} else if (slice_find(a.domain, '.') == a.domain.n &&
		    a.domain.p[0] != '[' && p->mydomain[0] != '\0' &&
		    domlist_match(&p->mydestination, NULL, a.domain) ==
		    MAP_NONE) {
			(void)strbuf_printf(out, ".%s", p->mydomain);
		}
	}
	lookup_addr_clear(&a);
}
