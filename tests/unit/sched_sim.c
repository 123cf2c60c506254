#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "tests/unit/sched_sim.h"
#include "tests/unit/unit.h"

#define START_US 1700000000000000
#define MOST     200000 /* messages */

enum { OPEN, RUNNING, DONE };

struct sim_run {
	uint64_t end_ms;
	uint32_t place;
	struct sim_msg *msg;
	unsigned n;
	uint32_t index[256];
};

static const struct sched_config plain = {
	.min_backoff = 300, .max_backoff = 4000, .lifetime = 432000,
	.bounce_lifetime = 432000, .active_limit = 20000,
	.limits = { { 20, 20, 50, 0 }, { 20, 5, 100, 0 }, { 20, 5, 100, 0 } },
};

static bool
ends_before(const void *a, const void *b)
{
	const struct sim_run *x = a, *y = b;

	return x->end_ms < y->end_ms;
}

void
sim_init(struct sim *m, unsigned nsites)
{
	unsigned i;

	memset(m, 0, sizeof(*m));
	m->cfg = plain;
	m->mono_ms = 1000000;
	m->real_us = START_US;
	heap_init(&m->runs, ends_before, offsetof(struct sim_run, place));
	m->s = sched_new(&m->cfg, 1);
	m->sites = xcalloc(nsites, sizeof(*m->sites));
	m->nsites = nsites;
	m->msgs = xcalloc(MOST, sizeof(*m->msgs));
	for (i = 0; i < nsites; i++) {
		m->sites[i].takes_ms = 100;
	}
	sched_time(m->s, m->mono_ms, m->real_us);
	sched_cleanup_up(m->s);
	(void)sched_loaded(m->s, false, SL(""));
	sched_agent_up(m->s, SCHED_LOCAL);
	sched_agent_up(m->s, SCHED_REMOTE);
}

void
sim_clear(struct sim *m)
{
	struct sim_run *r;
	unsigned i;

	sched_free(m->s);
	while ((r = heap_top(&m->runs)) != NULL) {
		heap_remove(&m->runs, r);
		free(r);
	}
	heap_clear(&m->runs);
	for (i = 0; i < m->nmsgs; i++) {
		free(m->msgs[i].state);
		free(m->msgs[i].attempts);
	}
	free(m->msgs);
	free(m->sites);
}

struct sim_msg *
sim_arrive(struct sim *m, const char *sender, uint32_t flags, unsigned site,
    unsigned nrcpts)
{
	struct sim_msg *g = &m->msgs[m->nmsgs++];
	int n = snprintf(g->sender, sizeof(g->sender), "%s", sender);

	assert_true(n > 0 && (size_t)n < sizeof(g->sender));
	assert_true(m->nmsgs < MOST);
	g->qid = START_US + m->nmsgs;
	g->flags = flags;
	g->site = site;
	g->nrcpts = g->open = nrcpts;
	g->state = xcalloc(nrcpts, sizeof(*g->state));
	g->attempts = xcalloc(nrcpts, sizeof(*g->attempts));
	return g;
}

static struct sim_msg *
find(struct sim *m, uint64_t qid)
{
	return &m->msgs[qid - START_US - 1];
}

/* -- cleanup ---------------------------------------------------------------- */

static void
entry(struct sim *m, struct sim_msg *g, uint32_t from, bool taken)
{
	char hop[32];
	int n = snprintf(hop, sizeof(hop), "site%u", g->site);
	struct sched_entry_in in = { .qid = g->qid, .arrived_us = g->qid,
		.size = 1000, .flags = g->flags, .rcpts = g->nrcpts,
		.rcpts_open = g->open, .reverse_path = slice_of(g->sender) };
	struct rcpt_item it = { .address = SL("x@example.net"),
		.original = SL("x@example.net"), .transport = SL("smtp"),
		.next_hop = slice_make(hop, (size_t)n) };
	struct strbuf page;
	unsigned count = 0;
	uint32_t i;

	strbuf_init(&page, 0);
	for (i = from; i < g->nrcpts; i++) {
		if (g->state[i] == DONE) {
			continue;
		}
		if (count++ == ENVELOPE_PAGE_RCPTS) {
			in.next_index = i;
			break;
		}
		it.index = i;
		it.attempt = g->attempts[i];
		it.fate = it.attempt > 0 ? FATE_DEFERRED : FATE_NONE;
		it.next_at = it.attempt > 0 ? g->next_at : 0;
		it.esc = it.attempt > 0 ? SL("4.4.1") : SL("");
		rcpt_item_encode(&it, &page);
	}
	in.page = strbuf_slice(&page);
	assert_int_not_equal(sched_entry(m->s, &in, taken), SCHED_ENTRY_BAD);
	strbuf_clear(&page);
}

static void
take(struct sim *m)
{
	unsigned n = 0;

	while (m->taken < m->nmsgs && n++ < SCHED_TAKE_MAX) {
		entry(m, &m->msgs[m->taken++], 0, true);
	}
	if (n > 0) {
		m->take = false;
		sched_taken(m->s);
	}
}

