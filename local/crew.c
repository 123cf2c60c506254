/* Users and their workers. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "local/dispatch_int.h"

/* -- users --------------------------------------------------------------------- */

static size_t
bucket_of(struct slice name)
{
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < name.n; i++) {
		h = (h ^ (unsigned char)name.p[i]) * 16777619u;
	}
	return h % USER_BUCKETS;
}

struct user *
crew_user(struct dispatch *d, struct slice name)
{
	size_t b = bucket_of(name);
	struct user *u;

	LIST_FOREACH(u, &d->users[b], bucket) {
		if (slice_eq(slice_of(u->name), name)) {
			return u;
		}
	}
	u = xcalloc(1, sizeof(*u));
	memcpy(u->name, name.p, name.n); /* checked: record_name_ok() */
	TAILQ_INIT(&u->queue);
	LIST_INSERT_HEAD(&d->users[b], u, bucket);
	return u;
}

static void
stop_waiting(struct dispatch *d, struct user *u)
{
	if (u->waits) {
		TAILQ_REMOVE(&d->waiting, u, waiting);
		u->waits = false;
	}
}

void
crew_user_release(struct dispatch *d, struct user *u)
{
	if (u->worker != NULL || !TAILQ_EMPTY(&u->queue)) {
		return;
	}
	stop_waiting(d, u);
	LIST_REMOVE(u, bucket);
	free(u);
}

void
crew_wait(struct dispatch *d, struct user *u)
{
	if (u->worker == NULL && !u->waits && !TAILQ_EMPTY(&u->queue)) {
		TAILQ_INSERT_TAIL(&d->waiting, u, waiting);
		u->waits = true;
	}
	dispatch_arm(d);
}

static void
ask_for(struct dispatch *d, struct crewman *w)
{
	crew_tell_forker(d, RECORD_WORKER, w->serial, w->user->name);
}

/* -- workers --------------------------------------------------------------------- */

static void
dismiss(struct dispatch *d, struct crewman *w)
{
	struct user *u = w->user;

	ipc_chan_free(w->chan);
	slots_drop(&d->crew_ids, w->serial);
	TAILQ_REMOVE(&d->crew, w, crew);
	d->ncrew--;
	u->worker = NULL;
	free(w);
	crew_wait(d, u);
	crew_user_release(d, u);
}

/* The fate of all that the worker has. It stays. */
static void
finish_jobs(struct dispatch *d, struct crewman *w, const struct outcome *o)
{
	struct job *j;

	while ((j = TAILQ_FIRST(&w->jobs)) != NULL) {
		jobs_finish(d, j, o);
	}
}

void
crew_fail(struct dispatch *d, struct crewman *w, const char *why)
{
	struct outcome o;

	outcome_set(&o, FATE_DEFERRED, "4.3.0", "%s", why);
	if (w->njobs > 0) {
		log_warn("worker of %s: %s: %u deliveries deferred",
		    w->user->name, why, w->njobs);
	}
	finish_jobs(d, w, &o);
	dismiss(d, w);
}

/*
 * The worker has gone with jobs in its hands: killed, out of memory, or ended
 * by one message. A fresh one gets them once more; the message that ends that
 * one too is deferred, with those beside it.
 */
static void
died(struct dispatch *d, struct crewman *w)
{
	struct outcome o;
	struct job *j;
	unsigned n = w->njobs;

	outcome_set(&o, FATE_DEFERRED, "4.3.0", "the delivery worker died");
	while ((j = TAILQ_LAST(&w->jobs, job_list)) != NULL) {
		if (j->orphaned) {
			jobs_finish(d, j, &o);
		} else {
			jobs_orphan(d, j);
		}
	}
	if (n > 0) {
		log_warn("worker of %s: died with %u deliveries in hand",
		    w->user->name, n);
	}
	dismiss(d, w);
}

static void
recruit(struct dispatch *d, struct user *u)
{
	struct crewman *w = xcalloc(1, sizeof(*w));
	const uint64_t now = agent_now_ms();

	stop_waiting(d, u);
	w->d = d;
	w->user = u;
	w->serial = slots_add(&d->crew_ids, w);
	w->late_at = now + d->settings->ipc_timeout * 1000;
	w->idle_since = now;
	TAILQ_INIT(&w->jobs);
	TAILQ_INSERT_TAIL(&d->crew, w, crew);
	d->ncrew++;
	u->worker = w;
	ask_for(d, w);
}

