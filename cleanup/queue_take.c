/*
 * TAKE: what waits in the spool, and what is accepted, to qmgr. First what was
 * there when its channel came, oldest first, mixed with what is new.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup/flow.h"
#include "cleanup/queue_int.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"

#define RETRY_S 5 /* until a message that could not be read is tried */

void
queue_take_later(struct queue_service *s)
{
	if (s->taking) {
		event_active(s->turn, 0, 0);
	}
}

/* Not readable for now only: it is tried again after a while. */
static void
put_off(struct queue_service *s, uint64_t qid, int error)
{
	const struct timeval later = { RETRY_S, 0 };
	char id[QID_TEXT + 1];

	qid_format(qid, id);
	log_warn("%s: cannot be read just now: %s", id, strerror(error));
	if (s->nlater == 0) {
		(void)event_add(s->retry, &later);
	}
	if ((s->nlater & (s->nlater - 1)) == 0) { /* 0 or a power of two */
		s->later = xreallocarray(s->later,
		    s->nlater == 0 ? 1 : s->nlater * 2, sizeof(*s->later));
	}
	s->later[s->nlater++] = qid;
}

void
queue_take_retry(evutil_socket_t fd, short what, void *arg)
{
	struct queue_service *s = arg;
	size_t i;

	(void)fd;
	(void)what;
	for (i = 0; i < s->nlater; i++) {
		backlog_add(&s->backlog, s->later[i]);
	}
	s->nlater = 0;
	queue_take_later(s);
}

static void on_taken(void *arg, uint64_t qid, int error,
    const struct spool_info *info);

static void
read_one(struct queue_service *s, uint64_t qid)
{
	static const struct ipc_msg none = { .nfields = 0 };
	struct asked *a = queue_asked_new(s, &none);

	s->reading++;
	spool_info_get(s->pg->spool, qid, on_taken, a);
}

/* What has been read is on its way to qmgr: how far is the scan? Told a TAKE
   at a time, and once when it is over. */
static void
say_scanned(struct queue_service *s)
{
	uint64_t reached = backlog_reached(&s->backlog);

	if (reached > s->scanned &&
	    (reached == UINT64_MAX || s->taken == s->take_max)) {
		s->scanned = reached;
		ipc_begin(s->ch, IPC_SCANNED, 0);
		ipc_put_u(s->ch, reached);
		ipc_end(s->ch);
	}
}

/* Go on with the TAKE in hand: read more, or end it. */
static void
take_on(struct queue_service *s)
{
	uint64_t qid;

	if (!s->taking || s->in_turn || !ipc_chan_alive(s->ch)) {
		return;
	}
	s->in_turn = true;
	while (s->taken + s->reading < s->take_max &&
	    s->reading < QUEUE_READS_MAX &&
	    ipc_chan_queued(s->ch) < FLOW_HIGH_WATER &&
	    backlog_next(&s->backlog, s->pg->spool, &qid)) {
		read_one(s, qid);
	}
	s->in_turn = false;
	if (s->reading == 0) {
		say_scanned(s);
	}
	if (s->reading > 0 || s->taken < s->take_max) {
		return; /* on_taken, queue_take_accepted or on_drained goes on */
	}
	s->taking = false;
	ipc_begin(s->ch, IPC_TAKEN, s->take_tid);
	ipc_put_u(s->ch, s->taken);
	ipc_end(s->ch);
}

void
queue_take_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	take_on(arg);
}

static void
on_taken(void *arg, uint64_t qid, int error, const struct spool_info *info)
{
	struct asked *a = arg;
	struct queue_service *s = a->s;
	bool current = a->epoch == s->epoch;
	struct ipc_chan *ch = queue_asked_end(a);

	if (!current) {
		return;
	}
	s->reading--;
	if (error == 0 && ch != NULL) {
		entry_send(ch, s->take_tid, info, 0, &s->page);
		s->taken++;
	} else if (error != 0 && error != ENOENT && error != EBADMSG) {
		put_off(s, qid, error);
	}
	if (s->reading == 0) {
		take_on(s); /* at once: TAKEN leaves together with the ENTRY */
	} else {
		queue_take_later(s);
	}
}

bool
queue_take(struct queue_service *s, const struct ipc_msg *m)
{
	if (s->taking || ipc_u(m, 0) == 0 || ipc_u(m, 0) > QUEUE_TAKE_MAX) {
		return false;
	}
	s->taking = true;
	s->take_tid = m->tid;
	s->take_max = (unsigned)ipc_u(m, 0);
	s->taken = 0;
	queue_take_later(s);
	return true;
}

void
queue_take_accepted(void *arg, uint64_t qid)
{
	struct queue_service *s = arg;

	if (s->ch != NULL) {
		backlog_accepted(&s->backlog, qid);
		queue_take_later(s);
	}
}
