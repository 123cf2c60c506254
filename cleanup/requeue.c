#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "cleanup/rcpt_set.h"
#include "cleanup/requeue.h"
#include "cleanup/resolving.h"
#include "cleanup/transaction.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"

#define ASK_AT_ONCE 64          /* forward-paths at the resolver */
#define COPY_PIECE  (64 * 1024) /* octets a turn of the loop */

/* A forward-path with unfinished recipients. */
struct path {
	struct requeue *rq;
	char *original;
	uint32_t question;
	bool asked;
};

struct requeue {
	struct program *pg;
	uint64_t qid;
	requeue_cb *cb; /* NULL: cancelled */
	void *arg;
	bool in_spool;  /* an operation will call back */
	struct envelope child;
	struct rcpt_set mailboxes; /* of the child, and those that are served */
	struct fate_item *fates;
	size_t nfates;
	struct path *paths;
	size_t npaths, next_path, asking, resolved;
	struct spool_draft *draft;
	int fd; /* the content, or -1 */
	uint64_t offset, left;
	bool too_many;  /* for one message */
	void (*step)(struct requeue *rq); /* what the next turn does */
	struct event *turn;
};

static void
destroy(struct requeue *rq)
{
	size_t i;

	for (i = 0; i < rq->npaths; i++) {
		resolving_cancel(rq->pg->resolving, rq->paths[i].question);
		free(rq->paths[i].original);
	}
	if (rq->fd != -1) {
		(void)close(rq->fd);
	}
	spool_draft_free(rq->draft);
	event_free(rq->turn);
	envelope_clear(&rq->child);
	rcpt_set_clear(&rq->mailboxes);
	free(rq->paths);
	free(rq->fates);
	free(rq);
}

void
requeue_cancel(struct requeue *rq)
{
	if (rq == NULL) {
		return;
	}
	rq->cb = NULL;
	if (!rq->in_spool) {
		destroy(rq);
	}
}

/* Frees rq. */
static void
finish(struct requeue *rq, int error, const char *text)
{
	if (rq->cb != NULL) {
		rq->cb(rq->arg, error, text);
	}
	destroy(rq);
}

static void
next_turn(struct requeue *rq, void (*step)(struct requeue *rq))
{
	rq->step = step;
	event_active(rq->turn, 0, 0);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct requeue *rq = arg;

	(void)fd;
	(void)what;
	rq->step(rq);
}

/* -- the group -------------------------------------------------------------- */

static void
on_group(void *arg, uint64_t qid, int error, bool gone)
{
	struct requeue *rq = arg;
	char id[QID_TEXT + 1];

	(void)gone;
	qid_format(qid, id);
	rq->in_spool = false;
	if (error == 0) {
		log_info("%s: requeued, recipients=%zu", id, rq->nfates);
	}
	finish(rq, error, error == 0 ? "" : strerror(error));
}

static void
make_group(struct requeue *rq)
{
	struct spool_draft *draft = rq->draft;

	rq->draft = NULL;
	rq->in_spool = true;
	if (draft == NULL) { /* all mailboxes have it: nobody is left */
		spool_fates(rq->pg->spool, rq->qid, rq->fates, rq->nfates,
		    on_group, rq);
		return;
	}
	spool_group(rq->pg->spool, rq->qid, rq->fates, rq->nfates, &draft,
	    &rq->child, 1, on_group, rq);
}

/* -- the copy --------------------------------------------------------------- */

static void copy_piece(struct requeue *rq);

static void
on_copied(void *arg, int error)
{
	struct requeue *rq = arg;

	if (error != 0) {
		finish(rq, error, strerror(error));
		return;
	}
	next_turn(rq, copy_piece);
}

