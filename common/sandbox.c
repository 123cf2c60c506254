#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sandbox_impl.h"

/* -- the table ------------------------------------------------------------- */

#define SERVER (SG_BASE | SG_LOOP | SG_SOCKETS) /* what each program needs */

static const struct sandbox_profile profiles[] = {
	/* The one writer of logs: its sinks are descriptors from master. */
	{ .program = IPC_LOG, .name = "log", .chroot = true, .drop = true,
	    .no_children = true, .files = SF_NONE, .groups = SERVER },
	/* The account database: NSS reads files and asks other daemons. */
	{ .program = IPC_USERS, .name = "users", .drop = true, .no_files = true,
	    .files = SF_READ_ALL,
	    .groups = SERVER | SG_READ | SG_THREADS | SG_NSS },
	/* The spool and the maps. */
	{ .program = IPC_CLEANUP, .name = "cleanup", .drop = true,
	    .files = SF_PATHS, .groups = SERVER | SG_ACCEPT | SG_THREADS |
	    SG_READ | SG_WRITE | SG_WATCH },
	{ .program = IPC_QMGR, .name = "qmgr", .chroot = true, .drop = true,
	    .no_files = true, .no_children = true, .files = SF_NONE,
	    .groups = SERVER | SG_ACCEPT },
	/* Root, because it makes the workers; it reads 64 octets. What a worker
	   may do its filter has to allow, too. */
	{ .program = IPC_FORKER, .name = "forker", .keep_root = true,
	    .files = SF_ALL, .groups = SERVER | SG_READ | SG_WRITE | SG_NSS |
	    SG_FORK | SG_BECOME | SG_MANY },
	{ .program = IPC_LOCAL, .name = "local", .chroot = true, .drop = true,
	    .no_files = true, .no_children = true, .files = SF_NONE,
	    .groups = SERVER },
	/* A user's mailbox, as that user. */
	{ .program = IPC_WORKER, .name = "worker", .drop = true,
	    .files = SF_PATHS, .groups = SERVER | SG_READ | SG_WRITE |
	    SG_MANY },
	/* Parses the network. */
	{ .program = IPC_SMTPD, .name = "smtpd", .chroot = true, .drop = true,
	    .no_files = true, .no_children = true, .files = SF_NONE,
	    .groups = SERVER | SG_ACCEPT },
	/* Parses what other hosts' mail servers say. */
	{ .program = IPC_REMOTE, .name = "remote", .chroot = true, .drop = true,
	    .no_files = true, .no_children = true, .files = SF_NONE,
	    .groups = SERVER | SG_CONNECT },
	/* Parses what DNS says; reads resolv.conf and hosts again. */
	{ .program = IPC_DNS, .name = "dns", .drop = true, .no_files = true,
	    .no_children = true, .files = SF_PATHS,
	    .groups = SERVER | SG_READ | SG_WATCH | SG_CONNECT },
};

const struct sandbox_profile *
sandbox_profile(enum ipc_role program)
{
	size_t i;

	for (i = 0; i < NELEMS(profiles); i++) {
		if (profiles[i].program == program) {
			return &profiles[i];
		}
	}
	return NULL;
}

/* -- accounts -------------------------------------------------------------- */

/* For private instances started by root without the accounts. */
static const struct {
	const char *name;
	unsigned id;
} documented[] = {
	{ "_vlog", 981 }, { "_vusers", 982 }, { "_vqueue", 983 },
	{ "_vqmgr", 984 }, { "_vlocal", 985 }, { "_vsmtpd", 986 },
	{ "_vremote", 987 }, { "_vdns", 988 },
};

int
sandbox_account(const char *user, unsigned *uid, unsigned *gid)
{
	struct passwd *pw;
	uint64_t number;
	size_t i;

	if (slice_number(slice_of(user), UINT32_MAX - 1, &number)) {
		pw = getpwuid((uid_t)number);
		*uid = (unsigned)number;
		*gid = pw != NULL ? pw->pw_gid : (unsigned)number;
		return 0;
	}
	pw = getpwnam(user);
	if (pw != NULL) {
		*uid = pw->pw_uid;
		*gid = pw->pw_gid;
		return 0;
	}
	for (i = 0; i < NELEMS(documented); i++) {
		if (strcmp(user, documented[i].name) == 0) {
			*uid = *gid = documented[i].id;
			return 0;
		}
	}
	return -1;
}

/* -- one wall after the other ---------------------------------------------- */

