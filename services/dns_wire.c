/*
 * A c-ares callback may come before ares_send() returns, later, or from
 * ares_destroy(). So it only puts the answer onto a list, which is handed up
 * in a turn of the loop of its own.
 */
#include "config.h"

#include <ares.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "services/dns_wire.h"

#define UDP_SIZE 1232 /* octets: fits everywhere (DNS flag day 2020) */
#define RCODE_FORMERR 1
#define FLAG_AD  0x20 /* in octet 3 of a question: tell me (RFC 6840, 5.7) */

struct sock {
	LIST_ENTRY(sock) of_server;
	ares_socket_t fd;
	struct event *ev;
	struct server *server;
};

struct server {
	struct dns_wire *wire;
	ares_channel channel;
	char *name;
	unsigned index;
	bool no_edns; /* it does not understand EDNS (RFC 6891, 7) */
	LIST_HEAD(, sock) socks;
	struct event *timer; /* c-ares's next deadline */
};

/* A question that is out; after its answer, on the wire's list. */
struct asked {
	STAILQ_ENTRY(asked) answered;
	struct server *server;
	uint32_t id;
	char name[DNS_NAME_MAX + 1];
	enum dns_type type;
	bool plain;          /* asked without EDNS */
	const char *error;
	char *packet;        /* owned, or NULL */
	size_t n;
};

struct dns_wire {
	struct event_base *base;
	struct server *servers;
	unsigned nservers;
	dns_wire_fn *fn;
	void *arg;
	bool closing;
	STAILQ_HEAD(, asked) answered;
	struct event *hand_up;
};

static const struct {
	int status;
	const char *words;
} errors[] = {
	{ ARES_ETIMEOUT, "the resolver does not answer" },
	{ ARES_ECONNREFUSED, "nothing listens at the resolver's address" },
	{ ARES_EBADRESP, "the answer is malformed" },
};

static const char *
error_words(int status)
{
	size_t i;

	for (i = 0; i < NELEMS(errors); i++) {
		if (errors[i].status == status) {
			return errors[i].words;
		}
	}
	return "the resolver cannot be asked";
}

static void
asked_free(struct asked *q)
{
	free(q->packet);
	free(q);
}

/* -- events ---------------------------------------------------------------- */

