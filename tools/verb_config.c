/* veredus config: the settings as they are in force. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "tools/rows.h"
#include "tools/verbs.h"

struct request {
	bool only_set, with_meaning;
	char **names;
	int nnames;
};

static bool
is_wanted(const struct request *rq, const struct tool *t, size_t i)
{
	int n;

	if (rq->only_set && t->source.line[i] == 0) {
		return false;
	}
	for (n = 0; n < rq->nnames; n++) {
		if (strcmp(rq->names[n], settings_table[i].name) == 0) {
			return true;
		}
	}
	return rq->nnames == 0;
}

/* As it could stand in a settings' file. */
static void
print_text(const struct request *rq, const struct tool *t, size_t i)
{
	struct strbuf line;
	const char *v;

	strbuf_init(&line, 0);
	if (rq->with_meaning) {
		(void)strbuf_printf(&line, "# %s\n",
		    settings_table[i].meaning);
		if (t->source.line[i] > 0) {
			(void)strbuf_printf(&line, "# %s, line %d\n", t->conf,
			    t->source.line[i]);
		} else {
			(void)strbuf_add_str(&line, "# the default\n");
		}
	}
	(void)strbuf_printf(&line, "%s =%s", settings_table[i].name,
	    t->source.value[i][0] != '\0' ? " " : "");
	for (v = t->source.value[i]; *v != '\0'; v++) {
		(void)strbuf_add_str(&line, *v == '$' ? "$" : "");
		(void)strbuf_add_char(&line, *v);
	}
	(void)strbuf_add_str(&line, rq->with_meaning ? "\n\n" : "\n");
	(void)fwrite(line.p, 1, line.n, stdout);
	strbuf_clear(&line);
}

static void
print_json(const struct tool *t, struct rows_out *out, size_t i)
{
	struct strbuf row;

	strbuf_init(&row, 0);
	row_add_s(&row, "name", slice_of(settings_table[i].name));
	row_add_s(&row, "value", slice_of(t->source.value[i]));
	row_add_s(&row, "raw", slice_of(t->source.raw[i]));
	row_add_u(&row, "is_default", t->source.line[i] == 0 ? 1 : 0);
	row_add_u(&row, "line", (uint64_t)t->source.line[i]);
	row_add_s(&row, "default", slice_of(settings_table[i].def));
	row_add_s(&row, "meaning", slice_of(settings_table[i].meaning));
	rows_put(out, strbuf_slice(&row));
	strbuf_clear(&row);
}

/* A name that is none ends it before anything is printed. */
static bool
names_are_known(const struct request *rq, const struct tool *t)
{
	const char *near;
	bool ok = true;
	int n;

	for (n = 0; n < rq->nnames; n++) {
		if (settings_find(slice_of(rq->names[n])) == NULL) {
			near = settings_nearest(slice_of(rq->names[n]));
			tool_say(t, "unknown setting \"%s\"%s%s%s",
			    rq->names[n], near != NULL ? " (did you mean " : "",
			    near != NULL ? near : "", near != NULL ? "?)" : "");
			ok = false;
		}
	}
	return ok;
}

int
verb_config(struct tool *t, int argc, char **argv)
{
	struct request rq = { false, false, NULL, 0 };
	struct rows_out out;
	size_t i;
	int c;

	while ((c = getopt(argc, argv, "jnv")) != -1) {
		switch (c) {
		case 'j':
			t->json = true;
			break;
		case 'n':
			rq.only_set = true;
			break;
		case 'v':
			rq.with_meaning = true;
			break;
		default:
			return verb_usage(t, argv[0]);
		}
	}
	rq.names = argv + optind;
	rq.nnames = argc - optind;
	if (!names_are_known(&rq, t)) {
		return EX_USAGE;
	}
	tool_need_settings(t);
	rows_begin(&out, stdout, true);
	for (i = 0; i < settings_count; i++) {
		if (is_wanted(&rq, t, i)) {
			if (t->json) {
				print_json(t, &out, i);
			} else {
				print_text(&rq, t, i);
			}
		}
	}
	return rows_end(&out) ? 0 : EX_IOERR;
}