static _Noreturn void
fail(const struct sandbox_profile *p, const char *wall)
{
	log_fatal(EX_OSERR, "%s: the wall \"%s\" does not stand: %s", p->name,
	    wall, strerror(errno));
}

/* What libraries would open later, when they no longer can. */
static void
load_before_lock(const struct sandbox_profile *p)
{
	struct tm tm;
	time_t now = 0;

	if ((p->groups & SG_THREADS) != 0) { /* for pthread_exit() */
		(void)dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_GLOBAL);
	}
	tzset();
	(void)localtime_r(&now, &tm);
	if ((p->groups & SG_NSS) != 0) {
		(void)getpwuid(0);
		(void)getgrgid(0);
	}
}

static void
limit(const struct sandbox_profile *p, int what, const char *name, rlim_t v)
{
	struct rlimit rl = { v, v };

	if (setrlimit((__rlimit_resource_t)what, &rl) == -1) {
		fail(p, name);
	}
}

/* As many descriptors as may be had: sessions and messages are counted by
   limits of their own. */
static void
raise_descriptors(void)
{
	const struct rlimit many = { 262144, 262144 };
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1) {
		return;
	}
	if (geteuid() == 0 && rl.rlim_max < many.rlim_max &&
	    setrlimit(RLIMIT_NOFILE, &many) == 0) {
		return; /* root in a container may not */
	}
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
}

static void
set_limits(const struct sandbox_profile *p)
{
	raise_descriptors();
	limit(p, RLIMIT_CORE, "no core", 0);
#ifndef VEREDUS_DEBUG_WALLS
	if (p->no_files) {
		limit(p, RLIMIT_FSIZE, "no file grows", 0);
	}
	if (p->no_children) {
		limit(p, RLIMIT_NPROC, "no children", 0);
	}
#endif
}

/* The empty directory is root's and only root may write into it. */
static void
enter_empty(const struct sandbox_profile *p, const char *dir)
{
	struct stat st;

	if (chdir(dir) == -1 || stat(".", &st) == -1) {
		log_fatal(EX_OSERR, "%s: empty_directory %s: %s", p->name, dir,
		    strerror(errno));
	}
	if (st.st_uid != 0 || (st.st_mode & 022) != 0) {
		log_fatal(EX_OSERR, "%s: empty_directory %s must be root's and "
		    "not writable by others", p->name, dir);
	}
	if (chroot(".") == -1 || chdir("/") == -1) {
		fail(p, "chroot");
	}
}

/* A root without CAP_SETPCAP (a container) cannot: then no_new_privs and the
   uid without capabilities have to do. */
static void
drop_bounding_set(void)
{
	unsigned long cap;

	for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	}
}

/* What the forker needs of root: to become a user and set its limits, to end
   it, to read an account file wherever it is. Nobody else keeps anything. */
#define FORKER_CAPS                                                            \
	(CAP(CAP_SETUID) | CAP(CAP_SETGID) | CAP(CAP_KILL) |                   \
	    CAP(CAP_SYS_RESOURCE) | CAP(CAP_DAC_READ_SEARCH))
#define CAP(c) (1u << (c)) /* all of them are below 32 */

static void
drop_capabilities(const struct sandbox_profile *p)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3,
		0 };
	struct __user_cap_data_struct have[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	unsigned keep = p->keep_root ? FORKER_CAPS : 0;

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &head, have) == -1) {
		fail(p, "capabilities");
	}
	have[0].permitted &= keep;
	have[0].effective = have[0].permitted;
	have[0].inheritable = 0;
	have[1].permitted = have[1].effective = have[1].inheritable = 0;
	if (syscall(SYS_capset, &head, have) == -1) {
		fail(p, "capabilities");
	}
}

static void
become(const struct sandbox_profile *p, uid_t uid, gid_t gid)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	if (uid == 0) {
		log_fatal(EX_CONFIG, "%s must not run as root", p->name);
	}
	drop_bounding_set();
	if (setgroups(0, NULL) == -1 || setresgid(gid, gid, gid) == -1 ||
	    setresuid(uid, uid, uid) == -1) {
		fail(p, "uid and gid");
	}
	if (getresuid(&r, &e, &s) == -1 || getresgid(&rg, &eg, &sg) == -1 ||
	    r != uid || e != uid || s != uid || rg != gid || eg != gid ||
	    sg != gid || getgroups(0, NULL) != 0) {
		errno = EPERM;
		fail(p, "uid and gid, looked at again");
	}
}

