#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "tests/unit/sched_world.h"
#include "tests/unit/unit.h"

#define START_US 1700000000000000
#define ITEMS    512

/* A request on its way to cleanup, then its answer on its way back. */
struct world_req {
	struct world_req *next;
	enum sched_kind kind;
	uint64_t qid, token;
	uint32_t from;
	bool route;
	unsigned max;
	enum ipc_mark what;
	enum ipc_notice notice;
	char reason[64];
	unsigned nfates;
	struct {
		uint32_t index, attempt;
		enum fate fate;
		uint64_t next_at;
		char esc[ESC_MAX], reply[64];
	} fates[32];
	/* the answer */
	bool error, gone, entry;
	unsigned result; /* of a MARK; an enum sched_noticed */
	struct sched_entry_in in;
	char *page;
};

struct world_job {
	struct world_job *next;
	uint64_t qid;
	uint32_t index, attempt;
	unsigned life, batch, user;
	bool done; /* RESULT sent, RESULT_ACK awaited */
	enum fate fate;
	bool site, judged;
};

static const struct sched_config plain = {
	.min_backoff = 300, .max_backoff = 4000, .lifetime = 432000,
	.active_limit = 40, .bounce_lifetime = 432000,
	.limits = { { 3, 3, 50, 0 }, { 2, 5, 3, 0 }, { 2, 5, 3, 0 } },
};

uint64_t
world_random(struct world *w, uint64_t below)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % below;
}

static void
begin_life(struct world *w)
{
	w->life++;
	w->s = sched_new(&w->cfg, w->life);
	sched_time(w->s, w->mono_ms, w->real_us);
	sched_cleanup_up(w->s);
	assert_int_equal(sched_loaded(w->s, false, slice_make(w->kept,
	    w->nkept)), 0);
}

void
world_init(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->random = seed;
	w->cfg = plain;
	w->mono_ms = 5000000;
	w->real_us = START_US;
	w->transport = "smtp";
	begin_life(w);
	world_agent_starts(w, SCHED_LOCAL);
	world_agent_starts(w, SCHED_REMOTE);
}

static void
free_reqs(struct world_req **list)
{
	struct world_req *r;

	while ((r = *list) != NULL) {
		*list = r->next;
		free(r->page);
		free(r);
	}
}

void
world_clear(struct world *w)
{
	struct world_job *j;

	sched_free(w->s);
	free_reqs(&w->reqs);
	free_reqs(&w->answers);
	while ((j = w->jobs) != NULL) {
		w->jobs = j->next;
		free(j);
	}
}

static struct world_msg *
find_msg(struct world *w, uint64_t qid)
{
	unsigned i;

	for (i = 0; i < w->nmsgs; i++) {
		if (w->msgs[i].qid == qid) {
			return &w->msgs[i];
		}
	}
	fail_msg("an unknown queue id");
	return NULL;
}

static void
append(struct world_req **list, struct world_req *r)
{
	r->next = NULL;
	while (*list != NULL) {
		list = &(*list)->next;
	}
	*list = r;
}

struct world_msg *
world_arrive(struct world *w, unsigned n, const unsigned *users)
{
	struct world_msg *m;
	unsigned i;

	if (w->nmsgs == WORLD_MSGS) {
		return NULL;
	}
	m = &w->msgs[w->nmsgs++];
	m->arrived_us = w->real_us;
	m->qid = w->real_us > w->last_qid ? w->real_us : w->last_qid + 1;
	w->last_qid = m->qid;
	m->nrcpts = n;
	for (i = 0; i < n; i++) {
		m->rcpts[i].user = users[i];
	}
	return m;
}

void
world_advance(struct world *w, uint64_t ms)
{
	w->mono_ms += ms;
	w->real_us += ms * 1000;
	sched_time(w->s, w->mono_ms, w->real_us);
}

/* -- the agents ------------------------------------------------------------- */

static enum sched_agent
agent_of(unsigned user)
{
	return user < WORLD_LOCAL ? SCHED_LOCAL : SCHED_REMOTE;
}

static struct world_job *
find_job(struct world *w, uint64_t qid, uint32_t index)
{
	struct world_job *j = w->jobs;

	while (j != NULL && (j->qid != qid || j->index != index)) {
		j = j->next;
	}
	return j;
}

