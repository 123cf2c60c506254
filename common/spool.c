/*
 * The interface: requests go into queues here, and at the end of each turn of
 * the loop what is ready is worked on and handed to the threads.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/log.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

/* -- the end of a turn ----------------------------------------------------------- */

static void
run_done(struct spool *sp, struct spool_jobs *l)
{
	struct spool_job *job;

	while ((job = spool_jobs_shift(l)) != NULL) {
		job->done(sp, job);
	}
}

/* One round: who becomes ready again meanwhile waits for the next turn, so that
   no message keeps the loop from its other events. */
static void
work_ready(struct spool *sp)
{
	STAILQ_HEAD(, spool_msg) round = STAILQ_HEAD_INITIALIZER(round);
	struct spool_msg *m;

	STAILQ_CONCAT(&round, &sp->ready);
	while ((m = STAILQ_FIRST(&round)) != NULL) {
		STAILQ_REMOVE_HEAD(&round, ready_next);
		m->ready = false;
		spool_msg_work(sp, m);
	}
}

static void
turn(struct spool *sp, bool signalled)
{
	struct spool_jobs l = sp->later;

	sp->in_turn = true;
	spool_jobs_init(&sp->later);
	if (l.head != NULL) {
		run_done(sp, &l);
	}
	if (signalled) {
		l = spool_workers_done(sp);
		if (l.head != NULL) {
			run_done(sp, &l);
		}
	}
	spool_gate_open(sp);
	work_ready(sp);
	spool_msg_trim(sp);
	spool_settle_some(sp);
	spool_workers_flush(sp);
	sp->in_turn = false;
	if (!STAILQ_EMPTY(&sp->ready) || sp->later.head != NULL) {
		spool_wake(sp);
	}
}

