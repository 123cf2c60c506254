#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup/header.h"
#include "cleanup/notice.h"
#include "cleanup/notice_job.h"
#include "cleanup/resolving.h"
#include "cleanup/scan.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"

enum { TO_FIRST, TO_COPY, LETTERS };

/* One child of the group. */
struct letter {
	struct notice_job *job;
	enum notice_for whom;
	char *to;
	uint32_t question;
	struct envelope envelope;
	struct spool_draft *draft;
};

struct notice_job {
	struct program *pg;
	uint64_t qid;
	enum notice_kind kind;
	notice_job_cb *cb; /* NULL: cancelled */
	void *arg;
	bool in_spool;     /* an operation will call back */
	bool later;        /* the resolver has no answer now */
	time_t arrived;
	char *sender;
	struct notice_rcpt *rcpts; /* slices into texts */
	struct fate_item *fates;   /* of the same recipients; slices, too */
	size_t n;
	char **texts;      /* one for each recipient */
	struct strbuf header;
	struct letter letters[LETTERS];
	size_t nletters, asking;
};

static void
destroy(struct notice_job *job)
{
	size_t i;

	for (i = 0; i < job->nletters; i++) {
		struct letter *l = &job->letters[i];

		resolving_cancel(job->pg->resolving, l->question);
		spool_draft_free(l->draft);
		envelope_clear(&l->envelope);
		free(l->to);
	}
	for (i = 0; i < job->n; i++) {
		free(job->texts[i]);
	}
	free(job->texts);
	free(job->rcpts);
	free(job->fates);
	free(job->sender);
	strbuf_clear(&job->header);
	free(job);
}

void
notice_job_cancel(struct notice_job *job)
{
	if (job == NULL) {
		return;
	}
	job->cb = NULL;
	if (!job->in_spool) {
		destroy(job);
	}
}

/* Frees job. */
static void
finish(struct notice_job *job, enum notice_result r, bool gone,
    const char *text)
{
	if (job->cb != NULL) {
		job->cb(job->arg, r, gone, text);
	}
	destroy(job);
}

/* -- the group --------------------------------------------------------------- */

static void
log_made(const struct notice_job *job, const char *about)
{
	static const char *const words[][LETTERS] = {
		[NOTICE_FAILED] = { "sender non-delivery notification",
		    "postmaster non-delivery notification" },
		[NOTICE_DELAYED] = { "sender delay notification",
		    "postmaster delay notification" },
	};
	char id[QID_TEXT + 1];
	size_t i;

	for (i = 0; i < job->nletters; i++) {
		qid_format(job->letters[i].envelope.qid, id);
		log_info("%s: %s: %s", about, words[job->kind]
		    [job->letters[i].whom == NOTICE_TO_SENDER ? TO_FIRST :
		    TO_COPY], id);
	}
}

static void
on_group(void *arg, uint64_t qid, int error, bool gone)
{
	struct notice_job *job = arg;
	char id[QID_TEXT + 1];

	qid_format(qid, id);
	job->in_spool = false;
	if (error == 0) {
		log_made(job, id);
	}
	finish(job, error == 0 ? NOTICE_DONE : NOTICE_LATER, gone,
	    error == 0 ? "" : strerror(error));
}

