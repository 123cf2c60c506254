#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc.h"
#include "common/ipc_sock.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define TURN_MSGS  128 /* messages handled before others get their turn */
#define LATER_MAX  (16 * 1024) /* octets that wait for company */

/* A descriptor on its way out: belongs to the octet `at' of the stream. */
struct out_fd {
	uint64_t at;
	int fd;
};

struct ipc_chan {
	struct event_base *base;
	const struct ipc_chan_ops *ops;
	void *owner;
	int fd;
	bool dead;    /* closed was called, or free: nothing goes in or out */
	bool freed;   /* ipc_chan_free() came inside a callback */
	bool paused;
	unsigned depth; /* callbacks of this channel on the stack */
	struct event *readable, *writable, *flush, *again;
	struct strbuf in, out;
	size_t in_done;       /* octets of `in' already handled */
	uint64_t out_at;      /* stream position of the first octet of `out' */
	struct out_fd out_fds[IPC_FDS_MAX];
	unsigned nout_fds;
	struct ipc_fds in_fds;
	struct ipc_build build;
	bool building_dead;   /* between begin and end on a dead channel */
	bool flush_armed;
	bool closing;         /* ipc_chan_free() is at work: no more callbacks */
	bool overflow;        /* too many descriptors: fails at the next flush */
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_flush(evutil_socket_t fd, short what, void *arg);
static void on_again(evutil_socket_t fd, short what, void *arg);

struct ipc_chan *
ipc_chan_new(struct event_base *base, int fd, const struct ipc_chan_ops *ops,
    void *owner)
{
	struct ipc_chan *ch = xcalloc(1, sizeof(*ch));

	(void)evutil_make_socket_nonblocking(fd);
	ch->base = base;
	ch->ops = ops;
	ch->owner = owner;
	ch->fd = fd;
	strbuf_init(&ch->in, 0);
	strbuf_init(&ch->out, 0);
	ch->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, ch);
	ch->writable = event_new(base, fd, EV_WRITE, on_writable, ch);
	ch->flush = event_new(base, -1, 0, on_flush, ch);
	ch->again = event_new(base, -1, 0, on_again, ch);
	if (ch->readable == NULL || ch->writable == NULL || ch->flush == NULL ||
	    ch->again == NULL || event_add(ch->readable, NULL) == -1) {
		log_panic("ipc: no event for a channel");
	}
	return ch;
}

static void
destroy(struct ipc_chan *ch)
{
	unsigned i;

	event_free(ch->readable);
	event_free(ch->writable);
	event_free(ch->flush);
	event_free(ch->again);
	for (i = 0; i < ch->nout_fds; i++) {
		(void)close(ch->out_fds[i].fd);
	}
	ipc_fds_close(&ch->in_fds);
	(void)close(ch->fd);
	strbuf_clear(&ch->in);
	strbuf_clear(&ch->out);
	free(ch);
}

static void
go_quiet(struct ipc_chan *ch)
{
	ch->dead = true;
	(void)event_del(ch->readable);
	(void)event_del(ch->writable);
	(void)event_del(ch->flush);
	(void)event_del(ch->again);
}

/* May free the channel: nothing touches it afterwards. */
static void
leave(struct ipc_chan *ch)
{
	if (--ch->depth == 0 && ch->freed) {
		destroy(ch);
	}
}

static struct {
	void (*lost)(void *arg, enum ipc_role peer);
	void *arg;
} watcher;

void
ipc_on_lost(void (*lost)(void *arg, enum ipc_role peer), void *arg)
{
	watcher.lost = lost;
	watcher.arg = arg;
}

void
ipc_say_lost(enum ipc_role peer)
{
	if (watcher.lost != NULL) {
		watcher.lost(watcher.arg, peer);
	}
}

/* The peer is gone or broke the rules. Calls the owner, once. */
static void
fail(struct ipc_chan *ch, const char *why)
{
	enum ipc_role peer = ch->ops->peer;

	if (ch->dead) {
		return;
	}
	go_quiet(ch);
	if (!ch->closing) {
		ch->ops->closed(ch->owner, ch, why);
		ipc_say_lost(peer);
	}
}

void
ipc_chan_free(struct ipc_chan *ch)
{
	if (ch == NULL || ch->freed) {
		return;
	}
	ch->closing = true;
	ipc_flush(ch);
	if (!ch->dead) {
		go_quiet(ch);
	}
	ch->freed = true;
	if (ch->depth == 0) {
		destroy(ch);
	}
}

bool
ipc_chan_alive(const struct ipc_chan *ch)
{
	return ch != NULL && !ch->dead;
}

