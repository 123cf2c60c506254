/* HELO and EHLO: RFC 5321, 4.1.1.1. Again in a session both act as RSET too. */
#include "config.h"

#include <stdlib.h>

#include "common/xmalloc.h"
#include "smtpd/session.h"

static bool
take_name(struct session *s, struct slice arg, bool esmtp)
{
	if (!grammar_is_helo(arg)) {
		session_reply(s, SMTPD_R_BAD_NAME);
		return false;
	}
	transaction_end(s);
	free(s->helo);
	s->helo = xslicedup(arg);
	s->esmtp = esmtp;
	session_set_state(s, SMTPD_READY);
	return true;
}

void
cmd_helo(struct session *s, struct slice arg)
{
	if (take_name(s, arg, false)) {
		session_reply_with(s, SMTPD_R_HELO,
		    slice_of(s->srv->set->myhostname));
	}
}

void
cmd_ehlo(struct session *s, struct slice arg)
{
	if (take_name(s, arg, true)) {
		(void)strbuf_printf(&s->out,
		    "250-%s\r\n"
		    "250-PIPELINING\r\n"
		    "250-SIZE %llu\r\n"
		    "250-8BITMIME\r\n"
		    "250-HELP\r\n"
		    "250 ENHANCEDSTATUSCODES\r\n",
		    s->srv->set->myhostname,
		    (unsigned long long)s->srv->set->message_size_limit);
	}
}
