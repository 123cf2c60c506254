#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/spool_life.h"

#define LARGE (SPOOL_INLINE_MAX * 2 + 99)
#define NEAR_MAX 60000
#define TRIES 4

static void
say(struct life *l, const char *fmt, unsigned long long a,
    unsigned long long b, unsigned long long c)
{
	char line[64];
	int n;

	n = snprintf(line, sizeof(line), "%s %llu %llu %llu", fmt, a, b, c);
	if (n < 0 || n >= (int)sizeof(line) - 1) {
		abort();
	}
	io_promise(line);
	if (l->ledger != NULL) {
		ledger_line(l->ledger, line);
	}
	line[n] = '\n';
	if (l->pipe != -1 && write(l->pipe, line, (size_t)n + 1) != n + 1) {
		abort();
	}
}

/* -- what an answer may be ------------------------------------------------------ */

/* Failures that need not be told: the operation has done what it promises. */
static bool
may_be_silent(const char *site, bool group)
{
	static const char *const sites[] = { "spool.read.close",
		"spool.accept.undo", "spool.large.undo", "spool.group.rename",
		"spool.start.", "spool.corrupt." };
	static const char *const behind[] = { "journal.make", "journal.re",
		"journal.undo", "journal.close", "journal.aside",
		"journal.mkdir", "journal.open", "journal.copy.",
		"spool.replay." };
	static const char *const settling[] = { "spool.state.", "spool.done.",
		"spool.dir.sync", "spool.close" };
	static const char spilling[] = "spool.accept.";
	size_t i;

	for (i = 0; i < NELEMS(sites); i++) {
		if (strncmp(site, sites[i], strlen(sites[i])) == 0) {
			return true;
		}
	}
	if (kit_journal && strncmp(site, spilling, strlen(spilling)) == 0) {
		return true;
	}
	/* a journal has said so already; files follow, or the next start does */
	for (i = 0; kit_journal && i < NELEMS(settling); i++) {
		if (strncmp(site, settling[i], strlen(settling[i])) == 0) {
			return true;
		}
	}
	for (i = 0; i < NELEMS(behind); i++) {
		if (strncmp(site, behind[i], strlen(behind[i])) == 0) {
			return true;
		}
	}
	/* a group has happened once its children are durable */
	if (group && (strcmp(site, "journal.write") == 0 ||
	    strcmp(site, "journal.sync") == 0)) {
		return true;
	}
	for (i = 0; group && i < NELEMS(settling); i++) {
		if (strncmp(site, settling[i], strlen(settling[i])) == 0) {
			return true;
		}
	}
	return false;
}

/* The plan hit between `before' and now, and yet the answer is 0. */
static void
judge(struct life *l, const char *before, int error, bool group)
{
	const char *hit = io_plan_hit();

	if (l->faults && before == NULL && hit != NULL && error == 0 &&
	    !may_be_silent(hit, group)) {
		l->broken = hit;
	}
}

static void
do_restart(struct life *l)
{
	int tries = 0;

	if (l->dead) {
		return;
	}
	kit_close(&l->kit);
	while (!kit_open(&l->kit, NULL)) {
		if (!l->faults || tries++ == TRIES) {
			l->broken = "the spool cannot be opened";
			io_plan(NULL);
			l->stay = false;
			(void)kit_open(&l->kit, NULL);
			l->dead = true;
			return;
		}
		if (l->stay) {
			io_plan(NULL);
		}
	}
}

/* Shall a call that failed be tried again? */
static bool
again(struct life *l, int error, int *tries)
{
	if (error == 0) {
		return false;
	}
	if (!l->faults) {
		l->broken = "an error without a fault";
	}
	if (l->kit.failed != 0) {
		do_restart(l);
	}
	if (l->stay || ++*tries == TRIES || l->broken != NULL) {
		l->dead = true;
		return false;
	}
	return true;
}

/* -- steps -------------------------------------------------------------------------- */