bool
crew_is_sated(const struct dispatch *d, const struct crewman *w)
{
	return w->retired || (w->served >= DISPATCH_SHARE &&
	    !TAILQ_EMPTY(&d->waiting) &&
	    d->ncrew >= d->settings->local_process_limit);
}

static bool
is_idle(const struct crewman *w)
{
	return w->njobs == 0 && w->chan != NULL;
}

/* Those that have nothing left to do. */
static void
dismiss_retired(struct dispatch *d)
{
	struct crewman *w, *next;

	for (w = TAILQ_FIRST(&d->crew); w != NULL; w = next) {
		next = TAILQ_NEXT(w, crew);
		if (w->retired && is_idle(w)) {
			dismiss(d, w);
		}
	}
}

void
crew_retire(struct dispatch *d)
{
	struct crewman *w;

	TAILQ_FOREACH(w, &d->crew, crew) {
		w->retired = true;
	}
	dispatch_arm(d);
}

/* The worker that has been idle longest goes; false when none is idle. */
static bool
make_room(struct dispatch *d)
{
	struct crewman *w;

	TAILQ_FOREACH(w, &d->crew, crew) {
		if (is_idle(w) && (TAILQ_EMPTY(&w->user->queue) ||
		    crew_is_sated(d, w))) {
			dismiss(d, w);
			return true;
		}
	}
	return false;
}

void
crew_start(struct dispatch *d)
{
	struct user *u;

	dismiss_retired(d);
	while ((u = TAILQ_FIRST(&d->waiting)) != NULL) {
		if (d->ncrew >= d->settings->local_process_limit &&
		    !make_room(d)) {
			return;
		}
		recruit(d, u);
	}
}

/* `fd' is its own copy of the parcel's, or -1 (taken). */
static void
build_job(struct ipc_chan *ch, const struct job *j, int fd)
{
	const struct parcel *p = j->parcel;

	ipc_begin(ch, fd != -1 ? IPC_JOB_FILE : IPC_JOB, j->tid);
	ipc_put_u(ch, j->item.qid);
	ipc_put_u(ch, j->item.index);
	ipc_put_u(ch, j->again);
	ipc_put_u(ch, p->arrived_us);
	ipc_put_str(ch, p->reverse_path);
	ipc_put_str(ch, j->address);
	ipc_put_str(ch, j->original);
	ipc_put_str(ch, j->extension);
	ipc_put_u(ch, p->flags);
	ipc_put_u(ch, p->content.size);
	if (fd != -1) {
		ipc_put_u(ch, p->content.offset);
		ipc_put_fd(ch, fd);
	} else {
		ipc_put_s(ch, strbuf_slice(&p->content.text));
	}
	ipc_end(ch);
}

static void
send_one(struct dispatch *d, struct crewman *w, struct job *j)
{
	int fd = -1;

	if (j->parcel->content.fd != -1) {
		fd = fcntl(j->parcel->content.fd, F_DUPFD_CLOEXEC, 0);
		if (fd == -1) {
			struct outcome o;

			outcome_errno(&o, "the content", errno);
			jobs_finish(d, j, &o);
			return;
		}
	}
	if (w->nsent == 0) {
		w->late_at = agent_now_ms() +
		    d->settings->local_delivery_timeout * 1000;
	}
	j->tid = slots_add(&d->sent, j);
	build_job(w->chan, j, fd);
	jobs_sent(d, j);
}

void
crew_send(struct dispatch *d, struct crewman *w)
{
	struct job *j, *next;

	for (j = d->stopping ? NULL : TAILQ_FIRST(&w->jobs); j != NULL;
	    j = next) {
		next = TAILQ_NEXT(j, in_user);
		if (j->state == JOB_CLAIMED && j->parcel->content.here) {
			send_one(d, w, j);
		}
	}
}

