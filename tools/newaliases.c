/*
 * newaliases - compile the alias files: newaliases [-C FILE]. All are checked
 * before the first is written; on any error every old map stays in force.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "tools/mapmake.h"
#include "tools/tool.h"

static int
compile(const struct tool *t)
{
	const struct strlist *files = &t->settings.alias_files;
	struct mapmake *m = xcalloc(files->n, sizeof(*m));
	struct strbuf errors;
	bool ok = true;
	size_t i;

	strbuf_init(&errors, 0);
	for (i = 0; i < files->n; i++) {
		ok = mapmake_read(&m[i], files->at[i], MAPMAKE_ALIASES,
		    t->settings.alias_recursion_limit, &errors) && ok;
	}
	for (i = 0; i < files->n && ok; i++) {
		ok = mapmake_write(&m[i], &errors);
		if (ok) {
			(void)printf("%s: %zu aliases, longest %zu bytes, %zu "
			    "bytes total\n", m[i].path, m[i].entries.n,
			    m[i].longest, m[i].total);
		}
	}
	for (i = 0; i < files->n; i++) {
		mapmake_clear(&m[i]);
	}
	free(m);
	if (!ok) {
		(void)fflush(stdout);
		(void)fputs(errors.p, stderr);
		tool_say(t, "the aliases before stay in force");
	}
	strbuf_clear(&errors);
	return ok ? 0 : EX_DATAERR;
}

int
main(int argc, char **argv)
{
	const char *conf = NULL;
	struct tool t;
	int c, code;

	while ((c = getopt(argc, argv, "C:c:hV")) != -1) {
		switch (c) {
		case 'C':
		case 'c':
			conf = optarg;
			break;
		case 'h':
			(void)puts("usage: newaliases [-C FILE]");
			return 0;
		case 'V':
			(void)puts(PACKAGE_STRING);
			return 0;
		default:
			(void)fputs("usage: newaliases [-C FILE]\n", stderr);
			return EX_USAGE;
		}
	}
	tool_init(&t, "newaliases", conf);
	if (optind < argc) {
		tool_die(&t, EX_USAGE, "the files to compile stand in "
		    "alias_files; `veredus map' compiles others");
	}
	tool_need_settings(&t);
	if (t.settings.alias_files.n == 0) {
		tool_say(&t, "%s: alias_files is empty: nothing to do", t.conf);
	}
	code = compile(&t);
	tool_clear(&t);
	return code;
}
