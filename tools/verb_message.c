/* veredus cat, trace: asked of cleanup. */
#include "config.h"

#include <sysexits.h>
#include <unistd.h>

#include "tools/verbs.h"

static int
ask(struct tool *t, int argc, char **argv, int nwords)
{
	const char *words[4];
	size_t n = 0;
	int i;

	if (argc - optind != nwords) {
		return verb_usage(t, argv[0]);
	}
	words[n++] = argv[0];
	for (i = optind; i < argc; i++) {
		words[n++] = argv[i];
	}
	tool_need_sockets(t);
	return tool_ask(t, TOOL_CLEANUP, words, n, NULL);
}

int
verb_cat(struct tool *t, int argc, char **argv)
{
	if (getopt(argc, argv, "") != -1) {
		return verb_usage(t, argv[0]);
	}
	return ask(t, argc, argv, 1);
}

int
verb_trace(struct tool *t, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "j")) != -1) {
		if (c != 'j') {
			return verb_usage(t, argv[0]);
		}
		t->json = true;
	}
	return ask(t, argc, argv, 3);
}
