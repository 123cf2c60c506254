/* A message of the queue as rows for the tools. */
#include "config.h"

#include <string.h>
#include <time.h>

#include "common/qid.h"
#include "qmgr/service.h"

static void
put_digits(char *to, unsigned n, int value)
{
	while (n-- > 0) {
		to[n] = (char)('0' + value % 10);
		value /= 10;
	}
}

/* RFC 3339 in UTC: a program without files knows no time zone. */
void
service_time(uint64_t seconds, char text[SERVICE_TIME])
{
	static const char form[] = "0000-00-00T00:00:00Z";
	time_t t = (time_t)seconds;
	struct tm tm;

	_Static_assert(sizeof(form) <= SERVICE_TIME, "there is room");
	if (seconds == 0 || seconds >= 253402300800 ||
	    gmtime_r(&t, &tm) == NULL) {
		text[0] = '\0';
		return;
	}
	memcpy(text, form, sizeof(form)); /* strftime() takes ten times as long */
	put_digits(text, 4, tm.tm_year + 1900);
	put_digits(text + 5, 2, tm.tm_mon + 1);
	put_digits(text + 8, 2, tm.tm_mday);
	put_digits(text + 11, 2, tm.tm_hour);
	put_digits(text + 14, 2, tm.tm_min);
	put_digits(text + 17, 2, tm.tm_sec);
}

void
service_row_time(struct ctl_session *cs, const char *name, uint64_t seconds)
{
	char text[SERVICE_TIME];

	service_time(seconds, text);
	ctl_row_s(cs, name, slice_of(text));
}

static const char *
state_name(enum sched_state s)
{
	return s == SCHED_S_HOLD ? "hold" : s == SCHED_S_ACTIVE ? "active" :
	    "deferred";
}

struct head {
	uint64_t qid, size, arrived_s, rcpts;
	const char *status;
};

static void
add_message(struct ctl_session *cs, const struct head *h)
{
	char id[QID_TEXT + 1];

	qid_format(h->qid, id);
	ctl_row_s(cs, "queue_id", slice_of(id));
	ctl_row_s(cs, "status", slice_of(h->status));
	ctl_row_u(cs, "size", h->size);
	service_row_time(cs, "arrival", h->arrived_s);
	ctl_row_u(cs, "_arrival_time", h->arrived_s);
	ctl_row_u(cs, "_recipients", h->rcpts);
}

/* "5.1.1 no such user"; of one that is parked while others of its message wait
   for their next attempt, why. */
static void
add_reply(struct ctl_session *cs, const struct rcpt_item *r, bool held)
{
	bool parked = !held && slice_eq(r->transport, SL("hold"));
	struct strbuf b;

	if (!parked && r->esc.n == 0) {
		ctl_row_s(cs, "reply", r->reply);
		return;
	}
	strbuf_init(&b, 0);
	(void)strbuf_room(&b, r->esc.n + 1 + r->reply.n);
	if (parked && r->esc.n == 0 && r->reply.n == 0) {
		(void)strbuf_printf(&b, "not tried, transport hold:%s%.*s",
		    r->next_hop.n > 0 ? " " : "", SLF(r->next_hop));
	}
	if (r->esc.n > 0) {
		(void)strbuf_add_slice(&b, r->esc);
		(void)strbuf_add_char(&b, ' ');
	}
	(void)strbuf_add_slice(&b, r->reply);
	ctl_row_s(cs, "reply", strbuf_slice(&b));
	strbuf_clear(&b);
}

/* "domain example.org is on hold until ..." */
static void
add_domain_hold(struct strbuf *b, struct slice address, uint64_t until)
{
	size_t at = address.n;

	while (at > 0 && address.p[at - 1] != '@') {
		at--;
	}
	(void)strbuf_printf(b, "domain %.*s is on hold", (int)(address.n - at),
	    address.p + at);
	service_add_until(b, until);
}

static void
add_rcpt(struct ctl_session *cs, const struct sched_entry_in *in,
    struct slice hold_reason, const struct rcpt_item *r, enum sched_state state,
    bool held)
{
	bool deferred = state == SCHED_S_DEFERRED;

	ctl_row_s(cs, "sender", in->reverse_path);
	ctl_row_s(cs, "recipient", r->address);
	ctl_row_s(cs, "_original_recipient", r->original);
	ctl_row_s(cs, "_transport", r->transport);
	ctl_row_s(cs, "_next_hop", r->next_hop);
	ctl_row_u(cs, "attempts", r->attempt);
	service_row_time(cs, "next_try", deferred ? r->next_at : 0);
	/* its domain may be on hold, and it may be tried for all that */
	ctl_row_u(cs, "_next_at", state == SCHED_S_ACTIVE || held ? 0 :
	    r->next_at);
	ctl_row_u(cs, "_message_held", held);
	add_reply(cs, r, hold_reason.n > 0);
	ctl_row_s(cs, "hold_reason", hold_reason);
}

