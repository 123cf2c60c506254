#include "config.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"
#include "qmgr/heap.h"
#include "qmgr/intern.h"
#include "qmgr/simulate.h"

#define START_MS  1000000 /* of the monotonic clock */
#define TURN      4096    /* attempts between two calls of `progress' */
#define NO_REPLY  0       /* no text */

struct rcpt {
	uint32_t address, transport, next_hop, reply; /* texts */
	uint32_t next_at;
	uint16_t attempts;
	bool done, warned;
};

struct message {
	uint64_t qid, arrived_s, size;
	uint32_t sender, first, n, open; /* first: in rcpts */
	uint32_t attempts, first_try_s, end_s;
	bool hold;
	uint8_t end;
};

/* A delivery that goes on. */
struct run {
	uint64_t end_ms;
	uint32_t place;
	enum sched_agent agent;
	struct message *m;
	size_t n;
	struct { uint32_t index, attempt; } at[];
};

struct simulation {
	struct sched *s;
	struct intern routes, texts; /* texts: all else */
	struct message *messages;
	struct rcpt *rcpts;
	size_t n, nrcpts, taken;
	struct heap runs;
	uint64_t start_s, mono_ms, seconds, attempts;
	bool delivered, take;
	struct strbuf page;
	struct simulate_slot slots[SIMULATE_SLOTS];
};

static bool
ends_before(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return x->end_ms < y->end_ms;
}

/* What stands for others when there are too many different texts. */
static const char *const others[] = { "4.0.0 (others)", "5.0.0 (others)",
	"5.4.7 (others)", "x@(others)" };
enum { OTHERS_LATER, OTHERS_FAILED, OTHERS_EXPIRED, OTHERS_ADDRESS };

static void
reserve(struct simulation *sim)
{
	size_t i;

	for (i = 0; i < NELEMS(others); i++) {
		(void)intern_add(&sim->texts, slice_of(others[i]));
	}
}

static uint32_t
add_text(struct simulation *sim, struct slice text, unsigned otherwise)
{
	uint32_t n = text.n > 0 ? intern_add(&sim->texts, text) : 0;

	return n != 0 || text.n == 0 ? n :
	    intern_add(&sim->texts, slice_of(others[otherwise]));
}

static uint32_t
add_reply(struct simulation *sim, struct slice reply)
{
	return add_text(sim, reply, reply.n == 0 || reply.p[0] != '5' ?
	    OTHERS_LATER : reply.n > 5 && memcmp(reply.p, "5.4.7", 5) == 0 ?
	    OTHERS_EXPIRED : OTHERS_FAILED);
}

struct simulation *
simulate_new(const struct sched_config *cfg, uint64_t now_s)
{
	static const unsigned char key[SIPHASH_KEY] = { 1 };
	struct simulation *sim = xcalloc(1, sizeof(*sim));

	sim->start_s = now_s;
	sim->mono_ms = START_MS;
	sim->s = sched_new(cfg, 1);
	intern_init(&sim->routes, key);
	intern_init(&sim->texts, key);
	reserve(sim);
	strbuf_init(&sim->page, 0);
	heap_init(&sim->runs, ends_before, offsetof(struct run, place));
	sched_time(sim->s, sim->mono_ms, now_s * 1000000);
	return sim;
}

void
simulate_free(struct simulation *sim)
{
	struct run *r;

	if (sim == NULL) {
		return;
	}
	while ((r = heap_top(&sim->runs)) != NULL) {
		heap_remove(&sim->runs, r);
		free(r);
	}
	heap_clear(&sim->runs);
	sched_free(sim->s);
	intern_clear(&sim->routes);
	intern_clear(&sim->texts);
	strbuf_clear(&sim->page);
	free(sim->messages);
	free(sim->rcpts);
	free(sim);
}

/* -- the copy of the queue -------------------------------------------------------- */

/* Doubles at each power of two. */
static void *
room_for(void *at, size_t n, size_t size)
{
	return (n & (n - 1)) == 0 ?
	    xreallocarray(at, n == 0 ? 1 : n * 2, size) : at;
}

static struct message *
message_for(struct simulation *sim, const struct simulate_rcpt *in)
{
	struct message *m = sim->n > 0 ? &sim->messages[sim->n - 1] : NULL;

	if (m != NULL && m->qid == in->qid) {
		return m;
	}
	sim->messages = room_for(sim->messages, sim->n, sizeof(*m));
	m = &sim->messages[sim->n++];
	*m = (struct message){ .qid = in->qid, .arrived_s = in->arrived_s,
		.size = in->size, .first = (uint32_t)sim->nrcpts,
		.sender = add_text(sim, in->sender, OTHERS_ADDRESS),
		.hold = in->hold, .end = in->hold ? SIMULATE_HOLD :
		    SIMULATE_WAITS };
	return m;
}

