/* Who else has an mbox file, or stands in its place: locks of other programs,
   and links, FIFOs, devices and the like in a directory that others write to
   (CVE-2008-2936 and its kin). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/unit.h"
#include "tests/unit/maildir_kit.h"

#define OTHER 61000u

/* -- the place of the mailbox, or of its lock ---------------------------------- */

enum thing { LINK_TO_FILE, LINK_TO_SECRET, DANGLING, HARD_LINK, FIFO, SOCKET_,
	DIRECTORY, DEVICE, ANOTHERS };

static void
bind_socket(const struct world *w, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_true(snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/%s", w->path,
	    name) < (int)sizeof(sa.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	(void)close(fd);
}

/* False: only root can. */
static bool
put(struct world *w, enum thing t, const char *name)
{
	int r = 0;

	switch (t) {
	case LINK_TO_FILE:
		r = symlinkat("victim", w->home, name);
		break;
	case LINK_TO_SECRET:
		r = symlinkat("/etc/passwd", w->home, name);
		break;
	case DANGLING:
		r = symlinkat("nowhere", w->home, name);
		break;
	case HARD_LINK:
		r = linkat(w->home, "victim", w->home, name, 0);
		break;
	case FIFO:
		r = mkfifoat(w->home, name, 0666);
		break;
	case SOCKET_:
		bind_socket(w, name);
		break;
	case DIRECTORY:
		r = mkdirat(w->home, name, 0777);
		break;
	case DEVICE:
		if (geteuid() != 0 || mknodat(w->home, name, S_IFCHR | 0666,
		    makedev(1, 7)) == -1) { /* /dev/full */
			return false;
		}
		break;
	case ANOTHERS:
		if (geteuid() != 0) {
			return false;
		}
		touch(w, name, "mine\n");
		r = fchownat(w->home, name, OTHER, OTHER, 0);
		break;
	}
	assert_int_equal(r, 0);
	return true;
}

static void
mail_spool_links_are_not_followed(void **state)
{
	static const struct {
		enum thing thing;
		const char *why;
	} rows[] = {
		{ LINK_TO_FILE, "is a symbolic link" },
		{ LINK_TO_SECRET, "is a symbolic link" },
		{ DANGLING, "is a symbolic link" },
		{ HARD_LINK, "has 2 names" },
		{ FIFO, "is a FIFO" },
		{ SOCKET_, "is a socket" },
		{ DIRECTORY, "is a directory" },
		{ DEVICE, "is a device" },
		{ ANOTHERS, "belongs to uid 61000" },
	};
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");
	struct stat st;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		empty_home(w);
		start_anew(w);
		touch(w, "victim", "precious\n");
		if (!put(w, rows[i].thing, "ann")) {
			continue;
		}
		deliver_one(w, &m, FATE_DEFERRED);
		assert_string_equal(w->out[0].esc, "4.2.0");
		if (strstr(w->out[0].text, rows[i].why) == NULL) {
			fail_msg("%s instead of %s", w->out[0].text,
			    rows[i].why);
		}
		expect_file(w, "victim", SL("precious\n"));
		assert_int_equal(fstatat(w->home, "nowhere", &st, 0), -1);
		assert_int_equal(fstatat(w->home, "ann.lock", &st, 0), -1);
	}
}

/* In the lock's place: never opened for writing, waited for, then deferred. */
static void
lock_links_are_not_followed(void **state)
{
	static const enum thing things[] = { LINK_TO_FILE, LINK_TO_SECRET,
		DANGLING, HARD_LINK, FIFO, SOCKET_, DIRECTORY, DEVICE,
		ANOTHERS };
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");
	struct stat st;
	size_t i;

	for (i = 0; i < NELEMS(things); i++) {
		empty_home(w);
		start_anew(w);
		touch(w, "victim", "precious\n");
		if (!put(w, things[i], "ann.lock")) {
			continue;
		}
		deliver_one(w, &m, FATE_DEFERRED);
		assert_string_equal(w->out[0].esc, "4.2.0");
		assert_non_null(strstr(w->out[0].text, "mail/ann.lock: a lock "
		    "of uid "));
		expect_file(w, "victim", SL("precious\n"));
		expect_file(w, "ann", SL(""));
		assert_int_equal(fstatat(w->home, "nowhere", &st, 0), -1);
		assert_int_equal(unlinkat(w->home, "ann.lock",
		    things[i] == DIRECTORY ? AT_REMOVEDIR : 0), 0);
		deliver_one(w, &m, FATE_DELIVERED);
	}
}

