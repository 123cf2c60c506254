/* veredus queue, flush, hold, release, requeue, delete: asked of qmgr. */
#include "config.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/ctl.h"
#include "tools/simulate.h"
#include "tools/until.h"
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
	if (code == 0 && count == 0 && !t->json && (strcmp(verb, "list") == 0 ||
	    strcmp(verb, "brief") == 0)) {
		(void)puts(n == 1 ? "Mail queue is empty" :
		    "no message fits");
	}
	return code;
}

/* What the first word may be, and the options that say the same. */
static const char *const views[] = { "list", "brief", "summary", "count" };

/* --simulate TIME [by=VIEW] [FILTER ...] */
static int
simulate(struct tool *t, struct simulate_options *o, int argc, char **argv)
{
	const char *filters[CTL_WORDS_MAX];
	size_t n = 0;
	int i;

	for (i = optind; i < argc && n < NELEMS(filters); i++) {
		if (strncmp(argv[i], "by=", 3) != 0) {
			filters[n++] = argv[i];
		} else if (!simulate_view(argv[i] + 3, &o->view)) {
			return verb_usage(t, argv[0]);
		}
	}
	return tool_simulate(t, o, filters, n);
}

int
verb_queue(struct tool *t, int argc, char **argv)
{
	static const struct option options[] = {
		{ "summary", no_argument, NULL, 's' },
		{ "brief", no_argument, NULL, 'b' },
		{ "destinations", no_argument, NULL, 'd' },
		{ "simulate", required_argument, NULL, 'S' },
		{ "assume-delivered", no_argument, NULL, 'D' },
		{ NULL, 0, NULL, 0 },
	};
	struct simulate_options sim = { .seconds = 0 };
	const char *verb = NULL;
	size_t i;
	int c;

	while ((c = getopt_long(argc, argv, "jsbd", options, NULL)) != -1) {
		if (c == 'j') {
			t->json = true;
		} else if (c == 's') {
			verb = "summary";
		} else if (c == 'b') {
			verb = "brief";
		} else if (c == 'd') {
			verb = "destinations";
		} else if (c == 'D') {
			sim.delivered = true;
		} else if (c != 'S' || !settings_read_seconds(slice_of(optarg),
		    &sim.seconds) || sim.seconds == 0) {
			return verb_usage(t, argv[0]);
		}
	}
	if (sim.seconds > 0) {
		return simulate(t, &sim, argc, argv);
	}
	for (i = 0; i < NELEMS(views) && verb == NULL && optind < argc; i++) {
		if (strcmp(argv[optind], views[i]) == 0) {
			verb = views[i];
			optind++;
		}
	}
	return ask(t, verb != NULL ? verb : "list", argc, argv);
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

/* The time in the last word becomes "@SECONDS": qmgr knows no time zone. */
int
verb_hold(struct tool *t, int argc, char **argv)
{
	char at[32];
	uint64_t until;
	int n;

	if (argc == 5 && strcmp(argv[1], "domain") == 0 &&
	    strcmp(argv[3], "until") == 0) {
		if (!until_parse(argv[4], (uint64_t)time(NULL), &until)) {
			(void)fprintf(stderr, "veredus: \"%s\" is no time like "
			    "2h, 17:30, 2026-01-31 or 2026-01-31T17:30\n",
			    argv[4]);
			return EX_USAGE;
		}
		n = snprintf(at, sizeof(at), "@%" PRIu64, until);
		argv[4] = n > 0 && (size_t)n < sizeof(at) ? at : argv[4];
	}
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
