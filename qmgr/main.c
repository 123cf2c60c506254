/*
 * qmgr - the queue manager.
 *
 * Is given: channels to cleanup, local and remote, the control sockets of the queue,
 * the key of the delivery cookies.
 * Talks to: them; and the tools that connect.
 * Gives up: everything; its root directory is empty, it opens no file.
 */
#include "config.h"

#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/child.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "qmgr/qmgr.h"
#include "qmgr/service.h"

struct program {
	struct child c;
	struct qmgr q;
	struct service sv;
};

static void
on_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	struct program *p = c->arg;

	(void)index;
	switch (peer) {
	case IPC_CLEANUP:
		qmgr_cleanup_channel(&p->q, fd);
		break;
	case IPC_LOCAL:
		qmgr_agent_channel(&p->q, SCHED_LOCAL, fd);
		break;
	case IPC_REMOTE:
		qmgr_agent_channel(&p->q, SCHED_REMOTE, fd);
		break;
	default:
		log_error("master gave us a channel to %s", ipc_role_name(peer));
		(void)close(fd);
	}
}

static bool
on_message(struct child *c, struct ipc_msg *m)
{
	struct program *p = c->arg;
	uint64_t agent = ipc_u(m, 0);

	if (m->type != IPC_AGENT_DIED ||
	    (agent != IPC_LOCAL && agent != IPC_REMOTE)) {
		return false;
	}
	qmgr_agent_died(&p->q, agent == IPC_LOCAL ? SCHED_LOCAL : SCHED_REMOTE,
	    ipc_u(m, 1) != 0);
	return true;
}

static void
on_reloaded(struct child *c)
{
	struct program *p = c->arg;

	qmgr_configure(&p->q, &c->settings);
}

static void
on_stop(struct child *c, uint64_t deadline_ms)
{
	struct program *p = c->arg;

	qmgr_stop(&p->q, deadline_ms - deadline_ms / 4);
}

static const struct child_ops child_ops = {
	.channel = on_channel,
	.reloaded = on_reloaded,
	.stop = on_stop,
	.message = on_message,
};

static void
on_marked(void *arg, uint64_t token, uint64_t qid, unsigned result,
    struct slice text)
{
	struct program *p = arg;

	service_marked(&p->sv, token, qid, result, text);
}

static void
on_kept(void *arg, struct slice text)
{
	struct program *p = arg;

	service_kept(&p->sv, text);
}

static void
on_scanned(void *arg)
{
	struct program *p = arg;

	service_scanned(&p->sv);
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

static void
on_stopped(void *arg)
{
	struct program *p = arg;

	child_exit(&p->c);
}

static const struct qmgr_ops qmgr_ops = {
	.marked = on_marked,
	.kept = on_kept,
	.scanned = on_scanned,
	.lost = on_lost,
	.stopped = on_stopped,
};

static void
listen_all(struct program *p)
{
	unsigned i;

	for (i = 0; i < p->c.nlisteners; i++) {
		service_listen(&p->sv, p->c.listeners[i].fd,
		    strcmp(p->c.listeners[i].kind, "control") == 0);
	}
}

int
main(int argc, char **argv)
{
	static struct program p;
	struct sandbox_request rq = { .program = IPC_QMGR };
	char words[256];
	uint64_t seed;

	child_begin(&p.c, IPC_QMGR, argc, argv);
	p.c.arg = &p;
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		log_fatal(EX_OSERR, "no randomness from the kernel");
	}
	qmgr_init(&p.q, p.c.base, &p.c.settings, p.c.key, seed);
	qmgr_ops_set(&p.q, &qmgr_ops, &p);
	rq.user = p.c.settings.qmgr_user;
	rq.empty_dir = p.c.settings.empty_directory;
	rq.probe = p.c.settings.wall_probe;
	sandbox_enter(&rq, words, sizeof(words));
	child_set_walls(&p.c, words);
	service_init(&p.sv, &p.q);
	listen_all(&p);
	child_run(&p.c, &child_ops);
	return EX_SOFTWARE; /* not reached */
}
