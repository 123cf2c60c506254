/* Alias files: lines to entries. */
#include "config.h"

#include "common/addr.h"
#include "common/aliases.h"
#include "common/textlines.h"

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

bool
aliases_parse(struct mapentries *e, struct slice text, const char *name,
    uint64_t deepest, struct strbuf *errors)
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
	return f.ok && aliases_check_links(e, name, deepest, errors);
}
