/*
 * sandbox - the walls around each program: one table, one function.
 *
 * sandbox_enter(profile) is the last thing before a program serves: Landlock
 * where the kernel has it, chroot where the profile has one, groups, uid and
 * gid for good, no_new_privs, PR_SET_DUMPABLE 0, rlimits, seccomp. The filter
 * answers EPERM and logs by default and kills for exec, ptrace, mount, bpf and
 * the like. Not started as root: no chroot and no uid change, but all the rest.
 * Built with sanitizers or coverage: the laxer +debug filter.
 */
#ifndef COMMON_SANDBOX_H
#define COMMON_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "common/ipc.h"

/* A directory that stays reachable by path, beside what the profile says. */
struct sandbox_path {
	const char *path;
	bool writable;
};

struct sandbox_request {
	enum ipc_role program;     /* the row of the table */
	const char *user;          /* account name or number; NULL: the caller
	                              has become that user already (worker) */
	const char *empty_dir;     /* for profiles with a chroot */
	const struct sandbox_path *paths; /* for profiles with Landlock */
	size_t npaths;
	bool probe;                /* wall_probe: try the forbidden acts */
};

/*
 * Enter, or exit with EX_OSERR and a log line that says which wall would not
 * stand (a kernel without Landlock is only told in the words). `words' (256
 * octets) is filled for child_set_walls(): "uid 983, chroot, seccomp, landlock
 * 7, no_new_privs".
 */
void sandbox_enter(const struct sandbox_request *rq, char *words, size_t cap);

/*
 * For `parent', which forks children that will enter `program's walls behind its
 * own: what they need is loaded, and their filter made, once and not in each of
 * them. It is then short, as it only refuses what the parent's allows beyond it.
 * Before one's own sandbox_enter(). When it fails it says so, and each child
 * makes its own.
 */
void sandbox_prepare(enum ipc_role program, enum ipc_role parent);

/*
 * uid and gid of an account: a number, a name, or, when the account does not
 * exist, the documented number of a "_v..." name for private instances.
 * Returns 0, or -1 when there is nothing.
 */
int sandbox_account(const char *user, unsigned *uid, unsigned *gid);

#endif
