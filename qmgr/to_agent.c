/*
 * The channels to the delivery agents. One that is not there (a system without
 * remote) is no trouble: what is for it waits.
 */
#include "config.h"

#include "common/codec.h"
#include "common/log.h"
#include "qmgr/qmgr.h"

#define HELLO_ITEM 16      /* octets: u64 queue id, u32 index, u32 attempt */
#define HELLO_MAX  200000  /* deliveries that an agent may claim to have */

static const char *const names[SCHED_AGENTS] = {
	[SCHED_LOCAL] = "local",
	[SCHED_REMOTE] = "remote",
};

static struct agent_link *
link_of(struct qmgr *q, const struct ipc_chan *ch, enum sched_agent *a)
{
	int i;

	for (i = 0; i < SCHED_AGENTS - 1; i++) {
		if (q->agents[i].ch == ch) {
			break;
		}
	}
	*a = (enum sched_agent)i;
	return &q->agents[i];
}

/* -- out ----------------------------------------------------------------------- */

static void
deliver(struct qmgr *q, struct ipc_chan *ch, const struct sched_action *act)
{
	size_t i;

	strbuf_reset(&q->scratch);
	for (i = 0; i < act->nitems; i++) {
		rcpt_item_encode(&act->items[i].rcpt, &q->scratch);
	}
	ipc_begin(ch, IPC_DELIVER, 0);
	ipc_put_u(ch, act->qid);
	ipc_put_u(ch, siphash_cookie(q->key, act->qid));
	ipc_put_u(ch, act->msg.arrived_us);
	ipc_put_u(ch, act->msg.size);
	ipc_put_u(ch, act->msg.flags);
	ipc_put_str(ch, act->msg.reverse_path);
	ipc_put_s(ch, strbuf_slice(&q->scratch));
	ipc_end(ch);
}

void
qmgr_agent_do(struct qmgr *q, const struct sched_action *act)
{
	struct ipc_chan *ch = q->agents[act->agent].ch;

	if (!ipc_chan_alive(ch)) {
		return; /* its `closed' is on the way, and says what was lost */
	}
	if (act->kind == SCHED_DELIVER) {
		deliver(q, ch, act);
		return;
	}
	ipc_begin(ch, IPC_RESULT_ACK, 0);
	ipc_put_u(ch, act->qid);
	ipc_put_u(ch, act->index);
	ipc_put_u(ch, act->attempt);
	ipc_end_later(ch); /* nothing waits for it */
}

void
qmgr_agent_recall(struct qmgr *q)
{
	struct ipc_chan *ch = q->agents[SCHED_REMOTE].ch;

	if (ch != NULL && ipc_chan_alive(ch)) {
		ipc_begin(ch, IPC_RECALL, 0);
		ipc_end(ch);
	}
}

void
qmgr_agent_pressure(struct qmgr *q)
{
	struct agent_link *l;
	int i;

	for (i = 0; i < SCHED_AGENTS; i++) {
		l = &q->agents[i];
		if (l->ch != NULL) {
			l->full = ipc_chan_queued(l->ch) >= QMGR_HIGH_WATER;
			sched_agent_pause(q->s, (enum sched_agent)i, l->full);
		}
	}
}

uint64_t
qmgr_agent_deadlines(struct qmgr *q)
{
	uint64_t now = qmgr_mono_ms(), at = UINT64_MAX;
	int i;

	for (i = 0; i < SCHED_AGENTS; i++) {
		if (q->agents[i].gone_ms == 0) {
			continue;
		}
		if (now >= q->agents[i].gone_ms + q->ipc_timeout_ms) {
			q->agents[i].gone_ms = now;
			q->ops->lost(q->arg, names[i]);
		}
		if (q->agents[i].gone_ms + q->ipc_timeout_ms < at) {
			at = q->agents[i].gone_ms + q->ipc_timeout_ms;
		}
	}
	return at;
}

/* -- in ------------------------------------------------------------------------ */

static bool
on_hello(struct qmgr *q, struct agent_link *l, enum sched_agent a,
    const struct ipc_msg *m)
{
	struct dec d = dec_make(ipc_s(m, 0));
	uint64_t qid;
	uint32_t index;

	if (l->hello || d.in.n % HELLO_ITEM != 0 ||
	    (l->told += d.in.n / HELLO_ITEM) > HELLO_MAX) {
		return false;
	}
	while (d.in.n > 0) {
		qid = dec_u64(&d);
		index = dec_u32(&d);
		sched_agent_running(q->s, a, qid, index, dec_u32(&d));
	}
	return true;
}

static bool
on_hello_end(struct qmgr *q, struct agent_link *l, enum sched_agent a)
{
	if (l->hello) {
		return false;
	}
	l->hello = true;
	if (l->told > 0) {
		log_info("%s has %zu deliveries from before", names[a],
		    l->told);
	}
	sched_agent_up(q->s, a);
	return true;
}

