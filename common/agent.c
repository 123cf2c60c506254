#include "config.h"

#include <stdlib.h>
#include <time.h>

#include "common/agent.h"
#include "common/codec.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define HELLO_OCTETS (4096 * 16) /* of deliveries in one message */

uint64_t
agent_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* -- links ----------------------------------------------------------------- */

void
agent_link_init(struct agent_link *l, const char *peer)
{
	*l = (struct agent_link){ .peer = peer, .lost_at = agent_now_ms() };
}

void
agent_link_up(struct agent *a, struct agent_link *l)
{
	l->up = true;
	a->ops->up(a->arg);
}

void
agent_link_down(struct agent_link *l, const char *why)
{
	log_debug("%s: %s", l->peer, why);
	l->chan = NULL;
	l->up = false;
	l->lost_at = agent_now_ms();
}

void
agent_link_check(struct agent *a, const struct agent_link *l, uint64_t now_ms)
{
	if (!l->up && !a->stopping &&
	    now_ms > l->lost_at + a->settings->ipc_timeout * 1000) {
		a->ops->lost(a->arg, l->peer);
	}
}

/* -- recipients ------------------------------------------------------------ */

static size_t
bucket_of(uint64_t qid, uint32_t index)
{
	uint64_t h = (qid ^ index * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;

	return (size_t)(h >> 40) % AGENT_BUCKETS;
}

struct agent_item *
agent_find(struct agent *a, uint64_t qid, uint32_t index, uint32_t attempt)
{
	struct agent_item *it;

	LIST_FOREACH(it, &a->items[bucket_of(qid, index)], bucket) {
		if (it->qid == qid && it->index == index &&
		    it->attempt == attempt) {
			return it;
		}
	}
	return NULL;
}

void
agent_add(struct agent *a, struct agent_item *it)
{
	LIST_INSERT_HEAD(&a->items[bucket_of(it->qid, it->index)], it, bucket);
	a->nitems++;
}

void
agent_remove(struct agent *a, struct agent_item *it)
{
	LIST_REMOVE(it, bucket);
	a->nitems--;
	free(it->relay);
	it->relay = NULL;
}

struct agent_item *
agent_any(struct agent *a)
{
	size_t i;

	for (i = 0; a->nitems > 0 && i < AGENT_BUCKETS; i++) {
		if (!LIST_EMPTY(&a->items[i])) {
			return LIST_FIRST(&a->items[i]);
		}
	}
	return NULL;
}

static void
tell(struct agent *a, const struct agent_item *it)
{
	struct ipc_chan *ch = a->qmgr.chan;

	if (!a->qmgr.up) {
		return; /* the next channel begins with it */
	}
	ipc_begin(ch, IPC_RESULT, 0);
	ipc_put_u(ch, it->qid);
	ipc_put_u(ch, it->index);
	ipc_put_u(ch, it->attempt);
	ipc_put_u(ch, (uint64_t)it->outcome.fate);
	ipc_put_str(ch, it->outcome.esc);
	ipc_put_str(ch, it->outcome.text);
	ipc_put_str(ch, it->relay != NULL ? it->relay : ipc_role_name(a->me));
	ipc_put_u(ch, it->site ? 1 : 0);
	ipc_end(ch);
}

void
agent_done(struct agent *a, struct agent_item *it, const struct outcome *o)
{
	it->done = true;
	it->outcome = *o;
	tell(a, it);
}

void
agent_return(struct agent *a, const struct agent_item *it)
{
	if (!a->qmgr.up) {
		return; /* the next channel does not name it */
	}
	ipc_begin(a->qmgr.chan, IPC_RETURNED, 0);
	ipc_put_u(a->qmgr.chan, it->qid);
	ipc_put_u(a->qmgr.chan, it->index);
	ipc_put_u(a->qmgr.chan, it->attempt);
	ipc_end(a->qmgr.chan);
}

/* -- qmgr ------------------------------------------------------------------ */

static void
say_running(struct ipc_chan *ch, struct strbuf *b)
{
	if (b->n > 0) {
		ipc_begin(ch, IPC_AGENT_HELLO, 0);
		ipc_put_s(ch, strbuf_slice(b));
		ipc_end(ch);
		strbuf_reset(b);
	}
}

/* All that we know, then the results that nobody has acknowledged. */
static void
say_hello(struct agent *a)
{
	struct agent_item *it;
	struct strbuf b;
	size_t i;

	strbuf_init(&b, 0);
	for (i = 0; i < AGENT_BUCKETS; i++) {
		LIST_FOREACH(it, &a->items[i], bucket) {
			enc_u64(&b, it->qid);
			enc_u32(&b, it->index);
			enc_u32(&b, it->attempt);
			if (b.n >= HELLO_OCTETS) {
				say_running(a->qmgr.chan, &b);
			}
		}
	}
	say_running(a->qmgr.chan, &b);
	strbuf_clear(&b);
	ipc_begin(a->qmgr.chan, IPC_AGENT_HELLO_END, 0);
	ipc_end(a->qmgr.chan);
	for (i = 0; i < AGENT_BUCKETS; i++) {
		LIST_FOREACH(it, &a->items[i], bucket) {
			if (it->done) {
				tell(a, it);
			}
		}
	}
}

/* A text that goes into a message's header and on: no control octets. */
static bool
is_text(struct slice s, size_t max)
{
	size_t i;

	for (i = 0; i < s.n && !ascii_iscntrl(s.p[i]); i++) {
	}
	return s.n <= max && i == s.n;
}

static bool
is_item_ok(const struct rcpt_item *r)
{
	return is_text(r->address, ENVELOPE_PATH_MAX) &&
	    is_text(r->original, ENVELOPE_PATH_MAX) &&
	    is_text(r->extension, ENVELOPE_PATH_MAX);
}

static void
take_rcpt(struct agent *a, const struct agent_mail *m,
    const struct rcpt_item *r)
{
	struct agent_item *it = agent_find(a, m->qid, r->index, r->attempt);

	if (it == NULL) {
		a->ops->deliver(a->arg, m, r);
	} else if (it->done) {
		tell(a, it);
	}
}

static bool
on_deliver(struct agent *a, const struct ipc_msg *m)
{
	struct slice rest = ipc_s(m, 6);
	const struct agent_mail mail = { .qid = ipc_u(m, 0),
		.cookie = ipc_u(m, 1), .arrived_us = ipc_u(m, 2),
		.size = ipc_u(m, 3),
		.flags = (uint32_t)(ipc_u(m, 4) & UINT32_MAX),
		.reverse_path = ipc_s(m, 5) };
	struct rcpt_item r;
	bool bad = false;

	if (!is_text(mail.reverse_path, ENVELOPE_PATH_MAX)) {
		return false;
	}
	while (!a->stopping && rcpt_item_decode(&rest, &r, &bad)) {
		if (!is_item_ok(&r)) {
			bad = true;
			break;
		}
		take_rcpt(a, &mail, &r);
	}
	a->ops->delivered(a->arg, &mail);
	return !bad;
}

static void
on_ack(struct agent *a, const struct ipc_msg *m)
{
	struct agent_item *it;

	if (ipc_u(m, 1) > UINT32_MAX || ipc_u(m, 2) > UINT32_MAX) {
		return;
	}
	it = agent_find(a, ipc_u(m, 0), (uint32_t)ipc_u(m, 1),
	    (uint32_t)ipc_u(m, 2));
	if (it != NULL && it->done) {
		a->ops->acked(a->arg, it);
	}
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct agent *a = owner;

	(void)ch;
	switch ((enum ipc_type)m->type) {
	case IPC_DELIVER:
		return on_deliver(a, m);
	case IPC_RESULT_ACK:
		on_ack(a, m);
		return true;
	case IPC_RECALL:
		a->ops->recall(a->arg);
		return true;
	default:
		return false;
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct agent *a = owner;

	ipc_chan_free(ch);
	agent_link_down(ch == a->qmgr.chan ? &a->qmgr : &a->cleanup, why);
}

void
agent_qmgr(struct agent *a, int fd)
{
	ipc_chan_free(a->qmgr.chan);
	a->qmgr.chan = ipc_chan_new(a->base, fd, &a->qmgr_ops, a);
	agent_link_up(a, &a->qmgr);
	say_hello(a);
}

void
agent_cleanup(struct agent *a, int fd)
{
	ipc_chan_free(a->cleanup.chan);
	a->cleanup.chan = ipc_chan_new(a->base, fd, &a->cleanup_ops, a);
	agent_link_up(a, &a->cleanup);
	agent_fetch_again(a);
}

/* -- life ------------------------------------------------------------------ */

void
agent_init(struct agent *a, struct event_base *base,
    const struct settings *settings, enum ipc_role me)
{
	a->base = base;
	a->settings = settings;
	a->me = me;
	agent_link_init(&a->qmgr, "qmgr");
	agent_link_init(&a->cleanup, "cleanup");
	a->qmgr_ops = (struct ipc_chan_ops){ .me = me, .peer = IPC_QMGR,
		.message = on_message, .closed = on_closed };
	a->cleanup_ops = (struct ipc_chan_ops){ .me = me, .peer = IPC_CLEANUP,
		.message = agent_fetch_message, .closed = on_closed };
	slots_init(&a->ids);
	TAILQ_INIT(&a->fetching);
}

void
agent_set_ops(struct agent *a, const struct agent_ops *ops, void *arg)
{
	a->ops = ops;
	a->arg = arg;
}

void
agent_clear(struct agent *a)
{
	ipc_chan_free(a->qmgr.chan);
	ipc_chan_free(a->cleanup.chan);
	slots_clear(&a->ids);
}

void
agent_sweep(struct agent *a, uint64_t now_ms)
{
	agent_fetch_sweep(a, now_ms);
	agent_link_check(a, &a->qmgr, now_ms);
	agent_link_check(a, &a->cleanup, now_ms);
}
