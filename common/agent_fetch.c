#include "config.h"

#include <unistd.h>

#include "common/agent.h"

void
agent_content_init(struct agent_content *c, uint64_t qid, uint64_t cookie)
{
	*c = (struct agent_content){ .qid = qid, .cookie = cookie, .fd = -1 };
	strbuf_init(&c->text, 0);
}

void
agent_content_release(struct agent_content *c)
{
	strbuf_clear(&c->text);
	if (c->fd != -1) {
		(void)close(c->fd);
		c->fd = -1;
	}
	c->here = false;
}

/* The question is answered, or nobody wants the answer. */
static void
not_asking(struct agent *a, struct agent_content *c)
{
	if (c->tid != 0) {
		slots_drop(&a->ids, c->tid);
		TAILQ_REMOVE(&a->fetching, c, fetching);
		c->tid = 0;
	}
}

void
agent_content_clear(struct agent *a, struct agent_content *c)
{
	not_asking(a, c);
	agent_content_release(c);
}

static void
ask(struct agent *a, const struct agent_content *c)
{
	struct ipc_chan *ch = a->cleanup.chan;

	if (a->cleanup.up) {
		ipc_begin(ch, IPC_FETCH, c->tid);
		ipc_put_u(ch, c->qid);
		ipc_put_u(ch, c->cookie);
		ipc_end(ch);
	}
}

void
agent_content_want(struct agent *a, struct agent_content *c)
{
	if (c->here || c->tid != 0) {
		return;
	}
	c->tid = slots_add(&a->ids, c);
	c->late_at = agent_now_ms() + a->settings->ipc_timeout * 1000;
	TAILQ_INSERT_TAIL(&a->fetching, c, fetching);
	ask(a, c);
}

/* What the old cleanup did not answer. */
void
agent_fetch_again(struct agent *a)
{
	struct agent_content *c;

	TAILQ_FOREACH(c, &a->fetching, fetching) {
		ask(a, c);
	}
}

void
agent_fetch_sweep(struct agent *a, uint64_t now_ms)
{
	struct agent_content *c;
	struct outcome o;

	while ((c = TAILQ_FIRST(&a->fetching)) != NULL &&
	    c->late_at <= now_ms) {
		outcome_set(&o, FATE_DEFERRED, "4.3.0",
		    "the queue did not hand out the content in time");
		not_asking(a, c);
		a->ops->failed(a->arg, c, &o);
	}
}

static bool
on_fetched(struct agent *a, struct agent_content *c, const struct ipc_msg *m)
{
	struct slice content = ipc_s(m, 2);

	if (content.n != ipc_u(m, 0)) {
		return false;
	}
	not_asking(a, c);
	agent_content_release(c);
	(void)strbuf_add_slice(&c->text, content);
	c->size = content.n;
	c->here = true;
	a->ops->here(a->arg, c);
	return true;
}

static void
on_file(struct agent *a, struct agent_content *c, struct ipc_msg *m)
{
	not_asking(a, c);
	agent_content_release(c);
	c->size = ipc_u(m, 0);
	c->offset = ipc_u(m, 2);
	c->fd = ipc_take_fd(m);
	c->here = true;
	a->ops->here(a->arg, c);
}

static void
on_failed(struct agent *a, struct agent_content *c, const struct ipc_msg *m)
{
	struct slice why = ipc_s(m, 1);
	struct outcome o;

	outcome_set(&o, FATE_DEFERRED, "4.3.0", "the content: %.*s", SLF(why));
	not_asking(a, c);
	a->ops->failed(a->arg, c, &o);
}

bool
agent_fetch_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct agent *a = owner;
	struct agent_content *c = slots_get(&a->ids, m->tid);

	(void)ch;
	if (c == NULL) {
		return true; /* too late: nobody waits for it any more */
	}
	switch ((enum ipc_type)m->type) {
	case IPC_FETCHED:
		return on_fetched(a, c, m);
	case IPC_FETCHED_FILE:
		on_file(a, c, m);
		return true;
	case IPC_FETCH_FAILED:
		on_failed(a, c, m);
		return true;
	default:
		return false;
	}
}
