#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/codec.h"
#include "common/ctl.h"
#include "common/log.h"
#include "common/slots.h"
#include "common/xmalloc.h"

#define ASK_TIMEOUT_S   30  /* from the connection to the question */
#define STALL_TIMEOUT_S 300 /* a tool that reads nothing is given up */
#define PER_UID_MAX     (CTL_SESSIONS_MAX / 4) /* on a public socket; root is exempt */
#define ROW_TEXT_MAX    4096

struct ctl_server {
	struct event_base *base;
	int fd;
	bool admin;
	const struct ctl_verb *verbs;
	size_t nverbs;
	void *arg;
	struct ipc_chan_ops ops;
	struct event *acceptable, *retry;
	struct slots open;     /* sessions whose answer has not ended */
	struct ctl_session *first;
	unsigned nsessions;    /* all in the list, ended ones too */
	unsigned own_uid;      /* of this program: may open as many as fit */
	bool full;             /* not accepting: too many sessions */
};

struct ctl_session {
	struct ctl_server *server;
	struct ctl_session *next, **link;
	struct ipc_chan *ch;
	struct event *timer, *room_event;
	struct strbuf row;
	uint32_t id;   /* 0 once the answer has ended */
	unsigned uid;
	bool asked;
	void (*more)(void *arg, struct ctl_session *cs);
	void *more_arg;
	void (*gone)(void *arg, struct ctl_session *cs);
	void *gone_arg;
};

static void
accept_again(struct ctl_server *s)
{
	if (s->full && s->nsessions < CTL_SESSIONS_MAX) {
		s->full = false;
		(void)event_add(s->acceptable, NULL);
	}
}

/* Nothing touches the session afterwards. */
static void
session_free(struct ctl_session *cs)
{
	struct ctl_server *s = cs->server;

	if (cs->id != 0) {
		slots_drop(&s->open, cs->id);
		cs->id = 0;
		if (cs->gone != NULL) {
			cs->gone(cs->gone_arg, cs);
		}
	}
	*cs->link = cs->next;
	if (cs->next != NULL) {
		cs->next->link = cs->link;
	}
	s->nsessions--;
	ipc_chan_free(cs->ch);
	event_free(cs->timer);
	event_free(cs->room_event);
	strbuf_clear(&cs->row);
	free(cs);
	accept_again(s);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ctl_session *cs = arg;

	(void)fd;
	(void)what;
	if (cs->asked && ipc_chan_queued(cs->ch) == 0) {
		return; /* we owe the answer; the tool waits for us */
	}
	session_free(cs);
}

static void
set_timer(struct ctl_session *cs, time_t seconds)
{
	const struct timeval tv = { seconds, 0 };

	(void)event_add(cs->timer, &tv);
}

/* May free the session, by way of what `more' does: it is the last act. */
static void
call_more(struct ctl_session *cs)
{
	void (*more)(void *, struct ctl_session *) = cs->more;

	cs->more = NULL;
	if (more != NULL && cs->id != 0) {
		more(cs->more_arg, cs);
	}
}

static void
on_room(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	call_more(arg);
}

static const struct ctl_verb *
find_verb(const struct ctl_server *s, struct slice name)
{
	size_t i;

	for (i = 0; i < s->nverbs; i++) {
		if (slice_eq(slice_of(s->verbs[i].name), name)) {
			return &s->verbs[i];
		}
	}
	return NULL;
}

/* Cut "word NUL word NUL ..."; 0 when it is something else. */
static unsigned
cut_words(struct slice in, struct slice *words)
{
	unsigned n = 0;
	size_t len;

	while (in.n > 0) {
		len = slice_find(in, '\0');
		if (len == in.n || n == CTL_WORDS_MAX) {
			return 0;
		}
		words[n++] = slice_make(in.p, len);
		in.p += len + 1;
		in.n -= len + 1;
	}
	return n;
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct ctl_session *cs = owner;
	struct slice words[CTL_WORDS_MAX];
	const struct ctl_verb *v;
	unsigned n;

	(void)ch;
	if (m->type != IPC_CTL_ASK || cs->asked) {
		return false;
	}
	n = cut_words(ipc_s(m, 0), words);
	if (n == 0) {
		return false;
	}
	cs->asked = true;
	(void)event_del(cs->timer);
	v = find_verb(cs->server, words[0]);
	if (v == NULL) {
		ctl_end(cs, EX_USAGE, "unknown request");
	} else if (v->admin && !cs->server->admin) {
		ctl_end(cs, EX_NOPERM, "only an administrator may do that");
	} else if (n - 1 < v->least || n - 1 > v->most) {
		ctl_end(cs, EX_USAGE, "%s: wrong number of arguments", v->name);
	} else {
		v->ask(cs->server->arg, cs, words, n);
	}
	return true;
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	(void)ch;
	(void)why;
	session_free(owner);
}

