#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "services/users_ask.h"

struct waiter {
	struct waiter *next;
	void *asker;
	uint32_t tid;
};

/* A name that a thread was asked for. It stays until the thread answers, also
   when nobody waits any more: then the cache learns it. */
struct lookup {
	struct lookup *next;
	char name[ACCOUNT_NAME_MAX + 1];
	uint64_t deadline_ms;
	uint64_t generation; /* of the source */
	bool late;           /* the deadline has come */
	struct waiter *waiters;
};

struct users_ask {
	users_reply_fn *reply;
	char *source, *dir;
	int dirfd;   /* of the source's file, or -1 */
	uint64_t generation;
	bool is_file; /* a table in memory: a new name is there at once, and a
	                 thread is asked for a known one once a second */
	struct users_cache *cache;
	struct users_pool *pool;
	int notify_fd;
	struct event *notified, *tick;
	struct lookup *lookups; /* newest first */
	unsigned nlookups, nwaiters;
};

static uint64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool
users_ask_name(struct slice name, char out[ACCOUNT_NAME_MAX + 1])
{
	size_t i;
	char c;

	if (name.n == 0 || name.n > ACCOUNT_NAME_MAX || name.p[0] == '-' ||
	    name.p[0] == '.') {
		return false;
	}
	for (i = 0; i < name.n; i++) {
		c = ascii_lower(name.p[i]);
		if (!ascii_isalnum(c) && c != '.' && c != '_' && c != '-') {
			return false;
		}
		out[i] = c;
	}
	out[i] = '\0';
	return true;
}

/* Reply to all that wait for `l'. */
static void
reply_all(struct users_ask *u, struct lookup *l, const struct users_answer *a,
    const char *reason)
{
	struct waiter *w;

	while ((w = l->waiters) != NULL) {
		l->waiters = w->next;
		u->nwaiters--;
		u->reply(w->asker, w->tid, a, reason);
		free(w);
	}
}

static void
reply_temp(struct users_ask *u, void *asker, uint32_t tid, const char *reason)
{
	const struct users_answer a = { ACCOUNT_TEMP, { 0, 0, NULL } };

	u->reply(asker, tid, &a, reason);
}

static void
drop_lookup(struct users_ask *u, struct lookup *l)
{
	struct lookup **at = &u->lookups;
	struct waiter *w;

	while (*at != l) {
		at = &(*at)->next;
	}
	*at = l->next;
	u->nlookups--;
	while ((w = l->waiters) != NULL) {
		l->waiters = w->next;
		u->nwaiters--;
		free(w);
	}
	free(l);
}

static void
log_report(struct slice report)
{
	struct slice line;

	while (slice_word(&report, "\n", &line)) {
		log_warn("%.*s", SLF(line));
	}
}

static void
take_answer(struct users_ask *u, struct users_job *j)
{
	struct lookup *l = j->lookup;
	const struct users_answer a = { j->result, j->account };

	log_report(strbuf_slice(&j->report));
	if (j->result == ACCOUNT_TEMP) {
		log_warn("looking up %s: %s", j->name,
		    strbuf_slice(&j->why).p);
	}
	if (l->generation == u->generation &&
	    (!u->is_file || j->result == ACCOUNT_FOUND)) {
		users_cache_put(u->cache, slice_of(l->name), now_ms(), &a,
		    u->is_file ? USERS_CACHE_FILE_MS : USERS_CACHE_YES_MS);
	}
	reply_all(u, l, &a, strbuf_slice(&j->why).p);
	drop_lookup(u, l);
	users_job_free(j);
}

static void
on_notified(evutil_socket_t fd, short what, void *arg)
{
	struct users_ask *u = arg;
	struct users_job *j;
	uint64_t n;

	(void)what;
	(void)!read(fd, &n, sizeof(n));
	while ((j = users_pool_answer(u->pool)) != NULL) {
		take_answer(u, j);
	}
}

/* What the database owes for too long is answered without it. */
static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	const struct users_answer temp = { ACCOUNT_TEMP, { 0, 0, NULL } };
	struct users_ask *u = arg;
	uint64_t now = now_ms();
	struct lookup *l;

	(void)fd;
	(void)what;
	for (l = u->lookups; l != NULL; l = l->next) {
		if (!l->late && l->deadline_ms <= now) {
			l->late = true;
			log_warn("looking up %s: no answer from the account "
			    "database in %d s", l->name,
			    USERS_DEADLINE_MS / 1000);
			reply_all(u, l, &temp, "the account database does not "
			    "answer");
		}
	}
}

