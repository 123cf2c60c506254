/* Commands that are known and not implemented, and those of other protocols. */
#include "config.h"

#include "smtpd/session.h"

void
cmd_none(struct session *s, struct slice arg)
{
	(void)arg;
	session_reply(s, SMTPD_R_NOT_IMPLEMENTED);
}

void
cmd_http(struct session *s, struct slice arg)
{
	(void)arg;
	session_reply_last(s, SMTPD_R_NOT_SMTP);
}
