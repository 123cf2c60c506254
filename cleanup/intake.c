#include "config.h"

#include <errno.h>
#include <time.h>

#include "cleanup/intake.h"
#include "common/log.h"
#include "common/qid.h"

#define MESSAGE_ID_LOGGED 250 /* octets */

void
intake_init(struct intake *in, struct program *pg)
{
	*in = (struct intake){ .pg = pg };
	strbuf_init(&in->header, 0); /* bounded by header_size_limit + a piece */
}

/* What is in memory now, for the bound over all transactions. */
static void
account(struct intake *in)
{
	uint64_t now = in->header.n, size;

	if (in->draft != NULL) {
		size = spool_draft_size(in->draft);
		now += size < SPOOL_INLINE_MAX ? size : SPOOL_INLINE_MAX;
	}
	in->pg->pending_octets += now - in->held; /* wraps as it should */
	in->held = now;
}

void
intake_clear(struct intake *in)
{
	spool_draft_free(in->draft);
	in->draft = NULL;
	strbuf_clear(&in->header);
	account(in);
}

void
intake_refuse(struct intake *in, struct reply why)
{
	intake_clear(in);
	in->refusal = why;
}

struct spool_draft *
intake_take_draft(struct intake *in)
{
	struct spool_draft *d = in->draft;

	in->draft = NULL;
	account(in);
	return d;
}

struct reply
intake_spool_reply(int error)
{
	return error == ENOSPC || error == EDQUOT ? REPLY_NO_SPACE :
	    REPLY_TROUBLE;
}

/* -- the header -------------------------------------------------------------- */

/* An address in a header field of one of us. */
static enum map_result
rewrite_address(void *arg, struct slice address, struct strbuf *out)
{
	const struct policy *policy = arg;
	struct strbuf full;
	enum map_result r;

	strbuf_init(&full, 0);
	policy_complete(policy, address, &full);
	r = policy_canonical(policy, strbuf_slice(&full), out);
	if (r == MAP_NONE && !slice_eq(strbuf_slice(&full), address)) {
		strbuf_reset(out);
		(void)strbuf_add_slice(out, strbuf_slice(&full));
		r = MAP_FOUND;
	}
	strbuf_clear(&full);
	return r;
}

/* The same for mail that was not submitted here: no bare names are completed. */
static enum map_result
rewrite_canonical(void *arg, struct slice address, struct strbuf *out)
{
	return policy_canonical(arg, address, out);
}

static header_address_cb *
rewriter_of(const struct intake *in, const struct intake_facts *f)
{
	if (f->local) {
		return rewrite_address;
	}
	/* The header of a stranger's mail stays as it was signed. */
	return f->ours && in->pg->settings->canonical_maps.n > 0 ?
	    rewrite_canonical : NULL;
}

static void
add_received(const struct intake *in, const struct intake_facts *f,
    const char *id, time_t now, struct strbuf *out)
{
	const struct envelope *e = f->envelope;
	char only_for[ENVELOPE_PATH_MAX + 1];
	struct header_trace t = { .helo = e->helo,
		.client_name = e->client_name, .client_addr = e->client_addr,
		.proto = e->proto, .myhostname = in->pg->settings->myhostname,
		.id = id, .uid = e->uid, .now = now };

	if (f->only_for.n > 0 && f->only_for.n < sizeof(only_for)) {
		memcpy(only_for, f->only_for.p, f->only_for.n);
		only_for[f->only_for.n] = '\0';
		t.recipient = only_for;
	}
	header_add_received(&t, out);
}

static void
add_from(const struct intake *in, const struct envelope *e, const char *name,
    struct strbuf *out)
{
	struct strbuf daemon;

	strbuf_init(&daemon, 0);
	if (*e->reverse_path != '\0') {
		header_add_from(name, slice_of(e->reverse_path), out);
	} else {
		policy_complete(in->pg->policy, SL("MAILER-DAEMON"), &daemon);
		header_add_from(name, strbuf_slice(&daemon), out);
	}
	strbuf_clear(&daemon);
}

/* What a message submitted here must have and lacks (RFC 6409, 8). */
static void
add_missing(const struct intake *in, const struct intake_facts *f,
    const struct header_facts *h, const char *id, struct strbuf *out)
{
	bool resent = h->has_resent;

	if (!(resent ? h->has_resent_message_id : h->has_message_id)) {
		header_add_message_id(resent ? "Resent-Message-ID" :
		    "Message-ID", id, in->pg->settings->myhostname, out);
	}
	if (!(resent ? h->has_resent_date : h->has_date)) {
		header_add_date(resent ? "Resent-Date" : "Date", time(NULL),
		    out);
	}
	if (!(resent ? h->has_resent_from : h->has_from)) {
		add_from(in, f->envelope, resent ? "Resent-From" : "From",
		    out);
	}
}

