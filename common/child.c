#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/child.h"
#include "common/io.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define START_TIMEOUT_MS 30000

/* Rows "name NUL value NUL ..." into `s'. The sender is master, yet checked. */
static bool
apply_rows(struct settings *s, struct slice rows)
{
	struct slice name, value;
	const struct set_row *row;
	struct strbuf why;
	bool ok = true;

	strbuf_init(&why, 0);
	while (rows.n > 0 && ok) {
		name = slice_make(rows.p, slice_find(rows, '\0'));
		if (name.n + 1 >= rows.n) {
			ok = false;
			break;
		}
		rows.p += name.n + 1;
		rows.n -= name.n + 1;
		value = slice_make(rows.p, slice_find(rows, '\0'));
		ok = value.n < rows.n;
		if (ok) {
			rows.p += value.n + 1;
			rows.n -= value.n + 1;
			row = settings_find(name);
			ok = row != NULL && settings_set(s, row, value, &why);
		}
	}
	if (!ok) {
		log_error("bad settings from master: %s",
		    why.n > 0 ? why.p : "broken rows");
	}
	strbuf_clear(&why);
	return ok;
}

static bool
add_listener(struct child *c, struct ipc_msg *m)
{
	struct child_listener *l = &c->listeners[c->nlisteners];
	struct slice kind = ipc_s(m, 0), name = ipc_s(m, 1);

	if (c->nlisteners == CHILD_LISTENERS_MAX ||
	    kind.n >= sizeof(l->kind) || name.n >= sizeof(l->name)) {
		return false;
	}
	memcpy(l->kind, kind.p, kind.n);
	memcpy(l->name, name.p, name.n);
	l->fd = ipc_take_fd(m);
	c->nlisteners++;
	return true;
}

static bool
add_directory(struct child *c, struct ipc_msg *m)
{
	struct slice name = ipc_s(m, 0);

	if (c->ndirectories == CHILD_DIRECTORIES_MAX ||
	    name.n >= sizeof(c->directories[0].name)) {
		return false;
	}
	memcpy(c->directories[c->ndirectories].name, name.p, name.n);
	c->directories[c->ndirectories++].fd = ipc_take_fd(m);
	return true;
}

static void
count_channel(struct child *c, const struct ipc_msg *m)
{
	uint64_t peer = ipc_u(m, 0);

	if (peer < NELEMS(c->given)) {
		c->given[peer]++;
	}
}

/*
 * A channel has ended. Mostly the peer is dead, and its successor comes with a
 * fresh one; where only the channel broke, master makes another.
 */
static void
on_lost(void *arg, enum ipc_role peer)
{
	struct child *c = arg;

	if ((size_t)peer < NELEMS(c->given) && c->given[peer] > 0) {
		ipc_begin(c->master, IPC_LOST, 0);
		ipc_put_u(c->master, (uint64_t)peer);
		ipc_put_u(c->master, c->given[peer]);
		ipc_end(c->master);
	}
}

static bool
add_early_channel(struct child *c, struct ipc_msg *m)
{
	if (c->nearly == CHILD_CHANNELS_MAX) {
		return false;
	}
	count_channel(c, m);
	c->early[c->nearly].peer = (enum ipc_role)ipc_u(m, 0);
	c->early[c->nearly].index = (unsigned)ipc_u(m, 1);
	c->early[c->nearly++].fd = ipc_take_fd(m);
	return true;
}

static bool
set_key(struct child *c, const struct ipc_msg *m)
{
	struct slice key = ipc_s(m, 0);

	if (key.n != sizeof(c->key)) {
		return false;
	}
	memcpy(c->key, key.p, key.n);
	return true;
}

/* A message before START; false when it makes no sense. */
static bool
take_early(struct child *c, struct ipc_msg *m)
{
	switch ((enum ipc_type)m->type) {
	case IPC_SETTINGS:
		return apply_rows(&c->settings, ipc_s(m, 0));
	case IPC_SETTINGS_END:
		return true;
	case IPC_DIRECTORY:
		return add_directory(c, m);
	case IPC_LISTENER:
		return add_listener(c, m);
	case IPC_CHANNEL:
		return add_early_channel(c, m);
	case IPC_KEY:
		return set_key(c, m);
	case IPC_PING:
		return true;
	default:
		return false;
	}
}

static void
flush_log(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;
	const struct timeval later = { 0, 50000 };

	(void)fd;
	(void)what;
	if (!log_flush()) {
		(void)event_add(c->log_retry, &later);
	}
}

static void
arm_log(void *arg)
{
	struct child *c = arg;

	event_active(c->log_event, 0, 0);
}

static void
make_base(struct child *c)
{
	struct event_config *cfg = event_config_new();

	if (cfg != NULL) {
		/* One thread uses the base; the pool posts through a pipe. */
		(void)event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
		c->base = event_base_new_with_config(cfg);
		event_config_free(cfg);
	}
	if (c->base == NULL) {
		log_fatal(EX_OSERR, "no event base");
	}
	c->log_event = event_new(c->base, -1, 0, flush_log, c);
	c->log_retry = event_new(c->base, -1, 0, flush_log, c);
	if (c->log_event == NULL || c->log_retry == NULL) {
		log_fatal(EX_OSERR, "no event for the log");
	}
}

