/*
 * The table of commands, and what is decided by it alone: 500 for what is no
 * command, 503 for the wrong order, 501 for an argument that is missing or not
 * wanted. A handler starts with all that checked.
 */
#include "config.h"

#include "common/log.h"
#include "smtpd/session.h"

#define IN(st) (1u << SMTPD_##st)
#define IN_TRANSACTION (IN(MAIL) | IN(REFUSED) | IN(RCPT))
#define IN_ANY (IN(CONNECTED) | IN(READY) | IN_TRANSACTION)

enum {
	ARG = 1 << 0,    /* an argument must be there */
	NO_ARG = 1 << 1, /* none may be there */
};

struct command {
	const char *verb;
	void (*handler)(struct session *s, struct slice arg);
	unsigned states; /* that accept it */
	unsigned flags;
};

static const struct command commands[] = {
	{ "MAIL", cmd_mail, IN(READY), ARG },
	{ "RCPT", cmd_rcpt, IN_TRANSACTION, ARG },
	{ "DATA", cmd_data, IN(REFUSED) | IN(RCPT), NO_ARG },
	{ "EHLO", cmd_ehlo, IN_ANY, ARG },
	{ "HELO", cmd_helo, IN_ANY, ARG },
	{ "QUIT", cmd_quit, IN_ANY, NO_ARG },
	{ "RSET", cmd_rset, IN_ANY, NO_ARG },
	{ "NOOP", cmd_noop, IN_ANY, 0 },
	{ "VRFY", cmd_vrfy, IN_ANY, ARG },
	{ "EXPN", cmd_expn, IN_ANY, ARG },
	{ "HELP", cmd_help, IN_ANY, 0 },
	/* RFC 821, not wanted by RFC 5321 (appendix F) */
	{ "SEND", cmd_none, IN_ANY, 0 },
	{ "SOML", cmd_none, IN_ANY, 0 },
	{ "SAML", cmd_none, IN_ANY, 0 },
	{ "TURN", cmd_none, IN_ANY, 0 },
	/* extensions that are not offered */
	{ "STARTTLS", cmd_none, IN_ANY, 0 },
	{ "AUTH", cmd_none, IN_ANY, 0 },
	{ "BDAT", cmd_none, IN_ANY, 0 },
	{ "ETRN", cmd_none, IN_ANY, 0 },
	/* a browser, or a script that uses one (lessons C1: ALPACA) */
	{ "GET", cmd_http, IN_ANY, 0 },
	{ "POST", cmd_http, IN_ANY, 0 },
	{ "PUT", cmd_http, IN_ANY, 0 },
	{ "HEAD", cmd_http, IN_ANY, 0 },
	{ "DELETE", cmd_http, IN_ANY, 0 },
	{ "PATCH", cmd_http, IN_ANY, 0 },
	{ "OPTIONS", cmd_http, IN_ANY, 0 },
	{ "TRACE", cmd_http, IN_ANY, 0 },
	{ "CONNECT", cmd_http, IN_ANY, 0 },
	{ "PRI", cmd_http, IN_ANY, 0 },
};

static const struct command *
find_command(struct slice verb)
{
	size_t i;

	for (i = 0; i < NELEMS(commands); i++) {
		if (slice_case_eq(verb, slice_of(commands[i].verb))) {
			return &commands[i];
		}
	}
	return NULL;
}

static enum smtpd_reply_id
wrong_order(const struct session *s, const struct command *c)
{
	if (s->state == SMTPD_CONNECTED) {
		return SMTPD_R_ORDER_HELO;
	}
	if (s->state == SMTPD_READY) {
		return SMTPD_R_ORDER_MAIL;
	}
	return c->handler == cmd_mail ? SMTPD_R_ORDER_NESTED
	                              : SMTPD_R_ORDER_RCPT;
}

static void
run_command(struct session *s, struct slice line)
{
	const struct command *c;
	struct slice verb, arg;

	grammar_split(line, &verb, &arg);
	c = find_command(verb);
	s->verb = c != NULL ? c->verb : "UNKNOWN";
	if (verb.n == 0) {
		session_reply(s, SMTPD_R_BAD_LINE);
	} else if (c == NULL) {
		session_reply(s, SMTPD_R_UNKNOWN);
	} else if ((c->states & (1u << s->state)) == 0) {
		session_reply(s, wrong_order(s, c));
	} else if ((c->flags & ARG) != 0 && arg.n == 0) {
		session_reply(s, SMTPD_R_NO_ARGUMENT);
	} else if ((c->flags & NO_ARG) != 0 && arg.n > 0) {
		session_reply(s, SMTPD_R_ARGUMENT);
	} else {
		c->handler(s, arg);
	}
}

/* A TLS record of a handshake, where we speak in the clear? */
static bool
is_tls_hello(const struct session *s, bool *maybe)
{
	const char *p = s->input.p;

	*maybe = false;
	if (s->commands > 0 || s->lines.skipped > 0 || s->input.n == 0 ||
	    p[0] != 0x16) {
		return false;
	}
	*maybe = s->input.n == 1;
	return s->input.n > 1 && p[1] == 0x03;
}

static void
count_command(struct session *s)
{
	if (++s->commands > s->srv->set->smtpd_command_limit) {
		session_reply_last(s, SMTPD_R_COMMANDS);
	}
}

bool
dispatch_run(struct session *s)
{
	enum grammar_line r;
	struct slice line = { NULL, 0 };
	size_t used;
	bool maybe;

	if (is_tls_hello(s, &maybe)) {
		s->verb = "TLS";
		session_reply_last(s, SMTPD_R_NOT_SMTP);
		return false;
	}
	if (maybe) {
		return false;
	}
	r = grammar_next(&s->lines, s->input, &line, &used);
	s->input.p += used;
	s->input.n -= used;
	if (r == GRAMMAR_MORE) {
		return false;
	}
	count_command(s);
	if (s->state == SMTPD_CLOSING) {
		return false;
	}
	switch (r) {
	case GRAMMAR_LINE:
		run_command(s, line);
		break;
	case GRAMMAR_BAD:
		session_reply(s, SMTPD_R_BAD_LINE);
		break;
	case GRAMMAR_LONG:
		session_reply(s, SMTPD_R_LONG_LINE);
		break;
	case GRAMMAR_ENDLESS:
		session_reply_last(s, SMTPD_R_ENDLESS_LINE);
		return false;
	case GRAMMAR_MORE:
		break;
	}
	if (s->errors >= s->srv->set->smtpd_hard_error_limit &&
	    s->state != SMTPD_CLOSING) {
		session_reply_last(s, SMTPD_R_ERRORS);
	}
	return s->state != SMTPD_CLOSING;
}