/* Batches of this life that are not finished, to one destination. */
static unsigned
batches(const struct world *w, unsigned user)
{
	const struct world_job *j, *k;
	unsigned n = 0;

	for (j = w->jobs; j != NULL; j = j->next) {
		if (j->done || j->user != user || j->life != w->life) {
			continue;
		}
		for (k = w->jobs; k != j; k = k->next) {
			if (!k->done && k->batch == j->batch) {
				break;
			}
		}
		n += k == j;
	}
	return n;
}

bool
world_is_dead(const struct world *w, unsigned user)
{
	const struct world_site *si = &w->sites[user];

	/* In the end it is forgotten. */
	return si->fails >= SCHED_SITE_FAILURES &&
	    w->mono_ms < si->failed_ms + 2000 * w->cfg.max_backoff;
}

/* A DELIVER to a site: not to a dead one before its time, and one at a time. */
static void
check_site(const struct world *w, unsigned user)
{
	const struct world_site *si = &w->sites[user];
	const struct world_job *j;

	if (!world_is_dead(w, user)) {
		return;
	}
	assert_true(si->hurried != w->hurried ||
	    w->mono_ms >= si->died_ms + w->cfg.min_backoff * 1000);
	for (j = w->jobs; j != NULL; j = j->next) {
		assert_true(j->done || j->user != user || j->life != w->life ||
		    j->batch <= si->died_batch);
	}
}

/* The first result of a DELIVER tells how the site is. */
static void
judge(struct world *w, const struct world_job *j)
{
	struct world_site *si = &w->sites[j->user];
	struct world_job *k;

	if (j->life != w->life) {
		/* Perhaps counted, perhaps not: a failure may only make it
		   dead sooner. */
		si->fails = j->site ? si->fails : 0;
		return;
	}
	if (j->judged) {
		return;
	}
	for (k = w->jobs; k != NULL; k = k->next) {
		k->judged = k->judged || k->batch == j->batch;
	}
	if (!j->site || w->mono_ms >= si->failed_ms +
	    2000 * w->cfg.max_backoff) { /* forgotten, perhaps */
		si->fails = 0;
	}
	if (j->site) {
		si->failed_ms = w->mono_ms;
		si->fails++;
	}
	if (si->fails >= SCHED_SITE_FAILURES) {
		if (si->fails == SCHED_SITE_FAILURES ||
		    j->batch > si->died_batch) {
			si->died_ms = w->mono_ms;
			si->died_batch = w->batch;
			si->hurried = w->hurried;
		}
	}
}

static const struct sched_limits *
limits_of(const struct world *w, enum sched_agent a)
{
	return &w->cfg.limits[a == SCHED_LOCAL ? SCHED_T_LOCAL : SCHED_T_SMTP];
}

static void
given(struct world *w, const struct sched_action *a)
{
	uint64_t limit = limits_of(w, a->agent)->concurrency;
	struct world_msg *m = find_msg(w, a->qid);
	struct world_rcpt *rc;
	struct world_job *j;
	unsigned user = 0;
	size_t i;

	w->delivers++;
	w->batch++;
	assert_true(w->agent_up[a->agent]);
	assert_false(m->gone);
	assert_false(m->hold);
	assert_true(a->nitems > 0 && a->nitems <=
	    limits_of(w, a->agent)->rcpts);
	assert_true(a->msg.arrived_us == m->arrived_us);
	for (i = 0; i < a->nitems; i++) {
		assert_true(a->items[i].rcpt.index < m->nrcpts);
		rc = &m->rcpts[a->items[i].rcpt.index];
		if (i == 0) {
			user = rc->user;
			assert_int_equal(a->agent, agent_of(user));
			assert_true(batches(w, user) < limit);
			check_site(w, user);
		}
		assert_int_equal(rc->user, user); /* one destination */
		assert_false(world_is_held(w, user));
		assert_null(find_job(w, a->qid, a->items[i].rcpt.index));
		assert_true(rc->delivered <= rc->lost);
		assert_int_equal(a->items[i].rcpt.attempt, rc->attempt);
		assert_true(m->forced || rc->next_at <= w->real_us / 1000000);
		assert_true(m->forced || rc->esc[0] != '5');
		assert_true(rc->fate != FATE_FAILED);
		j = xcalloc(1, sizeof(*j));
		*j = (struct world_job){ w->jobs, a->qid,
			a->items[i].rcpt.index, rc->attempt, w->life, w->batch,
			user, false, FATE_NONE, false,
			false };
		w->jobs = j;
	}
}

