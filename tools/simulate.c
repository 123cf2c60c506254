/*
 * veredus queue --simulate TIME: the list of the queue, from qmgr, put into the
 * scheduler itself (qmgr/simulate.h), here, in this process: what goes when, what
 * expires. As `trace' asks the code that decides for real mail.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "common/ctl.h"
#include "common/qid.h"
#include "common/xmalloc.h"
#include "qmgr/intern.h"
#include "qmgr/simulate.h"
#include "tools/ctl_client.h"
#include "tools/rows.h"
#include "tools/simulate.h"

#define TIMEOUT_MS  120000
#define PROGRESS_S  1
#define ROWS_MOST   100 /* destinations in a table; the others in one row */

/* -- reading the queue ------------------------------------------------------------ */

struct reader {
	const struct tool *t;
	struct simulation *sim;
	uint64_t n;
	time_t said;
};

struct column {
	const char *name;
	struct slice *text;
	uint64_t *number;
};

static void
read_columns(struct slice row, const struct column *wanted, size_t n)
{
	struct row_column col;
	size_t i;

	while (row_next(&row, &col) == 1) {
		for (i = 0; i < n; i++) {
			if (!slice_eq(col.name, slice_of(wanted[i].name))) {
				continue;
			}
			if (col.is_text && wanted[i].text != NULL) {
				*wanted[i].text = col.text;
			} else if (!col.is_text && wanted[i].number != NULL) {
				*wanted[i].number = col.number;
			}
		}
	}
}

static bool
read_recipient(struct reader *r, struct slice row)
{
	struct simulate_rcpt in = { .hold = false };
	struct slice id = SL("");
	uint64_t held = 0;
	const struct column wanted[] = {
		{ "queue_id", &id, NULL },
		{ "_message_held", NULL, &held },
		{ "size", NULL, &in.size },
		{ "_arrival_time", NULL, &in.arrived_s },
		{ "sender", &in.sender, NULL },
		{ "recipient", &in.recipient, NULL },
		{ "_transport", &in.transport, NULL },
		{ "_next_hop", &in.next_hop, NULL },
		{ "attempts", NULL, &in.attempts },
		{ "_next_at", NULL, &in.next_at },
		{ "reply", &in.reply, NULL },
	};

	read_columns(row, wanted, NELEMS(wanted));
	in.hold = held != 0;
	if (in.attempts == 0) {
		in.reply = SL(""); /* why it was not tried is no reply */
	}
	if (!qid_parse(id, &in.qid)) {
		return true; /* no recipient */
	}
	r->n++;
	if (time(NULL) - r->said >= PROGRESS_S) {
		r->said = time(NULL);
		tool_say(r->t, "%" PRIu64 " recipients read", r->n);
	}
	return simulate_add(r->sim, &in);
}

/* "domain:NAME", "hold": of the list of destinations. */
static bool
read_destination(struct reader *r, struct slice row)
{
	struct slice name = SL(""), status = SL("");
	uint64_t until = 0;
	const struct column wanted[] = {
		{ "destination", &name, NULL },
		{ "status", &status, NULL },
		{ "_until_at", NULL, &until },
	};
	const struct slice kind = SL("domain:");

	read_columns(row, wanted, NELEMS(wanted));
	if (slice_eq(status, SL("hold")) && name.n > kind.n &&
	    slice_eq(slice_make(name.p, kind.n), kind)) {
		simulate_hold_domain(r->sim, slice_make(name.p + kind.n,
		    name.n - kind.n), until);
	}
	return true;
}

/* Ask qmgr, give each row to `take'; returns the exit code. */
static int
read_rows(struct reader *r, const char *const *words, size_t n,
    bool (*take)(struct reader *r, struct slice row))
{
	char *path = tool_socket_path(r->t, "admin/queue");
	struct ctl_client c;
	struct ctl_item item;
	enum ctl_got got;
	bool room = true;

	if (ctl_client_ask(&c, path, IPC_QMGR, words, n) == -1) {
		tool_say(r->t, "%s: the queue cannot be asked: %s", path,
		    strerror(errno));
		free(path);
		return EX_UNAVAILABLE;
	}
	free(path);
	while ((got = ctl_client_next(&c, &item, TIMEOUT_MS)) == CTL_GOT_ROW &&
	    room) {
		room = take(r, item.octets);
	}
	if (!room) {
		tool_say(r->t, "more than %d recipients: give a filter",
		    SIMULATE_RCPTS_MAX);
	} else if (item.exit != 0) {
		tool_say(r->t, "%.*s", SLF(item.octets));
	}
	ctl_client_close(&c);
	return !room ? EX_UNAVAILABLE : got == CTL_GOT_END ?
	    (int)item.exit : EX_PROTOCOL;
}

