/*
 * local - the dispatcher of local deliveries.
 *
 * Is given: channels to qmgr, cleanup and the forker; nothing else.
 * Talks to: them, and to the workers whose sockets the forker hands back.
 * Gives up: everything; its root directory is empty, it opens no file.
 */
#include "config.h"

#include <sysexits.h>
#include <unistd.h>

#include "common/child.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "local/dispatch.h"

static void
on_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	struct dispatch *d = c->arg;

	(void)index;
	switch (peer) {
	case IPC_QMGR:
		dispatch_qmgr(d, fd);
		break;
	case IPC_CLEANUP:
		dispatch_cleanup(d, fd);
		break;
	case IPC_FORKER:
		dispatch_forker(d, fd);
		break;
	default:
		log_error("master gave us a channel to %s", ipc_role_name(peer));
		(void)close(fd);
	}
}

static void
on_reloaded(struct child *c)
{
	dispatch_reloaded(c->arg);
}

static void
on_stopped(void *arg)
{
	child_exit(arg);
}

static void
on_stop(struct child *c, uint64_t deadline_ms)
{
	dispatch_stop(c->arg, deadline_ms, on_stopped, c);
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
};

int
main(int argc, char **argv)
{
	static struct child c;
	struct sandbox_request rq = { .program = IPC_LOCAL };
	char words[256];

	child_begin(&c, IPC_LOCAL, argc, argv);
	c.arg = dispatch_new(c.base, &c.settings);
	dispatch_on_lost(c.arg, on_lost, NULL);
	rq.user = c.settings.local_user;
	rq.empty_dir = c.settings.empty_directory;
	rq.probe = c.settings.wall_probe;
	sandbox_enter(&rq, words, sizeof(words));
	child_set_walls(&c, words);
	child_run(&c, &ops);
	return EX_SOFTWARE; /* not reached */
}
