#include "config.h"

#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "remote/remote_int.h"

#define SWEEP_MS 250
#define OTHERS   64 /* descriptors: channels, DNS, epoll, one on its way */

static void on_pump(evutil_socket_t fd, short what, void *arg);
static void on_sweep(evutil_socket_t fd, short what, void *arg);
static void on_stop_timer(evutil_socket_t fd, short what, void *arg);
static void on_reap(evutil_socket_t fd, short what, void *arg);

static void
on_up(void *arg)
{
	remote_arm(arg);
}

static void
on_lost(void *arg, const char *peer)
{
	struct remote *r = arg;

	if (r->lost != NULL) {
		r->lost(r->lost_arg, peer);
	}
}

static const struct agent_ops agent_ops = {
	.deliver = delivery_take,
	.delivered = delivery_taken,
	.acked = delivery_acked,
	.recall = delivery_recall,
	.here = feed_here,
	.failed = feed_failed,
	.up = on_up,
	.lost = on_lost,
};

/*
 * Descriptors are shared out before they run out: a channel on which one cannot
 * be received is closed, and could not be replaced.
 */
static void
share_descriptors(struct remote *r)
{
	struct rlimit rl;
	size_t n;

	r->files_max = REMOTE_FILES;
	r->room = SIZE_MAX;
	if (getrlimit(RLIMIT_NOFILE, &rl) == -1 || rl.rlim_cur > UINT32_MAX) {
		return;
	}
	n = rl.rlim_cur > 2 * OTHERS ? (size_t)rl.rlim_cur - OTHERS : OTHERS;
	if (r->files_max > n / 4) {
		r->files_max = (unsigned)(n / 4);
	}
	r->room = n - r->files_max;
	if (r->room < r->settings->remote_connection_limit) {
		log_warn("only %zu connections at a time, as there are no "
		    "more than %zu descriptors", r->room, (size_t)rl.rlim_cur);
	}
}

size_t
remote_connections_max(const struct remote *r)
{
	const uint64_t wanted = r->settings->remote_connection_limit;

	return wanted < r->room ? (size_t)wanted : r->room;
}

struct remote *
remote_new(struct event_base *base, const struct settings *settings)
{
	struct remote *r = xcalloc(1, sizeof(*r));
	const struct timeval tick = { 0, SWEEP_MS * 1000 };

	r->base = base;
	r->settings = settings;
	agent_init(&r->agent, base, settings, IPC_REMOTE);
	agent_set_ops(&r->agent, &agent_ops, r);
	agent_link_init(&r->dns, "dns");
	r->policy = mx_policy_new(settings);
	if (getrandom(&r->seed, sizeof(r->seed), 0) != sizeof(r->seed) ||
	    getrandom(r->secret, sizeof(r->secret), 0) != sizeof(r->secret)) {
		log_fatal(EX_OSERR, "remote: no random numbers");
	}
	slots_init(&r->lookups);
	slots_init(&r->dials);
	TAILQ_INIT(&r->deliveries);
	TAILQ_INIT(&r->waiting);
	TAILQ_INIT(&r->asked_master);
	TAILQ_INIT(&r->in_line);
	TAILQ_INIT(&r->fresh);
	TAILQ_INIT(&r->asking);
	TAILQ_INIT(&r->conns);
	TAILQ_INIT(&r->dead_conns);
	share_descriptors(r);
	r->pump = event_new(base, -1, 0, on_pump, r);
	r->sweep = event_new(base, -1, EV_PERSIST, on_sweep, r);
	r->stop_timer = evtimer_new(base, on_stop_timer, r);
	r->reap = event_new(base, -1, 0, on_reap, r);
	if (r->pump == NULL || r->sweep == NULL || r->stop_timer == NULL ||
	    r->reap == NULL || event_add(r->sweep, &tick) == -1) {
		log_fatal(EX_OSERR, "remote: no event");
	}
	return r;
}

