#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sandbox_acts.h"

/* An act is one expression; 0 or more is "done". */
#define ACT(name, expr)                                                        \
	static int name(const struct sandbox_place *place)                     \
	{                                                                      \
		(void)place;                                                   \
		return (long)(expr) < 0 ? -1 : 0;                              \
	}
#define NOTHING "/veredus-probe-nothing"

/* -- paths ----------------------------------------------------------------- */

ACT(read_passwd, open("/etc/passwd", O_RDONLY))
ACT(read_shadow, open("/etc/shadow", O_RDONLY))
ACT(append_passwd, open("/etc/passwd", O_WRONLY | O_APPEND))
ACT(list_root, open("/", O_RDONLY | O_DIRECTORY))
ACT(list_above, open(place->above, O_RDONLY | O_DIRECTORY))
ACT(open_proc_mem, open("/proc/self/mem", O_RDWR))
ACT(open_proc_environ, open("/proc/1/environ", O_RDONLY))
ACT(open_dev_mem, open("/dev/mem", O_RDWR))
ACT(open_dev_kmsg, open("/dev/kmsg", O_WRONLY))
ACT(read_file, open(place->file, O_RDONLY))
ACT(write_file, open(place->file, O_WRONLY))
ACT(truncate_file, truncate(place->file, 0))
ACT(create_file, open(place->other, O_WRONLY | O_CREAT | O_EXCL, 0600))
ACT(make_dir, mkdir(place->other, 0700))
ACT(make_symlink, symlink("/etc/passwd", place->other))
ACT(make_link, link(place->file, place->other))
ACT(make_fifo, mkfifo(place->other, 0600))
ACT(make_device, mknod(place->other, S_IFCHR | 0600, 0x103))
ACT(rename_file, rename(place->file, place->other))
ACT(remove_file, unlink(place->file))
ACT(change_mode, chmod(place->file, 04777))
ACT(change_owner, chown(place->file, getuid(), getgid()))
ACT(change_xattr, syscall(SYS_setxattr, place->file, "user.probe", "x", 1, 0))
ACT(watch_files, inotify_init1(IN_CLOEXEC))
ACT(memory_file, memfd_create("probe", MFD_CLOEXEC))
ACT(change_root, chroot("."))

/* -- sockets --------------------------------------------------------------- */

ACT(socket_inet, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
ACT(socket_inet6, socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0))
ACT(socket_unix, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))
ACT(socket_netlink, socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0))
ACT(socket_packet, socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0))
ACT(socket_raw, socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP))
ACT(socket_vsock, socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0))
ACT(listen_on, listen(-1, 1))

static int
socket_pair(const struct sandbox_place *place)
{
	int fds[2];

	(void)place;
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

static const struct sockaddr_in home_25 = { .sin_family = AF_INET };

#define HOME ((const struct sockaddr *)&home_25)

ACT(connect_to, connect(-1, HOME, sizeof(home_25)))
ACT(bind_to, bind(-1, HOME, sizeof(home_25)))
ACT(send_to, sendto(-1, "", 0, 0, HOME, sizeof(home_25)))

static int
connect_abstract(const struct sandbox_place *place)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX,
		.sun_path = "\0veredus-probe" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)place;
	return fd == -1 ? -1 : connect(fd, (const struct sockaddr *)&sun,
	    sizeof(sun));
}

/* -- other programs and processes ------------------------------------------ */

static int
exec_true(const struct sandbox_place *place)
{
	char name[] = "/bin/true", *argv[] = { name, NULL };

	(void)place;
	return execve("/bin/true", argv, &argv[1]);
}

static int
exec_at(const struct sandbox_place *place)
{
	char name[] = "true", *argv[] = { name, NULL };

	(void)place;
	return (int)syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv,
	    &argv[1], 0);
}

/* The child of a fork that got through ends at once. */
static int
reap(pid_t pid)
{
	if (pid == 0) {
		_exit(0);
	}
	if (pid > 0) {
		(void)waitpid(pid, NULL, 0);
	}
	return pid == -1 ? -1 : 0;
}