static void
log_message_id(const struct intake *in, const struct header_facts *h,
    bool local, const char *id)
{
	struct strbuf text;

	if (!h->has_message_id) {
		log_info("%s: message-id=<%s%s%s>", id, local ? id : "",
		    local ? "@" : "",
		    local ? in->pg->settings->myhostname : "");
		return;
	}
	strbuf_init(&text, 0);
	strbuf_add_quoted(&text, h->message_id, MESSAGE_ID_LOGGED);
	log_info("%s: message-id=%s", id, text.p);
	strbuf_clear(&text);
}

/*
 * The header is complete: rewrite it into the draft, with what we add. Returns
 * the octets that wait to be written; or refuses.
 */
static size_t
begin_body(struct intake *in, const struct intake_facts *f,
    struct slice header)
{
	struct strbuf *out = &in->pg->scratch;
	struct header_facts h;
	char id[QID_TEXT + 1];
	size_t wait;

	in->draft = spool_draft_new(in->pg->spool);
	qid_format(spool_draft_qid(in->draft), id);
	strbuf_reset(out);
	add_received(in, f, id, time(NULL), out);
	if (!header_rewrite(header, rewriter_of(in, f), in->pg->policy, out,
	    &h)) {
		intake_refuse(in, REPLY_LOOKUP);
		return 0;
	}
	if (h.received > in->pg->settings->hopcount_limit) {
		intake_refuse(in, REPLY(554, "5.4.6", "Too many hops"));
		return 0;
	}
	if (f->local) {
		add_missing(in, f, &h, id, out);
	}
	log_message_id(in, &h, f->local, id);
	(void)strbuf_add_str(out, "\r\n");
	in->in_body = true;
	wait = spool_draft_add(in->draft, strbuf_slice(out));
	if (out->cap > SPOOL_INLINE_MAX) {
		strbuf_clear(out); /* a rare giant is given back */
	}
	return wait;
}

/* -- pieces ------------------------------------------------------------------ */

/* Header and the octets behind it, from the content so far. */
static size_t
split(struct intake *in, const struct intake_facts *f, struct slice so_far,
    size_t header_n, size_t body_at)
{
	size_t wait = begin_body(in, f, slice_make(so_far.p, header_n));

	if (in->refusal.code == 0 && body_at < so_far.n) {
		wait = spool_draft_add(in->draft, slice_make(so_far.p + body_at,
		    so_far.n - body_at));
	}
	return wait;
}

/* More of the header. The usual message has all of it in its first piece,
   which is not copied then. */
static size_t
add_to_header(struct intake *in, const struct intake_facts *f,
    struct slice piece, bool whole)
{
	uint64_t limit = in->pg->settings->header_size_limit;
	struct slice so_far = piece;
	size_t header_n = 0, body_at = 0, wait = 0;
	bool done;

	if (in->header.n > 0) {
		(void)strbuf_add_slice(&in->header, piece);
		so_far = strbuf_slice(&in->header);
	}
	done = header_scan(&in->scan, so_far, whole, &header_n, &body_at);
	if ((done ? header_n : so_far.n) > limit) {
		intake_refuse(in, REPLY(552, "5.3.4",
		    "The message header exceeds the limit of this system"));
	} else if (done) {
		wait = split(in, f, so_far, header_n, body_at);
		strbuf_clear(&in->header);
	} else if (in->header.n == 0) {
		(void)strbuf_add_slice(&in->header, piece);
	}
	return wait;
}

enum intake_state
intake_add(struct intake *in, const struct intake_facts *f,
    struct slice piece)
{
	size_t wait;

	in->received += piece.n;
	if (in->received > in->pg->settings->message_size_limit) {
		intake_refuse(in, REPLY_TOO_BIG);
	} else if (in->pg->pending_octets > PROGRAM_PENDING_MAX) {
		intake_refuse(in, REPLY_BUSY);
	}
	if (in->refusal.code != 0) {
		return INTAKE_REFUSED;
	}
	wait = in->in_body ? spool_draft_add(in->draft, piece) :
	    add_to_header(in, f, piece, false);
	if (in->refusal.code != 0) {
		return INTAKE_REFUSED;
	}
	account(in);
	return wait >= SPOOL_UNWRITTEN_MAX ? INTAKE_WAIT : INTAKE_MORE;
}

enum intake_state
intake_end(struct intake *in, const struct intake_facts *f)
{
	if (!in->in_body && in->refusal.code == 0) {
		(void)add_to_header(in, f, SL(""), true);
	}
	account(in);
	return in->refusal.code != 0 ? INTAKE_REFUSED : INTAKE_MORE;
}