static uint64_t
do_accept(struct life *l, size_t size, uint32_t nrcpts)
{
	struct kit *k = &l->kit;
	uint64_t qid = 0;
	int error, tries = 0;

	do {
		const char *hit = io_plan_hit();
		struct spool_draft *d;

		if (l->dead) {
			return 0;
		}
		d = spool_draft_new(k->sp);
		qid = spool_draft_qid(d);
		say(l, "a", qid, size, nrcpts);
		error = kit_accept_draft(k, d, size, nrcpts);
		judge(l, hit, error, false);
		say(l, error == 0 ? "A" : "N", qid, 0, 0);
	} while (again(l, error, &tries));
	return error == 0 ? qid : 0;
}

static void
do_fate(struct life *l, uint64_t qid, uint32_t index, enum fate fate)
{
	int error, tries = 0;
	bool done = fate != FATE_DEFERRED;

	do {
		const char *hit = io_plan_hit();

		if (l->dead) {
			return;
		}
		say(l, "f", qid, index, done);
		error = kit_fate(&l->kit, qid, index, fate, 1);
		judge(l, hit, error, false);
		if (error == 0) {
			say(l, l->kit.gone ? "D" : "F", qid, index, done);
		}
	} while (again(l, error, &tries));
}

static void
do_hold(struct life *l, uint64_t qid, bool on)
{
	int error, tries = 0;

	do {
		const char *hit = io_plan_hit();

		if (l->dead) {
			return;
		}
		say(l, "h", qid, on, 0);
		error = kit_hold(&l->kit, qid, on);
		judge(l, hit, error, false);
		if (error == 0) {
			say(l, "H", qid, on, 0);
		}
	} while (again(l, error, &tries));
}

static void
do_mark(struct life *l, uint64_t qid)
{
	int error, tries = 0;

	do {
		const char *hit = io_plan_hit();

		if (l->dead) {
			return;
		}
		say(l, "m", qid, 0, 0);
		error = kit_crashed(&l->kit, qid);
		judge(l, hit, error, false);
		if (error == 0) {
			say(l, "M", qid, 0, 0);
		}
	} while (again(l, error, &tries));
}

static void
do_delete(struct life *l, uint64_t qid)
{
	int error, tries = 0;

	do {
		const char *hit = io_plan_hit();

		if (l->dead) {
			return;
		}
		say(l, "d", qid, 0, 0);
		error = kit_delete(&l->kit, qid);
		judge(l, hit, error, false);
		if (error == 0) {
			say(l, "D", qid, 0, 0);
		}
	} while (again(l, error, &tries));
}

/* Recipients `mask' of the parent become n children. */
static void
do_group(struct life *l, uint64_t parent, uint32_t mask, const size_t *sizes,
    size_t n, uint64_t *children)
{
	struct kit *k = &l->kit;
	uint32_t indexes[LEDGER_RCPTS];
	struct spool_draft *d[4];
	size_t i, nindexes = 0, g;
	int error, tries = 0;

	for (i = 0; i < LEDGER_RCPTS; i++) {
		if ((mask & 1u << i) != 0) {
			indexes[nindexes++] = (uint32_t)i;
		}
	}
	do {
		const char *hit = io_plan_hit();

		if (l->dead) {
			return;
		}
		g = l->ngroups++;
		say(l, "g", g, parent, mask);
		for (i = 0; i < n; i++) {
			d[i] = spool_draft_new(k->sp);
			children[i] = spool_draft_qid(d[i]);
			say(l, "c", g, children[i], sizes[i]);
		}
		error = kit_group_drafts(k, parent, indexes, nindexes, d,
		    sizes, n);
		judge(l, hit, error, true);
		if (error == 0) {
			say(l, "K", g, 0, 0);
		}
	} while (again(l, error, &tries));
}

static void
do_read(struct life *l, uint64_t qid, size_t size)
{
	int error, tries = 0;

	do {
		const char *hit = io_plan_hit();

		if (l->dead) {
			return;
		}
		error = kit_info(&l->kit, qid);
		if (error == 0) {
			error = kit_content(&l->kit, qid, SPOOL_INLINE_MAX);
		}
		judge(l, hit, error, false);
		if (error == EBADMSG || error == ENOENT ||
		    (error == 0 && !kit_content_is(&l->kit, size))) {
			l->broken = "what was accepted cannot be read";
		}
	} while (again(l, error, &tries));
}

/* -- the stories ------------------------------------------------------------------ */

