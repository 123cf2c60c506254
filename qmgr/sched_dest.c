#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

static const struct {
	const char *name;
	enum sched_agent agent;
} transports[] = {
	[SCHED_T_LOCAL] = { "local", SCHED_LOCAL },
	[SCHED_T_SMTP] = { "smtp", SCHED_REMOTE },
	[SCHED_T_LMTP] = { "lmtp", SCHED_REMOTE },
};
_Static_assert(NELEMS(transports) == SCHED_TRANSPORTS, "a row per transport");

int
sched_transport_of(struct slice name)
{
	size_t i;

	for (i = 0; i < NELEMS(transports); i++) {
		if (slice_eq(name, slice_of(transports[i].name))) {
			return (int)i;
		}
	}
	return -1;
}

enum sched_agent
sched_agent_of(enum sched_transport t)
{
	return transports[t].agent;
}

/* -- destinations ---------------------------------------------------------- */

const struct sched_limits *
sched_limits_of(const struct sched *s, const struct dest *d)
{
	return &s->cfg.limits[d->by];
}

uint64_t
sched_window_of(const struct sched *s, const struct dest *d)
{
	const struct sched_limits *l = sched_limits_of(s, d);

	if (l->delay > 0) {
		return 1;
	}
	if (d->agent == SCHED_LOCAL) {
		return l->concurrency;
	}
	return d->dead ? 1 : d->window < l->concurrency ? d->window :
	    l->concurrency;
}

/* A destination is in a ring while it may have one more delivery out. */
void
sched_ring_update(struct sched *s, struct dest *d)
{
	struct agent *g = &s->agents[d->agent];
	bool may = d->top.waiting > 0 && d->running < sched_window_of(s, d) &&
	    s->mono_ms >= d->rest_ms;
	enum ring to = !may ? RING_NONE :
	    d->class[LANE_URGENT].waiting > 0 ? RING_URGENT : RING_NORMAL;

	if (to == d->in_ring) {
		return;
	}
	if (d->in_ring != RING_NONE) {
		TAILQ_REMOVE(&g->rings[d->in_ring], d, ring);
	}
	if (to != RING_NONE) {
		TAILQ_INSERT_TAIL(&g->rings[to], d, ring);
	}
	d->in_ring = to;
}

static uint32_t
hash_dest(const struct sched *s, struct slice transport, struct slice next_hop)
{
	uint64_t h = siphash24(s->dest_key, next_hop.p, next_hop.n) +
	    transport.n;

	return (uint32_t)(h ^ h >> 32) & (s->ndest_buckets - 1);
}

static void
grow(struct sched *s)
{
	struct dest **old = s->dests, *d;
	uint32_t n = s->ndest_buckets, i, b;

	s->ndest_buckets *= 2;
	s->dests = xcalloc(s->ndest_buckets, sizeof(*s->dests));
	for (i = 0; i < n; i++) {
		while ((d = old[i]) != NULL) {
			old[i] = d->next;
			b = hash_dest(s, slice_of(d->transport),
			    slice_of(d->next_hop));
			d->next = s->dests[b];
			s->dests[b] = d;
		}
	}
	free(old);
}

struct dest *
sched_dest_find(const struct sched *s, struct slice transport,
    struct slice next_hop)
{
	struct dest *d = s->dests[hash_dest(s, transport, next_hop)];

	while (d != NULL && (!slice_eq(slice_of(d->next_hop), next_hop) ||
	    !slice_eq(slice_of(d->transport), transport))) {
		d = d->next;
	}
	return d;
}

struct dest *
sched_dest_get(struct sched *s, enum sched_transport t, struct slice next_hop)
{
	struct slice name = slice_of(transports[t].name);
	struct dest *d = sched_dest_find(s, name, next_hop);
	uint32_t b;

	if (d != NULL) {
		return d;
	}
	if (s->ndests++ >= s->ndest_buckets) {
		grow(s);
	}
	b = hash_dest(s, name, next_hop);
	d = xcalloc(1, sizeof(*d));
	d->transport = xslicedup(name);
	d->next_hop = xslicedup(next_hop);
	d->by = t;
	d->agent = transports[t].agent;
	d->rest_place = HEAP_OUT;
	d->window = d->rise = (unsigned)s->cfg.limits[t].initial;
	d->in_ring = RING_NONE;
	sched_lanes_init(d);
	d->next = s->dests[b];
	s->dests[b] = d;
	return d;
}

void
sched_dest_release(struct sched *s, struct dest *d)
{
	struct dest **at = &s->dests[hash_dest(s, slice_of(d->transport),
	    slice_of(d->next_hop))];

	if (d->njobs > 0 || d->fails > 0 || d->rest_place != HEAP_OUT ||
	    d->outside > 0 || d->coming > 0) {
		return;
	}
	while (*at != d) {
		at = &(*at)->next;
	}
	*at = d->next;
	s->ndests--;
	sched_lanes_clear(d);
	free(d->transport);
	free(d->next_hop);
	free(d);
}

/* -- rate delay ------------------------------------------------------------- */

bool
sched_rests_before(const void *a, const void *b)
{
	const struct dest *x = a, *y = b;

	return x->rest_ms < y->rest_ms;
}

void
sched_dest_rest(struct sched *s, struct dest *d)
{
	uint64_t delay = sched_limits_of(s, d)->delay;

	if (delay > 0) {
		if (d->rest_place != HEAP_OUT) {
			heap_remove(&s->rests, d);
		}
		d->rest_ms = s->mono_ms + delay * 1000;
		heap_push(&s->rests, d);
	}
}

void
sched_dests_wake(struct sched *s)
{
	struct dest *d;

	while ((d = heap_top(&s->rests)) != NULL && d->rest_ms <= s->mono_ms) {
		heap_remove(&s->rests, d);
		sched_ring_update(s, d);
		sched_dest_release(s, d);
	}
}

void
sched_dests_free(struct sched *s)
{
	struct dest *d;

	while ((d = heap_top(&s->rests)) != NULL) {
		heap_remove(&s->rests, d);
		sched_dest_release(s, d);
	}
}

void
sched_dests_update(struct sched *s)
{
	struct dest *d;
	uint32_t i;

	for (i = 0; i < s->ndest_buckets; i++) {
		for (d = s->dests[i]; d != NULL; d = d->next) {
			sched_ring_update(s, d);
		}
	}
}
