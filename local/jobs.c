#include "config.h"

#include <stdlib.h>

#include "common/spool.h"
#include "common/xmalloc.h"
#include "local/dispatch_int.h"

#define JOB_COST 1024 /* octets of a delivery beside its content */

struct job *
jobs_add(struct dispatch *d, uint64_t qid, uint32_t index, uint32_t attempt)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->item.qid = qid;
	j->item.index = index;
	j->item.attempt = attempt;
	j->state = JOB_QUEUED;
	agent_add(&d->agent, &j->item);
	return j;
}

void
jobs_queue(struct dispatch *d, struct job *j, struct parcel *p, struct user *u)
{
	j->parcel = p;
	j->user = u;
	TAILQ_INSERT_TAIL(&p->jobs, j, in_parcel);
	TAILQ_INSERT_TAIL(&u->queue, j, in_user);
	crew_wait(d, u);
}

static bool
is_file(const struct parcel *p)
{
	return p->size > SPOOL_INLINE_MAX;
}

static uint64_t
cost_of(const struct parcel *p)
{
	return JOB_COST + (is_file(p) ? 0 : p->size);
}

bool
jobs_claim(struct dispatch *d, struct job *j, struct crewman *w)
{
	struct parcel *p = j->parcel;

	if (w->njobs >= DISPATCH_WINDOW ||
	    d->budget + cost_of(p) > DISPATCH_BUDGET ||
	    (is_file(p) && (w->nfiles >= DISPATCH_WINDOW_FILES ||
	    d->files >= DISPATCH_FILES))) {
		return false;
	}
	TAILQ_REMOVE(&j->user->queue, j, in_user);
	TAILQ_INSERT_TAIL(&w->jobs, j, in_user);
	j->worker = w;
	j->state = JOB_CLAIMED;
	w->njobs++;
	w->served++;
	w->nfiles += is_file(p);
	p->claimed++;
	d->budget += cost_of(p);
	d->files += is_file(p);
	return true;
}

static void
not_claimed(struct dispatch *d, struct job *j)
{
	(void)d;
	if (--j->parcel->claimed == 0) {
		parcel_release(j->parcel);
	}
}

void
jobs_sent(struct dispatch *d, struct job *j)
{
	j->state = JOB_SENT;
	j->worker->nsent++;
	d->nsent++;
	not_claimed(d, j);
}

static void
leave_worker(struct dispatch *d, struct job *j)
{
	struct crewman *w = j->worker;
	struct parcel *p = j->parcel;

	TAILQ_REMOVE(&w->jobs, j, in_user);
	w->njobs--;
	w->nfiles -= is_file(p);
	d->budget -= cost_of(p);
	d->files -= is_file(p);
	if (j->state == JOB_SENT) {
		slots_drop(&d->sent, j->tid);
		w->nsent--;
		d->nsent--;
	} else {
		not_claimed(d, j);
	}
	if (w->njobs == 0) {
		w->idle_since = agent_now_ms();
		TAILQ_REMOVE(&d->crew, w, crew);
		TAILQ_INSERT_TAIL(&d->crew, w, crew);
	}
	j->worker = NULL;
}

void
jobs_orphan(struct dispatch *d, struct job *j)
{
	leave_worker(d, j);
	j->state = JOB_QUEUED;
	j->again = true;
	j->orphaned = true;
	TAILQ_INSERT_HEAD(&j->user->queue, j, in_user);
}

static void
forget_texts(struct job *j)
{
	free(j->address);
	free(j->original);
	free(j->extension);
	j->address = j->original = j->extension = NULL;
}

void
jobs_finish(struct dispatch *d, struct job *j, const struct outcome *o)
{
	struct parcel *p = j->parcel;
	struct user *u = j->user;

	if (j->worker != NULL) {
		leave_worker(d, j);
	} else if (u != NULL) {
		TAILQ_REMOVE(&u->queue, j, in_user);
	}
	j->state = JOB_DONE;
	j->parcel = NULL;
	j->user = NULL;
	forget_texts(j);
	if (p != NULL) {
		TAILQ_REMOVE(&p->jobs, j, in_parcel);
		if (TAILQ_EMPTY(&p->jobs)) {
			parcel_free(d, p);
		}
	}
	if (u != NULL) {
		crew_user_release(d, u);
	}
	agent_done(&d->agent, &j->item, o);
	dispatch_arm(d);
}

void
jobs_drop(struct dispatch *d, struct job *j)
{
	agent_remove(&d->agent, &j->item);
	forget_texts(j);
	free(j);
}

void
jobs_free_all(struct dispatch *d)
{
	struct agent_item *it;
	struct parcel *p;
	struct job *j;

	while ((it = agent_any(&d->agent)) != NULL) {
		j = (struct job *)(void *)it;
		p = j->parcel;
		if (p != NULL) {
			TAILQ_REMOVE(&p->jobs, j, in_parcel);
			if (TAILQ_EMPTY(&p->jobs)) {
				parcel_free(d, p);
			}
		}
		jobs_drop(d, j);
	}
}
