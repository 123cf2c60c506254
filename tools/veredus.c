/*
 * veredus - the administrator's command: veredus [-c FILE] VERB [...].
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "tools/verbs.h"

const struct verb verbs[] = {
	{ "start", "[-f]", "start the mail system; -f: stay in the foreground",
	    verb_start },
	{ "stop", "", "stop it, in order", verb_stop },
	{ "reload", "", "read the settings anew; on any error the old stay",
	    verb_reload },
	{ "status", "[-j]", "the programs, their accounts and walls",
	    verb_status },
	{ "check", "[-v]", "what is wrong with settings, maps, directories",
	    verb_check },
	{ "config", "[-jnv] [NAME ...]",
	    "print settings; -n: those that the file sets; -v: with meaning",
	    verb_config },
	{ "map", "[-a] FILE ... | -q KEY MAP",
	    "compile text to FILE.cdb (-a: aliases); -q: ask a map", verb_map },
	{ "queue", "[-j] [-b | -s | -d | --simulate TIME | count] [FILTER ...]",
	    "the queue; -b: a line a message, -s: sums by age and destination, "
	    "-d: the destinations; --simulate: what will become of it; "
	    "filters: id= sender= recipient= domain= destination= age= "
	    "status=", verb_queue },
	{ "flush", "[ID | DOMAIN | FILTER ...]",
	    "try deferred mail now; nothing: all of it", verb_flush },
	{ "hold", "ID | all | FILTER ... | domain NAME [until TIME]",
	    "deliver it no further", verb_hold },
	{ "release", "ID | all | FILTER ... | domain NAME",
	    "end a hold, and try at once what is open", verb_release },
	{ "requeue", "ID | all | FILTER ...",
	    "expand the open recipients anew", verb_requeue },
	{ "cat", "ID", "a message as it is in the queue", verb_cat },
	{ "spool", "[-j] [-d DIR] status | check | dump [ID | SEGMENT]",
	    "the spool: how it is, is all readable, what is in it",
	    verb_spool },
	{ "trace", "[-j] CLIENT SENDER RECIPIENT",
	    "what would be done with such mail, and why; CLIENT: an address, "
	    "or local", verb_trace },
	{ "delete", "ID | all | FILTER ...", "remove it for good", verb_delete },
};
const size_t verb_count = NELEMS(verbs);

static const struct verb *
find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < verb_count; i++) {
		if (strcmp(verbs[i].name, name) == 0) {
			return &verbs[i];
		}
	}
	return NULL;
}

int
verb_usage(const struct tool *t, const char *name)
{
	const struct verb *v = find_verb(name);

	tool_say(t, "usage: veredus [-c FILE] %s %s", name,
	    v != NULL ? v->arguments : "");
	return EX_USAGE;
}

static void
print_help(FILE *to)
{
	size_t i;

	(void)fputs("usage: veredus [-c FILE] VERB [...]\n\n", to);
	for (i = 0; i < verb_count; i++) {
		(void)fprintf(to, "  %-8s %-20s %s\n", verbs[i].name,
		    verbs[i].arguments, verbs[i].meaning);
	}
	(void)fprintf(to, "\nThe settings are in %s, or where -c or "
	    "VEREDUS_CONF say.\n", TOOL_CONF_DEFAULT);
}

int
main(int argc, char **argv)
{
	const char *conf = NULL;
	const struct verb *v;
	struct tool t;
	int c, code;

	/* "+": the options behind the verb are the verb's. */
	while ((c = getopt(argc, argv, "+c:hV")) != -1) {
		switch (c) {
		case 'c':
			conf = optarg;
			break;
		case 'h':
			print_help(stdout);
			return 0;
		case 'V':
			(void)puts(PACKAGE_STRING);
			return 0;
		default:
			print_help(stderr);
			return EX_USAGE;
		}
	}
	tool_init(&t, "veredus", conf);
	if (optind == argc) {
		print_help(stderr);
		return EX_USAGE;
	}
	v = find_verb(argv[optind]);
	if (v == NULL) {
		tool_say(&t, "there is no verb \"%s\"; veredus -h lists them",
		    argv[optind]);
		return EX_USAGE;
	}
	argc -= optind;
	argv += optind;
	optind = 0; /* getopt starts over, with the verb's options */
	code = v->run(&t, argc, argv);
	tool_clear(&t);
	return code;
}