bool
simulate_add(struct simulation *sim, const struct simulate_rcpt *in)
{
	struct message *m;
	size_t at = slice_find(in->recipient, '@');
	char address[ENVELOPE_PATH_MAX + 2] = "x";
	struct slice domain = slice_make(in->recipient.p + at,
	    in->recipient.n - at);

	if (sim->nrcpts >= SIMULATE_RCPTS_MAX) {
		return false;
	}
	if (domain.n > 0 && domain.n <= ENVELOPE_PATH_MAX) {
		memcpy(address + 1, domain.p, domain.n); /* that counts only */
	}
	m = message_for(sim, in);
	sim->rcpts = room_for(sim->rcpts, sim->nrcpts, sizeof(*sim->rcpts));
	sim->rcpts[sim->nrcpts++] = (struct rcpt){
		.address = add_text(sim, slice_of(address), OTHERS_ADDRESS),
		.transport = intern_add(&sim->routes, in->transport),
		.next_hop = intern_add(&sim->routes, in->next_hop),
		.reply = add_reply(sim, in->reply),
		.next_at = in->next_at > UINT32_MAX ? UINT32_MAX :
		    (uint32_t)in->next_at,
		.attempts = in->attempts > UINT16_MAX ? UINT16_MAX :
		    (uint16_t)in->attempts };
	m->n++;
	m->open++;
	return true;
}

void
simulate_hold_domain(struct simulation *sim, struct slice name, uint64_t until)
{
	(void)sched_hold_domain(sim->s, name, until);
}

/* "4.4.1 text" */
static void
split_reply(struct slice both, struct slice *esc, struct slice *text)
{
	size_t at = slice_find(both, ' ');

	*esc = slice_make(both.p, at < ESC_MAX ? at : 0);
	*text = at < both.n ? slice_make(both.p + at + 1, both.n - at - 1) :
	    SL("");
}

static void
send_page(struct simulation *sim, const struct message *m, uint32_t from,
    bool taken)
{
	struct sched_entry_in in = { .qid = m->qid, .size = m->size,
		.arrived_us = m->arrived_s * 1000000, .hold = m->hold,
		.rcpts = m->n, .rcpts_open = m->open,
		.reverse_path = intern_get(&sim->texts, m->sender) };
	const struct rcpt *r;
	struct rcpt_item it;
	uint32_t i;
	unsigned n = 0;

	strbuf_reset(&sim->page);
	for (i = from; i < m->n; i++) {
		r = &sim->rcpts[m->first + i];
		if (r->done) {
			continue;
		}
		if (n++ == ENVELOPE_PAGE_RCPTS) {
			in.next_index = i;
			break;
		}
		it = (struct rcpt_item){ .index = i, .attempt = r->attempts,
			.fate = r->attempts > 0 ? FATE_DEFERRED : FATE_NONE,
			.next_at = r->next_at, .warned = r->warned,
			.address = intern_get(&sim->texts, r->address),
			.original = intern_get(&sim->texts, r->address),
			.transport = intern_get(&sim->routes, r->transport),
			.next_hop = intern_get(&sim->routes, r->next_hop) };
		split_reply(intern_get(&sim->texts, r->reply), &it.esc,
		    &it.reply);
		rcpt_item_encode(&it, &sim->page);
	}
	in.page = strbuf_slice(&sim->page);
	(void)sched_entry(sim->s, &in, taken);
}

