/* cidr: - networks in order; a key that is no address matches none. */
#include "config.h"

#include <stdlib.h>

#include "common/cidr.h"
#include "common/map_impl.h"
#include "common/mapentries.h"
#include "common/textlines.h"
#include "common/xmalloc.h"

struct rule {
	struct cidr net;
	bool negated; /* matches what is outside */
	char *value;
};

struct rules {
	struct rule *at;
	size_t n;
};

static bool
add_rule(struct rules *r, struct slice net, struct slice value,
    const char *where, unsigned number, struct strbuf *why)
{
	struct rule *rule;
	struct cidr c;
	bool negated = net.n > 0 && net.p[0] == '!';
	const char *bad;

	if (negated) {
		net = slice_trim(slice_make(net.p + 1, net.n - 1));
	}
	bad = value.n == 0 ? "the value is missing" : cidr_parse_net(net, &c);
	if (bad != NULL) {
		(void)strbuf_printf(why, "%s:%u: %s: ", where, number, bad);
		strbuf_add_quoted(why, net, 60);
		(void)strbuf_add_char(why, '\n');
		return false;
	}
	r->at = xreallocarray(r->at, r->n + 1, sizeof(*r->at));
	rule = &r->at[r->n++];
	*rule = (struct rule){ c, negated, xslicedup(value) };
	return true;
}

/* "net value" and "net=value"; neither addresses nor "!" contain these. */
static bool
add_line(struct rules *r, struct slice line, const char *seps,
    const char *where, unsigned number, struct strbuf *why)
{
	size_t at = 0;
	struct slice net, rest;

	while (at < line.n && (line.p[at] == '!' ||
	    (at > 0 && line.p[at - 1] == '!' && ascii_isspace(line.p[at])))) {
		at++; /* "! net" is "!net" */
	}
	while (at < line.n && strchr(seps, line.p[at]) == NULL) {
		at++;
	}
	net = slice_make(line.p, at);
	rest = slice_make(line.p + at, line.n - at);
	rest = slice_trim(rest);
	if (rest.n > 0 && seps[0] == '=' && rest.p[0] == '=') {
		rest = slice_trim(slice_make(rest.p + 1, rest.n - 1));
	}
	return add_rule(r, net, rest, where, number, why);
}

static bool
parse_file(struct rules *r, struct slice text, const char *path,
    struct strbuf *why)
{
	struct textlines t;
	struct slice line;
	unsigned number;
	bool ok = true;

	textlines_init(&t, text);
	while (textlines_next(&t, &line, &number)) {
		if (slice_find(line, '\0') < line.n) {
			ok = false;
			(void)strbuf_printf(why, "%s:%u: a NUL octet\n", path,
			    number);
			continue;
		}
		ok = add_line(r, line, " \t\r\n", path, number, why) && ok;
	}
	textlines_clear(&t);
	return ok;
}

static bool
open_cidr(struct map *m, struct slice name, struct strbuf *why)
{
	struct rules *r = xcalloc(1, sizeof(*r));
	struct slice inside, member;
	struct strbuf text;
	unsigned number = 0;
	bool ok = true;

	m->state = r;
	if (mapentries_braces(name, &inside)) {
		while (mapentries_member(&inside, &member)) {
			ok = add_line(r, member, "= \t\r\n", "cidr", ++number,
			    why) && ok;
		}
		return ok;
	}
	if (!map_path_good(name, why)) {
		return false;
	}
	m->path = xslicedup(name);
	strbuf_init(&text, 0);
	ok = map_file_read(m->path, &text, &m->trusted, why) &&
	    parse_file(r, strbuf_slice(&text), m->path, why);
	strbuf_clear(&text);
	return ok;
}

static enum map_result
lookup_cidr(struct map *m, struct slice key, struct strbuf *value)
{
	const struct rules *r = m->state;
	struct cidr addr;
	size_t i;

	if (!cidr_parse_addr(key, &addr)) {
		return MAP_NONE;
	}
	for (i = 0; i < r->n; i++) {
		if (cidr_match(&r->at[i].net, &addr) != r->at[i].negated) {
			(void)strbuf_add_str(value, r->at[i].value);
			return MAP_FOUND;
		}
	}
	return MAP_NONE;
}

static void
close_cidr(struct map *m)
{
	struct rules *r = m->state;
	size_t i;

	for (i = 0; i < r->n; i++) {
		free(r->at[i].value);
	}
	free(r->at);
	free(r);
}

const struct map_type map_cidr = { "cidr", open_cidr, lookup_cidr, close_cidr,
	NULL, NULL };
