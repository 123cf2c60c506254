#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "qmgr/sched_int.h"

static struct claim **
claim_bucket(struct sched *s, uint64_t qid)
{
	return &s->claims[(qid * 0x9e3779b97f4a7c15 >> 32) % CLAIM_HASH];
}

void
sched_claim_free(struct claim *c)
{
	free(c->esc);
	free(c->reply);
	free(c->relay);
	free(c);
}

struct claim *
sched_claim_take(struct sched *s, uint64_t qid, uint32_t index)
{
	struct claim **at = claim_bucket(s, qid), *c;

	while ((c = *at) != NULL) {
		if (c->qid == qid && c->index == index) {
			*at = c->next;
			return c;
		}
		at = &c->next;
	}
	return NULL;
}

bool
sched_has_claim(const struct sched *s, uint64_t qid)
{
	const struct claim *c = s->claims[
	    (qid * 0x9e3779b97f4a7c15 >> 32) % CLAIM_HASH];

	while (c != NULL && c->qid != qid) {
		c = c->next;
	}
	return c != NULL;
}

static struct claim *
claim_add(struct sched *s, enum sched_agent a, uint64_t qid, uint32_t index,
    uint32_t attempt)
{
	struct claim *c = sched_claim_take(s, qid, index), **at;

	if (c != NULL) {
		sched_claim_free(c);
	}
	c = xcalloc(1, sizeof(*c));
	c->agent = a;
	c->qid = qid;
	c->index = index;
	c->attempt = attempt;
	at = claim_bucket(s, qid);
	c->next = *at;
	*at = c;
	return c;
}

void
sched_claims_end(struct sched *s, uint64_t qid)
{
	struct claim **at = claim_bucket(s, qid), *c;

	while ((c = *at) != NULL) {
		if (c->qid != qid) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		if (c->is_result) {
			sched_ack(s, c->agent, qid, c->index, c->attempt);
		}
		sched_claim_free(c);
	}
}

void
sched_claims_drop_running(struct sched *s, enum sched_agent a)
{
	struct claim **at, *c;
	size_t i;

	for (i = 0; i < CLAIM_HASH; i++) {
		at = &s->claims[i];
		while ((c = *at) != NULL) {
			if (c->agent == a && !c->is_result) {
				*at = c->next;
				sched_claim_free(c);
			} else {
				at = &c->next;
			}
		}
	}
}

void
sched_claims_free(struct sched *s)
{
	struct claim *c;
	size_t i;

	for (i = 0; i < CLAIM_HASH; i++) {
		while ((c = s->claims[i]) != NULL) {
			s->claims[i] = c->next;
			sched_claim_free(c);
		}
	}
}

void
sched_agent_running(struct sched *s, enum sched_agent a, uint64_t qid,
    uint32_t index, uint32_t attempt)
{
	struct entry *e = sched_find(s, qid);
	struct rcpt *rc;

	if (e != NULL && e->work != NULL) {
		rc = sched_rcpt_find(e->work, index);
		if (rc != NULL) {
			if (rc->state == RCPT_READY && rc->attempt == attempt) {
				sched_run_anyway(s, rc);
			}
			return;
		}
		e->work->fresh_claim = true;
	}
	(void)claim_add(s, a, qid, index, attempt);
}

/* A result for a recipient that is not in memory: read it, then apply it. */
void
sched_claim_result(struct sched *s, enum sched_agent a,
    const struct sched_result *r)
{
	struct claim *c = claim_add(s, a, r->qid, r->index, r->attempt);
	struct entry *e = sched_find(s, r->qid);

	c->is_result = true;
	c->fate = r->fate;
	c->esc = xslicedup(r->esc);
	c->reply = xslicedup(r->reply);
	c->relay = xslicedup(r->relay);
	if (e == NULL) {
		e = sched_entry_new(s, r->qid);
	}
	if (e->work != NULL) {
		e->work->fresh_claim = e->work->again = true;
	} else if (!e->marking) {
		sched_later(s, e, s->mono_ms); /* on hold, too: only for this */
	}
}