static bool
on_result(struct qmgr *q, struct agent_link *l, enum sched_agent a,
    const struct ipc_msg *m)
{
	struct sched_result r = { .qid = ipc_u(m, 0), .esc = ipc_s(m, 4),
		.reply = ipc_s(m, 5), .relay = ipc_s(m, 6) };

	if (!l->hello || ipc_u(m, 1) > UINT32_MAX || ipc_u(m, 2) > UINT32_MAX ||
	    ipc_u(m, 3) < FATE_DELIVERED || ipc_u(m, 3) > FATE_FAILED ||
	    ipc_u(m, 7) > 1) {
		return false;
	}
	r.index = (uint32_t)ipc_u(m, 1);
	r.attempt = (uint32_t)ipc_u(m, 2);
	r.fate = (enum fate)ipc_u(m, 3);
	r.site = ipc_u(m, 7) == 1;
	return sched_result(q->s, a, &r);
}

static bool
on_returned(struct qmgr *q, const struct agent_link *l, enum sched_agent a,
    const struct ipc_msg *m)
{
	if (!l->hello || ipc_u(m, 1) > UINT32_MAX || ipc_u(m, 2) > UINT32_MAX) {
		return false;
	}
	sched_returned(q->s, a, ipc_u(m, 0), (uint32_t)ipc_u(m, 1),
	    (uint32_t)ipc_u(m, 2));
	return true;
}

static bool
dispatch(struct qmgr *q, struct agent_link *l, enum sched_agent a,
    const struct ipc_msg *m)
{
	switch ((enum ipc_type)m->type) {
	case IPC_AGENT_HELLO:
		return on_hello(q, l, a, m);
	case IPC_AGENT_HELLO_END:
		return on_hello_end(q, l, a);
	case IPC_RESULT:
		return on_result(q, l, a, m);
	case IPC_RETURNED:
		return on_returned(q, l, a, m);
	default:
		return false;
	}
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct qmgr *q = owner;
	enum sched_agent a;
	struct agent_link *l = link_of(q, ch, &a);

	qmgr_time(q);
	qmgr_wake(q);
	if (dispatch(q, l, a, m)) {
		return true;
	}
	l->itself = true; /* out of its mind; the channel ends with this */
	return false;
}

/* What became of it is known: its mail is given out again. */
static void
down(struct qmgr *q, enum sched_agent a)
{
	struct agent_link *l = &q->agents[a];

	ipc_chan_free(l->ch);
	sched_agent_down(q->s, a, l->itself);
	*l = (struct agent_link){ .ch = NULL, .gone_ms = l->gone_ms };
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct qmgr *q = owner;
	enum sched_agent a;
	struct agent_link *l = link_of(q, ch, &a);

	log_warn("the channel to %s is lost: %s", names[a], why);
	qmgr_time(q);
	l->gone_ms = qmgr_mono_ms();
	sched_agent_lost(q->s, a);
	if (l->died || l->itself) {
		down(q, a);
	} /* else the dead channel stays until master says how it died */
	qmgr_wake(q);
}

void
qmgr_agent_died(struct qmgr *q, enum sched_agent a, bool itself)
{
	struct agent_link *l = &q->agents[a];

	if (l->ch == NULL) {
		return; /* nothing was in its hands */
	}
	l->died = true;
	l->itself = l->itself || itself;
	if (!ipc_chan_alive(l->ch)) {
		qmgr_time(q);
		down(q, a);
		qmgr_wake(q);
	} /* else its last results are still to be read */
}

static void
on_drained(void *owner, struct ipc_chan *ch)
{
	enum sched_agent a;

	if (link_of(owner, ch, &a)->full) {
		qmgr_wake(owner);
	}
}

static const struct ipc_chan_ops agent_ops[SCHED_AGENTS] = {
	[SCHED_LOCAL] = { .me = IPC_QMGR, .peer = IPC_LOCAL,
	    .message = on_message, .closed = on_closed,
	    .drained = on_drained },
	[SCHED_REMOTE] = { .me = IPC_QMGR, .peer = IPC_REMOTE,
	    .message = on_message, .closed = on_closed,
	    .drained = on_drained },
};

void
qmgr_agent_channel(struct qmgr *q, enum sched_agent a, int fd)
{
	qmgr_time(q);
	if (q->agents[a].ch != NULL) {
		down(q, a);
	}
	q->agents[a] = (struct agent_link){
		.ch = ipc_chan_new(q->base, fd, &agent_ops[a], q) };
	qmgr_wake(q);
}

void
qmgr_agent_clear(struct qmgr *q)
{
	int i;

	for (i = 0; i < SCHED_AGENTS; i++) {
		ipc_chan_free(q->agents[i].ch);
		q->agents[i].ch = NULL;
	}
}
