#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "cleanup/accepting.h"
#include "cleanup/pickup.h"
#include "cleanup/pickup_job.h"
#include "common/drop.h"
#include "common/io.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define DROP_MODE  03733
#define READ_PIECE (256 * 1024) /* octets a turn of the loop */
#define LOOK_PIECE 256          /* names a turn */
#define ASIDE_MAX  (DROP_NAME_MAX + sizeof(PICKUP_SUFFIX))

struct name {
	char text[DROP_NAME_MAX];
};

struct pickup {
	struct program *pg;
	int dirfd, inotify_fd;
	struct event *watch, *timer, *turn;
	struct name news[PICKUP_NEWS_MAX]; /* of events, not looked at yet */
	unsigned at, n;
	DIR *look;           /* how far the look has come; NULL: none goes on */
	bool looked;         /* the last file was the look's: the news' turn */
	bool again;          /* a look is due, after this one */
	struct name current; /* the file in hand */
	int fd;              /* while it is read, else -1 */
	uint32_t uid;
	size_t size;
	struct strbuf file;
	struct pickup_job *job;
	struct name stuck[PICKUP_STUCK_MAX]; /* taken, but still there */
	unsigned nstuck;
	unsigned said;       /* lines of the log since the clock looked ... */
	uint64_t unsaid;     /* ... and what they left out */
};

static void
arm(struct pickup *p)
{
	event_active(p->turn, 0, 0);
}

static bool
is_stuck(const struct pickup *p, const char *name)
{
	unsigned i;

	for (i = 0; i < p->nstuck; i++) {
		if (strcmp(p->stuck[i].text, name) == 0) {
			return true;
		}
	}
	return false;
}

/* -- one file --------------------------------------------------------------- */

/* Of what others can cause at will, only so much is told. */
static bool
may_say(struct pickup *p)
{
	if (p->said < PICKUP_SAYS) {
		p->said++;
		return true;
	}
	p->unsaid++;
	return false;
}

/* A link, pipe or socket holds no mail, and the walls let us make no other. */
static void
remove_guest(struct pickup *p, const char *why)
{
	bool failed = io_unlinkat("pickup.guest", p->dirfd, p->current.text,
	    0) == -1 && errno != ENOENT;
	int error = errno;

	if (!may_say(p)) {
		return;
	}
	if (failed) {
		log_error("pickup: " DROP_DIRECTORY "/%s of uid %u is no file: "
		    "%s; nor can it be removed: %s", p->current.text,
		    (unsigned)p->uid, why, strerror(error));
		return;
	}
	log_error("pickup: " DROP_DIRECTORY "/%s of uid %u is removed: %s",
	    p->current.text, (unsigned)p->uid, why);
}

/* NAME.bad; or, where somebody has made that, a name that nobody can guess. */
static int
rename_aside(struct pickup *p, char aside[ASIDE_MAX])
{
	unsigned char random[DROP_RANDOM];
	char name[DROP_NAME_MAX];
	struct stat st;

	(void)snprintf(aside, ASIDE_MAX, "%s" PICKUP_SUFFIX, p->current.text);
	if (fstatat(p->dirfd, aside, &st, AT_SYMLINK_NOFOLLOW) == -1 &&
	    errno == ENOENT && io_renameat("pickup.aside", p->dirfd,
	    p->current.text, p->dirfd, aside) == 0) {
		return 0;
	}
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		return -1;
	}
	drop_name(random, name);
	(void)snprintf(aside, ASIDE_MAX, "%s" PICKUP_SUFFIX, name);
	return io_renameat("pickup.aside.other", p->dirfd, p->current.text,
	    p->dirfd, aside);
}

