/*
 * veredus map: compile text files to cdb files, or ask a map as it is now.
 *     map [-a] FILE ...   each to FILE.cdb; -a: alias files
 *     map -q KEY MAP      MAP is type:name, or a setting (alias_maps)
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/map.h"
#include "common/xmalloc.h"
#include "tools/mapmake.h"
#include "tools/verbs.h"

static int
compile_one(const struct tool *t, const char *path, enum mapmake_kind kind)
{
	struct mapmake m;
	struct strbuf errors;
	bool ok;

	strbuf_init(&errors, 0);
	/* any depth, where no settings were read */
	ok = mapmake_read(&m, path, kind, t->settings.alias_recursion_limit,
	    &errors) &&
	    mapmake_write(&m, &errors);
	if (ok) {
		(void)printf("%s: %zu entries, longest %zu bytes, %zu bytes "
		    "total\n", path, m.entries.n, m.longest, m.total);
	} else {
		(void)fputs(errors.p, stderr);
		tool_say(t, "%s: the map before stays in force", path);
	}
	mapmake_clear(&m);
	strbuf_clear(&errors);
	return ok ? 0 : EX_DATAERR;
}

/* 0 found and printed, 1 not there, else an exit code. */
static int
ask_one(const struct tool *t, struct slice key, const char *spec)
{
	struct strbuf value;
	struct map *m;
	int code = 1;

	strbuf_init(&value, 0);
	m = map_open(slice_of(spec), &value);
	if (m == NULL) {
		(void)fputs(value.p, stderr);
		strbuf_clear(&value);
		return EX_CONFIG;
	}
	switch (map_lookup(m, key, &value)) {
	case MAP_FOUND:
		(void)fwrite(value.p, 1, value.n, stdout);
		(void)fputc('\n', stdout);
		code = 0;
		break;
	case MAP_NONE:
		break;
	case MAP_TEMP:
		tool_say(t, "%s", value.p);
		code = EX_TEMPFAIL;
		break;
	}
	map_close(m);
	strbuf_clear(&value);
	return code;
}

/* The maps that the setting `name' lists, in order. */
static int
ask_setting(struct tool *t, struct slice key, const char *name)
{
	const struct set_row *row = settings_find(slice_of(name));
	const char *base;
	struct strlist list;
	int code = 1;
	size_t i;

	if (row == NULL || row->type != SET_LIST) {
		tool_say(t, "%s is neither type:name nor a setting that lists "
		    "maps", name);
		return EX_USAGE;
	}
	tool_need_settings(t);
	base = (const char *)&t->settings;
	memcpy(&list, base + row->offset, sizeof(list));
	for (i = 0; i < list.n && code == 1; i++) {
		code = ask_one(t, key, list.at[i]);
	}
	return code;
}

static int
ask(struct tool *t, const char *key, const char *where)
{
	struct slice k = slice_of(key);
	char *lower = xslicedup(k);
	size_t i;
	int code;

	for (i = 0; i < k.n; i++) {
		lower[i] = ascii_lower(lower[i]);
	}
	k.p = lower;
	code = strchr(where, ':') != NULL ? ask_one(t, k, where) :
	    ask_setting(t, k, where);
	free(lower);
	return code;
}

int
verb_map(struct tool *t, int argc, char **argv)
{
	enum mapmake_kind kind = MAPMAKE_MAP;
	const char *key = NULL;
	int c, one, code = 0;

	while ((c = getopt(argc, argv, "aq:")) != -1) {
		switch (c) {
		case 'a':
			kind = MAPMAKE_ALIASES;
			break;
		case 'q':
			key = optarg;
			break;
		default:
			return verb_usage(t, argv[0]);
		}
	}
	if (optind == argc || (key != NULL && (optind + 1 != argc ||
	    kind == MAPMAKE_ALIASES))) {
		return verb_usage(t, argv[0]);
	}
	if (key != NULL) {
		return ask(t, key, argv[optind]);
	}
	for (; optind < argc; optind++) {
		one = compile_one(t, argv[optind], kind);
		code = one != 0 ? one : code;
	}
	return code;
}