static void
send_result(struct world *w, const struct world_job *j)
{
	struct sched_result r = { j->qid, j->index, j->attempt, j->fate,
		j->fate == FATE_DELIVERED ? SL("2.0.0") :
		j->fate == FATE_FAILED ? SL("5.1.1") : SL("4.2.2"),
		SL("said the agent"), SL("local"), j->site };

	if (j->fate == FATE_DEFERRED && w->reply != NULL) {
		r.esc = slice_of(w->esc);
		r.reply = slice_of(w->reply);
	}

	assert_true(sched_result(w->s, agent_of(j->user), &r));
}

unsigned
world_running(const struct world *w)
{
	const struct world_job *j;
	unsigned n = 0;

	for (j = w->jobs; j != NULL; j = j->next) {
		n += !j->done;
	}
	return n;
}

void
world_finish(struct world *w, unsigned n, enum fate fate)
{
	struct world_job *j = w->jobs;

	while (j->done || n-- > 0) {
		j = j->next;
	}
	j->done = true;
	j->site = w->sites[j->user].down;
	j->fate = fate = j->site ? FATE_DEFERRED : fate;
	judge(w, j);
	if (fate == FATE_DELIVERED) {
		find_msg(w, j->qid)->rcpts[j->index].delivered++;
	}
	send_result(w, j);
}

bool
world_has(const struct world *w, const struct world_msg *m)
{
	const struct world_job *j = w->jobs;

	while (j != NULL && (j->qid != m->qid || j->done)) {
		j = j->next;
	}
	return j != NULL;
}

static void
acked(struct world *w, const struct sched_action *a)
{
	struct world_job **at = &w->jobs, *j;
	struct world_msg *m = find_msg(w, a->qid);

	while ((j = *at) != NULL && (j->qid != a->qid || j->index != a->index ||
	    j->attempt != a->attempt)) {
		at = &j->next;
	}
	if (j == NULL) {
		return; /* acknowledged twice: harmless */
	}
	assert_true(j->done);
	/* The result is recorded, or nobody will ever ask for it. */
	assert_true(m->gone || m->rcpts[a->index].attempt > a->attempt);
	*at = j->next;
	free(j);
}

void
world_agent_dies(struct world *w, enum sched_agent a, bool itself)
{
	struct world_job **at = &w->jobs, *j;
	struct world_msg *m;

	while ((j = *at) != NULL) {
		if (agent_of(j->user) != a) {
			at = &j->next;
			continue;
		}
		*at = j->next;
		m = find_msg(w, j->qid);
		/* Delivered, perhaps not recorded: it may come twice. */
		m->rcpts[j->index].lost += j->done && j->fate == FATE_DELIVERED;
		free(j);
	}
	w->agent_up[a] = false;
	sched_agent_down(w->s, a, itself);
}

void
world_agent_starts(struct world *w, enum sched_agent a)
{
	struct world_job *j;

	w->agent_up[a] = true;
	for (j = w->jobs; j != NULL; j = j->next) {
		if (agent_of(j->user) == a) {
			sched_agent_running(w->s, a, j->qid, j->index,
			    j->attempt);
		}
	}
	sched_agent_up(w->s, a);
	for (j = w->jobs; j != NULL; j = j->next) {
		if (agent_of(j->user) == a && j->done) {
			send_result(w, j);
		}
	}
}

/* -- cleanup ---------------------------------------------------------------- */

static bool
is_open(const struct world_rcpt *rc)
{
	return rc->fate == FATE_NONE || rc->fate == FATE_DEFERRED;
}

/* Does a notice of this kind tell of it? */
static bool
is_told(const struct world_rcpt *rc, enum ipc_notice kind)
{
	bool stuck = rc->esc[0] == '5';

	return rc->fate == FATE_DEFERRED &&
	    (kind == IPC_NOTICE_FAILED ? stuck : !stuck && rc->warned == 0);
}

/* No order without need: none after its answer has come. */
static void
check_notice(struct world *w, const struct sched_action *a)
{
	const struct world_msg *m = find_msg(w, a->qid);
	bool needed = m->notice_lost || m->gone;
	unsigned i;

	for (i = 0; i < m->nrcpts; i++) {
		needed = needed || is_told(&m->rcpts[i], a->notice);
	}
	assert_true(needed);
	assert_true(!m->null_path || (a->notice == IPC_NOTICE_FAILED &&
	    m->flags == CONTENT_NOTICE));
	assert_true(a->notice == IPC_NOTICE_FAILED ||
	    (w->real_us - m->arrived_us) / 1000000 >= w->cfg.delay_warning);
}