void
spool_timer(struct spool *sp, unsigned ms)
{
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	struct timeval now, then, due;

	/* the earlier one counts */
	(void)evutil_gettimeofday(&now, NULL);
	evutil_timeradd(&now, &tv, &due);
	if (!event_pending(sp->timer, EV_TIMEOUT, &then) ||
	    evutil_timercmp(&due, &then, <)) {
		(void)event_add(sp->timer, &tv);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct spool *sp = arg;

	(void)fd;
	(void)what;
	sp->settle_more = true;
	turn(sp, false);
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	turn(arg, (what & EV_READ) != 0);
}

/* -- open and close ---------------------------------------------------------------- */

static void
close_dirs(struct spool *sp)
{
	size_t i;

	for (i = 0; i < NELEMS(sp->dirs); i++) {
		if (sp->dirs[i] != -1) {
			(void)close(sp->dirs[i]);
		}
	}
}

static void
spool_free(struct spool *sp)
{
	if (sp->event != NULL) {
		event_free(sp->event);
	}
	if (sp->timer != NULL) {
		event_free(sp->timer);
	}
	if (sp->journal != NULL) {
		journal_close(sp->journal);
	}
	spool_workers_close(sp);
	close_dirs(sp);
	spool_index_clear(&sp->index);
	strbuf_clear(&sp->scratch);
	free(sp);
}

int
spool_open(struct event_base *base, const struct spool_config *cfg,
    struct spool **out)
{
	struct spool *sp = xcalloc(1, sizeof(*sp));
	int saved, i, ret;

	sp->base = base;
	sp->memory_limit = cfg->memory_limit != 0 ? cfg->memory_limit :
	    SPOOL_MEMORY;
	sp->clock_us = cfg->clock_us;
	sp->on_fatal = cfg->on_fatal;
	sp->on_fatal_arg = cfg->on_fatal_arg;
	sp->patience_ms = cfg->journal_patience_ms != 0 ?
	    cfg->journal_patience_ms : SPOOL_PATIENCE_MS;
	TAILQ_INIT(&sp->anchored);
	strbuf_init(&sp->scratch, 0);
	STAILQ_INIT(&sp->doomed);
	STAILQ_INIT(&sp->gate);
	spool_index_init(&sp->replay);
	TAILQ_INIT(&sp->states);
	TAILQ_INIT(&sp->contents);
	TAILQ_INIT(&sp->groups);
	STAILQ_INIT(&sp->ready);
	spool_index_init(&sp->index);
	for (i = 0; i < SPOOL_DIRS + 1; i++) {
		sp->dirs[i] = -1;
	}
	ret = spool_workers_open(sp);
	if (ret == 0) {
		sp->event = event_new(base, sp->done_fd, EV_READ | EV_PERSIST,
		    on_event, sp);
		sp->timer = evtimer_new(base, on_timer, sp);
		ret = sp->event != NULL && sp->timer != NULL ?
		    event_add(sp->event, NULL) : -1;
	}
	if (ret == 0) {
		ret = spool_recover(sp, cfg);
	}
	if (ret == -1) {
		saved = errno;
		log_error("spool: cannot be opened: %s", strerror(saved));
		while (!STAILQ_EMPTY(&sp->ready)) {
			work_ready(sp);
		}
		spool_msg_free_all(sp);
		spool_free(sp);
		errno = saved;
		return -1;
	}
	*out = sp;
	return 0;
}

/* Until one of the threads has something to say. */
static void
wait_for_threads(struct spool *sp)
{
	struct pollfd p[2] = { { .fd = sp->done_fd, .events = POLLIN },
		{ .fd = -1, .events = POLLIN } };
	const size_t busy = sp->busy;

	if (sp->journal != NULL) {
		p[1].fd = journal_fd(sp->journal);
		journal_work(sp->journal);
	}
	if (sp->busy == busy && sp->later.head == NULL &&
	    STAILQ_EMPTY(&sp->ready)) {
		(void)poll(p, 2, -1);
	}
	if (sp->journal != NULL) {
		journal_work(sp->journal);
	}
	sp->settle_more = true;
}

void
spool_close(struct spool *sp)
{
	sp->closing = sp->settle_more = true;
	sp->settle_error = 0;
	for (turn(sp, true); sp->busy > 0 || sp->settling > 0 ||
	    !spool_at_rest(sp); turn(sp, true)) {
		if (sp->later.head == NULL && STAILQ_EMPTY(&sp->ready)) {
			wait_for_threads(sp);
		}
	}
	spool_journal_close(sp);
	spool_groups_free(sp);
	while (!STAILQ_EMPTY(&sp->ready)) {
		work_ready(sp);
	}
	spool_msg_free_all(sp);
	spool_free(sp);
}

size_t
spool_busy(const struct spool *sp)
{
	return sp->busy;
}

/* -- requests ----------------------------------------------------------------------- */

static struct spool_req *
request(struct spool *sp, uint64_t qid, enum spool_req_kind kind, void *arg)
{
	struct spool_msg *m = spool_msg_get(sp, qid);
	struct spool_req *r = xcalloc(1, sizeof(*r));

	r->kind = kind;
	r->arg = arg;
	strbuf_init(&r->records, 0);
	STAILQ_INSERT_TAIL(&m->reqs, r, next);
	sp->busy++;
	spool_msg_ready(sp, m);
	return r;
}

void
spool_info_get(struct spool *sp, uint64_t qid, spool_info_cb *cb, void *arg)
{
	request(sp, qid, REQ_INFO, arg)->info_cb = cb;
}

void
spool_content(struct spool *sp, uint64_t qid, size_t inline_max,
    spool_content_cb *cb, void *arg)
{
	struct spool_req *r = request(sp, qid, REQ_CONTENT, arg);

	r->content_cb = cb;
	r->inline_max = inline_max < SPOOL_INLINE_MAX ? inline_max :
	    SPOOL_INLINE_MAX;
}

/* What a record cannot hold is cut; what no caller may send is EINVAL. */
static void
add_items(struct spool_req *r, uint64_t qid, const struct fate_item *items,
    size_t n)
{
	struct fate_item item;
	size_t i;

	for (i = 0; i < n; i++) {
		item = items[i];
		r->invalid = r->invalid || item.fate == FATE_NONE ||
		    item.fate > FATE_RECORD_LAST ||
		    item.esc.n >= ESC_MAX;
		if (r->invalid) {
			return;
		}
		if (item.reply.n > REPLY_TEXT_MAX) {
			item.reply.n = REPLY_TEXT_MAX;
		}
		if (item.relay.n > RELAY_TEXT_MAX) {
			item.relay.n = RELAY_TEXT_MAX;
		}
		if (item.index > r->index_max) {
			r->index_max = item.index;
		}
		spool_record_fate(&r->records, qid, &item);
	}
}

void
spool_fates(struct spool *sp, uint64_t qid, const struct fate_item *items,
    size_t n, spool_fates_cb *cb, void *arg)
{
	struct spool_req *r = request(sp, qid, REQ_STATE, arg);

	r->fates_cb = cb;
	add_items(r, qid, items, n);
}

void
spool_hold(struct spool *sp, uint64_t qid, bool on, struct slice reason,
    spool_done_cb *cb, void *arg)
{
	struct spool_req *r = request(sp, qid, REQ_STATE, arg);

	r->done_cb = cb;
	spool_record_hold(&r->records, qid, on, reason);
}

void
spool_crashed(struct spool *sp, uint64_t qid, spool_done_cb *cb, void *arg)
{
	struct spool_req *r = request(sp, qid, REQ_STATE, arg);

	r->done_cb = cb;
	r->crash = true;
}

void
spool_delete(struct spool *sp, uint64_t qid, spool_done_cb *cb, void *arg)
{
	request(sp, qid, REQ_DELETE, arg)->done_cb = cb;
}

void
spool_group(struct spool *sp, uint64_t parent_qid,
    const struct fate_item *items, size_t nitems, struct spool_draft **drafts,
    struct envelope *children, size_t n, spool_fates_cb *cb, void *arg)
{
	struct spool_req *r = request(sp, parent_qid, REQ_GROUP, arg);

	r->fates_cb = cb;
	add_items(r, parent_qid, items, nitems);
	r->invalid = r->invalid || nitems == 0 || n == 0;
	r->birth = spool_birth_new(sp, drafts, children, n);
}

/* -- accept -------------------------------------------------------------------------- */

static void
accept_done(struct spool *sp, struct spool_birth *b)
{
	uint64_t qid = b->msgs[0]->qid;
	int error = b->error;

	if (error == 0) {
		spool_birth_settle(b, 0);
	}
	if (!sp->closing) {
		b->cb(b->arg, qid, error);
	}
	if (error == 0) {
		spool_announce(sp, qid);
	}
	spool_birth_free(b);
	sp->busy--;
}

void
spool_accept(struct spool_draft *d, struct envelope *e, spool_done_cb *cb,
    void *arg)
{
	struct spool *sp = spool_draft_spool(d);
	struct spool_birth *b = spool_birth_new(sp, &d, e, 1);

	b->done = accept_done;
	b->cb = cb;
	b->arg = arg;
	sp->busy++;
	spool_birth_start(b);
}

void
spool_on_accepted(struct spool *sp, void (*cb)(void *arg, uint64_t qid),
    void *arg)
{
	sp->accepted = cb;
	sp->accepted_arg = arg;
}

/* -- finding --------------------------------------------------------------------------- */

size_t
spool_list(const struct spool *sp, uint64_t after, uint64_t *out, size_t max)
{
	return spool_index_list(&sp->index, after, out, max);
}

size_t
spool_count(const struct spool *sp)
{
	return sp->index.entries;
}

size_t
spool_corrupt_count(const struct spool *sp)
{
	return sp->corrupt;
}

int
spool_space(const struct spool *sp, uint64_t *octets, uint64_t *inodes)
{
	struct journal_usage u;
	struct statvfs v;

	if (fstatvfs(sp->dirs[0], &v) == -1) {
		return -1;
	}
	*octets = geteuid() == 0 ? (uint64_t)v.f_bfree * v.f_frsize :
	    (uint64_t)v.f_bavail * v.f_frsize;
	*inodes = geteuid() == 0 ? v.f_ffree : v.f_favail;
	if (sp->journal != NULL) {
		journal_usage(sp->journal, &u);
		*octets += u.free;
	}
	if (v.f_files == 0) { /* btrfs and others make them as they go */
		*inodes = UINT64_MAX;
	}
	return 0;
}
