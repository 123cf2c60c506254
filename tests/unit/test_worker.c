/* A whole worker: forked, become the user, behind its walls, delivering. As
   root it really becomes another user; else it stays who it is. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ipc.h"
#include "common/log.h"
#include "common/sandbox_impl.h"
#include "local/become.h"
#include "tests/unit/unit.h"

#define USER_UID 61000u

struct world {
	char path[64];       /* the instance's directory */
	char home[80];
	struct settings settings;
	unsigned uid;        /* of the user */
	pid_t pid;
	struct ipc_sync c;
};

static void
set(struct settings *s, const char *name, const char *value)
{
	struct strbuf why;

	strbuf_init(&why, 0);
	assert_true(settings_set(s, settings_find(slice_of(name)),
	    slice_of(value), &why));
	strbuf_clear(&why);
}

static void
write_passwd(struct world *w)
{
	char path[80], source[90];
	FILE *f;

	assert_true(snprintf(path, sizeof(path), "%s/passwd", w->path) < 80);
	assert_true(snprintf(source, sizeof(source), "file:%s", path) < 90);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fprintf(f, "ann:x:%u:%u::%s:/bin/sh\n"
	    "root:x:0:0::%s:\nhomeless:x:%u:%u::%s/none:\n"
	    "other:x:%u:61001::%s:\nann.lock:x:%u:%u::%s:\n", w->uid, w->uid,
	    w->home, w->home, w->uid, w->uid, w->path, 61001u, w->home, w->uid,
	    w->uid, w->home) > 0);
	assert_int_equal(fclose(f), 0);
	set(&w->settings, "local_users", source);
}

static int
raise_curtain(void **state)
{
	static struct world w;

	log_setup(NULL, false);
	memset(&w, 0, sizeof(w));
	w.uid = geteuid() == 0 ? USER_UID : (unsigned)geteuid();
	memcpy(w.path, "/tmp/vrdworkXXXXXX", 19);
	assert_non_null(mkdtemp(w.path));
	assert_int_equal(chmod(w.path, 0755), 0);
	assert_true(snprintf(w.home, sizeof(w.home), "%s/ann", w.path) < 80);
	assert_int_equal(mkdir(w.home, 0700), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(w.home, USER_UID, USER_UID), 0);
	}
	settings_init(&w.settings);
	set(&w.settings, "myhostname", "mx.test");
	set(&w.settings, "home_mailbox", "Maildir/");
	write_passwd(&w);
	w.c.fd = -1;
	*state = &w;
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	(void)ftw;
	return remove(path);
}

