/*
 * check - would cleanup start with these settings? Opens every map, as cleanup
 * does. For master's reload and `veredus check', which run it in a child under
 * cleanup's account (common/under.h), never with their own rights.
 */
#ifndef CLEANUP_CHECK_H
#define CLEANUP_CHECK_H

#include "common/settings.h"
#include "common/strbuf.h"

/* For both `arg' is the settings (const struct settings *). */
/* What cleanup does before its rights go away. */
void cleanup_check_prepare(void *arg);
/* False: lines in `why'. */
bool cleanup_check(void *arg, struct strbuf *why);
/* The same; when all is well, the lines are what an administrator should know. */
bool cleanup_check_and_warn(void *arg, struct strbuf *why);

#endif
