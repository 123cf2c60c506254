/*
 * smtpd - the SMTP server: talks to clients, holds no file, connects nowhere.
 *
 * Given by master: listening sockets ("smtp", "submit"), its settings, a channel
 * to cleanup. Talks to: clients, cleanup. Gives up: everything else; its root is
 * an empty directory.
 */
#include "config.h"

#include <errno.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/child.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "smtpd/server.h"

#define STOP_MARGIN_MS 1000 /* be gone before master loses its patience */

static void
take_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	(void)index;
	if (peer != IPC_CLEANUP) {
		(void)close(fd);
		return;
	}
	server_take_channel(c->arg, fd);
}

static void
stop(struct child *c, uint64_t deadline_ms)
{
	server_stop(c->arg, deadline_ms > 2 * STOP_MARGIN_MS
	    ? deadline_ms - STOP_MARGIN_MS : deadline_ms / 2);
}

static void
stopped(void *arg)
{
	child_exit(arg);
}

/* A descriptor for each session, as far as the hard limit goes. */
static void
raise_limit(const struct child *c)
{
	rlim_t want = (rlim_t)c->settings.smtpd_max_sessions +
	    SERVER_OTHER_FDS;
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1 || rl.rlim_cur >= want) {
		return;
	}
	rl.rlim_cur = rl.rlim_max == RLIM_INFINITY || rl.rlim_max >= want
	    ? want : rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) == -1 || rl.rlim_cur < want) {
		log_warn("only %llu descriptors for smtpd_max_sessions = %llu",
		    (unsigned long long)rl.rlim_cur,
		    (unsigned long long)c->settings.smtpd_max_sessions);
	}
}

static void
take_listeners(struct child *c)
{
	unsigned i;

	for (i = 0; i < c->nlisteners; i++) {
		if (strcmp(c->listeners[i].kind, "smtp") == 0) {
			server_listen(c->arg, c->listeners[i].fd, false);
		} else if (strcmp(c->listeners[i].kind, "submit") == 0) {
			server_listen(c->arg, c->listeners[i].fd, true);
		} else {
			log_fatal(EX_PROTOCOL, "a listener of kind %s",
			    c->listeners[i].kind);
		}
	}
}

int
main(int argc, char **argv)
{
	static const struct child_ops ops = { .channel = take_channel,
		.stop = stop };
	static struct child c;
	struct sandbox_request walls = { .program = IPC_SMTPD };
	struct smtpd *srv;
	char words[256];

	child_begin(&c, IPC_SMTPD, argc, argv);
	raise_limit(&c);
	srv = server_new(c.base, &c.settings);
	c.arg = srv;
	srv->stopped = stopped;
	srv->stopped_arg = &c;
	take_listeners(&c);
	walls.user = c.settings.smtpd_user;
	walls.empty_dir = c.settings.empty_directory;
	walls.probe = c.settings.wall_probe;
	sandbox_enter(&walls, words, sizeof(words));
	child_set_walls(&c, words);
	child_run(&c, &ops);
	return EX_SOFTWARE;
}
