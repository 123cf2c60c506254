/*
 * Content on its way to a host: fetched when the host asks for it, given to the
 * client in pieces as the socket takes them. What is held is in a budget; who
 * finds it used up stands in line.
 */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "common/log.h"
#include "common/spool.h"
#include "remote/remote_int.h"

static bool
is_file(const struct delivery *d)
{
	return d->mail.size > SPOOL_INLINE_MAX;
}

/* A place in the budget. */
static bool
claim(struct delivery *d)
{
	struct remote *r = d->r;

	if (is_file(d) ? r->files >= r->files_max :
	    r->budget + d->mail.size > REMOTE_BUDGET) {
		return false;
	}
	r->files += is_file(d);
	r->budget += is_file(d) ? 0 : d->mail.size;
	d->feeding = true;
	return true;
}

void
feed_end(struct delivery *d)
{
	struct remote *r = d->r;

	if (d->in_line) {
		d->in_line = false;
		TAILQ_REMOVE(&r->in_line, d, line);
	}
	if (d->feeding) {
		d->feeding = false;
		r->files -= is_file(d);
		r->budget -= is_file(d) ? 0 : d->mail.size;
		agent_content_clear(&r->agent, &d->content);
		remote_arm(r);
	}
	d->fed = 0;
}

static void
stop_feeding(struct conn *c, const char *why)
{
	struct outcome o;

	outcome_set(&o, FATE_DEFERRED, "4.3.0", "the content cannot be read: "
	    "%s", why);
	conn_abort(c, &o);
}

/* The next piece of a file; false: the connection is aborted. */
static bool
feed_piece(struct conn *c)
{
	struct delivery *d = c->d;
	static char piece[IPC_PIECE_MAX];
	uint64_t left = d->content.size - d->fed;
	size_t want = left < sizeof(piece) ? (size_t)left : sizeof(piece);
	ssize_t n = pread(d->content.fd, piece, want,
	    (off_t)(d->content.offset + d->fed));

	if (n == -1 && errno == EINTR) {
		return true;
	}
	if (n <= 0) {
		stop_feeding(c, n == 0 ? "it ends too early" :
		    strerror(errno));
		return false;
	}
	client_content(&c->client, slice_make(piece, (size_t)n));
	d->fed += (uint64_t)n;
	return true;
}

void
feed_run(struct conn *c)
{
	struct delivery *d = c->d;

	if (!d->content.here) {
		if (!d->feeding && !d->in_line && !claim(d)) {
			d->in_line = true;
			TAILQ_INSERT_TAIL(&d->r->in_line, d, line);
		}
		if (d->feeding) {
			agent_content_want(&d->r->agent, &d->content);
		}
		return;
	}
	if (d->content.fd == -1) {
		client_content(&c->client, strbuf_slice(&d->content.text));
		d->fed = d->content.size;
		agent_content_release(&d->content);
		client_content_end(&c->client);
		return;
	}
	while (d->fed < d->content.size && c->client.out.n < CLIENT_OUT_MARK) {
		if (!feed_piece(c)) {
			return;
		}
	}
	if (d->fed == d->content.size) {
		client_content_end(&c->client);
	}
}

void
feed_here(void *arg, struct agent_content *content)
{
	struct delivery *d = (struct delivery *)(void *)content;

	(void)arg;
	if (d->conn != NULL) {
		conn_run(d->conn);
	}
}

void
feed_failed(void *arg, struct agent_content *content, const struct outcome *o)
{
	struct delivery *d = (struct delivery *)(void *)content;

	(void)arg;
	if (d->conn != NULL) {
		conn_abort(d->conn, o);
	}
}

/* The first in line have their turn, as far as the budget goes. */
void
feed_pump(struct remote *r)
{
	struct delivery *d;

	while ((d = TAILQ_FIRST(&r->in_line)) != NULL && claim(d)) {
		d->in_line = false;
		TAILQ_REMOVE(&r->in_line, d, line);
		agent_content_want(&r->agent, &d->content);
	}
}