ACT(fork_child, reap(fork()))
ACT(clone_user, reap((pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0,
    0)))
ACT(clone_three, syscall(SYS_clone3, NULL, 0))
ACT(signal_init, kill(1, 0))
ACT(signal_parent, kill(getppid(), 0))
ACT(signal_thread, syscall(SYS_tgkill, getppid(), getppid(), 0))
ACT(signal_tkill, syscall(SYS_tkill, getppid(), 0))
ACT(open_pid, syscall(SYS_pidfd_open, getppid(), 0))
ACT(trace_me, ptrace(PTRACE_TRACEME, 0, NULL, NULL))
ACT(trace_parent, ptrace(PTRACE_ATTACH, getppid(), NULL, NULL))
ACT(read_memory, syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0))
ACT(write_memory, syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0,
    0))

/* -- more rights ----------------------------------------------------------- */

ACT(set_uid_root, setuid(0))
ACT(set_resuid, setresuid(0, 0, 0))
ACT(set_resgid, setresgid(0, 0, 0))
ACT(set_groups, setgroups(0, NULL))
ACT(be_dumpable, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ACT(keep_caps, prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
ACT(ambient_cap, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0))
ACT(become_realtime, syscall(SYS_sched_setscheduler, 0, 1, NULL))
ACT(be_nicer, setpriority(PRIO_PROCESS, 0, -5))
ACT(change_personality, syscall(SYS_personality, 0xffffffff))

static int
raise_caps(const struct sandbox_place *place)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3,
		0 };
	struct __user_cap_data_struct all[2] = { { ~0u, ~0u, 0 },
		{ ~0u, ~0u, 0 } };

	(void)place;
	return (int)syscall(SYS_capset, &head, all);
}

static int
raise_limit(const struct sandbox_place *place)
{
	const struct rlimit rl = { 4096, 4096 };

	(void)place;
	return setrlimit(RLIMIT_FSIZE, &rl);
}

static int
exec_memory(const struct sandbox_place *place)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)place;
	return p == MAP_FAILED ? -1 : 0;
}

static int
exec_protect(const struct sandbox_place *place)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)place;
	return p == MAP_FAILED ? 0 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

/* -- the kernel ------------------------------------------------------------ */

ACT(mount_proc, mount("none", NOTHING, "proc", 0, NULL))
ACT(unmount, umount2(NOTHING, 0))
ACT(pivot, syscall(SYS_pivot_root, NOTHING, NOTHING))
ACT(fs_open, syscall(SYS_fsopen, NULL, 0))
ACT(unshare_user, unshare(CLONE_NEWUSER))
ACT(set_ns, setns(-1, 0))
ACT(use_bpf, syscall(SYS_bpf, 0, NULL, 0))
ACT(load_module, syscall(SYS_init_module, NULL, 0, ""))
ACT(load_module_fd, syscall(SYS_finit_module, -1, "", 0))
ACT(load_kernel, syscall(SYS_kexec_load, 0, 0, NULL, ~0ul))
ACT(reboot_host, syscall(SYS_reboot, 0, 0, 0, NULL)) /* without the magic */
ACT(swap_on, syscall(SYS_swapon, NOTHING, 0))
ACT(account, syscall(SYS_acct, NOTHING))
ACT(use_keys, syscall(SYS_keyctl, 0, -3, 0, 0, 0))
ACT(add_keys, syscall(SYS_add_key, NULL, NULL, NULL, 0, 0))
ACT(perf_events, syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0))
ACT(user_faults, syscall(SYS_userfaultfd, 0))
ACT(io_uring, syscall(SYS_io_uring_setup, 1, NULL))
ACT(set_time, syscall(SYS_settimeofday, NULL, NULL))
ACT(set_clock, syscall(SYS_clock_settime, 99, NULL))
ACT(set_host_name, syscall(SYS_sethostname, NULL, 65536))
ACT(read_kernel_log, syscall(SYS_syslog, 10, NULL, 0))
ACT(open_handle, syscall(SYS_open_by_handle_at, -1, NULL, 0))
ACT(shared_memory, shmget(IPC_PRIVATE, 4096, 0600))
ACT(message_queue, msgget(IPC_PRIVATE, 0600))
ACT(type_on_terminal, ioctl(-1, TIOCSTI, ""))
#ifdef SYS_ioperm
ACT(io_ports, syscall(SYS_ioperm, 0, 1, 0))
ACT(change_ldt, syscall(SYS_modify_ldt, 0, NULL, 0))
#endif

