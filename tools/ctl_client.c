#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/ctl.h"
#include "tools/ctl_client.h"

static int
connect_to(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	int fd, saved;

	if (n >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sun.sun_path, path, n);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1) {
		return -1;
	}
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1) {
		saved = errno;
		(void)close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* CTL_ASK with the words; false when they do not fit. */
static bool
build_ask(struct strbuf *out, const char *const *words, size_t nwords)
{
	struct strbuf flat;
	struct ipc_build b;
	bool fits = nwords > 0 && nwords <= CTL_WORDS_MAX;
	size_t i;

	strbuf_init(&flat, IPC_BLOB_MAX);
	for (i = 0; i < nwords && fits; i++) {
		fits = strbuf_add(&flat, words[i], strlen(words[i]) + 1);
	}
	if (fits) {
		ipc_build_begin(&b, out, IPC_CTL_ASK, 1);
		ipc_build_s(&b, strbuf_slice(&flat));
		ipc_build_end(&b);
	}
	strbuf_clear(&flat);
	return fits;
}

/* The other end is closed. */
static bool
is_ended(int error)
{
	return error == EPIPE || error == ECONNRESET;
}

int
ctl_client_ask(struct ctl_client *c, const char *path, enum ipc_role peer,
    const char *const *words, size_t nwords)
{
	struct strbuf ask;
	int r, saved;

	*c = (struct ctl_client){ .in = { .fd = -1, .me = IPC_TOOL,
	    .peer = peer } };
	strbuf_init(&ask, 0);
	if (!build_ask(&ask, words, nwords)) {
		errno = EMSGSIZE;
		return -1;
	}
	c->in.fd = connect_to(path);
	r = c->in.fd == -1 ? -1 : ipc_sync_write(c->in.fd, strbuf_slice(&ask));
	if (r == -1 && c->in.fd != -1 && is_ended(errno)) {
		r = 0; /* it may have said why: that is to be read */
	}
	saved = errno;
	strbuf_clear(&ask);
	if (r == -1) {
		ctl_client_close(c);
	}
	errno = saved;
	return r;
}

enum ctl_got
ctl_client_next(struct ctl_client *c, struct ctl_item *item, int timeout_ms)
{
	struct ipc_msg m;
	int r = ipc_sync_read(&c->in, &m, timeout_ms);

	*item = (struct ctl_item){ SL(""), EX_PROTOCOL };
	if (r == 0 || (r == -1 && is_ended(errno))) {
		item->octets = SL("it ended the connection: it is being "
		    "started anew, or has too much to do; try again, and see "
		    "`veredus status'");
		item->exit = EX_TEMPFAIL;
		return CTL_GOT_LOST;
	}
	if (r == -1) {
		item->octets = slice_of(strerror(errno));
		item->exit = errno == ETIMEDOUT ? EX_TEMPFAIL : EX_PROTOCOL;
		return CTL_GOT_LOST;
	}
	switch ((enum ipc_type)m.type) {
	case IPC_CTL_ROW:
		item->octets = ipc_s(&m, 0);
		return CTL_GOT_ROW;
	case IPC_CTL_DATA:
		item->octets = ipc_s(&m, 0);
		return CTL_GOT_DATA;
	case IPC_CTL_END:
		item->exit = (unsigned)(ipc_u(&m, 0) & 0xff);
		item->octets = ipc_s(&m, 1);
		return CTL_GOT_END;
	default:
		item->octets = SL("it sent something else than an answer");
		return CTL_GOT_LOST;
	}
}

void
ctl_client_close(struct ctl_client *c)
{
	ipc_sync_clear(&c->in);
}
