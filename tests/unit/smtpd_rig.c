#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "tests/unit/smtpd_rig.h"

#define QUIET_TURNS 6

uint64_t rig_now_ms = 1000000;
static unsigned activity; /* anything that happened since last looked at */

static uint64_t
now_ms(void)
{
	return rig_now_ms;
}

/* -- the fake cleanup ------------------------------------------------------ */

static struct rig_transaction *
find(struct rig *r, uint32_t tid)
{
	unsigned i;

	for (i = r->ntr; i-- > 0;) {
		if (r->tr[i].tid == tid) {
			return &r->tr[i];
		}
	}
	return NULL;
}

static void
answer(struct rig *r, enum ipc_type type, uint32_t tid, unsigned code,
    const char *esc, const char *text)
{
	ipc_begin(r->cleanup, type, tid);
	ipc_put_u(r->cleanup, code);
	ipc_put_str(r->cleanup, esc);
	ipc_put_str(r->cleanup, text);
	ipc_end(r->cleanup);
}

static void
verdict(struct rig *r, uint32_t tid, const char *path)
{
	struct rig_transaction *t = find(r, tid);

	if (strncmp(path, "unknown", 7) == 0) {
		answer(r, IPC_VERDICT, tid, 550, "5.1.1", "no such user");
	} else if (strncmp(path, "moved", 5) == 0) {
		answer(r, IPC_VERDICT, tid, 551, "5.1.6", "has moved");
	} else if (strncmp(path, "later", 5) == 0) {
		answer(r, IPC_VERDICT, tid, 450, "4.3.0", "try again later");
	} else {
		if (t != NULL) {
			(void)strbuf_printf(&t->rcpts, "%s ", path);
		}
		answer(r, IPC_VERDICT, tid, 250, "2.1.5", "ok");
	}
}

static void
hold(struct rig *r, enum ipc_type type, uint32_t tid, struct slice path)
{
	if (r->nheld == NELEMS(r->held)) {
		log_panic("the rig holds too much");
	}
	r->held[r->nheld].tid = tid;
	r->held[r->nheld].type = type;
	(void)snprintf(r->held[r->nheld++].path, sizeof(r->held[0].path),
	    "%.*s", SLF(path));
}

static void
ack(struct rig *r, uint32_t tid)
{
	struct rig_transaction *t = find(r, tid);

	t->unacked--;
	if (r->refuse_piece != 0 && t->pieces == r->refuse_piece) {
		answer(r, IPC_CONTENT_ACK, tid, 452, "4.3.1", "disk full");
	} else {
		answer(r, IPC_CONTENT_ACK, tid, 0, "", "");
	}
}

static void
finish(struct rig *r, uint32_t tid)
{
	const char *w = r->commit_with;

	if (w != NULL) {
		char esc[6] = "";

		memcpy(esc, w + 4, 5);
		answer(r, IPC_COMMITTED, tid, (unsigned)strtoul(w, NULL, 10),
		    esc, w + 10);
	} else {
		answer(r, IPC_COMMITTED, tid, 250, "2.0.0", "queued as QID1");
	}
}

static bool
on_mail(struct rig *r, const struct ipc_msg *m)
{
	struct rig_transaction *t = &r->tr[r->ntr++];

	if (r->ntr == RIG_TRANSACTIONS) {
		log_panic("too many transactions for the rig");
	}
	*t = (struct rig_transaction){ .tid = m->tid };
	t->reverse_path = xslicedup(ipc_s(m, 0));
	t->mail_flags = ipc_u(m, 1);
	t->size = ipc_u(m, 2);
	t->uid = ipc_u(m, 7);
	t->trusted = ipc_u(m, 8);
	return true;
}

