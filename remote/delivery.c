#include "config.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "remote/remote_int.h"

/* -- what qmgr gives ------------------------------------------------------- */

static struct delivery *
delivery_new(struct remote *r, const struct agent_mail *m, struct dest *dest)
{
	struct delivery *d = xcalloc(1, sizeof(*d));

	agent_content_init(&d->content, m->qid, m->cookie);
	d->r = r;
	d->dest = dest;
	dest->ndeliveries++;
	d->reverse_path = xslicedup(m->reverse_path);
	d->mail.reverse_path = slice_make(d->reverse_path, m->reverse_path.n);
	d->mail.size = m->size;
	d->mail.flags = m->flags;
	d->site = true;
	outcome_set(&d->last, FATE_DEFERRED, "4.4.0",
	    "no address was left to be tried");
	TAILQ_INSERT_TAIL(&r->deliveries, d, all);
	TAILQ_INSERT_TAIL(&r->fresh, d, list);
	return d;
}

/* The recipients of a DELIVER that go to the same place go together. */
static struct delivery *
fresh_for(struct remote *r, const struct agent_mail *m, struct dest *dest)
{
	struct delivery *d;

	TAILQ_FOREACH(d, &r->fresh, list) {
		if (d->dest == dest) {
			return d;
		}
	}
	return delivery_new(r, m, dest);
}

static void
add_rcpt(struct delivery *d, struct rcpt *rc)
{
	if ((d->nrcpts & (d->nrcpts - 1)) == 0) { /* 0, 1, 2, 4, ... */
		d->rcpts = xreallocarray(d->rcpts,
		    d->nrcpts == 0 ? 1 : d->nrcpts * 2, sizeof(*d->rcpts));
	}
	d->rcpts[d->nrcpts++] = (struct client_rcpt){
		.path = slice_of(rc->path), .arg = rc };
	d->open++;
}

void
delivery_take(void *arg, const struct agent_mail *m,
    const struct rcpt_item *item)
{
	struct remote *r = arg;
	struct rcpt *rc = xcalloc(1, sizeof(*rc));
	const char *why = "";
	struct dest *dest;
	struct outcome o;

	rc->item.qid = m->qid;
	rc->item.index = item->index;
	rc->item.attempt = item->attempt;
	agent_add(&r->agent, &rc->item);
	if (r->agent.nitems > REMOTE_ITEMS) {
		outcome_set(&o, FATE_DEFERRED, "4.3.2",
		    "too many deliveries are in hand");
		agent_done(&r->agent, &rc->item, &o);
		return;
	}
	dest = dest_get(r, item->transport, item->next_hop, &why);
	if (dest == NULL) {
		outcome_set(&o, FATE_DEFERRED, "4.3.5", "%.*s:%.*s: %s",
		    SLF(item->transport), SLF(item->next_hop), why);
		agent_done(&r->agent, &rc->item, &o);
		return;
	}
	rc->path = xslicedup(item->address);
	add_rcpt(fresh_for(r, m, dest), rc);
}

static void
start(struct delivery *d)
{
	d->conn = conn_take_idle(d);
	if (d->conn != NULL) {
		d->state = DELIVERY_TALKING;
		conn_begin(d->conn);
	} else if (d->routed || dest_route(d->r, d)) {
		delivery_go(d);
	}
}

void
delivery_taken(void *arg, const struct agent_mail *m)
{
	struct remote *r = arg;
	struct delivery *d;

	(void)m;
	while ((d = TAILQ_FIRST(&r->fresh)) != NULL) {
		TAILQ_REMOVE(&r->fresh, d, list);
		start(d);
	}
}

void
delivery_acked(void *arg, struct agent_item *it)
{
	struct remote *r = arg;
	struct rcpt *rc = (struct rcpt *)(void *)it;

	agent_remove(&r->agent, it);
	free(rc->path);
	free(rc);
}

void
delivery_free(struct delivery *d)
{
	struct remote *r = d->r;
	unsigned i;

	feed_end(d);
	agent_content_clear(&r->agent, &d->content);
	for (i = 0; i < d->nrcpts; i++) {
		if (d->rcpts[i].arg != NULL) {
			delivery_acked(r, d->rcpts[i].arg);
		}
	}
	mx_result_clear(&d->route);
	TAILQ_REMOVE(&r->deliveries, d, all);
	d->dest->ndeliveries--;
	dest_release(r, d->dest);
	free(d->rcpts);
	free(d->reverse_path);
	free(d->relay);
	free(d);
}

