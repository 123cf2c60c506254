/* The destinations as an administrator wants to see them. */
#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

static struct sched_dest_info
info_of(const struct sched *s, const struct dest *d)
{
	uint64_t at = d->dead ? d->retry_ms : d->rest_ms;

	return (struct sched_dest_info){
		.transport = d->transport, .next_hop = d->next_hop,
		.state = d->dead ? SCHED_DEST_DEAD :
		    d->rest_ms > s->mono_ms ? SCHED_DEST_RESTS :
		    d->fails > 0 ? SCHED_DEST_SICK : SCHED_DEST_GOOD,
		.window = sched_window_of(s, d), .running = d->running,
		.waiting = d->njobs - d->running, .outside = d->outside,
		.fails = d->fails,
		.until = at > s->mono_ms ? (s->real_us / 1000 + at -
		    s->mono_ms) / 1000 : 0,
		.esc = d->esc, .relay = d->relay, .reply = d->reply };
}

/* The busiest first, then by name. */
static int
by_load(const void *a, const void *b)
{
	const struct sched_dest_info *x = a, *y = b;
	uint64_t m = (uint64_t)x->running + x->waiting + x->outside;
	uint64_t n = (uint64_t)y->running + y->waiting + y->outside;

	return m != n ? (m < n ? 1 : -1) : strcmp(x->next_hop, y->next_hop);
}

struct sched_dest_info *
sched_dests(const struct sched *s, size_t *n)
{
	struct sched_dest_info *list = xreallocarray(NULL, s->ndests + 1u,
	    sizeof(*list));
	const struct dest *d;
	uint32_t i;

	*n = 0;
	for (i = 0; i < s->ndest_buckets; i++) {
		for (d = s->dests[i]; d != NULL; d = d->next) {
			list[(*n)++] = info_of(s, d);
		}
	}
	qsort(list, *n, sizeof(*list), by_load);
	return list;
}
