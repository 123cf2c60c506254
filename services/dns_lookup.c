/* The life of one lookup: in line, then asked of one server after the other. */
#include "config.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "services/dns_lookup.h"
#include "services/dns_packet.h"

#define FIRST_WAIT_MS 2000 /* for a silent server; twice that each round */
#define ROUNDS_MAX    8

static void
arm(struct lookup *l, uint64_t ms)
{
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	if (event_add(l->timer, &tv) == -1) {
		log_panic("no timer for a lookup");
	}
}

/* Over without an answer. Frees `l'. */
static void
give_up(struct lookup *l)
{
	const struct dns_answer a = { .status = DNS_TEMP,
		.ttl = DNS_TEMP_TTL, .records = SL(""),
		.reason = slice_of(l->reason[0] != '\0' ? l->reason :
		    "the resolver does not answer") };

	dns_ask_done(l, &a);
}

/*
 * Ask the next server in turn that has not failed. The timer is set to when
 * its silence is enough, or to the deadline.
 */
static void
ask_next(struct lookup *l)
{
	struct dns_wire *w = l->d->wire;
	unsigned n = dns_wire_servers(w), round, tries;
	uint64_t now = dns_now_ms(), wait, left;

	left = l->deadline_ms > now ? l->deadline_ms - now : 0;
	for (tries = 0; tries < n && l->failed[l->asked % n]; tries++) {
		l->asked++;
	}
	round = l->asked / n;
	if (round >= ROUNDS_MAX) {
		arm(l, left);
		return;
	}
	wait = (uint64_t)FIRST_WAIT_MS << round;
	arm(l, wait < left ? wait : left);
	/* Who said nothing may have been kept from it by EDNS. */
	dns_wire_ask(w, l->asked++ % n, l->id, l->current, l->type,
	    round % 2 != 0);
}

static void
note_reason(struct lookup *l, const char *words, const char *server)
{
	struct strbuf b;

	strbuf_init(&b, sizeof(l->reason) - 1);
	(void)strbuf_printf(&b, "%s [%s]", words, server);
	memcpy(l->reason, strbuf_slice(&b).p != NULL ? b.p : "", b.n + 1);
	strbuf_clear(&b);
}

/* May free `l'. */
static void
server_failed(struct lookup *l, unsigned server, const char *words)
{
	log_debug("%s %s: %s [%s]", dns_type_name(l->type), l->current, words,
	    dns_wire_server(l->d->wire, server));
	note_reason(l, words, dns_wire_server(l->d->wire, server));
	if (l->failed[server]) {
		return; /* asked twice, failed twice */
	}
	l->failed[server] = true;
	if (++l->nfailed == dns_wire_servers(l->d->wire)) {
		give_up(l);
	} else {
		ask_next(l);
	}
}

/* A new question of this lookup: no server has failed it yet. */
static void
ask_all(struct lookup *l)
{
	l->asked = l->nfailed = 0;
	memset(l->failed, 0, sizeof(l->failed));
	ask_next(l);
}

/* May free `l'. */
static void
follow_alias(struct lookup *l, const struct dns_packet *p)
{
	l->aliases += p->aliases;
	if (l->aliases > DNS_ALIASES_MAX) {
		note_reason(l, "aliases (CNAME) go round in circles, or are "
		    "too many", l->name);
		give_up(l);
		return;
	}
	memcpy(l->current, p->name, sizeof(l->current));
	l->secure = l->secure && p->secure;
	l->ttl = p->ttl < l->ttl ? p->ttl : l->ttl;
	/* a late answer to the question before finds nothing */
	slots_drop(&l->d->ids, l->id);
	l->id = slots_add(&l->d->ids, l);
	ask_all(l);
}

/* Frees `l'. */
static void
finish(struct lookup *l, const struct dns_packet *p)
{
	struct dns_answer a = { .status = p->status,
		.secure = l->secure && p->secure,
		.ttl = p->ttl < l->ttl ? p->ttl : l->ttl,
		.records = SL(""), .reason = SL("") };

	if (p->status == DNS_FOUND) {
		a.records = strbuf_slice(&p->records);
	} else {
		a.reason = p->status == DNS_NXDOMAIN ? SL("no such name") :
		    SL("no such records");
	}
	dns_ask_done(l, &a);
}

void
lookup_answered(void *arg, uint32_t id, unsigned server, const char *error,
    struct slice packet)
{
	struct dns_ask *d = arg;
	struct lookup *l = slots_get(&d->ids, id);
	struct dns_packet p;

	if (l == NULL) {
		return; /* another server was faster */
	}
	if (error != NULL) {
		server_failed(l, server, error);
		return;
	}
	dns_packet_parse(packet, l->current, l->type, &p);
	switch (p.kind) {
	case DNS_PACKET_ANSWER:
		finish(l, &p);
		break;
	case DNS_PACKET_ALIAS:
		follow_alias(l, &p);
		break;
	case DNS_PACKET_FAILED:
		server_failed(l, server, p.reason);
		break;
	}
	dns_packet_clear(&p);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct lookup *l = arg;

	(void)fd;
	(void)what;
	if (l->deadline_ms <= dns_now_ms()) {
		if (!l->running) {
			note_reason(l, "too many lookups wait for the resolver",
			    l->name);
		}
		give_up(l);
	} else if (l->running) {
		ask_next(l);
	} else {
		arm(l, l->deadline_ms - dns_now_ms());
	}
}

static void
run(struct lookup *l)
{
	struct dns_ask *d = l->d;

	TAILQ_REMOVE(&d->line, l, line);
	l->running = true;
	d->nrunning++;
	ask_all(l);
}

void
lookup_next(struct dns_ask *d)
{
	while (d->nrunning < DNS_RUNNING_MAX && d->wire != NULL &&
	    !TAILQ_EMPTY(&d->line)) {
		run(TAILQ_FIRST(&d->line));
	}
}

void
lookup_restart(struct lookup *l)
{
	if (l->running) {
		memcpy(l->current, l->name, sizeof(l->current));
		l->aliases = 0;
		l->secure = true;
		l->ttl = UINT32_MAX;
		ask_all(l);
	}
}

struct lookup *
lookup_new(struct dns_ask *d, const char *name, enum dns_type type)
{
	struct lookup *l = xcalloc(1, sizeof(*l));

	l->d = d;
	l->type = type;
	memcpy(l->name, name, strlen(name) + 1);
	memcpy(l->current, l->name, sizeof(l->current));
	l->secure = true;
	l->ttl = UINT32_MAX;
	l->deadline_ms = dns_now_ms() + d->timeout_ms;
	l->timer = event_new(d->base, -1, 0, on_timer, l);
	if (l->timer == NULL) {
		log_panic("no timer for a lookup");
	}
	l->id = slots_add(&d->ids, l);
	TAILQ_INSERT_TAIL(&d->line, l, line);
	arm(l, d->timeout_ms);
	return l;
}

void
lookup_free(struct lookup *l)
{
	struct dns_ask *d = l->d;
	struct waiter *w;

	if (l->running) {
		d->nrunning--;
	} else {
		TAILQ_REMOVE(&d->line, l, line);
	}
	while ((w = l->waiters) != NULL) {
		l->waiters = w->next;
		d->nwaiters--;
		free(w);
	}
	slots_drop(&d->ids, l->id);
	event_free(l->timer);
	free(l);
}