static int
drop_curtain(void **state)
{
	struct world *w = *state;

	ipc_sync_clear(&w->c);
	settings_clear(&w->settings);
	return nftw(w->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
start(struct world *w, const char *name)
{
	struct become b = { .settings = &w->settings, .name = name };
	int sv[2];

	ipc_sync_clear(&w->c);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
	    0);
	w->pid = fork();
	assert_true(w->pid != -1);
	if (w->pid == 0) {
		(void)close(sv[0]);
		b.sock = sv[1];
		_exit(become_worker(&b));
	}
	(void)close(sv[1]);
	w->c = (struct ipc_sync){ .fd = sv[0], .me = IPC_LOCAL,
		.peer = IPC_WORKER };
}

/* The worker's end; its exit code. */
static int
end(struct world *w)
{
	int status;

	ipc_sync_clear(&w->c);
	assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
job(struct ipc_build *ib, struct strbuf *b, uint32_t tid, const char *content)
{
	ipc_build_begin(ib, b, IPC_JOB, tid);
	ipc_build_u(ib, 1000 + tid);
	ipc_build_u(ib, 0);
	ipc_build_u(ib, 0);
	ipc_build_u(ib, 1700000000000042u);
	ipc_build_s(ib, SL("s@y.test"));
	ipc_build_s(ib, SL("ann@x.test"));
	ipc_build_s(ib, SL("team@x.test"));
	ipc_build_s(ib, SL(""));
	ipc_build_u(ib, 0);
	ipc_build_u(ib, strlen(content));
	ipc_build_s(ib, slice_of(content));
	ipc_build_end(ib);
}

static void
expect_result(struct world *w, uint32_t tid, enum fate fate, const char *text)
{
	struct ipc_msg m;

	assert_int_equal(ipc_sync_read(&w->c, &m, 10000), 1);
	assert_int_equal(m.type, IPC_JOB_RESULT);
	assert_int_equal(m.tid, tid);
	assert_int_equal(ipc_u(&m, 0), 1000 + tid);
	assert_int_equal(ipc_u(&m, 2), fate);
	assert_slice(ipc_s(&m, 4), text);
}

static void
expect_refusal(struct world *w, enum fate fate, const char *esc,
    const char *text)
{
	struct ipc_msg m;

	assert_int_equal(ipc_sync_read(&w->c, &m, 10000), 1);
	assert_int_equal(m.type, IPC_WORKER_FAILED);
	assert_int_equal(ipc_u(&m, 0), fate);
	assert_slice(ipc_s(&m, 1), esc);
	assert_non_null(memmem(ipc_s(&m, 2).p, ipc_s(&m, 2).n, text,
	    strlen(text)));
	assert_int_equal(end(w), 0);
}

/* -- the plays -------------------------------------------------------------------------- */

static void
delivers_as_the_user(void **state)
{
	struct world *w = *state;
	struct ipc_build ib;
	struct strbuf b;
	struct stat st;
	char path[160];
	uint32_t i;

	strbuf_init(&b, 0);
	start(w, "ann");
	for (i = 1; i <= 100; i++) { /* more than a batch at once */
		job(&ib, &b, i, "A: b\r\n\r\nhello\r\n");
	}
	assert_int_equal(ipc_sync_write(w->c.fd, strbuf_slice(&b)), 0);
	for (i = 1; i <= 100; i++) {
		expect_result(w, i, FATE_DELIVERED, "delivered to maildir");
	}
	strbuf_reset(&b);
	job(&ib, &b, 101, "Delivered-To: ann@x.test\r\n\r\n");
	assert_int_equal(ipc_sync_write(w->c.fd, strbuf_slice(&b)), 0);
	expect_result(w, 101, FATE_FAILED,
	    "mail forwarding loop for ann@x.test");
	assert_int_equal(end(w), 0);
	assert_true(snprintf(path, sizeof(path), "%s/Maildir/new/"
	    "1700000000.M000042V000000000012DR0.mx.test", w->home) < 160);
	assert_int_equal(stat(path, &st), -1);
	assert_true(snprintf(path, sizeof(path), "%s/Maildir/new/"
	    "1700000000.M000042V00000000000V9R0.mx.test", w->home) < 160);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, w->uid);
	assert_int_equal(st.st_mode & 07777, 0600);
	strbuf_clear(&b);
}

/* The content comes by descriptor; it is closed when it has been read. */
static void
delivers_from_a_file(void **state)
{
	struct world *w = *state;
	int fd = memfd_create("content", MFD_CLOEXEC), i;
	struct iovec iov;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl.room, .msg_controllen = sizeof(ctl.room) };
	struct cmsghdr *cm;
	struct ipc_build ib;
	struct strbuf b;

	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, "--A: b\r\n", 8, 0), 8);
	start(w, "ann");
	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_JOB_FILE, 5);
	for (i = 0; i < 3; i++) {
		ipc_build_u(&ib, i == 0 ? 1005 : 0);
	}
	ipc_build_u(&ib, 1700000000000042u);
	ipc_build_s(&ib, SL("s@y.test"));
	ipc_build_s(&ib, SL("ann@x.test"));
	ipc_build_s(&ib, SL("ann@x.test"));
	ipc_build_s(&ib, SL(""));
	ipc_build_u(&ib, 0);
	ipc_build_u(&ib, 6);
	ipc_build_u(&ib, 2);
	ipc_build_f(&ib);
	ipc_build_end(&ib);
	memset(&ctl, 0, sizeof(ctl));
	cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	iov = (struct iovec){ b.p, b.n };
	assert_int_equal(sendmsg(w->c.fd, &mh, 0), b.n);
	expect_result(w, 5, FATE_DELIVERED, "delivered to maildir");
	assert_int_equal(end(w), 0);
	(void)close(fd);
	strbuf_clear(&b);
}

