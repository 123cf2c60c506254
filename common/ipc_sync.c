/*
 * Blocking use of a channel: at program start, before there is a loop, and in
 * the tools.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ipc.h"
#include "common/ipc_sock.h"

static int
wait_readable(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int r;

	do {
		r = timeout_ms != 0 ? poll(&pfd, 1, timeout_ms) : 0;
	} while (r == -1 && errno == EINTR);
	if (r == 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	return r < 0 ? -1 : 0;
}

int
ipc_sync_read(struct ipc_sync *c, struct ipc_msg *m, int timeout_ms)
{
	const char *why;
	size_t used;
	bool wants_fd, ok;
	ssize_t r;

	for (;;) {
		switch (ipc_decode(slice_make(c->in.p + c->done,
		    c->in.n - c->done), c->peer, c->me, m, &used, &wants_fd,
		    &why)) {
		case IPC_DEC_BAD:
			errno = EPROTO;
			return -1;
		case IPC_DEC_OK:
			c->done += used;
			if (wants_fd && (m->fd = ipc_fds_shift(&c->fds)) == -1) {
				errno = EPROTO;
				return -1;
			}
			return 1;
		case IPC_DEC_MORE:
			break;
		}
		strbuf_consume(&c->in, c->done);
		c->done = 0;
		/* poll() only where there is nothing yet, and a limit. */
		r = ipc_sock_receive(c->fd, &c->in, &c->fds,
		    timeout_ms < 0 ? 0 : MSG_DONTWAIT, &ok);
		if (r == -1 && errno == EAGAIN &&
		    wait_readable(c->fd, timeout_ms) == -1) {
			return -1;
		}
		if (r == -1 && (errno == EINTR || errno == EAGAIN)) {
			continue;
		}
		if (r <= 0 || !ok) {
			if (r > 0) {
				errno = EPROTO;
				return -1;
			}
			return (int)r;
		}
	}
}

int
ipc_sync_write(int fd, struct slice b)
{
	ssize_t w;

	while (b.n > 0) {
		w = send(fd, b.p, b.n, MSG_NOSIGNAL);
		if (w == -1 && errno == EINTR) {
			continue;
		}
		if (w == -1) {
			return -1;
		}
		b.p += w;
		b.n -= (size_t)w;
	}
	return 0;
}

void
ipc_sync_clear(struct ipc_sync *c)
{
	ipc_fds_close(&c->fds);
	if (c->fd != -1) {
		(void)close(c->fd);
		c->fd = -1;
	}
	strbuf_clear(&c->in);
}