static struct message *
find(const struct simulation *sim, uint64_t qid)
{
	size_t lo = 0, hi = sim->n, mid;

	while (lo < hi) { /* the list is sorted by queue id */
		mid = lo + (hi - lo) / 2;
		if (sim->messages[mid].qid < qid) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo < sim->n && sim->messages[lo].qid == qid ?
	    &sim->messages[lo] : NULL;
}

/* -- what cleanup would do -------------------------------------------------------- */

static uint64_t
now_s(const struct simulation *sim)
{
	return sim->start_s + (sim->mono_ms - START_MS) / 1000;
}

static struct simulate_slot *
slot_now(struct simulation *sim)
{
	uint64_t i = (sim->mono_ms - START_MS) * SIMULATE_SLOTS /
	    (sim->seconds * 1000);

	return &sim->slots[i < SIMULATE_SLOTS ? i : SIMULATE_SLOTS - 1];
}

static void
end(struct simulation *sim, struct message *m, enum simulate_end how)
{
	if (m->end == SIMULATE_WAITS) {
		m->end = (uint8_t)how;
		m->end_s = (uint32_t)now_s(sim);
		slot_now(sim)->ends[how]++;
	}
}

static void
on_take(struct simulation *sim, unsigned max)
{
	unsigned n = 0;

	while (n < max && sim->taken < sim->n) {
		send_page(sim, &sim->messages[sim->taken++], 0, true);
		n++;
	}
	if (n > 0) { /* else there is nothing new, for ever */
		sched_taken(sim->s);
	}
}

static void
record(struct simulation *sim, struct message *m, const struct sched_item *it)
{
	struct rcpt *r = &sim->rcpts[m->first + it->fate.index];
	struct strbuf text;
	uint32_t was = r->reply;

	if (it->fate.fate == FATE_WARNED) {
		r->warned = true;
		return;
	}
	if (it->fate.fate != FATE_DEFERRED) {
		m->open -= !r->done;
		r->done = true;
		return;
	}
	r->attempts = (uint16_t)it->fate.attempt;
	r->next_at = (uint32_t)it->fate.next_at;
	if (it->stuck) { /* else the same as before */
		strbuf_init(&text, 0);
		(void)strbuf_printf(&text, "%.*s %.*s", SLF(it->fate.esc),
		    SLF(it->fate.reply));
		r->reply = add_reply(sim, strbuf_slice(&text));
		intern_drop(&sim->texts, was);
		strbuf_clear(&text);
	}
}

static void
on_fates(struct simulation *sim, const struct sched_action *a)
{
	struct message *m = find(sim, a->msg.qid);
	size_t i;

	for (i = 0; i < a->nitems; i++) {
		record(sim, m, &a->items[i]);
	}
	if (m->open == 0) {
		end(sim, m, SIMULATE_DELIVERED);
	}
	sched_fates_ack(sim->s, m->qid, false, m->open == 0);
}

static void
on_mark(struct simulation *sim, const struct sched_action *a)
{
	struct message *m = find(sim, a->qid);

	if (a->what == IPC_MARK_HOLD) {
		m->hold = true;
		end(sim, m, SIMULATE_HOLD);
	}
	sched_marked(sim->s, a->qid, a->what, a->token, 0);
}

/* The sender is told: of those that failed nothing more is to be done. */
static void
on_notice(struct simulation *sim, const struct sched_action *a)
{
	struct message *m = find(sim, a->qid);
	enum simulate_end how = SIMULATE_FAILED;
	struct slice esc, text;
	struct rcpt *r;
	uint32_t i;

	for (i = 0; i < m->n; i++) {
		r = &sim->rcpts[m->first + i];
		split_reply(intern_get(&sim->texts, r->reply), &esc, &text);
		if (a->notice != IPC_NOTICE_FAILED) {
			r->warned = true;
		} else if (!r->done && esc.n > 0 && esc.p[0] == '5') {
			r->done = true;
			m->open--;
			if (slice_eq(esc, SL("5.4.7"))) {
				how = SIMULATE_EXPIRED;
			}
		}
	}
	if (m->open == 0) {
		end(sim, m, how);
	}
	sched_noticed(sim->s, m->qid, a->notice, SCHED_NOTICED, m->open == 0,
	    SL(""));
}

/* -- what the agents would do ------------------------------------------------------ */

static void
on_deliver(struct simulation *sim, const struct sched_action *a)
{
	struct run *r = xcalloc(1, sizeof(*r) + a->nitems * sizeof(r->at[0]));
	size_t i;

	r->end_ms = sim->mono_ms + SIMULATE_TAKES_MS;
	r->place = HEAP_OUT;
	r->agent = a->agent;
	r->m = find(sim, a->msg.qid);
	r->n = a->nitems;
	for (i = 0; i < a->nitems; i++) {
		r->at[i].index = a->items[i].rcpt.index;
		r->at[i].attempt = a->items[i].rcpt.attempt;
	}
	if (r->m->attempts++ == 0) {
		r->m->first_try_s = (uint32_t)now_s(sim);
	}
	sim->attempts++;
	slot_now(sim)->attempts++;
	heap_push(&sim->runs, r);
}

/* Its results; frees it. */
static void
finish(struct simulation *sim, struct run *run)
{
	const struct rcpt *r;
	struct sched_result result;
	size_t i;

	heap_remove(&sim->runs, run);
	for (i = 0; i < run->n; i++) {
		r = &sim->rcpts[run->m->first + run->at[i].index];
		result = (struct sched_result){ .qid = run->m->qid,
			.index = run->at[i].index,
			.attempt = run->at[i].attempt,
			.fate = FATE_DELIVERED, .esc = SL("2.0.0") };
		if (!sim->delivered && r->reply != NO_REPLY) {
			result.fate = FATE_DEFERRED;
			split_reply(intern_get(&sim->texts, r->reply),
			    &result.esc, &result.reply);
			result.site = result.esc.n > 3 &&
			    memcmp(result.esc.p, "4.4", 3) == 0;
		}
		(void)sched_result(sim->s, run->agent, &result);
	}
	free(run);
}

/* -- time -------------------------------------------------------------------------- */

static void
act(struct simulation *sim, const struct sched_action *a)
{
	switch (a->kind) {
	case SCHED_LOAD:
		(void)sched_loaded(sim->s, false, SL(""));
		break;
	case SCHED_KEEP:
		sched_kept(sim->s, false);
		break;
	case SCHED_TAKE:
		on_take(sim, a->max);
		break;
	case SCHED_GET:
		send_page(sim, find(sim, a->qid), a->from, false);
		break;
	case SCHED_FATES:
		on_fates(sim, a);
		break;
	case SCHED_MARK:
		on_mark(sim, a);
		break;
	case SCHED_NOTICE:
		on_notice(sim, a);
		break;
	case SCHED_DELIVER:
		on_deliver(sim, a);
		break;
	case SCHED_ACK:
		break;
	}
}

static void
set_time(struct simulation *sim, uint64_t mono_ms)
{
	sim->mono_ms = mono_ms;
	sched_time(sim->s, mono_ms, sim->start_s * 1000000 +
	    (mono_ms - START_MS) * 1000);
}

/* When something happens next; the end when nothing does before it. */
static uint64_t
next_ms(const struct simulation *sim, uint64_t end_ms)
{
	const struct run *r = heap_top(&sim->runs);
	uint64_t at = sched_wake_ms(sim->s);

	if (r != NULL && r->end_ms < at) {
		at = r->end_ms;
	}
	return at > end_ms ? end_ms : at > sim->mono_ms ? at :
	    sim->mono_ms + 1;
}

uint64_t
simulate_run(struct simulation *sim, uint64_t seconds, bool delivered,
    void (*progress)(void *arg, uint64_t at_s, uint64_t attempts), void *arg)
{
	uint64_t end_ms = START_MS + seconds * 1000, said = 0;
	struct sched_action a;
	struct run *r;
	unsigned i;

	sim->seconds = seconds > 0 ? seconds : 1;
	sim->delivered = delivered;
	for (i = 0; i < SIMULATE_SLOTS; i++) {
		sim->slots[i].from_s = sim->start_s +
		    sim->seconds * i / SIMULATE_SLOTS;
	}
	sched_cleanup_up(sim->s);
	sched_agent_up(sim->s, SCHED_LOCAL);
	sched_agent_up(sim->s, SCHED_REMOTE);
	while (sim->attempts < SIMULATE_ATTEMPTS_MAX) {
		while (sched_next(sim->s, &a)) {
			act(sim, &a);
		}
		if (sim->attempts - said >= TURN) {
			said = sim->attempts;
			progress(arg, now_s(sim) - sim->start_s, said);
		}
		if (sim->mono_ms >= end_ms) {
			break;
		}
		set_time(sim, next_ms(sim, end_ms));
		while ((r = heap_top(&sim->runs)) != NULL &&
		    r->end_ms <= sim->mono_ms) {
			finish(sim, r);
		}
	}
	return now_s(sim) - sim->start_s;
}

/* -- what has become of it ---------------------------------------------------------- */

const char *
simulate_end_name(enum simulate_end how)
{
	static const char *const names[] = {
		[SIMULATE_WAITS] = "waits",
		[SIMULATE_DELIVERED] = "delivered",
		[SIMULATE_EXPIRED] = "expired",
		[SIMULATE_FAILED] = "failed",
		[SIMULATE_HOLD] = "hold",
	};
	_Static_assert(NELEMS(names) == SIMULATE_ENDS, "a name per end");

	return names[how];
}

static uint64_t
next_try(const struct simulation *sim, const struct message *m)
{
	uint32_t i, at = UINT32_MAX;
	const struct rcpt *r;

	for (i = 0; i < m->n; i++) {
		r = &sim->rcpts[m->first + i];
		if (!r->done && r->next_at < at) {
			at = r->next_at;
		}
	}
	return at == UINT32_MAX ? 0 : at;
}

bool
simulate_message(const struct simulation *sim, uint64_t i,
    struct simulate_message *out)
{
	const struct message *m;

	if (i >= sim->n) {
		return false;
	}
	m = &sim->messages[i];
	*out = (struct simulate_message){ .qid = m->qid,
		.sender = intern_get(&sim->texts, m->sender),
		.to = intern_get(&sim->routes, sim->rcpts[m->first].next_hop),
		.transport = intern_get(&sim->routes,
		    sim->rcpts[m->first].transport),
		.first_try_s = m->first_try_s, .attempts = m->attempts,
		.end = (enum simulate_end)m->end, .end_s = m->end_s };
	if (m->end == SIMULATE_WAITS) {
		out->end_s = next_try(sim, m);
	}
	return true;
}

void
simulate_slot(const struct simulation *sim, unsigned i,
    struct simulate_slot *out)
{
	*out = sim->slots[i];
}