static char
lower_at(const char *s, size_t i)
{
	return ascii_lower(s[i]);
}

bool
service_match(const char *wanted, struct slice address)
{
	const char *domain = wanted[0] == '@' ? wanted + 1 : wanted;
	size_t n = strlen(domain), i;

	if (strchr(domain, '@') != NULL || n == 0) {
		return slice_case_eq(slice_of(domain), address);
	}
	if (address.n <= n || address.p[address.n - n - 1] != '@') {
		return false;
	}
	for (i = 0; i < n; i++) {
		if (lower_at(domain, i) !=
		    lower_at(address.p, address.n - n + i)) {
			return false;
		}
	}
	return true;
}

/* "next hop", or "transport:next hop". */
static bool
is_destination(const char *wanted, const struct rcpt_item *r)
{
	struct slice w = slice_of(wanted);

	return slice_case_eq(w, r->next_hop) ||
	    (w.n == r->transport.n + 1 + r->next_hop.n &&
	    w.p[r->transport.n] == ':' &&
	    slice_case_eq(slice_make(w.p, r->transport.n), r->transport) &&
	    slice_case_eq(slice_make(w.p + r->transport.n + 1, r->next_hop.n),
		r->next_hop));
}

bool
service_fits(const struct walk_filter *f, const struct rcpt_item *r)
{
	return (f->recipient == NULL ||
	    service_match(f->recipient, r->address) ||
	    service_match(f->recipient, r->original)) &&
	    (f->domain == NULL || service_match(f->domain, r->address)) &&
	    (f->destination == NULL || is_destination(f->destination, r));
}

static struct head
head_of(const struct sched_entry_in *in, enum sched_state state)
{
	return (struct head){ .qid = in->qid, .size = in->size,
		.arrived_s = in->arrived_us / 1000000,
		.rcpts = in->rcpts_open, .status = state_name(state) };
}

void
service_rows(const struct qmgr *q, struct ctl_session *cs,
    const struct sched_entry_in *in, struct slice hold_reason,
    const struct walk_filter *f)
{
	struct slice page = in->page;
	struct sched_info info;
	struct rcpt_item r;
	bool bad = false, active;
	enum sched_state state;
	struct strbuf why;
	uint64_t until;
	struct head h;

	sched_info(q->s, in->qid, &info);
	strbuf_init(&why, 0);
	while (rcpt_item_decode(&page, &r, &bad)) {
		if (!service_fits(f, &r)) {
			continue;
		}
		active = info.state == SCHED_S_ACTIVE &&
		    sched_is_active(q->s, in->qid, r.index);
		strbuf_reset(&why);
		if (info.state == SCHED_S_HOLD) {
			(void)strbuf_add_slice(&why, hold_reason);
		} else if (!active &&
		    sched_domain_held(q->s, r.address, &until)) {
			add_domain_hold(&why, r.address, until);
		}
		state = info.state == SCHED_S_HOLD || why.n > 0 ?
		    SCHED_S_HOLD : active ? SCHED_S_ACTIVE : SCHED_S_DEFERRED;
		h = head_of(in, state);
		ctl_row_begin(cs);
		add_message(cs, &h);
		add_rcpt(cs, in, strbuf_slice(&why), &r, state,
		    info.state == SCHED_S_HOLD);
		ctl_row_end(cs);
	}
	strbuf_clear(&why);
}

void
service_brief(const struct qmgr *q, struct ctl_session *cs, uint64_t qid,
    const struct sched_info *info, bool limited)
{
	const struct head h = { .qid = qid, .size = info->size,
		.arrived_s = info->arrived_s, .rcpts = info->rcpts,
		.status = state_name(info->state) };

	ctl_row_begin(cs);
	add_message(cs, &h);
	if (!limited) {
		ctl_row_s(cs, "sender", info->from);
		ctl_row_s(cs, "destination", info->to);
		service_row_time(cs, "next_try", info->state == SCHED_S_DEFERRED ?
		    sched_age_s(q->s, 0) + info->due_in_ms / 1000 : 0);
	}
	ctl_row_end(cs);
}
