#include "config.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ipc_sock.h"

ssize_t
ipc_sock_send(int fd, char *p, size_t n, int pass)
{
	struct iovec iov = { p, n };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct cmsghdr *cm;

	if (pass != -1) {
		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = ctl.room;
		mh.msg_controllen = sizeof(ctl.room);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &pass, sizeof(int));
	}
	return sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool
take_cmsgs(struct ipc_fds *fds, struct msghdr *mh)
{
	struct cmsghdr *cm;
	size_t count, i;
	bool room = (mh->msg_flags & MSG_CTRUNC) == 0;
	int fd;

	for (cm = CMSG_FIRSTHDR(mh); cm != NULL; cm = CMSG_NXTHDR(mh, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS) {
			continue;
		}
		count = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
			if (fds->n < IPC_FDS_MAX) {
				fds->at[fds->n++] = fd;
			} else {
				(void)close(fd);
				room = false;
			}
		}
	}
	return room;
}

ssize_t
ipc_sock_receive(int fd, struct strbuf *in, struct ipc_fds *fds, int flags,
    bool *ok)
{
	struct iovec iov = { strbuf_room(in, IPC_SOCK_READ), IPC_SOCK_READ };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * 16)];
	} ctl;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl.room, .msg_controllen = sizeof(ctl.room) };
	ssize_t r;

	r = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC | flags);
	*ok = r < 0 || take_cmsgs(fds, &mh);
	if (r > 0) {
		strbuf_filled(in, (size_t)r);
	}
	return r;
}

int
ipc_fds_shift(struct ipc_fds *fds)
{
	int fd = fds->n > 0 ? fds->at[0] : -1;

	if (fds->n > 0) {
		fds->n--;
		memmove(&fds->at[0], &fds->at[1], fds->n * sizeof(fds->at[0]));
	}
	return fd;
}

void
ipc_fds_close(struct ipc_fds *fds)
{
	while (fds->n > 0) {
		(void)close(fds->at[--fds->n]);
	}
}