void
life_serial(struct life *l)
{
	static const size_t one[] = { 700 }, two[] = { LARGE, 10 };
	uint64_t small, large, list, more, c[2] = { 0 }, e[2] = { 0 };

	small = do_accept(l, 500, 1);
	do_read(l, small, 500);
	do_fate(l, small, 0, FATE_DELIVERED);

	large = do_accept(l, LARGE, 2);
	do_fate(l, large, 0, FATE_DEFERRED);
	do_mark(l, large);
	do_hold(l, large, true);
	list = do_accept(l, 300, 3);
	do_restart(l);
	do_read(l, large, LARGE);
	do_hold(l, large, false);
	do_fate(l, large, 1, FATE_DELIVERED);

	do_group(l, list, 2, one, 1, c);
	do_fate(l, c[0], 0, FATE_DELIVERED);
	do_fate(l, large, 0, FATE_FAILED);
	do_group(l, list, 1 | 4, two, 2, e);
	do_fate(l, e[1], 0, FATE_DELIVERED);
	do_read(l, e[0], LARGE);

	more = do_accept(l, 20, 1);
	do_delete(l, more);
	if (!l->dead) {
		spool_draft_free(kit_draft(&l->kit, LARGE));
		kit_settle(&l->kit);
	}
	more = do_accept(l, 0, 2);
	do_fate(l, more, 1, FATE_FAILED);
	do_group(l, more, 1, one, 1, c); /* requeue: the parent goes */
	do_restart(l);
	do_read(l, c[0], 700);
	do_delete(l, e[0]);
}

/* -- many at once -------------------------------------------------------------------- */

struct call {
	struct life *l;
	uint64_t qid;
	uint32_t index;
};

static void
crowd_fated(void *arg, uint64_t qid, int error, bool gone)
{
	struct call *c = arg;

	c->l->errors += error != 0;
	if (error == 0) {
		say(c->l, gone ? "D" : "F", qid, c->index, 1);
	}
	free(c);
}

static void
crowd_fate(struct life *l, uint64_t qid, uint32_t index)
{
	struct call *c = calloc(1, sizeof(*c));
	struct fate_item item = { .index = index, .attempt = 1,
		.fate = FATE_DELIVERED, .esc = SL("2.0.0") };

	*c = (struct call){ l, qid, index };
	say(l, "f", qid, index, 1);
	spool_fates(l->kit.sp, qid, &item, 1, crowd_fated, c);
}

static void
crowd_accepted(void *arg, uint64_t qid, int error)
{
	struct life *l = arg;

	l->errors += error != 0;
	say(l, error == 0 ? "A" : "N", qid, 0, 0);
	if (error == 0) {
		crowd_fate(l, qid, 1);
		crowd_fate(l, qid, 0);
	}
}

static void
crowd(struct life *l, size_t n)
{
	struct envelope e;
	size_t i, size;

	for (i = 0; i < n; i++) {
		struct spool_draft *d = spool_draft_new(l->kit.sp);

		size = i % 5 == 4 ? LARGE : i * 100;
		say(l, "a", spool_draft_qid(d), size, 3);
		kit_fill(d, size);
		kit_envelope(&e, 3);
		spool_accept(d, &e, crowd_accepted, l);
		envelope_clear(&e);
		if (i % 4 == 3) { /* the next come while these are under way */
			(void)event_base_loop(l->kit.base, EVLOOP_ONCE);
		}
	}
	kit_settle(&l->kit);
}

void
life_crowd(struct life *l)
{
	crowd(l, 12);
	if (l->faults != (l->errors > 0) && (!l->faults ||
	    (io_plan_hit() != NULL && !may_be_silent(io_plan_hit(), false)))) {
		l->broken = l->faults ? io_plan_hit() : "errors, and no fault";
	}
}

/* -- a small ring is full -------------------------------------------------------------- */

