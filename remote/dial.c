/*
 * From an address to a connection. An address that failed is remembered for
 * REMOTE_DEAD_MS and comes last meanwhile: it is still tried when no other is
 * left, so that nothing waits longer than it has to.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "remote/remote_int.h"

#define DEAD_MAX 20000

void
dial_relay(const char *host, const struct cidr *addr, uint16_t port,
    struct strbuf *out)
{
	struct strbuf text;

	strbuf_init(&text, 0);
	nexthop_print_addr(addr, &text);
	(void)strbuf_printf(out, "%s[%s]:%u", host[0] != '\0' ? host : text.p,
	    text.p, port);
	strbuf_clear(&text);
}

/* -- addresses that failed -------------------------------------------------- */

static struct dead_bucket *
bucket_of(struct remote *r, const struct cidr *addr, uint16_t port)
{
	uint64_t h = port;
	size_t i;

	for (i = 0; i < sizeof(addr->octets); i++) {
		h = (h ^ addr->octets[i]) * UINT64_C(1099511628211);
	}
	return &r->dead[(h >> 20) % DEAD_BUCKETS];
}

static bool
same_addr(const struct cidr *a, const struct cidr *b)
{
	return a->v6 == b->v6 &&
	    memcmp(a->octets, b->octets, a->v6 ? 16 : 4) == 0;
}

/* The one of this address, or NULL. Those of long ago go on the way. */
static struct dead *
find_dead(struct remote *r, const struct cidr *addr, uint16_t port)
{
	struct dead_bucket *b = bucket_of(r, addr, port);
	struct dead *x, *next, *found = NULL;
	uint64_t now = agent_now_ms();

	for (x = LIST_FIRST(b); x != NULL; x = next) {
		next = LIST_NEXT(x, bucket);
		if (x->until <= now) {
			LIST_REMOVE(x, bucket);
			r->ndead--;
			free(x);
		} else if (x->port == port && same_addr(&x->addr, addr)) {
			found = x;
		}
	}
	return found;
}

void
dial_set_dead(struct remote *r, const struct cidr *addr, uint16_t port)
{
	struct dead *x;

	if (addr->bits == 0) {
		return; /* a UNIX socket has no other address */
	}
	x = find_dead(r, addr, port);
	if (x == NULL && r->ndead < DEAD_MAX) {
		x = xcalloc(1, sizeof(*x));
		x->addr = *addr;
		x->port = port;
		LIST_INSERT_HEAD(bucket_of(r, addr, port), x, bucket);
		r->ndead++;
	}
	if (x != NULL) {
		x->until = agent_now_ms() + REMOTE_DEAD_MS;
	}
}

void
dial_order(struct remote *r, struct mx_result *route)
{
	struct mx_candidate *bad;
	size_t i, n = 0, nbad = 0;

	if (r->ndead == 0 || route->n < 2) {
		return;
	}
	bad = xcalloc(route->n, sizeof(*bad));
	for (i = 0; i < route->n; i++) {
		if (find_dead(r, &route->at[i].addr, route->at[i].port) !=
		    NULL) {
			bad[nbad++] = route->at[i];
		} else {
			route->at[n++] = route->at[i];
		}
	}
	memcpy(route->at + n, bad, nbad * sizeof(*bad));
	free(bad);
}

void
dial_clear(struct remote *r)
{
	struct dead *x;
	size_t i;

	for (i = 0; i < DEAD_BUCKETS; i++) {
		while ((x = LIST_FIRST(&r->dead[i])) != NULL) {
			LIST_REMOVE(x, bucket);
			free(x);
		}
	}
	r->ndead = 0;
}

/* -- over TCP ---------------------------------------------------------------- */

/* A connecting socket, or -1 and errno. */
static int
tcp_connect(const struct mx_candidate *at)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(at->port) };
	struct sockaddr_in in4 = { .sin_family = AF_INET,
		.sin_port = htons(at->port) };
	const struct sockaddr *sa = (const struct sockaddr *)&in4;
	socklen_t n = sizeof(in4);
	int fd, saved;

	if (at->addr.v6) {
		memcpy(&in6.sin6_addr, at->addr.octets, 16);
		sa = (const struct sockaddr *)&in6;
		n = sizeof(in6);
	} else {
		memcpy(&in4.sin_addr, at->addr.octets, 4);
	}
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd == -1) {
		return -1;
	}
	if (connect(fd, sa, n) == -1 && errno != EINPROGRESS) {
		saved = errno;
		(void)close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* Our own shortage, which is nobody's fault. */
static bool
is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS ||
	    error == ENOMEM;
}

