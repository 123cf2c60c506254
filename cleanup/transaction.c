#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup/accepting.h"
#include "cleanup/intake.h"
#include "cleanup/rcpt_set.h"
#include "cleanup/resolving.h"
#include "cleanup/transaction.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"

/* What the submitter may say about the content. */
#define CONTENT_TOLD (CONTENT_8BIT | CONTENT_DOT_LINES |                       \
	CONTENT_BODY_8BITMIME | CONTENT_LONG_LINES | CONTENT_LOCAL)
#define RCPT_OVERHEAD 128 /* octets of memory beside a recipient's texts */

enum state {
	T_ENVELOPE,   /* recipients come; no content yet */
	T_ASKING,     /* the resolver has been asked about one */
	T_CONTENT,    /* content has begun; the next piece is welcome */
	T_DRAINING,   /* a piece waits to be written, unacknowledged */
	T_REFUSED,    /* the content was refused: intake.refusal */
	T_COMMITTING, /* the spool has it: only the end is left to tell */
};

struct transaction {
	struct program *pg;
	const struct transaction_ops *ops; /* NULL: nobody listens any more */
	void *owner;
	uint32_t tid;
	enum state state;
	bool local, trusted;
	bool lookup_failed;       /* of the reverse-path: all is temporary */
	struct envelope envelope;
	struct rcpt_set mailboxes;
	uint32_t question;        /* at the resolver; 0: none */
	struct strbuf asked;      /* the forward-path in question */
	struct strbuf only_for;   /* the first forward-path that was taken */
	unsigned accepted;        /* forward-paths that were taken */
	uint64_t held;            /* counted in pg->pending_octets */
	struct intake intake;
};

bool
transaction_text_ok(struct slice s, size_t max)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (ascii_iscntrl(s.p[i])) {
			return false;
		}
	}
	return s.n <= max;
}

unsigned
transaction_accepted(const struct transaction *t)
{
	return t->accepted;
}

static void
hold(struct transaction *t, uint64_t octets)
{
	t->held += octets;
	t->pg->pending_octets += octets;
}

static void
destroy(struct transaction *t)
{
	resolving_cancel(t->pg->resolving, t->question);
	t->pg->pending_octets -= t->held;
	intake_clear(&t->intake);
	envelope_clear(&t->envelope);
	rcpt_set_clear(&t->mailboxes);
	strbuf_clear(&t->asked);
	strbuf_clear(&t->only_for);
	free(t);
}

void
transaction_end(struct transaction *t)
{
	if (t == NULL) {
		return;
	}
	if (t->state == T_COMMITTING) {
		t->ops = NULL; /* the spool's callback frees it */
		return;
	}
	destroy(t);
}

/* -- the beginning ---------------------------------------------------------- */

/* canonical_maps, and for local submissions a name without a domain. */
static void
set_reverse_path(struct transaction *t, struct slice given)
{
	struct strbuf full, canonical;
	struct slice path = given;

	strbuf_init(&full, ENVELOPE_PATH_MAX);
	strbuf_init(&canonical, ENVELOPE_PATH_MAX);
	if (given.n > 0 && t->local) {
		policy_complete(t->pg->policy, given, &full);
		path = full.n > 0 ? strbuf_slice(&full) : given;
	}
	if (given.n > 0) { /* the null reverse-path stays what it is */
		switch (policy_canonical(t->pg->policy, path, &canonical)) {
		case MAP_FOUND:
			path = strbuf_slice(&canonical);
			break;
		case MAP_NONE:
			break;
		case MAP_TEMP:
			t->lookup_failed = true;
			break;
		}
	}
	envelope_set(&t->envelope.reverse_path, path);
	strbuf_clear(&full);
	strbuf_clear(&canonical);
}

struct transaction *
transaction_new(struct program *pg, const struct transaction_start *start,
    const struct transaction_ops *ops, void *owner, uint32_t tid)
{
	struct transaction *t = xcalloc(1, sizeof(*t));
	struct envelope *e = &t->envelope;

	t->pg = pg;
	t->ops = ops;
	t->owner = owner;
	t->tid = tid;
	t->state = T_ENVELOPE;
	t->local = start->uid != UINT32_MAX ||
	    (start->trusted && start->client_addr.n == 0);
	t->trusted = start->trusted;
	rcpt_set_init(&t->mailboxes);
	strbuf_init(&t->asked, ENVELOPE_PATH_MAX);
	strbuf_init(&t->only_for, ENVELOPE_PATH_MAX);
	intake_init(&t->intake, pg);
	envelope_init(e);
	e->uid = start->uid;
	e->flags = (start->flags & CONTENT_BODY_8BITMIME) |
	    (t->local ? (uint32_t)CONTENT_LOCAL : 0);
	envelope_set(&e->client_addr, start->client_addr);
	envelope_set(&e->client_name, start->client_name);
	envelope_set(&e->helo, start->helo);
	envelope_set(&e->proto, start->proto);
	set_reverse_path(t, start->reverse_path);
	hold(t, sizeof(*t));
	return t;
}

