/* HELP: RFC 5321, 4.1.1.8. No version, on purpose. */
#include "config.h"

#include "smtpd/session.h"

void
cmd_help(struct session *s, struct slice arg)
{
	const struct smtpd *srv = s->srv;

	if (arg.n == 0) {
		session_reply(s, SMTPD_R_HELP);
	} else if (!slice_case_eq(arg, SL("STATUS"))) {
		session_reply(s, SMTPD_R_HELP_UNKNOWN);
	} else if (upstream_alive(srv) && srv->accepting.code == 250) {
		session_reply_with(s, SMTPD_R_STATUS, SL("mail is accepted"));
	} else {
		session_reply_with(s, SMTPD_R_STATUS,
		    SL("mail is not accepted just now"));
	}
}