/* As another user in a sticky directory: what root or a third one has put there
   can neither be used nor removed. */
static void
a_sticky_directory_of_others(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");
	const struct timespec old[2] = { { 1600000000, 0 }, { 1600000000, 0 } };
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		skip(); /* several uids */
	}
	assert_int_equal(fchmod(w->home, 01777), 0);
	touch(w, "ann.lock", "1\n");
	assert_int_equal(utimensat(w->home, "ann.lock", old, 0), 0);
	pid = fork();
	if (pid == 0) {
		if (setgid(OTHER) == -1 || setuid(OTHER) == -1) {
			_exit(2);
		}
		start_anew(w);
		deliver(w, &m, 1);
		if (w->out[0].fate != FATE_DEFERRED ||
		    strstr(w->out[0].text, "a lock of uid 0") == NULL) {
			_exit(3);
		}
		/* and the mailbox that it has made is its own */
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	expect_file(w, "ann", SL(""));
	deliver_one(w, &m, FATE_DEFERRED);
	assert_non_null(strstr(w->out[0].text, "belongs to uid 61000, not to "
	    "uid 0"));
}

/* -- locks ------------------------------------------------------------------------ */

/* A process that has both locks, as mail readers have, until `hold' is closed. */
static pid_t
lock_elsewhere(struct world *w, bool fcntl_lock, bool dotlock, int *hold)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int ready[2], go[2], fd;
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(go[1]);
		fd = openat(w->home, "ann", O_RDWR | O_CREAT, 0600);
		if (fd == -1 || (fcntl_lock && fcntl(fd, F_SETLK, &fl) == -1)) {
			_exit(2);
		}
		if (dotlock && openat(w->home, "ann.lock", O_WRONLY | O_CREAT |
		    O_EXCL, 0600) == -1) {
			_exit(3);
		}
		if (write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 0 ||
		    pwrite(fd, "From r\n\nread\n\n", 14, 0) != 14) {
			_exit(4);
		}
		if (dotlock) {
			(void)unlinkat(w->home, "ann.lock", 0);
		}
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	(void)close(go[0]);
	*hold = go[1];
	return pid;
}

static void
waits_for_other_programs(void **state)
{
	static const struct {
		bool fcntl_lock, dotlock;
		const char *why;
	} rows[] = {
		{ true, false, "mail/ann: another program has it locked" },
		{ false, true, "mail/ann.lock: a lock of uid" },
		{ true, true, "mail/ann: another program has it locked" },
	};
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");
	int hold, status;
	size_t i;
	pid_t pid;

	for (i = 0; i < NELEMS(rows); i++) {
		empty_home(w);
		start_anew(w);
		pid = lock_elsewhere(w, rows[i].fcntl_lock, rows[i].dotlock,
		    &hold);
		deliver_one(w, &m, FATE_DEFERRED);
		assert_string_equal(w->out[0].esc, "4.2.0");
		assert_non_null(strstr(w->out[0].text, rows[i].why));
		/* It lets go while we wait. */
		w->mbox.lock.wait_ms = 10000;
		(void)close(hold);
		deliver_one(w, &m, FATE_DELIVERED);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		expect_file(w, "ann", SL("From r\n\nread\n\n"
		    "From s@y.test Tue Nov 14 22:13:20 2023\n" FIELDS
		    "X-Veredus-Id: 0000I6HB7H6LS.0\nx\n\n"));
	}
}

