/* QUIT: RFC 5321, 4.1.1.10. */
#include "config.h"

#include "smtpd/session.h"

void
cmd_quit(struct session *s, struct slice arg)
{
	(void)arg;
	session_reply(s, SMTPD_R_BYE);
	/* Without pipelined octets behind it nothing is lost by closing. */
	s->quits = s->input.n == 0;
	session_set_closing(s);
}