static void
send_request(struct world *w, const struct sched_action *a)
{
	struct world_req *r = xcalloc(1, sizeof(*r));
	size_t i;
	int n;

	r->kind = a->kind;
	r->qid = a->qid;
	r->from = a->from;
	r->route = a->route;
	r->max = a->max;
	r->what = a->what;
	r->notice = a->notice;
	r->token = a->token;
	n = snprintf(r->reason, sizeof(r->reason), "%.60s",
	    a->reason != NULL ? a->reason : "");
	assert_true(n >= 0);
	if (a->kind == SCHED_FATES) {
		assert_true(a->nitems > 0 && a->nitems <= NELEMS(r->fates));
		/* who says so may have it waited for company */
		assert_false(a->last && world_has(w, find_msg(w, a->qid)));
		r->nfates = (unsigned)a->nitems;
		for (i = 0; i < a->nitems; i++) {
			r->fates[i].index = a->items[i].fate.index;
			r->fates[i].attempt = a->items[i].fate.attempt;
			r->fates[i].fate = (enum fate)a->items[i].fate.fate;
			r->fates[i].next_at = a->items[i].fate.next_at;
			memcpy(r->fates[i].esc, a->items[i].fate.esc.p,
			    a->items[i].fate.esc.n);
			assert_true(a->items[i].fate.reply.n < 64);
			memcpy(r->fates[i].reply, a->items[i].fate.reply.p,
			    a->items[i].fate.reply.n);
		}
	}
	if (a->kind == SCHED_NOTICE) {
		check_notice(w, a);
	}
	append(&w->reqs, r);
}

static struct slice
address_of(unsigned user, char out[32])
{
	int n = snprintf(out, 32, "x@%c.Example", 'a' + (char)user);

	return slice_make(out, (size_t)n);
}

static struct slice
domain_of(unsigned user, char out[32])
{
	int n = snprintf(out, 32, "%c.example", 'a' + (char)user);

	return slice_make(out, (size_t)n);
}

void
world_hold_domain(struct world *w, unsigned user, uint64_t until)
{
	char name[32];

	w->domains[user] = (struct world_domain){ true, until };
	assert_true(sched_hold_domain(w->s, domain_of(user, name), until));
}

void
world_release_domain(struct world *w, unsigned user)
{
	bool was = world_is_held(w, user);
	char name[32];

	w->domains[user].held = false;
	assert_int_equal(sched_release_domain(w->s, domain_of(user, name)),
	    was);
}

bool
world_is_held(const struct world *w, unsigned user)
{
	const struct world_domain *d = &w->domains[user];

	return d->held && (d->until == 0 || d->until > w->real_us / 1000000);
}

static void
make_entry(struct world *w, struct world_msg *m, struct world_req *r)
{
	static char next_hop[WORLD_USERS][2] = { "a", "b", "c", "d", "e" };
	char address[32];
	struct rcpt_item it;
	struct strbuf page;
	unsigned n = 0;
	uint32_t i;

	strbuf_init(&page, 0);
	r->in = (struct sched_entry_in){ .qid = m->qid,
		.arrived_us = m->arrived_us, .size = 100, .flags = m->flags,
		.hold = m->hold, .crashes = m->crashes, .rcpts = m->nrcpts,
		.reverse_path = slice_of(m->null_path ? "" :
		    "sender@example.org") };
	for (i = r->from; i < m->nrcpts; i++) {
		if (!is_open(&m->rcpts[i])) {
			continue;
		}
		if (w->page > 0 && n == w->page) {
			r->in.next_index = i;
			break;
		}
		n++;
		it = (struct rcpt_item){ i, m->rcpts[i].attempt,
			(uint8_t)m->rcpts[i].fate, m->rcpts[i].next_at,
			address_of(m->rcpts[i].user, address),
			SL("y@example.net"),
			m->rcpts[i].user < WORLD_LOCAL ? SL("local") :
			slice_of(w->transport),
			slice_of(next_hop[m->rcpts[i].user]), SL(""),
			slice_of(m->rcpts[i].esc),
			slice_of(m->rcpts[i].reply), SL(""),
			m->rcpts[i].warned > 0 };
		rcpt_item_encode(&it, &page);
	}
	r->entry = true;
	r->in.page.n = page.n;
	r->page = strbuf_take(&page);
	r->in.page.p = r->page;
}

