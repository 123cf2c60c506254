/*
 * hand - what a program is given by master: settings, directories, listeners,
 * the key, channels to its peers, the news of a peer's death.
 */
#ifndef MASTER_HAND_H
#define MASTER_HAND_H

#include "master/proc.h"

/* All of it, and START; also fresh channels to all peers that live. */
void hand_down(struct proc *p);
/* The rows of the settings that name it, and SETTINGS_END. */
void hand_settings(struct proc *p);
/*
 * It says that the `given'-th channel to `peer' has ended. True: none was handed
 * down since, and it is for this end to ask; call hand_renew() when it must be
 * clear whether the peer is dead (its successor gets a channel anyway).
 */
bool hand_lost(struct proc *p, uint64_t peer, uint64_t given);
/* Fresh channels, where only the channel broke. */
void hand_renew(struct proc *p);
/* Tell qmgr that a delivery agent is dead, and whether of its own doing; does
   nothing for other programs. */
void hand_death(const struct proc *p, bool itself);

#endif