static void
on_drained(void *owner, struct ipc_chan *ch)
{
	struct ctl_session *cs = owner;

	(void)ch;
	(void)event_del(cs->timer);
	if (cs->id == 0) {
		session_free(cs); /* the answer has gone out whole */
		return;
	}
	call_more(cs);
}

static bool
uid_has_too_many(const struct ctl_server *s, unsigned uid)
{
	const struct ctl_session *cs;
	unsigned n = 0;

	for (cs = s->first; cs != NULL; cs = cs->next) {
		n += cs->uid == uid ? 1 : 0;
	}
	return !s->admin && uid != 0 && uid != s->own_uid && n > PER_UID_MAX;
}

static void
session_new(struct ctl_server *s, int fd)
{
	struct ctl_session *cs = xcalloc(1, sizeof(*cs));
	struct ucred who = { 0, (uid_t)-1, (gid_t)-1 };
	socklen_t n = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == -1) {
		who.uid = (uid_t)-1;
	}
	cs->server = s;
	cs->uid = who.uid;
	cs->ch = ipc_chan_new(s->base, fd, &s->ops, cs);
	cs->timer = event_new(s->base, -1, 0, on_timer, cs);
	cs->room_event = event_new(s->base, -1, 0, on_room, cs);
	if (cs->timer == NULL || cs->room_event == NULL) {
		log_panic("ctl: no event for a session");
	}
	strbuf_init(&cs->row, IPC_BLOB_MAX);
	cs->id = slots_add(&s->open, cs);
	cs->next = s->first;
	cs->link = &s->first;
	if (cs->next != NULL) {
		cs->next->link = &cs->next;
	}
	s->first = cs;
	s->nsessions++;
	set_timer(cs, ASK_TIMEOUT_S);
	if (uid_has_too_many(s, cs->uid)) {
		cs->asked = true;
		ctl_end(cs, EX_TEMPFAIL, "too many connections of yours");
	}
}

static void
on_acceptable(evutil_socket_t lfd, short what, void *arg)
{
	const struct timeval later = { 1, 0 };
	struct ctl_server *s = arg;
	int fd = accept4((int)lfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd == -1) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS) {
			(void)event_del(s->acceptable);
			(void)event_add(s->retry, &later);
		}
		return;
	}
	session_new(s, fd);
	if (s->nsessions >= CTL_SESSIONS_MAX) {
		s->full = true;
		(void)event_del(s->acceptable);
	}
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct ctl_server *s = arg;

	(void)fd;
	(void)what;
	if (!s->full) {
		(void)event_add(s->acceptable, NULL);
	}
}

struct ctl_server *
ctl_server_new(struct event_base *base, int fd, bool admin, enum ipc_role me,
    const struct ctl_verb *verbs, size_t nverbs, void *arg)
{
	struct ctl_server *s = xcalloc(1, sizeof(*s));

	(void)evutil_make_socket_nonblocking(fd);
	s->base = base;
	s->fd = fd;
	s->admin = admin;
	s->verbs = verbs;
	s->nverbs = nverbs;
	s->arg = arg;
	s->own_uid = geteuid();
	s->ops = (struct ipc_chan_ops){ .me = me, .peer = IPC_TOOL,
		.message = on_message, .closed = on_closed,
		.drained = on_drained };
	slots_init(&s->open);
	s->acceptable = event_new(base, fd, EV_READ | EV_PERSIST,
	    on_acceptable, s);
	s->retry = event_new(base, -1, 0, on_retry, s);
	if (s->acceptable == NULL || s->retry == NULL ||
	    event_add(s->acceptable, NULL) == -1) {
		log_panic("ctl: no event for a control socket");
	}
	return s;
}

