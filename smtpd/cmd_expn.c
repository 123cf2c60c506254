/* EXPN: RFC 5321, 3.5.2 and 7.3: known, and never answered with members. */
#include "config.h"

#include "smtpd/session.h"

void
cmd_expn(struct session *s, struct slice arg)
{
	(void)arg;
	session_reply(s, SMTPD_R_EXPN);
}
