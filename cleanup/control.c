#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cleanup/control.h"
#include "cleanup/control_cat.h"
#include "cleanup/control_trace.h"
#include "common/map.h"
#include "common/strbuf.h"
#include "common/xmalloc.h"

/* -- map -------------------------------------------------------------------- */

/* As written, then in lower case: how text maps keep their keys. */
static enum map_result
lookup(struct map *m, struct slice key, struct strbuf *value)
{
	enum map_result r = map_lookup(m, key, value);
	struct strbuf lower;
	size_t i;

	if (r != MAP_NONE) {
		return r;
	}
	strbuf_init(&lower, 0);
	for (i = 0; i < key.n; i++) {
		(void)strbuf_add_char(&lower, ascii_lower(key.p[i]));
	}
	r = map_lookup(m, strbuf_slice(&lower), value);
	strbuf_clear(&lower);
	return r;
}

static void
put_value(struct ctl_session *cs, struct slice key, struct slice value)
{
	ctl_row_begin(cs);
	ctl_row_s(cs, "key", key);
	ctl_row_s(cs, "value", value);
	ctl_row_end(cs);
}

static void
ask_map(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct strbuf value, why;
	struct map *m;

	(void)arg;
	(void)nwords;
	strbuf_init(&value, 0);
	strbuf_init(&why, 0);
	m = map_open(words[2], &why);
	if (m == NULL) {
		ctl_end(cs, EX_CONFIG, "%s", why.n > 0 ? why.p : "no such map");
		strbuf_clear(&why);
		return;
	}
	switch (lookup(m, words[1], &value)) {
	case MAP_FOUND:
		put_value(cs, words[1], strbuf_slice(&value));
		ctl_end(cs, EX_OK, "%s", "");
		break;
	case MAP_NONE:
		ctl_end(cs, 1, "%.*s: not found in %s", SLF(words[1]),
		    map_spec(m));
		break;
	case MAP_TEMP:
		ctl_end(cs, EX_TEMPFAIL, "%s", value.n > 0 ? value.p :
		    "the lookup failed");
		break;
	}
	map_close(m);
	strbuf_clear(&value);
	strbuf_clear(&why);
}

/* -- spool ------------------------------------------------------------------- */

static void
spool_status(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	const struct program *pg = arg;
	struct spool_counters c;

	(void)words;
	(void)nwords;
	spool_counters(pg->spool, &c);
	ctl_row_begin(cs);
	ctl_row_u(cs, "messages", c.messages);
	ctl_row_u(cs, "corrupt", c.corrupt);
	ctl_row_u(cs, "without_file", c.unfiled);
	ctl_row_u(cs, "files_behind", c.unsettled);
	ctl_row_u(cs, "memory", c.memory);
	ctl_row_u(cs, "journal_used", c.journal_used);
	ctl_row_u(cs, "journal_size", c.journal_size);
	ctl_row_u(cs, "waiting", c.waiting);
	ctl_row_u(cs, "flushes", c.flushes);
	ctl_row_u(cs, "entries", c.entries);
	ctl_row_u(cs, "spilled", c.spilled);
	ctl_row_u(cs, "settled", c.settled);
	ctl_row_end(cs);
	ctl_end(cs, EX_OK, "%s", "");
}

const struct ctl_verb control_verbs[] = {
	/* name, admin, least and most words after it, handler */
	{ "cat", true, 1, 1, control_cat },
	{ "trace", true, 3, 3, control_trace },
	{ "map", true, 2, 2, ask_map },
	{ "spool", true, 0, 0, spool_status },
};
const size_t control_nverbs = NELEMS(control_verbs);
