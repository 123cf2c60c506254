/*
 * A connection's events, deadlines and end. Octets leave at once; EV_WRITE is
 * asked for only when the socket does not take them. A connection never goes
 * away inside its own callbacks: conn_close() makes it dead, the dead are freed at
 * the end of the turn. An idle one holds no buffers.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"
#include "remote/remote_int.h"

#define READS_MAX 4 /* of scratch, in a turn: then others have theirs */

static const struct client_ops client_ops = { .result = delivery_result };

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

/* -- deadlines --------------------------------------------------------------- */

static void
arm_timer(struct conn *c, uint64_t now)
{
	uint64_t ms = c->deadline > now ? c->deadline - now : 0;
	struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	c->timer_at = c->deadline;
	(void)evtimer_add(&c->timer, &tv);
}

/* The timer is only moved when it would come too late. */
static void
set_deadline(struct conn *c, uint64_t seconds)
{
	uint64_t now = agent_now_ms();

	c->deadline = now + seconds * 1000;
	if (c->timer_at == 0 || c->timer_at > c->deadline) {
		arm_timer(c, now);
	}
}

static void
stage_deadline(struct conn *c)
{
	c->waits = c->client.waits;
	set_deadline(c, client_stage_limit(c->client.stage, c->r->settings));
}

/* -- beginning and end ------------------------------------------------------- */

static void
set_peer(struct conn *c, const struct delivery *d,
    const struct mx_candidate *at)
{
	char text[RELAY_MAX];
	struct strbuf relay;

	if (at == NULL) {
		dial_unix_relay(d, text, sizeof(text));
		c->relay = xstrdup(text);
		c->host = xstrdup("");
		return;
	}
	strbuf_init(&relay, 0);
	dial_relay(at->host, &at->addr, at->port, &relay);
	c->relay = strbuf_take(&relay);
	c->host = xstrdup(at->host);
	c->addr = at->addr;
	c->port = at->port;
}

struct conn *
conn_new(struct delivery *d, int fd, const struct mx_candidate *at,
    bool connecting)
{
	struct conn *c = xcalloc(1, sizeof(*c));
	struct remote *r = d->r;

	c->r = r;
	c->dest = d->dest;
	c->dest->nconns++;
	c->d = d;
	c->fd = fd;
	c->connecting = connecting;
	set_peer(c, d, at);
	c->helo = xstrdup(r->settings->smtp_helo_name);
	client_init(&c->client, &client_ops, c, c->helo, d->dest->lmtp);
	(void)event_assign(&c->readable, r->base, fd, EV_READ | EV_PERSIST,
	    on_readable, c);
	(void)event_assign(&c->writable, r->base, fd, EV_WRITE, on_writable,
	    c);
	(void)evtimer_assign(&c->timer, r->base, on_timer, c);
	TAILQ_INSERT_TAIL(&r->conns, c, all);
	r->nconns++;
	if (connecting) {
		(void)event_add(&c->writable, NULL);
		set_deadline(c, r->settings->smtp_connect_timeout);
	} else {
		d->state = DELIVERY_TALKING;
		(void)event_add(&c->readable, NULL);
		stage_deadline(c);
	}
	return c;
}

static void
leave_idle(struct conn *c)
{
	if (c->idle) {
		c->idle = false;
		TAILQ_REMOVE(&c->dest->idle, c, in_idle);
		c->r->nidle--;
	}
}

void
conn_close(struct conn *c)
{
	struct remote *r = c->r;
	struct dest *dest = c->dest;

	if (c->dead) {
		return;
	}
	c->dead = true;
	leave_idle(c);
	(void)event_del(&c->readable);
	(void)event_del(&c->writable);
	(void)event_del(&c->timer);
	(void)close(c->fd);
	TAILQ_REMOVE(&r->conns, c, all);
	TAILQ_INSERT_TAIL(&r->dead_conns, c, all);
	r->nconns--;
	c->dest = NULL;
	dest->nconns--;
	dest_release(r, dest);
	event_active(r->reap, 0, 0);
	remote_arm(r); /* there is a place */
}

void
conn_reap(struct remote *r)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&r->dead_conns)) != NULL) {
		TAILQ_REMOVE(&r->dead_conns, c, all);
		client_clear(&c->client);
		free(c->helo);
		free(c->relay);
		free(c->host);
		free(c);
	}
}

/* -- between two deliveries --------------------------------------------------- */

