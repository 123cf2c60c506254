#include "config.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/ipc.h"
#include "local/homedir.h"
#include "local/maildir.h"
#include "local/mbox.h"
#include "local/worker.h"

struct worker {
	bool is_mbox;
	struct maildir maildir; /* ... or */
	struct mbox mbox;
	int mbox_dir;           /* -1: none */
	struct ipc_sync in;
	struct strbuf out;
	size_t n; /* jobs of this batch */
	struct pending jobs[DELIVERY_BATCH];
	struct {
		uint32_t tid;
		uint64_t qid, index;
	} names[DELIVERY_BATCH];
};

void
worker_refuse(int sock, const struct outcome *o)
{
	struct ipc_build b;
	struct strbuf out;

	strbuf_init(&out, 0);
	ipc_build_begin(&b, &out, IPC_WORKER_FAILED, 0);
	ipc_build_u(&b, (uint64_t)o->fate);
	ipc_build_s(&b, slice_of(o->esc));
	ipc_build_s(&b, slice_of(o->text));
	ipc_build_end(&b);
	(void)ipc_sync_write(sock, strbuf_slice(&out));
	strbuf_clear(&out);
}

/* Make the batch durable and answer it; false: nobody is there to hear. */
static bool
finish(struct worker *w)
{
	struct ipc_build b;
	int sent;
	size_t i;

	if (w->n == 0) {
		return true;
	}
	if (w->is_mbox) {
		mbox_finish(&w->mbox, w->jobs, w->n);
	} else {
		maildir_finish(&w->maildir, w->jobs, w->n);
	}
	for (i = 0; i < w->n; i++) {
		ipc_build_begin(&b, &w->out, IPC_JOB_RESULT, w->names[i].tid);
		ipc_build_u(&b, w->names[i].qid);
		ipc_build_u(&b, w->names[i].index);
		ipc_build_u(&b, (uint64_t)w->jobs[i].outcome.fate);
		ipc_build_s(&b, slice_of(w->jobs[i].outcome.esc));
		ipc_build_s(&b, slice_of(w->jobs[i].outcome.text));
		ipc_build_end(&b);
		pending_clear(&w->jobs[i]);
	}
	w->n = 0;
	sent = ipc_sync_write(w->in.fd, strbuf_slice(&w->out));
	strbuf_reset(&w->out);
	return sent == 0;
}

/* The fields that JOB and JOB_FILE share; false when they make no sense. */
static bool
read_job(struct ipc_msg *m, struct delivery *msg)
{
	*msg = (struct delivery){
		.qid = ipc_u(m, 0), .index = (uint32_t)ipc_u(m, 1),
		.again = ipc_u(m, 2) != 0, .arrived_us = ipc_u(m, 3),
		.reverse_path = ipc_s(m, 4), .address = ipc_s(m, 5),
		.original = ipc_s(m, 6), .size = ipc_u(m, 9),
		.content = SL(""), .fd = -1,
	};
	if (ipc_u(m, 1) > UINT32_MAX) {
		return false;
	}
	if (m->type == IPC_JOB) {
		msg->content = ipc_s(m, 10);
		return msg->content.n == msg->size;
	}
	msg->offset = ipc_u(m, 10);
	msg->fd = ipc_take_fd(m);
	return msg->size <= INT64_MAX && msg->offset <= INT64_MAX - msg->size;
}

static bool
take_job(struct worker *w, struct ipc_msg *m)
{
	struct delivery msg;
	bool good;

	if (m->type != IPC_JOB && m->type != IPC_JOB_FILE) {
		return false;
	}
	good = read_job(m, &msg);
	if (good) {
		w->names[w->n].tid = m->tid;
		w->names[w->n].qid = msg.qid;
		w->names[w->n].index = msg.index;
		if (w->is_mbox) {
			mbox_write(&w->mbox, &msg, &w->jobs[w->n++]);
		} else {
			maildir_write(&w->maildir, &msg, &w->jobs[w->n++]);
		}
	}
	if (msg.fd != -1) {
		(void)close(msg.fd);
	}
	return good;
}

/* One turn: take a job, or finish the batch. False at the end; *code is set. */
static bool
turn(struct worker *w, int *code)
{
	struct ipc_msg m;
	int r = ipc_sync_read(&w->in, &m, w->n == 0 ? -1 : 0);

	if (r == 1) {
		if (!take_job(w, &m)) {
			*code = EX_PROTOCOL;
			return false;
		}
		return w->n < DELIVERY_BATCH || finish(w);
	}
	if (r == -1 && errno == ETIMEDOUT) {
		return finish(w);
	}
	*code = r == 0 ? EX_OK : EX_IOERR;
	return false;
}

/* The directories above an mbox are walked down to once. False: `o' says why
   there is no mailbox. */
static bool
open_box(struct worker *w, const struct worker_config *cfg, struct outcome *o)
{
	const char *slash = strrchr(cfg->mailbox, '/');

	w->mbox_dir = -1;
	w->is_mbox = slash == NULL || slash[1] != '\0';
	if (!w->is_mbox) {
		maildir_init(&w->maildir, cfg->dir, cfg->mailbox, cfg->host);
		return true;
	}
	w->mbox_dir = homedir_walk(cfg->dir, slash == NULL ? SL("") :
	    slice_make(cfg->mailbox, (size_t)(slash - cfg->mailbox)), o);
	if (w->mbox_dir == -1) {
		return false;
	}
	mbox_init(&w->mbox, w->mbox_dir, slash == NULL ? cfg->mailbox :
	    slash + 1, cfg->shown);
	w->mbox.limit = cfg->limit;
	w->mbox.lock.wait_ms = cfg->lock_wait_ms;
	w->mbox.lock.group = cfg->group;
	return true;
}

static void
close_box(struct worker *w)
{
	if (!w->is_mbox) {
		maildir_clear(&w->maildir);
		return;
	}
	mbox_clear(&w->mbox);
	(void)close(w->mbox_dir);
}

int
worker_serve(const struct worker_config *cfg)
{
	static struct worker w; /* large, and one a process */
	struct outcome o;
	int code = EX_OK;

	if (!open_box(&w, cfg, &o)) {
		worker_refuse(cfg->sock, &o);
		return EX_OK;
	}
	w.in = (struct ipc_sync){ .fd = cfg->sock, .me = IPC_WORKER,
		.peer = IPC_LOCAL };
	w.n = 0;
	strbuf_init(&w.out, 0);
	while (turn(&w, &code)) {
	}
	/* What was given to us is delivered, whether or not it is heard. */
	(void)finish(&w);
	close_box(&w);
	strbuf_clear(&w.out);
	ipc_sync_clear(&w.in);
	return code;
}
