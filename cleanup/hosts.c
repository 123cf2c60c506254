#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>

#include "cleanup/hosts.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/settings.h"
#include "common/slots.h"
#include "common/xmalloc.h"

#define SMTP_PORT 25
#define LMTP_PORT 24

/* A next hop whose hosts are looked for. */
struct looking {
	uint32_t id;
	struct nexthop hop;
	bool lmtp;
	struct mx_memo *memo;
	unsigned missing; /* answers that are still to come */
	uint64_t deadline_ms;
	hosts_cb *cb;
	void *arg;
};

/* A question to dns. */
struct query {
	uint32_t tid, looking;
	char name[DNS_NAME_MAX + 1];
	enum dns_type type;
	unsigned flags;
};

struct hosts {
	struct event_base *base;
	struct mx_policy *policy;
	size_t address_limit;
	struct ipc_chan *dns; /* NULL: there is none just now */
	struct slots lookings, queries;
	struct event *timer;
};

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
looking_free(struct hosts *h, struct looking *l)
{
	slots_drop(&h->lookings, l->id);
	mx_memo_free(l->memo);
	free(l);
}

/* All that is known is told; frees l. */
static void
finish(struct hosts *h, struct looking *l, const struct mx_result *r)
{
	slots_drop(&h->lookings, l->id); /* cb may cancel, and ask again */
	l->cb(l->arg, l->memo, r);
	mx_memo_free(l->memo);
	free(l);
}

/* No answer: what remote would do then is to try again later. */
static void
give_up(struct hosts *h, struct looking *l, const char *why)
{
	char text[128];
	struct mx_result r = { .fate = FATE_DEFERRED, .esc = "4.4.3" };

	(void)snprintf(text, sizeof(text), "%s", why);
	r.text = text;
	finish(h, l, &r);
}

static void
ask_dns(struct hosts *h, struct looking *l, const struct mx_question *mq)
{
	struct query *q = xcalloc(1, sizeof(*q));

	memcpy(q->name, mq->name.p, mq->name.n);
	q->type = mq->type;
	q->flags = mq->flags;
	q->looking = l->id;
	q->tid = slots_add(&h->queries, q);
	l->missing++;
	ipc_begin(h->dns, IPC_DNS_QUERY, q->tid);
	ipc_put_str(h->dns, q->name);
	ipc_put_u(h->dns, (uint64_t)q->type);
	ipc_put_u(h->dns, q->flags);
	ipc_end(h->dns);
}

/* May free l. False: it has ended. */
static bool
go_on(struct hosts *h, struct looking *l)
{
	const struct mx_request rq = { .hop = &l->hop, .policy = h->policy,
		.default_port = l->lmtp ? LMTP_PORT : SMTP_PORT,
		.no_mx = l->lmtp, .address_limit = h->address_limit };
	struct mx_question mq;
	struct mx_result r = { .n = 0 };
	size_t place = 0;

	if (mx_resolve(&rq, l->memo, &r) == MX_DONE) {
		finish(h, l, &r);
		mx_result_clear(&r);
		return false;
	}
	if (!ipc_chan_alive(h->dns)) {
		give_up(h, l, "dns is not there to be asked");
		return false;
	}
	while (mx_memo_need(l->memo, &place, &mq)) {
		ask_dns(h, l, &mq);
	}
	return true;
}

static void
arm(struct hosts *h)
{
	const struct timeval soon = { 1, 0 };

	(void)event_add(h->timer, &soon);
}

uint32_t
hosts_ask(struct hosts *h, const struct nexthop *hop, bool lmtp, hosts_cb *cb,
    void *arg)
{
	struct looking *l = xcalloc(1, sizeof(*l));
	uint32_t id;

	l->hop = *hop;
	l->lmtp = lmtp;
	l->cb = cb;
	l->arg = arg;
	l->memo = mx_memo_new();
	l->deadline_ms = now_ms() + HOSTS_WAIT_MAX_MS;
	id = l->id = slots_add(&h->lookings, l);
	if (h->lookings.used > HOSTS_LOOKINGS_MAX) {
		give_up(h, l, "too many traces at a time");
		return 0;
	}
	if (!go_on(h, l)) {
		return 0;
	}
	arm(h);
	return id;
}

void
hosts_cancel(struct hosts *h, uint32_t id)
{
	struct looking *l = slots_get(&h->lookings, id);

	if (l != NULL) {
		looking_free(h, l);
	}
}

/* -- dns --------------------------------------------------------------------- */

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct hosts *h = owner;
	struct query *q = slots_get(&h->queries, m->tid);
	struct dns_answer a;
	struct looking *l;

	(void)ch;
	if (!dns_answer_of(m, &a)) {
		return false;
	}
	if (q == NULL) {
		return true; /* too late */
	}
	slots_drop(&h->queries, q->tid);
	l = slots_get(&h->lookings, q->looking);
	if (l != NULL) {
		const struct mx_question mq = { slice_of(q->name), q->type,
			q->flags };

		mx_memo_answer(l->memo, &mq, &a);
		if (--l->missing == 0) {
			(void)go_on(h, l);
		}
	}
	free(q);
	return true;
}

/* Nobody answers any more. */
static void
forget(struct hosts *h)
{
	struct looking *l;
	struct query *q;
	uint32_t place = 0;

	ipc_chan_free(h->dns);
	h->dns = NULL;
	while ((q = slots_next(&h->queries, &place)) != NULL) {
		slots_drop(&h->queries, q->tid);
		free(q);
	}
	place = 0;
	while ((l = slots_next(&h->lookings, &place)) != NULL) {
		give_up(h, l, "dns went away before it answered");
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	(void)ch;
	log_warn("the channel to dns closed: %s", why);
	forget(owner);
}

static const struct ipc_chan_ops dns_ops = {
	.me = IPC_CLEANUP, .peer = IPC_DNS,
	.message = on_message, .closed = on_closed,
};

void
hosts_channel(struct hosts *h, int fd)
{
	forget(h);
	h->dns = ipc_chan_new(h->base, fd, &dns_ops, h);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct hosts *h = arg;
	uint64_t now = now_ms();
	struct looking *l;
	uint32_t place = 0;

	(void)fd;
	(void)what;
	while ((l = slots_next(&h->lookings, &place)) != NULL) {
		if (l->deadline_ms <= now) {
			give_up(h, l, "dns gave no answer in time");
		}
	}
	if (h->lookings.used > 0) {
		arm(h);
	}
}

void
hosts_set_settings(struct hosts *h, const struct settings *s)
{
	mx_policy_free(h->policy);
	h->policy = mx_policy_new(s);
	h->address_limit = (size_t)s->smtp_mx_address_limit;
}

struct hosts *
hosts_new(struct event_base *base, const struct settings *s)
{
	struct hosts *h = xcalloc(1, sizeof(*h));

	h->base = base;
	slots_init(&h->lookings);
	slots_init(&h->queries);
	hosts_set_settings(h, s);
	h->timer = event_new(base, -1, 0, on_timer, h);
	if (h->timer == NULL) {
		log_panic("hosts: no event");
	}
	return h;
}

void
hosts_free(struct hosts *h)
{
	struct looking *l;
	uint32_t place = 0;

	if (h == NULL) {
		return;
	}
	while ((l = slots_next(&h->lookings, &place)) != NULL) {
		looking_free(h, l);
	}
	forget(h);
	slots_clear(&h->lookings);
	slots_clear(&h->queries);
	mx_policy_free(h->policy);
	event_free(h->timer);
	free(h);
}
