#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "smtpd/session.h"

#define ACCEPTS_MAX     32  /* in a turn, of one listener */
#define ACCEPT_PAUSE_MS 300 /* when no descriptor is left */
#define LOG_EVERY_MS    1000

static uint64_t
monotonic_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct timeval
in_ms(uint64_t ms)
{
	return (struct timeval){ (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };
}

/* What a flood of clients could make us say is said once a second. */
static bool
may_log(const struct smtpd *srv, uint64_t *last_ms)
{
	uint64_t now = srv->now_ms();

	if (*last_ms != 0 && now - *last_ms < LOG_EVERY_MS) {
		return false;
	}
	*last_ms = now;
	return true;
}

/* -- accepting ------------------------------------------------------------- */

void
server_accept_later(struct smtpd *srv)
{
	const struct timeval tv = in_ms(ACCEPT_PAUSE_MS);
	unsigned i;

	for (i = 0; i < srv->nlisteners; i++) {
		(void)event_del(&srv->listeners[i].ev);
	}
	(void)evtimer_add(&srv->accept_timer, &tv);
}

static void
pause_accepting(struct smtpd *srv, const char *why)
{
	if (may_log(srv, &srv->paused_logged_ms)) {
		log_warn("accept: %s; %u sessions are open; waiting for some "
		    "to end", why, srv->nsessions);
	}
	server_accept_later(srv);
}

void
server_accept_now(struct smtpd *srv)
{
	unsigned i;

	(void)event_del(&srv->accept_timer);
	for (i = 0; i < srv->nlisteners && !srv->stopping; i++) {
		(void)event_add(&srv->listeners[i].ev, NULL);
	}
}

static void
on_accept_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	server_accept_now(arg);
}

/* "192.0.2.1", also for an IPv4 client of an IPv6 socket. */
static bool
print_addr(const struct sockaddr_storage *ss, char *out, socklen_t cap)
{
	const struct sockaddr_in *in4 = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	if (ss->ss_family == AF_INET) {
		return inet_ntop(AF_INET, &in4->sin_addr, out, cap) != NULL;
	}
	if (ss->ss_family == AF_INET6 &&
	    IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		return inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out,
		    cap) != NULL;
	}
	return ss->ss_family == AF_INET6 &&
	    inet_ntop(AF_INET6, &in6->sin6_addr, out, cap) != NULL;
}

/* The socket is fresh and its buffer empty: this never blocks or is cut. */
static void
turn_away(struct smtpd *srv, int fd, const char *addr)
{
	const struct smtpd_reply *r = &smtpd_replies[SMTPD_R_BUSY];
	struct strbuf b;

	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "%u %s %s %s\r\n", r->code, r->esc,
	    srv->set->myhostname, r->text);
	(void)send(fd, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)close(fd);
	strbuf_clear(&b);
	if (may_log(srv, &srv->full_logged_ms)) {
		log_warn("too many sessions (%u): turned away %s, and others "
		    "for the next second", srv->nsessions, addr);
	}
}

/* Local users get half of the places, so that they cannot take the network's. */
static bool
is_full(const struct smtpd *srv, bool submit)
{
	uint64_t max = srv->set->smtpd_max_sessions;

	max = max < srv->places ? max : srv->places;
	return srv->nsessions >= max ||
	    (submit && srv->nsubmit >= (max + 1) / 2);
}

static void
welcome(struct server_listener *l, int fd, const struct sockaddr_storage *ss)
{
	struct smtpd *srv = l->srv;
	struct ucred cred = { 0, UINT32_MAX, UINT32_MAX };
	socklen_t n = sizeof(cred);
	char addr[INET6_ADDRSTRLEN] = "";
	int one = 1;

	if (l->submit && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n)
	    == -1) {
		log_warn("no credentials of a local client: %s",
		    strerror(errno));
		(void)close(fd);
		return;
	}
	if (!l->submit && !print_addr(ss, addr, sizeof(addr))) {
		(void)close(fd);
		return;
	}
	if (is_full(srv, l->submit)) {
		turn_away(srv, fd, l->submit ? "a local user" : addr);
		return;
	}
	if (!l->submit) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
		    sizeof(one));
	}
	session_new(srv, fd, addr, l->submit, cred.uid);
}

