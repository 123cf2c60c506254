/*
 * VRFY: RFC 5321, 3.5.1 and 7.3. Who exists is not told: a good address is
 * answered 252. Only who has moved is told, as RCPT would tell it.
 */
#include "config.h"

#include "smtpd/session.h"

/* "<path>", "local@domain" or "local". */
static enum addr_err
parse(struct slice arg, struct addr *a)
{
	enum addr_err e;
	size_t used;

	if (arg.p[0] != '<') {
		return addr_parse_mailbox(arg, ADDR_ALLOW_BARE, a);
	}
	e = addr_parse_path(arg, ADDR_ALLOW_BARE, a, &used);
	return e == ADDR_OK && used < arg.n ? ADDR_SYNTAX : e;
}

static void
ask(struct session *s, const struct addr *a)
{
	struct ipc_chan *ch = s->srv->cleanup;
	struct strbuf local, path;

	s->vrfy_tid = upstream_alive(s->srv) ? slots_add(&s->srv->tids, s) : 0;
	if (s->vrfy_tid == 0) {
		cmd_vrfy_answer(s, NULL);
		return;
	}
	strbuf_init(&local, 0);
	strbuf_init(&path, 0);
	addr_local_value(a, &local);
	addr_print(strbuf_slice(&local), a->domain, &path);
	ipc_begin(ch, IPC_RESOLVE, s->vrfy_tid);
	ipc_put_str(ch, "");
	ipc_put_s(ch, strbuf_slice(&path));
	ipc_put_str(ch, s->addr);
	ipc_put_u(ch, s->uid);
	ipc_put_u(ch, s->submit ? 1 : 0);
	ipc_end(ch);
	strbuf_clear(&local);
	strbuf_clear(&path);
	session_await(s, AWAIT_VRFY);
}

void
cmd_vrfy(struct session *s, struct slice arg)
{
	enum addr_err e;
	struct addr a;

	e = parse(arg, &a);
	if (e != ADDR_OK) {
		session_reply_with(s, SMTPD_R_VRFY_SYNTAX,
		    slice_of(addr_err_text(e)));
		return;
	}
	ask(s, &a);
}

void
cmd_vrfy_answer(struct session *s, const struct answer *a)
{
	if (s->vrfy_tid != 0) {
		slots_drop(&s->srv->tids, s->vrfy_tid);
		s->vrfy_tid = 0;
	}
	if (a != NULL && (a->code == 251 || a->code == 551)) {
		session_say(s, a);
	} else {
		session_reply(s, SMTPD_R_VRFY_MAYBE);
	}
}
