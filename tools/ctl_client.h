/*
 * ctl_client - the tool's side of control sockets (common/ctl.h).
 * Blocking; one question a connection.
 */
#ifndef TOOLS_CTL_CLIENT_H
#define TOOLS_CTL_CLIENT_H

#include <stddef.h>

#include "common/ipc.h"
#include "common/slice.h"

struct ctl_client {
	struct ipc_sync in;
};

enum ctl_got {
	CTL_GOT_ROW,  /* item.octets: columns, for tools/rows.h */
	CTL_GOT_DATA, /* item.octets: raw octets */
	CTL_GOT_END,  /* item.exit, item.octets: a line for people, maybe empty */
	CTL_GOT_LOST, /* the program went away or broke the rules: item.octets */
};

struct ctl_item {
	struct slice octets; /* lives until the next call */
	unsigned exit;
};

/*
 * Connect to the socket at `path' of program `peer' and ask. Returns 0, or -1
 * with errno: ENOENT and ECONNREFUSED mean that it is not running, EACCES that
 * the caller may not, EMSGSIZE that the words are too many or too long.
 */
int ctl_client_ask(struct ctl_client *c, const char *path, enum ipc_role peer,
    const char *const *words, size_t nwords);
/* The next piece of the answer; waits at most timeout_ms (-1: for ever). After
   END or LOST there is nothing more. */
enum ctl_got ctl_client_next(struct ctl_client *c, struct ctl_item *item,
    int timeout_ms);
void ctl_client_close(struct ctl_client *c);

#endif
