/* RCPT: RFC 5321, 4.1.1.3. Cleanup's resolver decides; it may take a while. */
#include "config.h"

#include <stdlib.h>

#include "smtpd/session.h"

static enum smtpd_reply_id
path_reply(enum addr_err e)
{
	if (e == ADDR_8BIT) {
		return SMTPD_R_RCPT_8BIT;
	}
	return addr_err_code(e) == 553 ? SMTPD_R_RCPT_NAME :
	    SMTPD_R_RCPT_SYNTAX;
}

/* A forward-path was refused, by us or by cleanup. */
static void
refused(struct session *s)
{
	if (s->t->accepted == 0) {
		session_set_state(s, SMTPD_REFUSED);
	}
}

static void
ask(struct session *s, const struct addr *a)
{
	struct transaction *t = s->t;
	struct strbuf local, path;

	strbuf_init(&local, 0);
	strbuf_init(&path, 0);
	addr_local_value(a, &local);
	addr_print(strbuf_slice(&local), a->domain, &path);
	strbuf_clear(&local);
	free(t->forward_path);
	t->forward_path = strbuf_take(&path);
	if (!transaction_open(s)) {
		cmd_rcpt_answer(s, NULL);
		return;
	}
	ipc_begin(s->srv->cleanup, IPC_RCPT, t->tid);
	ipc_put_str(s->srv->cleanup, t->forward_path);
	ipc_end(s->srv->cleanup);
	session_await(s, AWAIT_RCPT);
}

void
cmd_rcpt(struct session *s, struct slice arg)
{
	struct slice params, key, value;
	enum grammar_param g;
	enum addr_err e;
	struct addr a;

	e = grammar_path(arg, SL("TO:"), ADDR_ALLOW_BARE, &a, &params);
	if (e != ADDR_OK) {
		session_reply_with(s, path_reply(e),
		    slice_of(addr_err_text(e)));
		refused(s);
		return;
	}
	g = grammar_next_param(&params, &key, &value);
	if (g != GRAMMAR_NO_PARAM) {
		session_reply_with(s, g == GRAMMAR_PARAM
		    ? SMTPD_R_PARAM_UNKNOWN : SMTPD_R_PARAM_SYNTAX, key);
		refused(s);
	} else if (s->t->accepted >= s->srv->set->smtpd_recipient_limit) {
		session_reply(s, SMTPD_R_RCPT_LIMIT);
	} else {
		ask(s, &a);
	}
}

void
cmd_rcpt_answer(struct session *s, const struct answer *a)
{
	struct transaction *t = s->t;

	if (a != NULL && a->code / 100 == 2) {
		session_say(s, a);
		t->accepted++;
		session_set_state(s, SMTPD_RCPT);
	} else {
		if (a != NULL) {
			session_log_reject(s, "RCPT", a, t->forward_path);
			session_say(s, a);
		} else {
			session_log_reply(s, "RCPT", SMTPD_R_UPSTREAM,
			    t->forward_path);
			session_reply(s, SMTPD_R_UPSTREAM);
		}
		refused(s);
	}
	free(t->forward_path);
	t->forward_path = NULL;
}
