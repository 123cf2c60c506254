#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <asm/termbits.h>
#include <unistd.h>

#include "common/sandbox_impl.h"

/*
 * The filter: lists of names by group, and rules that look at an argument. A
 * name that this libseccomp or this machine does not know is left out.
 */

#define CALLS(list) list, NELEMS(list)
#ifdef VEREDUS_DEBUG_WALLS
#define DEBUG_WALLS true
#else
#define DEBUG_WALLS false
#endif

static const char *const base_calls[] = {
	/* memory; mmap and mprotect without PROT_EXEC stand below */
	"brk", "munmap", "mremap", "madvise", "membarrier",
	/* time */
	"clock_gettime", "clock_getres", "gettimeofday", "time", "nanosleep",
	"clock_nanosleep",
	/* locks, and what glibc keeps for each thread */
	"futex", "futex_time64", "futex_waitv", "set_robust_list",
	"get_robust_list", "rseq", "sched_yield", "sched_getaffinity", "getcpu",
	/* signals to oneself; tgkill stands below */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
	"rt_sigpending", "rt_sigtimedwait",
	/* who am I, what is this machine */
	"getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid",
	"getresuid", "getresgid", "getgroups", "uname", "sysinfo", "getrandom",
	"getrlimit", "getrusage", "times",
	/* the end */
	"exit", "exit_group", "restart_syscall",
};

static const char *const loop_calls[] = {
	"read", "readv", "pread64", "write", "writev", "close", "close_range",
	"fstat", "lseek", "dup", "dup2", "dup3", "pipe2", "eventfd2",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
	"epoll_pwait2", "poll", "ppoll", "select", "pselect6",
	"timerfd_create", "timerfd_settime", "signalfd4",
};

static const char *const sockets_calls[] = {
	"sendmsg", "recvmsg", "recvfrom", "shutdown", "getsockopt",
	"setsockopt", "getsockname", "getpeername",
};

static const char *const accept_calls[] = { "accept", "accept4" };

static const char *const threads_calls[] = { "set_tid_address" };

static const char *const read_calls[] = {
	"newfstatat", "fstatat64", "stat", "lstat", "statx", "access",
	"faccessat", "faccessat2", "readlink", "readlinkat", "getdents64",
	"statfs", "fstatfs", "fadvise64", "getcwd", "preadv", "preadv2",
	"sendfile", "flock",
};

static const char *const write_calls[] = {
	"open", "openat", "creat", "rename", "renameat", "renameat2", "link",
	"linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
	"truncate", "ftruncate", "fallocate", "fsync", "fdatasync", "syncfs",
	"sync_file_range", "pwrite64", "pwritev", "pwritev2", "fchmod",
	"fchown", "copy_file_range", "memfd_create", "umask",
};

static const char *const many_calls[] = {
	"io_setup", "io_submit", "io_getevents", "io_destroy",
};

static const char *const watch_calls[] = {
	"inotify_init1", "inotify_add_watch", "inotify_rm_watch",
};

static const char *const nss_calls[] = {
	"mmap", "mprotect", /* with PROT_EXEC: modules of NSS */
	"connect", "bind", "sendto", "sendmmsg", "recvmmsg",
};

static const char *const connect_calls[] = {
	"connect", "bind", "sendto", "sendmmsg", "recvmmsg",
};

static const char *const fork_calls[] = {
	"fork", "vfork", "wait4", "waitid", "kill", "tgkill", "pidfd_open",
	"pidfd_send_signal", "set_tid_address", "setsid", "setpgid",
};

static const char *const become_calls[] = {
	"setuid", "setgid", "setresuid", "setresgid", "setreuid", "setregid",
	"setgroups", "setfsuid", "setfsgid", "capget", "capset", "prctl",
	"seccomp", "landlock_create_ruleset", "landlock_add_rule",
	"landlock_restrict_self", "setrlimit", "prlimit64", "chdir", "fchdir",
};