void
remote_free(struct remote *r)
{
	struct delivery *d;
	struct agent_item *it;
	struct conn *c;

	if (r == NULL) {
		return;
	}
	dest_forget(r);
	while ((d = TAILQ_FIRST(&r->deliveries)) != NULL) {
		dial_cancel(d);
		delivery_free(d);
	}
	while ((c = TAILQ_FIRST(&r->conns)) != NULL) {
		conn_close(c);
	}
	while ((it = agent_any(&r->agent)) != NULL) {
		delivery_acked(r, it);
	}
	dest_sweep(r, UINT64_MAX);
	lookup_clear(r);
	dial_clear(r);
	event_free(r->pump);
	event_free(r->sweep);
	event_free(r->stop_timer);
	event_free(r->reap);
	conn_reap(r);
	ipc_chan_free(r->dns.chan);
	agent_clear(&r->agent);
	slots_clear(&r->lookups);
	slots_clear(&r->dials);
	mx_policy_free(r->policy);
	free(r);
}

/* SplitMix64 (Steele, Lea and Flood, 2014): MX hosts in a fair order, no
   secrets. */
uint64_t
remote_random(struct remote *r)
{
	uint64_t z = (r->seed += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* -- channels ------------------------------------------------------------------ */

void
remote_qmgr(struct remote *r, int fd)
{
	r->recalled = false;
	agent_qmgr(&r->agent, fd);
}

void
remote_cleanup(struct remote *r, int fd)
{
	agent_cleanup(&r->agent, fd);
}

void
remote_on_connect(struct remote *r, void (*ask)(void *, uint32_t,
    const char *), void *arg)
{
	r->ask = ask;
	r->ask_arg = arg;
}

void
remote_on_lost(struct remote *r, void (*lost)(void *, const char *), void *arg)
{
	r->lost = lost;
	r->lost_arg = arg;
}

/* -- turns and ticks ------------------------------------------------------------- */

void
remote_arm(struct remote *r)
{
	event_active(r->pump, 0, 0);
}

/* Is a mail transaction open anywhere? */
static bool
is_busy(const struct remote *r)
{
	const struct conn *c;

	TAILQ_FOREACH(c, &r->conns, all) {
		if (c->client.mail != NULL) {
			return true;
		}
	}
	return false;
}

static void
check_stopped(struct remote *r)
{
	if (r->stopping && !r->done_called && !is_busy(r)) {
		r->done_called = true;
		r->done(r->done_arg);
	}
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct remote *r = arg;
	struct delivery *d;

	(void)fd;
	(void)what;
	feed_pump(r);
	if (r->stopping) {
		check_stopped(r);
		return;
	}
	while ((d = TAILQ_FIRST(&r->waiting)) != NULL &&
	    (r->nidle > 0 ||
	    r->nconns < remote_connections_max(r))) {
		TAILQ_REMOVE(&r->waiting, d, list);
		delivery_again(d);
	}
}

static void
on_reap(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_reap(arg);
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct remote *r = arg;
	const uint64_t now = agent_now_ms();

	(void)fd;
	(void)what;
	agent_sweep(&r->agent, now);
	lookup_sweep(r, now);
	dial_sweep(r, now);
	dest_sweep(r, now);
	if (r->had_dns) {
		agent_link_check(&r->agent, &r->dns, now);
	}
}

/* -- reload and stop --------------------------------------------------------------- */

void
remote_reloaded(struct remote *r)
{
	mx_policy_free(r->policy);
	r->policy = mx_policy_new(r->settings);
	dest_forget(r);
	remote_arm(r);
}

static void
on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct remote *r = arg;

	(void)fd;
	(void)what;
	if (!r->done_called) {
		log_warn("mail transactions are cut off by the stop");
		r->done_called = true;
		r->done(r->done_arg);
	}
}

void
remote_stop(struct remote *r, uint64_t deadline_ms, void (*done)(void *),
    void *arg)
{
	const struct timeval tv = { (time_t)(deadline_ms / 1000),
		(suseconds_t)(deadline_ms % 1000 * 1000) };

	r->stopping = r->agent.stopping = true;
	r->done = done;
	r->done_arg = arg;
	(void)event_add(r->stop_timer, &tv);
	conn_quit_idle(r);
	remote_arm(r);
}
