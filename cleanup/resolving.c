#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <event2/event.h>

#include "cleanup/known.h"
#include "cleanup/resolving.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/siphash.h"
#include "common/slots.h"
#include "common/xmalloc.h"

#define BUCKETS 1024 /* of names asked for; a power of two */

/* A request that waits for names. */
struct question {
	uint32_t id;
	uint32_t round;   /* counts fresh starts: older waits do not count */
	unsigned missing; /* names it still waits for */
	struct resolve_request rq;
	char *texts;      /* what rq's slices point into */
	struct memo *memo;
	resolving_cb *cb;
	void *arg;
};

struct wait {
	uint32_t id;    /* of a question; one that is gone finds nothing */
	uint32_t round;
};

/* A name that `users' has been asked for, in the order of the deadlines. */
struct asked {
	uint32_t tid;
	char *name;
	uint64_t deadline_ms;
	struct asked *bucket_next;
	struct asked *prev, *next;
	struct wait *waiting;
	size_t nwaiting, cap;
};

struct resolving {
	struct event_base *base;
	const struct policy *policy;
	uint64_t timeout_ms;
	struct ipc_chan *users; /* NULL: there is none just now */
	struct known *known;    /* names that need not be asked for again */
	struct slots questions, asked;
	struct asked *bucket[BUCKETS];
	struct asked *first, *last; /* by deadline, as all wait equally long */
	struct event *timer;
	unsigned char hash_key[SIPHASH_KEY]; /* names are a stranger's choice */
};

static uint64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* -- names ----------------------------------------------------------------- */

static struct asked **
bucket_of(struct resolving *r, struct slice name)
{
	return &r->bucket[siphash24(r->hash_key, name.p, name.n) & (BUCKETS - 1)];
}

static struct asked *
asked_find(struct resolving *r, struct slice name)
{
	struct asked *a = *bucket_of(r, name);

	while (a != NULL && !slice_eq(slice_of(a->name), name)) {
		a = a->bucket_next;
	}
	return a;
}

static void
send_question(struct resolving *r, const struct asked *a)
{
	if (r->users != NULL) {
		ipc_begin(r->users, IPC_USER, a->tid);
		ipc_put_str(r->users, a->name);
		ipc_end(r->users);
	}
}

static void
arm_timer(struct resolving *r)
{
	uint64_t now = now_ms(), wait;
	struct timeval tv;

	if (r->first == NULL) {
		(void)event_del(r->timer);
		return;
	}
	wait = r->first->deadline_ms > now ? r->first->deadline_ms - now : 0;
	tv.tv_sec = (time_t)(wait / 1000);
	tv.tv_usec = (suseconds_t)(wait % 1000 * 1000);
	(void)event_add(r->timer, &tv);
}

/* NULL: too many names are asked for already. */
static struct asked *
asked_new(struct resolving *r, struct slice name)
{
	struct asked **bucket = bucket_of(r, name), *a;

	if (r->asked.used >= RESOLVING_NAMES_MAX) {
		return NULL;
	}
	a = xcalloc(1, sizeof(*a));
	a->tid = slots_add(&r->asked, a);
	a->name = xslicedup(name);
	a->deadline_ms = now_ms() + r->timeout_ms;
	a->bucket_next = *bucket;
	*bucket = a;
	a->prev = r->last;
	if (r->last != NULL) {
		r->last->next = a;
	} else {
		r->first = a;
		arm_timer(r);
	}
	r->last = a;
	send_question(r, a);
	return a;
}

/* Out of all tables; the caller frees it with asked_free(). */
static void
asked_remove(struct resolving *r, struct asked *a)
{
	struct asked **at = bucket_of(r, slice_of(a->name));

	while (*at != a) {
		at = &(*at)->bucket_next;
	}
	*at = a->bucket_next;
	*(a->prev != NULL ? &a->prev->next : &r->first) = a->next;
	*(a->next != NULL ? &a->next->prev : &r->last) = a->prev;
	slots_drop(&r->asked, a->tid);
}

static void
asked_free(struct asked *a)
{
	free(a->name);
	free(a->waiting);
	free(a);
}

static void
asked_add_waiting(struct asked *a, const struct question *q)
{
	if (a->nwaiting == a->cap) {
		a->cap = a->cap == 0 ? 2 : a->cap * 2;
		a->waiting = xreallocarray(a->waiting, a->cap,
		    sizeof(*a->waiting));
	}
	a->waiting[a->nwaiting++] = (struct wait){ q->id, q->round };
}

/* -- questions -------------------------------------------------------------- */