static const struct {
	unsigned group;
	const char *const *calls;
	size_t n;
} lists[] = {
	{ SG_BASE, CALLS(base_calls) },
	{ SG_LOOP, CALLS(loop_calls) },
	{ SG_SOCKETS, CALLS(sockets_calls) },
	{ SG_ACCEPT, CALLS(accept_calls) },
	{ SG_THREADS, CALLS(threads_calls) },
	{ SG_READ, CALLS(read_calls) },
	{ SG_WRITE, CALLS(write_calls) },
	{ SG_WATCH, CALLS(watch_calls) },
	{ SG_NSS, CALLS(nss_calls) },
	{ SG_FORK, CALLS(fork_calls) },
	{ SG_BECOME, CALLS(become_calls) },
	{ SG_CONNECT, CALLS(connect_calls) },
	{ SG_MANY, CALLS(many_calls) },
};

/* What no honest program of ours ever does: ends the process. */
static const char *const deadly_calls[] = {
	"execve", "execveat", "process_vm_readv", "process_vm_writev", "mount",
	"umount2", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
	"fspick", "mount_setattr", "pivot_root", "bpf", "kexec_load",
	"kexec_file_load", "init_module", "finit_module", "delete_module",
	"perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key",
	"reboot", "swapon", "swapoff", "unshare", "setns", "acct", "iopl",
	"ioperm", "open_by_handle_at", "settimeofday", "clock_settime",
	"sethostname", "setdomainname", "quotactl", "modify_ldt",
#ifndef VEREDUS_DEBUG_WALLS
	"ptrace", /* LeakSanitizer does */
#endif
};

/* -- rules that look at an argument ---------------------------------------- */

#define CLONE_NEW_ANY                                                          \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |         \
	    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define OPEN_TO_WRITE                                                          \
	(O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY) | O_APPEND)
#define INT_MASK 0xffffffffu /* an int's upper half may be anything */

/* Allow `call' when argument `arg', masked, is `value'. */
static const struct rule {
	unsigned group;
	const char *call;
	unsigned arg;
	uint64_t mask, value;
} rules[] = {
	{ SG_BASE, "mmap", 2, PROT_EXEC, 0 },
	{ SG_BASE, "mprotect", 2, PROT_EXEC, 0 },
	{ SG_BASE, "prlimit64", 2, UINT64_MAX, 0 }, /* to ask */
	{ SG_BASE, "prctl", 0, INT_MASK, PR_SET_NAME },
	{ SG_BASE, "prctl", 0, INT_MASK, 0x53564d41 }, /* PR_SET_VMA: names */
	{ SG_LOOP, "fcntl", 1, INT_MASK, F_DUPFD },
	{ SG_LOOP, "fcntl", 1, INT_MASK, F_DUPFD_CLOEXEC },
	{ SG_LOOP, "fcntl", 1, INT_MASK, F_GETFD },
	{ SG_LOOP, "fcntl", 1, INT_MASK, F_SETFD },
	{ SG_LOOP, "fcntl", 1, INT_MASK, F_GETFL },
	{ SG_LOOP, "fcntl", 1, INT_MASK, F_SETFL },
	{ SG_LOOP, "ioctl", 1, INT_MASK, FIONREAD },
	{ SG_LOOP, "ioctl", 1, INT_MASK, FIONBIO },
	{ SG_LOOP, "ioctl", 1, INT_MASK, TCGETS },
	/* send(): to where the socket is connected, nowhere else */
	{ SG_SOCKETS, "sendto", 4, UINT64_MAX, 0 },
	{ SG_THREADS, "clone", 0, CLONE_THREAD | CLONE_NEW_ANY, CLONE_THREAD },
	{ SG_READ, "open", 1, OPEN_TO_WRITE, O_RDONLY },
	{ SG_READ, "openat", 2, OPEN_TO_WRITE, O_RDONLY },
	{ SG_WRITE, "fcntl", 1, INT_MASK, F_SETLK },
	{ SG_WRITE, "fcntl", 1, INT_MASK, F_SETLKW },
	{ SG_WRITE, "fcntl", 1, INT_MASK, F_GETLK },
	{ SG_WRITE, "fcntl", 1, INT_MASK, F_OFD_SETLK },
	{ SG_WRITE, "fcntl", 1, INT_MASK, F_OFD_GETLK },
	{ SG_WRITE, "fcntl", 1, INT_MASK, 1033 }, /* F_ADD_SEALS */
	{ SG_NSS, "socket", 0, INT_MASK, AF_UNIX },
	{ SG_NSS, "socket", 0, INT_MASK, AF_INET },
	{ SG_NSS, "socket", 0, INT_MASK, AF_INET6 },
	{ SG_NSS, "socket", 0, INT_MASK, AF_NETLINK },
	{ SG_CONNECT, "socket", 0, INT_MASK, AF_INET },
	{ SG_CONNECT, "socket", 0, INT_MASK, AF_INET6 },
	{ SG_FORK, "clone", 0, CLONE_NEW_ANY, 0 },
	{ SG_FORK, "socketpair", 0, INT_MASK, AF_UNIX },
};

