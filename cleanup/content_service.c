#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup/content_service.h"
#include "cleanup/flow.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/siphash.h"
#include "common/xmalloc.h"

/* Descriptors on their way are few (common/ipc): at most this many answers of
   that kind before the agent has read them. */
#define FILES_QUEUED_MAX 32

struct content_service {
	struct program *pg;
	struct ipc_chan_ops ops;
	struct ipc_chan *ch; /* NULL: none just now */
	uint32_t epoch;      /* counts channels: older questions are void */
	unsigned asked;      /* questions in the spool's hands, of any channel */
	unsigned files;      /* descriptors queued since the channel drained */
};

struct fetch {
	struct content_service *s;
	uint32_t epoch, tid;
};

static void
send_failed(struct content_service *s, uint32_t tid, bool gone,
    const char *reason)
{
	ipc_begin(s->ch, IPC_FETCH_FAILED, tid);
	ipc_put_u(s->ch, gone ? 1 : 0);
	ipc_put_str(s->ch, reason);
	ipc_end(s->ch);
}

static void
send_file(struct content_service *s, uint32_t tid, int fd, uint64_t offset,
    uint64_t size, uint32_t flags)
{
	ipc_begin(s->ch, IPC_FETCHED_FILE, tid);
	ipc_put_u(s->ch, size);
	ipc_put_u(s->ch, flags);
	ipc_put_u(s->ch, offset);
	ipc_put_fd(s->ch, fd);
	ipc_end(s->ch);
	s->files++;
}

static bool
is_full(const struct content_service *s)
{
	return s->asked >= CONTENT_ASKED_MAX || s->files >= FILES_QUEUED_MAX ||
	    ipc_chan_queued(s->ch) > FLOW_HIGH_WATER;
}

static void
on_content(void *arg, uint64_t qid, int error, struct slice content, int fd,
    uint64_t offset, uint64_t size, uint32_t flags)
{
	struct fetch *f = arg;
	struct content_service *s = f->s;
	bool current = f->epoch == s->epoch && ipc_chan_alive(s->ch);
	uint32_t tid = f->tid;

	(void)qid;
	free(f);
	s->asked--;
	if (!current) {
		if (error == 0 && fd != -1) {
			(void)close(fd);
		}
		return;
	}
	if (error != 0) {
		send_failed(s, tid, error == ENOENT || error == EBADMSG,
		    error == ENOENT ? "no such message" : strerror(error));
	} else if (fd != -1) {
		send_file(s, tid, fd, offset, size, flags);
	} else {
		ipc_begin(s->ch, IPC_FETCHED, tid);
		ipc_put_u(s->ch, size);
		ipc_put_u(s->ch, flags);
		ipc_put_s(s->ch, content);
		ipc_end(s->ch);
	}
	ipc_chan_pause(s->ch, is_full(s));
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct content_service *s = owner;
	uint64_t qid;
	struct fetch *f;
	char id[QID_TEXT + 1];

	(void)ch;
	if (m->type != IPC_FETCH) {
		return false;
	}
	qid = ipc_u(m, 0);
	if (ipc_u(m, 1) != siphash_cookie(s->pg->cookie_key, qid)) {
		qid_format(qid, id);
		log_warn("%s: %s asked for content with a wrong cookie", id,
		    ipc_role_name(s->ops.peer));
		send_failed(s, m->tid, true, "no such message");
		ipc_chan_pause(s->ch, is_full(s));
		return true;
	}
	f = xmalloc(sizeof(*f));
	*f = (struct fetch){ .s = s, .epoch = s->epoch, .tid = m->tid };
	s->asked++;
	spool_content(s->pg->spool, qid, SPOOL_INLINE_MAX, on_content, f);
	ipc_chan_pause(s->ch, is_full(s));
	return true;
}

static void
forget(struct content_service *s)
{
	s->epoch++;
	s->files = 0;
	ipc_chan_free(s->ch);
	s->ch = NULL;
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct content_service *s = owner;

	(void)ch;
	log_info("the channel to %s closed: %s", ipc_role_name(s->ops.peer),
	    why);
	forget(s);
}

static void
on_drained(void *owner, struct ipc_chan *ch)
{
	struct content_service *s = owner;

	s->files = 0;
	ipc_chan_pause(ch, is_full(s));
}

void
content_service_channel(struct content_service *s, int fd)
{
	forget(s);
	s->ch = ipc_chan_new(s->pg->base, fd, &s->ops, s);
}

struct content_service *
content_service_new(struct program *pg, enum ipc_role agent)
{
	struct content_service *s = xcalloc(1, sizeof(*s));

	s->pg = pg;
	s->ops = (struct ipc_chan_ops){ .me = IPC_CLEANUP, .peer = agent,
		.message = on_message, .closed = on_closed,
		.drained = on_drained };
	return s;
}

void
content_service_free(struct content_service *s)
{
	if (s != NULL) {
		forget(s);
		free(s);
	}
}
