/*
 * ipc_sock - octets and descriptors through a UNIX stream socket, for
 * ipc_chan.c and ipc_sync.c alone. Knows no messages.
 */
#ifndef COMMON_IPC_SOCK_H
#define COMMON_IPC_SOCK_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/ipc.h"

#define IPC_SOCK_READ (64 * 1024) /* octets asked for at a time */

/*
 * Send some of the octets at `p' (only read) without waiting; the first takes a
 * copy of the descriptor `pass' along (-1: none). Returns what sendmsg() does.
 */
ssize_t ipc_sock_send(int fd, char *p, size_t n, int pass);
/*
 * recvmsg() into `in', with `flags'; descriptors that come along are added to
 * *fds. *ok is false when some were lost or had no room: those are closed.
 */
ssize_t ipc_sock_receive(int fd, struct strbuf *in, struct ipc_fds *fds,
    int flags, bool *ok);

/* The oldest, which is the caller's from here on; -1: there is none. */
int ipc_fds_shift(struct ipc_fds *fds);
void ipc_fds_close(struct ipc_fds *fds);

#endif
