#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/qid.h"
#include "common/xmalloc.h"
#include "qmgr/service.h"

/* -- what an act aims at ------------------------------------------------------- */

static const char *
set_state(struct walk_filter *f, struct slice value)
{
	static const struct {
		const char *name;
		enum sched_state state;
	} names[] = {
		{ "active", SCHED_S_ACTIVE },
		{ "deferred", SCHED_S_DEFERRED },
		{ "hold", SCHED_S_HOLD },
	};
	size_t i;

	for (i = 0; i < NELEMS(names); i++) {
		if (slice_eq(value, slice_of(names[i].name))) {
			f->state = names[i].state;
			return NULL;
		}
	}
	return "the status is active, deferred or hold";
}

static void
set_text(char **field, struct slice value)
{
	free(*field);
	*field = xslicedup(value);
}

/* The null reverse-path is written as nothing, or as the log and SMTP do. */
static const char *
set_sender(struct walk_filter *f, struct slice value)
{
	set_text(&f->sender, slice_eq(value, SL("<>")) ? SL("") : value);
	return NULL;
}

static const char *
set_recipient(struct walk_filter *f, struct slice value)
{
	set_text(&f->recipient, value);
	return NULL;
}

static const char *
set_domain(struct walk_filter *f, struct slice value)
{
	set_text(&f->domain, value);
	return value.n > 0 && slice_find(value, '@') == value.n ? NULL :
	    "no domain";
}

static const char *
set_destination(struct walk_filter *f, struct slice value)
{
	set_text(&f->destination, value);
	return NULL;
}

static const char *
set_id(struct walk_filter *f, struct slice value)
{
	f->one = true;
	return qid_parse(value, &f->qid) ? NULL : "no queue id";
}

static const char *
set_age(struct walk_filter *f, struct slice value)
{
	return settings_read_seconds(value, &f->age_s) && f->age_s > 0 ? NULL :
	    "the age is a time like 90s, 1h or 2d";
}

static const struct filter {
	const char *key;
	const char *(*set)(struct walk_filter *f, struct slice value);
} filters[] = {
	{ "id", set_id },
	{ "sender", set_sender },
	{ "recipient", set_recipient },
	{ "domain", set_domain },
	{ "destination", set_destination },
	{ "age", set_age },
	{ "status", set_state },
};

#define FILTERS "id=, sender=, recipient=, domain=, destination=, age=, status="

/* "key=value"; NULL, or what is wrong with it. */
static const char *
add_filter(struct walk_filter *f, struct slice word)
{
	size_t i, at = slice_find(word, '=');
	struct slice key = slice_make(word.p, at), value;

	if (at == word.n) {
		return "neither a queue id nor a filter (" FILTERS ")";
	}
	value = slice_make(word.p + at + 1, word.n - at - 1);
	for (i = 0; i < NELEMS(filters); i++) {
		if (slice_eq(key, slice_of(filters[i].key))) {
			return filters[i].set(f, value);
		}
	}
	return "the filters are " FILTERS;
}

void
service_filter_clear(struct walk_filter *f)
{
	free(f->sender);
	free(f->recipient);
	free(f->domain);
	free(f->destination);
}

bool
service_filters_addresses(const struct walk_filter *f)
{
	return f->sender != NULL || f->recipient != NULL ||
	    f->domain != NULL || f->destination != NULL;
}

/* The words after the verb. False: the tool has got its answer. */
static bool
read_target(struct ctl_session *cs, const struct slice *words, unsigned n,
    struct walk_filter *f)
{
	const char *why = NULL;
	unsigned i;

	memset(f, 0, sizeof(*f));
	for (i = 0; i < n && why == NULL; i++) {
		if (n == 1 && qid_parse(words[i], &f->qid)) {
			f->one = true;
		} else if (n > 1 || !slice_eq(words[i], SL("all"))) {
			why = add_filter(f, words[i]);
		}
	}
	if (why != NULL) {
		ctl_end(cs, EX_USAGE, "%.*s: %s",
		    (int)(words[i - 1].n < 200 ? words[i - 1].n : 200),
		    words[i - 1].p, why);
		service_filter_clear(f);
	}
	return why == NULL;
}

/* -- verbs ---------------------------------------------------------------------- */

/* Everybody on the admin socket, root and our own account elsewhere. */
static bool
is_limited(const struct service *sv, const struct ctl_session *cs)
{
	unsigned uid = ctl_session_uid(cs);

	return !ctl_session_is_admin(cs) && uid != 0 && uid != sv->own_uid;
}

static void
ask_list(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct service *sv = arg;
	struct walk_filter f;

	if (!read_target(cs, words + 1, nwords - 1, &f)) {
		return;
	}
	if (is_limited(sv, cs) && service_filters_addresses(&f)) {
		/* A filter would tell what the view hides. */
		service_filter_clear(&f);
		ctl_end(cs, EX_NOPERM, "only an administrator may filter by "
		    "sender, recipient or destination");
		return;
	}
	walk_start(sv, cs, is_limited(sv, cs) ? WALK_BRIEF : WALK_LIST, &f,
	    is_limited(sv, cs));
}

static void
ask_brief(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct walk_filter f;

	if (read_target(cs, words + 1, nwords - 1, &f)) {
		walk_start(arg, cs, WALK_BRIEF, &f, false);
	}
}

/* By "sender", or "destination"; of those with a "status=". */
/* The end of what was told from memory. */
static void
end_memory(const struct service *sv, struct ctl_session *cs)
{
	ctl_end(cs, 0, "%s", service_is_scanning(sv) ? "the queue is being "
	    "read in: there are more messages than these" : "");
}

