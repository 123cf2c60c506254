#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/instance.h"
#include "common/listen.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "common/xmalloc.h"
#include "master/listeners.h"

static struct listener *
find(struct listener *l, const struct program_listener *row, const char *name)
{
	while (l != NULL && (l->row != row || strcmp(l->name, name) != 0)) {
		l = l->next;
	}
	return l;
}

static bool
add(struct listener **list, const struct program_listener *row,
    const char *name, int fd)
{
	struct listener *l = xcalloc(1, sizeof(*l));
	int n = snprintf(l->name, sizeof(l->name), "%s", name);

	if (n < 0 || (size_t)n >= sizeof(l->name)) {
		(void)close(fd);
		free(l);
		return false;
	}
	l->row = row;
	l->fd = fd;
	l->keep = true;
	l->next = *list;
	*list = l;
	return true;
}

/* Close it; the name of a UNIX socket goes if it still is ours. */
static void
drop(struct listener *l)
{
	struct stat st;

	if (l->row->socket != NULL && lstat(l->name, &st) == 0 &&
	    st.st_dev == l->dev && st.st_ino == l->ino) {
		(void)unlink(l->name);
	}
	if (l->fd != -1) {
		(void)close(l->fd);
	}
	free(l);
}

/* -- UNIX sockets ------------------------------------------------------------ */

/* Make room for a socket at `sun': a stale one goes, one that answers stays. */
static bool
make_room(const struct sockaddr_un *sun, struct strbuf *why)
{
	struct stat st;
	int fd, error = 0;

	if (lstat(sun->sun_path, &st) == -1) {
		return true; /* nothing there, or bind() tells why */
	}
	if (!S_ISSOCK(st.st_mode)) {
		(void)strbuf_printf(why, "%s: in the way, and not a socket",
		    sun->sun_path);
		errno = EEXIST;
		return false;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 || connect(fd, (const struct sockaddr *)sun,
	    sizeof(*sun)) == -1) {
		error = errno;
	}
	if (fd != -1) {
		(void)close(fd);
	}
	if (error != ECONNREFUSED || unlink(sun->sun_path) == -1) {
		(void)strbuf_printf(why, "%s: another instance answers there",
		    sun->sun_path);
		errno = EADDRINUSE;
		return false;
	}
	return true;
}

/* Who may connect: everyone, or root and the group of administrators. */
static bool
set_access(const struct master *m, const struct settings *s, const char *path,
    bool admin)
{
	unsigned uid, gid;
	gid_t group;

	if (admin && m->as_root &&
	    (sandbox_account(s->root_user, &uid, &gid) == -1 ||
	    !instance_group(s->admin_group, &group) ||
	    chown(path, uid, group) == -1)) {
		return false;
	}
	return chmod(path, admin ? 0660 : 0666) == 0;
}

static int
bind_unix(const struct master *m, const struct settings *s, const char *path,
    bool admin, struct strbuf *why)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		(void)strbuf_printf(why, "runtime_directory: %s is too long "
		    "for a socket", path);
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path));
	if (!make_room(&sun, why)) {
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd != -1 &&
	    bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0 &&
	    set_access(m, s, path, admin) &&
	    listen(fd, LISTEN_BACKLOG) == 0) {
		return fd;
	}
	(void)strbuf_printf(why, "cannot listen on %s: %s", path,
	    strerror(errno));
	if (fd != -1) {
		(void)close(fd);
	}
	return -1;
}

static bool
plan_unix(struct master *m, const struct settings *s,
    const struct program_listener *row, struct listener **fresh,
    struct strbuf *why)
{
	struct listener *have;
	struct strbuf path;
	struct stat st;
	bool ok = true;
	int fd;

	strbuf_init(&path, 0);
	(void)strbuf_printf(&path, "%s/%s", s->runtime_directory, row->socket);
	have = find(m->listeners, row, path.p);
	if (have != NULL) {
		have->keep = true;
	} else {
		fd = bind_unix(m, s, path.p, row->admin, why);
		ok = fd != -1 && add(fresh, row, path.p, fd);
		if (ok && lstat(path.p, &st) == 0) {
			(*fresh)->dev = st.st_dev;
			(*fresh)->ino = st.st_ino;
		}
	}
	strbuf_clear(&path);
	return ok;
}

/* -- TCP --------------------------------------------------------------------- */

static bool
plan_tcp(struct master *m, const struct settings *s,
    const struct program_listener *row, struct listener **fresh,
    struct strbuf *why)
{
	struct listen_at at[LISTEN_MAX];
	struct listener *have;
	bool has_ipv6 = listen_host_has_ipv6();
	size_t i, n;
	int fd;

	if (!listen_plan(s, has_ipv6, at, &n, why)) {
		return false;
	}
	if (!has_ipv6) {
		log_info("this host has no IPv6: its addresses in listen are "
		    "left out");
	}
	for (i = 0; i < n; i++) {
		have = find(m->listeners, row, at[i].name);
		if (have != NULL) {
			have->keep = true;
			continue;
		}
		fd = listen_bind(&at[i], why);
		if (fd == -1 || !add(fresh, row, at[i].name, fd)) {
			return false;
		}
	}
	return true;
}

/* -- all --------------------------------------------------------------------- */

bool
listeners_plan(struct master *m, const struct settings *s,
    struct listener **fresh, struct strbuf *why)
{
	const struct program_listener *row;
	struct listener *l;
	bool ok = true;
	int saved;
	size_t i;

	*fresh = NULL;
	for (l = m->listeners; l != NULL; l = l->next) {
		l->keep = false;
	}
	for (i = 0; i < program_listener_count && ok; i++) {
		row = &program_listeners[i];
		ok = row->socket == NULL ? plan_tcp(m, s, row, fresh, why) :
		    plan_unix(m, s, row, fresh, why);
	}
	if (!ok) {
		saved = errno;
		(void)strbuf_add_char(why, '\n');
		listeners_abort(*fresh);
		*fresh = NULL;
		errno = saved;
	}
	return ok;
}

bool
listeners_commit(struct master *m, struct listener *fresh)
{
	struct listener **link = &m->listeners, *l;
	bool changed = false;

	while ((l = *link) != NULL) {
		if (l->keep) {
			link = &l->next;
			continue;
		}
		changed = changed || l->row->role == IPC_SMTPD;
		*link = l->next;
		drop(l);
	}
	*link = fresh;
	for (l = fresh; l != NULL; l = l->next) {
		changed = changed || l->row->role == IPC_SMTPD;
	}
	return changed;
}

void
listeners_abort(struct listener *fresh)
{
	struct listener *next;

	for (; fresh != NULL; fresh = next) {
		next = fresh->next;
		drop(fresh);
	}
}

void
listeners_close(struct master *m)
{
	listeners_abort(m->listeners);
	m->listeners = NULL;
}