static void
finishes_when_nobody_listens(void **state)
{
	struct world *w = *state;
	struct ipc_build ib;
	struct strbuf b;
	struct stat st;
	char path[160];

	strbuf_init(&b, 0);
	start(w, "ann");
	job(&ib, &b, 1, "A: b\r\n\r\nhello\r\n");
	assert_int_equal(ipc_sync_write(w->c.fd, strbuf_slice(&b)), 0);
	assert_int_equal(end(w), 0);
	assert_true(snprintf(path, sizeof(path), "%s/Maildir/new/"
	    "1700000000.M000042V00000000000V9R0.mx.test", w->home) < 160);
	assert_int_equal(stat(path, &st), 0);
	strbuf_clear(&b);
}

static void
says_why_it_cannot(void **state)
{
	struct world *w = *state;

	start(w, "nobody-here");
	expect_refusal(w, FATE_FAILED, "5.1.1", "no such user: nobody-here");
	set(&w->settings, "default_privs", "nobody-here");
	start(w, "root");
	expect_refusal(w, FATE_DEFERRED, "4.3.5", "give root an "
	    "alias");
	set(&w->settings, "default_privs", "nobody");
	start(w, "homeless");
	expect_refusal(w, FATE_DEFERRED, "4.2.0", "/none: No such file");
	if (geteuid() != 0) {
		start(w, "other");
		expect_refusal(w, FATE_DEFERRED, "4.3.5",
		    "this instance runs without root");
	}
	set(&w->settings, "home_mailbox", "");
	set(&w->settings, "mail_spool_directory", "/nowhere/mail");
	start(w, "ann");
	expect_refusal(w, FATE_DEFERRED, "4.2.0", "/nowhere/mail: No such");
	start(w, "ann.lock");
	expect_refusal(w, FATE_DEFERRED, "4.3.5", "that is a lock's name");
	set(&w->settings, "home_mailbox", "Maildir/");
	set(&w->settings, "local_users", "file:/nowhere/passwd");
	start(w, "ann");
	expect_refusal(w, FATE_DEFERRED, "4.3.0", "/nowhere/passwd: No such");
}

/* -- mbox ---------------------------------------------------------------------------- */

static void
expect_mbox(const struct world *w, const char *name, uid_t uid, gid_t gid,
    mode_t mode)
{
	struct stat st;
	char path[160];

	assert_true(snprintf(path, sizeof(path), "%s/%s", w->path, name) < 160);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 0);
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, gid);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void
deliver_one(struct world *w, const char *name, const char *text)
{
	struct ipc_build ib;
	struct strbuf b;

	strbuf_init(&b, 0);
	start(w, name);
	job(&ib, &b, 1, "A: b\r\n");
	assert_int_equal(ipc_sync_write(w->c.fd, strbuf_slice(&b)), 0);
	expect_result(w, 1, FATE_DELIVERED, text);
	assert_int_equal(end(w), 0);
	strbuf_clear(&b);
}

static void
delivers_into_an_mbox_of_the_home(void **state)
{
	struct world *w = *state;

	set(&w->settings, "local_delivery_timeout", "60");
	set(&w->settings, "home_mailbox", "mail/in box");
	deliver_one(w, "ann", "delivered to mbox");
	expect_mbox(w, "ann/mail/in box", w->uid,
	    geteuid() == 0 ? w->uid : getegid(), 0600);
}

/* Neither the home nor the name of the directory above matters; the group of
   the spool does. */
