#include "config.h"

#include <assert.h>
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

/* DELIVERs out to an agent. */
static const unsigned agent_max[SCHED_AGENTS] = {
	[SCHED_LOCAL] = SCHED_LOCAL_MAX,
	[SCHED_REMOTE] = SCHED_REMOTE_MAX,
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
	return d->agent == SCHED_LOCAL ? s->cfg.local_concurrency :
	    s->cfg.remote_concurrency;
}

/* A destination is in the ring while it may have one more delivery out. */
static void
update_ring(struct sched *s, struct dest *d)
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
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a; chains are short enough */
	size_t i;

	for (i = 0; i < transport.n; i++) {
		h = (h ^ (unsigned char)transport.p[i]) * 0x100000001b3;
	}
	h = (h ^ 0xff) * 0x100000001b3;
	for (i = 0; i < next_hop.n; i++) {
		h = (h ^ (unsigned char)next_hop.p[i]) * 0x100000001b3;
	}
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

static struct dest *
dest_get(struct sched *s, enum sched_agent a, struct slice transport,
    struct slice next_hop)
{
	uint32_t b = hash_dest(s, transport, next_hop);
	struct dest *d = s->dests[b];

	while (d != NULL && (!slice_eq(slice_of(d->next_hop), next_hop) ||
	    !slice_eq(slice_of(d->transport), transport))) {
		d = d->next;
	}
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
	heap_init(&d->jobs, job_before, offsetof(struct job, place));
	d->next = s->dests[b];
	s->dests[b] = d;
	return d;
}

static void
dest_free(struct sched *s, struct dest *d)
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
			update_ring(s, d);
		}
	}
}

/* -- jobs ------------------------------------------------------------------ */

/* Recipients of one DELIVER. */
static uint64_t
batch_of(const struct sched *s, const struct dest *d)
{
	return d->agent == SCHED_LOCAL ? SCHED_BATCH_RCPTS :
	    s->cfg.remote_rcpts;
}

static size_t
rcpt_size(const struct rcpt *rc, const struct dest *d)
{
	return 64 + rc->address.n + rc->original.n + rc->extension.n +
	    strlen(d->transport) + strlen(d->next_hop);
}

static struct job *
job_new(struct sched *s, struct work *w, struct dest *d, bool running)
{
	struct job *j = xcalloc(1, sizeof(*j));
	struct agent *g = &s->agents[d->agent];

	j->work = w;
	j->dest = d;
	j->place = HEAP_OUT;
	j->running = running;
	j->alone = w->entry->crashes >= SCHED_CRASH_ALONE;
	TAILQ_INIT(&j->rcpts);
	d->njobs++;
	if (running) {
		d->running++;
		g->inflight++;
		g->alone_running = g->alone_running || j->alone;
	} else if (j->alone) {
		TAILQ_INSERT_TAIL(&g->alone, j, alone_link);
	} else {
		heap_push(&d->jobs, j);
		d->newest = j;
	}
	update_ring(s, d);
	return j;
}

/* Out of where it waits. */
static void
job_unqueue(struct sched *s, struct job *j)
{
	struct dest *d = j->dest;

	if (j->alone) {
		TAILQ_REMOVE(&s->agents[d->agent].alone, j, alone_link);
	} else {
		heap_remove(&d->jobs, j);
		if (d->newest == j) {
			d->newest = NULL;
		}
	}
}

static void
job_free(struct sched *s, struct job *j)
{
	struct dest *d = j->dest;
	struct agent *g = &s->agents[d->agent];

	if (j->running) {
		d->running--;
		g->inflight--;
		g->alone_running = g->alone_running && !j->alone;
	} else {
		job_unqueue(s, j);
	}
	free(j);
	d->njobs--;
	update_ring(s, d);
	if (d->njobs == 0) {
		dest_free(s, d);
	}
}