static void
do_fates(struct world_msg *m, struct world_req *r, struct world *w)
{
	struct world_rcpt *rc;
	bool open = false;
	unsigned i;

	w->fates++;
	for (i = 0; i < r->nfates && !m->gone; i++) {
		rc = &m->rcpts[r->fates[i].index];
		if (r->fates[i].attempt <= rc->attempt) {
			continue; /* sent again */
		}
		assert_int_equal(r->fates[i].attempt, rc->attempt + 1);
		m->attempts++;
		rc->attempt = r->fates[i].attempt;
		rc->fate = r->fates[i].fate;
		rc->next_at = r->fates[i].next_at;
		memcpy(rc->esc, r->fates[i].esc, sizeof(rc->esc));
		memcpy(rc->reply, r->fates[i].reply, sizeof(rc->reply));
	}
	for (i = 0; i < m->nrcpts; i++) {
		open = open || is_open(&m->rcpts[i]);
	}
	r->gone = m->gone = m->gone || !open;
}

static void
do_notice(struct world_msg *m, struct world_req *r, struct world *w)
{
	bool open = false, told = false;
	struct world_rcpt *rc;
	unsigned i;

	w->notices++;
	r->result = w->never != NULL ? SCHED_NOTICED_NEVER : SCHED_NOTICED;
	r->gone = m->gone;
	if (m->gone || w->never != NULL) {
		return;
	}
	for (i = 0; i < m->nrcpts; i++) {
		rc = &m->rcpts[i];
		if (is_told(rc, r->notice)) {
			told = true;
			if (r->notice == IPC_NOTICE_FAILED) {
				rc->fate = FATE_FAILED;
				rc->bounced++;
			} else {
				rc->warned++;
			}
		}
		open = open || is_open(rc);
	}
	m->bounces += told && r->notice == IPC_NOTICE_FAILED;
	m->warnings += told && r->notice == IPC_NOTICE_DELAYED;
	m->notice_lost = true;
	r->gone = m->gone = !open;
}

static void
do_mark(struct world_msg *m, struct world_req *r, struct world *w)
{
	w->marks++;
	r->result = m->gone;
	if (m->gone) {
		return;
	}
	switch (r->what) {
	case IPC_MARK_HOLD:
		m->hold = true;
		m->forced = false;
		memcpy(m->reason, r->reason, sizeof(m->reason));
		break;
	case IPC_MARK_RELEASE:
		m->hold = false;
		m->forced = true;
		break;
	case IPC_MARK_DELETE:
	case IPC_MARK_REQUEUE:
		m->gone = m->removed = true;
		break;
	case IPC_MARK_CRASHED:
		m->crashes++;
		break;
	}
}

/* TAKE: answered when there is something; false: it waits. */
static bool
do_take(struct world *w, struct world_req *r)
{
	struct world_req *e;
	unsigned i, n = 0;

	for (i = 0; i < w->nmsgs && n < r->max && n < 7; i++) {
		if (w->msgs[i].gone || w->msgs[i].handed) {
			continue;
		}
		n++;
		w->msgs[i].handed = true;
		e = xcalloc(1, sizeof(*e));
		e->kind = SCHED_TAKE;
		make_entry(w, &w->msgs[i], e);
		append(&w->answers, e);
	}
	w->take_waits = n == 0;
	return n > 0;
}

static void
work_on(struct world *w, struct world_req *r)
{
	struct world_msg *m;

	if (r->kind != SCHED_TAKE) {
		m = find_msg(w, r->qid);
		r->error = world_random(w, 20) == 0;
		if (r->kind == SCHED_MARK) {
			if (r->error) {
				r->result = 2;
			} else {
				do_mark(m, r, w);
			}
		} else if (r->kind == SCHED_FATES && !r->error) {
			do_fates(m, r, w);
		} else if (r->kind == SCHED_NOTICE) {
			if (r->error) {
				r->result = SCHED_NOTICED_LATER;
			} else {
				do_notice(m, r, w);
			}
		} else if (r->kind == SCHED_GET && !r->error) {
			r->gone = m->gone;
			if (!m->gone) {
				make_entry(w, m, r);
			}
		}
	}
	append(&w->answers, r);
}

