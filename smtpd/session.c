/*
 * The life of a connection: reading, writing, deadlines, its end. What the
 * octets mean is in dispatch.c, content.c and cmd_*.c.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "smtpd/session.h"

#define PENDING_MAX (16 * 1024) /* unparsed octets above which none are read */
#define DISCARD_MAX (256 * 1024) /* octets read after the last reply */
#define MIN_RATE    100 /* octets a second, on average; smtpd_slow_timeout */

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

/* -- deadlines ------------------------------------------------------------- */

static void
arm_timer(struct session *s, uint64_t now)
{
	uint64_t ms = s->deadline_ms > now ? s->deadline_ms - now : 0;
	struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	s->timer_ms = s->deadline_ms;
	(void)evtimer_add(&s->timer, &tv);
}

/* Deadlines move on with every command; the timer is only moved when it would
   come too late, and looks again when it fires. */
static void
set_deadline(struct session *s, uint64_t ms)
{
	uint64_t now = s->srv->now_ms();

	s->deadline_ms = now + ms;
	if (s->timer_ms == 0 || s->timer_ms > s->deadline_ms) {
		arm_timer(s, now);
	}
}

static void
wait_for_client(struct session *s)
{
	set_deadline(s, s->srv->set->smtpd_timeout * 1000);
}

void
session_await(struct session *s, enum smtpd_await what)
{
	s->awaits = what;
	if (what != AWAIT_NOTHING) {
		set_deadline(s, s->srv->set->ipc_timeout * 1000);
	}
}

void
session_progress(struct session *s)
{
	s->progress_ms = s->srv->now_ms();
	s->progress_in = 0;
}

static bool
is_too_slow(const struct session *s, uint64_t now)
{
	uint64_t ms = now - s->progress_ms;

	return ms > s->srv->set->smtpd_slow_timeout * 1000 &&
	    s->progress_in < ms / 1000 * MIN_RATE;
}

/* An answer of cleanup is overdue: go on without it. */
static void
upstream_overdue(struct session *s)
{
	char peer[64];

	log_warn("cleanup does not answer (session of %s)",
	    session_peer(s, peer));
	session_upstream_lost(s);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	uint64_t now = s->srv->now_ms();
	bool late = now >= s->deadline_ms;

	(void)fd;
	(void)what;
	if (s->state == SMTPD_CLOSING && late) {
		session_close(s);
		return;
	}
	if (late && (s->awaits != AWAIT_NOTHING ||
	    (s->t != NULL && s->t->unacked))) {
		wait_for_client(s);
		upstream_overdue(s);
		return;
	}
	if (s->state != SMTPD_CLOSING && s->awaits == AWAIT_NOTHING &&
	    (late || is_too_slow(s, now))) {
		session_reply_last(s, late ? SMTPD_R_IDLE : SMTPD_R_SLOW);
		session_run(s);
		return;
	}
	arm_timer(s, now);
}

/* -- beginning and end ----------------------------------------------------- */

void
session_new(struct smtpd *srv, int fd, const char *addr, bool submit,
    uint32_t uid)
{
	struct session *s = xcalloc(1, sizeof(*s));
	char peer[64];

	s->srv = srv;
	s->fd = fd;
	s->submit = submit;
	s->uid = uid;
	s->verb = "CONNECT";
	strbuf_init(&s->in, 0);
	strbuf_init(&s->out, 0);
	memcpy(s->addr, addr, strnlen(addr, sizeof(s->addr) - 1));
	(void)event_assign(&s->readable, srv->base, fd, EV_READ | EV_PERSIST,
	    on_readable, s);
	(void)event_assign(&s->writable, srv->base, fd, EV_WRITE, on_writable,
	    s);
	(void)evtimer_assign(&s->timer, srv->base, on_timer, s);
	s->next = srv->sessions;
	if (s->next != NULL) {
		s->next->prev = s;
	}
	srv->sessions = s;
	srv->nsessions++;
	srv->nsubmit += submit ? 1 : 0;
	session_progress(s);
	wait_for_client(s);
	log_info("connect from %s", session_peer(s, peer));
	session_reply_with(s, SMTPD_R_GREETING,
	    slice_of(srv->set->smtpd_banner));
	session_run(s);
}

void
session_close(struct session *s)
{
	struct smtpd *srv = s->srv;
	char peer[64];

	if (s->closed) {
		return;
	}
	transaction_end(s);
	if (s->vrfy_tid != 0) {
		slots_drop(&srv->tids, s->vrfy_tid);
	}
	log_info("disconnect from %s messages=%u commands=%u errors=%u",
	    session_peer(s, peer), s->messages, s->commands, s->errors);
	s->closed = true;
	(void)event_del(&s->readable);
	(void)event_del(&s->writable);
	(void)event_del(&s->timer);
	(void)close(s->fd);
	if (s->prev != NULL) {
		s->prev->next = s->next;
	} else {
		srv->sessions = s->next;
	}
	if (s->next != NULL) {
		s->next->prev = s->prev;
	}
	srv->nsessions--;
	srv->nsubmit -= s->submit ? 1 : 0;
	s->next = srv->dead;
	srv->dead = s;
	event_active(&srv->reap, 0, 0);
}

