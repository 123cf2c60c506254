/*
 * life - the start and the stop of all programs in order, and what becomes of
 * one that died in between.
 */
#ifndef MASTER_LIFE_H
#define MASTER_LIFE_H

#include "master/proc.h"

/* Register the signals and the watchdog; start the first program. */
void life_begin(struct master *m);
/* After the loop: the rest of the log, and the loop itself. */
void life_end(struct master *m);
/* Stop all in order; the loop ends when all have gone. */
void life_stop(struct master *m);
/* How many smtpd and with which listeners has changed: start new ones; the old
   are told to finish once the first new one is up. */
void life_replace_smtpd(struct master *m);

/* A program has lost a channel: hand_renew() for all, in a moment. */
void life_renew(struct master *m);

/* watchdog_timeout may have changed. */
void life_set_watchdog(struct master *m);

/* From proc: READY came; there could be no process. */
void life_ready(struct proc *p);
void life_not_started(struct proc *p);

#endif
