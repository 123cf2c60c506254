/* Domains on hold, and the destinations, for the tools. */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>

#include "common/xmalloc.h"
#include "qmgr/service.h"

#define DESTINATIONS_MAX 5000 /* rows of one answer */

/* -- waiting until it is kept --------------------------------------------------- */

/* A tool that waits until what it asked for will outlive us. */
struct service_keep {
	TAILQ_ENTRY(service_keep) link;
	struct ctl_server *server;
	uint32_t id; /* of its session */
	uint64_t version;
	char *text;  /* the answer then */
};

static void
wait_for_keep(struct service *sv, struct ctl_session *cs, char *text)
{
	struct service_keep *k = xcalloc(1, sizeof(*k));

	k->server = ctl_session_server(cs);
	k->id = ctl_session_id(cs);
	k->version = sched_keep_wanted(sv->q->s);
	k->text = text;
	TAILQ_INSERT_TAIL(&sv->keeps, k, link);
	qmgr_wake(sv->q);
}

static void
end_keep(struct service *sv, struct service_keep *k, struct slice error)
{
	struct ctl_session *cs = ctl_session_get(k->server, k->id);

	TAILQ_REMOVE(&sv->keeps, k, link);
	if (cs != NULL && error.n == 0) {
		ctl_end(cs, 0, "%s", k->text);
	} else if (cs != NULL) {
		ctl_end(cs, EX_TEMPFAIL, "%s; that cannot be stored just now "
		    "(%.*s), and is tried again", k->text,
		    (int)(error.n < 200 ? error.n : 200), error.p);
	}
	free(k->text);
	free(k);
}

void
service_kept(struct service *sv, struct slice error)
{
	uint64_t done = sched_keep_done(sv->q->s);
	struct service_keep *k, *next;

	for (k = TAILQ_FIRST(&sv->keeps); k != NULL; k = next) {
		next = TAILQ_NEXT(k, link);
		if (error.n > 0 || k->version <= done) {
			end_keep(sv, k, error);
		}
	}
}

void
service_keeps_clear(struct service *sv)
{
	struct service_keep *k;

	while ((k = TAILQ_FIRST(&sv->keeps)) != NULL) {
		TAILQ_REMOVE(&sv->keeps, k, link);
		free(k->text);
		free(k);
	}
}

/* -- hold domain, release domain ------------------------------------------------ */

static bool
is_domain(struct slice name)
{
	char before = '.', c; /* no label is empty */
	size_t i;

	for (i = 0; i < name.n; i++, before = c) {
		c = name.p[i];
		if (c == '.' ? before == '.' : !ascii_isalnum(c) && c != '-' &&
		    c != '_') {
			return false;
		}
	}
	return before != '.' && name.n <= SCHED_DOMAIN_LEN;
}

void
service_add_until(struct strbuf *b, uint64_t until)
{
	char text[SERVICE_TIME];

	service_time(until, text);
	if (until != 0) {
		(void)strbuf_printf(b, " until %s", text);
	}
}

/* "hold domain X", maybe with "until @SECONDS"; the words are not fewer than
   three. */
static void
hold_domain(struct service *sv, struct ctl_session *cs,
    const struct slice *words, unsigned nwords)
{
	uint64_t until = 0;
	struct slice at;
	struct strbuf b;

	if (nwords != 3) {
		at = nwords == 5 ? words[4] : SL("");
		if (nwords != 5 || !slice_eq(words[3], SL("until")) ||
		    at.n < 2 || at.p[0] != '@' ||
		    !slice_number(slice_make(at.p + 1, at.n - 1),
		    253402300799, &until)) {
			ctl_end(cs, EX_USAGE, "hold domain NAME [until TIME]");
			return;
		}
	}
	qmgr_time(sv->q);
	if (until != 0 && until <= sched_real_s(sv->q->s)) {
		ctl_end(cs, EX_USAGE, "that time is over");
		return;
	}
	if (!sched_hold_domain(sv->q->s, words[2], until)) {
		ctl_end(cs, EX_UNAVAILABLE, "%d domains are on hold already",
		    SCHED_DOMAINS_MAX);
		return;
	}
	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "mail for %.*s is on hold", SLF(words[2]));
	service_add_until(&b, until);
	wait_for_keep(sv, cs, strbuf_take(&b));
}

