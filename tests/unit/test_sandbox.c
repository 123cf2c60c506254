/*
 * The walls: each profile is entered by a child, as root and as a plain user.
 * The probe's acts are tried in it; and what the program needs still works.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sandbox.h"
#include "tests/unit/unit.h"

#define PLAIN_UID 65534

static char top[64], empty[80], inside[80], outside[80];

static const struct row {
	enum ipc_role program;
	const char *name, *user;
} rows[] = {
	{ IPC_LOG, "log", "_vlog" },
	{ IPC_USERS, "users", "_vusers" },
	{ IPC_CLEANUP, "cleanup", "_vqueue" },
	{ IPC_QMGR, "qmgr", "_vqmgr" },
	{ IPC_FORKER, "forker", NULL },
	{ IPC_LOCAL, "local", "_vlocal" },
	{ IPC_WORKER, "worker", "65534" },
	{ IPC_SMTPD, "smtpd", "_vsmtpd" },
	{ IPC_REMOTE, "remote", "_vremote" },
	{ IPC_DNS, "dns", "_vdns" },
};

static int
make_dirs(void **state)
{
	(void)state;
	(void)snprintf(top, sizeof(top), "/tmp/veredus-walls-XXXXXX");
	if (mkdtemp(top) == NULL) {
		return -1;
	}
	(void)snprintf(empty, sizeof(empty), "%s/empty", top);
	(void)snprintf(inside, sizeof(inside), "%s/in", top);
	(void)snprintf(outside, sizeof(outside), "%s/out", top);
	return chmod(top, 0755) == -1 || mkdir(empty, 0755) == -1 ||
	    mkdir(inside, 0777) == -1 || chmod(inside, 0777) == -1 ||
	    mkdir(outside, 0777) == -1 || chmod(outside, 0777) == -1 ? -1 : 0;
}

static int
remove_dirs(void **state)
{
	char name[128];

	(void)state;
	(void)snprintf(name, sizeof(name), "%s/made", inside);
	(void)unlink(name);
	(void)snprintf(name, sizeof(name), "%s/made", outside);
	(void)unlink(name);
	(void)rmdir(inside);
	(void)rmdir(outside);
	(void)rmdir(empty);
	(void)rmdir(top);
	return 0;
}

static void
become_plain(void)
{
	if (setgroups(0, NULL) == -1 || setgid(PLAIN_UID) == -1 ||
	    setuid(PLAIN_UID) == -1) {
		_exit(99);
	}
}

static void
enter(const struct row *row, bool probe)
{
	const struct sandbox_path paths[] = { { inside, true },
		{ "/usr/share", false } };
	const struct sandbox_request rq = { .program = row->program,
		.user = row->user, .empty_dir = empty, .paths = paths,
		.npaths = NELEMS(paths), .probe = probe };
	char words[256];

	sandbox_enter(&rq, words, sizeof(words));
	(void)dprintf(STDERR_FILENO, "words: %s\n", words);
}

/* Run `body' in a child whose descriptor 2 is caught; its exit status. */
static int
run(void (*body)(const struct row *), const struct row *row, bool plain,
    char *said, size_t cap)
{
	int fds[2], status;
	size_t n = 0;
	ssize_t r;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		(void)dup2(fds[1], STDERR_FILENO);
		(void)close(fds[0]);
		if (plain) {
			become_plain();
		}
		body(row);
		_exit(0);
	}
	(void)close(fds[1]);
	while ((r = read(fds[0], said + n, cap - 1 - n)) > 0) {
		n += (size_t)r;
	}
	said[n] = '\0';
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
probe_body(const struct row *row)
{
	enter(row, true);
}

static bool
am_root(void)
{
	return geteuid() == 0;
}

