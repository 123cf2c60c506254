/*
 * A walk visits the messages that are known when it starts, in the order of
 * their ids: reads the page that it needs, one at a time, and lists or acts.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"
#include "qmgr/service.h"

#define TURN_IDS 500 /* visited before others get their turn */

struct walk {
	struct service *sv;
	struct ctl_session *cs; /* it ends by walk_end or by on_gone */
	enum walk_act act;
	struct walk_filter f;
	bool limited;
	uint64_t *ids;
	size_t n, at;
	uint32_t view;          /* the page that is awaited */
	bool pages;             /* more pages of ids[at] */
	uint32_t next_index;
	uint32_t token;
	unsigned marks;         /* on their way */
	uint64_t done, failed, missing, in_flight;
	char first_failure[200];
};

static void walk_on(struct walk *w);

static void
walk_free(struct walk *w)
{
	if (w->view != 0) {
		qmgr_view_cancel(w->sv->q, w->view);
	}
	slots_drop(&w->sv->walks, w->token);
	service_filter_clear(&w->f);
	free(w->ids);
	free(w);
}

/* -- the answer ----------------------------------------------------------------- */

static const struct {
	enum ipc_mark mark;
	const char *done, *in_flight;
} acts[] = {
	[WALK_LIST] = { IPC_MARK_HOLD, "", "" },
	[WALK_FLUSH] = { IPC_MARK_HOLD, "to be tried now",
	    "in flight already" },
	[WALK_HOLD] = { IPC_MARK_HOLD, "on hold",
	    "in flight, ending first" },
	[WALK_RELEASE] = { IPC_MARK_RELEASE, "released",
	    "in flight already" },
	[WALK_DELETE] = { IPC_MARK_DELETE, "deleted",
	    "in flight, and perhaps delivered all the same" },
	[WALK_REQUEUE] = { IPC_MARK_REQUEUE, "requeued",
	    "in flight, ended first" },
};

static void
add_in_flight(const struct walk *w, struct strbuf *b)
{
	if (w->in_flight > 0) {
		(void)strbuf_printf(b, "; %s: %" PRIu64,
		    acts[w->act].in_flight, w->in_flight);
	}
}

static unsigned
say_one(const struct walk *w, struct strbuf *b)
{
	char id[QID_TEXT + 1];

	qid_format(w->f.qid, id);
	(void)strbuf_printf(b, "%s: ", id);
	if (w->failed > 0) {
		(void)strbuf_add_str(b, w->first_failure);
		return EX_TEMPFAIL;
	}
	if (w->done == 0) {
		(void)strbuf_add_str(b, "no such message");
		return EX_NOINPUT;
	}
	(void)strbuf_add_str(b, acts[w->act].done);
	add_in_flight(w, b);
	return 0;
}

static unsigned
say_many(const struct walk *w, struct strbuf *b)
{
	(void)strbuf_printf(b, "%" PRIu64 " message%s %s", w->done,
	    w->done == 1 ? "" : "s", acts[w->act].done);
	add_in_flight(w, b);
	if (w->failed > 0) {
		(void)strbuf_printf(b, "; %" PRIu64 " failed (%s)", w->failed,
		    w->first_failure);
	}
	return w->failed > 0 ? EX_TEMPFAIL : 0;
}

/* Frees it. */
static void
walk_end(struct walk *w)
{
	struct strbuf b;
	unsigned code = 0;

	strbuf_init(&b, 0);
	if (w->act == WALK_LIST) {
		if (w->failed > 0) {
			(void)strbuf_printf(&b, "the list is not whole: %s",
			    w->first_failure);
			code = EX_TEMPFAIL;
		}
	} else {
		code = w->f.one ? say_one(w, &b) : say_many(w, &b);
	}
	ctl_end(w->cs, code, "%s", b.n > 0 ? b.p : "");
	strbuf_clear(&b);
	walk_free(w);
}

static void
on_gone(void *arg, struct ctl_session *cs)
{
	(void)cs;
	walk_free(arg);
}

static void
failed(struct walk *w, struct slice text)
{
	int n;

	if (w->failed++ == 0) {
		n = snprintf(w->first_failure, sizeof(w->first_failure), "%.*s",
		    (int)(text.n < 190 ? text.n : 190), text.p);
		if (n < 0) {
			w->first_failure[0] = '\0';
		}
	}
}

/* -- one message ------------------------------------------------------------------ */

/* Does the act; the filter fits. */
static void
act_on(struct walk *w, uint64_t qid)
{
	struct sched *s = w->sv->q->s;
	char reason[64];
	struct sched_info info;
	int n;

	sched_info(s, qid, &info);
	w->in_flight += info.running;
	qmgr_wake(w->sv->q);
	if (w->act == WALK_FLUSH) {
		if (sched_flush(s, qid)) {
			w->done++;
		} else if (w->f.one && info.state == SCHED_S_HOLD) {
			failed(w, SL("is on hold; release it first"));
		}
		return;
	}
	if (w->act == WALK_RELEASE && info.state != SCHED_S_HOLD &&
	    info.state != SCHED_S_UNKNOWN) {
		if (w->f.one) {
			failed(w, SL("is not on hold"));
		}
		return;
	}
	n = snprintf(reason, sizeof(reason), "by the administrator (uid %u)",
	    ctl_session_uid(w->cs));
	w->marks++;
	sched_mark(s, qid, acts[w->act].mark, n > 0 ? reason : "", w->token);
}