/* Root must not come back by any of these. */
static void
check_no_way_back(const struct sandbox_profile *p)
{
	if (geteuid() == 0 || setuid(0) == 0 || seteuid(0) == 0 ||
	    setresuid(0, 0, 0) == 0 || (getegid() != 0 && setgid(0) == 0)) {
		errno = EPERM;
		fail(p, "no way back to root");
	}
}

/* -- all of them ----------------------------------------------------------- */

static struct sandbox_identity
find_identity(const struct sandbox_profile *p, const struct sandbox_request *rq)
{
	struct sandbox_identity id = { false, 0, 0 };

	/* Not root, or (a worker) the caller has become someone already. */
	if (!p->drop || geteuid() != 0 || rq->user == NULL) {
		return id;
	}
	if (sandbox_account(rq->user, &id.uid, &id.gid) == -1) {
		log_fatal(EX_NOUSER, "%s: there is no account %s", p->name,
		    rq->user);
	}
	id.change = true;
	return id;
}

static void
say_words(const struct sandbox_profile *p, bool chrooted, int abi, char *words,
    size_t cap)
{
	struct strbuf b;

	strbuf_init(&b, cap - 1);
	(void)strbuf_printf(&b, "uid %u", (unsigned)geteuid());
	(void)strbuf_add_str(&b, chrooted ? ", chroot" : "");
	(void)strbuf_add_str(&b, ", seccomp");
	if (abi > 0) {
		(void)strbuf_printf(&b, ", landlock %d", abi);
	} else if (p->files != SF_ALL) {
		(void)strbuf_add_str(&b, ", no landlock in this kernel");
	}
	(void)strbuf_add_str(&b, ", no_new_privs");
#ifdef VEREDUS_DEBUG_WALLS
	(void)strbuf_add_str(&b, ", +debug");
#endif
	memcpy(words, strbuf_slice(&b).p, b.n);
	words[b.n] = '\0';
	strbuf_clear(&b);
}

void
sandbox_walls(const struct sandbox_request *rq, struct sandbox_identity id,
    char *words, size_t cap)
{
	const struct sandbox_profile *p = sandbox_profile(rq->program);
	bool chrooted = false;
	int ruleset, abi = 0, r;

	set_limits(p);
	ruleset = sandbox_landlock_prepare(p, rq, &abi);
	if (ruleset == -2) {
		fail(p, "landlock");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) {
		fail(p, "no_new_privs");
	}
#ifndef VEREDUS_DEBUG_WALLS
	chrooted = p->chroot && id.change;
#endif
	if (chrooted) {
		enter_empty(p, rq->empty_dir);
	}
	if (id.change) {
		become(p, id.uid, id.gid);
	}
	drop_capabilities(p);
	if (!p->keep_root) {
		check_no_way_back(p);
	}
	if (ruleset >= 0 && sandbox_landlock_restrict(ruleset) == -1) {
		fail(p, "landlock");
	}
#ifndef VEREDUS_DEBUG_WALLS
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1) {
		fail(p, "not dumpable");
	}
#endif
	say_words(p, chrooted, abi, words, cap);
	r = sandbox_seccomp(p);
	if (r < 0) {
		errno = -r;
		fail(p, "seccomp");
	}
}

void
sandbox_enter(const struct sandbox_request *rq, char *words, size_t cap)
{
	const struct sandbox_profile *p = sandbox_profile(rq->program);
	struct sandbox_identity id;

	if (p == NULL) {
		log_panic("sandbox: no profile for program %d", rq->program);
	}
	if (!sandbox_seccomp_ready(p)) { /* else it was loaded then */
		load_before_lock(p);
	}
	id = find_identity(p, rq);
	if (rq->probe) {
		sandbox_probe(rq, id);
	}
	sandbox_walls(rq, id, words, cap);
}

void
sandbox_prepare(enum ipc_role program, enum ipc_role parent)
{
#ifndef VEREDUS_DEBUG_WALLS
	const struct sandbox_profile *p = sandbox_profile(program);
	int r = sandbox_seccomp_prepare(p, sandbox_profile(parent));

	load_before_lock(p);
	if (r < 0) {
		log_warn("sandbox: %s: a filter for all cannot be made: %s",
		    ipc_role_name(program), strerror(-r));
	}
#else
	(void)program;
	(void)parent;
#endif
}
