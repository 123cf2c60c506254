/*
 * instance - what an instance consists of on disk: its directories with their
 * owners and modes, and the accounts. Made by master, looked at by `check'.
 * Started by anyone but root, everything belongs to that one user.
 */
#ifndef COMMON_INSTANCE_H
#define COMMON_INSTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/settings.h"
#include "common/strbuf.h"

#define INSTANCE_DIRS 8

struct instance_dir {
	char *path;   /* owned */
	bool top;     /* the administrator's choice: judged, not changed */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	const char *purpose;
};

/*
 * The directories, parents first. False: an account or group that they need
 * does not exist; `why' has a line. instance_dirs_clear() in both cases.
 */
bool instance_dirs(const struct settings *s, bool as_root,
    struct instance_dir out[INSTANCE_DIRS], struct strbuf *why);
void instance_dirs_clear(struct instance_dir dirs[INSTANCE_DIRS]);

/*
 * Make it if it is missing (with its parents), and give it owner and mode.
 * False: `why' has a line with the path and what is wrong.
 */
bool instance_dir_make(const struct instance_dir *d, struct strbuf *why);

enum instance_judged {
	INSTANCE_GOOD,
	INSTANCE_MISSING,  /* a start makes it */
	INSTANCE_REPAIRED, /* wrong, and a start sets it right: `why' */
	INSTANCE_WRONG,    /* `why' */
};
enum instance_judged instance_dir_judge(const struct instance_dir *d,
    struct strbuf *why);

/* gid of a group by name or number; false: there is none. */
bool instance_group(const char *group, gid_t *gid);
/*
 * Is there an account behind each *_user, and is it not root's? A line in
 * `why' for each that is not right.
 */
bool instance_accounts(const struct settings *s, struct strbuf *why);

#endif
