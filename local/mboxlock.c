#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/slice.h"
#include "common/strbuf.h"
#include "local/mboxlock.h"

#define PAUSE_MIN_MS 5
#define PAUSE_MAX_MS 250
#define CHANGES_MAX  100 /* times that things changed under our hands */
#define OPEN_FLAGS   (O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* How a try to get hold of something has ended. */
enum try {
	TRY_DONE,
	TRY_BUSY,   /* someone has it: later */
	TRY_AGAIN,  /* something has changed: at once */
	TRY_BROKEN, /* no waiting helps: the outcome says why */
};

void
mboxlock_init(struct mboxlock *l, int dir, const char *name, const char *shown)
{
	struct strbuf b;

	*l = (struct mboxlock){ .dir = dir, .name = name, .shown = shown,
		.group = (gid_t)-1, .wait_ms = MBOXLOCK_WAIT_MS, .fd = -1,
		.lock = -1 };
	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "%s" MBOXLOCK_SUFFIX, name);
	l->lockname = strbuf_take(&b);
}

void
mboxlock_clear(struct mboxlock *l)
{
	mboxlock_release(l);
	free(l->lockname);
	l->lockname = NULL;
}

static void
close_one(int *fd)
{
	if (*fd != -1) {
		(void)close(*fd);
		*fd = -1;
	}
}

/* Is the open file what stands there by name? */
static bool
is_there(int dir, const char *name, int fd)
{
	struct stat have, there;

	return fstat(fd, &have) == 0 &&
	    fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    have.st_ino == there.st_ino && have.st_dev == there.st_dev;
}

/* fcntl()'s lock of the whole file, of the open file, not of the process. */
static int
lock_whole(int fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &fl);
}

/* -- the mailbox ----------------------------------------------------------------- */

static const char *
kind_of(mode_t mode)
{
	return S_ISLNK(mode) ? "a symbolic link" : S_ISDIR(mode) ?
	    "a directory" : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ?
	    "a socket" : "a device";
}

/* Is it one that mail may be written to? */
static bool
is_sound(const struct mboxlock *l, const struct stat *st, struct outcome *o)
{
	if (!S_ISREG(st->st_mode)) {
		outcome_set(o, FATE_DEFERRED, "4.2.0",
		    "%s: is %s, not a file", l->shown, kind_of(st->st_mode));
	} else if (st->st_uid != geteuid()) {
		outcome_set(o, FATE_DEFERRED, "4.2.0",
		    "%s: belongs to uid %u, not to uid %u", l->shown,
		    (unsigned)st->st_uid, (unsigned)geteuid());
	} else if (st->st_nlink != 1) {
		outcome_set(o, FATE_DEFERRED, "4.2.0",
		    "%s: has %ju names, not one", l->shown,
		    (uintmax_t)st->st_nlink);
	} else {
		return true;
	}
	return false;
}

static enum try
create(struct mboxlock *l, struct outcome *o)
{
	l->fd = io_openat("local.mbox.create", l->dir, l->name,
	    OPEN_FLAGS | O_CREAT | O_EXCL, 0600);
	if (l->fd == -1 && errno == EEXIST) {
		return TRY_AGAIN;
	}
	if (l->fd == -1) {
		outcome_errno(o, l->shown, errno);
		return TRY_BROKEN;
	}
	/* A file without the group is as good for its user. */
	if (l->group != (gid_t)-1 && fchown(l->fd, (uid_t)-1, l->group) == 0) {
		(void)fchmod(l->fd, 0660);
	}
	return TRY_DONE;
}

static enum try
open_mailbox(struct mboxlock *l, struct outcome *o)
{
	struct stat before, st;

	if (fstatat(l->dir, l->name, &before, AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno == ENOENT) {
			return create(l, o);
		}
		outcome_errno(o, l->shown, errno);
		return TRY_BROKEN;
	}
	if (before.st_nlink == 0) {
		return TRY_AGAIN; /* replaced while it was looked at */
	}
	if (!is_sound(l, &before, o)) {
		return TRY_BROKEN;
	}
	/* Without O_NOATIME our own reading would look like the user's. */
	l->fd = io_openat("local.mbox.open", l->dir, l->name,
	    OPEN_FLAGS | O_NOATIME, 0);
	if (l->fd == -1) {
		if (errno == ENOENT) {
			return TRY_AGAIN;
		}
		outcome_errno(o, l->shown, errno);
		return TRY_BROKEN;
	}
	if (fstat(l->fd, &st) == -1) {
		outcome_errno(o, l->shown, errno);
		return TRY_BROKEN;
	}
	if (st.st_ino != before.st_ino || st.st_dev != before.st_dev ||
	    st.st_nlink == 0) {
		return TRY_AGAIN; /* replaced between the two looks */
	}
	return is_sound(l, &st, o) ? TRY_DONE : TRY_BROKEN;
}

static enum try
lock_mailbox(struct mboxlock *l, struct outcome *o)
{
	if (lock_whole(l->fd) == -1) {
		if (errno == EAGAIN || errno == EACCES || errno == EINTR) {
			outcome_set(o, FATE_DEFERRED, "4.2.0",
			    "%s: another program has it locked", l->shown);
			return TRY_BUSY;
		}
		outcome_errno(o, l->shown, errno);
		return TRY_BROKEN;
	}
	return is_there(l->dir, l->name, l->fd) ? TRY_DONE : TRY_AGAIN;
}