static void
check_probe(bool plain)
{
	static char said[65536];
	unsigned acts, denied, breaches;
	const char *last;
	size_t i;
	int status;

	for (i = 0; i < NELEMS(rows); i++) {
		status = run(probe_body, &rows[i], plain, said, sizeof(said));
		if (status != 0 || strstr(said, "BREACH") != NULL) {
			print_error("%s: status %d\n%s", rows[i].name, status,
			    said);
			fail();
		}
		last = strstr(said, " breaches");
		assert_non_null(last);
		while (last > said && last[-1] != '\n') {
			last--;
		}
		assert_int_equal(sscanf(last, "wall_probe: %u acts, %u denied, "
		    "%u breaches", &acts, &denied, &breaches), 3);
		assert_true(acts >= 40);
		assert_int_equal(breaches, 0);
#ifndef VEREDUS_DEBUG_WALLS
		assert_true(denied >= 40);
		if (rows[i].program == IPC_SMTPD) {
			assert_int_equal(denied, acts);
		}
#endif
	}
}

static void
probes_as_started(void **state)
{
	(void)state;
	check_probe(false);
}

static void
probes_as_plain_user(void **state)
{
	(void)state;
	if (!am_root()) {
		skip(); /* the test before was this one */
	}
	check_probe(true);
}

/* -- the words, the uid ---------------------------------------------------- */

static void
plain_body(const struct row *row)
{
	enter(row, false);
}

static void
says_what_stands(void **state)
{
	static char said[4096];
	char wanted[64];
	size_t i;
	unsigned uid, gid;
	bool plain;

	(void)state;
	for (i = 0; i < 2 * NELEMS(rows); i++) {
		const struct row *row = &rows[i / 2];

		plain = i % 2 == 1;
		if (plain && !am_root()) {
			continue;
		}
		assert_int_equal(run(plain_body, row, plain, said,
		    sizeof(said)), 0);
		uid = plain ? PLAIN_UID : (unsigned)geteuid();
		if (am_root() && !plain && row->user != NULL) {
			assert_int_equal(sandbox_account(row->user, &uid,
			    &gid), 0);
		}
		(void)snprintf(wanted, sizeof(wanted), "words: uid %u,", uid);
		assert_non_null(strstr(said, wanted));
		assert_non_null(strstr(said, "seccomp"));
		assert_non_null(strstr(said, "no_new_privs"));
#ifndef VEREDUS_DEBUG_WALLS
		assert_true((strstr(said, "chroot") != NULL) ==
		    (am_root() && !plain && (row->program == IPC_LOG ||
		    row->program == IPC_QMGR || row->program == IPC_LOCAL ||
		    row->program == IPC_SMTPD ||
		    row->program == IPC_REMOTE)));
#endif
	}
}

/* -- what must go on working ----------------------------------------------- */

#define NEED(x)                                                                \
	do {                                                                   \
		if (!(x)) {                                                    \
			(void)dprintf(STDERR_FILENO, "failed: %s: %s\n", #x,   \
			    strerror(errno));                                  \
			_exit(1);                                              \
		}                                                              \
	} while (0)

