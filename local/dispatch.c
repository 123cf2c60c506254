#include "config.h"

#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "common/codec.h"
#include "common/envelope.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "local/dispatch_int.h"

#define SWEEP_MS      250
#define RETIRE_MS     1000 /* until the forker surely has the new settings */
#define HELLO_OCTETS  (4096 * 16) /* of running deliveries in one message */

static void on_pump(evutil_socket_t fd, short what, void *arg);
static void on_sweep(evutil_socket_t fd, short what, void *arg);
static void on_stop_timer(evutil_socket_t fd, short what, void *arg);

uint64_t
dispatch_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

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
	d->qmgr.peer = "qmgr";
	d->cleanup.peer = "cleanup";
	d->forker.peer = "forker";
	d->qmgr.lost_at = d->cleanup.lost_at = d->forker.lost_at =
	    dispatch_now_ms();
	d->forker_fd = -1;
	slots_init(&d->sent);
	slots_init(&d->crew_ids);
	slots_init(&d->fetch_ids);
	strbuf_init(&d->records, 0);
	TAILQ_INIT(&d->waiting);
	TAILQ_INIT(&d->crew);
	TAILQ_INIT(&d->fetching);
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
	ipc_chan_free(d->qmgr.chan);
	ipc_chan_free(d->cleanup.chan);
	jobs_free_all(d);
	crew_free_all(d);
	crew_forker_close(d);
	slots_clear(&d->sent);
	slots_clear(&d->crew_ids);
	slots_clear(&d->fetch_ids);
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

void
dispatch_link_up(struct dispatch *d, struct link *l)
{
	l->up = true;
	dispatch_arm(d);
}