static void
fates(struct sim *m, const struct sched_action *a)
{
	struct sim_msg *g = find(m, a->qid);
	const struct fate_item *f;
	size_t i;

	for (i = 0; i < a->nitems; i++) {
		f = &a->items[i].fate;
		assert_int_equal(f->attempt, g->attempts[f->index] + 1);
		assert_int_not_equal(g->state[f->index], DONE);
		g->attempts[f->index] = f->attempt;
		if (f->fate == FATE_DELIVERED) {
			g->state[f->index] = DONE;
			g->open--;
		} else {
			g->state[f->index] = OPEN;
			g->next_at = f->next_at;
		}
	}
	g->gone = g->open == 0;
	sched_fates_ack(m->s, a->qid, false, g->gone);
}

/* -- the agent --------------------------------------------------------------- */

static void
deliver(struct sim *m, const struct sched_action *a)
{
	struct sim_msg *g = find(m, a->qid);
	struct sim_site *site = &m->sites[g->site];
	struct sim_run *r = xcalloc(1, sizeof(*r));
	size_t i;

	if (g->first_ms == 0) {
		g->first_ms = m->mono_ms;
		g->before = m->begun;
	}
	m->begun++;
	assert_true(a->nitems > 0 && a->nitems <=
	    m->cfg.limits[SCHED_T_SMTP].rcpts);
	r->msg = g;
	r->n = (unsigned)a->nitems;
	r->end_ms = m->mono_ms + site->takes_ms;
	for (i = 0; i < a->nitems; i++) {
		r->index[i] = a->items[i].rcpt.index;
		assert_int_equal(g->state[r->index[i]], OPEN);
		g->state[r->index[i]] = RUNNING;
	}
	g->running += r->n;
	site->running++;
	site->most = site->running > site->most ? site->running : site->most;
	assert_true(site->running <= m->cfg.limits[SCHED_T_SMTP].concurrency);
	r->place = HEAP_OUT;
	heap_push(&m->runs, r);
}

static void
end(struct sim *m, struct sim_run *r)
{
	struct sim_msg *g = r->msg;
	struct sim_site *site = &m->sites[g->site];
	struct sched_result res = { .qid = g->qid,
		.fate = site->hangs ? FATE_DEFERRED : FATE_DELIVERED,
		.esc = site->hangs ? SL("4.4.1") : SL("2.0.0"),
		.reply = SL("so it is"), .relay = SL("site"),
		.site = site->hangs };
	unsigned i;

	site->running--;
	g->running -= r->n;
	if (!site->hangs) {
		site->delivered++;
		site->last_ms = m->mono_ms;
	}
	for (i = 0; i < r->n; i++) {
		res.index = r->index[i];
		res.attempt = g->attempts[r->index[i]];
		assert_true(sched_result(m->s, SCHED_REMOTE, &res));
	}
	free(r);
}

/* -- running it -------------------------------------------------------------- */

void
sim_pump(struct sim *m)
{
	struct sched_counts n;
	struct sched_action a;

	for (;;) {
		if (m->take) {
			take(m);
		}
		if (!sched_next(m->s, &a)) {
			break;
		}
		switch (a.kind) {
		case SCHED_TAKE:
			m->take = true;
			break;
		case SCHED_GET:
			entry(m, find(m, a.qid), a.from, false);
			break;
		case SCHED_FATES:
			fates(m, &a);
			break;
		case SCHED_DELIVER:
			deliver(m, &a);
			break;
		case SCHED_ACK:
			break;
		case SCHED_KEEP:
			sched_kept(m->s, false);
			break;
		case SCHED_LOAD:
		case SCHED_MARK:
		case SCHED_NOTICE:
			fail_msg("nothing here needs that");
		}
	}
	if (m->pumps++ % 1000 == 0) {
		sched_counts(m->s, &n);
		assert_true(n.active <= m->cfg.active_limit);
	}
}

static void
go_to(struct sim *m, uint64_t ms)
{
	m->real_us += (ms - m->mono_ms) * 1000;
	m->mono_ms = ms;
	sched_time(m->s, m->mono_ms, m->real_us);
}

bool
sim_step(struct sim *m)
{
	uint64_t wake;
	struct sim_run *r;

	sim_pump(m);
	wake = sched_wake_ms(m->s);
	r = heap_top(&m->runs);
	if (r == NULL && wake == UINT64_MAX) {
		return false;
	}
	if (r == NULL || wake < r->end_ms) {
		go_to(m, wake > m->mono_ms ? wake : m->mono_ms + 1);
		return true;
	}
	heap_remove(&m->runs, r);
	go_to(m, r->end_ms);
	end(m, r);
	return true;
}

void
sim_until(struct sim *m, unsigned begun)
{
	sim_pump(m);
	while (m->begun < begun && sim_step(m)) {
	}
	sim_pump(m);
}

void
sim_conserves(const struct sim *m)
{
	const struct sim_msg *g;
	struct sched_counts n;
	unsigned i;

	sched_counts(m->s, &n);
	for (i = 0; i < m->nmsgs && n.active < m->cfg.active_limit; i++) {
		g = &m->msgs[i];
		if (!g->gone && g->running < g->open &&
		    g->next_at <= m->real_us / 1000000) {
			assert_true(m->sites[g->site].running > 0);
		}
	}
}