static void
on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct server_listener *l = arg;
	struct sockaddr_storage ss;
	socklen_t n;
	unsigned i;
	int fd;

	(void)what;
	for (i = 0; i < ACCEPTS_MAX; i++) {
		n = sizeof(ss);
		memset(&ss, 0, sizeof(ss));
		fd = accept4(lfd, (struct sockaddr *)&ss, &n,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd != -1) {
			welcome(l, fd, &ss);
		} else if (errno == EMFILE || errno == ENFILE ||
		    errno == ENOMEM || errno == ENOBUFS) {
			pause_accepting(l->srv, strerror(errno));
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return; /* EAGAIN: another worker was faster, or no more */
		}
	}
}

void
server_listen(struct smtpd *srv, int fd, bool submit)
{
	struct server_listener *l = &srv->listeners[srv->nlisteners];

	if (srv->nlisteners == SERVER_LISTENERS_MAX) {
		log_panic("more than %d listeners", SERVER_LISTENERS_MAX);
	}
	(void)evutil_make_socket_nonblocking(fd);
	*l = (struct server_listener){ .srv = srv, .fd = fd, .submit = submit };
	(void)event_assign(&l->ev, srv->base, fd, EV_READ | EV_PERSIST,
	    on_accept, l);
	if (event_add(&l->ev, NULL) == -1) {
		log_panic("no event for a listener");
	}
	srv->nlisteners++;
}

/* -- life ------------------------------------------------------------------ */

static void
on_reap(evutil_socket_t fd, short what, void *arg)
{
	struct smtpd *srv = arg;
	struct session *s;

	(void)fd;
	(void)what;
	while ((s = srv->dead) != NULL) {
		srv->dead = s->next;
		session_free(s);
	}
	server_check_stopped(srv);
}

static void
on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct smtpd *srv = arg;
	struct session *s, *next;

	(void)fd;
	(void)what;
	for (s = srv->sessions; s != NULL; s = next) {
		next = s->next;
		session_stop(s, true);
		session_close(s);
	}
	server_check_stopped(srv);
}

/* Beyond these accept() fails, and a client would wait without a word. */
static uint64_t
count_places(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1) {
		return UINT64_MAX;
	}
	return rl.rlim_cur > 2 * SERVER_OTHER_FDS ?
	    rl.rlim_cur - SERVER_OTHER_FDS : rl.rlim_cur / 2;
}

struct smtpd *
server_new(struct event_base *base, const struct settings *set)
{
	struct smtpd *srv = xcalloc(1, sizeof(*srv));

	srv->base = base;
	srv->set = set;
	srv->now_ms = monotonic_ms;
	srv->accepting.code = 250;
	srv->places = count_places();
	slots_init(&srv->tids);
	(void)evtimer_assign(&srv->accept_timer, base, on_accept_timer, srv);
	(void)evtimer_assign(&srv->reap, base, on_reap, srv);
	(void)evtimer_assign(&srv->stop_timer, base, on_stop_timer, srv);
	return srv;
}

static void
close_listeners(struct smtpd *srv)
{
	unsigned i;

	for (i = 0; i < srv->nlisteners; i++) {
		(void)event_del(&srv->listeners[i].ev);
		(void)close(srv->listeners[i].fd);
	}
	srv->nlisteners = 0;
	(void)event_del(&srv->accept_timer);
}

void
server_free(struct smtpd *srv)
{
	srv->stopped = NULL;
	close_listeners(srv);
	while (srv->sessions != NULL) {
		session_close(srv->sessions);
	}
	on_reap(-1, 0, srv);
	(void)event_del(&srv->reap);
	(void)event_del(&srv->stop_timer);
	ipc_chan_free(srv->cleanup);
	slots_clear(&srv->tids);
	free(srv);
}

void
server_check_stopped(struct smtpd *srv)
{
	if (srv->stopping && srv->sessions == NULL && srv->dead == NULL &&
	    srv->stopped != NULL) {
		(void)event_del(&srv->stop_timer);
		srv->stopped(srv->stopped_arg);
		srv->stopped = NULL;
	}
}

void
server_stop(struct smtpd *srv, uint64_t deadline_ms)
{
	const struct timeval tv = in_ms(deadline_ms);
	struct session *s, *next;

	if (srv->stopping) {
		return;
	}
	srv->stopping = true;
	close_listeners(srv);
	(void)evtimer_add(&srv->stop_timer, &tv);
	for (s = srv->sessions; s != NULL; s = next) {
		next = s->next;
		session_stop(s, false);
	}
	server_check_stopped(srv);
}