/* A batch that cannot have the lock waits once, not for each message. */
static void
waits_once_a_batch(void **state)
{
	struct world *w = *state;
	struct delivery m[DELIVERY_BATCH];
	struct timespec t0, t1;
	int hold;
	size_t i;
	pid_t pid;

	for (i = 0; i < DELIVERY_BATCH; i++) {
		m[i] = message(QID + i, "x\r\n");
	}
	pid = lock_elsewhere(w, true, false, &hold);
	w->mbox.lock.wait_ms = 200;
	(void)clock_gettime(CLOCK_MONOTONIC, &t0);
	deliver(w, m, DELIVERY_BATCH);
	(void)clock_gettime(CLOCK_MONOTONIC, &t1);
	assert_true(t1.tv_sec - t0.tv_sec < 6); /* not 64 * 200 ms */
	for (i = 0; i < DELIVERY_BATCH; i++) {
		assert_int_equal(w->out[i].fate, FATE_DEFERRED);
	}
	(void)close(hold);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
removes_stale_locks(void **state)
{
	static const struct {
		mode_t mode;
		int age;
		bool removed;
	} rows[] = {
		{ MBOXLOCK_MODE, 0, true },  /* ours, and its maker is dead */
		{ 0600, 0, false }, { 0644, 0, false }, { 0444, 0, false },
		{ 0600, 250, false }, { 0600, 400, true }, { 0, 400, true },
		{ 0600, -400, false },       /* a clock that was set back */
	};
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");
	struct timespec times[2];
	struct stat st;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		empty_home(w);
		start_anew(w);
		touch(w, "ann.lock", "1\n");
		assert_int_equal(fchmodat(w->home, "ann.lock", rows[i].mode, 0),
		    0);
		(void)clock_gettime(CLOCK_REALTIME, &times[0]);
		times[0].tv_sec -= rows[i].age;
		times[1] = times[0];
		assert_int_equal(utimensat(w->home, "ann.lock", times, 0), 0);
		deliver_one(w, &m, rows[i].removed ? FATE_DELIVERED :
		    FATE_DEFERRED);
		assert_int_equal(fstatat(w->home, "ann.lock", &st, 0),
		    rows[i].removed ? -1 : 0);
	}
}

/* A lock of ours whose maker lives is nobody's to remove. */
static void
heeds_a_lock_of_ours(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");
	struct outcome o;
	int go[2], hold[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(hold), 0); /* ends with this process */
	pid = fork();
	if (pid == 0) {
		(void)close(go[0]);
		(void)close(hold[1]);
		start_anew(w);
		if (!mboxlock_take(&w->mbox.lock, &o)) {
			_exit(2);
		}
		(void)close(w->mbox.lock.fd); /* only NAME.lock is left */
		w->mbox.lock.fd = -1;
		_exit(write(go[1], "x", 1) == 1 ? (int)read(hold[0], &c, 1) :
		    4);
	}
	(void)close(go[1]);
	assert_int_equal(read(go[0], &c, 1), 1);
	deliver_one(w, &m, FATE_DEFERRED);
	assert_non_null(strstr(w->out[0].text, "mail/ann.lock: a lock of uid"));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	deliver_one(w, &m, FATE_DELIVERED);
	(void)close(go[0]);
	(void)close(hold[0]);
	(void)close(hold[1]);
}

/* Ten workers, as if of ten hosts, twenty messages each: all there, none in
   another. */
