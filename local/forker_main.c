/*
 * forker - makes the workers of local deliveries.
 *
 * Is given: root's rights, and a channel to the dispatcher.
 * Talks to: the dispatcher, in records of 64 octets; to nobody else.
 * Gives up: all that is not needed to fork and to become a user.
 */
#include "config.h"

#include <pwd.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/child.h"
#include "common/io.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "local/become.h"
#include "local/forker.h"

static void
on_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	(void)index;
	if (peer != IPC_LOCAL) {
		log_error("master gave us a channel to %s", ipc_role_name(peer));
		(void)close(fd);
		return;
	}
	forker_channel(c->arg, fd);
}

static void
on_stop(struct child *c, uint64_t deadline_ms)
{
	forker_stop(c->arg, deadline_ms);
}

static void
on_stopped(void *arg)
{
	child_exit(arg);
}

/* In the child. */
static int
be_worker(const struct settings *settings, const char *name, int sock)
{
	const struct become b = { settings, name, sock };

	io_plan_from_env("worker");
	return become_worker(&b);
}

static const struct child_ops ops = {
	.channel = on_channel,
	.stop = on_stop,
};

int
main(int argc, char **argv)
{
	static struct child c;
	static struct forker_ops fops = {
		.child = be_worker,
		.stopped = on_stopped,
		.arg = &c,
	};
	struct sandbox_request rq = { .program = IPC_FORKER };
	char words[256];

	child_begin(&c, IPC_FORKER, argc, argv);
	c.arg = forker_new(c.base, &c.settings, &fops);
	/* Loads what the account database needs, once and not in each child. */
	(void)getpwnam("root");
	sandbox_prepare(IPC_WORKER, IPC_FORKER);
	rq.probe = c.settings.wall_probe;
	sandbox_enter(&rq, words, sizeof(words));
	child_set_walls(&c, words);
	child_run(&c, &ops);
	return EX_SOFTWARE; /* not reached */
}
