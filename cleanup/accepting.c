#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "cleanup/accepting.h"
#include "cleanup/alarm.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define LOOK_EVERY_S  1
#define FULL_FOR_LOOKS 5 /* after "no space" from the spool */

struct accepting {
	struct program *pg;
	void (*changed)(struct program *pg, const struct reply *r);
	struct reply reply;
	unsigned full_for; /* looks to come that count as full */
	size_t corrupt;    /* messages set aside when last looked at */
	struct event *timer;
};

static struct reply
judge(struct accepting *a)
{
	uint64_t octets = 0, inodes = 0;

	if (a->pg->stopping) {
		return REPLY_STOPPING;
	}
	if (a->full_for > 0) {
		return REPLY_NO_SPACE;
	}
	if (spool_space(a->pg->spool, &octets, &inodes) == -1) {
		log_warn("cannot tell how much space the queue has: %s",
		    strerror(errno));
		return REPLY_TROUBLE;
	}
	if (octets < a->pg->settings->queue_minfree ||
	    inodes < ACCEPTING_INODES_MIN) {
		return REPLY_NO_SPACE;
	}
	return REPLY(250, "2.1.0", "Ok");
}

static void
tell_full(struct accepting *a)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "This host answers all mail with 452: the file "
	    "system of the queue is too full.\n"
	    "queue_directory = %s\nqueue_minfree = %llu\n"
	    "Mail is taken again as soon as there is room; what is queued is "
	    "safe.\n", a->pg->settings->queue_directory,
	    (unsigned long long)a->pg->settings->queue_minfree);
	alarm_raise(a->pg->alarm, ALARM_RESOURCE, b.p);
	strbuf_clear(&b);
}

/* Messages that were found damaged since the last look. */
static void
look_for_damage(struct accepting *a)
{
	size_t n = spool_corrupt_count(a->pg->spool);
	struct strbuf b;

	if (n > a->corrupt) {
		strbuf_init(&b, 0);
		(void)strbuf_printf(&b, "%zu queued messages were found "
		    "damaged and set aside; nothing was deleted.\n"
		    "They are the files *.corrupt below %s/queue;\n"
		    "the log names each with what is wrong. A disk that loses "
		    "data is the usual reason.\n", n - a->corrupt,
		    a->pg->settings->queue_directory);
		alarm_raise(a->pg->alarm, ALARM_SOFTWARE, b.p);
		strbuf_clear(&b);
	}
	a->corrupt = n;
}

void
accepting_look(struct accepting *a)
{
	struct reply r = judge(a);

	if (r.code == a->reply.code && strcmp(r.text, a->reply.text) == 0) {
		return;
	}
	if (r.code == 250) {
		log_info("accepting mail again");
	} else {
		log_warn("accepting no mail: %u %s %s", r.code, r.esc, r.text);
	}
	a->reply = r;
	a->changed(a->pg, &r);
	if (r.code == 452) {
		tell_full(a);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct accepting *a = arg;

	(void)fd;
	(void)what;
	if (a->full_for > 0) {
		a->full_for--;
	}
	accepting_look(a);
	look_for_damage(a);
}

void
accepting_spool_error(struct accepting *a, int error)
{
	if (error == ENOSPC || error == EDQUOT) {
		a->full_for = FULL_FOR_LOOKS;
		accepting_look(a);
	}
}

struct reply
accepting_reply(const struct accepting *a)
{
	return a->reply;
}

struct accepting *
accepting_new(struct program *pg,
    void (*changed)(struct program *pg, const struct reply *r))
{
	const struct timeval every = { LOOK_EVERY_S, 0 };
	struct accepting *a = xcalloc(1, sizeof(*a));

	a->pg = pg;
	a->changed = changed;
	a->reply = REPLY(250, "2.1.0", "Ok");
	a->corrupt = spool_corrupt_count(pg->spool);
	a->timer = event_new(pg->base, -1, EV_PERSIST, on_timer, a);
	if (a->timer == NULL || event_add(a->timer, &every) == -1) {
		log_panic("accepting: no event");
	}
	accepting_look(a);
	return a;
}

void
accepting_free(struct accepting *a)
{
	if (a != NULL) {
		event_free(a->timer);
		free(a);
	}
}