static void
compose(struct notice_job *job, struct letter *l, const char *about)
{
	const struct settings *s = job->pg->settings;
	char id[QID_TEXT + 1];
	struct strbuf text;
	uint32_t flags = 0;
	struct notice n = { .kind = job->kind, .whom = l->whom,
		.myhostname = s->myhostname, .myorigin = s->myorigin,
		.id = id, .about = about, .arrived = job->arrived,
		.now = time(NULL), .sender = slice_of(job->sender),
		.to = slice_of(l->to), .rcpts = job->rcpts, .nrcpts = job->n,
		.header = strbuf_slice(&job->header) };

	n.retry_until = job->arrived + (time_t)s->maximal_queue_lifetime;
	l->draft = spool_draft_new(job->pg->spool);
	l->envelope.qid = spool_draft_qid(l->draft);
	qid_format(l->envelope.qid, id);
	strbuf_init(&text, 0);
	notice_compose(&n, &text);
	scan_content(strbuf_slice(&text), &flags);
	l->envelope.flags = flags | CONTENT_NOTICE |
	    (l->whom == NOTICE_TO_SENDER ? 0u : (uint32_t)CONTENT_DOUBLE);
	(void)spool_draft_add(l->draft, strbuf_slice(&text));
	strbuf_clear(&text);
}

static void
make_group(struct notice_job *job)
{
	struct spool_draft *drafts[LETTERS];
	struct envelope children[LETTERS];
	char about[QID_TEXT + 1];
	uint64_t qid;
	size_t i;

	qid_format(job->qid, about);
	for (i = 0; i < job->nletters; i++) {
		struct letter *l = &job->letters[i];

		compose(job, l, about);
		l->envelope.parent_qid = job->qid;
		l->envelope.parent_rcpt = job->fates[0].index;
		l->envelope.parent_kind = SPOOL_CHILD_NOTICE;
		drafts[i] = l->draft;
		l->draft = NULL;
		children[i] = l->envelope;
		qid = l->envelope.qid;
		envelope_init(&l->envelope);
		l->envelope.qid = qid; /* for the log */
	}
	job->in_spool = true;
	spool_group(job->pg->spool, job->qid, job->fates, job->n, drafts,
	    children, job->nletters, on_group, job);
	for (i = 0; i < job->nletters; i++) {
		envelope_clear(&children[i]); /* empty, but not nothing */
	}
}

/* -- whom it goes to --------------------------------------------------------- */

static void
add_error(struct letter *l, const struct decision *d)
{
	char why[ENVELOPE_STR_MAX];

	if (snprintf(why, sizeof(why), "%s %s", d->esc, d->text) < 0) {
		why[0] = '\0';
	}
	(void)envelope_add(&l->envelope, slice_of(l->to), slice_of(l->to),
	    SL("error"), slice_of(why), SL(""));
}

static void
add_targets(struct letter *l, const struct decision *d)
{
	size_t i;

	for (i = 0; i < d->ntargets; i++) {
		const struct resolve_target *g = &d->targets[i];

		(void)envelope_add(&l->envelope, slice_of(g->address),
		    slice_of(l->to), slice_of(g->transport),
		    slice_of(g->next_hop), slice_of(g->extension));
	}
}

/* May free job. */
static void
all_asked(struct notice_job *job)
{
	if (--job->asking > 0) {
		return;
	}
	if (job->later) {
		finish(job, NOTICE_LATER, false,
		    "the recipient of the notice cannot be looked up now");
		return;
	}
	make_group(job);
}

static void
on_decision(void *arg, const struct decision *d, struct memo *trace)
{
	struct letter *l = arg;

	(void)trace;
	l->question = 0;
	if (d->code >= 200 && d->code <= 299 && d->ntargets > 0) {
		add_targets(l, d);
	} else if (strcmp(d->esc, "4.3.0") == 0) {
		l->job->later = true;
	} else {
		add_error(l, d);
	}
	all_asked(l->job);
}

static void
add_letter(struct notice_job *job, enum notice_for whom, const char *to)
{
	struct letter *l = &job->letters[job->nletters++];

	l->job = job;
	l->whom = whom;
	l->to = xstrdup(to);
	envelope_init(&l->envelope);
}

static void
ask(struct notice_job *job)
{
	struct resolve_request rq = { .reverse_path = SL(""),
		.client_addr = SL(""), .trusted = true };
	uint32_t id;
	size_t i;

	job->asking = job->nletters + 1; /* one for us */
	for (i = 0; i < job->nletters; i++) {
		struct letter *l = &job->letters[i];

		rq.forward_path = slice_of(l->to);
		id = resolving_ask(job->pg->resolving, &rq, on_decision, l);
		if (id != 0) {
			l->question = id;
		}
	}
	all_asked(job);
}

