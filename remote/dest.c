#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "remote/remote_int.h"

#define PORT_SMTP 25
#define PORT_LMTP 24

static struct dest_bucket *
bucket_of(struct remote *r, struct slice key)
{
	return &r->dests[siphash24(r->secret, key.p, key.n) % DEST_BUCKETS];
}

static struct dest *
find_or_make(struct remote *r, struct slice key, bool lmtp,
    const struct nexthop *hop)
{
	struct dest_bucket *b = bucket_of(r, key);
	struct dest *dest;

	LIST_FOREACH(dest, b, bucket) {
		if (slice_eq(slice_of(dest->key), key)) {
			return dest;
		}
	}
	dest = xcalloc(1, sizeof(*dest));
	dest->key = xslicedup(key);
	dest->lmtp = lmtp;
	dest->hop = *hop;
	TAILQ_INIT(&dest->routing);
	TAILQ_INIT(&dest->idle);
	LIST_INSERT_HEAD(b, dest, bucket);
	return dest;
}

struct dest *
dest_get(struct remote *r, struct slice transport, struct slice next_hop,
    const char **why)
{
	bool lmtp = slice_eq(transport, SL("lmtp"));
	struct nexthop hop;
	struct dest *dest;
	struct strbuf key;

	if (!lmtp && !slice_eq(transport, SL("smtp"))) {
		*why = "remote does not deliver by this transport";
		return NULL;
	}
	if (!nexthop_parse(next_hop, &hop, why)) {
		return NULL;
	}
	strbuf_init(&key, 0);
	(void)strbuf_add_slice(&key, transport);
	(void)strbuf_add_char(&key, ':');
	nexthop_print(&hop, &key);
	dest = find_or_make(r, strbuf_slice(&key), lmtp, &hop);
	strbuf_clear(&key);
	return dest;
}

static bool
is_known(const struct dest *dest, uint64_t now_ms)
{
	return dest->memo != NULL && dest->memo_until > now_ms;
}

void
dest_release(struct remote *r, struct dest *dest)
{
	if (dest->ndeliveries > 0 || dest->nconns > 0 ||
	    is_known(dest, agent_now_ms())) {
		return;
	}
	if (dest->asked > 0) {
		lookup_forget(r, dest);
	}
	LIST_REMOVE(dest, bucket);
	mx_memo_free(dest->memo);
	free(dest->key);
	free(dest);
}

void
dest_sweep(struct remote *r, uint64_t now_ms)
{
	struct dest *dest, *next;
	size_t i;

	for (i = 0; i < DEST_BUCKETS; i++) {
		for (dest = LIST_FIRST(&r->dests[i]); dest != NULL;
		    dest = next) {
			next = LIST_NEXT(dest, bucket);
			if (!is_known(dest, now_ms)) {
				dest_release(r, dest);
			}
		}
	}
}

void
dest_forget(struct remote *r)
{
	struct dest *dest;
	size_t i;

	for (i = 0; i < DEST_BUCKETS; i++) {
		LIST_FOREACH(dest, &r->dests[i], bucket) {
			if (dest->memo_until > 0) {
				dest->memo_until = 1; /* long ago */
			}
		}
	}
	dest_sweep(r, agent_now_ms());
}

static void
ask_all(struct remote *r, struct dest *dest)
{
	struct mx_question q;
	size_t place = 0;

	while (mx_memo_need(dest->memo, &place, &q)) {
		dest->asked++;
		lookup_ask(r, dest, &q);
	}
}

static void
keep(struct dest *dest, const struct mx_result *res)
{
	uint64_t s = res->ttl < REMOTE_ROUTE_S ? res->ttl : REMOTE_ROUTE_S;

	if (res->n == 0 && res->fate == FATE_DEFERRED) {
		s = 0; /* to be asked again */
	}
	if (dest->memo_until == 0) {
		/* 1: used up by those who wait for it now. */
		dest->memo_until = s == 0 ? 1 : agent_now_ms() + s * 1000;
	}
}

static enum mx_state
resolve(struct remote *r, struct delivery *d)
{
	struct dest *dest = d->dest;
	const struct mx_request rq = {
		.hop = &dest->hop,
		.policy = r->policy,
		.default_port = dest->lmtp ? PORT_LMTP : PORT_SMTP,
		.no_mx = dest->lmtp,
		.seed = remote_random(r),
		.address_limit = r->settings->smtp_mx_address_limit,
	};

	return mx_resolve(&rq, dest->memo, &d->route);
}

/* `fresh': answers that are used up may not be used any more. */
static bool
route(struct remote *r, struct delivery *d, bool fresh)
{
	struct dest *dest = d->dest;

	if (dest->hop.kind == NEXTHOP_UNIX) {
		d->routed = true;
		return true;
	}
	if (fresh && dest->asked == 0 && dest->memo_until > 0 &&
	    !is_known(dest, agent_now_ms())) {
		mx_memo_free(dest->memo);
		dest->memo = NULL;
		dest->memo_until = 0;
	}
	if (dest->memo == NULL) {
		dest->memo = mx_memo_new();
	}
	if (dest->asked == 0) {
		if (resolve(r, d) == MX_DONE) {
			keep(dest, &d->route);
			dial_order(r, &d->route);
			d->routed = true;
			return true;
		}
		ask_all(r, dest);
	}
	d->state = DELIVERY_ROUTING;
	TAILQ_INSERT_TAIL(&dest->routing, d, list);
	return false;
}

bool
dest_route(struct remote *r, struct delivery *d)
{
	return route(r, d, true);
}

void
dest_answered(struct remote *r, struct dest *dest)
{
	struct delivery_list todo;
	struct delivery *d;

	if (dest->asked > 0) {
		return;
	}
	TAILQ_INIT(&todo);
	TAILQ_CONCAT(&todo, &dest->routing, list);
	dest->ndeliveries++; /* it stays while we are here */
	while ((d = TAILQ_FIRST(&todo)) != NULL) {
		TAILQ_REMOVE(&todo, d, list);
		if (route(r, d, false)) {
			delivery_go(d);
		}
	}
	dest->ndeliveries--;
	dest_release(r, dest);
}
