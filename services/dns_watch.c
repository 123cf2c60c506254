#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/strbuf.h"
#include "common/xmalloc.h"
#include "services/dns_watch.h"

#define EVENTS                                                                 \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE |            \
	    IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
#define SETTLE_MS 100 /* a writer may not be through yet */

struct dns_watch {
	char *path;
	size_t size_max;
	dns_watch_fn *fn;
	void *arg;
	int fd;                /* inotify; -1: only looked at now and then */
	struct event *readable, *timer;
	struct strlist dirs;   /* that are watched */
	int wd[DNS_WATCH_LINKS];
	bool known, there;     /* what was told last */
	bool settling;         /* the timer is on its way after an event */
	struct stat st;        /* of that */
	int told_errno;        /* of the last complaint */
};

/* -- where the file really is ---------------------------------------------- */

static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? xstrdup("/") :
	    xslicedup(slice_make(path, (size_t)(slash - path)));
}

static void
add_once(struct strlist *l, char *dir)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (strcmp(l->at[i], dir) == 0) {
			free(dir);
			return;
		}
	}
	l->at = xreallocarray(l->at, l->n + 1, sizeof(*l->at));
	l->at[l->n++] = dir;
}

/* What the link at `path' points to, as an absolute path; NULL: no link. */
static char *
target_of(const char *path)
{
	char text[PATH_MAX];
	ssize_t n = readlink(path, text, sizeof(text));
	struct strbuf b;
	char *dir;

	if (n <= 0 || (size_t)n == sizeof(text)) {
		return NULL;
	}
	strbuf_init(&b, 0);
	if (text[0] != '/') {
		dir = directory_of(path);
		(void)strbuf_printf(&b, "%s/", dir);
		free(dir);
	}
	(void)strbuf_add(&b, text, (size_t)n);
	return strbuf_take(&b);
}

void
dns_watch_directories(const char *path, struct strlist *out)
{
	char *at = xstrdup(path), *next;
	unsigned links;

	for (links = 0; links < DNS_WATCH_LINKS; links++) {
		add_once(out, directory_of(at));
		next = target_of(at);
		if (next == NULL) {
			break;
		}
		free(at);
		at = next;
	}
	free(at);
}

/* -- reading --------------------------------------------------------------- */

static void
complain(struct dns_watch *w, int error)
{
	if (w->told_errno != error) {
		w->told_errno = error;
		log_warn("%s cannot be read: %s", w->path, error == EFBIG ?
		    "too large" : strerror(error));
	}
	if (!w->known) { /* nothing to go on with */
		w->known = true;
		w->there = false;
		w->fn(w->arg, false, slice_make("", 0));
	}
}

/* The whole file; false with errno. */
static bool
read_all(struct dns_watch *w, int fd, struct stat *st, struct strbuf *text)
{
	ssize_t n;
	char *room;

	if (fstat(fd, st) == -1) {
		return false;
	}
	if (!S_ISREG(st->st_mode)) {
		errno = EINVAL;
		return false;
	}
	do {
		room = strbuf_room(text, 4096);
		if (room == NULL || text->n > w->size_max) {
			errno = EFBIG;
			return false;
		}
		n = read(fd, room, 4096);
		if (n > 0) {
			strbuf_filled(text, (size_t)n);
		}
	} while (n > 0);
	return n == 0;
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	    a->st_size == b->st_size &&
	    memcmp(&a->st_mtim, &b->st_mtim, sizeof(a->st_mtim)) == 0 &&
	    memcmp(&a->st_ctim, &b->st_ctim, sizeof(a->st_ctim)) == 0;
}

static void
tell(struct dns_watch *w, bool there, struct slice text)
{
	w->known = true;
	w->there = there;
	w->told_errno = 0;
	w->fn(w->arg, there, text);
}

static void
look(struct dns_watch *w)
{
	struct strbuf text;
	struct stat st;
	int fd;

	if (w->known && w->there && stat(w->path, &st) == 0 &&
	    is_same(&st, &w->st)) {
		return;
	}
	fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1 && (errno == ENOENT || errno == ENOTDIR)) {
		if (!w->known || w->there) {
			tell(w, false, slice_make("", 0));
		}
		return;
	}
	strbuf_init(&text, w->size_max + 8192);
	if (fd == -1 || !read_all(w, fd, &st, &text)) {
		complain(w, errno);
	} else {
		w->st = st;
		tell(w, true, strbuf_slice(&text));
	}
	strbuf_clear(&text);
	if (fd != -1) {
		(void)close(fd);
	}
}

