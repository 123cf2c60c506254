/*
 * Who is next at a destination. What waits there is shared out fairly in three
 * steps: two classes, urgent (submitted on this host, or a notice of ours) with
 * URGENT_WEIGHT shares and all else with one; in a class the senders; of a
 * sender the messages. So a single message overtakes one with 100,000
 * recipients, and one sender's many messages do not hold up another's.
 *
 * Each step is a fair queue by virtual time, which does what deficit round
 * robin does without going round: a lane's tag is the time at which its next
 * job is due to it, and rises by what that job costs (its recipients). The
 * lowest tag is served, the one that came first among equals. A lane that had
 * nothing to wait for begins at the present, so nobody saves up shares. The
 * present moves on by cost over the number of those that wait: then an endless
 * row of newcomers cannot keep an old lane from its turn.
 */
#include "config.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

#define URGENT_WEIGHT 4
#define COST          (1u << 16) /* of a recipient; for fractions */

/* -- the virtual time ------------------------------------------------------- */

static bool
turn_before(const void *a, const void *b)
{
	const struct lane *x = a, *y = b;

	return x->tag != y->tag ? x->tag < y->tag : x->seq < y->seq;
}

static void
lane_init(struct lane *l, struct lane *parent, struct dest *d, uint64_t key)
{
	l->parent = parent;
	l->dest = d;
	l->key = key;
	l->place = HEAP_OUT;
	heap_init(&l->turns, turn_before, offsetof(struct lane, place));
	TAILQ_INIT(&l->jobs);
}

void
sched_lanes_init(struct dest *d)
{
	lane_init(&d->top, NULL, d, 0);
	lane_init(&d->class[LANE_URGENT], &d->top, d, LANE_URGENT);
	lane_init(&d->class[LANE_NORMAL], &d->top, d, LANE_NORMAL);
}

void
sched_lanes_clear(struct dest *d)
{
	heap_clear(&d->top.turns);
	heap_clear(&d->class[LANE_URGENT].turns);
	heap_clear(&d->class[LANE_NORMAL].turns);
}

static void
add_waiting(struct sched *s, struct lane *l)
{
	for (; l != NULL; l = l->parent) {
		if (l->waiting++ > 0 || l->parent == NULL) {
			continue;
		}
		if (l->tag < l->parent->now) {
			l->tag = l->parent->now;
		}
		l->seq = l == &l->dest->class[LANE_URGENT] ? 0 : ++s->lane_seq;
		heap_push(&l->parent->turns, l);
	}
}

static void
less_waiting(struct lane *l)
{
	for (; l != NULL; l = l->parent) {
		if (--l->waiting == 0 && l->parent != NULL) {
			heap_remove(&l->parent->turns, l);
		}
	}
}

void
sched_lane_charge(struct job *j)
{
	uint64_t cost = (uint64_t)j->n * COST, share;
	struct lane *l, *p;

	for (l = j->lane; (p = l->parent) != NULL; l = p) {
		share = l == &l->dest->class[LANE_URGENT] ?
		    cost / URGENT_WEIGHT : cost;
		if (p->now < l->tag) {
			p->now = l->tag;
		}
		p->now += share / p->turns.n; /* l is one of them */
		heap_remove(&p->turns, l);
		l->tag += share;
		heap_push(&p->turns, l);
	}
}

struct job *
sched_lane_next(const struct dest *d)
{
	const struct lane *l = &d->top;

	while (l->turns.n > 0) {
		l = heap_top(&l->turns);
	}
	return TAILQ_FIRST(&l->jobs);
}

/* -- senders ------------------------------------------------------------------ */

/*
 * One sender, though each message has a reverse-path of its own: what follows a
 * + is cut off, and where the recipient is written into the path with a =
 * ("news-17-ann=example.net@"), all from the first - or =.
 */
static size_t
sender_len(struct slice local)
{
	size_t n = slice_find(local, '+'), at;
	struct slice rest = slice_make(local.p, n);

	at = slice_find(rest, '=');
	if (at < n) {
		rest.n = at;
		at = slice_find(rest, '-');
		return at > 0 ? at : n;
	}
	return n;
}

uint64_t
sched_sender_key(const struct sched *s, struct slice reverse_path)
{
	size_t at = reverse_path.n, n;
	struct slice domain;

	while (at > 0 && reverse_path.p[at - 1] != '@') {
		at--;
	}
	n = sender_len(slice_make(reverse_path.p, at > 0 ? at - 1 : 0));
	domain = slice_make(reverse_path.p + at, reverse_path.n - at);
	return siphash24(s->dest_key, reverse_path.p, n) +
	    31 * siphash24(s->dest_key, domain.p, domain.n);
}

