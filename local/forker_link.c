/* The dispatcher's end of the link to the forker: records out, sockets in. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "local/dispatch_int.h"

void
crew_forker_close(struct dispatch *d)
{
	if (d->forker_fd != -1) {
		event_free(d->forker_in);
		event_free(d->forker_out);
		(void)close(d->forker_fd);
		d->forker_fd = -1;
	}
}

static void
forker_lost(struct dispatch *d, const char *why)
{
	crew_forker_close(d);
	agent_link_down(&d->forker, why);
	ipc_say_lost(IPC_FORKER);
}

static void
send_records(struct dispatch *d)
{
	ssize_t w;

	while (d->forker_fd != -1 && d->records.n > 0) {
		w = send(d->forker_fd, d->records.p, RECORD_SIZE,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w == -1 && (errno == EAGAIN || errno == ENOBUFS)) {
			(void)event_add(d->forker_out, NULL);
			return;
		}
		if (w == -1 && errno == EINTR) {
			continue;
		}
		if (w == -1) {
			forker_lost(d, strerror(errno));
			return;
		}
		strbuf_consume(&d->records, RECORD_SIZE);
	}
}

void
crew_tell_forker(struct dispatch *d, enum record_kind kind, uint32_t serial,
    const char *name)
{
	struct record r = { .kind = kind, .serial = serial };
	char octets[RECORD_SIZE];

	if (d->forker_fd == -1) {
		return;
	}
	memcpy(r.name, name, strlen(name) + 1);
	record_encode(&r, octets);
	(void)strbuf_add(&d->records, octets, sizeof(octets));
	send_records(d);
}

/* recvmsg() of one record and at most one descriptor (-1: none). */
static ssize_t
receive(int sock, char *buf, size_t n, int *fd)
{
	struct iovec iov = { buf, n };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = ctl.room, .msg_controllen = sizeof(ctl.room) };
	struct cmsghdr *cm;
	ssize_t r = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	*fd = -1;
	if (r == -1) {
		return -1;
	}
	cm = CMSG_FIRSTHDR(&mh);
	if (cm != NULL && cm->cmsg_level == SOL_SOCKET &&
	    cm->cmsg_type == SCM_RIGHTS &&
	    cm->cmsg_len == CMSG_LEN(sizeof(int))) {
		memcpy(fd, CMSG_DATA(cm), sizeof(*fd));
	}
	return r;
}

/* False: there is no more to read now. */
static bool
read_answer(struct dispatch *d)
{
	char buf[RECORD_SIZE + 1];
	struct record_answer a;
	int fd;
	ssize_t n = receive(d->forker_fd, buf, sizeof(buf), &fd);

	if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
		return false;
	}
	if (n <= 0) {
		forker_lost(d, n == 0 ? "end of file" : strerror(errno));
		return false;
	}
	if (!record_answer_decode(slice_make(buf, (size_t)n), &a) ||
	    !crew_answered(d, &a, fd)) {
		if (fd != -1) {
			(void)close(fd);
		}
		forker_lost(d, "a bad answer");
		return false;
	}
	return true;
}

static void
on_forker_in(evutil_socket_t fd, short what, void *arg)
{
	struct dispatch *d = arg;
	int turn = 0;

	(void)fd;
	(void)what;
	while (turn++ < 64 && read_answer(d)) {
	}
}

static void
on_forker_out(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_records(arg);
}

void
dispatch_forker(struct dispatch *d, int fd)
{
	if (d->forker_fd != -1) {
		crew_forker_close(d);
		agent_link_down(&d->forker, "replaced");
	}
	(void)evutil_make_socket_nonblocking(fd);
	d->forker_fd = fd;
	strbuf_reset(&d->records);
	d->forker_in = event_new(d->base, fd, EV_READ | EV_PERSIST,
	    on_forker_in, d);
	d->forker_out = event_new(d->base, fd, EV_WRITE, on_forker_out, d);
	if (d->forker_in == NULL || d->forker_out == NULL ||
	    event_add(d->forker_in, NULL) == -1) {
		log_fatal(EX_OSERR, "local: no event");
	}
	agent_link_up(&d->agent, &d->forker);
	/* What the old forker did not answer. */
	crew_ask_again(d);
}
