#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "master/connect.h"

#define UNIX_HOP "lmtp:unix:"

/* Does `text' send mail to this path? It goes up to what ends a map's value. */
static bool
names_path(struct slice text, struct slice path)
{
	const struct slice mark = SL(UNIX_HOP);
	struct slice value;
	size_t i, n;

	for (i = 0; i + mark.n <= text.n; i++) {
		if (!slice_case_eq(slice_make(text.p + i, mark.n), mark)) {
			continue;
		}
		value = slice_make(text.p + i + mark.n, text.n - i - mark.n);
		for (n = 0; n < value.n && strchr(",} \t\r\n", value.p[n])
		    == NULL; n++) {
		}
		if (slice_eq(slice_make(value.p, n), path)) {
			return true;
		}
	}
	return false;
}

static bool
begins(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

bool
connect_is_named(const struct settings *s, struct slice path)
{
	size_t i;

	for (i = 0; i < s->lmtp_sockets.n; i++) {
		if (slice_eq(slice_of(s->lmtp_sockets.at[i]), path)) {
			return true;
		}
	}
	for (i = 0; i < s->transport_maps.n; i++) {
		const char *map = s->transport_maps.at[i];

		if ((begins(map, "inline:") || begins(map, "static:")) &&
		    names_path(slice_of(map), path)) {
			return true;
		}
	}
	return (begins(s->mailbox_transport, UNIX_HOP) &&
	    names_path(slice_of(s->mailbox_transport), path)) ||
	    (begins(s->default_transport, UNIX_HOP) &&
	    names_path(slice_of(s->default_transport), path));
}

/* A connected socket, or -1 and errno. With a UNIX socket that is at once: one
   whose backlog is full says EAGAIN. */
static int
unix_connect(struct slice path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, saved;

	if (path.n >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sun.sun_path, path.p, path.n);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1) {
		return -1;
	}
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1) {
		saved = errno == EAGAIN ? EBUSY : errno;
		(void)close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static void
refuse(struct proc *p, uint32_t tid, const char *why)
{
	ipc_begin(p->ch, IPC_CONNECT_FAILED, tid);
	ipc_put_str(p->ch, why);
	ipc_end(p->ch);
}

void
connect_serve(struct proc *p, uint32_t tid, struct slice path)
{
	int fd;

	if (slice_find(path, '\0') < path.n || path.n == 0 ||
	    path.p[0] != '/' || !connect_is_named(&p->m->settings, path)) {
		refuse(p, tid, "no setting allows this socket: name it in "
		    "lmtp_sockets");
		return;
	}
	fd = unix_connect(path);
	if (fd == -1) {
		refuse(p, tid, strerror(errno));
		return;
	}
	ipc_begin(p->ch, IPC_CONNECTED, tid);
	ipc_put_fd(p->ch, fd);
	ipc_end(p->ch);
	ipc_flush(p->ch);
}
