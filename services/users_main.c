/*
 * users - the account database, with a deadline and a cache.
 *
 * Given: the setting local_users, and a channel to cleanup. Talks to: master,
 * cleanup, and (by NSS) to whatever keeps the accounts. Gives up: writing any
 * file, executing anything, its uid. It reads what anybody may read, because
 * NSS does.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "common/child.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "services/users_ask.h"

struct users {
	struct child child;
	struct users_ask *ask;
	struct ipc_chan *cleanup;
};

/* In the order of enum account_result. */
static const uint64_t found[] = {
	[ACCOUNT_FOUND] = 1, [ACCOUNT_NONE] = 0, [ACCOUNT_TEMP] = 2,
};

static void
reply(void *asker, uint32_t tid, const struct users_answer *a,
    const char *reason)
{
	struct ipc_chan *ch = asker;
	struct slice why = slice_of(reason);

	if (a->result == ACCOUNT_FOUND &&
	    strlen(a->account.home) > ACCOUNT_HOME_MAX) {
		const struct users_answer temp = { .result = ACCOUNT_TEMP };

		reply(asker, tid, &temp, "the home directory's name is too "
		    "long");
		return;
	}
	if (why.n > 1000) {
		why.n = 1000;
	}
	ipc_begin(ch, IPC_USER_IS, tid);
	ipc_put_u(ch, found[a->result]);
	ipc_put_u(ch, a->result == ACCOUNT_FOUND ? a->account.uid : 0);
	ipc_put_u(ch, a->result == ACCOUNT_FOUND ? a->account.gid : 0);
	ipc_put_str(ch, a->result == ACCOUNT_FOUND ? a->account.home : "");
	ipc_put_s(ch, why);
	ipc_end(ch);
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct users *u = owner;

	if (m->type != IPC_USER) {
		return false;
	}
	users_ask(u->ask, ch, m->tid, ipc_s(m, 0));
	return true;
}

static void
drop_channel(struct users *u)
{
	if (u->cleanup != NULL) {
		users_ask_forget(u->ask, u->cleanup);
		ipc_chan_free(u->cleanup);
		u->cleanup = NULL;
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	(void)ch;
	log_debug("cleanup is gone: %s", why);
	drop_channel(owner); /* master makes a fresh one */
}

static const struct ipc_chan_ops cleanup_ops = {
	.me = IPC_USERS,
	.peer = IPC_CLEANUP,
	.message = on_message,
	.closed = on_closed,
};

static void
on_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	struct users *u = c->arg;

	(void)index;
	if (peer != IPC_CLEANUP) {
		log_warn("a channel to %s is not for us", ipc_role_name(peer));
		(void)close(fd);
		return;
	}
	drop_channel(u);
	u->cleanup = ipc_chan_new(c->base, fd, &cleanup_ops, u);
}

static void
on_reloaded(struct child *c)
{
	struct users *u = c->arg;

	users_ask_source(u->ask, c->settings.local_users);
}

static const struct child_ops ops = {
	.channel = on_channel,
	.reloaded = on_reloaded,
};

static void
lock(struct users *u)
{
	const struct sandbox_request rq = {
		.program = IPC_USERS,
		.user = u->child.settings.users_user,
		.probe = u->child.settings.wall_probe,
	};
	char walls[256];

	sandbox_enter(&rq, walls, sizeof(walls));
	child_set_walls(&u->child, walls);
}

int
main(int argc, char **argv)
{
	static struct users u;

	child_begin(&u.child, IPC_USERS, argc, argv);
	u.child.arg = &u;
	u.ask = users_ask_new(u.child.base, reply, users_look_up);
	users_ask_source(u.ask, u.child.settings.local_users);
	lock(&u);
	child_run(&u.child, &ops); /* threads start with the first question */
}
