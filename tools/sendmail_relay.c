#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/sendmail_relay.h"

/* One read from `from', all of it written to `to'. 1, 0 at the end, or -1. */
static int
pump(int from, int to)
{
	char buf[16384];
	ssize_t r = read(from, buf, sizeof(buf)), w;
	char *p = buf;

	if (r <= 0) {
		return r == -1 && errno == EINTR ? 1 : (int)r;
	}
	while (r > 0) {
		w = write(to, p, (size_t)r);
		if (w == -1 && errno == EINTR) {
			continue;
		}
		if (w == -1) {
			return -1;
		}
		p += w;
		r -= w;
	}
	return 1;
}

int
sendmail_relay(int sock, int in, int out)
{
	struct pollfd pfd[2] = { { .fd = sock, .events = POLLIN },
		{ .fd = in, .events = POLLIN } };
	int r = 1;

	while (r == 1) {
		if (poll(pfd, 2, -1) == -1) {
			r = errno == EINTR ? 1 : -1;
			continue;
		}
		if (pfd[0].revents != 0) {
			r = pump(sock, out);
		} else if (pfd[1].revents != 0 && pump(in, sock) <= 0) {
			(void)shutdown(sock, SHUT_WR); /* the server answers on */
			pfd[1].fd = -1;
		}
	}
	(void)close(sock);
	return r;
}