static void
go_idle(struct conn *c)
{
	const struct settings *set = c->r->settings;

	if (c->r->stopping || set->smtp_connection_cache_time_limit == 0 ||
	    c->client.served >= set->smtp_connection_reuse_count_limit ||
	    c->r->nconns > remote_connections_max(c->r)) {
		client_quit(&c->client);
		return;
	}
	c->idle = true;
	TAILQ_INSERT_HEAD(&c->dest->idle, c, in_idle);
	c->r->nidle++;
	remote_arm(c->r); /* one may be waiting for just this */
}

/* Nothing has come from an idle peer, neither words nor its end. What lies
   unread here now would be taken for the answer to the next command. */
static bool
is_silent(const struct conn *c)
{
	char octet;

	return recv(c->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) == -1 &&
	    errno == EAGAIN;
}

struct conn *
conn_take_idle(struct delivery *d)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&d->dest->idle)) != NULL) {
		leave_idle(c);
		if (is_silent(c)) {
			c->d = d;
			c->begun = false;
			return c;
		}
		conn_close(c);
	}
	return NULL;
}

bool
conn_drop_idle(struct remote *r)
{
	struct conn *c;

	if (r->nidle == 0) {
		return false;
	}
	TAILQ_FOREACH(c, &r->conns, all) {
		if (c->idle) {
			conn_close(c);
			return true;
		}
	}
	return false;
}

void
conn_quit_idle(struct remote *r)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&r->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->idle) {
			leave_idle(c);
			client_quit(&c->client);
			conn_run(c);
		}
	}
}

/* -- the delivery ------------------------------------------------------------- */

/* The recipients that have no fate come first, all as if never tried. */
static void
set_rcpts(struct delivery *d)
{
	unsigned i, n = 0;

	for (i = 0; i < d->nrcpts; i++) {
		struct client_rcpt cr = d->rcpts[i];

		if (cr.arg != NULL) {
			d->rcpts[i] = d->rcpts[n];
			cr.state = CLIENT_RCPT_OPEN;
			d->rcpts[n++] = cr;
		}
	}
	d->mail.rcpts = d->rcpts;
	d->mail.nrcpts = n;
}

static void
begin(struct conn *c)
{
	char id[QID_TEXT + 1];

	c->begun = true;
	set_rcpts(c->d);
	client_begin(&c->client, &c->d->mail);
	if (c->client.mail != NULL && c->client.raw_8bit) {
		qid_format(c->d->content.qid, id);
		log_warn("%s: %s does not offer 8BITMIME; the 8-bit content "
		    "is sent as it is", id, c->relay);
	}
}

void
conn_begin(struct conn *c)
{
	begin(c);
	conn_run(c);
}

/* The client is through with its delivery: all have their fates. */
static void
finished(struct conn *c)
{
	struct delivery *d = c->d;

	c->d = NULL;
	d->conn = NULL;
	delivery_free(d);
	if (c->client.stage == CLIENT_READY) {
		go_idle(c);
	}
}

/* The client can do no more for the recipients that have no fate. */
static void
failed(struct conn *c)
{
	struct delivery *d = c->d;
	struct outcome why = c->client.why;
	bool kept = c->client.served > 1 && !c->client.mail_answered;
	bool site = !c->client.mail_answered;
	char id[QID_TEXT + 1];

	c->d = NULL;
	c->client.mail = NULL;
	d->conn = NULL;
	feed_end(d);
	if (kept) {
		delivery_again(d);
		return;
	}
	qid_format(d->content.qid, id);
	log_info("%s: %s: %s", id, c->relay, why.text);
	if (!c->client.was_ready) {
		dial_set_dead(c->r, &c->addr, c->port);
	}
	delivery_failed_at(d, c->relay, &why, site);
}

/* After each event: who has the connection now, and what is awaited. */
static void
settle(struct conn *c)
{
	struct client *cl = &c->client;

	if (c->d != NULL && cl->mail == NULL && c->begun) {
		finished(c);
		remote_arm(c->r); /* a stop may wait for it */
	} else if (c->d != NULL && cl->failed) {
		failed(c);
		remote_arm(c->r);
	}
	if (cl->stage == CLIENT_CLOSED) {
		conn_close(c);
	}
}

/* -- the turn ------------------------------------------------------------------ */

/* It takes nothing more. What it said before it went is there to be read, and
   tells more than its end does. */
static void
hear_out(struct conn *c, const char *why)
{
	ssize_t n;

	do {
		n = recv(c->fd, c->r->scratch, sizeof(c->r->scratch), 0);
		if (n > 0) {
			client_input(&c->client, slice_make(c->r->scratch,
			    (size_t)n));
		}
	} while (n > 0 && c->client.stage != CLIENT_CLOSED);
	client_closed(&c->client, why);
}