static void
question_free(struct resolving *r, struct question *q)
{
	if (q->id != 0) {
		slots_drop(&r->questions, q->id);
	}
	memo_free(q->memo);
	free(q->texts);
	free(q);
}

static void
copy_text(char **at, struct slice *s)
{
	memcpy(*at, s->n > 0 ? s->p : "", s->n);
	s->p = *at;
	*at += s->n;
}

/* A request that has to wait: it owns its texts. */
static struct question *
question_new(const struct resolve_request *rq, resolving_cb *cb, void *arg)
{
	struct question *q = xcalloc(1, sizeof(*q));
	char *at;

	q->rq = *rq;
	q->cb = cb;
	q->arg = arg;
	q->texts = at = xmalloc(rq->reverse_path.n + rq->forward_path.n +
	    rq->client_addr.n + 1);
	copy_text(&at, &q->rq.reverse_path);
	copy_text(&at, &q->rq.forward_path);
	copy_text(&at, &q->rq.client_addr);
	return q;
}

/* Ask for what the memo lacks; returns false when there is no room for it. */
static bool
ask_for_names(struct resolving *r, struct question *q)
{
	struct slice name;
	struct asked *a;
	size_t place = 0;

	q->missing = 0;
	while (memo_need(q->memo, &place, &name)) {
		a = asked_find(r, name);
		if (a == NULL) {
			a = asked_new(r, name);
		}
		if (a == NULL) {
			return false;
		}
		asked_add_waiting(a, q);
		q->missing++;
	}
	return q->missing > 0;
}

static void
give_up(resolving_cb *cb, void *arg, struct memo *memo)
{
	static char esc[] = "4.3.0", text[] = "Temporary lookup failure";
	const struct decision d = { .code = 451, .esc = esc, .text = text };

	cb(arg, &d, memo);
}

/* Give the memo what is known; true when it lacks nothing any more, and did. */
static bool
answer_known(struct resolving *r, struct memo *memo)
{
	uint64_t now = now_ms(), uid;
	bool all = true, some = false;
	struct slice name;
	size_t place = 0;

	while (memo_need(memo, &place, &name)) {
		if (known_get(r->known, name, now, &uid)) {
			memo_answer_user(memo, name, MAP_FOUND, uid, SL(""));
			some = true;
		} else {
			all = false;
		}
	}
	return all && some;
}

static enum resolve_state
decide(struct resolving *r, const struct resolve_request *rq,
    struct memo *memo, struct decision *d)
{
	while (resolve(r->policy, rq, memo, d) == RESOLVE_NEED) {
		if (!answer_known(r, memo)) {
			return RESOLVE_NEED;
		}
	}
	return RESOLVE_DONE;
}

/* The memo has all that was asked for: decide, or ask for more. May free q. */
static void
go_on(struct resolving *r, struct question *q)
{
	struct decision d = { 0 };
	resolving_cb *cb = q->cb;

	if (decide(r, &q->rq, q->memo, &d) == RESOLVE_NEED) {
		if (ask_for_names(r, q)) {
			return;
		}
		slots_drop(&r->questions, q->id);
		q->id = 0;
		give_up(cb, q->arg, q->memo);
	} else {
		/* First out of the table: cb may cancel, and ask again. */
		slots_drop(&r->questions, q->id);
		q->id = 0;
		cb(q->arg, &d, q->memo);
		decision_clear(&d);
	}
	question_free(r, q);
}

uint32_t
resolving_ask(struct resolving *r, const struct resolve_request *rq,
    resolving_cb *cb, void *arg)
{
	struct memo *memo = memo_new();
	struct decision d = { 0 };
	struct question *q;

	if (decide(r, rq, memo, &d) == RESOLVE_DONE) {
		cb(arg, &d, memo);
		decision_clear(&d);
		memo_free(memo);
		return 0;
	}
	q = question_new(rq, cb, arg);
	q->memo = memo;
	q->id = slots_add(&r->questions, q);
	if (q->id == 0 || !ask_for_names(r, q)) {
		log_warn("resolving: too many lookups wait for users");
		give_up(cb, arg, memo);
		question_free(r, q);
		return 0;
	}
	return q->id;
}

void
resolving_cancel(struct resolving *r, uint32_t id)
{
	struct question *q = slots_get(&r->questions, id);

	if (q != NULL) {
		question_free(r, q);
	}
}

/* -- answers ---------------------------------------------------------------- */

