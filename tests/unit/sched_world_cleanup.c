/* The model's cleanup: requests, worked on one by one, and the answers. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "tests/unit/sched_world_int.h"
#include "tests/unit/unit.h"

static void
append(struct world_req **list, struct world_req *r)
{
	r->next = NULL;
	while (*list != NULL) {
		list = &(*list)->next;
	}
	*list = r;
}

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
	const struct world_msg *m = world_find(w, a->qid);
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

void
world_send_request(struct world *w, const struct sched_action *a)
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
		assert_false(a->last && world_has(w, world_find(w, a->qid)));
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
		m = world_find(w, r->qid);
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
		world_find(w, r->qid)->notice_lost &= r->error;
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
