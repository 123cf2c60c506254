#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup/alarm.h"
#include "cleanup/notice.h"
#include "cleanup/resolving.h"
#include "cleanup/scan.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"

static const struct {
	const char *name, *subject;
} classes[] = {
	[ALARM_RESOURCE] = { "resource", "Mail is not taken: no space" },
	[ALARM_SOFTWARE] = { "software", "A queue file is damaged" },
};
_Static_assert(NELEMS(classes) == ALARM_CLASSES, "a row per class");

/* One message being made; at most one a class. */
struct ringing {
	struct alarm *alarm;
	enum alarm_class class;
	uint32_t question;
	char *text; /* NULL: none is being made */
};

struct alarm {
	struct program *pg;
	struct ringing ringing[ALARM_CLASSES];
	uint64_t not_before_s[ALARM_CLASSES]; /* CLOCK_MONOTONIC */
	unsigned untold[ALARM_CLASSES];       /* since the last message */
};

static uint64_t
now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

static void
on_accepted(void *arg, uint64_t qid, int error)
{
	const char *name = arg;
	char id[QID_TEXT + 1];

	qid_format(qid, id);
	if (error == 0) {
		log_info("%s: postmaster notification: class=%s", id, name);
	} else {
		log_warn("postmaster cannot be told of trouble (%s): %s", name,
		    strerror(error));
	}
}

static void
post(const struct ringing *r, struct envelope *e)
{
	struct program *pg = r->alarm->pg;
	struct spool_draft *draft = spool_draft_new(pg->spool);
	char id[QID_TEXT + 1];
	uint32_t flags = 0;
	struct strbuf text;
	const struct notice_plain n = { pg->settings->myhostname,
		pg->settings->myorigin, id, time(NULL),
		slice_of(pg->settings->notice_recipient),
		classes[r->class].subject, r->text };

	qid_format(spool_draft_qid(draft), id);
	strbuf_init(&text, 0);
	notice_compose_plain(&n, &text);
	(void)scan_content(strbuf_slice(&text), &flags);
	e->flags = flags | CONTENT_NOTICE | CONTENT_DOUBLE;
	(void)spool_draft_add(draft, strbuf_slice(&text));
	strbuf_clear(&text);
	spool_accept(draft, e, on_accepted, (void *)(uintptr_t)
	    classes[r->class].name);
}

static void
on_decision(void *arg, const struct decision *d, struct memo *trace)
{
	struct ringing *r = arg;
	const char *to = r->alarm->pg->settings->notice_recipient;
	struct envelope e;
	size_t i;

	(void)trace;
	r->question = 0;
	envelope_init(&e);
	for (i = 0; d->code / 100 == 2 && i < d->ntargets; i++) {
		const struct resolve_target *g = &d->targets[i];

		(void)envelope_add(&e, slice_of(g->address), slice_of(to),
		    slice_of(g->transport), slice_of(g->next_hop),
		    slice_of(g->extension));
	}
	if (e.nrcpts > 0) {
		post(r, &e);
	} else {
		log_warn("notice_recipient cannot be told: <%s>: %u %s %s", to,
		    d->code, d->esc, d->text);
	}
	envelope_clear(&e);
	free(r->text);
	r->text = NULL;
}

void
alarm_raise(struct alarm *a, enum alarm_class class, const char *text)
{
	struct resolve_request rq = { .reverse_path = SL(""),
		.client_addr = SL(""), .trusted = true };
	struct ringing *r;
	struct strbuf b;
	uint32_t id;

	if (a == NULL ||
	    !settings_list_has(&a->pg->settings->notify_classes,
	    classes[class].name)) {
		return;
	}
	r = &a->ringing[class];
	if (r->text != NULL || now_s() < a->not_before_s[class]) {
		a->untold[class]++;
		return;
	}
	a->not_before_s[class] = now_s() + ALARM_PAUSE_S;
	strbuf_init(&b, 0);
	(void)strbuf_add_str(&b, text);
	if (a->untold[class] > 0) {
		(void)strbuf_printf(&b, "The same has happened %u times since "
		    "the last such message.\n", a->untold[class]);
	}
	a->untold[class] = 0;
	r->text = strbuf_take(&b);
	rq.forward_path = slice_of(a->pg->settings->notice_recipient);
	id = resolving_ask(a->pg->resolving, &rq, on_decision, r);
	if (id != 0) {
		r->question = id;
	}
}

struct alarm *
alarm_new(struct program *pg)
{
	struct alarm *a = xcalloc(1, sizeof(*a));
	unsigned i;

	a->pg = pg;
	for (i = 0; i < ALARM_CLASSES; i++) {
		a->ringing[i].alarm = a;
		a->ringing[i].class = (enum alarm_class)i;
	}
	return a;
}

void
alarm_free(struct alarm *a)
{
	unsigned i;

	if (a == NULL) {
		return;
	}
	for (i = 0; i < ALARM_CLASSES; i++) {
		resolving_cancel(a->pg->resolving, a->ringing[i].question);
		free(a->ringing[i].text);
	}
	free(a);
}
