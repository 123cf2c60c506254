/*
 * sandbox_impl - what the files of `sandbox' share among themselves.
 */
#ifndef COMMON_SANDBOX_IMPL_H
#define COMMON_SANDBOX_IMPL_H

#include "common/sandbox.h"

/* Groups of system calls; the lists stand in sandbox_seccomp.c. */
enum sandbox_group {
	SG_BASE = 1u << 0,     /* memory, time, locks, own signals, exit */
	SG_LOOP = 1u << 1,     /* the event loop and the descriptors given */
	SG_SOCKETS = 1u << 2,  /* talk on connected sockets, pass descriptors */
	SG_ACCEPT = 1u << 3,   /* take connections from given listeners */
	SG_THREADS = 1u << 4,  /* more threads, never processes */
	SG_READ = 1u << 5,     /* open files to read, list directories */
	SG_WRITE = 1u << 6,    /* create, write, rename, remove */
	SG_WATCH = 1u << 7,    /* inotify */
	SG_NSS = 1u << 8,      /* account databases: sockets, dlopen */
	SG_FORK = 1u << 9,     /* processes, and waiting for them */
	SG_BECOME = 1u << 10,  /* another uid; walls of one's own */
	SG_CONNECT = 1u << 11, /* connect over TCP and UDP */
	SG_MANY = 1u << 12,    /* flush many files at a time: common/io_many.c */
};

enum sandbox_files {
	SF_NONE,     /* no path at all */
	SF_PATHS,    /* only the paths of the request */
	SF_READ_ALL, /* all of "/" to read, and the paths of the request */
	SF_ALL,      /* whatever the uid may: no Landlock */
};

struct sandbox_profile {
	enum ipc_role program;
	const char *name;
	bool chroot;      /* into the empty directory, when root */
	bool drop;        /* to rq->user for good, when root */
	bool keep_root;   /* stays root, with few capabilities: the forker */
	bool no_files;    /* RLIMIT_FSIZE 0 */
	bool no_children; /* RLIMIT_NPROC 0: not even a thread */
	enum sandbox_files files;
	unsigned groups;  /* enum sandbox_group */
};

/* The row of a program, or NULL. */
const struct sandbox_profile *sandbox_profile(enum ipc_role program);

/*
 * Landlock (sandbox_landlock.c). prepare: open what the rules name and make the
 * ruleset, while the paths are still there; returns its descriptor, -1 when the
 * kernel has no Landlock or the profile needs none (*abi 0), -2 with errno.
 * restrict: returns 0 or -1 with errno; closes the descriptor.
 */
int sandbox_landlock_prepare(const struct sandbox_profile *p,
    const struct sandbox_request *rq, int *abi);
int sandbox_landlock_restrict(int ruleset);
/* The kernel's Landlock ABI; 0: none. */
int sandbox_landlock_abi(void);

/* The filter of a profile, to be released; NULL with *err, a negative errno. */
void *sandbox_filter(const struct sandbox_profile *p, int *err);
/*
 * The filter that is to stand behind that of `outer', which allows all that
 * `inner' needs: it only refuses what the inner program may not do of it, and
 * is short. Where it looks for the process's own number stands SANDBOX_SELF.
 */
void *sandbox_filter_within(const struct sandbox_profile *inner,
    const struct sandbox_profile *outer, int *err);
#define SANDBOX_SELF 0x5e1f5e1fu

/* Load the filter (sandbox_load.c), that which was prepared or a new one. 0,
   or a negative errno. */
int sandbox_seccomp(const struct sandbox_profile *p);
int sandbox_seccomp_prepare(const struct sandbox_profile *inner,
    const struct sandbox_profile *outer);
/* It was prepared, and the filter that it stands behind is loaded. */
bool sandbox_seccomp_ready(const struct sandbox_profile *p);

/* Who the program becomes. */
struct sandbox_identity {
	bool change;
	unsigned uid, gid;
};

/* Everything of sandbox_enter() but the look-ups and the probe; see there. */
void sandbox_walls(const struct sandbox_request *rq, struct sandbox_identity id,
    char *words, size_t cap);

/* Try the forbidden acts, one child each, and log the results. */
void sandbox_probe(const struct sandbox_request *rq,
    struct sandbox_identity id);

#endif
