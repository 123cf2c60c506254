#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/spool.h"
#include "common/xmalloc.h"
#include "local/dispatch_int.h"

struct parcel *
fetch_parcel_new(uint64_t qid, uint64_t cookie)
{
	struct parcel *p = xcalloc(1, sizeof(*p));

	p->qid = qid;
	p->cookie = cookie;
	p->fd = -1;
	strbuf_init(&p->content, 0);
	TAILQ_INIT(&p->jobs);
	return p;
}

void
fetch_release(struct parcel *p)
{
	strbuf_clear(&p->content);
	if (p->fd != -1) {
		(void)close(p->fd);
		p->fd = -1;
	}
	p->here = false;
}

/* The question is answered, or nobody wants the answer. */
static void
not_asking(struct dispatch *d, struct parcel *p)
{
	if (p->fetch_tid != 0) {
		slots_drop(&d->fetch_ids, p->fetch_tid);
		TAILQ_REMOVE(&d->fetching, p, fetching);
		p->fetch_tid = 0;
	}
}

void
fetch_parcel_free(struct dispatch *d, struct parcel *p)
{
	not_asking(d, p);
	fetch_release(p);
	free(p->reverse_path);
	free(p);
}

static void
ask(struct dispatch *d, const struct parcel *p)
{
	if (d->cleanup.up) {
		ipc_begin(d->cleanup.chan, IPC_FETCH, p->fetch_tid);
		ipc_put_u(d->cleanup.chan, p->qid);
		ipc_put_u(d->cleanup.chan, p->cookie);
		ipc_end(d->cleanup.chan);
	}
}

void
fetch_want(struct dispatch *d, struct parcel *p)
{
	if (p->here || p->fetch_tid != 0) {
		return;
	}
	p->fetch_tid = slots_add(&d->fetch_ids, p);
	p->fetch_late_at = dispatch_now_ms() + d->settings->ipc_timeout * 1000;
	TAILQ_INSERT_TAIL(&d->fetching, p, fetching);
	ask(d, p);
}

/* Without its content nothing of the parcel can be delivered. */
static void
fail_all(struct dispatch *d, struct parcel *p, const struct outcome *o)
{
	struct job *j, *next;

	not_asking(d, p);
	/* The parcel goes with its last job, so `next' comes first. */
	for (j = TAILQ_FIRST(&p->jobs); j != NULL; j = next) {
		next = TAILQ_NEXT(j, in_parcel);
		jobs_finish(d, j, o);
	}
}

void
fetch_sweep(struct dispatch *d, uint64_t now_ms)
{
	struct parcel *p;
	struct outcome o;

	while ((p = TAILQ_FIRST(&d->fetching)) != NULL &&
	    p->fetch_late_at <= now_ms) {
		outcome_set(&o, FATE_DEFERRED, "4.3.0",
		    "the queue did not hand out the content in time");
		fail_all(d, p, &o);
	}
}

/* The content is here: it is passed on at the end of the turn. */
static void
is_here(struct dispatch *d, struct parcel *p)
{
	p->here = true;
	if (p->claimed == 0) {
		fetch_release(p);
	}
	dispatch_arm(d);
}

static bool
on_fetched(struct dispatch *d, struct parcel *p, const struct ipc_msg *m)
{
	struct slice content = ipc_s(m, 2);

	if (content.n != ipc_u(m, 0)) {
		return false;
	}
	not_asking(d, p);
	fetch_release(p);
	(void)strbuf_add_slice(&p->content, content);
	p->content_size = content.n;
	is_here(d, p);
	return true;
}

static void
on_file(struct dispatch *d, struct parcel *p, struct ipc_msg *m)
{
	not_asking(d, p);
	fetch_release(p);
	p->content_size = ipc_u(m, 0);
	p->offset = ipc_u(m, 2);
	p->fd = ipc_take_fd(m);
	is_here(d, p);
}

static void
on_failed(struct dispatch *d, struct parcel *p, const struct ipc_msg *m)
{
	struct slice why = ipc_s(m, 1);
	struct outcome o;

	outcome_set(&o, FATE_DEFERRED, "4.3.0", "the content: %.*s", SLF(why));
	fail_all(d, p, &o);
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct dispatch *d = owner;
	struct parcel *p = slots_get(&d->fetch_ids, m->tid);

	(void)ch;
	if (p == NULL) {
		return true; /* too late: nobody waits for it any more */
	}
	switch ((enum ipc_type)m->type) {
	case IPC_FETCHED:
		return on_fetched(d, p, m);
	case IPC_FETCHED_FILE:
		on_file(d, p, m);
		return true;
	case IPC_FETCH_FAILED:
		on_failed(d, p, m);
		return true;
	default:
		return false;
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct dispatch *d = owner;

	ipc_chan_free(ch);
	dispatch_link_down(d, &d->cleanup, why);
}

static const struct ipc_chan_ops cleanup_ops = {
	.me = IPC_LOCAL,
	.peer = IPC_CLEANUP,
	.message = on_message,
	.closed = on_closed,
};

void
dispatch_cleanup(struct dispatch *d, int fd)
{
	struct parcel *p;

	ipc_chan_free(d->cleanup.chan);
	d->cleanup.chan = ipc_chan_new(d->base, fd, &cleanup_ops, d);
	dispatch_link_up(d, &d->cleanup);
	/* What the old cleanup did not answer. */
	TAILQ_FOREACH(p, &d->fetching, fetching) {
		ask(d, p);
	}
}
