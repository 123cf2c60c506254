/*
 * sched_sim - a scheduler with thousands of messages, on a simulated clock:
 * cleanup answers at once, each site takes its time for a delivery or hangs.
 * It checks at each step that no recipient is in two hands or delivered twice,
 * that no limit is passed, and (sim_conserves) that no site idles while mail
 * for it is due.
 */
#ifndef TESTS_UNIT_SCHED_SIM_H
#define TESTS_UNIT_SCHED_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "qmgr/heap.h"
#include "qmgr/sched.h"

struct sim_msg {
	uint64_t qid;
	char sender[64];
	uint32_t flags;
	unsigned site, nrcpts, open, running;
	bool handed, gone;
	uint64_t next_at;      /* of the deferred: all of it */
	unsigned attempt;
	uint64_t first_ms;     /* when its first delivery began; 0: not yet */
	unsigned before;       /* deliveries that began before that one */
	unsigned char *state;  /* of each recipient, see sched_sim.c */
	uint32_t *attempts;
};

struct sim_site {
	uint64_t takes_ms;     /* for a delivery */
	bool hangs;            /* ... which ends by a failure of the site */
	unsigned running, most, delivered;
	uint64_t last_ms;      /* when the last delivery ended */
};

struct sim {
	struct sched *s;
	struct sched_config cfg;
	uint64_t random, mono_ms, real_us;
	struct sim_msg *msgs;
	unsigned nmsgs, first_open, taken;
	struct sim_site *sites;
	unsigned nsites;
	struct heap runs;      /* by the time of their end */
	bool take;
	unsigned begun;        /* deliveries, at all */
	unsigned pumps;
};

void sim_init(struct sim *m, unsigned nsites);
void sim_clear(struct sim *m);
/* Takes effect with the next sim_run. */
struct sim_msg *sim_arrive(struct sim *m, const char *sender, uint32_t flags,
    unsigned site, unsigned nrcpts);
/* Does all that is to be done now; no time passes. */
void sim_pump(struct sim *m);
/* The next delivery ends, or a time has come; false: nothing is left. */
bool sim_step(struct sim *m);
/* Until that many deliveries have begun, or nothing is left. */
void sim_until(struct sim *m, unsigned begun);
/* Each site with mail that is due has a delivery out, unless all that may be
   active is. */
void sim_conserves(const struct sim *m);

#endif
