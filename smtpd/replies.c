#include "config.h"

#include "smtpd/replies.h"

#define ROW(name, code, esc, text, where) { #name, code, esc, text, where },

const struct smtpd_reply smtpd_replies[SMTPD_NREPLIES] = {
	SMTPD_REPLIES(ROW)
};

const struct smtpd_reply smtpd_passed[SMTPD_NPASSED] = {
	SMTPD_PASSED(ROW)
};