static int
add_call(scmp_filter_ctx ctx, uint32_t action, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);
	int r;

	if (nr == __NR_SCMP_ERROR) {
		return 0;
	}
	r = seccomp_rule_add(ctx, action, nr, 0);
	return r == -EEXIST ? 0 : r;
}

static int
add_rule(scmp_filter_ctx ctx, uint32_t action, const struct rule *rule)
{
	int nr = seccomp_syscall_resolve_name(rule->call);
	struct scmp_arg_cmp cmp = { rule->arg, SCMP_CMP_MASKED_EQ, rule->mask,
		rule->value };
	int r;

	if (nr == __NR_SCMP_ERROR) {
		return 0;
	}
	r = seccomp_rule_add_array(ctx, action, nr, 1, &cmp);
	return r == -EEXIST ? 0 : r;
}

static int
add_deadly(scmp_filter_ctx ctx)
{
	size_t i;
	int r = 0;

	for (i = 0; i < NELEMS(deadly_calls) && r == 0; i++) {
		r = add_call(ctx, SCMP_ACT_KILL_PROCESS, deadly_calls[i]);
	}
	return r;
}

/* Sanitizers and coverage: all but the deadly, and no new sockets. */
static int
fill_debug(scmp_filter_ctx ctx, const struct sandbox_profile *p)
{
	static const char *const refused[] = { "socket", "connect", "bind",
		"chroot", "mknod", "mknodat" };
	size_t i;
	int r = add_deadly(ctx);

	for (i = 0; i < NELEMS(refused) && r == 0; i++) {
		if ((p->groups & (SG_NSS | SG_BECOME | SG_CONNECT)) == 0) {
			r = add_call(ctx, SCMP_ACT_ERRNO(EPERM), refused[i]);
		}
	}
	return r;
}

/* glibc tries clone3 first, whose flags no filter can see; then clone. */
static int
add_clone3(scmp_filter_ctx ctx)
{
	return add_call(ctx, SCMP_ACT_ERRNO(ENOSYS), "clone3");
}

/* raise() and abort(). The forker's children have other numbers: SG_FORK. */
static int
add_own_signals(scmp_filter_ctx ctx, const struct sandbox_profile *p)
{
	const struct rule own = { SG_BASE, "tgkill", 0, INT_MASK,
		(uint64_t)getpid() };

	return (p->groups & SG_FORK) != 0 ? 0 :
	    add_rule(ctx, SCMP_ACT_ALLOW, &own);
}

static int
add_list(scmp_filter_ctx ctx, const char *const *calls, size_t n)
{
	size_t i;
	int r = 0;

	for (i = 0; i < n && r == 0; i++) {
		r = add_call(ctx, SCMP_ACT_ALLOW, calls[i]);
	}
	return r;
}

static int
fill(scmp_filter_ctx ctx, const struct sandbox_profile *p)
{
	size_t i;
	int r = add_deadly(ctx);

	for (i = 0; i < NELEMS(lists) && r == 0; i++) {
		if ((p->groups & lists[i].group) != 0) {
			r = add_list(ctx, lists[i].calls, lists[i].n);
		}
	}
	for (i = 0; i < NELEMS(rules) && r == 0; i++) {
		if ((p->groups & rules[i].group) != 0) {
			r = add_rule(ctx, SCMP_ACT_ALLOW, &rules[i]);
		}
	}
	if (r == 0) {
		r = add_own_signals(ctx, p);
	}
	return r == 0 ? add_clone3(ctx) : r;
}

