/* Alias files: lines to entries, and the loops between them. */
#include "config.h"

#include <stdlib.h>

#include "common/addr.h"
#include "common/aliases.h"
#include "common/textlines.h"
#include "common/xmalloc.h"

struct file {
	struct mapentries *e;
	const char *name;
	struct strbuf *errors;
	bool ok;
};

static void
complain(struct file *f, unsigned line, struct slice what, const char *why)
{
	f->ok = false;
	(void)strbuf_printf(f->errors, "%s:%u: ", f->name, line);
	if (what.n > 0) {
		strbuf_add_quoted(f->errors, what, 60);
		(void)strbuf_add_str(f->errors, ": ");
	}
	(void)strbuf_printf(f->errors, "%s\n", why);
}

/* Where the colon after the name stands; line.n: nowhere. */
static size_t
name_end(struct slice line)
{
	bool quoted = false;
	size_t i;

	for (i = 0; i < line.n && (quoted || line.p[i] != ':'); i++) {
		if (line.p[i] == '\\' && quoted) {
			i++;
		} else if (line.p[i] == '"') {
			quoted = !quoted;
		}
	}
	return i < line.n ? i : line.n;
}

/* The local-part's value; NULL or what is wrong. */
static const char *
take_name(struct slice text, struct strbuf *name)
{
	struct addr a;
	enum addr_err e = addr_parse_mailbox(text, ADDR_ALLOW_BARE, &a);

	if (e != ADDR_OK) {
		return text.n == 0 ? "the name before the colon is missing" :
		    "not a local name";
	}
	if (a.domain.n > 0) {
		return "an alias is a local name without a domain; "
		       "virtual_alias_maps redirect whole addresses";
	}
	addr_local_value(&a, name);
	return NULL;
}

static const char *
target_fault(const struct alias_target *t)
{
	switch (t->kind) {
	case ALIAS_ADDRESS:
		return NULL;
	case ALIAS_DOMAIN:
		return "not an address: the local-part is missing";
	case ALIAS_COMMAND:
		return "commands are not available in this version";
	case ALIAS_FILE:
		return "files are not available in this version";
	case ALIAS_INCLUDE:
		return ":include: is not available in this version";
	case ALIAS_DIRECTIVE:
		return "not available in this version";
	}
	return "not an address";
}

static void
check_targets(struct file *f, unsigned line, struct slice value)
{
	struct slice rest = value, before = rest;
	struct alias_target t;
	struct strbuf buf;
	const char *why = NULL;
	enum alias_next next;
	bool any = false;

	strbuf_init(&buf, 0);
	while ((next = aliases_next(&rest, &t, &buf, &why)) != ALIAS_END) {
		any = true;
		if (next == ALIAS_NEXT) {
			why = target_fault(&t);
		}
		if (why != NULL) {
			size_t n = before.n - rest.n;

			n -= n > 0 && before.p[n - 1] == ',' ? 1 : 0;
			complain(f, line, slice_trim(slice_make(before.p, n)),
			    why);
		}
		before = rest;
		why = NULL;
	}
	if (!any) {
		complain(f, line, slice_make("", 0), "no target");
	}
	strbuf_clear(&buf);
}

static void
take_line(struct file *f, struct slice line, unsigned number)
{
	size_t colon = name_end(line);
	struct slice name = slice_trim(slice_make(line.p, colon)), value;
	struct strbuf buf;
	const char *why;

	if (slice_find(line, '\0') < line.n) {
		complain(f, number, line, "a NUL octet");
		return;
	}
	if (colon == line.n) {
		complain(f, number, line, "not of the form name: target, ...");
		return;
	}
	value = slice_trim(slice_make(line.p + colon + 1, line.n - colon - 1));
	if (value.n > ALIASES_VALUE_MAX) {
		complain(f, number, name, "more than a million octets of "
		    "targets");
		return;
	}
	strbuf_init(&buf, 0);
	why = take_name(name, &buf);
	if (why != NULL) {
		complain(f, number, name, why);
	} else {
		mapentries_add(f->e, strbuf_slice(&buf), value, number);
	}
	check_targets(f, number, value);
	strbuf_clear(&buf);
}

/* -- loops ------------------------------------------------------------------- */

struct links {
	struct link {
		uint32_t from, to;
	} *at;
	size_t n, cap;
	bool *ends; /* by entry: leads to something that is no alias */
};

static void
add_link(struct links *l, uint32_t from, uint32_t to)
{
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 64 : l->cap * 2;
		l->at = xreallocarray(l->at, l->cap, sizeof(*l->at));
	}
	l->at[l->n++] = (struct link){ from, to };
}

static void
find_links(const struct mapentries *e, uint32_t i, struct links *l)
{
	struct slice rest = mapentries_value(e, i), key;
	struct alias_target t;
	struct strbuf buf, name;
	struct addr a;
	const char *why;
	uint32_t to;
	size_t n;

	strbuf_init(&buf, 0);
	strbuf_init(&name, 0);
	while (aliases_next(&rest, &t, &buf, &why) == ALIAS_NEXT) {
		strbuf_reset(&name);
		if (addr_parse_mailbox(t.text, ADDR_ALLOW_BARE, &a) ==
		    ADDR_OK) {
			addr_local_value(&a, &name);
		}
		for (n = 0; n < name.n; n++) {
			name.p[n] = ascii_lower(name.p[n]);
		}
		key = strbuf_slice(&name);
		if (t.kind != ALIAS_ADDRESS || !t.bare || t.escaped ||
		    !table_get(&e->index, key, &to) || to == i) {
			l->ends[i] = true;
		} else {
			add_link(l, i, to);
		}
	}
	strbuf_clear(&name);
	strbuf_clear(&buf);
}

static void
follow_links(struct links *l)
{
	bool again;
	size_t i;

	do {
		again = false;
		for (i = 0; i < l->n; i++) { /* there and back: few passes */
			struct link *a = &l->at[i], *b = &l->at[l->n - 1 - i];

			if (!l->ends[a->from] && l->ends[a->to]) {
				l->ends[a->from] = again = true;
			}
			if (!l->ends[b->from] && l->ends[b->to]) {
				l->ends[b->from] = again = true;
			}
		}
	} while (again);
}

static void
check_loops(struct file *f)
{
	struct links l = { 0 };
	uint32_t i;

	l.ends = xcalloc(f->e->n, sizeof(bool));
	for (i = 0; i < f->e->n; i++) {
		find_links(f->e, i, &l);
	}
	follow_links(&l);
	for (i = 0; i < f->e->n; i++) {
		if (!l.ends[i]) {
			complain(f, f->e->at[i].line, mapentries_key(f->e, i),
			    "a loop: leads to aliases only that lead back");
		}
	}
	free(l.ends);
	free(l.at);
}

bool
aliases_parse(struct mapentries *e, struct slice text, const char *name,
    struct strbuf *errors)
{
	struct file f = { e, name, errors, true };
	struct textlines t;
	struct slice line;
	unsigned number;

	textlines_init(&t, text);
	while (textlines_next(&t, &line, &number)) {
		take_line(&f, line, number);
	}
	textlines_clear(&t);
	if (!mapentries_seal(e, name, errors)) {
		f.ok = false;
	}
	if (f.ok) {
		check_loops(&f);
	}
	return f.ok;
}
