#include "config.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "services/dns_lookup.h"

uint64_t
dns_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct dns_ask *
dns_ask_new(struct event_base *base, dns_reply_fn *reply, uint64_t timeout_ms,
    uint64_t cache_limit)
{
	struct dns_ask *d = xcalloc(1, sizeof(*d));

	d->base = base;
	d->reply = reply;
	d->timeout_ms = timeout_ms;
	d->cache = dns_cache_new(cache_limit);
	slots_init(&d->ids);
	TAILQ_INIT(&d->line);
	if (getrandom(d->key, sizeof(d->key), 0) != (ssize_t)sizeof(d->key)) {
		log_panic("no random octets");
	}
	return d;
}

/* -- the table of lookups -------------------------------------------------- */

static struct lookup **
find(struct dns_ask *d, const char *name, enum dns_type type)
{
	uint64_t h = siphash24(d->key, name, strlen(name)) + (uint64_t)type;
	struct lookup **at = &d->bucket[h % LOOKUP_BUCKETS];

	while (*at != NULL && ((*at)->type != type ||
	    strcmp((*at)->name, name) != 0)) {
		at = &(*at)->chain;
	}
	return at;
}

/* Nobody finds it any more. */
static void
unlist(struct lookup *l)
{
	struct lookup **at = find(l->d, l->name, l->type);

	*at = l->chain;
	l->d->nlookups--;
}

void
dns_ask_free(struct dns_ask *d)
{
	uint32_t place = 0;
	struct lookup *l;

	while ((l = slots_next(&d->ids, &place)) != NULL) {
		unlist(l);
		lookup_free(l);
	}
	dns_wire_free(d->wire);
	dns_cache_free(d->cache);
	dns_hosts_free(d->hosts);
	slots_clear(&d->ids);
	free(d);
}

/* -- asking and answering -------------------------------------------------- */

static void
reply_temp(struct dns_ask *d, void *asker, uint32_t tid, const char *reason)
{
	const struct dns_answer a = { .status = DNS_TEMP, .records = SL(""),
		.ttl = DNS_TEMP_TTL, .reason = slice_of(reason) };

	d->reply(asker, tid, &a);
}

/* False: the name does not stand in the hosts file. */
static bool
reply_from_hosts(struct dns_ask *d, void *asker, uint32_t tid,
    struct slice name, enum dns_type type)
{
	struct dns_answer a = { .status = DNS_NODATA, .records = SL(""),
		.ttl = DNS_HOSTS_TTL,
		.reason = SL("no such address in the hosts file") };
	struct strbuf records;

	strbuf_init(&records, 0);
	if (d->hosts == NULL ||
	    !dns_hosts_find(d->hosts, name, type, &records)) {
		strbuf_clear(&records);
		return false;
	}
	if (records.n > 0) {
		a.status = DNS_FOUND;
		a.records = strbuf_slice(&records);
		a.reason = SL("");
	}
	d->reply(asker, tid, &a);
	strbuf_clear(&records);
	return true;
}

void
dns_ask_done(struct lookup *l, const struct dns_answer *a)
{
	struct dns_ask *d = l->d;
	struct waiter *w, *waiters = l->waiters;

	log_debug("%s %s: %.*s", dns_type_name(l->type), l->name,
	    SLF(a->status == DNS_FOUND ? SL("found") : a->reason));
	dns_cache_put(d->cache, slice_of(l->name), l->type, dns_now_ms(), a);
	l->waiters = NULL; /* who asks again in a reply begins a new lookup */
	unlist(l);
	while ((w = waiters) != NULL) {
		waiters = w->next;
		d->nwaiters--;
		d->reply(w->asker, w->tid, a);
		free(w);
	}
	lookup_free(l); /* the answer may borrow its reason from it */
	lookup_next(d);
}

void
dns_ask(struct dns_ask *d, void *asker, uint32_t tid, struct slice name,
    enum dns_type type, unsigned flags)
{
	char text[DNS_NAME_MAX + 1];
	struct lookup **at;
	struct dns_answer a;
	struct waiter *w;

	if ((flags & DNS_ASK_HOSTS) != 0 && type != DNS_MX &&
	    reply_from_hosts(d, asker, tid, name, type)) {
		return;
	}
	if (dns_cache_get(d->cache, name, type, dns_now_ms(), &a)) {
		d->reply(asker, tid, &a);
		return;
	}
	if (!dns_name_normal(name, text)) {
		reply_temp(d, asker, tid, "not a name");
		return;
	}
	at = find(d, text, type);
	if (d->nwaiters == DNS_WAITERS_MAX ||
	    (*at == NULL && d->nlookups == DNS_LOOKUPS_MAX)) {
		reply_temp(d, asker, tid, "too many lookups wait for the "
		    "resolver");
		return;
	}
	if (*at == NULL) {
		*at = lookup_new(d, text, type);
		d->nlookups++;
	}
	w = xcalloc(1, sizeof(*w));
	*w = (struct waiter){ (*at)->waiters, asker, tid };
	(*at)->waiters = w;
	d->nwaiters++;
	lookup_next(d);
}

void
dns_ask_forget(struct dns_ask *d, const void *asker)
{
	struct waiter **at, *w;
	uint32_t place = 0;
	struct lookup *l;

	while ((l = slots_next(&d->ids, &place)) != NULL) {
		for (at = &l->waiters; (w = *at) != NULL;) {
			if (w->asker == asker) {
				*at = w->next;
				d->nwaiters--;
				free(w);
			} else {
				at = &w->next;
			}
		}
	}
}

/* -- what it works with ---------------------------------------------------- */

const char *
dns_ask_servers(struct dns_ask *d, const struct strlist *servers)
{
	struct dns_wire *fresh, *old = d->wire;
	uint32_t place = 0;
	struct lookup *l;
	const char *why;

	fresh = dns_wire_new(d->base, servers, d->timeout_ms, lookup_answered,
	    d, &why);
	if (fresh == NULL) {
		return why;
	}
	d->wire = fresh;
	dns_wire_free(old); /* what was out is not told */
	dns_cache_forget_all(d->cache);
	while ((l = slots_next(&d->ids, &place)) != NULL) {
		lookup_restart(l);
	}
	lookup_next(d);
	return NULL;
}

void
dns_ask_hosts(struct dns_ask *d, struct dns_hosts *hosts)
{
	dns_hosts_free(d->hosts);
	d->hosts = hosts;
}

void
dns_ask_limits(struct dns_ask *d, uint64_t timeout_ms, uint64_t cache_limit)
{
	d->timeout_ms = timeout_ms;
	if (cache_limit != dns_cache_limit(d->cache)) {
		dns_cache_free(d->cache);
		d->cache = dns_cache_new(cache_limit);
	}
}