/* Last words of an exit() before the loop runs arrive, too. */
static void
flush_at_exit(void)
{
	(void)log_flush();
}

void
child_begin(struct child *c, enum ipc_role role, int argc, char **argv)
{
	struct ipc_msg m;
	bool started = false;
	int r;

	(void)argc;
	(void)argv;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN); /* Ctrl-C is master's to answer */
	(void)signal(SIGHUP, SIG_IGN);
	*c = (struct child){ .role = role, .sync = { .fd = CHILD_MASTER_FD,
	    .me = role, .peer = IPC_MASTER } };
	if (fcntl(CHILD_MASTER_FD, F_GETFD) == -1) {
		(void)fprintf(stderr, "%s: started by master only; "
		    "use veredus start\n", ipc_role_name(role));
		exit(EX_USAGE);
	}
	(void)fcntl(CHILD_MASTER_FD, F_SETFD, FD_CLOEXEC);
	(void)evutil_make_socket_nonblocking(STDERR_FILENO);
	log_setup(NULL, true);
	(void)atexit(flush_at_exit);
	io_plan_from_env(ipc_role_name(role));
	settings_init(&c->settings);
	while (!started) {
		r = ipc_sync_read(&c->sync, &m, START_TIMEOUT_MS);
		if (r <= 0) {
			log_fatal(EX_PROTOCOL, "master went away before START");
		}
		started = m.type == IPC_START;
		if (!started && !take_early(c, &m)) {
			log_fatal(EX_PROTOCOL, "master sent a bad %s",
			    ipc_type_name(m.type));
		}
	}
	log_set_debug(c->settings.debug);
	make_base(c);
	log_on_pending(arm_log, c);
}

int
child_directory(const struct child *c, const char *name)
{
	unsigned i;

	for (i = 0; i < c->ndirectories; i++) {
		if (strcmp(c->directories[i].name, name) == 0) {
			return c->directories[i].fd;
		}
	}
	return -1;
}

void
child_set_walls(struct child *c, const char *walls)
{
	int n = snprintf(c->walls, sizeof(c->walls), "%s", walls);

	if (n < 0 || (size_t)n >= sizeof(c->walls)) {
		log_debug("walls: the words are cut");
	}
}

/* The rows of a reload are complete: they replace the old. */
static void
switch_settings(struct child *c)
{
	struct settings old = c->settings;

	c->settings = c->fresh;
	settings_init(&c->fresh);
	log_set_debug(c->settings.debug);
	if (c->ops->reloaded != NULL) {
		c->ops->reloaded(c);
	}
	settings_clear(&old);
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct child *c = owner;

	switch ((enum ipc_type)m->type) {
	case IPC_PING:
		ipc_begin(ch, IPC_PONG, m->tid);
		ipc_end(ch);
		return true;
	case IPC_STOP:
		if (c->ops->stop != NULL) {
			c->ops->stop(c, ipc_u(m, 0));
		} else {
			child_exit(c);
		}
		return true;
	case IPC_CHANNEL:
		count_channel(c, m);
		c->ops->channel(c, (enum ipc_role)ipc_u(m, 0),
		    (unsigned)ipc_u(m, 1), ipc_take_fd(m));
		return true;
	case IPC_SETTINGS:
		return apply_rows(&c->fresh, ipc_s(m, 0));
	case IPC_SETTINGS_END:
		switch_settings(c);
		return true;
	default:
		return c->ops->message != NULL && c->ops->message(c, m);
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct child *c = owner;

	/* Without master nobody would restart or stop us. */
	(void)ch;
	log_error("master is gone (%s): exiting", why);
	child_exit(c);
}

void
child_run(struct child *c, const struct child_ops *ops)
{
	struct ipc_chan_ops *chan_ops = xcalloc(1, sizeof(*chan_ops));
	unsigned i;

	chan_ops->me = c->role;
	chan_ops->peer = IPC_MASTER;
	chan_ops->message = on_message;
	chan_ops->closed = on_closed;
	c->ops = ops;
	settings_init(&c->fresh);
	c->master = ipc_chan_new(c->base, CHILD_MASTER_FD, chan_ops, c);
	for (i = 0; i < c->nearly; i++) {
		ops->channel(c, c->early[i].peer, c->early[i].index,
		    c->early[i].fd);
	}
	ipc_chan_adopt(c->master, &c->sync);
	ipc_begin(c->master, IPC_READY, 0);
	ipc_put_str(c->master, c->walls);
	ipc_end(c->master);
	ipc_on_lost(on_lost, c);
	(void)event_base_dispatch(c->base);
	ipc_on_lost(NULL, NULL);
	ipc_chan_free(c->master);
	(void)log_flush();
	exit(0);
}

void
child_exit(struct child *c)
{
	(void)event_base_loopexit(c->base, NULL);
}