static void
rearm(struct server *s)
{
	struct timeval tv;

	if (ares_timeout(s->channel, NULL, &tv) == NULL) {
		(void)event_del(s->timer);
	} else if (event_add(s->timer, &tv) == -1) {
		log_panic("no timer for DNS");
	}
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct sock *k = arg;
	struct server *s = k->server; /* k may go */

	ares_process_fd(s->channel, (what & EV_READ) != 0 ? fd :
	    ARES_SOCKET_BAD, (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
	rearm(s);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	ares_process_fd(s->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	rearm(s);
}

static void
on_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct server *s = arg;
	struct sock *k;

	LIST_FOREACH(k, &s->socks, of_server) {
		if (k->fd == fd) {
			event_free(k->ev);
			LIST_REMOVE(k, of_server);
			free(k);
			break;
		}
	}
	if (!readable && !writable) {
		return;
	}
	k = xcalloc(1, sizeof(*k));
	k->fd = fd;
	k->server = s;
	k->ev = event_new(s->wire->base, fd, (short)((readable ? EV_READ : 0) |
	    (writable ? EV_WRITE : 0) | EV_PERSIST), on_socket, k);
	if (k->ev == NULL || event_add(k->ev, NULL) == -1) {
		log_panic("no event for DNS");
	}
	LIST_INSERT_HEAD(&s->socks, k, of_server);
}

/* FORMERR: to a question without EDNS there may be an answer. c-ares knows of
   that, but does so once in the life of a channel. */
static bool
wants_it_plain(const struct asked *q)
{
	return !q->plain && q->n > 3 && (q->packet[3] & 15) == RCODE_FORMERR;
}

static void
on_hand_up(evutil_socket_t fd, short what, void *arg)
{
	struct dns_wire *w = arg;
	struct asked *q;

	(void)fd;
	(void)what;
	while ((q = STAILQ_FIRST(&w->answered)) != NULL) {
		STAILQ_REMOVE_HEAD(&w->answered, answered);
		if (wants_it_plain(q)) {
			q->server->no_edns = true;
			dns_wire_ask(w, q->server->index, q->id, q->name,
			    q->type, true);
		} else {
			w->fn(w->arg, q->id, q->server->index, q->error,
			    slice_make(q->packet, q->n));
		}
		asked_free(q);
	}
}

/* From c-ares, once for each question. */
static void
on_answer(void *arg, int status, int timeouts, unsigned char *packet, int n)
{
	struct asked *q = arg;
	struct dns_wire *w = q->server->wire;

	(void)timeouts;
	if (w->closing) {
		asked_free(q);
		return;
	}
	if (packet != NULL && n > 0) {
		q->n = (size_t)n;
		q->packet = xslicedup(slice_make((const char *)packet, q->n));
	} else {
		q->error = error_words(status);
	}
	STAILQ_INSERT_TAIL(&w->answered, q, answered);
	event_active(w->hand_up, 0, 0);
}

/* -- making and asking ----------------------------------------------------- */

/*
 * Each option is set, so that c-ares reads no file: neither resolv.conf nor
 * nsswitch.conf is behind the walls, and neither is asked.
 */
static const char *
server_init(struct server *s, const char *name, uint64_t timeout_ms)
{
	static char lookups[] = "b";
	struct in_addr nowhere = { 0 };
	struct ares_options o = {
		.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH |
		    ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
		.timeout = (int)timeout_ms, .tries = 1, .ndots = 1,
		.ednspsz = UDP_SIZE, .lookups = lookups, .nsort = 0,
		.servers = &nowhere, .nservers = 1,
		.sock_state_cb = on_state, .sock_state_cb_data = s,
	};
	int r = ares_init_options(&s->channel, &o, ARES_OPT_FLAGS |
	    ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
	    ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST |
	    ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_NOROTATE |
	    ARES_OPT_SOCK_STATE_CB);

	if (r != ARES_SUCCESS) {
		return ares_strerror(r);
	}
	r = ares_set_servers_ports_csv(s->channel, name);
	if (r != ARES_SUCCESS) {
		ares_destroy(s->channel);
		return ares_strerror(r);
	}
	s->name = xstrdup(name);
	s->timer = event_new(s->wire->base, -1, 0, on_timer, s);
	if (s->timer == NULL) {
		log_panic("no timer for DNS");
	}
	return NULL;
}

struct dns_wire *
dns_wire_new(struct event_base *base, const struct strlist *servers,
    uint64_t timeout_ms, dns_wire_fn *fn, void *arg, const char **why)
{
	struct dns_wire *w = xcalloc(1, sizeof(*w));
	struct server *s;
	size_t i;

	*why = NULL;
	w->base = base;
	w->fn = fn;
	w->arg = arg;
	STAILQ_INIT(&w->answered);
	w->hand_up = event_new(base, -1, 0, on_hand_up, w);
	if (w->hand_up == NULL || ares_library_init(ARES_LIB_INIT_ALL) !=
	    ARES_SUCCESS) {
		log_panic("no c-ares");
	}
	w->servers = xcalloc(servers->n, sizeof(*w->servers));
	for (i = 0; i < servers->n && *why == NULL; i++) {
		s = &w->servers[i];
		s->wire = w;
		s->index = (unsigned)i;
		LIST_INIT(&s->socks);
		*why = server_init(s, servers->at[i], timeout_ms);
		w->nservers += *why == NULL ? 1 : 0;
	}
	if (*why != NULL) {
		dns_wire_free(w);
		return NULL;
	}
	return w;
}

void
dns_wire_free(struct dns_wire *w)
{
	struct asked *q;
	unsigned i;

	if (w == NULL) {
		return;
	}
	w->closing = true;
	for (i = 0; i < w->nservers; i++) {
		ares_destroy(w->servers[i].channel);
		event_free(w->servers[i].timer);
		free(w->servers[i].name);
	}
	while ((q = STAILQ_FIRST(&w->answered)) != NULL) {
		STAILQ_REMOVE_HEAD(&w->answered, answered);
		asked_free(q);
	}
	event_free(w->hand_up);
	free(w->servers);
	free(w);
	ares_library_cleanup();
}

unsigned
dns_wire_servers(const struct dns_wire *w)
{
	return w->nservers;
}

const char *
dns_wire_server(const struct dns_wire *w, unsigned i)
{
	return w->servers[i].name;
}

/* c-ares draws ids from what it could open at its start: behind the walls that
   is nothing. */
static uint16_t
draw_id(void)
{
	uint16_t id;

	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id)) {
		log_panic("no random octets");
	}
	return id;
}

void
dns_wire_ask(struct dns_wire *w, unsigned server, uint32_t id,
    const char *name, enum dns_type type, bool plain)
{
	struct server *s = &w->servers[server];
	struct asked *q = xcalloc(1, sizeof(*q));
	unsigned char *question = NULL;
	int n = 0, r;

	q->server = s;
	q->id = id;
	memcpy(q->name, name, strlen(name) + 1);
	q->type = type;
	q->plain = plain || s->no_edns;
	r = ares_create_query(name, 1, (int)type, draw_id(), 1, &question, &n,
	    q->plain ? 0 : UDP_SIZE);
	if (r != ARES_SUCCESS) { /* out of memory; names were checked */
		on_answer(q, r, 0, NULL, 0);
		return;
	}
	question[3] |= FLAG_AD;
	ares_send(s->channel, question, n, on_answer, q);
	ares_free_string(question);
	rearm(s);
}