/* Loop, sockets, memory, time: every program. */
static void
serve_body(const struct row *row)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int pair[2], ep;
	char c;
	void *p;

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	enter(row, false);
	NEED((ep = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	NEED(epoll_ctl(ep, EPOLL_CTL_ADD, pair[0], &ev) == 0);
	NEED(send(pair[1], "x", 1, MSG_NOSIGNAL) == 1);
	NEED(epoll_wait(ep, &ev, 1, 5000) == 1);
	NEED(recv(pair[0], &c, 1, 0) == 1 && c == 'x');
	NEED((p = malloc(64 << 20)) != NULL);
	memset(p, 1, 64 << 20);
	free(p);
	NEED(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
	NEED(recv(pair[0], &c, 1, 0) == -1 && errno == EAGAIN);
	NEED(close(pair[0]) == 0);
}

static void
serves_behind_walls(void **state)
{
	static char said[8192];
	size_t i;
	int status;

	(void)state;
	for (i = 0; i < 2 * NELEMS(rows); i++) {
		if (i % 2 == 1 && !am_root()) {
			continue;
		}
		status = run(serve_body, &rows[i / 2], i % 2 == 1, said,
		    sizeof(said));
		if (status != 0) {
			print_error("%s: %d\n%s", rows[i / 2].name, status,
			    said);
		}
		assert_int_equal(status, 0);
	}
}

static void *
thread_main(void *arg)
{
	*(int *)arg = 7;
	return NULL;
}

/* cleanup and worker: files inside, none outside; cleanup's threads. */
static void
files_body(const struct row *row)
{
	char in[128], in2[128], out[128];
	pthread_t t;
	int fd, x = 0;

	(void)snprintf(in, sizeof(in), "%s/.made", inside);
	(void)snprintf(in2, sizeof(in2), "%s/made", inside);
	(void)snprintf(out, sizeof(out), "%s/made", outside);
	enter(row, false);
	NEED((fd = open(in, O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	NEED(write(fd, "x", 1) == 1 && fdatasync(fd) == 0);
	NEED(rename(in, in2) == 0);
	NEED(close(fd) == 0);
	NEED((fd = open(inside, O_RDONLY | O_DIRECTORY)) >= 0);
	NEED(fsync(fd) == 0 && unlinkat(fd, "made", 0) == 0);
	if (row->program == IPC_WORKER) {
#ifndef VEREDUS_DEBUG_WALLS
		NEED(pthread_create(&t, NULL, thread_main, &x) == EPERM);
#endif
	} else {
		NEED(pthread_create(&t, NULL, thread_main, &x) == 0);
		NEED(pthread_join(t, NULL) == 0 && x == 7);
	}
#ifndef VEREDUS_DEBUG_WALLS
	NEED(open(out, O_RDWR | O_CREAT, 0600) == -1 && errno == EACCES);
	NEED(open("/usr/share", O_RDONLY | O_DIRECTORY) >= 0);
	NEED(open("/usr/share/made", O_RDWR | O_CREAT, 0600) == -1);
	NEED(open("/usr", O_RDONLY | O_DIRECTORY) == -1 && errno == EACCES);
#endif
}

/* users: the database, on a thread. */
static void *
look_up(void *arg)
{
	const struct passwd *pw = getpwnam("root");

	*(int *)arg = pw != NULL && pw->pw_uid == 0;
	return NULL;
}

static void
users_body(const struct row *row)
{
	pthread_t t;
	int x = 0;

	enter(row, false);
	NEED(pthread_create(&t, NULL, look_up, &x) == 0);
	NEED(pthread_join(t, NULL) == 0 && x == 1);
	errno = 0;
	NEED(getpwnam("no-such-user-here") == NULL);
}

/* smtpd, qmgr: accept on a given listener. */
static void
accept_body(const struct row *row)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int l, c;

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%cveredus-%d", 0,
	    (int)getpid());
	NEED((l = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
	NEED(bind(l, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	NEED(listen(l, 1) == 0);
	NEED((c = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
	NEED(connect(c, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	enter(row, false);
	NEED(accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) >= 0);
	NEED(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EPERM);
}

/* remote, dns: connect over TCP, and take no connection. */
static void
connect_body(const struct row *row)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	socklen_t n = sizeof(in4);
	int l, c;

	in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	NEED((l = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	NEED(bind(l, (struct sockaddr *)&in4, n) == 0);
	NEED(listen(l, 1) == 0);
	NEED(getsockname(l, (struct sockaddr *)&in4, &n) == 0);
	enter(row, false);
	NEED((c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
	NEED(connect(c, (struct sockaddr *)&in4, n) == 0);
	NEED(send(c, "x", 1, MSG_NOSIGNAL) == 1);
#ifndef VEREDUS_DEBUG_WALLS
	NEED(accept(l, NULL, NULL) == -1 && errno == EPERM);
#endif
	NEED(listen(c, 1) == -1);
}

/* forker: a child becomes a user and enters walls of its own. */
static void
make_worker(const struct row *row, void (*body)(const struct row *))
{
	const struct row worker = { IPC_WORKER, "worker", NULL };
	int status;
	pid_t pid;

	enter(row, false);
	NEED((pid = fork()) != -1);
	if (pid == 0) {
		if (geteuid() == 0) {
			become_plain();
		}
		body(&worker);
		_exit(0);
	}
	NEED(waitpid(pid, &status, 0) == pid && status == 0);
}

static void
forker_body(const struct row *row)
{
	make_worker(row, files_body);
}

static void
forker_probe_body(const struct row *row)
{
	make_worker(row, probe_body);
}

static void
check_body(void (*body)(const struct row *), enum ipc_role program)
{
	static char said[8192];
	size_t i;
	int status, turn;

	for (i = 0; i < NELEMS(rows); i++) {
		for (turn = 0; turn < (am_root() ? 2 : 1); turn++) {
			if (rows[i].program != program) {
				continue;
			}
			status = run(body, &rows[i], turn == 1, said,
			    sizeof(said));
			if (status != 0) {
				print_error("%s: %d\n%s", rows[i].name, status,
				    said);
			}
			assert_int_equal(status, 0);
		}
	}
}

static void
files_where_they_belong(void **state)
{
	(void)state;
	check_body(files_body, IPC_CLEANUP);
	check_body(files_body, IPC_WORKER);
}

static void
users_looks_up(void **state)
{
	(void)state;
	check_body(users_body, IPC_USERS);
}

static void
accepts(void **state)
{
	(void)state;
	check_body(accept_body, IPC_SMTPD);
	check_body(accept_body, IPC_QMGR);
	check_body(accept_body, IPC_CLEANUP);
}

static void
connects(void **state)
{
	(void)state;
	check_body(connect_body, IPC_REMOTE);
	check_body(connect_body, IPC_DNS);
}

static void
forker_makes_workers(void **state)
{
	(void)state;
	check_body(forker_body, IPC_FORKER);
}

/* The worker's probe runs behind the forker's walls, and then its own. */
static void
workers_probe(void **state)
{
	static char said[65536];
	int turn;

	(void)state;
	for (turn = 0; turn < (am_root() ? 2 : 1); turn++) {
		assert_int_equal(run(forker_probe_body, &rows[4], turn == 1,
		    said, sizeof(said)), 0);
		assert_null(strstr(said, "BREACH"));
		assert_non_null(strstr(said, " 0 breaches"));
	}
}

/* -- what refuses to start ------------------------------------------------- */

static void
refuses(void **state)
{
	static const struct row bad[] = {
		{ IPC_SMTPD, "smtpd", "no-such-account-here" },
		{ IPC_SMTPD, "smtpd", "0" },
		{ IPC_WORKER, "worker", NULL }, /* still root */
	};
	static char said[8192];
	size_t i;

	(void)state;
	if (!am_root()) {
		skip(); /* about who root becomes */
	}
	for (i = 0; i < NELEMS(bad); i++) {
		assert_int_not_equal(run(plain_body, &bad[i], false, said,
		    sizeof(said)), 0);
	}
	assert_int_equal(chmod(empty, 0777), 0);
#ifndef VEREDUS_DEBUG_WALLS
	assert_int_not_equal(run(plain_body, &rows[7], false, said,
	    sizeof(said)), 0);
	assert_non_null(strstr(said, "not writable by others"));
#endif
	assert_int_equal(chmod(empty, 0755), 0);
}

static void
accounts(void **state)
{
	unsigned uid = 1, gid = 1;

	(void)state;
	assert_int_equal(sandbox_account("root", &uid, &gid), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(sandbox_account("4000000", &uid, &gid), 0);
	assert_int_equal(uid, 4000000);
	assert_int_equal(gid, 4000000);
	if (getpwnam("_vsmtpd") == NULL) {
		assert_int_equal(sandbox_account("_vsmtpd", &uid, &gid), 0);
		assert_int_equal(uid, 986);
		assert_int_equal(gid, 986);
	}
	assert_int_equal(sandbox_account("_vnothing", &uid, &gid), -1);
	assert_int_equal(sandbox_account("", &uid, &gid), -1);
	assert_int_equal(sandbox_account("4294967295", &uid, &gid), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probes_as_started),
		cmocka_unit_test(probes_as_plain_user),
		cmocka_unit_test(says_what_stands),
		cmocka_unit_test(serves_behind_walls),
		cmocka_unit_test(files_where_they_belong),
		cmocka_unit_test(users_looks_up),
		cmocka_unit_test(accepts),
		cmocka_unit_test(connects),
		cmocka_unit_test(forker_makes_workers),
		cmocka_unit_test(workers_probe),
		cmocka_unit_test(refuses),
		cmocka_unit_test(accounts),
	};

	return cmocka_run_group_tests(tests, make_dirs, remove_dirs);
}
