/*
 * The share of the active messages, and of the recipients in memory, that one
 * sender may have at one destination.
 * What is beyond waits outside, known by its queue id only, and comes in when
 * one of those inside has ended. So a slow destination, or a hundred of them,
 * cannot fill the scheduler, and all others find a place at once.
 *
 * The share is ROOM_SHARE times what is free (the dynamic threshold of Choudhury
 * and Hahne, 1998): alone, a lane may take four fifths of all; with 200 that
 * are full, each has its 800th part of it, and some places are free still. One
 * place a lane always has when there is any.
 */
#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

#define ROOM_SHARE 4

static uint64_t
room(uint64_t limit, uint64_t used)
{
	return limit <= used ? 0 : ROOM_SHARE * (limit - used);
}

static bool
is_full(const struct sched *s, const struct lane *l)
{
	uint64_t inside = (uint64_t)l->all + l->coming;

	return inside > 0 && (inside >= room(s->cfg.active_limit, s->nactive) ||
	    l->rcpts >= room(SCHED_RCPTS_MAX, s->nrcpts));
}

/* The lane that this recipient would have to wait for; NULL: none. */
static struct lane *
full_lane(const struct sched *s, const struct rcpt_item *it,
    const struct sched_entry_in *in)
{
	struct dest *d = sched_dest_find(s, it->transport, it->next_hop);
	struct lane *l;

	if (d == NULL || d->dead) {
		return NULL; /* what is for a dead one is deferred at once */
	}
	l = sched_lane_of_sender(s, d, sched_lane_class(in->flags),
	    sched_sender_key(s, in->reverse_path));
	return l != NULL && (l->outside.n > 0 || is_full(s, l)) ? l : NULL;
}

static void
append(struct outside *o, uint64_t qid)
{
	uint32_t cap = o->cap == 0 ? 16 : 2 * o->cap, i;
	uint64_t *at;

	if (o->n == o->cap) {
		at = xreallocarray(NULL, cap, sizeof(*at));
		for (i = 0; i < o->n; i++) {
			at[i] = o->at[(o->first + i) % o->cap];
		}
		free(o->at);
		*o = (struct outside){ at, 0, o->n, cap };
	}
	o->at[(o->first + o->n++) % o->cap] = qid;
}

static uint64_t
shift(struct outside *o)
{
	uint64_t qid = o->at[o->first];

	o->first = (o->first + 1) % o->cap;
	if (--o->n == 0) {
		free(o->at);
		*o = (struct outside){ NULL, 0, 0, 0 };
	}
	return qid;
}

bool
sched_stays_outside(struct sched *s, struct entry *e,
    const struct sched_entry_in *in, bool force)
{
	struct lane *l = NULL, *full;
	struct slice page = in->page;
	struct rcpt_item it;
	bool bad;

	if (e->crashes > 0) {
		return false;
	}
	while (rcpt_item_decode(&page, &it, &bad)) {
		if (!force && !sched_is_due(s, it.next_at)) {
			continue;
		}
		full = full_lane(s, &it, in);
		if (full == NULL) {
			return false; /* something can be done */
		}
		l = l == NULL ? full : l;
	}
	if (l != NULL && !e->outside) {
		append(&l->outside, e->qid);
		l->dest->outside++;
		e->outside = true;
	}
	return l != NULL;
}

/* -- coming in --------------------------------------------------------------- */

void
sched_lane_ended(struct sched *s, struct lane *l)
{
	if (l->outside.n > 0 && !l->ready && !is_full(s, l)) {
		l->ready = true;
		TAILQ_INSERT_TAIL(&s->ready, l, ready_link);
	}
}

static void
unready(struct sched *s, struct lane *l)
{
	if (l->ready) {
		TAILQ_REMOVE(&s->ready, l, ready_link);
		l->ready = false;
	}
}

/* It still waits outside, and for nothing else. */
static bool
may_come(const struct entry *e)
{
	return e != NULL && e->outside && e->work == NULL &&
	    e->place == HEAP_OUT && !e->hold && e->marking == 0;
}

/* Its first that still waits, or NULL. */
static struct entry *
next_in(struct sched *s, struct lane *l)
{
	struct entry *e;
	bool may;

	while (l->outside.n > 0) {
		l->dest->outside--;
		e = sched_find(s, shift(&l->outside));
		may = may_come(e);
		if (e != NULL) {
			e->outside = false;
		}
		if (may) {
			return e;
		}
	}
	return NULL;
}

struct work *
sched_come_in(struct sched *s)
{
	struct dest *d;
	struct entry *e;
	struct lane *l;
	struct work *w;

	while ((l = TAILQ_FIRST(&s->ready)) != NULL) {
		unready(s, l);
		d = l->dest;
		e = is_full(s, l) ? NULL : next_in(s, l);
		if (e != NULL) {
			w = sched_work_new(s, e);
			w->route = true;
			w->lane = l;
			l->coming++;
			d->coming++;
			sched_lane_ended(s, l); /* one more, at its next turn */
			return w;
		}
		sched_lane_release(s, l);
		sched_dest_release(s, d);
	}
	return NULL;
}

void
sched_came_in(struct sched *s, struct work *w)
{
	struct lane *l = w->lane;
	struct dest *d;

	if (l == NULL) {
		return;
	}
	w->lane = NULL;
	d = l->dest;
	l->coming--;
	d->coming--;
	sched_lane_ended(s, l);
	sched_lane_release(s, l);
	sched_dest_release(s, d);
}

void
sched_outside_clear(struct sched *s, struct lane *l)
{
	unready(s, l);
	l->dest->outside -= l->outside.n;
	free(l->outside.at);
	l->outside = (struct outside){ NULL, 0, 0, 0 };
}