struct users_ask *
users_ask_new(struct event_base *base, users_reply_fn *reply,
    users_lookup_fn *lookup)
{
	const struct timeval often = { 0, 500000 };
	struct users_ask *u = xcalloc(1, sizeof(*u));

	u->reply = reply;
	u->dirfd = -1;
	u->cache = users_cache_new();
	u->notify_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (u->notify_fd == -1) {
		log_fatal(EX_OSERR, "no eventfd");
	}
	u->pool = users_pool_new(u->notify_fd, lookup);
	u->notified = event_new(base, u->notify_fd, EV_READ | EV_PERSIST,
	    on_notified, u);
	u->tick = event_new(base, -1, EV_PERSIST, on_tick, u);
	if (u->notified == NULL || u->tick == NULL ||
	    event_add(u->notified, NULL) == -1 ||
	    event_add(u->tick, &often) == -1) {
		log_panic("no event for lookups");
	}
	return u;
}

void
users_ask_free(struct users_ask *u)
{
	struct users_job *j;

	/* The pool and its threads stay: one may be in the database. */
	while ((j = users_pool_answer(u->pool)) != NULL) {
		users_job_free(j);
	}
	while (u->lookups != NULL) {
		drop_lookup(u, u->lookups);
	}
	event_free(u->notified);
	event_free(u->tick);
	users_cache_free(u->cache);
	if (u->dirfd != -1) {
		(void)close(u->dirfd);
	}
	free(u->source);
	free(u->dir);
	free(u);
}

static void
open_directory(struct users_ask *u, const char *path)
{
	size_t n = (size_t)(strrchr(path, '/') - path);
	char *dir = n > 0 ? xslicedup(slice_make(path, n)) : xstrdup("/");
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd != -1 || u->dir == NULL || strcmp(u->dir, dir) != 0) {
		if (u->dirfd != -1) {
			(void)close(u->dirfd);
		}
		u->dirfd = fd;
	}
	free(u->dir);
	u->dir = dir;
}

void
users_ask_source(struct users_ask *u, const char *source)
{
	free(u->source);
	u->source = xstrdup(source);
	u->generation++;
	u->is_file = strncmp(source, "file:/", 6) == 0;
	if (u->is_file) {
		open_directory(u, source + 5);
	}
	users_cache_forget_all(u->cache);
}

static struct lookup *
find_lookup(const struct users_ask *u, const char *name)
{
	struct lookup *l = u->lookups;

	while (l != NULL && (l->generation != u->generation ||
	    strcmp(l->name, name) != 0)) {
		l = l->next;
	}
	return l;
}

/* NULL: no room, or no thread. */
static struct lookup *
start_lookup(struct users_ask *u, const char *name)
{
	struct users_job *j;
	struct lookup *l;

	if (u->nlookups == USERS_LOOKUPS_MAX) {
		return NULL;
	}
	l = xcalloc(1, sizeof(*l));
	j = users_job_new(u->source, u->dirfd, slice_of(name), l);
	if (!users_pool_ask(u->pool, j)) {
		users_job_free(j);
		free(l);
		return NULL;
	}
	memcpy(l->name, name, strlen(name) + 1);
	l->deadline_ms = now_ms() + USERS_DEADLINE_MS;
	l->generation = u->generation;
	l->next = u->lookups;
	u->lookups = l;
	u->nlookups++;
	return l;
}

void
users_ask(struct users_ask *u, void *asker, uint32_t tid, struct slice name)
{
	struct users_answer a = { ACCOUNT_NONE, { 0, 0, NULL } };
	char text[ACCOUNT_NAME_MAX + 1];
	struct lookup *l;
	struct waiter *w;

	if (!users_ask_name(name, text) || users_cache_get(u->cache,
	    slice_of(text), now_ms(), &a)) {
		u->reply(asker, tid, &a, "");
		return;
	}
	l = find_lookup(u, text);
	if (l != NULL && l->late) {
		reply_temp(u, asker, tid, "the account database does not "
		    "answer");
		return;
	}
	if (l == NULL) {
		l = start_lookup(u, text);
	}
	if (l == NULL || u->nwaiters == USERS_WAITERS_MAX) {
		reply_temp(u, asker, tid, "too many lookups wait for the "
		    "account database");
		return;
	}
	w = xcalloc(1, sizeof(*w));
	*w = (struct waiter){ l->waiters, asker, tid };
	l->waiters = w;
	u->nwaiters++;
}

void
users_ask_forget(struct users_ask *u, const void *asker)
{
	struct lookup *l;
	struct waiter **at, *w;

	for (l = u->lookups; l != NULL; l = l->next) {
		for (at = &l->waiters; (w = *at) != NULL;) {
			if (w->asker == asker) {
				*at = w->next;
				u->nwaiters--;
				free(w);
			} else {
				at = &w->next;
			}
		}
	}
}
