#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

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
	j->running = running;
	j->alone = w->entry->crashes >= SCHED_CRASH_ALONE;
	j->round = d->round;
	TAILQ_INIT(&j->rcpts);
	d->njobs++;
	sched_lane_join(s, j);
	if (running) {
		d->running++;
		g->inflight++;
		g->alone_running = g->alone_running || j->alone;
	} else if (j->alone) {
		TAILQ_INSERT_TAIL(&g->alone, j, link);
	} else {
		sched_lane_push(s, j);
	}
	sched_ring_update(s, d);
	return j;
}

/* Out of where it waits. */
static void
job_unqueue(struct sched *s, struct job *j)
{
	struct dest *d = j->dest;

	if (j->alone) {
		TAILQ_REMOVE(&s->agents[d->agent].alone, j, link);
	} else {
		sched_lane_remove(j);
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
		sched_dest_rest(s, d);
	} else {
		job_unqueue(s, j);
	}
	sched_lane_leave(s, j);
	free(j);
	d->njobs--;
	sched_ring_update(s, d);
	sched_dest_release(s, d);
}

void
sched_job_start(struct sched *s, struct job *j)
{
	struct agent *g = &s->agents[j->dest->agent];
	struct rcpt *rc;

	if (!j->alone) {
		sched_lane_charge(j);
	}
	job_unqueue(s, j);
	j->running = true;
	j->probe = j->dest->dead;
	j->round = j->dest->round;
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
	sched_ring_update(s, j->dest);
}

static void
join(struct sched *s, struct job *j, struct rcpt *rc)
{
	rc->job = j;
	rc->work->record--;
	TAILQ_INSERT_TAIL(&j->rcpts, rc, in_job);
	j->n++;
	j->lane->parent->rcpts++;
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
sched_dispatch(struct sched *s, struct rcpt *rc, enum sched_transport t,
    struct slice next_hop, bool running)
{
	struct dest *d = sched_dest_get(s, t, next_hop);
	struct job *j = running ? NULL : sched_lane_newest(s, d, rc->work);

	assert(rc->job == NULL);
	rc->agent = d->agent;
	if (j == NULL ||
	    j->n >= sched_limits_of(s, d)->rcpts ||
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
	j->lane->parent->rcpts--;
	if (--j->n == 0) {
		job_free(s, j);
	}
}

/* It waits, but the agent says that it has it. */
void
sched_run_anyway(struct sched *s, struct rcpt *rc)
{
	enum sched_transport t = rc->job->dest->by;
	char *hop = xstrdup(rc->job->dest->next_hop);

	sched_leave_job(s, rc);
	sched_dispatch(s, rc, t, slice_of(hop), true);
	free(hop);
}