/* Aside it goes, under a name that is no drop file's. */
static void
set_aside(struct pickup *p, mode_t mode, const char *why)
{
	char aside[ASIDE_MAX];
	bool failed;
	int error;

	if (!S_ISREG(mode) && !S_ISDIR(mode)) {
		remove_guest(p, why);
		return;
	}
	failed = rename_aside(p, aside) == -1;
	error = errno;
	if (!may_say(p)) {
		return;
	}
	if (failed) {
		log_error("pickup: " DROP_DIRECTORY "/%s of uid %u cannot be "
		    "taken: %s; nor can it be renamed: %s", p->current.text,
		    (unsigned)p->uid, why, strerror(error));
		return;
	}
	log_error("pickup: " DROP_DIRECTORY "/%s of uid %u cannot be taken: "
	    "%s; it is %s now", p->current.text, (unsigned)p->uid, why, aside);
}

/* In the spool: away with the file. One that stays would be taken again. */
static void
remove_file(struct pickup *p)
{
	if (io_unlinkat("pickup.unlink", p->dirfd, p->current.text, 0) == 0 ||
	    errno == ENOENT) {
		return;
	}
	log_error("pickup: " DROP_DIRECTORY "/%s was taken but cannot be "
	    "removed: %s; it would be taken again at the next start",
	    p->current.text, strerror(errno));
	p->stuck[p->nstuck++] = p->current;
}

static void
on_job_done(void *arg, enum pickup_end end, const char *why)
{
	struct pickup *p = arg;

	p->job = NULL;
	switch (end) {
	case PICKUP_KEPT:
		remove_file(p);
		break;
	case PICKUP_LATER:
		if (may_say(p)) {
			log_warn("pickup: " DROP_DIRECTORY "/%s has to wait: "
			    "%s", p->current.text, why);
		}
		break;
	case PICKUP_BAD:
		set_aside(p, S_IFREG, why);
		break;
	}
	arm(p);
}

/* Why the open file is not one that we take, or NULL. */
static const char *
check_file(struct pickup *p, const struct stat *st)
{
	uint64_t most = p->pg->settings->message_size_limit + DROP_HEAD_MAX +
	    DROP_TAIL + 64;

	if (!S_ISREG(st->st_mode)) {
		return "not a regular file";
	}
	if (st->st_nlink != 1) {
		return "more than one link";
	}
	if (st->st_size < 0 || (uint64_t)st->st_size > most) {
		return "larger than message_size_limit allows";
	}
	return NULL;
}

static void
not_opened(struct pickup *p, int error)
{
	struct stat st;

	if (fstatat(p->dirfd, p->current.text, &st, AT_SYMLINK_NOFOLLOW) ==
	    -1) {
		return; /* its writer took it back */
	}
	p->uid = st.st_uid;
	switch (error) {
	case ELOOP:
		set_aside(p, st.st_mode, "a symbolic link");
		break;
	case EACCES:
	case ENXIO: /* a socket */
		set_aside(p, st.st_mode, strerror(error));
		break;
	default: /* no descriptors, no memory: for now only */
		if (may_say(p)) {
			log_warn("pickup: opening " DROP_DIRECTORY "/%s: %s",
			    p->current.text, strerror(error));
		}
		break;
	}
}

static void
open_file(struct pickup *p)
{
	struct stat st;
	const char *wrong;

	p->uid = UINT32_MAX;
	p->fd = io_openat("pickup.open", p->dirfd, p->current.text,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);
	if (p->fd == -1) {
		not_opened(p, errno);
		return;
	}
	if (fstat(p->fd, &st) == -1) {
		(void)close(p->fd);
		p->fd = -1;
		return;
	}
	p->uid = st.st_uid;
	wrong = check_file(p, &st);
	if (wrong != NULL) {
		(void)close(p->fd);
		p->fd = -1;
		set_aside(p, st.st_mode, wrong);
		return;
	}
	p->size = (size_t)st.st_size;
	strbuf_init(&p->file, p->size + READ_PIECE);
}

/* A piece of the file into memory; at its end the job begins. Its owner may
   still write to it: what counts is what was read, and its checksum. */