static void
ask_summary(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct service *sv = arg;
	enum sched_by by = SCHED_BY_DESTINATION;
	struct walk_filter f = { .one = false };
	const char *why = NULL;
	size_t at;
	unsigned i;

	for (i = 1; i < nwords && why == NULL; i++) {
		at = slice_find(words[i], '=');
		if (slice_eq(words[i], SL("sender"))) {
			by = SCHED_BY_SENDER;
		} else if (at < words[i].n &&
		    slice_eq(slice_make(words[i].p, at), SL("status"))) {
			why = set_state(&f, slice_make(words[i].p + at + 1,
			    words[i].n - at - 1));
		} else if (!slice_eq(words[i], SL("destination"))) {
			why = "a summary is by destination or sender, of all "
			    "or by status=";
		}
	}
	if (why != NULL) {
		ctl_end(cs, EX_USAGE, "%s", why);
		return;
	}
	qmgr_time(sv->q);
	service_summary(sv->q->s, cs, by, f.state);
	end_memory(sv, cs);
}

static void
ask_count(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct service *sv = arg;
	struct sched_counts n;

	(void)words;
	(void)nwords;
	sched_counts(sv->q->s, &n);
	ctl_row_begin(cs);
	ctl_row_u(cs, "active", n.active);
	ctl_row_u(cs, "deferred", n.deferred);
	ctl_row_u(cs, "hold", n.hold);
	ctl_row_u(cs, "total", n.active + n.deferred + n.hold);
	ctl_row_u(cs, "running", n.running);
	ctl_row_u(cs, "_recipients_in_memory", n.rcpts);
	ctl_row_u(cs, "_destinations", n.destinations);
	ctl_row_end(cs);
	end_memory(sv, cs);
}

static void
act(struct service *sv, struct ctl_session *cs, enum walk_act what,
    const struct slice *words, unsigned nwords)
{
	struct walk_filter f;

	if (read_target(cs, words + 1, nwords - 1, &f)) {
		walk_start(sv, cs, what, &f, false);
	}
}

/* Nothing: all; an id, filters, or a domain of recipients. */
static void
ask_flush(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	struct service *sv = arg;
	struct walk_filter f = { .one = false };
	uint64_t qid, n;

	if (nwords == 1 || (nwords == 2 && slice_eq(words[1], SL("all")))) {
		qmgr_time(sv->q);
		n = sched_flush_all(sv->q->s);
		qmgr_wake(sv->q);
		ctl_end(cs, 0, "%" PRIu64 " deferred message%s to be tried now",
		    n, n == 1 ? " is" : "s are");
	} else if (nwords == 2 && !qid_parse(words[1], &qid) &&
	    slice_find(words[1], '=') == words[1].n) {
		set_text(&f.recipient, words[1]);
		walk_start(sv, cs, WALK_FLUSH, &f, false);
	} else {
		act(sv, cs, WALK_FLUSH, words, nwords);
	}
}

static void
ask_hold(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	if (!service_asks_domain(arg, cs, words, nwords)) {
		act(arg, cs, WALK_HOLD, words, nwords);
	}
}

static void
ask_release(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	if (!service_asks_domain(arg, cs, words, nwords)) {
		act(arg, cs, WALK_RELEASE, words, nwords);
	}
}

static void
ask_delete(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	act(arg, cs, WALK_DELETE, words, nwords);
}

static void
ask_requeue(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned nwords)
{
	act(arg, cs, WALK_REQUEUE, words, nwords);
}

static const struct ctl_verb verbs[] = {
	/* name, administrators only, words after it, what answers */
	{ "list", false, 0, 8, ask_list },
	{ "brief", true, 0, 8, ask_brief },
	{ "summary", true, 0, 2, ask_summary },
	{ "count", false, 0, 0, ask_count },
	{ "destinations", true, 0, 0, service_ask_destinations },
	{ "flush", true, 0, 8, ask_flush },
	{ "hold", true, 1, 8, ask_hold },
	{ "release", true, 1, 8, ask_release },
	{ "delete", true, 1, 8, ask_delete },
	{ "requeue", true, 1, 8, ask_requeue },
};

/* -- life ------------------------------------------------------------------------ */

void
service_init(struct service *sv, struct qmgr *q)
{
	memset(sv, 0, sizeof(*sv));
	sv->q = q;
	sv->own_uid = geteuid();
	slots_init(&sv->walks);
	TAILQ_INIT(&sv->keeps);
}

void
service_listen(struct service *sv, int fd, bool admin)
{
	if (sv->nservers == SERVICE_SOCKETS) {
		(void)close(fd);
		return;
	}
	sv->servers[sv->nservers++] = ctl_server_new(sv->q->base, fd, admin,
	    IPC_QMGR, verbs, NELEMS(verbs), sv);
}

void
service_clear(struct service *sv)
{
	while (sv->nservers > 0) {
		ctl_server_free(sv->servers[--sv->nservers]);
	}
	slots_clear(&sv->walks);
	service_keeps_clear(sv);
}

bool
service_is_scanning(const struct service *sv)
{
	return sv->q->scanned != UINT64_MAX;
}

void
service_scanned(struct service *sv)
{
	struct walk *w;
	uint32_t place = 0;

	while ((w = slots_next(&sv->walks, &place)) != NULL) {
		walk_scanned(w);
	}
}

void
service_marked(struct service *sv, uint64_t token, uint64_t qid,
    unsigned result, struct slice text)
{
	struct walk *w = slots_get(&sv->walks, (uint32_t)token);

	if (w != NULL) {
		walk_marked(w, qid, result, text);
	}
}