void
dispatch_link_down(struct dispatch *d, struct link *l, const char *why)
{
	(void)d;
	log_debug("%s: %s", l->peer, why);
	l->chan = NULL;
	l->up = false;
	l->lost_at = dispatch_now_ms();
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
		if (!j->parcel->here) {
			fetch_want(d, j->parcel);
		}
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
check_link(struct dispatch *d, const struct link *l, uint64_t now_ms)
{
	if (!l->up && d->lost != NULL && !d->stopping &&
	    now_ms - l->lost_at > d->settings->ipc_timeout * 1000) {
		d->lost(d->lost_arg, l->peer);
	}
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct dispatch *d = arg;
	const uint64_t now = dispatch_now_ms();

	(void)fd;
	(void)what;
	if (d->retire_at != 0 && d->retire_at <= now) {
		d->retire_at = 0;
		crew_retire(d);
	}
	fetch_sweep(d, now);
	crew_sweep(d, now);
	check_link(d, &d->qmgr, now);
	check_link(d, &d->cleanup, now);
	check_link(d, &d->forker, now);
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
	d->retire_at = dispatch_now_ms() + RETIRE_MS;
}

void
dispatch_stop(struct dispatch *d, uint64_t deadline_ms, void (*done)(void *),
    void *arg)
{
	const struct timeval tv = { (time_t)(deadline_ms / 1000),
		(suseconds_t)(deadline_ms % 1000 * 1000) };

	d->stopping = true;
	d->done = done;
	d->done_arg = arg;
	(void)event_add(d->stop_timer, &tv);
	dispatch_arm(d);
}

/* -- qmgr ------------------------------------------------------------------------- */

void
dispatch_result(struct dispatch *d, const struct job *j)
{
	struct ipc_chan *ch = d->qmgr.chan;

	if (!d->qmgr.up) {
		return; /* the next channel begins with it */
	}
	ipc_begin(ch, IPC_RESULT, 0);
	ipc_put_u(ch, j->qid);
	ipc_put_u(ch, j->index);
	ipc_put_u(ch, j->attempt);
	ipc_put_u(ch, (uint64_t)j->outcome.fate);
	ipc_put_str(ch, j->outcome.esc);
	ipc_put_str(ch, j->outcome.text);
	ipc_put_str(ch, "local");
	ipc_put_u(ch, 0); /* no user answers for another */
	ipc_end(ch);
}

static void
say_running(struct ipc_chan *ch, struct strbuf *b)
{
	if (b->n > 0) {
		ipc_begin(ch, IPC_AGENT_HELLO, 0);
		ipc_put_s(ch, strbuf_slice(b));
		ipc_end(ch);
		strbuf_reset(b);
	}
}

/* All that we know, then the results that nobody has acknowledged. */
static void
say_hello(struct dispatch *d)
{
	struct strbuf b;
	struct job *j;
	size_t i;

	strbuf_init(&b, 0);
	for (i = 0; i < JOB_BUCKETS; i++) {
		LIST_FOREACH(j, &d->jobs[i], bucket) {
			enc_u64(&b, j->qid);
			enc_u32(&b, j->index);
			enc_u32(&b, j->attempt);
			if (b.n >= HELLO_OCTETS) {
				say_running(d->qmgr.chan, &b);
			}
		}
	}
	say_running(d->qmgr.chan, &b);
	strbuf_clear(&b);
	ipc_begin(d->qmgr.chan, IPC_AGENT_HELLO_END, 0);
	ipc_end(d->qmgr.chan);
	for (i = 0; i < JOB_BUCKETS; i++) {
		LIST_FOREACH(j, &d->jobs[i], bucket) {
			if (j->state == JOB_DONE) {
				dispatch_result(d, j);
			}
		}
	}
}

/* A text that goes into a message's header and on: no control octets. */
static bool
is_text(struct slice s, size_t max)
{
	size_t i;

	for (i = 0; i < s.n && !ascii_iscntrl(s.p[i]); i++) {
	}
	return s.n <= max && i == s.n;
}

static bool
is_item_ok(const struct rcpt_item *r)
{
	return is_text(r->address, ENVELOPE_PATH_MAX) &&
	    is_text(r->original, ENVELOPE_PATH_MAX) &&
	    is_text(r->extension, ENVELOPE_PATH_MAX);
}

/* Why a new delivery cannot even be tried: its fate. */
static bool
is_refused(const struct dispatch *d, const struct rcpt_item *r,
    struct outcome *o)
{
	if (d->njobs > DISPATCH_JOBS) {
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
take_rcpt(struct dispatch *d, struct parcel *p, const struct rcpt_item *r)
{
	struct job *j = jobs_find(d, p->qid, r->index, r->attempt);
	struct outcome o;

	if (j != NULL) {
		if (j->state == JOB_DONE) {
			dispatch_result(d, j);
		}
		return;
	}
	j = jobs_add(d, p->qid, r->index, r->attempt);
	if (is_refused(d, r, &o)) {
		jobs_finish(d, j, &o);
		return;
	}
	/* Before our start another dispatcher's worker may have had it. */
	j->again = r->attempt > 0 || p->arrived_us <= d->started_us;
	j->address = xslicedup(r->address);
	j->original = xslicedup(r->original);
	j->extension = xslicedup(r->extension);
	jobs_queue(d, j, p, crew_user(d, r->next_hop));
}

static bool
on_deliver(struct dispatch *d, const struct ipc_msg *m)
{
	struct slice rest = ipc_s(m, 6), reverse = ipc_s(m, 5);
	struct rcpt_item r;
	struct parcel *p;
	bool bad = false;

	if (!is_text(reverse, ENVELOPE_PATH_MAX)) {
		return false;
	}
	p = fetch_parcel_new(ipc_u(m, 0), ipc_u(m, 1));
	p->arrived_us = ipc_u(m, 2);
	p->size = ipc_u(m, 3);
	p->flags = (uint32_t)(ipc_u(m, 4) & UINT32_MAX);
	p->reverse_path = xslicedup(reverse);
	while (!d->stopping && rcpt_item_decode(&rest, &r, &bad)) {
		if (!is_item_ok(&r)) {
			bad = true;
			break;
		}
		take_rcpt(d, p, &r);
	}
	if (TAILQ_EMPTY(&p->jobs)) {
		fetch_parcel_free(d, p);
	}
	return !bad;
}

static void
on_ack(struct dispatch *d, const struct ipc_msg *m)
{
	struct job *j;

	if (ipc_u(m, 1) > UINT32_MAX || ipc_u(m, 2) > UINT32_MAX) {
		return;
	}
	j = jobs_find(d, ipc_u(m, 0), (uint32_t)ipc_u(m, 1),
	    (uint32_t)ipc_u(m, 2));
	if (j != NULL && j->state == JOB_DONE) {
		jobs_drop(d, j);
	}
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct dispatch *d = owner;

	(void)ch;
	switch ((enum ipc_type)m->type) {
	case IPC_DELIVER:
		return on_deliver(d, m);
	case IPC_RESULT_ACK:
		on_ack(d, m);
		return true;
	default:
		return false;
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct dispatch *d = owner;

	ipc_chan_free(ch);
	dispatch_link_down(d, &d->qmgr, why);
}

static const struct ipc_chan_ops qmgr_ops = {
	.me = IPC_LOCAL,
	.peer = IPC_QMGR,
	.message = on_message,
	.closed = on_closed,
};

void
dispatch_qmgr(struct dispatch *d, int fd)
{
	ipc_chan_free(d->qmgr.chan);
	d->qmgr.chan = ipc_chan_new(d->base, fd, &qmgr_ops, d);
	dispatch_link_up(d, &d->qmgr);
	say_hello(d);
}