static void
read_file(struct pickup *p)
{
	size_t want = p->size - p->file.n < READ_PIECE ?
	    p->size - p->file.n : READ_PIECE;
	char *to = strbuf_room(&p->file, want + 1);
	ssize_t r = want == 0 ? 0 : read(p->fd, to, want);

	if (r > 0) {
		strbuf_filled(&p->file, (size_t)r);
		return;
	}
	(void)close(p->fd);
	p->fd = -1;
	if (r == -1) {
		log_warn("pickup: reading " DROP_DIRECTORY "/%s: %s",
		    p->current.text, strerror(errno));
		strbuf_clear(&p->file);
		return;
	}
	p->job = pickup_job_start(p->pg, &p->file, p->uid, on_job_done, p);
}

/* -- the directory ---------------------------------------------------------- */

/* A name of an event; where there is no room, a look will find it. */
static void
add_news(struct pickup *p, const char *name)
{
	if (!drop_name_is(slice_of(name))) {
		return;
	}
	if (p->n == PICKUP_NEWS_MAX) {
		p->again = true;
		return;
	}
	memcpy(p->news[p->n++].text, name, strlen(name) + 1);
}

static bool
next_news(struct pickup *p)
{
	while (p->at < p->n) {
		p->current = p->news[p->at++];
		if (!is_stuck(p, p->current.text)) {
			return true;
		}
	}
	p->at = p->n = 0;
	return false;
}

static void
start_look(struct pickup *p)
{
	/* A descriptor of its own, so that each look begins at the front. */
	int fd = openat(p->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	p->again = false;
	p->look = fd == -1 ? NULL : fdopendir(fd);
	if (p->look == NULL) {
		log_error("pickup: cannot read the drop directory: %s",
		    strerror(errno));
		if (fd != -1) {
			(void)close(fd);
		}
	}
}

static void
end_look(struct pickup *p)
{
	if (p->look != NULL) {
		(void)closedir(p->look);
		p->look = NULL;
	}
}

/* On to the next name of a file; a turn sees so many of all. What cannot be
   taken, nor brought away, is passed: it comes but once a look. */
static bool
next_found(struct pickup *p)
{
	struct dirent *de;
	unsigned i;

	for (i = 0; p->look != NULL && i < LOOK_PIECE; i++) {
		de = readdir(p->look);
		if (de == NULL) {
			end_look(p);
		} else if (drop_name_is(slice_of(de->d_name)) &&
		    !is_stuck(p, de->d_name)) {
			memcpy(p->current.text, de->d_name,
			    strlen(de->d_name) + 1);
			return true;
		}
	}
	return false;
}

/* The next file: news and the look take turns, so neither waits for the other,
   however many there are. */
static bool
next_file(struct pickup *p)
{
	if (p->looked && next_news(p)) {
		p->looked = false;
		return true;
	}
	p->looked = true;
	return next_found(p) || next_news(p);
}

static bool
may_take(const struct pickup *p)
{
	return !p->pg->stopping && p->nstuck < PICKUP_STUCK_MAX &&
	    accepting_reply(p->pg->accepting).code == 250;
}

/* One step: a piece of the file in hand, the next file, or another look. */
static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;

	(void)fd;
	(void)what;
	if (p->job != NULL) {
		return; /* on_job_done goes on */
	}
	if (p->fd != -1) {
		read_file(p);
	} else if (!may_take(p)) {
		return; /* the clock looks again */
	} else if (next_file(p)) {
		open_file(p);
	} else if (p->look == NULL && !p->again) {
		return;
	} else if (p->look == NULL) {
		start_look(p);
	}
	arm(p);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;

	(void)fd;
	(void)what;
	if (p->unsaid > 0) {
		log_error("pickup: %llu more of " DROP_DIRECTORY " were removed, "
		    "renamed or have to wait", (unsigned long long)p->unsaid);
	}
	p->said = 0;
	p->unsaid = 0;
	p->again = true;
	arm(p);
}

