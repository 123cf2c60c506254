/*
 * Keys and values stand one after the other in `store'; the index is made last,
 * when they do not move any more.
 */
#include "config.h"

#include <stdlib.h>

#include "common/mapentries.h"
#include "common/textlines.h"
#include "common/xmalloc.h"

void
mapentries_init(struct mapentries *e)
{
	*e = (struct mapentries){ 0 };
	strbuf_init(&e->store, 0);
	table_init(&e->index);
}

void
mapentries_clear(struct mapentries *e)
{
	table_clear(&e->index);
	strbuf_clear(&e->store);
	free(e->at);
	mapentries_init(e);
}

void
mapentries_add(struct mapentries *e, struct slice key, struct slice value,
    unsigned line)
{
	struct mapentry *m;
	size_t i;

	if (e->n == e->cap) {
		e->cap = e->cap == 0 ? 16 : e->cap * 2;
		e->at = xreallocarray(e->at, e->cap, sizeof(*e->at));
	}
	m = &e->at[e->n++];
	*m = (struct mapentry){ e->store.n, key.n, e->store.n + key.n, value.n,
		line };
	(void)strbuf_add_slice(&e->store, key);
	(void)strbuf_add_slice(&e->store, value);
	for (i = 0; i < key.n; i++) {
		e->store.p[m->key + i] = ascii_lower(e->store.p[m->key + i]);
	}
}

static struct slice
stored(const struct mapentries *e, size_t at, size_t n)
{
	return slice_make(e->store.p != NULL ? e->store.p + at : "", n);
}

struct slice
mapentries_key(const struct mapentries *e, size_t i)
{
	return stored(e, e->at[i].key, e->at[i].key_n);
}

struct slice
mapentries_value(const struct mapentries *e, size_t i)
{
	return stored(e, e->at[i].value, e->at[i].value_n);
}

bool
mapentries_seal(struct mapentries *e, const char *name, struct strbuf *errors)
{
	bool ok = true;
	uint32_t first;
	size_t i;

	for (i = 0; i < e->n; i++) {
		if (table_add(&e->index, mapentries_key(e, i), (uint32_t)i)) {
			continue;
		}
		ok = false;
		(void)table_get(&e->index, mapentries_key(e, i), &first);
		(void)strbuf_printf(errors, "%s:%u: ", name, e->at[i].line);
		strbuf_add_quoted(errors, mapentries_key(e, i), 200);
		(void)strbuf_printf(errors, " stands already in line %u\n",
		    e->at[first].line);
	}
	return ok;
}

bool
mapentries_find(const struct mapentries *e, struct slice key,
    struct slice *value)
{
	uint32_t i;

	if (!table_get(&e->index, key, &i)) {
		return false;
	}
	*value = mapentries_value(e, i);
	return true;
}

/* A key in double quotes; a backslash takes the next octet as it is. */
static const char *
split_quoted(struct slice line, struct strbuf *key, size_t *used)
{
	size_t i;

	for (i = 1; i < line.n && line.p[i] != '"'; i++) {
		if (line.p[i] == '\\' && i + 1 < line.n) {
			i++;
		}
		(void)strbuf_add_char(key, line.p[i]);
	}
	if (i >= line.n) {
		return "the quoted key has no end";
	}
	*used = i + 1;
	return NULL;
}

const char *
mapentries_split(struct slice line, struct strbuf *key, struct slice *value)
{
	size_t at = 0, before = key->n;
	const char *why;

	if (line.n > 0 && line.p[0] == '"') {
		why = split_quoted(line, key, &at);
		if (why != NULL) {
			return why;
		}
		if (at < line.n && line.p[at] == ':') {
			at++;
		}
		if (at < line.n && !ascii_isspace(line.p[at])) {
			return "white space is missing after the quoted key";
		}
	} else {
		while (at < line.n && !ascii_isspace(line.p[at])) {
			at++;
		}
		(void)strbuf_add(key, line.p, at);
		if (key->n - before > 1 && key->p[key->n - 1] == ':') {
			key->p[--key->n] = '\0';
		}
	}
	*value = slice_trim(slice_make(line.p + at, line.n - at));
	if (key->n == before) {
		return "the key is empty";
	}
	return value->n == 0 ? "the key has no value" : NULL;
}

static void
complain(struct strbuf *errors, const char *name, unsigned line,
    struct slice text, const char *why)
{
	(void)strbuf_printf(errors, "%s:%u: %s: ", name, line, why);
	strbuf_add_quoted(errors, text, 60);
	(void)strbuf_add_char(errors, '\n');
}

bool
mapentries_parse(struct mapentries *e, struct slice text, const char *name,
    struct strbuf *errors)
{
	struct textlines t;
	struct slice line, value;
	struct strbuf key;
	const char *why;
	bool ok = true;
	unsigned number;

	strbuf_init(&key, 0);
	textlines_init(&t, text);
	while (textlines_next(&t, &line, &number)) {
		strbuf_reset(&key);
		why = slice_find(line, '\0') < line.n ? "a NUL octet" :
		    mapentries_split(line, &key, &value);
		if (why != NULL) {
			ok = false;
			complain(errors, name, number, line, why);
			continue;
		}
		mapentries_add(e, strbuf_slice(&key), value, number);
	}
	textlines_clear(&t);
	strbuf_clear(&key);
	return mapentries_seal(e, name, errors) && ok;
}

bool
mapentries_braces(struct slice text, struct slice *inside)
{
	text = slice_trim(text);
	if (text.n < 2 || text.p[0] != '{' || text.p[text.n - 1] != '}') {
		return false;
	}
	*inside = slice_make(text.p + 1, text.n - 2);
	return true;
}

bool
mapentries_member(struct slice *rest, struct slice *member)
{
	unsigned depth;
	size_t i;

	while (rest->n > 0) {
		depth = 0;
		for (i = 0; i < rest->n; i++) {
			char c = rest->p[i];

			depth += c == '{' ? 1 : 0;
			depth -= c == '}' && depth > 0 ? 1 : 0;
			if (c == ',' && depth == 0) {
				break;
			}
		}
		*member = slice_trim(slice_make(rest->p, i));
		i += i < rest->n ? 1 : 0;
		*rest = slice_make(rest->p + i, rest->n - i);
		(void)mapentries_braces(*member, member);
		*member = slice_trim(*member);
		if (member->n > 0) {
			return true;
		}
	}
	return false;
}

bool
mapentries_parse_inline(struct mapentries *e, struct slice text,
    const char *name, struct strbuf *errors)
{
	struct slice inside, member, key, value;
	unsigned number = 0;
	bool ok = true;
	size_t at;

	if (!mapentries_braces(text, &inside)) {
		(void)strbuf_printf(errors, "%s: not of the form "
		    "{ key=value, ... }\n", name);
		return false;
	}
	while (mapentries_member(&inside, &member)) {
		number++;
		at = slice_find(member, '=');
		key = slice_trim(slice_make(member.p, at));
		value = at == member.n ? slice_make("", 0) : slice_trim(
		    slice_make(member.p + at + 1, member.n - at - 1));
		(void)mapentries_braces(value, &value);
		value = slice_trim(value);
		if (key.n == 0 || value.n == 0) {
			ok = false;
			complain(errors, name, number, member,
			    "not of the form key=value");
			continue;
		}
		mapentries_add(e, key, value, number);
	}
	return mapentries_seal(e, name, errors) && ok;
}