/* Tell all who wait for the name. The callbacks may ask and cancel. */
static void
asked_answer(struct resolving *r, struct asked *a, enum map_result found,
    uint64_t uid, struct slice reason)
{
	struct question *q;
	size_t i;

	asked_remove(r, a);
	for (i = 0; i < a->nwaiting; i++) {
		q = slots_get(&r->questions, a->waiting[i].id);
		if (q == NULL || q->round != a->waiting[i].round) {
			continue; /* cancelled, or begun anew, meanwhile */
		}
		memo_answer_user(q->memo, slice_of(a->name), found, uid,
		    reason);
		if (--q->missing == 0) {
			go_on(r, q);
		}
	}
	asked_free(a);
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	static const enum map_result results[] = {
		[0] = MAP_NONE, [1] = MAP_FOUND, [2] = MAP_TEMP,
	};
	struct resolving *r = owner;
	struct asked *a = slots_get(&r->asked, m->tid);

	(void)ch;
	if (m->type != IPC_USER_IS || ipc_u(m, 0) >= NELEMS(results)) {
		return false;
	}
	if (a != NULL) { /* else it comes too late */
		if (results[ipc_u(m, 0)] == MAP_FOUND) {
			known_put(r->known, slice_of(a->name), ipc_u(m, 1),
			    now_ms());
		}
		asked_answer(r, a, results[ipc_u(m, 0)], ipc_u(m, 1),
		    ipc_s(m, 4));
		arm_timer(r);
	}
	return true;
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct resolving *r = owner;

	log_warn("the channel to users closed: %s", why);
	ipc_chan_free(ch);
	r->users = NULL;
}

static const struct ipc_chan_ops users_ops = {
	.me = IPC_CLEANUP, .peer = IPC_USERS,
	.message = on_message, .closed = on_closed,
};

void
resolving_channel(struct resolving *r, int fd)
{
	const struct asked *a;

	known_forget_all(r->known); /* it may know others */
	ipc_chan_free(r->users);
	r->users = ipc_chan_new(r->base, fd, &users_ops, r);
	for (a = r->first; a != NULL; a = a->next) {
		send_question(r, a);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct resolving *r = arg;
	uint64_t now = now_ms();

	(void)fd;
	(void)what;
	while (r->first != NULL && r->first->deadline_ms <= now) {
		log_warn("users gave no answer in %llu ms",
		    (unsigned long long)r->timeout_ms);
		asked_answer(r, r->first, MAP_TEMP, 0,
		    SL("the account database did not answer in time"));
	}
	arm_timer(r);
}

void
resolving_set_policy(struct resolving *r, const struct policy *policy)
{
	uint32_t *ids = xcalloc((size_t)r->questions.used + 1, sizeof(*ids));
	struct question *q;
	uint32_t place = 0;
	size_t i, n = 0;

	r->policy = policy;
	known_forget_all(r->known);
	/* Names stay asked for; nobody waits for those answers any more. All
	   memos go before the first callback: they may borrow from the policy. */
	while ((q = slots_next(&r->questions, &place)) != NULL) {
		ids[n++] = q->id;
		q->round++;
		memo_free(q->memo);
		q->memo = memo_new();
	}
	for (i = 0; i < n; i++) { /* a callback may cancel another */
		q = slots_get(&r->questions, ids[i]);
		if (q != NULL) {
			go_on(r, q);
		}
	}
	free(ids);
}

struct resolving *
resolving_new(struct event_base *base, const struct policy *policy,
    uint64_t timeout_ms)
{
	struct resolving *r = xcalloc(1, sizeof(*r));

	r->base = base;
	r->policy = policy;
	r->timeout_ms = timeout_ms < RESOLVING_WAIT_MAX_MS ? timeout_ms :
	    RESOLVING_WAIT_MAX_MS;
	r->known = known_new();
	slots_init(&r->questions);
	slots_init(&r->asked);
	r->timer = event_new(base, -1, 0, on_timer, r);
	if (r->timer == NULL ||
	    getrandom(r->hash_key, sizeof(r->hash_key), 0) !=
	    (ssize_t)sizeof(r->hash_key)) {
		log_panic("resolving: no event or no random octets");
	}
	return r;
}

void
resolving_free(struct resolving *r)
{
	struct question *q;
	struct asked *a;
	uint32_t place = 0;

	if (r == NULL) {
		return;
	}
	while ((q = slots_next(&r->questions, &place)) != NULL) {
		question_free(r, q);
	}
	while ((a = r->first) != NULL) {
		asked_remove(r, a);
		asked_free(a);
	}
	slots_clear(&r->questions);
	slots_clear(&r->asked);
	ipc_chan_free(r->users);
	known_free(r->known);
	event_free(r->timer);
	free(r);
}
