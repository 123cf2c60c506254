/* DATA: RFC 5321, 4.1.1.4. */
#include "config.h"

#include "smtpd/session.h"

void
cmd_data(struct session *s, struct slice arg)
{
	const struct settings *set = s->srv->set;

	(void)arg;
	if (s->state == SMTPD_REFUSED) {
		/* The transaction stays open: a good RCPT may still come. */
		session_reply(s, SMTPD_R_NO_RECIPIENT);
		return;
	}
	if (!transaction_open(s)) {
		session_log_reply(s, "DATA", SMTPD_R_UPSTREAM, NULL);
		session_reply(s, SMTPD_R_UPSTREAM);
		transaction_end(s);
		return;
	}
	data_init(&s->t->data, set->message_size_limit,
	    !set->smtpd_forbid_bare_newline);
	session_set_state(s, SMTPD_CONTENT);
	session_reply(s, SMTPD_R_GO_AHEAD);
}