/* One piece a turn; when all is there, the group. */
static void
copy_piece(struct requeue *rq)
{
	static char piece[COPY_PIECE];
	size_t want = rq->left < sizeof(piece) ? (size_t)rq->left :
	    sizeof(piece);
	ssize_t r;

	if (want == 0) {
		make_group(rq);
		return;
	}
	r = pread(rq->fd, piece, want, (off_t)rq->offset);
	if (r <= 0) {
		finish(rq, r == 0 ? EBADMSG : errno,
		    r == 0 ? "the content is cut short" : strerror(errno));
		return;
	}
	rq->offset += (uint64_t)r;
	rq->left -= (uint64_t)r;
	if (spool_draft_add(rq->draft, slice_make(piece, (size_t)r)) >
	    SPOOL_UNWRITTEN_MAX) {
		spool_draft_on_drained(rq->draft, on_copied, rq);
	} else {
		next_turn(rq, copy_piece);
	}
}

static void
on_content(void *arg, uint64_t qid, int error, struct slice content, int fd,
    uint64_t offset, uint64_t size, uint32_t flags)
{
	struct requeue *rq = arg;

	(void)qid;
	(void)content;
	(void)flags;
	rq->in_spool = false;
	rq->fd = error == 0 ? fd : -1;
	if (rq->cb == NULL || error != 0) {
		finish(rq, error, strerror(error));
		return;
	}
	rq->offset = offset;
	rq->left = size;
	rq->draft = spool_draft_new(rq->pg->spool);
	next_turn(rq, copy_piece);
}

/* -- the expansion ---------------------------------------------------------- */

static void
all_resolved(struct requeue *rq)
{
	if (rq->resolved == 0) {
		finish(rq, EINVAL, "no unfinished recipient resolves: left as "
		    "it is");
	} else if (rq->too_many) {
		finish(rq, E2BIG, "it would have too many recipients: left as "
		    "it is");
	} else if (rq->child.nrcpts == 0) {
		make_group(rq);
	} else {
		rq->in_spool = true;
		spool_content(rq->pg->spool, rq->qid, 0, on_content, rq);
	}
}

static void
add_target(struct requeue *rq, const struct resolve_target *g,
    const char *original)
{
	struct strbuf key;

	strbuf_init(&key, 0);
	resolve_target_key(g, &key);
	if (rq->child.nrcpts >= ENVELOPE_RCPT_MAX) {
		rq->too_many = true;
	} else if (rcpt_set_add(&rq->mailboxes, strbuf_slice(&key))) {
		(void)envelope_add(&rq->child, slice_of(g->address),
		    slice_of(original), slice_of(g->transport),
		    slice_of(g->next_hop), slice_of(g->extension));
	}
	strbuf_clear(&key);
}

static void
add_error(struct requeue *rq, const struct decision *d, const char *original)
{
	char why[ENVELOPE_STR_MAX];

	if (snprintf(why, sizeof(why), "%s %s", d->esc, d->text) < 0) {
		why[0] = '\0';
	}
	(void)envelope_add(&rq->child, slice_of(original), slice_of(original),
	    SL("error"), slice_of(why), SL(""));
}

static void ask_some(struct requeue *rq);

static void
on_decision(void *arg, const struct decision *d, struct memo *trace)
{
	struct path *p = arg;
	struct requeue *rq = p->rq;
	size_t i;

	(void)trace;
	p->question = 0;
	if (d->code >= 200 && d->code <= 299 && d->ntargets > 0) {
		for (i = 0; i < d->ntargets; i++) {
			add_target(rq, &d->targets[i], p->original);
		}
		rq->resolved++;
	} else {
		add_error(rq, d, p->original);
	}
	rq->asking--;
	next_turn(rq, ask_some);
}

/* An answer comes later, or at once and within the question: so each of them
   lets the next turn look what is left, and nobody else does. */
static void
ask_some(struct requeue *rq)
{
	struct resolve_request q = { .trusted = true };
	struct path *p;
	uint32_t id;
	size_t n;

	if (rq->next_path == rq->npaths) {
		if (rq->asking == 0) {
			all_resolved(rq);
		}
		return;
	}
	for (n = 0; n < ASK_AT_ONCE && rq->asking < ASK_AT_ONCE &&
	    rq->next_path < rq->npaths; n++) {
		p = &rq->paths[rq->next_path++];
		rq->asking++;
		q.reverse_path = slice_of(rq->child.reverse_path);
		q.forward_path = slice_of(p->original);
		id = resolving_ask(rq->pg->resolving, &q, on_decision, p);
		if (id != 0) {
			p->question = id;
		}
	}
}