/* A ring of four segments takes 32 of these. */
void
life_full(struct life *l)
{
	static const size_t one[] = { 700 }, two[] = { 50, NEAR_MAX };
	uint64_t q[22], c[2] = { 0 };
	size_t i;

	for (i = 0; i < NELEMS(q); i++) {
		q[i] = do_accept(l, NEAR_MAX, 1 + (uint32_t)i % 3);
		if (i % 4 == 1) {
			do_fate(l, q[i], 0, FATE_DEFERRED);
			do_mark(l, q[i]);
		} else if (i % 4 == 3) {
			do_fate(l, q[i], 0, FATE_DELIVERED);
		}
	}
	/* the first have files by now */
	do_fate(l, q[1], 1, FATE_DELIVERED);
	do_hold(l, q[4], true);
	do_mark(l, q[1]);
	do_group(l, q[2], 2, one, 1, c);
	do_fate(l, c[0], 0, FATE_DELIVERED);
	do_delete(l, q[0]);
	do_group(l, q[5], 1 | 2 | 4, two, 2, c);
	do_read(l, c[1], NEAR_MAX);
	do_read(l, q[8], NEAR_MAX);
	for (i = 0; i < 18; i++) { /* once around, and on */
		(void)do_accept(l, NEAR_MAX - i, 1);
	}
	do_restart(l);
	do_read(l, q[1], NEAR_MAX);
	do_fate(l, q[4], 1, FATE_FAILED);
	do_fate(l, c[1], 0, FATE_DELIVERED);
}

/* -- at random ----------------------------------------------------------------------------- */

static uint64_t
roll(struct life *l, uint64_t below)
{
	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 7;
	l->seed ^= l->seed << 17;
	return (l->seed >> 20) % below;
}

/* One of those of which all is known; NULL: none was met. */
static struct ledger_mail *
pick(struct life *l)
{
	size_t i;
	int tries;

	for (tries = 0; tries < 20 && l->ledger->nmail > 0; tries++) {
		struct ledger_mail *m;

		i = (size_t)roll(l, l->ledger->nmail);
		m = &l->ledger->mail[i];
		if (m->accepted && !m->gone && !m->going &&
		    m->done == m->maybe_done &&
		    m->done != (1u << m->nrcpts) - 1) {
			return m;
		}
	}
	return NULL;
}

static uint32_t
pick_rcpt(struct life *l, const struct ledger_mail *m)
{
	uint32_t i;

	do {
		i = (uint32_t)roll(l, m->nrcpts);
	} while ((m->done & 1u << i) != 0);
	return i;
}

static size_t
pick_size(struct life *l)
{
	switch (roll(l, 8)) {
	case 0:
		return LARGE;
	case 1:
	case 2:
		return (size_t)roll(l, 2000);
	default:
		return (size_t)roll(l, SPOOL_INLINE_MAX + 1);
	}
}

static void
random_group(struct life *l, const struct ledger_mail *m)
{
	size_t sizes[2];
	uint64_t c[2];

	if (l->ngroups >= NELEMS(l->ledger->groups)) {
		return;
	}
	sizes[0] = pick_size(l);
	sizes[1] = pick_size(l);
	do_group(l, m->qid, 1u << pick_rcpt(l, m), sizes,
	    1 + (size_t)roll(l, 2), c);
}

static void
random_step(struct life *l)
{
	struct ledger_mail *m = pick(l);
	const uint64_t what = roll(l, 20);

	if (m == NULL || (what < 7 && l->ledger->nmail < LEDGER_MAIL / 2)) {
		(void)do_accept(l, pick_size(l), 1 + (uint32_t)roll(l, 3));
	} else if (what < 12) {
		do_fate(l, m->qid, pick_rcpt(l, m), roll(l, 3) == 0 ?
		    FATE_DEFERRED : FATE_DELIVERED);
	} else if (what == 12) {
		do_hold(l, m->qid, roll(l, 2) == 0);
	} else if (what == 13) {
		do_mark(l, m->qid);
	} else if (what == 14) {
		do_delete(l, m->qid);
	} else if (what < 17) {
		random_group(l, m);
	} else if (what == 17 && l->ledger->nmail < LEDGER_MAIL / 2) {
		crowd(l, 1 + (size_t)roll(l, 8));
	} else {
		do_read(l, m->qid, m->size);
	}
}

void
life_random(struct life *l)
{
	size_t n = 5 + (size_t)roll(l, 60);

	while (n-- > 0 && l->broken == NULL &&
	    l->ledger->nmail < LEDGER_MAIL - 12) {
		random_step(l);
	}
}