/* What can be told without reading it. */
static bool
state_fits(const struct walk *w, uint64_t qid)
{
	struct sched_info info;

	sched_info(w->sv->q->s, qid, &info);
	return w->f.state == SCHED_S_UNKNOWN || info.state == w->f.state;
}

static bool
message_fits(const struct walk *w, const struct sched_entry_in *in)
{
	return (w->f.sender == NULL ||
	    service_match(w->f.sender, in->reverse_path)) &&
	    sched_age_s(w->sv->q->s, in->arrived_us) >= w->f.age_s;
}

static bool
page_fits(const struct walk *w, const struct sched_entry_in *in)
{
	struct slice page = in->page;
	struct rcpt_item r;
	bool bad = false;

	while (rcpt_item_decode(&page, &r, &bad)) {
		if (service_fits(&w->f, &r)) {
			return true;
		}
	}
	return false;
}

static void
next(struct walk *w)
{
	w->at++;
	w->pages = false;
	w->next_index = 0;
}

static void
on_view(void *arg, const struct sched_entry_in *in, struct slice hold_reason)
{
	struct walk *w = arg;
	bool more, fits;

	w->view = 0;
	if (in == NULL) {
		if (hold_reason.n == 0) {
			failed(w, SL("no answer from cleanup"));
		}
		next(w); /* else it has gone in the meantime */
		walk_on(w);
		return;
	}
	fits = message_fits(w, in);
	more = fits && in->next_index != 0 && !w->limited;
	if (fits && w->act == WALK_LIST) {
		service_rows(w->sv->q, w->cs, in, hold_reason, &w->f,
		    w->limited);
	} else if (fits && page_fits(w, in)) {
		act_on(w, in->qid);
		more = false;
	}
	if (more) {
		w->pages = true;
		w->next_index = in->next_index;
	} else {
		next(w);
	}
	walk_on(w);
}

static bool
must_read(const struct walk *w)
{
	return w->act == WALK_LIST || w->f.age_s > 0 ||
	    service_filters_addresses(&w->f);
}

/* Visits ids[at]; false: an answer is awaited, or nothing goes on. */
static bool
visit(struct walk *w)
{
	uint64_t qid = w->ids[w->at];

	if (!w->pages && !state_fits(w, qid)) {
		next(w);
		return true;
	}
	if (!must_read(w)) {
		act_on(w, qid);
		next(w);
		return true;
	}
	w->view = qmgr_view(w->sv->q, qid, w->next_index, on_view, w);
	if (w->view == 0) {
		failed(w, SL("cleanup is not there just now"));
		w->at = w->n;
		return true;
	}
	return false;
}

static void
on_room(void *arg, struct ctl_session *cs)
{
	(void)cs;
	walk_on(arg);
}

/* Goes on as far as it can; may free it. */
static void
walk_on(struct walk *w)
{
	int turn = 0;

	qmgr_time(w->sv->q);
	if (w->view != 0) {
		return;
	}
	while (w->at < w->n && w->marks < SERVICE_MARKS) {
		if (ctl_is_full(w->cs) || turn++ == TURN_IDS) {
			ctl_on_room(w->cs, on_room, w);
			return;
		}
		if (!visit(w)) {
			return;
		}
	}
	if (w->at == w->n && w->marks == 0) {
		walk_end(w);
	}
}

void
walk_marked(struct walk *w, uint64_t qid, unsigned result, struct slice text)
{
	(void)qid;
	w->marks--;
	if (result == 0) {
		w->done++;
	} else if (result == 1) {
		w->missing++;
	} else {
		failed(w, text);
	}
	walk_on(w);
}

void
walk_start(struct service *sv, struct ctl_session *cs, enum walk_act act,
    const struct walk_filter *f, bool limited)
{
	struct walk *w = xcalloc(1, sizeof(*w));

	w->sv = sv;
	w->cs = cs;
	w->act = act;
	w->f = *f;
	w->limited = limited;
	if (f->one) {
		w->ids = xcalloc(1, sizeof(*w->ids));
		w->ids[0] = f->qid;
		w->n = 1;
	} else {
		w->ids = sched_list(sv->q->s, &w->n);
	}
	w->token = slots_add(&sv->walks, w);
	if (w->token == 0) { /* bounded by the number of tools */
		log_panic("qmgr: more tools than ids");
	}
	ctl_on_gone(cs, on_gone, w);
	walk_on(w);
}