/* -- what has come out ------------------------------------------------------------- */

static void
add_time(struct strbuf *row, const char *name, uint64_t at_s)
{
	char text[40] = "";
	time_t t = (time_t)at_s;
	struct tm tm;

	if (at_s != 0 && (gmtime_r(&t, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)) {
		text[0] = '\0';
	}
	row_add_s(row, name, slice_of(text));
}

/* "smtp:example.org"; mailboxes of this host are one destination. */
static void
route_of(const struct simulate_message *m, struct strbuf *out)
{
	strbuf_reset(out);
	(void)strbuf_add_slice(out, m->transport);
	if (!slice_eq(m->transport, SL("local"))) {
		(void)strbuf_printf(out, ":%.*s", SLF(m->to));
	}
}

static void
put_messages(const struct simulation *sim, struct rows_out *out)
{
	struct simulate_message m;
	char id[QID_TEXT + 1];
	struct strbuf row, route;
	uint64_t i;

	strbuf_init(&row, 0);
	strbuf_init(&route, 0);
	for (i = 0; simulate_message(sim, i, &m); i++) {
		strbuf_reset(&row);
		qid_format(m.qid, id);
		row_add_s(&row, "queue_id", slice_of(id));
		row_add_s(&row, "sender", m.sender);
		route_of(&m, &route);
		row_add_s(&row, "destination", strbuf_slice(&route));
		add_time(&row, "first_try", m.first_try_s);
		row_add_u(&row, "_first_try_at", m.first_try_s);
		row_add_u(&row, "attempts", m.attempts);
		row_add_s(&row, "end", slice_of(simulate_end_name(m.end)));
		add_time(&row, "at", m.end_s);
		row_add_u(&row, "_end_at", m.end_s);
		rows_put(out, strbuf_slice(&row));
	}
	strbuf_clear(&route);
	strbuf_clear(&row);
}

static void
put_times(const struct simulation *sim, struct rows_out *out)
{
	struct simulate_slot slot;
	struct strbuf row;
	unsigned i, e;

	strbuf_init(&row, 0);
	for (i = 0; i < SIMULATE_SLOTS; i++) {
		simulate_slot(sim, i, &slot);
		strbuf_reset(&row);
		add_time(&row, "from", slot.from_s);
		row_add_u(&row, "_from_at", slot.from_s);
		row_add_u(&row, "attempts", slot.attempts);
		for (e = SIMULATE_WAITS + 1; e < SIMULATE_ENDS; e++) {
			row_add_u(&row, simulate_end_name(
			    (enum simulate_end)e), slot.ends[e]);
		}
		rows_put(out, strbuf_slice(&row));
	}
	strbuf_clear(&row);
}

/* Of a destination. */
struct sum {
	struct slice route;
	uint64_t n, attempts, first_try_s, ends[SIMULATE_ENDS];
};

static void
add_sum(struct sum *to, const struct sum *from)
{
	unsigned e;

	to->n += from->n;
	to->attempts += from->attempts;
	for (e = 0; e < SIMULATE_ENDS; e++) {
		to->ends[e] += from->ends[e];
	}
	if (from->first_try_s != 0 && (to->first_try_s == 0 ||
	    from->first_try_s < to->first_try_s)) {
		to->first_try_s = from->first_try_s;
	}
}

static void
put_sum(struct rows_out *out, struct slice route, const struct sum *s)
{
	struct strbuf row;
	unsigned e;

	strbuf_init(&row, 0);
	row_add_s(&row, "destination", route);
	row_add_u(&row, "messages", s->n);
	row_add_u(&row, "attempts", s->attempts);
	add_time(&row, "first_try", s->first_try_s);
	row_add_u(&row, "_first_try_at", s->first_try_s);
	for (e = 0; e < SIMULATE_ENDS; e++) {
		row_add_u(&row, simulate_end_name((enum simulate_end)e),
		    s->ends[e]);
	}
	rows_put(out, strbuf_slice(&row));
	strbuf_clear(&row);
}

static int
largest_first(const void *a, const void *b)
{
	const struct sum *x = a, *y = b;

	return x->n != y->n ? (x->n > y->n ? -1 : 1) :
	    slice_compare(x->route, y->route);
}

/* The sums by number of the route; [0] is of those that have none. */
static struct sum *
sum_up(const struct simulation *sim, struct intern *routes)
{
	struct sum *sums = xcalloc(INTERN_TEXTS + 1u, sizeof(*sums));
	struct simulate_message m;
	struct strbuf route;
	struct sum one;
	uint64_t i;
	uint32_t n;

	strbuf_init(&route, 0);
	for (i = 0; simulate_message(sim, i, &m); i++) {
		route_of(&m, &route);
		n = intern_add(routes, strbuf_slice(&route));
		one = (struct sum){ .n = 1, .attempts = m.attempts,
			.first_try_s = m.first_try_s };
		one.ends[m.end] = 1;
		add_sum(&sums[n], &one);
	}
	for (n = 1; n < intern_end(routes); n++) {
		sums[n].route = intern_get(routes, n);
	}
	strbuf_clear(&route);
	return sums;
}

static void
put_destinations(const struct simulation *sim, struct rows_out *out)
{
	static const unsigned char key[SIPHASH_KEY] = { 1 };
	struct sum all = { .n = 0 }, *sums;
	struct intern routes;
	uint32_t i, n;

	intern_init(&routes, key);
	sums = sum_up(sim, &routes);
	n = intern_end(&routes);
	qsort(sums + 1, n - 1, sizeof(*sums), largest_first);
	for (i = 0; i < n; i++) {
		add_sum(&all, &sums[i]);
	}
	put_sum(out, SL("TOTAL"), &all);
	for (i = 1; i < n; i++) {
		if (i <= ROWS_MOST) {
			put_sum(out, sums[i].route, &sums[i]);
		} else {
			add_sum(&sums[0], &sums[i]);
		}
	}
	if (sums[0].n > 0) {
		put_sum(out, SL("(others)"), &sums[0]);
	}
	free(sums);
	intern_clear(&routes);
}

static const struct {
	const char *by;
	void (*put)(const struct simulation *sim, struct rows_out *out);
} views[] = {
	{ "destination", put_destinations },
	{ "time", put_times },
	{ "message", put_messages },
};

/* -- the verb ---------------------------------------------------------------------- */

static void
on_progress(void *arg, uint64_t at_s, uint64_t attempts)
{
	struct reader *r = arg;

	if (time(NULL) - r->said >= PROGRESS_S) {
		r->said = time(NULL);
		tool_say(r->t, "%" PRIu64 "h%02" PRIu64 "m, %" PRIu64
		    " attempts", at_s / 3600, at_s / 60 % 60, attempts);
	}
}

static int
run(struct reader *r, const struct simulate_options *o,
    const char *const *filters, size_t nfilters)
{
	const char *words[CTL_WORDS_MAX] = { "destinations" };
	struct rows_out out;
	uint64_t went;
	size_t i;
	int code = read_rows(r, words, 1, read_destination);

	words[0] = "list";
	for (i = 0; i < nfilters && i + 1 < NELEMS(words); i++) {
		words[i + 1] = filters[i];
	}
	if (code == 0) {
		code = read_rows(r, words, i + 1, read_recipient);
	}
	if (code != 0) {
		return code;
	}
	went = simulate_run(r->sim, o->seconds, o->delivered, on_progress, r);
	rows_begin(&out, stdout, r->t->json);
	views[o->view].put(r->sim, &out);
	if (!rows_end(&out)) {
		tool_say(r->t, "the output could not be written");
		return EX_IOERR;
	}
	if (went < o->seconds) {
		tool_say(r->t, "stopped after %" PRIu64 " s of it: more than "
		    "%d attempts", went, SIMULATE_ATTEMPTS_MAX);
	}
	return 0;
}

bool
simulate_view(const char *by, unsigned *view)
{
	unsigned i;

	for (i = 0; i < NELEMS(views); i++) {
		if (strcmp(by, views[i].by) == 0) {
			*view = i;
			return true;
		}
	}
	return false;
}

int
tool_simulate(struct tool *t, const struct simulate_options *o,
    const char *const *filters, size_t nfilters)
{
	struct reader r = { .t = t, .said = time(NULL) };
	struct sched_config cfg;
	int code;

	tool_need_settings(t);
	cfg = qmgr_sched_config(&t->settings);
	r.sim = simulate_new(&cfg, (uint64_t)time(NULL));
	code = run(&r, o, filters, nfilters);
	simulate_free(r.sim);
	return code;
}