/* Something was renamed into the directory. Files that have to wait are not
   tried again for it: that is the clock's. */
static void
on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;
	char events[4096]
	    __attribute__((aligned(__alignof__(struct inotify_event))));
	struct inotify_event ev;
	ssize_t at, r;

	(void)what;
	while ((r = read(fd, events, sizeof(events))) > 0) {
		for (at = 0; at + (ssize_t)sizeof(ev) <= r;
		    at += (ssize_t)sizeof(ev) + ev.len) {
			memcpy(&ev, events + at, sizeof(ev));
			if ((ev.mask & IN_Q_OVERFLOW) != 0) {
				p->again = true;
			} else if (ev.len > 0) {
				add_news(p, events + at + sizeof(ev));
			}
		}
	}
	arm(p);
}

/* Owner and mode as they must be; -1 with errno. */
static int
set_rights(int fd, unsigned uid, unsigned gid)
{
	struct stat st;

	if (fstat(fd, &st) == -1) {
		return -1;
	}
	if (geteuid() == 0 && (st.st_uid != uid || st.st_gid != gid) &&
	    fchown(fd, uid, gid) == -1) {
		return -1;
	}
	return (st.st_mode & 07777) == DROP_MODE ? 0 : fchmod(fd, DROP_MODE);
}

static int
open_directory(int queue_fd, unsigned uid, unsigned gid)
{
	int fd, saved;

	if (mkdirat(queue_fd, DROP_DIRECTORY, 0700) == -1 &&
	    errno != EEXIST) {
		return -1;
	}
	fd = openat(queue_fd, DROP_DIRECTORY,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd != -1 && set_rights(fd, uid, gid) == -1) {
		saved = errno;
		(void)close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

int
pickup_open(int queue_fd, unsigned uid, unsigned gid, int *dirfd,
    int *inotify_fd)
{
	char path[64];
	int watch, fd = open_directory(queue_fd, uid, gid);

	if (fd == -1) {
		return -1;
	}
	watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (watch != -1 && inotify_add_watch(watch, path,
	    IN_MOVED_TO | IN_ONLYDIR) == -1) {
		(void)close(watch);
		watch = -1;
	}
	if (watch == -1) {
		log_warn("pickup: no inotify (%s): looking every %d s",
		    strerror(errno), PICKUP_EVERY_S);
	}
	*dirfd = fd;
	*inotify_fd = watch;
	return 0;
}

struct pickup *
pickup_new(struct program *pg, int dirfd, int inotify_fd)
{
	const struct timeval every = { PICKUP_EVERY_S, 0 };
	struct pickup *p = xcalloc(1, sizeof(*p));

	p->pg = pg;
	p->dirfd = dirfd;
	p->inotify_fd = inotify_fd;
	p->fd = -1;
	p->again = true;
	p->timer = event_new(pg->base, -1, EV_PERSIST, on_timer, p);
	p->turn = event_new(pg->base, -1, 0, on_turn, p);
	if (p->timer == NULL || p->turn == NULL ||
	    event_add(p->timer, &every) == -1) {
		log_panic("pickup: no event");
	}
	if (inotify_fd != -1) {
		p->watch = event_new(pg->base, inotify_fd,
		    EV_READ | EV_PERSIST, on_watch, p);
		if (p->watch == NULL || event_add(p->watch, NULL) == -1) {
			log_panic("pickup: no event");
		}
	}
	arm(p);
	return p;
}

void
pickup_free(struct pickup *p)
{
	if (p == NULL) {
		return;
	}
	pickup_job_cancel(p->job);
	event_free(p->timer);
	event_free(p->turn);
	if (p->watch != NULL) {
		event_free(p->watch);
	}
	end_look(p);
	if (p->fd != -1) {
		(void)close(p->fd);
	}
	if (p->inotify_fd != -1) {
		(void)close(p->inotify_fd);
	}
	(void)close(p->dirfd);
	strbuf_clear(&p->file);
	free(p);
}