/* -- the header of the message ----------------------------------------------- */

/* At most `limit' octets of it, whole lines. */
static void
keep_header(struct notice_job *job, struct slice content, uint64_t limit)
{
	struct header_scan scan = { 0 };
	size_t header_n = 0, body_at, n;

	(void)header_scan(&scan, content, true, &header_n, &body_at);
	n = header_n < limit ? header_n : (size_t)limit;
	/* `content' may itself have been cut off there. */
	while (n > 0 && content.p[n - 1] != '\n') {
		n--;
	}
	(void)strbuf_add(&job->header, content.p, n);
}

/* Blocks for a moment: at most bounce_size_limit octets. */
static int
read_header(struct notice_job *job, int fd, uint64_t offset, uint64_t size,
    uint64_t limit)
{
	struct strbuf b;
	size_t want = (size_t)(size < limit ? size : limit);
	ssize_t r = 1;
	char *to;

	strbuf_init(&b, 0);
	while (b.n < want && r > 0) {
		to = strbuf_room(&b, want - b.n);
		r = pread(fd, to, want - b.n, (off_t)(offset + b.n));
		if (r > 0) {
			strbuf_filled(&b, (size_t)r);
		}
	}
	if (b.n == want && want > 0) {
		keep_header(job, strbuf_slice(&b), limit);
	}
	r = b.n == want ? 0 : r == 0 ? EBADMSG : errno;
	strbuf_clear(&b);
	return (int)r;
}

static void
on_content(void *arg, uint64_t qid, int error, struct slice content, int fd,
    uint64_t offset, uint64_t size, uint32_t flags)
{
	struct notice_job *job = arg;
	uint64_t limit = job->pg->settings->bounce_size_limit;

	(void)qid;
	(void)flags;
	job->in_spool = false;
	if (error == 0 && fd != -1) {
		error = read_header(job, fd, offset, size, limit);
		(void)close(fd);
	} else if (error == 0) {
		keep_header(job, content, limit);
	}
	if (job->cb == NULL || error != 0) {
		finish(job, error == ENOENT || error == EBADMSG ? NOTICE_DONE :
		    NOTICE_LATER, true, strerror(error));
		return;
	}
	ask(job);
}

/* -- the message ------------------------------------------------------------- */

/* Does this recipient belong into the notice? One that was never tried (its
   transport is `hold') is not late: nobody tries to deliver it. */
static bool
is_told(const struct notice_job *job, const struct spool_rcpt_state *st)
{
	bool stuck = st->esc[0] == '5';

	if (st->fate != FATE_DEFERRED) {
		return false;
	}
	return job->kind == NOTICE_FAILED ? stuck : !stuck && !st->warned;
}

static struct slice
keep_text(char **at, const char *text)
{
	size_t n = strlen(text);
	struct slice s = slice_make(*at, n);

	memcpy(*at, text, n);
	*at += n;
	return s;
}

static void
collect_one(struct notice_job *job, uint32_t i, const struct recipient *r,
    const struct spool_rcpt_state *st)
{
	struct notice_rcpt *to = &job->rcpts[job->n];
	char *at = xmalloc(strlen(r->address) + strlen(r->original) +
	    strlen(st->esc) + strlen(st->reply) + strlen(st->relay) + 1);

	job->texts[job->n] = at;
	to->address = keep_text(&at, r->address);
	to->original = keep_text(&at, r->original);
	to->esc = keep_text(&at, st->esc);
	to->reply = keep_text(&at, st->reply);
	to->relay = keep_text(&at, st->relay);
	job->fates[job->n++] = (struct fate_item){ .index = i,
		.attempt = st->attempt, .esc = to->esc,
		.fate = job->kind == NOTICE_FAILED ? FATE_FAILED : FATE_WARNED,
		.reply = to->reply, .relay = to->relay };
}