/* -- the parent ------------------------------------------------------------- */

static bool
is_open(const struct spool_rcpt_state *st)
{
	return st->fate == FATE_NONE || st->fate == FATE_DEFERRED;
}

/* The same text where it may be changed, as a target's: this one is not. */
static char *
text_of(const struct recipient *r, const char *text)
{
	return r->texts + (text - r->texts);
}

/* It has the message: the child must not bring another copy. */
static void
note_served(struct requeue *rq, const struct recipient *r)
{
	const struct resolve_target g = { .address = text_of(r, r->address),
		.transport = text_of(r, r->transport),
		.next_hop = text_of(r, r->next_hop),
		.extension = text_of(r, r->extension) };
	struct strbuf key;

	strbuf_init(&key, 0);
	resolve_target_key(&g, &key);
	(void)rcpt_set_add(&rq->mailboxes, strbuf_slice(&key));
	strbuf_clear(&key);
}

static void
collect(struct requeue *rq, const struct spool_info *info)
{
	const struct envelope *e = info->envelope;
	struct rcpt_set originals;
	uint32_t i;

	rcpt_set_init(&originals);
	rq->paths = xcalloc((size_t)e->nrcpts + 1, sizeof(*rq->paths));
	rq->fates = xcalloc((size_t)e->nrcpts + 1, sizeof(*rq->fates));
	for (i = 0; i < e->nrcpts; i++) {
		const struct recipient *r = &e->rcpts[i];

		if (info->rcpts[i].fate == FATE_DELIVERED) {
			note_served(rq, r);
		}
		if (!is_open(&info->rcpts[i])) {
			continue;
		}
		rq->fates[rq->nfates++] = (struct fate_item){ .index = i,
			.attempt = info->rcpts[i].attempt,
			.fate = FATE_EXPANDED, .esc = SL("2.0.0"),
			.reply = SL("requeued") };
		if (rcpt_set_add(&originals, slice_of(r->original))) {
			rq->paths[rq->npaths++] = (struct path){ .rq = rq,
				.original = xstrdup(r->original) };
		}
	}
	rcpt_set_clear(&originals);
}

static void
describe_child(struct requeue *rq, const struct envelope *e)
{
	struct envelope *c = &rq->child;

	c->parent_qid = rq->qid;
	c->parent_rcpt = rq->fates[0].index;
	c->parent_kind = SPOOL_CHILD_REQUEUE;
	c->flags = e->flags;
	c->uid = e->uid;
	envelope_set(&c->reverse_path, slice_of(e->reverse_path));
	envelope_set(&c->client_addr, slice_of(e->client_addr));
	envelope_set(&c->client_name, slice_of(e->client_name));
	envelope_set(&c->helo, slice_of(e->helo));
	envelope_set(&c->proto, slice_of(e->proto));
}

static void
on_info(void *arg, uint64_t qid, int error, const struct spool_info *info)
{
	struct requeue *rq = arg;

	(void)qid;
	rq->in_spool = false;
	if (rq->cb == NULL || error != 0) {
		finish(rq, error, error == EBADMSG ?
		    "the message is damaged and was set aside" :
		    strerror(error));
		return;
	}
	collect(rq, info);
	if (rq->npaths == 0) {
		finish(rq, ENOENT, "no unfinished recipient");
		return;
	}
	describe_child(rq, info->envelope);
	next_turn(rq, ask_some);
}

struct requeue *
requeue_start(struct program *pg, uint64_t qid, requeue_cb *cb, void *arg)
{
	struct requeue *rq = xcalloc(1, sizeof(*rq));

	rq->pg = pg;
	rq->qid = qid;
	rq->cb = cb;
	rq->arg = arg;
	rq->fd = -1;
	envelope_init(&rq->child);
	rcpt_set_init(&rq->mailboxes);
	rq->turn = event_new(pg->base, -1, 0, on_turn, rq);
	if (rq->turn == NULL) {
		log_panic("requeue: no event");
	}
	rq->in_spool = true;
	spool_info_get(pg->spool, qid, on_info, rq);
	return rq;
}