void
session_free(struct session *s)
{
	strbuf_clear(&s->in);
	strbuf_clear(&s->out);
	free(s->helo);
	free(s);
}

/* -- out ------------------------------------------------------------------- */

/* Send what can be sent; true when nothing is left. */
static bool
flush(struct session *s)
{
	ssize_t w;

	while (s->out.n > 0 && !s->broken) {
		w = send(s->fd, s->out.p, s->out.n, MSG_NOSIGNAL);
		if (w > 0) {
			strbuf_consume(&s->out, (size_t)w);
		} else if (errno == EAGAIN) {
			(void)event_add(&s->writable, NULL);
			return false;
		} else if (errno != EINTR) {
			s->broken = true;
		}
	}
	strbuf_clear(&s->out); /* an idle session holds no buffers */
	return true;
}

/* Under PIPELINING the replies of a group leave together: those before an
   awaited one wait for it, unless they are many. */
static bool
flush_turn(struct session *s)
{
	if (s->awaits == AWAIT_RCPT && s->out.n <= SESSION_OUT_MARK &&
	    !s->broken) {
		return false;
	}
	return flush(s);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	session_run(arg);
}

/* -- in -------------------------------------------------------------------- */

/* Octets into the scratch buffer of all, or behind those that wait. */
static ssize_t
receive(struct session *s)
{
	ssize_t r;

	if (s->in.n == 0) {
		r = recv(s->fd, s->srv->scratch, SERVER_READ_SIZE, 0);
		if (r > 0) {
			s->input = slice_make(s->srv->scratch, (size_t)r);
		}
		return r;
	}
	strbuf_consume(&s->in, s->in_done);
	s->in_done = 0;
	r = recv(s->fd, strbuf_room(&s->in, PENDING_MAX), PENDING_MAX, 0);
	if (r > 0) {
		strbuf_filled(&s->in, (size_t)r);
	}
	return r;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	ssize_t r = receive(s);

	(void)fd;
	(void)what;
	if (r == -1 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	if (r == 0) {
		s->eof = true;
	} else if (r < 0) {
		s->broken = true;
	} else {
		s->progress_in += (uint64_t)r;
		if (s->state == SMTPD_CONTENT) {
			wait_for_client(s);
		}
	}
	session_run(s);
}

/* What has not been parsed is kept until the next run. */
static void
keep_input(struct session *s)
{
	if (s->input.n == 0 || s->state == SMTPD_CLOSING) {
		strbuf_clear(&s->in);
		s->in_done = 0;
	} else if (s->in.n > 0) { /* it points there */
		s->in_done = s->in.n - s->input.n;
	} else {
		(void)strbuf_add_slice(&s->in, s->input);
		s->in_done = 0;
	}
	s->input = slice_make(NULL, 0);
}

static void
set_reading(struct session *s)
{
	bool want = !s->eof && !s->broken && s->out.n <= SESSION_OUT_MARK &&
	    s->in.n - s->in_done < PENDING_MAX;

	if (want != s->reading) {
		s->reading = want;
		if (want) {
			(void)event_add(&s->readable, NULL);
		} else {
			(void)event_del(&s->readable);
		}
	}
}

/* -- the turn -------------------------------------------------------------- */

/* One command, or a run of content. False: nothing more to do now. */
static bool
step(struct session *s)
{
	if (s->closed || s->awaits != AWAIT_NOTHING || s->broken ||
	    s->out.n > SESSION_OUT_MARK) {
		return false;
	}
	switch (s->state) {
	case SMTPD_CLOSING:
	case SMTPD_COMMITTING:
		return false;
	case SMTPD_CONTENT:
		return content_run(s);
	case SMTPD_CONNECTED:
	case SMTPD_READY:
	case SMTPD_MAIL:
	case SMTPD_REFUSED:
	case SMTPD_RCPT:
		if (!dispatch_run(s)) {
			return false;
		}
		if (s->awaits == AWAIT_NOTHING && s->state != SMTPD_CLOSING) {
			wait_for_client(s);
		}
		return true;
	case SMTPD_NSTATES:
		break;
	}
	return false;
}

/* True when there is more to do in the next turn. */
static bool
run_steps(struct session *s)
{
	unsigned steps = 0;
	bool more;

	do {
		more = false;
		while (steps < SESSION_STEPS_MAX && step(s)) {
			steps++;
		}
		if (s->out.n > SESSION_OUT_MARK && flush(s)) {
			more = steps < SESSION_STEPS_MAX;
		}
	} while (more);
	if (steps == SESSION_STEPS_MAX) { /* the others have their turn */
		event_active(&s->writable, EV_TIMEOUT, 0);
		return true;
	}
	return false;
}

static void
log_lost(const struct session *s)
{
	char peer[64];

	if (s->state == SMTPD_CONTENT && s->t != NULL) {
		log_info("lost connection after DATA (%llu octets) from %s",
		    (unsigned long long)s->t->data.taken, session_peer(s, peer));
	} else {
		log_info("lost connection after %s from %s", s->verb,
		    session_peer(s, peer));
	}
}

/* The last reply is sent. Octets that the client still sends are read for a
   while: closing on them would make the kernel throw our reply away. */
static void
linger(struct session *s)
{
	if (s->quits || s->eof || s->broken || s->progress_in > DISCARD_MAX) {
		session_close(s);
	} else if (!s->shut) {
		s->shut = true;
		s->progress_in = 0;
		(void)shutdown(s->fd, SHUT_WR);
	}
}

/* The end of a turn. May make the session dead. */
static void
settle(struct session *s, bool yields)
{
	bool sent = flush_turn(s);

	if (s->state == SMTPD_CLOSING) {
		if (sent) {
			linger(s);
		}
		return;
	}
	if (s->awaits == AWAIT_COMMIT || yields ||
	    !(s->broken || (s->eof && sent))) {
		return;
	}
	if (s->broken || (s->awaits == AWAIT_NOTHING &&
	    !(s->t != NULL && s->t->unacked))) {
		log_lost(s);
		session_close(s);
	}
}

void
session_run(struct session *s)
{
	bool yields;

	if (s->closed || s->running) {
		return;
	}
	s->running = true;
	if (s->input.n == 0 && s->in.n > s->in_done) {
		s->input = slice_make(s->in.p + s->in_done,
		    s->in.n - s->in_done);
	}
	yields = run_steps(s);
	if (s->state == SMTPD_CONTENT) {
		content_push(s);
	}
	if (s->srv->stopping && s->t == NULL && s->awaits == AWAIT_NOTHING &&
	    s->state != SMTPD_CLOSING) {
		session_reply_last(s, SMTPD_R_STOPPING);
	}
	keep_input(s);
	s->running = false;
	settle(s, yields);
	if (!s->closed) {
		set_reading(s);
	}
}

/* -- from elsewhere -------------------------------------------------------- */

/* Closing takes at most a moment, whatever the client does. */
void
session_set_closing(struct session *s)
{
	transaction_end(s);
	session_set_state(s, SMTPD_CLOSING);
	s->awaits = AWAIT_NOTHING;
	set_deadline(s, SESSION_LINGER_MS);
}

void
session_stop(struct session *s, bool now)
{
	if (now && s->state != SMTPD_CLOSING) {
		session_reply_last(s, SMTPD_R_STOPPING);
	}
	session_run(s);
}

/* The answer of cleanup is here, or will not come: the client's turn again. */
static void
answered(struct session *s)
{
	s->awaits = AWAIT_NOTHING;
	wait_for_client(s);
}

bool
session_answer(struct session *s, enum ipc_type type, uint32_t tid,
    const struct answer *a)
{
	bool ok = true;

	if (type == IPC_VERDICT && s->awaits == AWAIT_VRFY &&
	    tid == s->vrfy_tid) {
		answered(s);
		cmd_vrfy_answer(s, a);
	} else if (type == IPC_VERDICT && s->awaits == AWAIT_RCPT &&
	    s->t != NULL && tid == s->t->tid) {
		answered(s);
		cmd_rcpt_answer(s, a);
	} else if (type != IPC_VERDICT && s->t != NULL && tid == s->t->tid) {
		ok = content_answer(s, type, a);
		if (ok && s->awaits == AWAIT_NOTHING) {
			wait_for_client(s);
		}
	} else {
		ok = false;
	}
	session_run(s);
	return ok;
}

void
session_upstream_lost(struct session *s)
{
	enum smtpd_await was = s->awaits;

	if (s->vrfy_tid != 0) {
		slots_drop(&s->srv->tids, s->vrfy_tid);
		s->vrfy_tid = 0;
	}
	if (s->t != NULL && s->t->tid != 0) {
		transaction_abort(s);
		s->t->lost = true;
	}
	if (was != AWAIT_NOTHING) {
		answered(s);
		if (was == AWAIT_RCPT) {
			cmd_rcpt_answer(s, NULL);
		} else if (was == AWAIT_VRFY) {
			cmd_vrfy_answer(s, NULL);
		}
	}
	if (s->t != NULL && s->t->lost && (s->state == SMTPD_CONTENT ||
	    s->state == SMTPD_COMMITTING)) {
		content_refuse(s, NULL);
	}
	session_run(s);
}
