/* file:, inline: and static: - what is kept in memory from the load on. */
#include "config.h"

#include <stdlib.h>

#include "common/map_impl.h"
#include "common/mapentries.h"
#include "common/xmalloc.h"

static struct mapentries *
entries_new(struct map *m)
{
	struct mapentries *e = xcalloc(1, sizeof(*e));

	mapentries_init(e);
	m->state = e;
	return e;
}

static bool
open_file(struct map *m, struct slice name, struct strbuf *why)
{
	struct strbuf text;
	bool ok;

	if (!map_path_good(name, why)) {
		return false;
	}
	m->path = xslicedup(name);
	strbuf_init(&text, 0);
	ok = map_file_read(m->path, &text, &m->trusted, why) &&
	    mapentries_parse(entries_new(m), strbuf_slice(&text), m->path, why);
	strbuf_clear(&text);
	return ok;
}

static bool
open_inline(struct map *m, struct slice name, struct strbuf *why)
{
	return mapentries_parse_inline(entries_new(m), name, "inline", why);
}

static enum map_result
lookup_entries(struct map *m, struct slice key, struct strbuf *value)
{
	struct slice found;

	if (!mapentries_find(m->state, key, &found)) {
		return MAP_NONE;
	}
	(void)strbuf_add_slice(value, found);
	return MAP_FOUND;
}

static void
each_entry(struct map *m, map_each_cb *cb, void *arg)
{
	const struct mapentries *e = m->state;
	size_t i;

	for (i = 0; i < e->n && cb(arg, mapentries_key(e, i),
	    mapentries_value(e, i)); i++) {
	}
}

static void
close_entries(struct map *m)
{
	mapentries_clear(m->state);
	free(m->state);
}

static bool
open_static(struct map *m, struct slice name, struct strbuf *why)
{
	(void)mapentries_braces(name, &name);
	name = slice_trim(name);
	if (name.n == 0) {
		(void)strbuf_add_str(why, "static: the value is missing\n");
		return false;
	}
	m->state = xslicedup(name);
	return true;
}

static enum map_result
lookup_static(struct map *m, struct slice key, struct strbuf *value)
{
	(void)key;
	(void)strbuf_add_str(value, m->state);
	return MAP_FOUND;
}

static void
each_static(struct map *m, map_each_cb *cb, void *arg)
{
	(void)cb(arg, SL("any key"), slice_of(m->state));
}

static void
close_static(struct map *m)
{
	free(m->state);
}

const struct map_type map_file = { "file", open_file, lookup_entries,
	close_entries, NULL, each_entry };
const struct map_type map_inline = { "inline", open_inline, lookup_entries,
	close_entries, NULL, each_entry };
const struct map_type map_static = { "static", open_static, lookup_static,
	close_static, NULL, each_static };
