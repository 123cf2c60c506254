/*
 * log - the one writer of logs.
 *
 * Given: the read ends of all programs' descriptors 2 (LOG_PIPE) and the sink
 * (LOG_SINK), both from master, also later. Talks to: master. Gives up: the
 * network, all files, its uid; what it can still do is read those pipes and
 * write to that sink.
 */
#include "config.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/child.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "services/log_pipes.h"

struct logger {
	struct child child;
	struct log_sink sink;
	struct log_pipes *pipes;
	struct event *deadline;
};

static void
on_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	(void)c;
	(void)index;
	log_warn("a channel to %s is not for us", ipc_role_name(peer));
	(void)close(fd);
}

static bool
on_message(struct child *c, struct ipc_msg *m)
{
	struct logger *l = c->arg;

	switch ((enum ipc_type)m->type) {
	case IPC_LOG_PIPE:
		return log_pipes_add(l->pipes, ipc_s(m, 0),
		    (unsigned)ipc_u(m, 1), ipc_take_fd(m));
	case IPC_LOG_SINK:
		if (!log_sink_set(&l->sink, ipc_s(m, 0), ipc_take_fd(m))) {
			return false;
		}
		log_pipes_resume(l->pipes);
		return true;
	default:
		return false;
	}
}

static void
finish(void *arg)
{
	struct logger *l = arg;

	log_pipes_drain(l->pipes);
	child_exit(&l->child);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg);
}

/* Last of all programs: ends when the others have said their last words. */
static void
on_stop(struct child *c, uint64_t deadline_ms)
{
	struct logger *l = c->arg;
	uint64_t ms = deadline_ms > 500 ? deadline_ms - 250 : deadline_ms / 2;
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	(void)event_add(l->deadline, &tv);
	log_pipes_finish(l->pipes, finish, l);
}

static const struct child_ops ops = {
	.channel = on_channel,
	.stop = on_stop,
	.message = on_message,
};

static void
lock(struct logger *l)
{
	const struct sandbox_request rq = {
		.program = IPC_LOG,
		.user = l->child.settings.log_user,
		.empty_dir = l->child.settings.empty_directory,
		.probe = l->child.settings.wall_probe,
	};
	char walls[256];

	sandbox_enter(&rq, walls, sizeof(walls));
	child_set_walls(&l->child, walls);
}

int
main(int argc, char **argv)
{
	static struct logger l;
	char host[256] = "";

	child_begin(&l.child, IPC_LOG, argc, argv);
	l.child.arg = &l;
	(void)gethostname(host, sizeof(host) - 1);
	log_sink_init(&l.sink, host);
	l.pipes = log_pipes_new(l.child.base, &l.sink);
	l.deadline = event_new(l.child.base, -1, 0, on_deadline, &l);
	if (l.deadline == NULL) {
		log_panic("no event for the deadline");
	}
	lock(&l);
	child_run(&l.child, &ops);
}