/* Send what can be sent; true when something was. */
static bool
flush(struct conn *c)
{
	struct strbuf *out = &c->client.out;
	bool moved = false;
	size_t at = 0;
	ssize_t w;

	while (at < out->n && !c->writing) {
		w = send(c->fd, out->p + at, out->n - at, MSG_NOSIGNAL);
		if (w > 0) {
			at += (size_t)w;
			moved = true;
		} else if (errno == EAGAIN) {
			c->writing = true;
			(void)event_add(&c->writable, NULL);
		} else if (errno != EINTR) {
			strbuf_consume(out, at);
			hear_out(c, strerror(errno));
			return false;
		}
	}
	strbuf_consume(out, at);
	if (out->n == 0) {
		strbuf_clear(out);
	}
	if (moved && c->client.stage == CLIENT_CONTENT) {
		stage_deadline(c);
	}
	return moved;
}

/* One round of what the machine wants; true when there may be more. */
static bool
step(struct conn *c)
{
	struct client *cl = &c->client;
	bool moved = flush(c);

	if (moved) {
		client_sent(cl);
	}
	if (cl->stage == CLIENT_CONTENT && c->d != NULL && !c->writing) {
		feed_run(c);
	} else if (cl->stage == CLIENT_END && cl->out.n == 0 && c->d != NULL) {
		feed_end(c->d);
	} else if (cl->stage == CLIENT_READY && c->d != NULL && !c->begun) {
		begin(c);
	}
	return cl->out.n > 0 && !c->writing;
}

void
conn_run(struct conn *c)
{
	if (c->dead || c->running || c->connecting) {
		return;
	}
	c->running = true;
	do {
		while (step(c)) {
		}
		settle(c);
	} while (!c->dead && c->client.out.n > 0 && !c->writing);
	c->running = false;
	if (!c->dead && c->waits != c->client.waits) {
		stage_deadline(c);
	}
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	unsigned i;
	ssize_t n;

	(void)what;
	for (i = 0; i < READS_MAX && !c->dead; i++) {
		n = recv(fd, c->r->scratch, sizeof(c->r->scratch), 0);
		if (n > 0) {
			client_input(&c->client, slice_make(c->r->scratch,
			    (size_t)n));
		} else if (n == 0) {
			client_closed(&c->client, "closed by the peer");
		} else if (errno == EAGAIN || errno == EINTR) {
			break;
		} else {
			client_closed(&c->client, strerror(errno));
		}
		conn_run(c);
		if (n < (ssize_t)sizeof(c->r->scratch)) {
			break;
		}
	}
}

/* -- connecting ------------------------------------------------------------------ */

static void
connect_failed(struct conn *c, const char *why)
{
	struct delivery *d = c->d;
	struct outcome o;

	dial_log_failure(c->host, &c->addr, c->port, why);
	dial_set_dead(c->r, &c->addr, c->port);
	outcome_set(&o, FATE_DEFERRED, "4.4.1", "connect to %s: %s", c->relay,
	    why);
	c->d = NULL;
	d->conn = NULL;
	conn_close(c);
	delivery_failed_at(d, c->relay, &o, true);
}

static void
on_connected(struct conn *c)
{
	socklen_t n = sizeof(int);
	int error = 0, one = 1;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) == -1) {
		error = errno;
	}
	if (error != 0) {
		connect_failed(c, strerror(error));
		return;
	}
	c->connecting = false;
	c->d->state = DELIVERY_TALKING;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)event_add(&c->readable, NULL);
	stage_deadline(c);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	c->writing = false;
	if (c->connecting) {
		on_connected(c);
	} else {
		conn_run(c);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	uint64_t now = agent_now_ms();

	(void)fd;
	(void)what;
	c->timer_at = 0;
	if (now < c->deadline) {
		arm_timer(c, now);
	} else if (c->connecting) {
		connect_failed(c, "timed out");
	} else if (c->idle) {
		leave_idle(c);
		client_quit(&c->client);
		conn_run(c);
	} else if (c->client.stage == CLIENT_CONTENT &&
	    c->client.out.n == 0) {
		stage_deadline(c); /* it waits for us, and we for cleanup */
	} else {
		client_timeout(&c->client);
		conn_run(c);
	}
}

void
conn_abort(struct conn *c, const struct outcome *o)
{
	struct delivery *d = c->d;

	c->d = NULL;
	d->conn = NULL;
	c->client.mail = NULL;
	free(d->relay);
	d->relay = xstrdup(c->relay);
	client_abort(&c->client, o->esc, o->text);
	conn_close(c);
	delivery_defer(d, o);
}