/* It is in the agent's hands from now on. */
static void
job_start(struct sched *s, struct job *j)
{
	struct agent *g = &s->agents[j->dest->agent];
	struct rcpt *rc;

	job_unqueue(s, j);
	j->running = true;
	j->dest->running++;
	g->inflight++;
	g->alone_running = g->alone_running || j->alone;
	TAILQ_FOREACH(rc, &j->rcpts, in_job) {
		rc->state = RCPT_RUNNING;
		rc->epoch = s->epoch;
		rc->work->ready--;
		rc->work->running++;
		s->nrunning++;
	}
	update_ring(s, j->dest);
}

static void
join(struct sched *s, struct job *j, struct rcpt *rc)
{
	rc->job = j;
	rc->work->record--;
	TAILQ_INSERT_TAIL(&j->rcpts, rc, in_job);
	j->n++;
	j->size += rcpt_size(rc, j->dest);
	if (j->running) {
		rc->state = RCPT_RUNNING;
		rc->work->running++;
		s->nrunning++;
	} else {
		rc->state = RCPT_READY;
		rc->work->ready++;
	}
}

void
sched_dispatch(struct sched *s, struct rcpt *rc, enum sched_agent a,
    struct slice transport, struct slice next_hop, bool running)
{
	struct dest *d = dest_get(s, a, transport, next_hop);
	struct job *j = d->newest;

	assert(rc->job == NULL);
	rc->agent = a;
	if (running || j == NULL || j->work != rc->work ||
	    j->n >= batch_of(s, d) ||
	    j->size + rcpt_size(rc, d) > SCHED_BATCH_SIZE) {
		j = job_new(s, rc->work, d, running);
	}
	join(s, j, rc);
}

void
sched_leave_job(struct sched *s, struct rcpt *rc)
{
	struct job *j = rc->job;

	if (rc->state == RCPT_RUNNING) {
		rc->work->running--;
		s->nrunning--;
	} else {
		rc->work->ready--;
	}
	rc->state = RCPT_RECORD;
	rc->work->record++;
	rc->job = NULL;
	TAILQ_REMOVE(&j->rcpts, rc, in_job);
	j->size -= rcpt_size(rc, j->dest);
	if (--j->n == 0) {
		job_free(s, j);
	}
}

/* It waits, but the agent says that it has it. */
void
sched_run_anyway(struct sched *s, struct rcpt *rc)
{
	struct dest *d = rc->job->dest;
	char *transport = xstrdup(d->transport), *hop = xstrdup(d->next_hop);
	enum sched_agent a = d->agent;

	sched_leave_job(s, rc);
	sched_dispatch(s, rc, a, slice_of(transport), slice_of(hop), true);
	free(transport);
	free(hop);
}

/* -- agents ---------------------------------------------------------------- */

void
sched_fill_item(struct sched_item *it, const struct rcpt *rc)
{
	const struct dest *d = rc->job != NULL ? rc->job->dest : NULL;

	memset(it, 0, sizeof(*it));
	it->rcpt.index = rc->index;
	it->rcpt.attempt = rc->attempt;
	it->rcpt.address = rc->address;
	it->rcpt.original = rc->original;
	it->rcpt.extension = rc->extension;
	it->rcpt.transport = d != NULL ? slice_of(d->transport) : SL("");
	it->rcpt.next_hop = d != NULL ? slice_of(d->next_hop) : SL("");
	it->rcpt.esc = it->rcpt.reply = SL("");
}

/*
 * The next job: those that go alone and the others have their turns; a turn of
 * the former begins by waiting until nothing else is out.
 */
static struct job *
choose(struct sched *s, struct agent *g)
{
	struct dest *d;

	if (!TAILQ_EMPTY(&g->alone)) {
		if (s->mono_ms >= g->common_ms) {
			g->alone_ms = s->mono_ms + ALONE_MS;
			g->common_ms = g->alone_ms + ALONE_MS;
		}
		if (s->mono_ms < g->alone_ms) {
			return g->inflight == 0 ? TAILQ_FIRST(&g->alone) : NULL;
		}
	}
	d = TAILQ_FIRST(&g->ring);
	if (d == NULL) {
		return NULL;
	}
	TAILQ_REMOVE(&g->ring, d, ring);
	TAILQ_INSERT_TAIL(&g->ring, d, ring);
	return heap_top(&d->jobs);
}