/* -- fates ----------------------------------------------------------------- */

static void
give(struct delivery *d, struct client_rcpt *cr, const struct outcome *o,
    const char *relay, bool site)
{
	struct rcpt *rc = cr->arg;

	free(rc->path);
	rc->path = NULL;
	rc->item.relay = xstrdup(relay);
	rc->item.site = site;
	cr->path = slice_make(NULL, 0);
	cr->arg = NULL; /* it is freed when it is acknowledged */
	cr->state = CLIENT_RCPT_DONE;
	d->open--;
	agent_done(&d->r->agent, &rc->item, o);
}

void
delivery_result(void *owner, struct client_rcpt *cr, const struct outcome *o)
{
	struct conn *c = owner;

	give(c->d, cr, o, c->relay, false);
}

static void
give_all(struct delivery *d, const struct outcome *o, bool site)
{
	unsigned i;

	for (i = 0; i < d->nrcpts; i++) {
		if (d->rcpts[i].arg != NULL) {
			give(d, &d->rcpts[i], o,
			    d->relay != NULL ? d->relay : "none", site);
		}
	}
	delivery_free(d);
}

void
delivery_give_up(struct delivery *d)
{
	struct outcome o = d->last;

	give_all(d, &o, d->site);
}

void
delivery_defer(struct delivery *d, const struct outcome *o)
{
	give_all(d, o, false);
}

/* As if it had never been here. Frees it. */
static void
give_back(struct delivery *d)
{
	const struct rcpt *rc;
	unsigned i;

	for (i = 0; i < d->nrcpts; i++) {
		rc = d->rcpts[i].arg;
		if (rc != NULL) {
			agent_return(&d->r->agent, &rc->item);
		}
	}
	delivery_free(d);
}

/* -- where it goes --------------------------------------------------------- */

void
delivery_go(struct delivery *d)
{
	struct remote *r = d->r;
	struct outcome o;

	if (d->dest->hop.kind != NEXTHOP_UNIX && d->route.n == 0) {
		outcome_set(&o, d->route.fate, d->route.esc, "%s",
		    d->route.text != NULL ? d->route.text : "");
		give_all(d, &o, true);
	} else if (!r->stopping &&
	    (r->nconns < remote_connections_max(r) ||
	    conn_drop_idle(r))) {
		dial_next(d);
	} else {
		d->state = DELIVERY_WAITING;
		TAILQ_INSERT_TAIL(&r->waiting, d, list);
	}
}

void
delivery_failed_at(struct delivery *d, const char *relay,
    const struct outcome *why, bool site)
{
	d->last = *why;
	d->site = d->site && site;
	free(d->relay);
	d->relay = xstrdup(relay);
	if (d->r->recalled) {
		delivery_give_up(d);
		return;
	}
	/* Over a kept connection it went without asking for its way. */
	if (d->routed || dest_route(d->r, d)) {
		delivery_go(d);
	}
}

void
delivery_again(struct delivery *d)
{
	if (d->r->recalled) {
		give_back(d);
	} else {
		start(d);
	}
}

/* -- a stop of the system --------------------------------------------------- */

/* Out of the list or connection that it waits in. */
static void
leave(struct delivery *d)
{
	struct conn *c = d->conn;

	if (c != NULL) {
		c->d = NULL;
		d->conn = NULL;
		conn_close(c);
	} else if (d->state == DELIVERY_ROUTING) {
		TAILQ_REMOVE(&d->dest->routing, d, list);
	} else if (d->state == DELIVERY_WAITING) {
		TAILQ_REMOVE(&d->r->waiting, d, list);
	} else {
		dial_cancel(d);
	}
}

void
delivery_recall(void *arg)
{
	struct remote *r = arg;
	struct delivery *d, *next;

	r->recalled = true;
	for (d = TAILQ_FIRST(&r->deliveries); d != NULL; d = next) {
		next = TAILQ_NEXT(d, all);
		if (d->conn == NULL || !d->conn->begun) {
			leave(d);
			give_back(d);
		}
	}
}
