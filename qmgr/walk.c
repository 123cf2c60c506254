/*
 * A walk visits the messages that are queued when it starts, in the order of
 * their ids, and lists them or acts on them. While cleanup is still handing them
 * over (after a start) it follows, and ends behind the last of them. It keeps one page of ids; of the
 * messages that it has to read, WALK_AHEAD at most are on their way, and told in
 * order, whatever the order of the answers.
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

#define TURN_IDS    500  /* visited before others get their turn */
#define WALK_IDS    256  /* known of at a time */
#define WALK_AHEAD  256  /* read at a time */
#define PROGRESS_MS 1000

/* A message that is being read. */
struct visit {
	struct walk *w;
	uint64_t qid;
	uint32_t view;      /* the answer that is awaited; 0: it is there */
	bool gone, lost;    /* there is no page: the message, or the answer */
	struct sched_entry_in in;
	struct slice hold_reason;
	char *copy;         /* owns the page and its texts */
};

struct walk {
	struct service *sv;
	struct ctl_session *cs; /* it ends by walk_end or by on_gone */
	enum walk_act act;
	struct walk_filter f;
	bool limited, whole;    /* whole: no more ids than ids[] */
	uint64_t ids[WALK_IDS], after; /* after: the last that was in ids[] */
	uint64_t last; /* newer ones are not looked at; UINT64_MAX: all are */
	size_t n, at;
	struct visit reads[WALK_AHEAD]; /* a ring */
	unsigned first, nreads;
	uint32_t token;
	unsigned marks;         /* on their way */
	uint64_t seen, of, done, failed, missing, in_flight;
	uint64_t progress_ms;   /* when it is told next */
	char first_failure[200];
};

static void walk_on(struct walk *w);

static void
walk_free(struct walk *w)
{
	unsigned i;

	for (i = 0; i < WALK_AHEAD; i++) {
		if (w->reads[i].view != 0) {
			qmgr_view_cancel(w->sv->q, w->reads[i].view);
		}
		free(w->reads[i].copy);
	}
	slots_drop(&w->sv->walks, w->token);
	service_filter_clear(&w->f);
	free(w);
}

/* -- the answer ----------------------------------------------------------------- */