static void
collect(struct notice_job *job, const struct spool_info *info)
{
	const struct envelope *e = info->envelope;
	uint32_t i;
	size_t k;

	job->rcpts = xcalloc((size_t)e->nrcpts + 1, sizeof(*job->rcpts));
	job->fates = xcalloc((size_t)e->nrcpts + 1, sizeof(*job->fates));
	job->texts = xcalloc((size_t)e->nrcpts + 1, sizeof(*job->texts));
	for (i = 0; i < e->nrcpts; i++) {
		if (is_told(job, &info->rcpts[i])) {
			collect_one(job, i, &e->rcpts[i], &info->rcpts[i]);
		}
	}
	/* All fates stand in one record: those of many are short. */
	for (k = 0; job->n > NOTICE_RCPTS_MAX && k < job->n; k++) {
		job->fates[k].reply = job->fates[k].relay = SL("");
	}
	job->arrived = (time_t)(e->arrived_us / 1000000);
	job->sender = xstrdup(e->reverse_path);
}

/* No notice about a notice's delay, nor about mail without a sender: only noted,
   so that qmgr does not ask again. */
static void
note_only(struct notice_job *job)
{
	job->in_spool = true;
	spool_fates(job->pg->spool, job->qid, job->fates, job->n, on_group, job);
}

static void
choose_letters(struct notice_job *job, uint32_t flags)
{
	const char *who = job->pg->settings->notice_recipient;

	if (job->sender[0] == '\0' && (flags & CONTENT_NOTICE) == 0) {
		finish(job, NOTICE_NEVER, false, "failed, and there is no "
		    "sender to tell (null reverse-path)");
		return;
	}
	if ((flags & CONTENT_DOUBLE) != 0) {
		finish(job, NOTICE_NEVER, false, "failed, and it is a notice "
		    "for the postmaster itself");
		return;
	}
	if (job->sender[0] == '\0') {
		add_letter(job, NOTICE_DOUBLE, who);
	} else {
		add_letter(job, NOTICE_TO_SENDER, job->sender);
		if (settings_list_has(&job->pg->settings->notify_classes,
		    job->kind == NOTICE_FAILED ? "bounce" : "delay")) {
			add_letter(job, NOTICE_TO_POSTMASTER, who);
		}
	}
	job->in_spool = true;
	spool_content(job->pg->spool, job->qid, SPOOL_INLINE_MAX, on_content,
	    job);
}

static void
on_info(void *arg, uint64_t qid, int error, const struct spool_info *info)
{
	struct notice_job *job = arg;

	(void)qid;
	job->in_spool = false;
	if (job->cb == NULL || error != 0) {
		finish(job, error == ENOENT || error == EBADMSG ? NOTICE_DONE :
		    NOTICE_LATER, true, strerror(error));
		return;
	}
	collect(job, info);
	if (job->n == 0) {
		finish(job, NOTICE_DONE, false, "");
	} else if (job->kind == NOTICE_DELAYED && job->sender[0] == '\0') {
		note_only(job);
	} else {
		choose_letters(job, info->envelope->flags);
	}
}

struct notice_job *
notice_job_start(struct program *pg, uint64_t qid, unsigned kind,
    notice_job_cb *cb, void *arg)
{
	struct notice_job *job = xcalloc(1, sizeof(*job));

	job->pg = pg;
	job->qid = qid;
	job->kind = kind == IPC_NOTICE_FAILED ? NOTICE_FAILED : NOTICE_DELAYED;
	job->cb = cb;
	job->arg = arg;
	strbuf_init(&job->header, 0);
	job->in_spool = true;
	spool_info_get(pg->spool, qid, on_info, job);
	return job;
}