/* -- the table ------------------------------------------------------------- */

#define U (1u << IPC_USERS)
#define C (1u << IPC_CLEANUP)
#define F (1u << IPC_FORKER)
#define W (1u << IPC_WORKER)
#define R (1u << IPC_REMOTE)
#define D (1u << IPC_DNS)

const struct sandbox_act sandbox_acts[] = {
	/* name, act, who may all the same, where, writes */
	{ "read_passwd", read_passwd, U | F, AT_ETC, false },
	{ "read_shadow", read_shadow, F, AT_ETC, false },
	{ "append_passwd", append_passwd, F, AT_ETC, true },
	{ "list_root", list_root, U | F, AT_ROOT, false },
	{ "list_above", list_above, U | F, AT_ABOVE, false },
	{ "open_proc_mem", open_proc_mem, F, AT_PROC, true },
	{ "open_proc_environ", open_proc_environ, F, AT_PROC, false },
	{ "open_dev_mem", open_dev_mem, F, AT_DEV, true },
	{ "open_dev_kmsg", open_dev_kmsg, F, AT_DEV, true },
	{ "read_file", read_file, U | F, AT_PLACE, false },
	{ "write_file", write_file, F, AT_PLACE, true },
	{ "truncate_file", truncate_file, F, AT_PLACE, true },
	{ "create_file", create_file, F, AT_PLACE, true },
	{ "make_dir", make_dir, F, AT_PLACE, true },
	{ "make_symlink", make_symlink, 0, AT_NOWHERE, true },
	{ "make_link", make_link, F, AT_PLACE, true },
	{ "make_fifo", make_fifo, 0, AT_NOWHERE, true },
	{ "make_device", make_device, 0, AT_NOWHERE, true },
	{ "rename_file", rename_file, F, AT_PLACE, true },
	{ "remove_file", remove_file, F, AT_PLACE, true },
	{ "change_mode", change_mode, 0, AT_NOWHERE, true },
	{ "change_owner", change_owner, 0, AT_NOWHERE, true },
	{ "change_xattr", change_xattr, 0, AT_NOWHERE, true },
	{ "watch_files", watch_files, C | D, AT_NOWHERE, false },
	{ "memory_file", memory_file, C | F | W, AT_NOWHERE, false },
	{ "change_root", change_root, 0, AT_NOWHERE, false },
	{ "socket_inet", socket_inet, U | F | R | D, AT_NOWHERE, false },
	{ "socket_inet6", socket_inet6, U | F | R | D, AT_NOWHERE, false },
	{ "socket_unix", socket_unix, U | F, AT_NOWHERE, false },
	{ "socket_netlink", socket_netlink, U | F, AT_NOWHERE, false },
	{ "socket_packet", socket_packet, 0, AT_NOWHERE, false },
	{ "socket_raw", socket_raw, F, AT_NOWHERE, false },
	{ "socket_vsock", socket_vsock, 0, AT_NOWHERE, false },
	{ "socket_pair", socket_pair, F, AT_NOWHERE, false },
	{ "listen", listen_on, 0, AT_NOWHERE, false },
	{ "connect", connect_to, U | F | R | D, AT_NOWHERE, false },
	{ "bind", bind_to, U | F | R | D, AT_NOWHERE, false },
	{ "send_to", send_to, U | F | R | D, AT_NOWHERE, false },
	{ "connect_abstract", connect_abstract, U | F, AT_NOWHERE, false },
	{ "exec", exec_true, 0, AT_NOWHERE, false },
	{ "exec_at", exec_at, 0, AT_NOWHERE, false },
	{ "fork", fork_child, F, AT_NOWHERE, false },
	{ "clone_user", clone_user, 0, AT_NOWHERE, false },
	{ "clone3", clone_three, 0, AT_NOWHERE, false },
	{ "signal_init", signal_init, F, AT_NOWHERE, false },
	{ "signal_parent", signal_parent, F, AT_NOWHERE, false },
	{ "signal_thread", signal_thread, F, AT_NOWHERE, false },
	{ "signal_tkill", signal_tkill, 0, AT_NOWHERE, false },
	{ "open_pid", open_pid, F, AT_NOWHERE, false },
	{ "trace_me", trace_me, 0, AT_NOWHERE, false },
	{ "trace_parent", trace_parent, 0, AT_NOWHERE, false },
	{ "read_memory", read_memory, 0, AT_NOWHERE, false },
	{ "write_memory", write_memory, 0, AT_NOWHERE, false },
	{ "set_uid_root", set_uid_root, F, AT_NOWHERE, false },
	{ "set_resuid", set_resuid, F, AT_NOWHERE, false },
	{ "set_resgid", set_resgid, F, AT_NOWHERE, false },
	{ "set_groups", set_groups, F, AT_NOWHERE, false },
	{ "be_dumpable", be_dumpable, F, AT_NOWHERE, false },
	{ "keep_caps", keep_caps, F, AT_NOWHERE, false },
	{ "ambient_cap", ambient_cap, F, AT_NOWHERE, false },
	{ "raise_caps", raise_caps, F, AT_NOWHERE, false },
	{ "raise_limit", raise_limit, F, AT_NOWHERE, false },
	{ "become_realtime", become_realtime, 0, AT_NOWHERE, false },
	{ "be_nicer", be_nicer, 0, AT_NOWHERE, false },
	{ "change_personality", change_personality, 0, AT_NOWHERE, false },
	{ "exec_memory", exec_memory, U | F, AT_NOWHERE, false },
	{ "exec_protect", exec_protect, U | F, AT_NOWHERE, false },
	{ "mount", mount_proc, 0, AT_NOWHERE, false },
	{ "umount", unmount, 0, AT_NOWHERE, false },
	{ "pivot_root", pivot, 0, AT_NOWHERE, false },
	{ "fsopen", fs_open, 0, AT_NOWHERE, false },
	{ "unshare", unshare_user, 0, AT_NOWHERE, false },
	{ "setns", set_ns, 0, AT_NOWHERE, false },
	{ "bpf", use_bpf, 0, AT_NOWHERE, false },
	{ "init_module", load_module, 0, AT_NOWHERE, false },
	{ "finit_module", load_module_fd, 0, AT_NOWHERE, false },
	{ "kexec_load", load_kernel, 0, AT_NOWHERE, false },
	{ "reboot", reboot_host, 0, AT_NOWHERE, false },
	{ "swapon", swap_on, 0, AT_NOWHERE, false },
	{ "acct", account, 0, AT_NOWHERE, false },
	{ "keyctl", use_keys, 0, AT_NOWHERE, false },
	{ "add_key", add_keys, 0, AT_NOWHERE, false },
	{ "perf_event_open", perf_events, 0, AT_NOWHERE, false },
	{ "userfaultfd", user_faults, 0, AT_NOWHERE, false },
	{ "io_uring", io_uring, 0, AT_NOWHERE, false },
	{ "settimeofday", set_time, 0, AT_NOWHERE, false },
	{ "clock_settime", set_clock, 0, AT_NOWHERE, false },
	{ "sethostname", set_host_name, 0, AT_NOWHERE, false },
	{ "syslog", read_kernel_log, 0, AT_NOWHERE, false },
	{ "open_by_handle", open_handle, 0, AT_NOWHERE, false },
	{ "shmget", shared_memory, 0, AT_NOWHERE, false },
	{ "msgget", message_queue, 0, AT_NOWHERE, false },
	{ "tiocsti", type_on_terminal, 0, AT_NOWHERE, false },
#ifdef SYS_ioperm
	{ "ioperm", io_ports, 0, AT_NOWHERE, false },
	{ "modify_ldt", change_ldt, 0, AT_NOWHERE, false },
#endif
};
const size_t sandbox_nacts = NELEMS(sandbox_acts);