enum lane_class
sched_lane_class(uint32_t flags)
{
	return (flags & (CONTENT_LOCAL | CONTENT_NOTICE)) != 0 ? LANE_URGENT :
	    LANE_NORMAL;
}

/* -- lanes ------------------------------------------------------------------- */

static struct lane **
bucket(const struct sched *s, const struct lane *parent, uint64_t key)
{
	uint64_t h = ((uint64_t)(uintptr_t)parent >> 4) ^ key;

	h *= 0x9e3779b97f4a7c15;
	return &s->lanes[h >> 32 & (s->nlane_buckets - 1)];
}

static struct lane *
find(const struct sched *s, const struct lane *parent, uint64_t key)
{
	struct lane *l = *bucket(s, parent, key);

	while (l != NULL && (l->parent != parent || l->key != key)) {
		l = l->next;
	}
	return l;
}

static void
grow(struct sched *s)
{
	struct lane **old = s->lanes, **at, *l;
	uint32_t n = s->nlane_buckets, i;

	s->nlane_buckets *= 2;
	s->lanes = xcalloc(s->nlane_buckets, sizeof(*s->lanes));
	for (i = 0; i < n; i++) {
		while ((l = old[i]) != NULL) {
			old[i] = l->next;
			at = bucket(s, l->parent, l->key);
			l->next = *at;
			*at = l;
		}
	}
	free(old);
}

static struct lane *
get(struct sched *s, struct lane *parent, uint64_t key)
{
	struct lane *l = find(s, parent, key), **at;

	if (l != NULL) {
		return l;
	}
	if (s->nlanes++ >= s->nlane_buckets) {
		grow(s);
	}
	l = xcalloc(1, sizeof(*l));
	lane_init(l, parent, parent->dest, key);
	at = bucket(s, parent, key);
	l->next = *at;
	*at = l;
	return l;
}

void
sched_lane_release(struct sched *s, struct lane *l)
{
	struct lane *parent = l->parent, **at;

	if (parent == &l->dest->top || l->all > 0 || l->coming > 0 ||
	    l->outside.n > 0) {
		return;
	}
	at = bucket(s, parent, l->key);
	while (*at != l) {
		at = &(*at)->next;
	}
	*at = l->next;
	s->nlanes--;
	sched_outside_clear(s, l);
	heap_clear(&l->turns);
	free(l);
	sched_lane_release(s, parent);
}

struct lane *
sched_lane_of_sender(const struct sched *s, struct dest *d,
    enum lane_class class, uint64_t sender)
{
	return find(s, &d->class[class], sender);
}

void
sched_lanes_free(struct sched *s)
{
	struct lane *l;
	struct dest *d;
	uint32_t i;

	for (i = 0; i < s->nlane_buckets; i++) {
		while ((l = s->lanes[i]) != NULL) {
			d = l->dest;
			sched_outside_clear(s, l);
			sched_lane_release(s, l);
			sched_dest_release(s, d);
		}
	}
}

/* -- jobs -------------------------------------------------------------------- */

void
sched_lane_join(struct sched *s, struct job *j)
{
	const struct work *w = j->work;
	struct lane *l;

	l = get(s, &j->dest->class[sched_lane_class(w->flags)], w->sender);
	l = get(s, l, w->entry->qid);
	for (j->lane = l; l != NULL; l = l->parent) {
		l->all++;
	}
}

void
sched_lane_leave(struct sched *s, struct job *j)
{
	struct lane *l;

	for (l = j->lane; l != NULL; l = l->parent) {
		l->all--;
	}
	l = j->lane->parent;
	sched_lane_ended(s, l);
	sched_lane_release(s, j->lane);
}

void
sched_lane_push(struct sched *s, struct job *j)
{
	TAILQ_INSERT_TAIL(&j->lane->jobs, j, link);
	add_waiting(s, j->lane);
}

void
sched_lane_remove(struct job *j)
{
	TAILQ_REMOVE(&j->lane->jobs, j, link);
	less_waiting(j->lane);
}

struct job *
sched_lane_newest(const struct sched *s, struct dest *d, const struct work *w)
{
	struct lane *l = sched_lane_of_sender(s, d, sched_lane_class(w->flags),
	    w->sender);

	l = l != NULL ? find(s, l, w->entry->qid) : NULL;
	return l != NULL ? TAILQ_LAST(&l->jobs, jobs) : NULL;
}