static bool
on_content(struct rig *r, struct rig_transaction *t, const struct ipc_msg *m)
{
	(void)strbuf_add_slice(&t->content, ipc_s(m, 0));
	t->pieces++;
	t->unacked++;
	if (t->unacked > 1 || t->last || ipc_s(m, 0).n == 0 ||
	    ipc_s(m, 0).n > IPC_PIECE_MAX) {
		log_panic("a piece too many, too small or too large");
	}
	t->last = ipc_u(m, 1) == 1;
	if (r->hold_acks) {
		hold(r, IPC_CONTENT_ACK, m->tid, SL(""));
	} else {
		ack(r, m->tid);
	}
	return true;
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct rig *r = owner;
	struct rig_transaction *t = find(r, m->tid);

	(void)ch;
	activity++;
	switch ((enum ipc_type)m->type) {
	case IPC_MAIL:
		return on_mail(r, m);
	case IPC_RCPT:
	case IPC_RESOLVE:
		hold(r, IPC_VERDICT, m->tid,
		    ipc_s(m, m->type == IPC_RCPT ? 0 : 1));
		if (!r->hold_verdicts) {
			r->nheld--;
			verdict(r, m->tid, r->held[r->nheld].path);
		}
		return true;
	case IPC_CONTENT:
		return on_content(r, t, m);
	case IPC_COMMIT:
		t->committed = true;
		t->flags = (uint32_t)ipc_u(m, 0);
		t->size = ipc_u(m, 1);
		if (r->hold_commits) {
			hold(r, IPC_COMMITTED, m->tid, SL(""));
		} else {
			finish(r, m->tid);
		}
		return true;
	case IPC_ABORT:
		t->aborted = true;
		return true;
	default:
		return false;
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct rig *r = owner;

	(void)why;
	activity++;
	ipc_chan_free(ch);
	r->cleanup = NULL;
}

static const struct ipc_chan_ops ops = { .me = IPC_CLEANUP, .peer = IPC_SMTPD,
	.message = on_message, .closed = on_closed };

void
rig_release(struct rig *r)
{
	unsigned i, n = r->nheld;

	r->nheld = 0;
	for (i = 0; i < n; i++) {
		if (r->held[i].type == IPC_VERDICT) {
			verdict(r, r->held[i].tid, r->held[i].path);
		} else if (r->held[i].type == IPC_CONTENT_ACK) {
			ack(r, r->held[i].tid);
		} else {
			finish(r, r->held[i].tid);
		}
	}
	rig_settle(r);
}

void
rig_accepting(struct rig *r, unsigned code, const char *esc, const char *text)
{
	answer(r, IPC_ACCEPTING, 0, code, esc, text);
	rig_settle(r);
}

void
rig_kill_cleanup(struct rig *r)
{
	ipc_chan_free(r->cleanup);
	r->cleanup = NULL;
	r->nheld = 0;
	rig_settle(r);
}

void
rig_new_cleanup(struct rig *r)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == -1) {
		log_panic("socketpair");
	}
	r->cleanup = ipc_chan_new(r->base, sv[0], &ops, r);
	server_take_channel(r->srv, sv[1]);
}

/* -- clients --------------------------------------------------------------- */

static void
receive(struct rig *r, int c)
{
	char room[8192];
	ssize_t n;

	while (r->client[c] != -1 && !r->closed[c]) {
		n = recv(r->client[c], room, sizeof(room), MSG_DONTWAIT);
		if (n > 0) {
			(void)strbuf_add(&r->got[c], room, (size_t)n);
			activity++;
		} else if (n == 0 || errno != EAGAIN) {
			r->closed[c] = true;
			activity++;
		} else {
			break;
		}
	}
}

void
rig_settle(struct rig *r)
{
	unsigned quiet = 0;
	int c;

	while (quiet < QUIET_TURNS) {
		activity = 0;
		(void)event_base_loop(r->base, EVLOOP_NONBLOCK);
		for (c = 0; c < RIG_CLIENTS; c++) {
			receive(r, c);
		}
		quiet = activity > 0 ? 0 : quiet + 1;
	}
}

