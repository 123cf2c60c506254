/*
 * verbs - the verbs of veredus(8): one function each, one table (veredus.c).
 * argv[0] is the verb; each parses its own options. Returns the exit code
 * (sysexits.h).
 */
#ifndef TOOLS_VERBS_H
#define TOOLS_VERBS_H

#include "tools/tool.h"

typedef int verb_fn(struct tool *t, int argc, char **argv);

struct verb {
	const char *name, *arguments, *meaning;
	verb_fn *run;
};
extern const struct verb verbs[];
extern const size_t verb_count;

/* Says how the verb is used; returns EX_USAGE. */
int verb_usage(const struct tool *t, const char *name);

/* verb_master.c */
verb_fn verb_start, verb_stop, verb_reload, verb_status;
/* verb_check.c, verb_config.c, verb_map.c */
verb_fn verb_check, verb_config, verb_map;
/* verb_message.c */
verb_fn verb_cat, verb_trace;
/* verb_spool.c */
verb_fn verb_spool;
/* verb_queue.c */
verb_fn verb_queue, verb_flush, verb_hold, verb_release, verb_requeue,
    verb_delete;

#endif
