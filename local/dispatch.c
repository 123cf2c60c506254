#include "config.h"

#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "local/dispatch_int.h"

#define SWEEP_MS      250
#define RETIRE_MS     1000 /* until the forker surely has the new settings */

static const struct agent_ops agent_ops;
static void on_pump(evutil_socket_t fd, short what, void *arg);
static void on_sweep(evutil_socket_t fd, short what, void *arg);
static void on_stop_timer(evutil_socket_t fd, short what, void *arg);

static uint64_t
wall_clock_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

struct dispatch *
dispatch_new(struct event_base *base, const struct settings *settings)
{
	struct dispatch *d = xcalloc(1, sizeof(*d));
	const struct timeval tick = { 0, SWEEP_MS * 1000 };

	d->base = base;
	d->settings = settings;
	d->started_us = wall_clock_us();
	agent_init(&d->agent, base, settings, IPC_LOCAL);
	agent_set_ops(&d->agent, &agent_ops, d);
	agent_link_init(&d->forker, "forker");
	d->forker_fd = -1;
	slots_init(&d->sent);
	slots_init(&d->crew_ids);
	strbuf_init(&d->records, 0);
	TAILQ_INIT(&d->waiting);
	TAILQ_INIT(&d->crew);
	d->pump = event_new(base, -1, 0, on_pump, d);
	d->sweep = event_new(base, -1, EV_PERSIST, on_sweep, d);
	d->stop_timer = evtimer_new(base, on_stop_timer, d);
	if (d->pump == NULL || d->sweep == NULL || d->stop_timer == NULL ||
	    event_add(d->sweep, &tick) == -1) {
		log_fatal(EX_OSERR, "local: no event");
	}
	return d;
}

void
dispatch_free(struct dispatch *d)
{
	if (d == NULL) {
		return;
	}
	event_free(d->pump);
	event_free(d->sweep);
	event_free(d->stop_timer);
	jobs_free_all(d);
	crew_free_all(d);
	crew_forker_close(d);
	agent_clear(&d->agent);
	slots_clear(&d->sent);
	slots_clear(&d->crew_ids);
	strbuf_clear(&d->records);
	free(d);
}

void
dispatch_on_lost(struct dispatch *d, void (*lost)(void *, const char *),
    void *arg)
{
	d->lost = lost;
	d->lost_arg = arg;
}

/* -- handing out ------------------------------------------------------------------ */

void
dispatch_arm(struct dispatch *d)
{
	event_active(d->pump, 0, 0);
}

/* As much of the user's queue as the worker's window and the budget take. */
static void
fill(struct dispatch *d, struct crewman *w)
{
	struct job *j;

	while ((j = TAILQ_FIRST(&w->user->queue)) != NULL &&
	    !crew_is_sated(d, w) && jobs_claim(d, j, w)) {
		agent_content_want(&d->agent, &j->parcel->content);
	}
	if (w->chan != NULL) {
		crew_send(d, w);
	}
}

static void
check_stopped(struct dispatch *d)
{
	if (d->stopping && d->nsent == 0 && !d->done_called) {
		d->done_called = true;
		d->done(d->done_arg);
	}
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct dispatch *d = arg;
	struct crewman *w, *next;

	(void)fd;
	(void)what;
	if (d->stopping) {
		check_stopped(d);
		return;
	}
	crew_start(d);
	for (w = TAILQ_FIRST(&d->crew); w != NULL; w = next) {
		next = TAILQ_NEXT(w, crew);
		fill(d, w);
	}
	/* Who is served first changes, so that a budget that is used up is
	   shared by all. */
	w = TAILQ_FIRST(&d->crew);
	if (w != NULL && w->njobs > 0) {
		TAILQ_REMOVE(&d->crew, w, crew);
		TAILQ_INSERT_TAIL(&d->crew, w, crew);
	}
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct dispatch *d = arg;
	const uint64_t now = agent_now_ms();

	(void)fd;
	(void)what;
	if (d->retire_at != 0 && d->retire_at <= now) {
		d->retire_at = 0;
		crew_retire(d);
	}
	crew_sweep(d, now);
	agent_sweep(&d->agent, now);
	agent_link_check(&d->agent, &d->forker, now);
}

static void
on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct dispatch *d = arg;

	(void)fd;
	(void)what;
	if (!d->done_called) {
		log_warn("%zu deliveries are cut off by the stop", d->nsent);
		d->done_called = true;
		d->done(d->done_arg);
	}
}

void
dispatch_reloaded(struct dispatch *d)
{
	d->retire_at = agent_now_ms() + RETIRE_MS;
}

void
dispatch_stop(struct dispatch *d, uint64_t deadline_ms, void (*done)(void *),
    void *arg)
{
	const struct timeval tv = { (time_t)(deadline_ms / 1000),
		(suseconds_t)(deadline_ms % 1000 * 1000) };

	d->stopping = d->agent.stopping = true;
	d->done = done;
	d->done_arg = arg;
	(void)event_add(d->stop_timer, &tv);
	dispatch_arm(d);
}

/* -- qmgr ------------------------------------------------------------------------- */

/* Why a new delivery cannot even be tried: its fate. */
static bool
is_refused(const struct dispatch *d, const struct rcpt_item *r,
    struct outcome *o)
{
	if (d->agent.nitems > DISPATCH_JOBS) {
		outcome_set(o, FATE_DEFERRED, "4.3.2",
		    "too many deliveries are in hand");
	} else if (!slice_eq(r->transport, SL("local"))) {
		outcome_set(o, FATE_DEFERRED, "4.3.5",
		    "local does not deliver by %.*s", SLF(r->transport));
	} else if (!record_name_ok(r->next_hop)) {
		outcome_set(o, FATE_FAILED, "5.1.1", "not the name of a user "
		    "that mail is delivered to");
	} else {
		return false;
	}
	return true;
}

static void
on_deliver(void *arg, const struct agent_mail *m, const struct rcpt_item *r)
{
	struct dispatch *d = arg;
	struct job *j = jobs_add(d, m->qid, r->index, r->attempt);
	struct outcome o;

	if (is_refused(d, r, &o)) {
		jobs_finish(d, j, &o);
		return;
	}
	if (d->fresh == NULL) {
		d->fresh = parcel_new(m);
	}
	/* Before our start another dispatcher's worker may have had it. */
	j->again = r->attempt > 0 || m->arrived_us <= d->started_us;
	j->address = xslicedup(r->address);
	j->original = xslicedup(r->original);
	j->extension = xslicedup(r->extension);
	jobs_queue(d, j, d->fresh, crew_user(d, r->next_hop));
}

static void
on_delivered(void *arg, const struct agent_mail *m)
{
	struct dispatch *d = arg;

	(void)m;
	d->fresh = NULL;
}

static void
on_acked(void *arg, struct agent_item *it)
{
	jobs_drop(arg, (struct job *)(void *)it);
}

static void
on_up(void *arg)
{
	dispatch_arm(arg);
}

static void
on_lost(void *arg, const char *peer)
{
	struct dispatch *d = arg;

	if (d->lost != NULL) {
		d->lost(d->lost_arg, peer);
	}
}

static const struct agent_ops agent_ops = {
	.deliver = on_deliver,
	.delivered = on_delivered,
	.acked = on_acked,
	.here = parcel_here,
	.failed = parcel_failed,
	.up = on_up,
	.lost = on_lost,
};

void
dispatch_qmgr(struct dispatch *d, int fd)
{
	agent_qmgr(&d->agent, fd);
}

void
dispatch_cleanup(struct dispatch *d, int fd)
{
	agent_cleanup(&d->agent, fd);
}
