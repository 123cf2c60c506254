#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/spool_ledger.h"

static struct ledger_mail *
find(struct ledger *l, uint64_t qid)
{
	size_t i;

	for (i = 0; i < l->nmail; i++) {
		if (l->mail[i].qid == qid) {
			return &l->mail[i];
		}
	}
	return NULL;
}

static struct ledger_mail *
must_find(struct ledger *l, uint64_t qid)
{
	struct ledger_mail *m = find(l, qid);

	if (m == NULL) {
		abort();
	}
	return m;
}

static void
add(struct ledger *l, uint64_t qid, uint64_t size, uint64_t nrcpts, int group)
{
	struct ledger_mail *m = find(l, qid);

	if (m != NULL && !m->refused) {
		abort(); /* a queue id given twice */
	}
	if (m == NULL) {
		m = &l->mail[l->nmail++];
	}
	if (l->nmail > LEDGER_MAIL || nrcpts > LEDGER_RCPTS) {
		abort();
	}
	*m = (struct ledger_mail){ .qid = qid,
		.size = (size_t)size, .nrcpts = (uint32_t)nrcpts,
		.hold_known = { true, false }, .group = group };
}

static void
group_happened(struct ledger *l, size_t g)
{
	struct ledger_mail *p = must_find(l, l->groups[g].parent);
	size_t i;

	l->groups[g].happened = true;
	p->done |= l->groups[g].mask;
	for (i = 0; i < l->nmail; i++) {
		if (l->mail[i].group == (int)g) {
			l->mail[i].accepted = true;
		}
	}
}

static void
group_begins(struct ledger *l, uint64_t g, uint64_t parent, uint64_t mask)
{
	if (g != l->ngroups || g >= NELEMS(l->groups)) {
		abort();
	}
	l->groups[l->ngroups++] = (struct ledger_group){ .parent = parent,
		.mask = (uint32_t)mask };
	must_find(l, parent)->maybe_done |= (uint32_t)mask;
}

static void
fate_line(struct ledger *l, char what, const uint64_t *v)
{
	struct ledger_mail *m = must_find(l, v[0]);
	uint32_t bit = v[2] != 0 ? 1u << v[1] : 0;

	m->maybe_done |= bit;
	if (what == 'F') {
		m->done |= bit;
	}
}

static void
hold_line(struct ledger *l, char what, const uint64_t *v)
{
	struct ledger_mail *m = must_find(l, v[0]);

	if (what == 'h') {
		m->hold_maybe[v[1]] = true;
	} else {
		m->hold_known[v[1]] = true;
		m->hold_known[!v[1]] = false;
		m->hold_maybe[0] = m->hold_maybe[1] = false;
	}
}

/* What the check has seen of it; `gone' ones are told by `x'. */
static void
is_there(struct ledger_mail *m, const uint64_t *v)
{
	const bool hold = v[2] % 2 != 0;

	m->accepted = true;
	m->refused = m->going = false;
	m->done = m->maybe_done = (uint32_t)v[1];
	m->marks = m->marks_maybe = (uint32_t)v[2] / 2;
	m->hold_known[hold] = true;
	m->hold_known[!hold] = false;
	m->hold_maybe[0] = m->hold_maybe[1] = false;
}

static void
no_groups(struct ledger *l)
{
	size_t i;

	l->ngroups = 0;
	for (i = 0; i < l->nmail; i++) {
		l->mail[i].group = -1;
	}
}

void
ledger_line(struct ledger *l, const char *line)
{
	unsigned long long in[3] = { 0, 0, 0 };
	uint64_t v[3];
	size_t i;
	char what;

	if (sscanf(line, "%c %llu %llu %llu", &what, &in[0], &in[1], &in[2]) <
	    2) {
		abort();
	}
	for (i = 0; i < 3; i++) {
		v[i] = in[i];
	}
	switch (what) {
	case 'a':
		add(l, v[0], v[1], v[2], -1);
		break;
	case 'A':
		must_find(l, v[0])->accepted = true;
		break;
	case 'N':
		must_find(l, v[0])->refused = true;
		break;
	case 'd':
		must_find(l, v[0])->going = true;
		break;
	case 'D':
		must_find(l, v[0])->gone = true;
		break;
	case 'f':
	case 'F':
		fate_line(l, what, v);
		break;
	case 'h':
	case 'H':
		hold_line(l, what, v);
		break;
	case 'g':
		group_begins(l, v[0], v[1], v[2]);
		break;
	case 'c':
		add(l, v[1], v[2], 1, (int)v[0]);
		break;
	case 'm':
		must_find(l, v[0])->marks_maybe++;
		break;
	case 'M':
		must_find(l, v[0])->marks++;
		break;
	case 'p':
		is_there(must_find(l, v[0]), v);
		break;
	case 'x':
		*must_find(l, v[0]) = l->mail[l->nmail - 1];
		l->nmail--;
		break;
	case 'z':
		no_groups(l);
		break;
	case 'K':
		group_happened(l, (size_t)v[0]);
		break;
	default:
		abort();
	}
}

/* -- checking ---------------------------------------------------------------- */

static uint32_t
all_of(const struct ledger_mail *m)
{
	return (1u << m->nrcpts) - 1;
}

/* It may have been removed, or may never have been accepted. */
static bool
may_be_absent(const struct ledger_mail *m)
{
	return !m->accepted || m->going || m->maybe_done == all_of(m);
}

static bool
is_done(uint8_t fate)
{
	return fate != FATE_NONE && fate != FATE_DEFERRED;
}