/* -- NAME.lock --------------------------------------------------------------------- */

/* One of ours whose maker has gone (it can be locked) has been removed. */
static bool
is_orphan(const struct mboxlock *l)
{
	int fd = openat(l->dir, l->lockname, OPEN_FLAGS);
	struct stat st;
	bool orphan;

	if (fd == -1) {
		return false;
	}
	orphan = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (st.st_mode & 07777) == MBOXLOCK_MODE && st.st_uid == geteuid() &&
	    lock_whole(fd) == 0 && is_there(l->dir, l->lockname, fd) &&
	    io_unlinkat("local.mbox.lock.orphan", l->dir, l->lockname, 0) == 0;
	(void)close(fd);
	return orphan;
}

/* Something stands there: go over it or wait? */
static enum try
judge_lock(const struct mboxlock *l, struct outcome *o)
{
	struct timespec now;
	struct stat st;
	time_t age;

	if (is_orphan(l)) {
		return TRY_AGAIN;
	}
	if (fstatat(l->dir, l->lockname, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return errno == ENOENT ? TRY_AGAIN : TRY_BUSY;
	}
	(void)clock_gettime(CLOCK_REALTIME, &now);
	age = now.tv_sec - st.st_mtime;
	if (age > MBOXLOCK_STALE_S && io_unlinkat("local.mbox.lock.stale",
	    l->dir, l->lockname, 0) == 0) {
		return TRY_AGAIN;
	}
	outcome_set(o, FATE_DEFERRED, "4.2.0", "%s" MBOXLOCK_SUFFIX
	    ": a lock of uid %u, %jd s old", l->shown, (unsigned)st.st_uid,
	    (intmax_t)age);
	return TRY_BUSY;
}

static void
remove_lock(struct mboxlock *l)
{
	if (l->lock != -1 && is_there(l->dir, l->lockname, l->lock)) {
		(void)io_unlinkat("local.mbox.lock.remove", l->dir,
		    l->lockname, 0);
	}
	close_one(&l->lock);
}

static enum try
make_lock(struct mboxlock *l, struct outcome *o)
{
	struct strbuf text;
	int error;

	l->lock = io_openat("local.mbox.lock.create", l->dir, l->lockname,
	    OPEN_FLAGS | O_CREAT | O_EXCL, MBOXLOCK_MODE);
	if (l->lock == -1 && errno == EEXIST) {
		return judge_lock(l, o);
	}
	if (l->lock != -1 && (lock_whole(l->lock) == -1 ||
	    !is_there(l->dir, l->lockname, l->lock))) {
		return TRY_AGAIN; /* taken for an orphan */
	}
	error = errno;
	strbuf_init(&text, 0);
	(void)strbuf_printf(&text, "%ld\n", (long)getpid());
	if (l->lock != -1) {
		error = io_pwrite("local.mbox.lock.write", l->lock, text.p,
		    text.n, 0) == 0 ? 0 : errno;
	}
	if (error != 0) {
		strbuf_reset(&text);
		(void)strbuf_printf(&text, "%s" MBOXLOCK_SUFFIX, l->shown);
		outcome_errno(o, text.p, error);
	}
	strbuf_clear(&text);
	return error == 0 ? TRY_DONE : TRY_BROKEN;
}

/* -- both ------------------------------------------------------------------------------ */

void
mboxlock_release(struct mboxlock *l)
{
	remove_lock(l);
	close_one(&l->fd); /* and fcntl()'s lock with it */
}

static enum try
try_all(struct mboxlock *l, struct outcome *o)
{
	static enum try (*const steps[])(struct mboxlock *, struct outcome *) = {
		open_mailbox, lock_mailbox, make_lock,
	};
	enum try r = TRY_DONE;
	size_t i;

	for (i = 0; i < NELEMS(steps) && r == TRY_DONE; i++) {
		r = steps[i](l, o);
	}
	if (r != TRY_DONE) {
		mboxlock_release(l);
	}
	return r;
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
pause_ms(uint64_t ms)
{
	const struct timespec ts = { 0, (long)ms * 1000000 };

	(void)nanosleep(&ts, NULL);
}

bool
mboxlock_take(struct mboxlock *l, struct outcome *o)
{
	const uint64_t late_at = now_ms() + l->wait_ms;
	uint64_t pause = PAUSE_MIN_MS;
	unsigned changes = 0;
	enum try r;

	outcome_set(o, FATE_DEFERRED, "4.2.0", "%s: is being replaced all the "
	    "time", l->shown);
	for (;;) {
		r = try_all(l, o);
		if (r == TRY_DONE || r == TRY_BROKEN) {
			return r == TRY_DONE;
		}
		if (r == TRY_AGAIN ? ++changes > CHANGES_MAX :
		    now_ms() >= late_at) {
			return false;
		}
		pause_ms(r == TRY_AGAIN ? 1 : pause);
		if (r == TRY_BUSY && pause < PAUSE_MAX_MS) {
			pause *= 2;
		}
	}
}