/* -- recipients ------------------------------------------------------------- */

static void
answer(struct transaction *t, unsigned code, const char *esc, const char *text)
{
	t->ops->verdict(t->owner, t->tid, code, esc, text);
}

static void
answer_reply(struct transaction *t, struct reply r)
{
	answer(t, r.code, r.esc, r.text);
}

/* A route that the spool could not store would lose the message later. */
static bool
target_fits(const struct resolve_target *g)
{
	return transaction_text_ok(slice_of(g->address), ENVELOPE_PATH_MAX) &&
	    transaction_text_ok(slice_of(g->transport), ENVELOPE_STR_MAX) &&
	    transaction_text_ok(slice_of(g->next_hop), ENVELOPE_STR_MAX) &&
	    transaction_text_ok(slice_of(g->extension), ENVELOPE_PATH_MAX);
}

/* The reply that refuses what was resolved, or code 0. */
static struct reply
check_targets(const struct transaction *t, const struct decision *d)
{
	size_t i;

	if (d->ntargets > ENVELOPE_RCPT_MAX - t->envelope.nrcpts) {
		return REPLY(452, "4.5.3", "Too many recipients");
	}
	if (t->pg->pending_octets > PROGRAM_PENDING_MAX) {
		return REPLY_BUSY;
	}
	for (i = 0; i < d->ntargets; i++) {
		if (!target_fits(&d->targets[i])) {
			return REPLY(451, "4.3.5",
			    "An address that this became is too long");
		}
	}
	if (d->ntargets == 0) { /* taken and then nobody's: lost */
		return REPLY(451, "4.3.5", "The address resolves to nothing");
	}
	return REPLY(0, "", "");
}

static void
add_target(struct transaction *t, const struct resolve_target *g,
    struct slice original)
{
	struct strbuf key;
	size_t octets = RCPT_OVERHEAD + original.n;

	strbuf_init(&key, 0);
	resolve_target_key(g, &key);
	octets += key.n + strlen(g->address) + strlen(g->next_hop);
	if (rcpt_set_add(&t->mailboxes, strbuf_slice(&key))) {
		(void)envelope_add(&t->envelope, slice_of(g->address), original,
		    slice_of(g->transport), slice_of(g->next_hop),
		    slice_of(g->extension));
		hold(t, octets);
	}
	strbuf_clear(&key);
}

static void
count_accepted(struct transaction *t, struct slice forward_path)
{
	if (t->accepted++ == 0) {
		(void)strbuf_add_slice(&t->only_for, forward_path);
	}
}

static void
on_decision(void *arg, const struct decision *d, struct memo *trace)
{
	struct transaction *t = arg;
	struct reply refusal;
	size_t i;

	(void)trace;
	t->state = T_ENVELOPE;
	t->question = 0;
	if (d->code < 200 || d->code > 299) {
		answer(t, d->code, d->esc, d->text);
		return;
	}
	refusal = check_targets(t, d);
	if (refusal.code != 0) {
		answer_reply(t, refusal);
		return;
	}
	for (i = 0; i < d->ntargets; i++) {
		add_target(t, &d->targets[i], strbuf_slice(&t->asked));
	}
	count_accepted(t, strbuf_slice(&t->asked));
	answer(t, d->code, d->esc, d->text);
}

bool
transaction_rcpt(struct transaction *t, struct slice forward_path)
{
	struct resolve_request rq = {
		.reverse_path = slice_of(t->envelope.reverse_path),
		.client_addr = slice_of(t->envelope.client_addr),
		.trusted = t->trusted,
	};
	uint32_t id;

	if (t->state != T_ENVELOPE ||
	    !transaction_text_ok(forward_path, ENVELOPE_PATH_MAX)) {
		return false;
	}
	if (t->pg->stopping || t->lookup_failed) {
		answer_reply(t, t->pg->stopping ? REPLY_STOPPING : REPLY_LOOKUP);
		return true;
	}
	strbuf_reset(&t->asked);
	(void)strbuf_add_slice(&t->asked, forward_path);
	rq.forward_path = strbuf_slice(&t->asked);
	t->state = T_ASKING;
	id = resolving_ask(t->pg->resolving, &rq, on_decision, t);
	if (t->state == T_ASKING) {
		t->question = id;
	}
	return true;
}

