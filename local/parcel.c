#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "local/dispatch_int.h"

struct parcel *
parcel_new(const struct agent_mail *m)
{
	struct parcel *p = xcalloc(1, sizeof(*p));

	agent_content_init(&p->content, m->qid, m->cookie);
	p->arrived_us = m->arrived_us;
	p->size = m->size;
	p->flags = m->flags;
	p->reverse_path = xslicedup(m->reverse_path);
	TAILQ_INIT(&p->jobs);
	return p;
}

void
parcel_release(struct parcel *p)
{
	agent_content_release(&p->content);
}

void
parcel_free(struct dispatch *d, struct parcel *p)
{
	agent_content_clear(&d->agent, &p->content);
	free(p->reverse_path);
	free(p);
}

void
parcel_here(void *arg, struct agent_content *c)
{
	struct dispatch *d = arg;
	struct parcel *p = (struct parcel *)(void *)c;

	if (p->claimed == 0) {
		parcel_release(p);
	}
	dispatch_arm(d);
}

void
parcel_failed(void *arg, struct agent_content *c, const struct outcome *o)
{
	struct dispatch *d = arg;
	struct parcel *p = (struct parcel *)(void *)c;
	struct job *j, *next;

	/* The parcel goes with its last job, so `next' comes first. */
	for (j = TAILQ_FIRST(&p->jobs); j != NULL; j = next) {
		next = TAILQ_NEXT(j, in_parcel);
		jobs_finish(d, j, o);
	}
}
