/*
 * account - look a user up: `local_users' is "nss" (whatever the system knows)
 * or "file:PATH" (a file in passwd's format, for tests and containers).
 *
 * Blocks (a file, or NSS with whatever stands behind it): only for `users', the
 * forker's children and tools, never in an event loop that others wait for.
 */
#ifndef COMMON_ACCOUNT_H
#define COMMON_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/slice.h"
#include "common/strbuf.h"

#define ACCOUNT_NAME_MAX 255  /* octets */
#define ACCOUNT_HOME_MAX 4000 /* octets */
#define ACCOUNT_FILE_MAX (16 * 1024 * 1024)

enum account_result {
	ACCOUNT_FOUND,
	ACCOUNT_NONE, /* there is no such account: known for sure */
	ACCOUNT_TEMP, /* the lookup failed */
};

struct account {
	uid_t uid;
	gid_t gid;
	char *home; /* absolute; owned */
};

void account_clear(struct account *a);

/*
 * Look `name' up in `source', the value of local_users. FOUND: *a is filled,
 * the caller clears it. Otherwise *a is untouched; TEMP: `why' gets the reason.
 */
enum account_result account_lookup(const char *source, struct slice name,
    struct account *a, struct strbuf *why);

/* A line of passwd(5), "name:x:uid:gid:gecos:home:shell", borrowing from it. */
struct account_line {
	struct slice name, home;
	uid_t uid;
	gid_t gid;
};
/*
 * Parse one line, without its end. False when it is none: an empty line or a
 * comment, too few or too many fields, a number that is none or out of range
 * (the highest is the kernel's "nobody asked"), a home that is not absolute.
 */
bool account_parse_line(struct slice line, struct account_line *out);
/* The whole regular file at `path' below dirfd into `text': 0, or -1 with
   errno. Blocks. */
int account_read_file(int dirfd, const char *path, struct strbuf *text);
/* The first line of `text' with this name. */
bool account_find(struct slice text, struct slice name,
    struct account_line *out);

#endif