static const char *
check_rcpts(const struct ledger_mail *m, const struct kit *k, uint32_t *done)
{
	uint32_t i;

	*done = 0;
	for (i = 0; i < k->nrcpts; i++) {
		if (is_done(k->fates[i])) {
			*done |= 1u << i;
		}
	}
	if ((*done & m->done) != m->done) {
		return "a recorded fate is lost";
	}
	if ((*done & ~m->maybe_done) != 0) {
		return "a recipient is dropped";
	}
	return NULL;
}

/* A message that is there is whole. */
static const char *
check_mail(struct ledger_mail *m, struct kit *k, uint32_t *done)
{
	if (m->gone) {
		return "a removed message is back";
	}
	if (kit_info(k, m->qid) != 0) {
		return "a message cannot be read";
	}
	if (k->nrcpts != m->nrcpts || k->size != m->size ||
	    strcmp(k->reverse_path, "sender@example.org") != 0) {
		return "an envelope has changed";
	}
	if (!m->hold_known[k->hold] && !m->hold_maybe[k->hold]) {
		return "a hold is lost";
	}
	if (k->crashes < m->marks || k->crashes > m->marks_maybe) {
		return "a crash mark is lost, or made up";
	}
	if (kit_content(k, m->qid, SPOOL_INLINE_MAX) != 0 ||
	    !kit_content_is(k, m->size)) {
		return "content has changed";
	}
	return check_rcpts(m, k, done);
}

/* All or nothing: when the parent's recipients are done by groups, then just one
   of the groups that tried is complete; and none is in part. */
static const char *
check_group(struct ledger *l, size_t g, const uint32_t *done)
{
	const struct ledger_group *me = &l->groups[g];
	struct ledger_mail *p = must_find(l, me->parent);
	bool parent_done = !p->here ||
	    (done[p - l->mail] & me->mask) == me->mask;
	size_t h, i, complete = 0;

	if (p->here && !parent_done && (done[p - l->mail] & me->mask) != 0) {
		return "half of a group's fates";
	}
	for (h = 0; h < l->ngroups; h++) {
		size_t n = 0, here = 0;

		if (l->groups[h].parent != me->parent ||
		    l->groups[h].mask != me->mask) {
			continue;
		}
		for (i = 0; i < l->nmail; i++) {
			const struct ledger_mail *m = &l->mail[i];

			if (m->group != (int)h) {
				continue;
			}
			n++;
			here += m->here || (m->accepted && may_be_absent(m));
		}
		if (here != 0 && here != n) {
			return "half of a group's children";
		}
		complete += n > 0 && here == n; /* else only begun */
	}
	if (p->refused || !p->accepted) {
		return NULL;
	}
	if (complete != (parent_done ? 1 : 0)) {
		return parent_done ? "a fate without its child, or two" :
		    "a child without its parent's fate";
	}
	return NULL;
}

static const char *
find_all(struct ledger *l, struct kit *k)
{
	uint64_t qids[LEDGER_MAIL + 1];
	size_t i, n = spool_list(k->sp, 0, qids, NELEMS(qids));
	struct ledger_mail *m;

	for (i = 0; i < l->nmail; i++) {
		l->mail[i].here = false;
	}
	for (i = 0; i < n; i++) {
		m = find(l, qids[i]);
		if (m == NULL) {
			return "a message that nobody sent";
		}
		m->here = true;
	}
	return NULL;
}

const char *
ledger_check(struct ledger *l, struct kit *k)
{
	uint32_t done[LEDGER_MAIL] = { 0 };
	const char *why = find_all(l, k);
	size_t i;

	for (i = 0; i < l->nmail && why == NULL; i++) {
		struct ledger_mail *m = &l->mail[i];

		if (!m->here) {
			why = may_be_absent(m) ? NULL : "a message is lost";
		} else if (m->refused && !l->lenient) {
			why = "a refused message is queued";
		} else {
			why = check_mail(m, k, &done[i]);
		}
	}
	for (i = 0; i < l->ngroups && why == NULL; i++) {
		why = l->lenient ? NULL : check_group(l, i, done);
	}
	if (why == NULL && spool_corrupt_count(k->sp) != 0) {
		why = "a file was set aside";
	}
	return why;
}

void
ledger_adopt(struct ledger *l, struct kit *k,
    void (*say)(void *arg, const char *line), void *arg)
{
	uint32_t done;
	char line[80];
	size_t i;

	for (i = l->nmail; i > 0; i--) {
		struct ledger_mail *m = &l->mail[i - 1];

		if (!m->here) {
			(void)snprintf(line, sizeof(line), "x %llu 0",
			    (unsigned long long)m->qid);
		} else {
			if (kit_info(k, m->qid) != 0) {
				abort();
			}
			(void)check_rcpts(m, k, &done);
			(void)snprintf(line, sizeof(line), "p %llu %u %u",
			    (unsigned long long)m->qid, done,
			    k->crashes * 2 + k->hold);
		}
		ledger_line(l, line);
		say(arg, line);
	}
	ledger_line(l, "z 0");
	say(arg, "z 0");
}

const char *
ledger_run_down(struct kit *k)
{
	uint64_t qids[LEDGER_MAIL];
	size_t i, n = spool_list(k->sp, 0, qids, NELEMS(qids));
	uint32_t r;

	for (i = 0; i < n; i++) {
		if (kit_info(k, qids[i]) != 0) {
			return "a message cannot be read at the end";
		}
		for (r = 0; r < k->nrcpts; r++) {
			if (!is_done(k->fates[r]) && kit_fate(k, qids[i], r,
			    FATE_DELIVERED, 9) != 0) {
				return "a fate cannot be recorded at the end";
			}
		}
		if (!k->gone) {
			return "a message stays at the end";
		}
	}
	return spool_count(k->sp) == 0 ? NULL : "the spool is not empty";
}
