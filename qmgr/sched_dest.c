#include "config.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

/* The transports that have an agent. */
static const struct {
	const char *name;
	enum sched_agent agent;
} transports[] = {
	{ "local", SCHED_LOCAL },
	{ "smtp", SCHED_REMOTE },
	{ "lmtp", SCHED_REMOTE },
};

int
sched_agent_of(struct slice transport)
{
	size_t i;

	for (i = 0; i < NELEMS(transports); i++) {
		if (slice_eq(transport, slice_of(transports[i].name))) {
			return (int)transports[i].agent;
		}
	}
	return -1;
}

/* -- destinations ---------------------------------------------------------- */

static bool
job_before(const void *a, const void *b)
{
	const struct job *x = a, *y = b;

	return x->work->entry->qid < y->work->entry->qid;
}

static uint64_t
limit_of(const struct sched *s, const struct dest *d)
{
	if (d->agent == SCHED_LOCAL) {
		return s->cfg.local_concurrency;
	}
	return d->dead ? 1 : d->window < s->cfg.remote_concurrency ?
	    d->window : s->cfg.remote_concurrency;
}

/* A destination is in the ring while it may have one more delivery out. */
void
sched_ring_update(struct sched *s, struct dest *d)
{
	bool may = d->jobs.n > 0 && d->running < limit_of(s, d);

	if (may && !d->in_ring) {
		TAILQ_INSERT_TAIL(&s->agents[d->agent].ring, d, ring);
	} else if (!may && d->in_ring) {
		TAILQ_REMOVE(&s->agents[d->agent].ring, d, ring);
	}
	d->in_ring = may;
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
sched_dest_get(struct sched *s, enum sched_agent a, struct slice transport,
    struct slice next_hop)
{
	uint32_t b = hash_dest(s, transport, next_hop);
	struct dest *d = sched_dest_find(s, transport, next_hop);

	if (d != NULL) {
		return d;
	}
	if (s->ndests++ >= s->ndest_buckets) {
		grow(s);
		b = hash_dest(s, transport, next_hop);
	}
	d = xcalloc(1, sizeof(*d));
	d->transport = xslicedup(transport);
	d->next_hop = xslicedup(next_hop);
	d->agent = a;
	d->window = SCHED_WINDOW_FIRST;
	heap_init(&d->jobs, job_before, offsetof(struct job, place));
	d->next = s->dests[b];
	s->dests[b] = d;
	return d;
}

void
sched_dest_free(struct sched *s, struct dest *d)
{
	struct dest **at = &s->dests[hash_dest(s, slice_of(d->transport),
	    slice_of(d->next_hop))];

	while (*at != d) {
		at = &(*at)->next;
	}
	*at = d->next;
	s->ndests--;
	heap_clear(&d->jobs);
	free(d->transport);
	free(d->next_hop);
	free(d);
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