/* -- watching -------------------------------------------------------------- */

static bool
same_list(const struct strlist *a, const struct strlist *b)
{
	size_t i;

	for (i = 0; i < a->n && i < b->n; i++) {
		if (strcmp(a->at[i], b->at[i]) != 0) {
			return false;
		}
	}
	return a->n == b->n;
}

/* Watch the directories on today's way to the file. */
static void
follow(struct dns_watch *w, bool anew)
{
	struct strlist dirs = { NULL, 0 };
	size_t i;

	dns_watch_directories(w->path, &dirs);
	if (w->fd == -1 || (!anew && same_list(&dirs, &w->dirs))) {
		strlist_clear(&dirs);
		return;
	}
	for (i = 0; i < w->dirs.n; i++) {
		if (w->wd[i] != -1) {
			(void)inotify_rm_watch(w->fd, w->wd[i]);
		}
	}
	strlist_clear(&w->dirs);
	w->dirs = dirs;
	for (i = 0; i < dirs.n; i++) {
		w->wd[i] = inotify_add_watch(w->fd, dirs.at[i], EVENTS);
		if (w->wd[i] == -1) {
			log_debug("%s is not watched: %s", dirs.at[i],
			    strerror(errno));
		}
	}
}

static void
arm(struct dns_watch *w, unsigned ms)
{
	const struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	if (event_add(w->timer, &tv) == -1) {
		log_panic("no timer for %s", w->path);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct dns_watch *w = arg;

	(void)fd;
	(void)what;
	w->settling = false;
	follow(w, false);
	look(w);
	arm(w, DNS_WATCH_POLL_S * 1000);
}

/* Which of them it was does not matter: it is looked at, not believed. */
static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct dns_watch *w = arg;
	_Alignas(struct inotify_event) char events[4096];
	const struct inotify_event *e;
	bool gone = false;
	ssize_t n, at;

	(void)what;
	while ((n = read((int)fd, events, sizeof(events))) > 0) {
		for (at = 0; at < n;
		    at += (ssize_t)(sizeof(*e) + e->len)) {
			e = (const struct inotify_event *)(const void *)(
			    events + at);
			gone |= (e->mask & (IN_MOVE_SELF | IN_DELETE_SELF |
			    IN_CREATE)) != 0;
		}
	}
	if (gone) {
		follow(w, true); /* a directory may be another one now */
	}
	if (!w->settling) { /* not put off for ever in a busy directory */
		w->settling = true;
		arm(w, SETTLE_MS);
	}
}

struct dns_watch *
dns_watch_new(struct event_base *base, const char *path, size_t size_max,
    dns_watch_fn *fn, void *arg)
{
	struct dns_watch *w = xcalloc(1, sizeof(*w));

	w->path = xstrdup(path);
	w->size_max = size_max;
	w->fn = fn;
	w->arg = arg;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	w->timer = event_new(base, -1, 0, on_timer, w);
	if (w->fd == -1) {
		log_warn("no inotify for %s: %s", path, strerror(errno));
	} else {
		w->readable = event_new(base, w->fd, EV_READ | EV_PERSIST,
		    on_readable, w);
	}
	if (w->timer == NULL || (w->fd != -1 && (w->readable == NULL ||
	    event_add(w->readable, NULL) == -1))) {
		log_panic("no event for %s", path);
	}
	follow(w, true);
	look(w);
	arm(w, DNS_WATCH_POLL_S * 1000);
	return w;
}

void
dns_watch_free(struct dns_watch *w)
{
	if (w == NULL) {
		return;
	}
	if (w->readable != NULL) {
		event_free(w->readable);
	}
	event_free(w->timer);
	if (w->fd != -1) {
		(void)close(w->fd);
	}
	strlist_clear(&w->dirs);
	free(w->path);
	free(w);
}