void
ctl_server_free(struct ctl_server *s)
{
	if (s == NULL) {
		return;
	}
	s->full = false; /* a freed session must not arm the listener */
	while (s->first != NULL) {
		session_free(s->first);
	}
	event_free(s->acceptable);
	event_free(s->retry);
	(void)close(s->fd);
	slots_clear(&s->open);
	free(s);
}

uint32_t
ctl_session_id(const struct ctl_session *cs)
{
	return cs->id;
}

struct ctl_session *
ctl_session_get(const struct ctl_server *s, uint32_t id)
{
	return slots_get(&s->open, id);
}

struct ctl_server *
ctl_session_server(const struct ctl_session *cs)
{
	return cs->server;
}

unsigned
ctl_session_uid(const struct ctl_session *cs)
{
	return cs->uid;
}

bool
ctl_session_is_admin(const struct ctl_session *cs)
{
	return cs->server->admin;
}

bool
ctl_is_full(const struct ctl_session *cs)
{
	return ipc_chan_queued(cs->ch) >= CTL_HIGH_WATER;
}

void
ctl_on_room(struct ctl_session *cs,
    void (*more)(void *arg, struct ctl_session *cs), void *arg)
{
	cs->more = more;
	cs->more_arg = arg;
	if (ipc_chan_queued(cs->ch) == 0) {
		event_active(cs->room_event, 0, 0); /* nothing to drain */
	} else {
		set_timer(cs, STALL_TIMEOUT_S);
	}
}

void
ctl_on_gone(struct ctl_session *cs,
    void (*gone)(void *arg, struct ctl_session *cs), void *arg)
{
	cs->gone = gone;
	cs->gone_arg = arg;
}

void
ctl_row_begin(struct ctl_session *cs)
{
	strbuf_reset(&cs->row);
}

/* Where its value goes; a column that does not fit is left out whole. */
static char *
begin_column(struct ctl_session *cs, char kind, const char *name,
    size_t value_room)
{
	const size_t n = strlen(name);
	char *p = strbuf_room(&cs->row, 1 + 4 + n + value_room);

	if (p == NULL) {
		return NULL;
	}
	p[0] = kind;
	put_u32(p + 1, (uint32_t)n);
	memcpy(p + 5, name, n);
	strbuf_filled(&cs->row, 1 + 4 + n + value_room);
	return p + 5 + n;
}

void
ctl_row_u(struct ctl_session *cs, const char *name, uint64_t value)
{
	char *p = begin_column(cs, 'u', name, 8);

	if (p != NULL) {
		put_u64(p, value);
	}
}

void
ctl_row_s(struct ctl_session *cs, const char *name, struct slice value)
{
	char *p;

	if (value.n > ROW_TEXT_MAX) {
		value.n = ROW_TEXT_MAX;
	}
	p = begin_column(cs, 's', name, 4 + value.n);
	if (p != NULL) {
		put_u32(p, (uint32_t)value.n);
		memcpy(p + 4, value.n > 0 ? value.p : "", value.n);
	}
}

static void
send_blob(struct ctl_session *cs, enum ipc_type type, struct slice s)
{
	ipc_begin(cs->ch, type, 0);
	ipc_put_s(cs->ch, s);
	ipc_end(cs->ch);
}

void
ctl_row_end(struct ctl_session *cs)
{
	send_blob(cs, IPC_CTL_ROW, strbuf_slice(&cs->row));
}

void
ctl_data(struct ctl_session *cs, struct slice octets)
{
	send_blob(cs, IPC_CTL_DATA, octets);
}

void
ctl_end(struct ctl_session *cs, unsigned exit, const char *fmt, ...)
{
	struct strbuf text;
	va_list ap;

	slots_drop(&cs->server->open, cs->id);
	cs->id = 0;
	cs->more = NULL;
	cs->gone = NULL;
	strbuf_init(&text, 0);
	va_start(ap, fmt);
	(void)strbuf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (text.n > IPC_STR_MAX) {
		text.n = IPC_STR_MAX;
	}
	ipc_begin(cs->ch, IPC_CTL_END, 0);
	ipc_put_u(cs->ch, exit);
	ipc_put_s(cs->ch, strbuf_slice(&text));
	ipc_end(cs->ch);
	strbuf_clear(&text);
	set_timer(cs, STALL_TIMEOUT_S);
}