static void
answer(struct world *w, struct world_req *r)
{
	if (r->entry) {
		assert_int_not_equal(sched_entry(w->s, &r->in,
		    r->kind == SCHED_TAKE), SCHED_ENTRY_BAD);
	} else if (r->kind == SCHED_TAKE) {
		sched_taken(w->s);
	} else if (r->kind == SCHED_GET) {
		sched_gone(w->s, r->qid, r->error);
	} else if (r->kind == SCHED_FATES) {
		sched_fates_ack(w->s, r->qid, r->error, r->gone);
	} else if (r->kind == SCHED_MARK) {
		w->hurried += r->what == IPC_MARK_RELEASE;
		sched_marked(w->s, r->qid, r->what, r->token, r->result);
	} else if (r->kind == SCHED_NOTICE) {
		find_msg(w, r->qid)->notice_lost &= r->error;
		sched_noticed(w->s, r->qid, r->notice,
		    (enum sched_noticed)r->result, r->gone,
		    slice_of(w->never != NULL ? w->never : ""));
	}
	free(r->page);
	free(r);
}

bool
world_cleanup_step(struct world *w)
{
	struct world_req *r, **at = &w->reqs;
	bool turn = world_random(w, 2) == 0;

	/* A TAKE waits without holding up the others. */
	while ((r = *at) != NULL && (turn || w->answers == NULL)) {
		if (r->kind != SCHED_TAKE || do_take(w, r)) {
			*at = r->next;
			work_on(w, r);
			return true;
		}
		at = &r->next;
	}
	if ((r = w->answers) == NULL) {
		return false;
	}
	w->answers = r->next;
	answer(w, r);
	return true;
}

static void
forget_channel(struct world *w)
{
	unsigned i;

	free_reqs(&w->reqs);
	free_reqs(&w->answers);
	for (i = 0; i < w->nmsgs; i++) {
		w->msgs[i].handed = false;
	}
}

void
world_cleanup_dies(struct world *w)
{
	forget_channel(w);
	sched_cleanup_down(w->s);
	sched_cleanup_up(w->s);
}

void
world_qmgr_dies(struct world *w)
{
	int a;

	for (a = 0; a < WORLD_USERS; a++) {
		w->sites[a].fails = 0; /* that is not kept */
	}
	forget_channel(w);
	sched_free(w->s);
	begin_life(w);
	for (a = 0; a < SCHED_AGENTS; a++) {
		if (w->agent_up[a]) {
			world_agent_starts(w, (enum sched_agent)a);
		}
	}
}

/* -- running it -------------------------------------------------------------- */

void
world_pump(struct world *w)
{
	struct sched_action a;
	unsigned n = 0;

	while (sched_next(w->s, &a)) {
		assert_true(n++ < 100000);
		if (a.kind == SCHED_DELIVER) {
			given(w, &a);
		} else if (a.kind == SCHED_ACK) {
			acked(w, &a);
		} else if (a.kind == SCHED_KEEP) {
			assert_true(a.text.n <= sizeof(w->kept));
			memcpy(w->kept, a.text.p, a.text.n);
			w->nkept = a.text.n;
			sched_kept(w->s, false);
		} else {
			send_request(w, &a);
		}
	}
}

void
world_settle(struct world *w)
{
	unsigned dice;

	for (;;) {
		world_pump(w);
		if (world_cleanup_step(w)) {
			continue;
		}
		if (world_running(w) == 0) {
			return;
		}
		dice = (unsigned)world_random(w, 100);
		world_finish(w, (unsigned)world_random(w, world_running(w)),
		    dice < w->bad ? FATE_FAILED :
		    dice < w->bad + w->soft ? FATE_DEFERRED : FATE_DELIVERED);
	}
}

unsigned
world_queued(const struct world *w)
{
	unsigned i, n = 0;

	for (i = 0; i < w->nmsgs; i++) {
		n += !w->msgs[i].gone && !w->msgs[i].hold;
	}
	return n;
}

bool
world_drain(struct world *w)
{
	uint64_t wake;
	int rounds;

	for (rounds = 0; rounds < 20000; rounds++) {
		world_settle(w);
		if (world_queued(w) == 0 && w->answers == NULL) {
			return true;
		}
		wake = sched_wake_ms(w->s);
		if (wake == UINT64_MAX) {
			return false; /* it waits for nothing: forgotten */
		}
		world_advance(w, wake > w->mono_ms ? wake - w->mono_ms : 1);
	}
	return false;
}
