#include "config.h"

#include <string.h>
#include <time.h>

#include <event2/event.h>

#include "common/log.h"
#include "qmgr/qmgr.h"

#define TURN_ACTIONS 1000 /* done before others get their turn */

static uint64_t
clock_us(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t
qmgr_mono_ms(void)
{
	return clock_us(CLOCK_MONOTONIC) / 1000;
}

void
qmgr_time(struct qmgr *q)
{
	sched_time(q->s, qmgr_mono_ms(), clock_us(CLOCK_REALTIME));
}

void
qmgr_wake(struct qmgr *q)
{
	event_active(q->pump, 0, 0);
}

/* -- the pump ---------------------------------------------------------------- */

static void
act(struct qmgr *q, const struct sched_action *a)
{
	size_t i;

	switch (a->kind) {
	case SCHED_FATES:
		for (i = 0; i < a->nitems; i++) {
			if (!a->items[i].again) {
				qlog_fate(&a->msg, &a->items[i],
				    clock_us(CLOCK_REALTIME));
			}
		}
		qmgr_cleanup_do(q, a);
		break;
	case SCHED_LOAD:
	case SCHED_KEEP:
	case SCHED_MARK:
	case SCHED_NOTICE:
	case SCHED_TAKE:
	case SCHED_GET:
		qmgr_cleanup_do(q, a);
		break;
	case SCHED_DELIVER:
	case SCHED_ACK:
		qmgr_agent_do(q, a);
		break;
	}
}

/* The stop is over; may lead to qmgr_clear(): nothing is touched afterwards. */
static bool
is_stopped(struct qmgr *q)
{
	if (!q->stopping ||
	    (!sched_is_quiet(q->s) && qmgr_mono_ms() < q->stop_ms)) {
		return false;
	}
	q->stopping = false;
	q->ops->stopped(q->arg);
	return true;
}

static void
set_timer(struct qmgr *q, uint64_t at_ms)
{
	uint64_t now = qmgr_mono_ms(), wait;
	struct timeval tv;

	if (at_ms == UINT64_MAX) {
		(void)event_del(q->timer);
		return;
	}
	wait = at_ms > now ? at_ms - now : 0;
	tv.tv_sec = (time_t)(wait / 1000);
	tv.tv_usec = (suseconds_t)(wait % 1000 * 1000 + 500);
	(void)event_add(q->timer, &tv);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	struct sched_action a;
	uint64_t at;
	int n = 0;

	(void)fd;
	(void)what;
	qmgr_time(q);
	(void)qmgr_cleanup_deadlines(q);
	do {
		qmgr_agent_pressure(q);
		if (!sched_next(q->s, &a)) {
			break;
		}
		act(q, &a);
	} while (++n < TURN_ACTIONS);
	if (is_stopped(q)) {
		return;
	}
	if (n == TURN_ACTIONS) {
		qmgr_wake(q);
		return;
	}
	at = earlier(qmgr_cleanup_deadlines(q), qmgr_agent_deadlines(q));
	at = earlier(at, sched_wake_ms(q->s));
	set_timer(q, q->stopping ? earlier(at, q->stop_ms) : at);
}

/* -- life --------------------------------------------------------------------- */

void
qmgr_init(struct qmgr *q, struct event_base *base, const struct settings *set,
    const unsigned char key[SIPHASH_KEY], uint64_t seed)
{
	struct sched_config cfg = qmgr_sched_config(set);

	memset(q, 0, sizeof(*q));
	q->base = base;
	memcpy(q->key, key, sizeof(q->key));
	q->ipc_timeout_ms = set->ipc_timeout * 1000;
	q->s = sched_new(&cfg, seed);
	slots_init(&q->slots);
	TAILQ_INIT(&q->asks);
	strbuf_init(&q->scratch, 0);
	q->pump = event_new(base, -1, 0, on_pump, q);
	q->timer = event_new(base, -1, 0, on_pump, q);
	if (q->pump == NULL || q->timer == NULL) {
		log_panic("qmgr: no event");
	}
	qmgr_time(q);
}

void
qmgr_ops_set(struct qmgr *q, const struct qmgr_ops *ops, void *arg)
{
	q->ops = ops;
	q->arg = arg;
}

void
qmgr_clear(struct qmgr *q)
{
	qmgr_agent_clear(q);
	qmgr_cleanup_clear(q);
	event_free(q->pump);
	event_free(q->timer);
	slots_clear(&q->slots);
	strbuf_clear(&q->scratch);
	sched_free(q->s);
}

void
qmgr_configure(struct qmgr *q, const struct settings *set)
{
	struct sched_config cfg = qmgr_sched_config(set);

	q->ipc_timeout_ms = set->ipc_timeout * 1000;
	sched_configure(q->s, &cfg);
	qmgr_wake(q);
}

void
qmgr_stop(struct qmgr *q, uint64_t deadline_ms)
{
	sched_stop(q->s);
	qmgr_agent_recall(q);
	q->stopping = true;
	q->stop_ms = qmgr_mono_ms() + deadline_ms;
	qmgr_wake(q);
}
