/* RSET: RFC 5321, 4.1.1.5. */
#include "config.h"

#include "smtpd/session.h"

void
cmd_rset(struct session *s, struct slice arg)
{
	(void)arg;
	transaction_end(s);
	session_reply(s, SMTPD_R_RESET);
}