static bool
on_result(struct dispatch *d, struct crewman *w, const struct ipc_msg *m)
{
	struct job *j = slots_get(&d->sent, m->tid);
	struct outcome o;

	if (j == NULL || j->worker != w || j->item.qid != ipc_u(m, 0) ||
	    j->item.index != ipc_u(m, 1) || !outcome_from_peer(&o, ipc_u(m, 2),
	    ipc_s(m, 3), ipc_s(m, 4))) {
		return false;
	}
	w->late_at = agent_now_ms() +
	    d->settings->local_delivery_timeout * 1000;
	jobs_finish(d, j, &o);
	return true;
}

/* Frees the worker when it returns true. */
static bool
on_refused(struct dispatch *d, struct crewman *w, const struct ipc_msg *m)
{
	struct user *u = w->user;
	struct outcome o;
	struct job *j;

	if (!outcome_from_peer(&o, ipc_u(m, 0), ipc_s(m, 1), ipc_s(m, 2)) ||
	    o.fate == FATE_DELIVERED) {
		return false;
	}
	/* A fresh worker would say the same to those who still wait. */
	while ((j = TAILQ_FIRST(&u->queue)) != NULL) {
		jobs_finish(d, j, &o);
	}
	finish_jobs(d, w, &o);
	dismiss(d, w);
	return true;
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct crewman *w = owner;

	(void)ch;
	switch ((enum ipc_type)m->type) {
	case IPC_JOB_RESULT:
		return on_result(w->d, w, m);
	case IPC_WORKER_FAILED:
		return on_refused(w->d, w, m);
	default:
		return false;
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct crewman *w = owner;

	(void)ch;
	log_debug("worker of %s: %s", w->user->name, why);
	died(w->d, w);
}

static const struct ipc_chan_ops worker_ops = {
	.me = IPC_LOCAL,
	.peer = IPC_WORKER,
	.message = on_message,
	.closed = on_closed,
};

/* -- the forker's answers ----------------------------------------------------------- */

bool
crew_answered(struct dispatch *d, const struct record_answer *a, int fd)
{
	struct crewman *w = slots_get(&d->crew_ids, a->serial);

	if ((a->status == RECORD_OK) != (fd != -1)) {
		return false;
	}
	if (w == NULL || w->chan != NULL) { /* given up meanwhile */
		if (fd != -1) {
			(void)close(fd);
		}
		return w == NULL;
	}
	if (fd == -1) {
		crew_fail(d, w, "no process for the delivery can be had");
		return true;
	}
	w->chan = ipc_chan_new(d->base, fd, &worker_ops, w);
	dispatch_arm(d);
	return true;
}

void
crew_ask_again(struct dispatch *d)
{
	struct crewman *w;

	TAILQ_FOREACH(w, &d->crew, crew) {
		if (w->chan == NULL) {
			ask_for(d, w);
		}
	}
}

/* -- deadlines ------------------------------------------------------------------------ */

static void
check_one(struct dispatch *d, struct crewman *w, uint64_t now_ms)
{
	const uint64_t idle = d->settings->local_worker_idle * 1000;

	if (w->chan == NULL && w->late_at <= now_ms) {
		crew_tell_forker(d, RECORD_KILL, w->serial, "");
		crew_fail(d, w, "no delivery worker was started in time");
	} else if (w->nsent > 0 && w->late_at <= now_ms) {
		crew_tell_forker(d, RECORD_KILL, w->serial, "");
		crew_fail(d, w, "the delivery took too long");
	} else if (is_idle(w) && w->idle_since + idle <= now_ms) {
		dismiss(d, w);
	}
}

void
crew_sweep(struct dispatch *d, uint64_t now_ms)
{
	struct crewman *w, *next;

	for (w = TAILQ_FIRST(&d->crew); w != NULL; w = next) {
		next = TAILQ_NEXT(w, crew);
		check_one(d, w, now_ms);
	}
}

void
crew_free_all(struct dispatch *d)
{
	struct crewman *w;
	struct user *u;
	size_t i;

	while ((w = TAILQ_FIRST(&d->crew)) != NULL) {
		ipc_chan_free(w->chan);
		TAILQ_REMOVE(&d->crew, w, crew);
		free(w);
	}
	for (i = 0; i < USER_BUCKETS; i++) {
		while ((u = LIST_FIRST(&d->users[i])) != NULL) {
			LIST_REMOVE(u, bucket);
			free(u);
		}
	}
}
