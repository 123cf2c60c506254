/* veredus queue, flush, hold, release, requeue, delete: asked of qmgr. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/ctl.h"
#include "tools/verbs.h"

/* The words after the options; `verb' goes before them. */
static int
ask(struct tool *t, const char *verb, int argc, char **argv)
{
	const char *words[CTL_WORDS_MAX];
	size_t n = 0, count = 0;
	int i, code;

	words[n++] = verb;
	for (i = optind; i < argc && n < NELEMS(words); i++) {
		words[n++] = argv[i];
	}
	tool_need_sockets(t);
	code = tool_ask(t, TOOL_QUEUE, words, n, &count);
	if (code == 0 && count == 0 && !t->json && strcmp(verb, "list") == 0) {
		(void)puts(n == 1 ? "Mail queue is empty" :
		    "no message fits");
	}
	return code;
}

int
verb_queue(struct tool *t, int argc, char **argv)
{
	const char *verb = "list";
	int c;

	while ((c = getopt(argc, argv, "j")) != -1) {
		if (c != 'j') {
			return verb_usage(t, argv[0]);
		}
		t->json = true;
	}
	if (optind < argc && (strcmp(argv[optind], "list") == 0 ||
	    strcmp(argv[optind], "count") == 0)) {
		verb = argv[optind++];
	}
	return ask(t, verb, argc, argv);
}

/* What flush, hold, release, requeue and delete have in common. */
static int
act(struct tool *t, int argc, char **argv, bool needs_target)
{
	if (getopt(argc, argv, "") != -1 || (needs_target && optind == argc)) {
		return verb_usage(t, argv[0]);
	}
	return ask(t, argv[0], argc, argv);
}

int
verb_flush(struct tool *t, int argc, char **argv)
{
	return act(t, argc, argv, false);
}

int
verb_hold(struct tool *t, int argc, char **argv)
{
	return act(t, argc, argv, true);
}

int
verb_release(struct tool *t, int argc, char **argv)
{
	return act(t, argc, argv, true);
}

int
verb_requeue(struct tool *t, int argc, char **argv)
{
	return act(t, argc, argv, true);
}

int
verb_delete(struct tool *t, int argc, char **argv)
{
	return act(t, argc, argv, true);
}
