#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "master/connect.h"

/* Does the transport name this path? */
static bool
names_path(const char *transport, struct slice path)
{
	const struct slice mark = SL("lmtp:unix:");
	struct slice s = slice_trim(slice_of(transport));

	return s.n > mark.n && slice_case_eq(slice_make(s.p, mark.n), mark) &&
	    slice_eq(slice_make(s.p + mark.n, s.n - mark.n), path);
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
	return names_path(s->mailbox_transport, path) ||
	    names_path(s->default_transport, path);
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