size_t
ipc_chan_queued(const struct ipc_chan *ch)
{
	return ch->out.n;
}

int
ipc_chan_fd(const struct ipc_chan *ch)
{
	return ch->fd;
}

void
ipc_chan_pause(struct ipc_chan *ch, bool pause)
{
	if (ch->dead || ch->paused == pause) {
		return;
	}
	ch->paused = pause;
	if (pause) {
		(void)event_del(ch->readable);
		(void)event_del(ch->again);
	} else {
		(void)event_add(ch->readable, NULL);
		event_active(ch->again, 0, 0); /* what is in the buffer */
	}
}

/* -- out ------------------------------------------------------------------- */

/*
 * Send from `out', at most up to the octet before the next descriptor, which
 * goes with its own octet. Returns what sendmsg() does.
 */
static ssize_t
send_some(struct ipc_chan *ch)
{
	bool with_fd = ch->nout_fds > 0 && ch->out_fds[0].at == ch->out_at;
	unsigned next = with_fd ? 1 : 0;
	size_t n = ch->out.n;
	ssize_t w;

	if (ch->nout_fds > next) {
		n = (size_t)(ch->out_fds[next].at - ch->out_at);
	}
	w = ipc_sock_send(ch->fd, ch->out.p, n,
	    with_fd ? ch->out_fds[0].fd : -1);
	if (w > 0 && with_fd) {
		(void)close(ch->out_fds[0].fd);
		ch->nout_fds--;
		memmove(&ch->out_fds[0], &ch->out_fds[1],
		    ch->nout_fds * sizeof(ch->out_fds[0]));
	}
	return w;
}

/* The peer takes nothing any more; what waits to be sent is of no use. */
static void
drop_out(struct ipc_chan *ch)
{
	while (ch->nout_fds > 0) {
		(void)close(ch->out_fds[--ch->nout_fds].fd);
	}
	ch->out_at += ch->out.n;
	strbuf_reset(&ch->out);
}

void
ipc_flush(struct ipc_chan *ch)
{
	size_t sent = 0;
	ssize_t w = 0;

	if (ch->dead || ch->out.n == 0 || ch->overflow) {
		return;
	}
	while (ch->out.n > 0) {
		w = send_some(ch);
		if (w == -1 && errno == EINTR) {
			continue;
		}
		if (w <= 0) {
			break;
		}
		ch->out_at += (uint64_t)w;
		sent += (size_t)w;
		strbuf_consume(&ch->out, (size_t)w);
	}
	/* ETOOMANYREFS: too many descriptors in flight; they drain. */
	if (ch->out.n > 0 && (errno == EAGAIN || errno == ETOOMANYREFS ||
	    errno == ENOBUFS)) {
		if (errno == EAGAIN) {
			(void)event_add(ch->writable, NULL);
		} else {
			const struct timeval soon = { 0, 10000 };

			(void)event_add(ch->flush, &soon);
		}
		return;
	}
	if (ch->out.n > 0 && errno == EPIPE && !ch->paused) {
		/* Its last words may still be in the socket, such as the result
		   of a delivery: the reader finds them, and then its end. */
		drop_out(ch);
		return;
	}
	if (ch->out.n > 0) {
		ch->depth++;
		fail(ch, strerror(errno));
		leave(ch);
		return;
	}
	if (ch->out.cap > IPC_MESSAGE_MAX) { /* a burst is over: give it back */
		strbuf_clear(&ch->out);
	}
	if (sent > 0 && ch->ops->drained != NULL && !ch->closing) {
		ch->depth++;
		ch->ops->drained(ch->owner, ch);
		leave(ch);
	}
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ipc_flush(arg);
}

static void
on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_chan *ch = arg;

	(void)fd;
	(void)what;
	ch->flush_armed = false;
	(void)event_del(ch->flush); /* of ipc_end_later() */
	if (ch->overflow) {
		ch->depth++;
		fail(ch, "too many descriptors wait to be sent");
		leave(ch);
		return;
	}
	ipc_flush(ch);
}

void
ipc_begin(struct ipc_chan *ch, enum ipc_type type, uint32_t tid)
{
	ch->building_dead = ch->dead;
	if (!ch->building_dead) {
		ipc_build_begin(&ch->build, &ch->out, type, tid);
	}
}

void
ipc_put_u(struct ipc_chan *ch, uint64_t v)
{
	if (!ch->building_dead) {
		ipc_build_u(&ch->build, v);
	}
}

void
ipc_put_s(struct ipc_chan *ch, struct slice s)
{
	if (!ch->building_dead) {
		ipc_build_s(&ch->build, s);
	}
}

