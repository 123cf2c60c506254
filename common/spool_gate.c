/*
 * How many messages with files may be going at a time: removed, by the journal's
 * word, and not unlinked yet. Others wait here, before the journal has them.
 */
#include "config.h"

#include "common/spool_int.h"

void
spool_gate_enter(struct spool *sp, struct spool_msg *m)
{
	if (!m->going) {
		m->going = true;
		sp->ngoing++;
	}
}

void
spool_gate_leave(struct spool *sp, struct spool_msg *m)
{
	if (m->going) {
		m->going = false;
		sp->ngoing--;
	}
}

static bool
gate_is_open(const struct spool *sp)
{
	return sp->ngoing < SPOOL_GOING_MAX || sp->settle_error != 0 ||
	    sp->closing;
}

bool
spool_gate_pass(struct spool *sp, struct spool_msg *m)
{
	if (!m->filed) {
		return true;
	}
	if (gate_is_open(sp)) {
		spool_gate_enter(sp, m);
		return true;
	}
	m->busy = true;
	STAILQ_INSERT_TAIL(&sp->gate, m, doomed_next);
	return false;
}

void
spool_gate_open(struct spool *sp)
{
	struct spool_msg *m;

	while ((m = STAILQ_FIRST(&sp->gate)) != NULL && gate_is_open(sp)) {
		STAILQ_REMOVE_HEAD(&sp->gate, doomed_next);
		m->busy = false;
		spool_gate_enter(sp, m);
		spool_msg_ready(sp, m);
	}
}