int
rig_connect(struct rig *r, bool submit)
{
	int sv[2], c;

	for (c = 0; r->client[c] != -1; c++) {
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == -1) {
		log_panic("socketpair");
	}
	r->client[c] = sv[0];
	r->closed[c] = false;
	strbuf_reset(&r->got[c]);
	session_new(r->srv, sv[1], submit ? "" : "192.0.2.1", submit,
	    submit ? 1234 : UINT32_MAX);
	rig_settle(r);
	return c;
}

void
rig_send(struct rig *r, int c, struct slice s, size_t cut)
{
	size_t at = 0, n;
	ssize_t w;

	while (at < s.n) {
		n = cut == 0 || s.n - at < cut ? s.n - at : cut;
		w = send(r->client[c], s.p + at, n, MSG_NOSIGNAL);
		if (w == -1 && errno != EAGAIN) {
			break;
		}
		at += w > 0 ? (size_t)w : 0;
		if (cut != 0 || w == -1 || at == s.n) {
			rig_settle(r);
		}
	}
}

const char *
rig_replies(struct rig *r, int c)
{
	static struct strbuf out;
	struct slice rest = strbuf_slice(&r->got[c]), line;
	size_t n, esc;

	strbuf_reset(&out);
	(void)strbuf_add_str(&out, "");
	while (rest.n > 0) {
		n = slice_find(rest, '\n');
		if (n == rest.n || n < 4 || rest.p[n - 1] != '\r') {
			log_panic("not a reply line: %.*s", SLF(rest));
		}
		line = slice_make(rest.p, n - 1);
		rest.p += n + 1;
		rest.n -= n + 1;
		if (line.p[3] == '-') {
			continue;
		}
		if (out.n > 0) {
			(void)strbuf_add_char(&out, '|');
		}
		(void)strbuf_add(&out, line.p, 3);
		esc = 4;
		while (esc < line.n && (ascii_isdigit(line.p[esc]) ||
		    line.p[esc] == '.')) {
			esc++;
		}
		if (esc == 9) {
			(void)strbuf_add(&out, line.p + 3, 6);
		}
	}
	strbuf_reset(&r->got[c]);
	return out.p != NULL ? out.p : "";
}

/* -- life ------------------------------------------------------------------ */

static void
stopped(void *arg)
{
	struct rig *r = arg;

	r->stopped = true;
}

void
rig_start(struct rig *r)
{
	int c;

	*r = (struct rig){ .base = event_base_new() };
	log_setup("smtpd", false);
	settings_init(&r->set);
	r->set.myhostname = xstrdup("mx.example.org");
	r->set.smtpd_banner = xstrdup("mx.example.org ESMTP");
	r->set.message_size_limit = 1000000;
	r->set.smtpd_timeout = 300;
	r->set.smtpd_slow_timeout = 1800;
	r->set.ipc_timeout = 60;
	r->set.smtpd_recipient_limit = 100;
	r->set.smtpd_hard_error_limit = 20;
	r->set.smtpd_command_limit = 10000;
	r->set.smtpd_max_sessions = 100;
	r->set.smtpd_forbid_bare_newline = true;
	r->srv = server_new(r->base, &r->set);
	r->srv->now_ms = now_ms;
	r->srv->stopped = stopped;
	r->srv->stopped_arg = r;
	for (c = 0; c < RIG_CLIENTS; c++) {
		r->client[c] = -1;
	}
	rig_new_cleanup(r);
}

void
rig_end(struct rig *r)
{
	unsigned i;
	int c;

	server_free(r->srv);
	ipc_chan_free(r->cleanup);
	for (c = 0; c < RIG_CLIENTS; c++) {
		if (r->client[c] != -1) {
			(void)close(r->client[c]);
		}
		strbuf_clear(&r->got[c]);
	}
	for (i = 0; i < r->ntr; i++) {
		free(r->tr[i].reverse_path);
		strbuf_clear(&r->tr[i].rcpts);
		strbuf_clear(&r->tr[i].content);
	}
	settings_clear(&r->set);
	event_base_free(r->base);
}