static void
delivers_into_the_mail_spool(void **state)
{
	struct world *w = *state;
	const bool root = geteuid() == 0;
	const struct group *mail = getgrnam("mail");
	char spool[100];

	assert_true(snprintf(spool, sizeof(spool), "%s/spool", w->path) < 100);
	assert_int_equal(mkdir(spool, 0700), 0);
	if (root) {
		assert_non_null(mail);
		assert_int_equal(chown(spool, 0, mail->gr_gid), 0);
		assert_int_equal(chmod(spool, 02775), 0);
		assert_int_equal(chmod(w->path, 0700), 0);
	}
	set(&w->settings, "local_delivery_timeout", "60");
	set(&w->settings, "home_mailbox", "");
	set(&w->settings, "mail_spool_directory", spool);
	deliver_one(w, "homeless", "delivered to mbox");
	expect_mbox(w, "spool/homeless", w->uid, root ? mail->gr_gid :
	    getegid(), root ? 0660 : 0600);
	deliver_one(w, "homeless", "delivered to mbox");
	if (root) { /* for root whatever home_mailbox says */
		const struct passwd *pw = getpwnam("nobody");

		set(&w->settings, "home_mailbox", "Maildir/");
		set(&w->settings, "default_privs", "nobody");
		deliver_one(w, "root", "delivered to mbox");
		expect_mbox(w, "spool/root", pw->pw_uid, mail->gr_gid, 0660);
	}
}

/* As root: the user may not pass the directory above, and is yet served; what
   is outside of the home is out of reach. */
static void
stays_in_the_home(void **state)
{
	struct world *w = *state;
	struct ipc_build ib;
	struct strbuf b;
	char path[160];

	strbuf_init(&b, 0);
	if (geteuid() == 0) {
		assert_int_equal(chmod(w->path, 0700), 0);
	}
	start(w, "ann");
	job(&ib, &b, 1, "A: b\r\n");
	assert_int_equal(ipc_sync_write(w->c.fd, strbuf_slice(&b)), 0);
	expect_result(w, 1, FATE_DELIVERED, "delivered to maildir");
	assert_int_equal(end(w), 0);
	/* A Maildir that leads out of the home, into another of the user's
	   directories: the wall is Landlock's, where there is one. */
	assert_int_equal(chmod(w->path, 0755), 0);
	assert_true(snprintf(path, sizeof(path), "%s/outside", w->path) < 160);
	assert_int_equal(mkdir(path, 0700), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, USER_UID, USER_UID), 0);
	}
	assert_true(snprintf(path, sizeof(path), "%s/M2", w->home) < 160);
	assert_int_equal(symlink("../outside", path), 0);
	set(&w->settings, "home_mailbox", "M2/");
	start(w, "ann");
	assert_int_equal(ipc_sync_write(w->c.fd, strbuf_slice(&b)), 0);
	if (sandbox_landlock_abi() > 0) {
		expect_result(w, 1, FATE_DEFERRED, "M2/: Permission denied");
	} else {
		expect_result(w, 1, FATE_DELIVERED, "delivered to maildir");
	}
	assert_int_equal(end(w), 0);
	strbuf_clear(&b);
}

static void
leaves_a_bad_dispatcher(void **state)
{
	struct world *w = *state;
	struct ipc_msg m;

	start(w, "ann");
	assert_int_equal(ipc_sync_write(w->c.fd, SL("\1\1\0\0garbage")), 0);
	assert_int_equal(ipc_sync_write(w->c.fd, SL("garbage, and more")), 0);
	assert_true(ipc_sync_read(&w->c, &m, 10000) <= 0);
	assert_int_not_equal(end(w), 0);
}

#define PLAY(f) cmocka_unit_test_setup_teardown(f, raise_curtain, drop_curtain)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(delivers_as_the_user),
		PLAY(delivers_from_a_file),
		PLAY(finishes_when_nobody_listens),
		PLAY(says_why_it_cannot),
		PLAY(delivers_into_an_mbox_of_the_home),
		PLAY(delivers_into_the_mail_spool),
		PLAY(stays_in_the_home),
		PLAY(leaves_a_bad_dispatcher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
