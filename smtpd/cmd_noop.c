/* NOOP: RFC 5321, 4.1.1.9. Whatever stands behind it is ignored. */
#include "config.h"

#include "smtpd/session.h"

void
cmd_noop(struct session *s, struct slice arg)
{
	(void)arg;
	session_reply(s, SMTPD_R_NOOP);
}
