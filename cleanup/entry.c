#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "cleanup/entry.h"
#include "cleanup/resolving.h"
#include "common/envelope.h"
#include "common/xmalloc.h"

/* Numbers, lengths and texts of one item at most. */
#define ITEM_MAX (64 + 3 * ENVELOPE_PATH_MAX + 2 * ENVELOPE_STR_MAX +          \
	ESC_MAX + REPLY_TEXT_MAX + RELAY_TEXT_MAX)

static struct entry_facts
facts_of(const struct spool_info *info)
{
	const struct envelope *e = info->envelope;

	return (struct entry_facts){ .qid = e->qid, .arrived_us = e->arrived_us,
		.size = info->size, .flags = e->flags, .rcpts = e->nrcpts,
		.rcpts_open = info->rcpts_open, .hold = info->hold,
		.reverse_path = slice_of(e->reverse_path),
		.hold_reason = slice_of(info->hold_reason),
		.crashes = info->crashes };
}

/* The first open recipient at or after i, or nrcpts. */
static uint32_t
next_open(const struct spool_info *info, uint32_t i)
{
	while (i < info->envelope->nrcpts &&
	    info->rcpts[i].fate != FATE_NONE &&
	    info->rcpts[i].fate != FATE_DEFERRED) {
		i++;
	}
	return i;
}

static struct rcpt_item
item_of(const struct spool_info *info, uint32_t i)
{
	const struct recipient *r = &info->envelope->rcpts[i];
	const struct spool_rcpt_state *s = &info->rcpts[i];

	return (struct rcpt_item){ .index = i, .attempt = s->attempt,
		.fate = s->fate, .next_at = s->next_at,
		.address = slice_of(r->address),
		.original = slice_of(r->original),
		.transport = slice_of(r->transport),
		.next_hop = slice_of(r->next_hop),
		.extension = slice_of(r->extension),
		.esc = slice_of(s->esc), .reply = slice_of(s->reply),
		.relay = slice_of(s->relay), .warned = s->warned };
}

static bool
page_is_full(const struct strbuf *page, unsigned n)
{
	return n == ENVELOPE_PAGE_RCPTS ||
	    page->n + ITEM_MAX > ENVELOPE_PAGE_OCTETS;
}

static void
send(struct ipc_chan *ch, uint32_t tid, const struct entry_facts *f,
    uint32_t next_index, struct slice page)
{
	ipc_begin(ch, IPC_ENTRY, tid);
	ipc_put_u(ch, f->qid);
	ipc_put_u(ch, f->arrived_us);
	ipc_put_u(ch, f->size);
	ipc_put_u(ch, f->flags);
	ipc_put_u(ch, f->hold ? 1 : 0);
	ipc_put_u(ch, f->rcpts);
	ipc_put_u(ch, f->rcpts_open);
	ipc_put_u(ch, next_index);
	ipc_put_s(ch, f->reverse_path);
	ipc_put_s(ch, page);
	ipc_put_s(ch, f->hold_reason);
	ipc_put_u(ch, f->crashes);
	ipc_end(ch);
}

void
entry_send(struct ipc_chan *ch, uint32_t tid, const struct spool_info *info,
    uint32_t from, struct strbuf *scratch)
{
	const struct entry_facts f = facts_of(info);
	struct rcpt_item item;
	uint32_t i = next_open(info, from);
	unsigned n = 0;

	strbuf_reset(scratch);
	while (i < f.rcpts && !page_is_full(scratch, n)) {
		item = item_of(info, i);
		rcpt_item_encode(&item, scratch);
		n++;
		i = next_open(info, i + 1);
	}
	send(ch, tid, &f, i < f.rcpts ? i : 0, strbuf_slice(scratch));
}

/* -- with fresh routes ------------------------------------------------------ */

/* An item that owns its texts, and its question. */
struct routed {
	struct entry_routes *er;
	struct rcpt_item item;
	char *texts; /* address, original, esc, reply, relay, in one */
	char *transport, *next_hop, *extension;
	uint32_t question;
};

struct entry_routes {
	struct resolving *resolving;
	struct entry_facts facts;
	char *reverse_path, *hold_reason;
	uint32_t next_index;
	struct routed *at;
	unsigned n, missing;
	void (*done)(void *arg);
	void *arg;
};

static void
own(struct slice *s, char **at)
{
	memcpy(*at, s->n > 0 ? s->p : "", s->n);
	s->p = *at;
	*at += s->n;
}

static void
routed_init(struct routed *rd, struct entry_routes *er,
    const struct rcpt_item *item)
{
	char *at;

	*rd = (struct routed){ .er = er, .item = *item };
	rd->texts = at = xmalloc(item->address.n + item->original.n +
	    item->esc.n + item->reply.n + item->relay.n + 1);
	own(&rd->item.address, &at);
	own(&rd->item.original, &at);
	own(&rd->item.esc, &at);
	own(&rd->item.reply, &at);
	own(&rd->item.relay, &at);
	/* until the resolver says otherwise */
	rd->transport = xslicedup(item->transport);
	rd->next_hop = xslicedup(item->next_hop);
	rd->extension = xslicedup(item->extension);
}