static void
tcp_next(struct delivery *d)
{
	const struct mx_candidate *at;
	struct strbuf relay;
	struct outcome o;
	int fd;

	if (d->next >= d->route.n) {
		delivery_give_up(d);
		return;
	}
	at = &d->route.at[d->next++];
	fd = tcp_connect(at);
	if (fd != -1) {
		d->state = DELIVERY_DIALING;
		d->conn = conn_new(d, fd, at, true);
		return;
	}
	if (is_shortage(errno)) {
		outcome_set(&o, FATE_DEFERRED, "4.3.2", "no connection can "
		    "be made here: %s", strerror(errno));
		delivery_defer(d, &o);
		return;
	}
	strbuf_init(&relay, 0);
	dial_relay(at->host, &at->addr, at->port, &relay);
	outcome_set(&o, FATE_DEFERRED, "4.4.1", "connect to %s: %s", relay.p,
	    strerror(errno));
	dial_log_failure(at->host, &at->addr, at->port, strerror(errno));
	dial_set_dead(d->r, &at->addr, at->port);
	delivery_failed_at(d, relay.p, &o, true);
	strbuf_clear(&relay);
}

/* In a shape that log readers know. */
void
dial_log_failure(const char *host, const struct cidr *addr, uint16_t port,
    const char *why)
{
	struct strbuf text;

	strbuf_init(&text, 0);
	nexthop_print_addr(addr, &text);
	log_info("connect to %s[%s]: %s (port %u)",
	    host[0] != '\0' ? host : text.p, text.p, why, port);
	strbuf_clear(&text);
}

/* -- over a UNIX socket, by master ------------------------------------------- */

static void
unix_next(struct delivery *d)
{
	struct remote *r = d->r;

	if (d->next > 0 || r->ask == NULL) {
		delivery_give_up(d);
		return;
	}
	d->next++;
	d->state = DELIVERY_DIALING;
	d->dial_tid = slots_add(&r->dials, d);
	d->dial_late_at = agent_now_ms() +
	    r->settings->smtp_connect_timeout * 1000;
	TAILQ_INSERT_TAIL(&r->asked_master, d, list);
	r->ask(r->ask_arg, d->dial_tid, d->dest->hop.name);
}

void
dial_next(struct delivery *d)
{
	if (d->dest->hop.kind == NEXTHOP_UNIX) {
		unix_next(d);
	} else {
		tcp_next(d);
	}
}

void
dial_cancel(struct delivery *d)
{
	if (d->dial_tid != 0) {
		slots_drop(&d->r->dials, d->dial_tid);
		TAILQ_REMOVE(&d->r->asked_master, d, list);
		d->dial_tid = 0;
	}
}

static void
unix_failed(struct delivery *d, struct slice why)
{
	char relay[RELAY_MAX];
	struct outcome o;

	dial_unix_relay(d, relay, sizeof(relay));
	outcome_set(&o, FATE_DEFERRED, "4.4.1", "connect to %s: %.*s",
	    d->dest->hop.name, SLF(why));
	log_info("connect to %s: %s", relay, o.text);
	delivery_failed_at(d, relay, &o, true);
}

void
dial_unix_relay(const struct delivery *d, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%s[%s]", d->r->settings->smtp_helo_name,
	    d->dest->hop.name);

	if (n < 0 || (size_t)n >= cap) {
		memcpy(out, "unix", 5);
	}
}

void
dial_sweep(struct remote *r, uint64_t now_ms)
{
	struct delivery *d;

	while ((d = TAILQ_FIRST(&r->asked_master)) != NULL &&
	    d->dial_late_at <= now_ms) {
		dial_cancel(d);
		unix_failed(d, SL("master does not answer"));
	}
}

void
remote_connected(struct remote *r, uint32_t tid, int fd, struct slice reason)
{
	struct delivery *d = slots_get(&r->dials, tid);

	if (d == NULL) { /* too late */
		if (fd != -1) {
			(void)close(fd);
		}
		return;
	}
	dial_cancel(d);
	if (fd == -1) {
		unix_failed(d, reason);
		return;
	}
	(void)evutil_make_socket_nonblocking(fd);
	d->conn = conn_new(d, fd, NULL, false);
}
