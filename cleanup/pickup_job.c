#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>

#include "cleanup/pickup_job.h"
#include "cleanup/scan.h"
#include "cleanup/transaction.h"
#include "common/drop.h"
#include "common/envelope.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"

#define WHY_MAX 256

/* What the next turn of the loop does. The transaction's callbacks only note
   their answer and arm the turn. */
enum step {
	STEP_CHECK,     /* parse and scan the file */
	STEP_RCPT,      /* the next recipient, or the content */
	STEP_CONTENT,   /* the next piece, or the end */
	STEP_WAIT,      /* for the transaction's answer */
	STEP_END,       /* tell `done' */
};

struct pickup_job {
	struct program *pg;
	void (*done)(void *arg, enum pickup_end end, const char *why);
	void *arg;
	uint32_t uid;
	struct strbuf file;
	struct slice reverse_path, rcpts, rcpt, content; /* borrow from it */
	uint32_t flags;
	uint64_t octets; /* of the content */
	struct transaction *transaction;
	enum step step;
	enum pickup_end end;
	char why[WHY_MAX];
	struct event *turn;
};

static void
next(struct pickup_job *job, enum step step)
{
	job->step = step;
	event_active(job->turn, 0, 0);
}

static void
end_with(struct pickup_job *job, enum pickup_end end, unsigned code,
    const char *esc, const char *text)
{
	int n = snprintf(job->why, sizeof(job->why), "%u %s %s", code, esc,
	    text);

	if (n < 0) {
		job->why[0] = '\0'; /* a cut text is good enough for the log */
	}
	job->end = end;
	next(job, STEP_END);
}

/* -- the transaction's answers ---------------------------------------------- */

/* 4.3.z says something about this system, but 4.3.5 is a broken alias. */
static bool
is_our_trouble(const char *esc)
{
	return strncmp(esc, "4.3.", 4) == 0 && strcmp(esc, "4.3.5") != 0;
}

static void
on_verdict(void *owner, uint32_t tid, unsigned code, const char *esc,
    const char *text)
{
	struct pickup_job *job = owner;

	(void)tid;
	if (code >= 400 && code <= 499 && is_our_trouble(esc)) {
		end_with(job, PICKUP_LATER, code, esc, text);
		return;
	}
	if (code >= 400) {
		log_warn("pickup: uid=%u, to=<%.*s>: %u %s %s",
		    (unsigned)job->uid, SLF(job->rcpt), code, esc, text);
	}
	if (code >= 400 && !transaction_add_error(job->transaction, job->rcpt,
	    esc, text)) {
		end_with(job, PICKUP_BAD, 552, "5.5.3", "Too many recipients");
		return;
	}
	next(job, STEP_RCPT);
}

static void
on_content_ack(void *owner, uint32_t tid, const struct reply *r)
{
	struct pickup_job *job = owner;

	(void)tid;
	if (r->code == 0) {
		next(job, STEP_CONTENT);
	} else {
		end_with(job, r->code < 500 ? PICKUP_LATER : PICKUP_BAD,
		    r->code, r->esc, r->text);
	}
}

static void
on_committed(void *owner, uint32_t tid, uint64_t qid, const struct reply *r)
{
	struct pickup_job *job = owner;
	char id[QID_TEXT + 1];

	(void)tid;
	job->transaction = NULL;
	if (r->code == 250) {
		qid_format(qid, id);
		log_info("%s: uid=%u from=<%.*s>", id, (unsigned)job->uid,
		    SLF(job->reverse_path));
	}
	end_with(job, r->code == 250 ? PICKUP_KEPT :
	    r->code < 500 ? PICKUP_LATER : PICKUP_BAD, r->code, r->esc,
	    r->text);
}

static const struct transaction_ops ops = {
	.verdict = on_verdict,
	.content_ack = on_content_ack,
	.committed = on_committed,
};

/* -- steps ------------------------------------------------------------------ */

static void
begin(struct pickup_job *job, const struct drop_head *h)
{
	char uid[16];
	struct transaction_start start = {
		.reverse_path = h->reverse_path,
		.client_name = SL("localhost"), .proto = SL("local"),
		.flags = (h->flags & DROP_8BITMIME) != 0 ?
		    (uint32_t)CONTENT_BODY_8BITMIME : 0,
		.uid = job->uid, .trusted = true,
	};

	if ((h->flags & DROP_SENDER_GIVEN) == 0 && h->reverse_path.n == 0) {
		(void)snprintf(uid, sizeof(uid), "uid%u", (unsigned)job->uid);
		start.reverse_path = slice_of(uid);
	}
	job->transaction = transaction_new(job->pg, &start, &ops, job, 0);
	next(job, STEP_RCPT);
}

static void
check(struct pickup_job *job)
{
	struct drop_head h;
	const char *wrong = drop_decode(strbuf_slice(&job->file), &h,
	    &job->content);

	if (wrong == NULL && h.nrcpts == 0) {
		wrong = "no recipient";
	}
	if (wrong == NULL) {
		wrong = scan_content(job->content, &job->flags);
	}
	if (wrong != NULL) {
		end_with(job, PICKUP_BAD, 554, "5.6.0", wrong);
		return;
	}
	job->octets = job->content.n;
	job->reverse_path = h.reverse_path;
	job->rcpts = h.rcpts;
	begin(job, &h);
}

static void
rcpt(struct pickup_job *job)
{
	if (!drop_rcpt_next(&job->rcpts, &job->rcpt)) {
		next(job, STEP_CONTENT);
		return;
	}
	job->step = STEP_WAIT;
	if (!transaction_rcpt(job->transaction, job->rcpt)) {
		end_with(job, PICKUP_BAD, 553, "5.1.3", "a bad recipient");
	}
}

static void
content(struct pickup_job *job)
{
	struct slice piece = job->content;
	bool ok;

	job->step = STEP_WAIT;
	if (piece.n == 0) {
		ok = transaction_commit(job->transaction, job->flags,
		    job->octets);
	} else {
		piece.n = piece.n < IPC_PIECE_MAX ? piece.n : IPC_PIECE_MAX;
		job->content.p += piece.n;
		job->content.n -= piece.n;
		ok = transaction_content(job->transaction, piece);
	}
	if (!ok) {
		end_with(job, PICKUP_LATER, 451, "4.3.5", "out of order");
	}
}

static void
destroy(struct pickup_job *job)
{
	transaction_end(job->transaction);
	event_free(job->turn);
	strbuf_clear(&job->file);
	free(job);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct pickup_job *job = arg;

	(void)fd;
	(void)what;
	switch (job->step) {
	case STEP_CHECK:
		check(job);
		break;
	case STEP_RCPT:
		rcpt(job);
		break;
	case STEP_CONTENT:
		content(job);
		break;
	case STEP_WAIT:
		break;
	case STEP_END:
		job->done(job->arg, job->end, job->why);
		destroy(job);
		break;
	}
}

struct pickup_job *
pickup_job_start(struct program *pg, struct strbuf *file, uint32_t uid,
    void (*done)(void *arg, enum pickup_end end, const char *why), void *arg)
{
	struct pickup_job *job = xcalloc(1, sizeof(*job));

	job->pg = pg;
	job->done = done;
	job->arg = arg;
	job->uid = uid;
	job->file = *file;
	strbuf_init(file, 0);
	job->turn = event_new(pg->base, -1, 0, on_turn, job);
	if (job->turn == NULL) {
		log_panic("pickup: no event");
	}
	next(job, STEP_CHECK);
	return job;
}

void
pickup_job_cancel(struct pickup_job *job)
{
	if (job != NULL) {
		destroy(job);
	}
}