static void
set_text(char **field, const char *value)
{
	free(*field);
	*field = xslicedup(slice_make(value, strnlen(value, ENVELOPE_STR_MAX)));
}

/* No route any more: for good or for now, as its code says. */
static void
set_error(struct routed *rd, const struct decision *d)
{
	char why[ENVELOPE_STR_MAX];
	int n = snprintf(why, sizeof(why), "%s %s", d->esc, d->text);

	set_text(&rd->transport, "error");
	set_text(&rd->next_hop, n < 0 ? "4.3.0 no route" : why);
	set_text(&rd->extension, "");
}

/* A recipient that was taken unresolved, for what was wrong at that time. */
static bool
is_unresolved(const struct rcpt_item *item)
{
	return slice_eq(item->transport, SL("error"));
}

/* What it means has changed into more than one recipient can stand for. */
static void
set_requeue(struct routed *rd)
{
	set_text(&rd->transport, "error");
	set_text(&rd->next_hop, "4.3.5 now an alias of several: it goes to "
	    "them by `veredus requeue'");
	set_text(&rd->extension, "");
}

static void
one_is_decided(struct entry_routes *er)
{
	if (--er->missing == 0) {
		er->done(er->arg); /* er may be gone */
	}
}

static void
on_route(void *arg, const struct decision *d, struct memo *trace)
{
	struct routed *rd = arg;

	(void)trace;
	rd->question = 0;
	if (d->code >= 200 && d->code <= 299 && d->ntargets > 1) {
		set_requeue(rd);
	} else if (d->code >= 200 && d->code <= 299 && d->ntargets > 0) {
		set_text(&rd->transport, d->targets[0].transport);
		set_text(&rd->next_hop, d->targets[0].next_hop);
		set_text(&rd->extension, d->targets[0].extension);
	} else {
		set_error(rd, d);
	}
	one_is_decided(rd->er);
}

static void
collect(struct entry_routes *er, const struct spool_info *info, uint32_t from)
{
	uint32_t i = next_open(info, from);
	struct rcpt_item item;
	size_t octets = 0;

	er->at = xcalloc(ENVELOPE_PAGE_RCPTS, sizeof(*er->at));
	/* A route may become longer: counted as long as it may be. */
	while (i < er->facts.rcpts && er->n < ENVELOPE_PAGE_RCPTS) {
		item = item_of(info, i);
		octets += 64 + item.address.n + item.original.n + item.esc.n +
		    item.reply.n + item.relay.n + 256;
		if (octets > ENVELOPE_PAGE_OCTETS - ITEM_MAX) {
			break;
		}
		routed_init(&er->at[er->n++], er, &item);
		i = next_open(info, i + 1);
	}
	er->next_index = i < er->facts.rcpts ? i : 0;
}

void
entry_routes_ask(struct resolving *r, const struct spool_info *info,
    uint32_t from, struct entry_routes **out, void (*done)(void *arg),
    void *arg)
{
	struct entry_routes *er = xcalloc(1, sizeof(*er));
	struct resolve_request rq = { .trusted = true };
	unsigned i;
	uint32_t id;

	*out = er;
	er->resolving = r;
	er->facts = facts_of(info);
	er->reverse_path = xslicedup(er->facts.reverse_path);
	er->facts.reverse_path = slice_of(er->reverse_path);
	er->hold_reason = xslicedup(er->facts.hold_reason);
	er->facts.hold_reason = slice_of(er->hold_reason);
	er->done = done;
	er->arg = arg;
	collect(er, info, from);
	rq.reverse_path = er->facts.reverse_path;
	er->missing = er->n + 1; /* one for us: `done' comes at the end */
	for (i = 0; i < er->n; i++) {
		rq.forward_path = er->at[i].item.address;
		rq.route_only = !is_unresolved(&er->at[i].item);
		id = resolving_ask(r, &rq, on_route, &er->at[i]);
		if (id != 0) {
			er->at[i].question = id;
		}
	}
	one_is_decided(er);
}

void
entry_routes_send(const struct entry_routes *er, struct ipc_chan *ch,
    uint32_t tid, struct strbuf *scratch)
{
	uint32_t next_index = er->next_index;
	struct rcpt_item item;
	unsigned i;

	strbuf_reset(scratch);
	for (i = 0; i < er->n; i++) {
		if (page_is_full(scratch, i)) { /* the routes grew a lot */
			next_index = er->at[i].item.index;
			break;
		}
		item = er->at[i].item;
		item.transport = slice_of(er->at[i].transport);
		item.next_hop = slice_of(er->at[i].next_hop);
		item.extension = slice_of(er->at[i].extension);
		rcpt_item_encode(&item, scratch);
	}
	send(ch, tid, &er->facts, next_index, strbuf_slice(scratch));
}

void
entry_routes_free(struct entry_routes *er)
{
	unsigned i;

	if (er == NULL) {
		return;
	}
	for (i = 0; i < er->n; i++) {
		resolving_cancel(er->resolving, er->at[i].question);
		free(er->at[i].texts);
		free(er->at[i].transport);
		free(er->at[i].next_hop);
		free(er->at[i].extension);
	}
	free(er->at);
	free(er->reverse_path);
	free(er->hold_reason);
	free(er);
}
