/*
 * aliases - the text of alias files and the values of alias and virtual maps.
 * Pure functions over memory.
 *
 *     name: target, target, ...
 *
 * A name is a local-part, in double quotes if it must; a target is an address
 * (a bare name is a local user), "\name" (that user, no aliasing), "|command",
 * "/file", ":include:/file" or another ":word:" directive. What has white space
 * or commas inside stands in double quotes as a whole.
 */
#ifndef COMMON_ALIASES_H
#define COMMON_ALIASES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/mapentries.h"
#include "common/slice.h"
#include "common/strbuf.h"

#define ALIASES_NAME_MAX   255          /* octets of a name */
#define ALIASES_TARGET_MAX 4096         /* octets of a target */
#define ALIASES_VALUE_MAX  (1024 * 1024) /* octets of all targets of a name */

enum alias_kind {
	ALIAS_ADDRESS,   /* text: the canonical text of the address */
	ALIAS_DOMAIN,    /* "@domain", in virtual maps; text: the domain */
	ALIAS_COMMAND,   /* text: the command, without the bar */
	ALIAS_FILE,      /* text: the path */
	ALIAS_INCLUDE,   /* text: the path */
	ALIAS_DIRECTIVE, /* text: ":word:..." as written */
};

struct alias_target {
	enum alias_kind kind;
	bool escaped;      /* "\name" */
	bool bare;         /* an address without domain */
	struct slice text; /* lives in the caller's buffer */
};

enum alias_next { ALIAS_NEXT, ALIAS_END, ALIAS_BAD };

/*
 * Take the next target off *rest. `buf' is overwritten and holds its text.
 * BAD: *why says what is wrong.
 */
enum alias_next aliases_next(struct slice *rest, struct alias_target *t,
    struct strbuf *buf, const char **why);

/*
 * Parse an alias file and check it: names, targets, names that stand twice,
 * targets that this version cannot deliver to, aliases that lead only to
 * themselves, and such as are nested more than `deepest' deep (0: any depth):
 * the resolver would defer their mail. False: `errors' has a line for each
 * ("NAME:LINE: reason"). `e' is sealed; a value is the list of targets as
 * written.
 */
bool aliases_parse(struct mapentries *e, struct slice text, const char *name,
    uint64_t deepest, struct strbuf *errors);

/* aliases_links.c: lines about loops and depth, for aliases_parse(). */
bool aliases_check_links(const struct mapentries *e, const char *name,
    uint64_t deepest, struct strbuf *errors);

#endif
