/* The channel to cleanup: what comes from there is checked like anything else. */
#include "config.h"


#include "common/log.h"
#include "smtpd/session.h"

bool
upstream_alive(const struct smtpd *srv)
{
	return srv->cleanup != NULL && ipc_chan_alive(srv->cleanup);
}

/* "2.1.5": class, subject and detail of RFC 3463, 2. */
static bool
is_esc(struct slice s, unsigned code)
{
	unsigned dots = 0, digits = 0;
	size_t i;

	if (s.n < 5 || s.p[0] != (char)('0' + code / 100)) {
		return false;
	}
	for (i = 0; i < s.n; i++) {
		if (s.p[i] == '.' && digits > 0) {
			dots++;
			digits = 0;
		} else if (ascii_isdigit(s.p[i]) && digits < 3) {
			digits++;
		} else {
			return false;
		}
	}
	return dots == 2 && digits > 0;
}

/* code, esc, text at the fields 0, 1, 2. */
static bool
take_answer(const struct ipc_msg *m, bool may_be_zero, struct answer *a)
{
	struct slice esc = ipc_s(m, 1), text = ipc_s(m, 2);
	size_t i;

	a->code = (unsigned)ipc_u(m, 0);
	if (may_be_zero && ipc_u(m, 0) == 0) {
		return true;
	}
	if (ipc_u(m, 0) > 599 || (a->code / 100 != 2 && a->code / 100 != 4 &&
	    a->code / 100 != 5)) {
		return false;
	}
	if (esc.n >= sizeof(a->esc) || !is_esc(esc, a->code)) {
		log_warn("cleanup sent %u with the enhanced code \"%.*s\"",
		    a->code, SLF(esc));
		esc = a->code / 100 == 2 ? SL("2.0.0")
		    : a->code / 100 == 4 ? SL("4.0.0") : SL("5.0.0");
	}
	memcpy(a->esc, esc.p, esc.n);
	a->esc[esc.n] = '\0';
	text.n = text.n < sizeof(a->text) ? text.n : sizeof(a->text) - 1;
	for (i = 0; i < text.n; i++) {
		a->text[i] = text.p[i] >= ' ' && text.p[i] <= '~'
		    ? text.p[i] : '?';
	}
	a->text[text.n] = '\0';
	return true;
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct smtpd *srv = owner;
	enum ipc_type type = (enum ipc_type)m->type;
	struct session *s;
	struct answer a;

	(void)ch;
	if (!take_answer(m, type == IPC_CONTENT_ACK, &a)) {
		return false;
	}
	if (type == IPC_ACCEPTING) {
		if (a.code != srv->accepting.code) {
			log_warn("MAIL is answered %u %s %s from now on",
			    a.code, a.esc, a.text);
		}
		srv->accepting = a;
		if (!srv->told) {
			srv->told = true;
			server_accept_now(srv);
		}
		return true;
	}
	s = slots_get(&srv->tids, m->tid);
	/* One that comes too late finds nothing. */
	return s == NULL || session_answer(s, type, m->tid, &a);
}

/* Every transaction that cleanup knew is gone with it. */
static void
lose(struct smtpd *srv)
{
	struct ipc_chan *ch = srv->cleanup;
	struct session *s, *next;

	srv->cleanup = NULL;
	ipc_chan_free(ch);
	for (s = srv->sessions; s != NULL; s = next) {
		next = s->next;
		session_upstream_lost(s);
	}
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	(void)ch;
	log_warn("lost cleanup: %s", why);
	lose(owner);
}

static const struct ipc_chan_ops ops = {
	.me = IPC_SMTPD,
	.peer = IPC_CLEANUP,
	.message = on_message,
	.closed = on_closed,
};

void
server_take_channel(struct smtpd *srv, int fd)
{
	if (srv->cleanup != NULL) {
		lose(srv);
	}
	srv->accepting = (struct answer){ .code = 250 };
	srv->cleanup = ipc_chan_new(srv->base, fd, &ops, srv);
	/* Its first words say whether there is room for mail: who connects
	   before they are here would be told after the content only. */
	srv->told = false;
	server_accept_later(srv);
}
