/*
 * Questions to dns. One that was asked and not answered is asked again on a
 * fresh channel; one that is late counts as a temporary failure of that lookup.
 */
#include "config.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "remote/remote_int.h"

static void
ask(struct remote *r, const struct lookup *l)
{
	struct ipc_chan *ch = r->dns.chan;

	if (r->dns.up) {
		ipc_begin(ch, IPC_DNS_QUERY, l->tid);
		ipc_put_s(ch, l->q.name);
		ipc_put_u(ch, (uint64_t)l->q.type);
		ipc_put_u(ch, l->q.flags);
		ipc_end(ch);
	}
}

void
lookup_ask(struct remote *r, struct dest *dest, const struct mx_question *q)
{
	struct lookup *l = xcalloc(1, sizeof(*l));

	l->dest = dest;
	l->q = *q;
	l->name = xslicedup(q->name);
	l->q.name.p = l->name;
	l->tid = slots_add(&r->lookups, l);
	l->late_at = agent_now_ms() + r->settings->ipc_timeout * 1000;
	TAILQ_INSERT_TAIL(&r->asking, l, list);
	ask(r, l);
}

static void
lookup_free(struct remote *r, struct lookup *l)
{
	slots_drop(&r->lookups, l->tid);
	TAILQ_REMOVE(&r->asking, l, list);
	free(l->name);
	free(l);
}

static void
answer(struct remote *r, struct lookup *l, const struct dns_answer *a)
{
	struct dest *dest = l->dest;

	if (dest == NULL) {
		lookup_free(r, l);
		return;
	}
	mx_memo_answer(dest->memo, &l->q, a);
	lookup_free(r, l);
	dest->asked--;
	dest_answered(r, dest);
}

void
lookup_sweep(struct remote *r, uint64_t now_ms)
{
	const struct dns_answer late = { .status = DNS_TEMP,
		.reason = SL("dns did not answer in time") };
	struct lookup *l;

	while ((l = TAILQ_FIRST(&r->asking)) != NULL && l->late_at <= now_ms) {
		answer(r, l, &late);
	}
}

void
lookup_forget(struct remote *r, const struct dest *dest)
{
	struct lookup *l;

	TAILQ_FOREACH(l, &r->asking, list) {
		if (l->dest == dest) {
			l->dest = NULL;
		}
	}
}

void
lookup_clear(struct remote *r)
{
	struct lookup *l;

	while ((l = TAILQ_FIRST(&r->asking)) != NULL) {
		lookup_free(r, l);
	}
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct remote *r = owner;
	struct lookup *l = slots_get(&r->lookups, m->tid);
	struct dns_answer a;

	(void)ch;
	if (m->type != IPC_DNS_ANSWER || !dns_answer_of(m, &a)) {
		return false;
	}
	if (l != NULL) { /* else too late */
		answer(r, l, &a);
	}
	return true;
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct remote *r = owner;

	ipc_chan_free(ch);
	agent_link_down(&r->dns, why);
}

static const struct ipc_chan_ops dns_ops = {
	.me = IPC_REMOTE,
	.peer = IPC_DNS,
	.message = on_message,
	.closed = on_closed,
};

void
remote_dns(struct remote *r, int fd)
{
	struct lookup *l;

	ipc_chan_free(r->dns.chan);
	r->dns.chan = ipc_chan_new(r->base, fd, &dns_ops, r);
	r->had_dns = true;
	agent_link_up(&r->agent, &r->dns);
	TAILQ_FOREACH(l, &r->asking, list) {
		ask(r, l);
	}
}
