/*
 * remote - delivers to other hosts, and to LMTP servers.
 *
 * Is given: channels to qmgr, cleanup and dns; connected UNIX sockets by master.
 * Talks to: them, and to the network: it connects, and never accepts.
 * Gives up: everything else; its root directory is empty, it opens no file.
 */
#include "config.h"

#include <sysexits.h>
#include <unistd.h>

#include "common/child.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "remote/remote.h"

static void
on_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	struct remote *r = c->arg;

	(void)index;
	switch (peer) {
	case IPC_QMGR:
		remote_qmgr(r, fd);
		break;
	case IPC_CLEANUP:
		remote_cleanup(r, fd);
		break;
	case IPC_DNS:
		remote_dns(r, fd);
		break;
	default:
		log_error("master gave us a channel to %s", ipc_role_name(peer));
		(void)close(fd);
	}
}

static bool
on_message(struct child *c, struct ipc_msg *m)
{
	switch ((enum ipc_type)m->type) {
	case IPC_CONNECTED:
		remote_connected(c->arg, m->tid, ipc_take_fd(m), SL(""));
		return true;
	case IPC_CONNECT_FAILED:
		remote_connected(c->arg, m->tid, -1, ipc_s(m, 0));
		return true;
	default:
		return false;
	}
}

static void
ask_master(void *arg, uint32_t tid, const char *path)
{
	struct child *c = arg;

	ipc_begin(c->master, IPC_CONNECT, tid);
	ipc_put_str(c->master, path);
	ipc_end(c->master);
}

static void
on_reloaded(struct child *c)
{
	remote_reloaded(c->arg);
}

static void
on_stopped(void *arg)
{
	child_exit(arg);
}

static void
on_stop(struct child *c, uint64_t deadline_ms)
{
	remote_stop(c->arg, deadline_ms, on_stopped, c);
}

/* A peer that lives has disconnected us, and only a restart of ours makes
   master hand out a fresh channel. */
static void
on_lost(void *arg, const char *peer)
{
	(void)arg;
	log_fatal(EX_UNAVAILABLE, "no channel to %s for too long: starting anew",
	    peer);
}

static const struct child_ops ops = {
	.channel = on_channel,
	.reloaded = on_reloaded,
	.stop = on_stop,
	.message = on_message,
};

int
main(int argc, char **argv)
{
	static struct child c;
	struct sandbox_request rq = { .program = IPC_REMOTE };
	char words[256];

	child_begin(&c, IPC_REMOTE, argc, argv);
	c.arg = remote_new(c.base, &c.settings);
	remote_on_lost(c.arg, on_lost, NULL);
	remote_on_connect(c.arg, ask_master, &c);
	rq.user = c.settings.remote_user;
	rq.empty_dir = c.settings.empty_directory;
	rq.probe = c.settings.wall_probe;
	sandbox_enter(&rq, words, sizeof(words));
	child_set_walls(&c, words);
	child_run(&c, &ops);
	return EX_SOFTWARE; /* not reached */
}
