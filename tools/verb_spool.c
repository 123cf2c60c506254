/* veredus spool: of a running system asked of cleanup. */
#include "config.h"

#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "tools/verbs.h"

static int
status(struct tool *t)
{
	static const char *const words[] = { "spool" };

	tool_need_sockets(t);
	return tool_ask(t, TOOL_CLEANUP, words, 1, NULL);
}

int
verb_spool(struct tool *t, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "j")) != -1) {
		if (c != 'j') {
			return verb_usage(t, argv[0]);
		}
		t->json = true;
	}
	if (argc - optind != 1 || strcmp(argv[optind], "status") != 0) {
		return verb_usage(t, argv[0]);
	}
	return status(t);
}
