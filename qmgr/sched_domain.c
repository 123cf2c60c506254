/*
 * Domains on hold: a recipient in one of them that is due stays out of all
 * jobs, and its message, once nothing else of it is to be done, waits for the
 * domain's release or time. The messages' own records do not change.
 */
#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

static struct slice
domain_of(struct slice address)
{
	size_t at = address.n;

	while (at > 0 && address.p[at - 1] != '@') {
		at--;
	}
	return slice_make(address.p + at, address.n - at);
}

static struct domain *
find(const struct sched *s, struct slice name)
{
	struct domain *d;

	TAILQ_FOREACH(d, &s->domains, link) {
		if (slice_case_eq(slice_of(d->name), name)) {
			return d;
		}
	}
	return NULL;
}

static bool
is_over(const struct sched *s, const struct domain *d)
{
	return d->until != 0 && d->until <= s->real_us / 1000000;
}

static void
drop(struct sched *s, struct domain *d)
{
	TAILQ_REMOVE(&s->domains, d, link);
	s->ndomains--;
	free(d->name);
	free(d);
}

bool
sched_domain_held(const struct sched *s, struct slice address,
    uint64_t *until)
{
	const struct domain *d = TAILQ_EMPTY(&s->domains) ? NULL :
	    find(s, domain_of(address));

	if (d == NULL || is_over(s, d)) {
		return false;
	}
	*until = d->until;
	return true;
}

/* Those that are over by now. */
static void
reap(struct sched *s)
{
	struct domain *d, *next;

	for (d = TAILQ_FIRST(&s->domains); d != NULL; d = next) {
		next = TAILQ_NEXT(d, link);
		if (is_over(s, d)) {
			drop(s, d);
		}
	}
}

bool
sched_domain_add(struct sched *s, struct slice name, uint64_t until)
{
	struct domain *d;

	reap(s);
	d = find(s, name);
	if (d == NULL && s->ndomains == SCHED_DOMAINS_MAX) {
		return false;
	}
	if (d == NULL) {
		d = xcalloc(1, sizeof(*d));
		d->name = xslicedup(name);
		TAILQ_INSERT_TAIL(&s->domains, d, link);
		s->ndomains++;
	}
	d->until = until;
	return true;
}

/* What waits for an agent is taken back; it is read again, and waits then. */
static void
withdraw(struct sched *s, struct work *w, struct slice name)
{
	struct rcpt *rc, *next;
	bool any = false;

	for (rc = TAILQ_FIRST(&w->rcpts); rc != NULL; rc = next) {
		next = TAILQ_NEXT(rc, link);
		if (rc->state == RCPT_READY &&
		    slice_case_eq(domain_of(rc->address), name)) {
			sched_rcpt_free(s, rc);
			any = true;
		}
	}
	if (any) {
		w->again = true;
		w->entry->force = w->entry->force || w->force;
		sched_work_check(s, w);
	}
}

bool
sched_hold_domain(struct sched *s, struct slice name, uint64_t until)
{
	struct work *w, *next;
	bool was = find(s, name) != NULL;

	if (!sched_domain_add(s, name, until)) {
		return false;
	}
	sched_keep_soon(s, 0);
	if (was) {
		sched_wake_held(s); /* the time may be an earlier one */
	}
	for (w = TAILQ_FIRST(&s->works); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		withdraw(s, w, name);
	}
	return true;
}

bool
sched_release_domain(struct sched *s, struct slice name)
{
	struct domain *d = find(s, name);
	struct work *w;

	if (d == NULL || is_over(s, d)) {
		return false;
	}
	drop(s, d);
	sched_keep_soon(s, 0);
	TAILQ_FOREACH(w, &s->works, link) {
		w->again = w->again || w->held > 0;
	}
	sched_wake_held(s);
	return true;
}

bool
sched_domain_next(const struct sched *s, size_t *cursor, const char **name,
    uint64_t *until)
{
	const struct domain *d;
	size_t i = 0;

	TAILQ_FOREACH(d, &s->domains, link) {
		if (i++ >= *cursor && !is_over(s, d)) {
			*cursor = i;
			*name = d->name;
			*until = d->until;
			return true;
		}
	}
	return false;
}

void
sched_domains_free(struct sched *s)
{
	struct domain *d;

	while ((d = TAILQ_FIRST(&s->domains)) != NULL) {
		drop(s, d);
	}
}