static void
release_domain(struct service *sv, struct ctl_session *cs,
    const struct slice *words, unsigned nwords)
{
	struct strbuf b;

	qmgr_time(sv->q);
	if (nwords != 3) {
		ctl_end(cs, EX_USAGE, "release domain NAME");
		return;
	}
	if (!sched_release_domain(sv->q->s, words[2])) {
		ctl_end(cs, EX_NOINPUT, "%.*s is not on hold", SLF(words[2]));
		return;
	}
	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "mail for %.*s is on hold no more",
	    SLF(words[2]));
	wait_for_keep(sv, cs, strbuf_take(&b));
}

bool
service_asks_domain(struct service *sv, struct ctl_session *cs,
    const struct slice *words, unsigned nwords)
{
	if (nwords < 3 || !slice_eq(words[1], SL("domain"))) {
		return false;
	}
	if (!is_domain(words[2])) {
		ctl_end(cs, EX_USAGE, "%.*s is no domain that an address can "
		    "have", SLF(words[2]));
	} else if (slice_eq(words[0], SL("hold"))) {
		hold_domain(sv, cs, words, nwords);
	} else {
		release_domain(sv, cs, words, nwords);
	}
	return true;
}

/* -- destinations ----------------------------------------------------------------- */

static void
add_row(struct ctl_session *cs, const struct sched_dest_info *d,
    const char *state)
{
	struct strbuf b;

	ctl_row_begin(cs);
	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "%s:%s", d->transport, d->next_hop);
	ctl_row_s(cs, "destination", strbuf_slice(&b));
	ctl_row_s(cs, "status", slice_of(state));
	ctl_row_u(cs, "window", d->window);
	ctl_row_u(cs, "running", d->running);
	ctl_row_u(cs, "waiting", d->waiting);
	ctl_row_u(cs, "outside", d->outside);
	ctl_row_u(cs, "failures", d->fails);
	service_row_time(cs, "until", d->until);
	ctl_row_u(cs, "_until_at", d->until);
	strbuf_reset(&b);
	if (d->reply != NULL) {
		(void)strbuf_printf(&b, "%s %s", d->esc, d->reply);
	}
	ctl_row_s(cs, "reply", strbuf_slice(&b));
	ctl_row_s(cs, "_relay", slice_of(d->relay != NULL ? d->relay : ""));
	ctl_row_end(cs);
	strbuf_clear(&b);
}

void
service_ask_destinations(void *arg, struct ctl_session *cs,
    const struct slice *words, unsigned nwords)
{
	static const char *const states[] = {
		[SCHED_DEST_GOOD] = "good",
		[SCHED_DEST_SICK] = "failing",
		[SCHED_DEST_DEAD] = "dead",
		[SCHED_DEST_RESTS] = "rate delay",
	};
	struct service *sv = arg;
	struct sched_dest_info held = { .transport = "domain" }, *list;
	size_t n, i, cursor = 0;

	(void)words;
	(void)nwords;
	qmgr_time(sv->q);
	while (sched_domain_next(sv->q->s, &cursor, &held.next_hop,
	    &held.until)) {
		add_row(cs, &held, "hold");
	}
	list = sched_dests(sv->q->s, &n);
	for (i = 0; i < n && i < DESTINATIONS_MAX; i++) {
		add_row(cs, &list[i], states[list[i].state]);
	}
	free(list);
	if (n > i) {
		ctl_end(cs, 0, "and %zu more", n - i);
	} else {
		ctl_end(cs, 0, "%s", "");
	}
}