bool
transaction_add_error(struct transaction *t, struct slice forward_path,
    const char *esc, const char *text)
{
	char why[ENVELOPE_STR_MAX];
	int n = snprintf(why, sizeof(why), "%s %s", esc, text);

	if (t->envelope.nrcpts >= ENVELOPE_RCPT_MAX) {
		return false;
	}
	if (n < 0 || (size_t)n >= sizeof(why)) {
		why[sizeof(why) - 1] = '\0'; /* a cut text says enough here */
	}
	(void)envelope_add(&t->envelope, forward_path, forward_path, SL("error"),
	    slice_of(why), SL(""));
	count_accepted(t, forward_path);
	return true;
}

/* -- content ---------------------------------------------------------------- */

static struct intake_facts
facts_of(const struct transaction *t)
{
	return (struct intake_facts){ .envelope = &t->envelope,
		.local = t->local,
		.ours = t->local || t->trusted ||
		    policy_is_my_network(t->pg->policy,
		    slice_of(t->envelope.client_addr)),
		.only_for = t->accepted == 1 ? strbuf_slice(&t->only_for) :
		    SL("") };
}

/* The submitter logs it: smtpd with its client, pick-up with its file. */
static void
refused(struct transaction *t)
{
	t->state = T_REFUSED;
	t->ops->content_ack(t->owner, t->tid, &t->intake.refusal);
}

static void
on_drained(void *arg, int error)
{
	struct transaction *t = arg;
	const struct reply go_on = { 0, "", "" };

	if (t->state != T_DRAINING) {
		return; /* committed without waiting */
	}
	if (error != 0) {
		accepting_spool_error(t->pg->accepting, error);
		intake_refuse(&t->intake, intake_spool_reply(error));
		refused(t);
		return;
	}
	t->state = T_CONTENT;
	t->ops->content_ack(t->owner, t->tid, &go_on);
}

bool
transaction_content(struct transaction *t, struct slice piece)
{
	const struct reply go_on = { 0, "", "" };
	struct intake_facts f = facts_of(t);

	if (t->state == T_REFUSED) { /* still on its way when we refused */
		t->ops->content_ack(t->owner, t->tid, &t->intake.refusal);
		return true;
	}
	if (t->state != T_ENVELOPE && t->state != T_CONTENT) {
		return false;
	}
	switch (intake_add(&t->intake, &f, piece)) {
	case INTAKE_MORE:
		t->state = T_CONTENT;
		t->ops->content_ack(t->owner, t->tid, &go_on);
		break;
	case INTAKE_WAIT:
		t->state = T_DRAINING;
		spool_draft_on_drained(t->intake.draft, on_drained, t);
		break;
	case INTAKE_REFUSED:
		refused(t);
		break;
	}
	return true;
}

/* -- the end ---------------------------------------------------------------- */

/* Frees t. */
static void
finish(struct transaction *t, uint64_t qid, const struct reply *r)
{
	if (t->ops != NULL) {
		t->ops->committed(t->owner, t->tid, qid, r);
	}
	destroy(t);
}

/* The spool has made it durable, or could not. Frees t. */
static void
on_accepted(void *arg, uint64_t qid, int error)
{
	struct transaction *t = arg;
	char id[QID_TEXT + 1], text[QID_TEXT + 32];
	struct reply r = { 250, "2.0.0", text };

	qid_format(qid, id);
	t->pg->committing--;
	if (error == 0) {
		(void)snprintf(text, sizeof(text), "Ok: queued as %s", id);
	} else {
		log_warn("%s: queue file write error: %s", id, strerror(error));
		accepting_spool_error(t->pg->accepting, error);
		r = intake_spool_reply(error);
	}
	finish(t, error == 0 ? qid : 0, &r);
}

bool
transaction_commit(struct transaction *t, uint32_t flags, uint64_t octets)
{
	struct intake_facts f = facts_of(t);
	const struct reply nobody = { 554, "5.5.1", "No valid recipients" };
	struct reply r;

	if (t->state == T_ASKING || t->state == T_COMMITTING ||
	    (flags & ~(uint32_t)CONTENT_TOLD) != 0) {
		return false;
	}
	if (t->state == T_REFUSED) {
		r = t->intake.refusal;
		finish(t, 0, &r);
		return true;
	}
	if (octets != t->intake.received) {
		return false;
	}
	if (t->envelope.nrcpts == 0) {
		finish(t, 0, &nobody);
		return true;
	}
	if (intake_end(&t->intake, &f) == INTAKE_REFUSED) {
		r = t->intake.refusal;
		finish(t, 0, &r);
		return true;
	}
	t->envelope.flags |= flags & ~(uint32_t)CONTENT_LOCAL; /* ours to say */
	t->state = T_COMMITTING;
	t->pg->committing++;
	spool_accept(intake_take_draft(&t->intake), &t->envelope, on_accepted,
	    t);
	return true;
}