static void
many_writers_lose_nothing(void **state)
{
	struct world *w = *state;
	const char *want = "From s@y.test Tue Nov 14 22:13:20 2023\n" FIELDS;
	struct delivery m;
	struct strbuf b;
	size_t n = 0, i;
	const char *p;
	int k, status;

	for (k = 0; k < 10; k++) {
		if (fork() == 0) {
			start_anew(w);
			w->mbox.lock.wait_ms = 60000;
			for (i = 0; i < 20; i++) {
				m = message(QID + (unsigned)k * 100 + i,
				    "A: b\r\n\r\nFrom hello\r\n");
				deliver(w, &m, 1);
				if (w->out[0].fate != FATE_DELIVERED) {
					_exit(1);
				}
			}
			_exit(0);
		}
	}
	for (k = 0; k < 10; k++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	strbuf_init(&b, 0);
	read_path(w, "ann", &b);
	for (p = b.p; (p = strstr(p, want)) != NULL; p++) {
		n++;
	}
	assert_int_equal(n, 200);
	assert_int_equal(b.n, 200 * (strlen(want) + sizeof(
	    "X-Veredus-Id: 0000I6HB7H6LS.0\nA: b\n\n>From hello\n\n") - 1));
	strbuf_clear(&b);
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Replaces the file by a copy, with its lock, again and again until `go' is
   closed, as some readers do. Between two it leaves the lock alone for longer
   than it held it: who only tries it would else never get it on a slow disk. */
static int
replace_for_ever(const struct world *w, int go)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct pollfd end = { .fd = go, .events = POLLIN };
	struct stat have, there;
	struct strbuf b;
	int fd, copy, rest_ms = 0;

	while (poll(&end, 1, rest_ms) == 0) {
		uint64_t from = now_ms();

		fd = openat(w->home, "ann", O_RDWR);
		/* Not F_SETLKW: that lock goes with read_path()'s close. */
		if (fd == -1 || fcntl(fd, F_OFD_SETLKW, &fl) == -1 ||
		    fstat(fd, &have) == -1 ||
		    fstatat(w->home, "ann", &there, 0) == -1) {
			return 2;
		}
		if (have.st_ino == there.st_ino) {
			strbuf_init(&b, 0);
			read_path(w, "ann", &b);
			copy = openat(w->home, "fresh", O_WRONLY | O_CREAT |
			    O_TRUNC, 0600);
			if (write(copy, b.p, b.n) != (ssize_t)b.n ||
			    renameat(w->home, "fresh", w->home, "ann") == -1) {
				return 3;
			}
			(void)close(copy);
			strbuf_clear(&b);
		}
		(void)close(fd);
		rest_ms = 1 + (int)(now_ms() - from) * 2;
	}
	return 0;
}

static void
follows_a_file_that_is_replaced(void **state)
{
	struct world *w = *state;
	struct stat st, have, there;
	struct delivery m;
	unsigned i;
	int status, go[2];
	pid_t pid;
	time_t enough;

	m = message(QID, "x\r\n");
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(fstatat(w->home, "ann", &st, 0), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(go[1]);
		_exit(replace_for_ever(w, go[0]));
	}
	w->mbox.lock.wait_ms = 30000;
	enough = time(NULL) + 10;
	/* Often enough to meet the moment, and not for ever on a busy host. */
	for (i = 1; i <= 10000 && (i <= 1000 || time(NULL) < enough); i++) {
		if (!mboxlock_take(&w->mbox.lock, &w->out[0])) {
			fail_msg("%s", w->out[0].text);
		}
		assert_int_equal(fstat(w->mbox.lock.fd, &have), 0);
		assert_int_equal(fstatat(w->home, "ann", &there, 0), 0);
		assert_int_equal(have.st_ino, there.st_ino);
		mboxlock_release(&w->mbox.lock);
	}
	for (i = 1; i <= 100; i++) {
		m.qid++;
		deliver_one(w, &m, FATE_DELIVERED);
	}
	(void)close(go[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)close(go[0]);
	/* None was written into what had been replaced. */
	i = (unsigned)st.st_size;
	assert_int_equal(fstatat(w->home, "ann", &st, 0), 0);
	assert_int_equal(st.st_size, 101u * i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MBOX_PLAY(mail_spool_links_are_not_followed),
		MBOX_PLAY(lock_links_are_not_followed),
		MBOX_PLAY(a_sticky_directory_of_others),
		MBOX_PLAY(waits_for_other_programs),
		MBOX_PLAY(waits_once_a_batch),
		MBOX_PLAY(removes_stale_locks),
		MBOX_PLAY(heeds_a_lock_of_ours),
		MBOX_PLAY(many_writers_lose_nothing),
		MBOX_PLAY(follows_a_file_that_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