static void
fill_deliver(struct sched *s, struct sched_action *a, struct job *j)
{
	const struct work *w = j->work;
	const struct rcpt *rc;

	a->kind = SCHED_DELIVER;
	a->agent = j->dest->agent;
	a->qid = w->entry->qid;
	a->msg = (struct sched_message){ w->entry->qid, w->arrived_us, w->size,
		w->flags, w->reverse_path };
	a->items = s->items;
	TAILQ_FOREACH(rc, &j->rcpts, in_job) {
		sched_fill_item(&s->items[a->nitems++], rc);
	}
}

static bool
may_deliver(const struct sched *s, const struct agent *g)
{
	return g->up && !g->paused && s->mono_ms >= g->ready_ms &&
	    g->inflight < agent_max[g - s->agents] && !g->alone_running;
}

bool
sched_build_deliver(struct sched *s, struct sched_action *a)
{
	struct job *j;
	int i;

	for (i = 0; i < SCHED_AGENTS; i++) {
		if (!may_deliver(s, &s->agents[i])) {
			continue;
		}
		j = choose(s, &s->agents[i]);
		if (j != NULL) {
			job_start(s, j);
			fill_deliver(s, a, j);
			return true;
		}
	}
	return false;
}

uint64_t
sched_agents_wake(const struct sched *s)
{
	const struct agent *g;
	uint64_t at = UINT64_MAX, mine;
	int i;

	for (i = 0; i < SCHED_AGENTS; i++) {
		g = &s->agents[i];
		if (!g->up || g->paused || g->alone_running ||
		    g->inflight >= agent_max[i] ||
		    (TAILQ_EMPTY(&g->alone) && TAILQ_EMPTY(&g->ring))) {
			continue; /* an event will wake us, not the time */
		}
		mine = s->mono_ms < g->ready_ms ? g->ready_ms :
		    TAILQ_EMPTY(&g->alone) ? UINT64_MAX :
		    s->mono_ms < g->alone_ms ? g->alone_ms : g->common_ms;
		at = mine < at ? mine : at;
	}
	return at;
}

void
sched_agent_up(struct sched *s, enum sched_agent a)
{
	s->agents[a].up = true;
}

void
sched_agent_pause(struct sched *s, enum sched_agent a, bool pause)
{
	s->agents[a].paused = pause;
}

/*
 * The agent died with these in its hands. They are read again in a second;
 * their attempt does not count.
 */
static void
take_back(struct sched *s, struct work *w, enum sched_agent a)
{
	struct rcpt *rc, *next;
	bool had = false;

	for (rc = TAILQ_FIRST(&w->rcpts); rc != NULL; rc = next) {
		next = TAILQ_NEXT(rc, link);
		if (rc->state == RCPT_RECORD) {
			rc->ack = rc->ack && rc->agent != a;
		} else if (rc->state == RCPT_RUNNING && rc->agent == a) {
			had = true;
			sched_rcpt_free(s, rc);
			sched_waits(w, s->real_us / 1000000 + 1);
		}
	}
	if (!had) {
		return;
	}
	w->crashed = true;
	w->entry->force = w->entry->force || w->force;
	if (w->entry->crashes < SCHED_CRASH_HOLD) {
		w->entry->crashes++;
	}
	if (w->entry->crashes >= SCHED_CRASH_ALONE) {
		sched_withdraw(s, w); /* its other jobs are to go alone, too */
	}
}

void
sched_agent_down(struct sched *s, enum sched_agent a)
{
	struct agent *g = &s->agents[a];
	struct work *w, *next;
	struct ack *k, *next_ack;

	g->up = g->paused = false;
	g->ready_ms = s->mono_ms + SCHED_PAUSE_MS;
	sched_claims_drop_running(s, a);
	for (k = TAILQ_FIRST(&s->acks); k != NULL; k = next_ack) {
		next_ack = TAILQ_NEXT(k, link);
		if (k->agent == a) {
			TAILQ_REMOVE(&s->acks, k, link);
			free(k);
		}
	}
	for (w = TAILQ_FIRST(&s->works); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		take_back(s, w, a);
		sched_work_check(s, w);
	}
}