static const struct {
	enum ipc_mark mark;
	const char *done, *in_flight;
} acts[] = {
	[WALK_LIST] = { IPC_MARK_HOLD, "", "" },
	[WALK_BRIEF] = { IPC_MARK_HOLD, "", "" },
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

static bool
is_list(const struct walk *w)
{
	return w->act == WALK_LIST || w->act == WALK_BRIEF;
}

/* So that whoever waits for a million messages sees that it goes on. */
static void
say_progress(struct walk *w)
{
	struct strbuf b;

	if (is_list(w) || w->f.one || qmgr_mono_ms() < w->progress_ms) {
		return;
	}
	w->progress_ms = qmgr_mono_ms() + PROGRESS_MS;
	strbuf_init(&b, 0);
	if (service_is_scanning(w->sv)) {
		(void)strbuf_printf(&b, "the queue is being read in, ");
	}
	(void)strbuf_printf(&b, "%" PRIu64 " of %" PRIu64 " messages looked at, "
	    "%" PRIu64 " %s", w->seen, w->of, w->done, acts[w->act].done);
	ctl_row_begin(w->cs);
	ctl_row_s(w->cs, CTL_PROGRESS, strbuf_slice(&b));
	ctl_row_end(w->cs);
	strbuf_clear(&b);
}

/* Frees it. */
static void
walk_end(struct walk *w)
{
	struct strbuf b;
	unsigned code = 0;

	strbuf_init(&b, 0);
	if (is_list(w)) {
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
known_fits(const struct walk *w, const struct sched_info *info)
{
	const uint64_t arrived_us = info->arrived_s * 1000000;

	return (w->f.state == SCHED_S_UNKNOWN || info->state == w->f.state ||
	    (w->f.state == SCHED_S_HOLD && info->held)) &&
	    (w->f.age_s == 0 ||
	    sched_age_s(w->sv->q->s, arrived_us) >= w->f.age_s);
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

/* A page that is listed, or whose message fits. */
static void
use_page(struct walk *w, const struct visit *v)
{
	struct sched_info info;

	if (w->act == WALK_LIST) {
		service_rows(w->sv->q, w->cs, &v->in, v->hold_reason, &w->f);
	} else if (w->act == WALK_BRIEF) {
		sched_info(w->sv->q->s, v->qid, &info);
		service_brief(w->sv->q, w->cs, v->qid, &info, w->limited);
	} else {
		act_on(w, v->qid);
	}
}

/* -- reading ---------------------------------------------------------------------- */

static void
keep(char **at, struct slice *text)
{
	if (text->n > 0) {
		memcpy(*at, text->p, text->n);
	}
	text->p = *at;
	*at += text->n;
}

static void
copy_page(struct visit *v)
{
	char *at = v->copy = xmalloc(v->in.reverse_path.n + v->in.page.n +
	    v->hold_reason.n + 1);

	keep(&at, &v->in.reverse_path);
	keep(&at, &v->in.page);
	keep(&at, &v->hold_reason);
}

static void on_view(void *arg, const struct sched_entry_in *in,
    struct slice hold_reason);

/* False: there is nobody to ask. */
static bool
ask(struct visit *v, uint32_t from)
{
	free(v->copy);
	v->copy = NULL;
	v->view = qmgr_view(v->w->sv->q, v->qid, from, on_view, v);
	return v->view != 0;
}

static void
on_view(void *arg, const struct sched_entry_in *in, struct slice hold_reason)
{
	struct visit *v = arg;
	const bool first = v == &v->w->reads[v->w->first];

	v->view = 0;
	if (in == NULL) {
		v->gone = hold_reason.n > 0;
		v->lost = !v->gone;
	} else {
		v->in = *in;
		v->hold_reason = hold_reason;
	}
	if (in != NULL && (!first || ctl_is_full(v->w->cs))) {
		copy_page(v); /* else it is used at once */
	}
	if (first) {
		walk_on(v->w); /* else the first is awaited */
	}
}

/* The answer is there. False: the message has more pages, and they are needed. */
static bool
end_read(struct walk *w, struct visit *v)
{
	bool fits, more;

	if (v->gone || v->lost) {
		if (v->lost) {
			failed(w, SL("no answer from cleanup"));
		}
		return true;
	}
	fits = w->f.sender == NULL ||
	    service_match(w->f.sender, v->in.reverse_path);
	more = fits && v->in.next_index != 0;
	if (fits && w->act == WALK_LIST) {
		use_page(w, v);
	} else if (fits && page_fits(w, &v->in)) {
		use_page(w, v);
		more = false;
	}
	if (more && !ask(v, v->in.next_index)) {
		failed(w, SL("cleanup is not there just now"));
		more = false;
	}
	return !more;
}

/* All that have been read, in order. */
static void
end_reads(struct walk *w)
{
	struct visit *v = &w->reads[w->first];

	while (w->nreads > 0 && v->view == 0 && !ctl_is_full(w->cs)) {
		if (!end_read(w, v)) {
			return;
		}
		free(v->copy);
		v->copy = NULL;
		w->first = (w->first + 1) % WALK_AHEAD;
		w->nreads--;
		v = &w->reads[w->first];
	}
}

static bool
must_read(const struct walk *w)
{
	return w->act == WALK_LIST || service_filters_addresses(&w->f);
}

/* The sender is known, and is another: there is no need to read it. */
static bool
is_of_another(const struct walk *w, const struct sched_info *info)
{
	return w->f.sender != NULL && info->from.n > 0 &&
	    info->from.p[0] != '@' &&
	    !service_match(w->f.sender, slice_eq(info->from, SL("<>")) ?
	    SL("") : info->from);
}

static void
read_one(struct walk *w, uint64_t qid)
{
	struct visit *v = &w->reads[(w->first + w->nreads) % WALK_AHEAD];

	*v = (struct visit){ .w = w, .qid = qid };
	if (!ask(v, 0)) {
		failed(w, SL("cleanup is not there just now"));
		w->at = w->n;
		w->whole = true;
		return;
	}
	w->nreads++;
}

/* -- the way ---------------------------------------------------------------------- */

/* Up to where is everything known that is to be visited? */
static uint64_t
known_to(struct walk *w)
{
	const struct qmgr *q = w->sv->q;

	if (service_is_scanning(w->sv)) {
		return q->scanned < w->last ? q->scanned : w->last;
	}
	if (w->last == UINT64_MAX) { /* the scan has ended meanwhile */
		w->last = sched_last(q->s);
		w->of = sched_known(q->s);
	}
	return w->last;
}

static void
list_ids(struct walk *w)
{
	uint64_t to = known_to(w);

	w->n = sched_list(w->sv->q->s, w->after, w->ids, WALK_IDS);
	w->at = 0;
	w->whole = w->n < WALK_IDS;
	while (w->n > 0 && w->ids[w->n - 1] > to) {
		w->n--;
		w->whole = true;
	}
	if (w->n > 0) {
		w->after = w->ids[w->n - 1];
	}
	w->whole = w->whole && to == w->last;
}

/* The one that is asked for, when it is known, or cannot be any more. */
static void
list_one(struct walk *w)
{
	struct sched_info info;

	sched_info(w->sv->q->s, w->f.qid, &info);
	w->whole = info.state != SCHED_S_UNKNOWN || w->f.qid <= known_to(w) ||
	    !service_is_scanning(w->sv);
	w->n = w->whole;
	w->at = 0;
	w->ids[0] = w->f.qid;
}

/* Is there a next one? None, and not `whole': more must be known first. */
static bool
more_ids(struct walk *w)
{
	if (w->at == w->n && !w->whole) {
		if (w->f.one) {
			list_one(w);
		} else {
			list_ids(w);
		}
	}
	return w->at < w->n;
}

static void
visit(struct walk *w, uint64_t qid)
{
	struct sched_info info;

	w->seen++;
	sched_info(w->sv->q->s, qid, &info);
	if (info.state == SCHED_S_UNKNOWN && !w->f.one) {
		return; /* it has gone meanwhile */
	}
	if (!known_fits(w, &info) || is_of_another(w, &info)) {
		return;
	}
	if (must_read(w)) {
		read_one(w, qid);
	} else if (w->act != WALK_BRIEF) {
		act_on(w, qid);
	} else if (info.state != SCHED_S_UNKNOWN) {
		service_brief(w->sv->q, w->cs, qid, &info, w->limited);
	}
}

static void
on_room(void *arg, struct ctl_session *cs)
{
	(void)cs;
	walk_on(arg);
}

/* As much as may be in hand at a time is. */
static bool
is_busy(const struct walk *w)
{
	return w->nreads == WALK_AHEAD ||
	    (!is_list(w) && w->marks + w->nreads >= SERVICE_MARKS);
}

/* Goes on as far as it can; may free it. */
static void
walk_on(struct walk *w)
{
	int turn = 0;

	qmgr_time(w->sv->q);
	end_reads(w); /* first: on_view() relies on it */
	say_progress(w);
	while (!is_busy(w) && more_ids(w)) {
		if (ctl_is_full(w->cs) || turn++ == TURN_IDS) {
			ctl_on_room(w->cs, on_room, w);
			return;
		}
		visit(w, w->ids[w->at++]);
	}
	if (w->nreads > 0 && w->reads[w->first].view == 0) {
		ctl_on_room(w->cs, on_room, w); /* it has been full */
	} else if (w->nreads == 0 && w->marks == 0 && w->whole) {
		walk_end(w);
	}
}

void
walk_scanned(struct walk *w)
{
	if (w->at == w->n && !w->whole) {
		walk_on(w);
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
	w->progress_ms = qmgr_mono_ms() + PROGRESS_MS;
	w->of = sched_known(sv->q->s);
	w->last = service_is_scanning(sv) ? UINT64_MAX : sched_last(sv->q->s);
	if (act == WALK_FLUSH || act == WALK_RELEASE) {
		sched_hurry(sv->q->s);
	}
	w->token = slots_add(&sv->walks, w);
	if (w->token == 0) { /* bounded by the number of tools */
		log_panic("qmgr: more tools than ids");
	}
	ctl_on_gone(cs, on_gone, w);
	walk_on(w);
}