/* An empty filter that answers `other' to what it does not name. */
static scmp_filter_ctx
begin(uint32_t other)
{
	scmp_filter_ctx ctx = seccomp_init(other);

	if (ctx == NULL) {
		return NULL;
	}
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
	    SCMP_ACT_KILL_PROCESS);
	/* Wishes that an old kernel or library may not know. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return ctx;
}

static scmp_filter_ctx
end(scmp_filter_ctx ctx, int *err)
{
	if (ctx != NULL && *err != 0) {
		seccomp_release(ctx);
		return NULL;
	}
	return ctx;
}

scmp_filter_ctx
sandbox_filter(const struct sandbox_profile *p, int *err)
{
	scmp_filter_ctx ctx = begin(DEBUG_WALLS ? SCMP_ACT_ALLOW :
	    SCMP_ACT_ERRNO(EPERM));

	*err = ctx == NULL ? -ENOMEM :
	    DEBUG_WALLS ? fill_debug(ctx, p) : fill(ctx, p);
	return end(ctx, err);
}

/* -- behind another's filter -------------------------------------------------- */

/*
 * What is refused of a call that the outer program makes as it likes and the
 * inner one by a rule above: what that rule does not name. A call that has a
 * rule there and no row here is refused whatever its arguments are.
 */
static const struct {
	const char *call;
	unsigned arg;
	enum scmp_compare op;
	uint64_t a, b;
} narrower[] = {
	{ "mmap", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC },
	{ "mprotect", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC },
	{ "sendto", 4, SCMP_CMP_NE, 0, 0 },
	{ "prlimit64", 2, SCMP_CMP_NE, 0, 0 },
	{ "tgkill", 0, SCMP_CMP_NE, SANDBOX_SELF, 0 },
};

static bool
is_listed(const struct sandbox_profile *p, const char *call)
{
	size_t i, k;

	for (i = 0; i < NELEMS(lists); i++) {
		for (k = 0; (p->groups & lists[i].group) != 0 &&
		    k < lists[i].n; k++) {
			if (strcmp(lists[i].calls[k], call) == 0) {
				return true;
			}
		}
	}
	return false;
}

/* May the program make the call at all? */
static bool
is_ruled(const struct sandbox_profile *p, const char *call)
{
	bool found = strcmp(call, "tgkill") == 0; /* add_own_signals() */
	size_t i;

	for (i = 0; i < NELEMS(rules) && !found; i++) {
		found = (p->groups & rules[i].group) != 0 &&
		    strcmp(rules[i].call, call) == 0;
	}
	return found;
}

/* A call that the outer program may make and the inner one perhaps not. */
static int
refuse(scmp_filter_ctx ctx, const struct sandbox_profile *inner,
    const char *call)
{
	const int nr = seccomp_syscall_resolve_name(call);
	struct scmp_arg_cmp cmp;
	size_t i = is_ruled(inner, call) ? 0 : NELEMS(narrower);
	int r;

	if (nr == __NR_SCMP_ERROR || is_listed(inner, call)) {
		return 0;
	}
	while (i < NELEMS(narrower) && strcmp(narrower[i].call, call) != 0) {
		i++;
	}
	if (i < NELEMS(narrower)) {
		cmp = (struct scmp_arg_cmp){ narrower[i].arg, narrower[i].op,
			narrower[i].a, narrower[i].b };
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), nr, 1,
		    &cmp);
	} else {
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), nr, 0);
	}
	return r == -EEXIST ? 0 : r;
}

scmp_filter_ctx
sandbox_filter_within(const struct sandbox_profile *inner,
    const struct sandbox_profile *outer, int *err)
{
	const unsigned more = outer->groups & ~inner->groups;
	scmp_filter_ctx ctx = begin(SCMP_ACT_ALLOW);
	size_t i, k;

	*err = ctx == NULL ? -ENOMEM : 0;
	for (i = 0; i < NELEMS(lists); i++) {
		for (k = 0; *err == 0 && (more & lists[i].group) != 0 &&
		    k < lists[i].n; k++) {
			*err = refuse(ctx, inner, lists[i].calls[k]);
		}
	}
	for (i = 0; *err == 0 && i < NELEMS(rules); i++) {
		if ((more & rules[i].group) != 0) {
			*err = refuse(ctx, inner, rules[i].call);
		}
	}
	return end(ctx, err);
}