void
ipc_put_str(struct ipc_chan *ch, const char *s)
{
	ipc_put_s(ch, slice_of(s));
}

void
ipc_put_fd(struct ipc_chan *ch, int fd)
{
	if (ch->building_dead) {
		(void)close(fd);
		return;
	}
	ipc_build_f(&ch->build);
	if (ch->nout_fds == IPC_FDS_MAX) {
		ch->overflow = true;
		(void)close(fd);
		return;
	}
	ch->out_fds[ch->nout_fds++] = (struct out_fd){
		ch->out_at + ch->build.at, fd
	};
}

static void
arm_flush(struct ipc_chan *ch)
{
	if (!ch->flush_armed) {
		ch->flush_armed = true;
		event_active(ch->flush, 0, 0);
	}
}

void
ipc_end(struct ipc_chan *ch)
{
	if (!ch->building_dead) {
		ipc_build_end(&ch->build);
		arm_flush(ch);
	}
}

void
ipc_end_later(struct ipc_chan *ch)
{
	const struct timeval later = { 0, IPC_LATER_MS * 1000 };

	if (ch->building_dead) {
		return;
	}
	ipc_build_end(&ch->build);
	if (ch->out.n > LATER_MAX) {
		arm_flush(ch);
	} else if (!ch->flush_armed &&
	    !event_pending(ch->flush, EV_TIMEOUT, NULL)) {
		(void)event_add(ch->flush, &later);
	}
}

/* -- in -------------------------------------------------------------------- */

/* One message from `in'. Returns false when there is none to handle now. */
static bool
handle_one(struct ipc_chan *ch)
{
	struct slice rest = slice_make(ch->in.p + ch->in_done,
	    ch->in.n - ch->in_done);
	struct ipc_msg m;
	const char *why = "";
	size_t used = 0;
	bool wants_fd;

	if (rest.n == 0) {
		return false;
	}
	switch (ipc_decode(rest, ch->ops->peer, ch->ops->me, &m, &used,
	    &wants_fd, &why)) {
	case IPC_DEC_MORE:
		return false;
	case IPC_DEC_BAD:
		fail(ch, why);
		return false;
	case IPC_DEC_OK:
		break;
	}
	if (wants_fd && (m.fd = ipc_fds_shift(&ch->in_fds)) == -1) {
		fail(ch, "a message without its descriptor");
		return false;
	}
	ch->in_done += used;
	if (!ch->ops->message(ch->owner, ch, &m) && !ch->dead) {
		log_warn("ipc: %s sent a %s that makes no sense",
		    ipc_role_name(ch->ops->peer), ipc_type_name(m.type));
		fail(ch, "a message that makes no sense");
	}
	if (m.fd != -1) {
		(void)close(m.fd);
	}
	return !ch->dead && !ch->paused;
}

static void
handle_buffer(struct ipc_chan *ch)
{
	int n = 0;

	while (n < TURN_MSGS && handle_one(ch)) {
		n++;
	}
	if (ch->dead) {
		return;
	}
	strbuf_consume(&ch->in, ch->in_done);
	ch->in_done = 0;
	if (ch->in.n == 0 && ch->in.cap > 4 * IPC_SOCK_READ) {
		strbuf_clear(&ch->in);
	}
	if (n == TURN_MSGS && !ch->paused) {
		event_active(ch->again, 0, 0);
	}
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_chan *ch = arg;

	(void)fd;
	(void)what;
	if (ch->dead || ch->paused) {
		return;
	}
	ch->depth++;
	handle_buffer(ch);
	leave(ch);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_chan *ch = arg;
	bool ok;
	ssize_t r;

	(void)what;
	ch->depth++;
	r = ipc_sock_receive(fd, &ch->in, &ch->in_fds, MSG_DONTWAIT, &ok);
	if (!ok) {
		fail(ch, "lost or too many descriptors");
	} else if (r == 0) {
		fail(ch, "end of file");
	} else if (r == -1 && errno != EAGAIN && errno != EINTR) {
		fail(ch, strerror(errno));
	} else if (r > 0) {
		handle_buffer(ch);
	}
	leave(ch);
}

void
ipc_chan_adopt(struct ipc_chan *ch, struct ipc_sync *c)
{
	strbuf_consume(&c->in, c->done);
	(void)strbuf_add_slice(&ch->in, strbuf_slice(&c->in));
	ch->in_fds = c->fds;
	c->fds.n = 0;
	c->done = 0;
	c->fd = -1;
	ipc_sync_clear(c);
	event_active(ch->again, 0, 0);
}
