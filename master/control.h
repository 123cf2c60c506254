/* control - the verbs of RUNTIME/admin/master: status, reload, stop. */
#ifndef MASTER_CONTROL_H
#define MASTER_CONTROL_H

#include "master/master.h"

/* Serve master's control socket, which is among its listeners. */
void control_begin(struct master *m);

#endif
