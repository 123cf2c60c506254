/*
 * replies - every reply that smtpd itself gives, in one table: what it is
 * called, code, enhanced status code, text, and where it may occur. All the code
 * that answers a client uses it; `smtpd/replies.txt' is its print (a unit test
 * keeps both equal), and the end-to-end tests demand each of its pairs seen.
 *
 * Where: "STATE/COMMAND" words. STATE is the session's (session.h), "*" when any
 * one will do. COMMAND is the verb, or what else asked for the reply:
 *   (connect)  the connection itself     (unknown)  a verb that nobody knows
 *   (line)     a line that is no command (content)  the end of the content
 *   (time)     a deadline                (stop)     the end of the service
 *   (errors)   one bad command too many  (commands) one command too many
 *   (http)     an HTTP verb              (tls)      a TLS hello
 * Codes that cleanup decides (RCPT, VRFY, MAIL while the spool is full, the end
 * of the content) pass through smtpd; they are the rows of SMTPD_PASSED, whose
 * codes only the tests use.
 *
 * No enhanced status code stands in 220, 354 and the replies to HELO and EHLO
 * (RFC 2034, 4).
 */
#ifndef SMTPD_REPLIES_H
#define SMTPD_REPLIES_H

#include <stddef.h>

/* name, code, enhanced status code, text, where */
#define SMTPD_REPLIES(R)                                                       \
	R(GREETING, 220, "", "", "CONNECTED/(connect)")                        \
	R(BUSY, 421, "4.3.2", "too many sessions, try again later",            \
	    "CONNECTED/(connect)")                                             \
	R(STOPPING, 421, "4.3.2", "the service stops now, try again later",    \
	    "*/(stop)")                                                        \
	R(IDLE, 421, "4.4.2", "idle for too long, closing", "READY/(time)")    \
	R(SLOW, 421, "4.4.2", "too slow for too long, closing",                \
	    "CONTENT/(time)")                                                  \
	R(ERRORS, 421, "4.7.0", "too many errors, closing", "*/(errors)")      \
	R(COMMANDS, 421, "4.7.0", "too many commands, closing",                \
	    "*/(commands)")                                                    \
	R(NOT_SMTP, 421, "4.7.0", "this is a mail server, closing",            \
	    "CONNECTED/(http) CONNECTED/(tls)")                                \
	R(ENDLESS_LINE, 421, "4.7.0", "a line without end, closing",           \
	    "*/(line)")                                                        \
	R(ENDLESS_CONTENT, 421, "4.7.0",                                       \
	    "far more content than the limit, closing", "CONTENT/(content)")   \
	R(HELO, 250, "", "", "CONNECTED/HELO READY/HELO")                      \
	R(EHLO, 250, "", "", "CONNECTED/EHLO READY/EHLO MAIL/EHLO")            \
	R(MAIL, 250, "2.1.0", "ok", "READY/MAIL")                              \
	R(GO_AHEAD, 354, "", "go ahead; a line with only a dot ends it",       \
	    "RCPT/DATA")                                                       \
	R(RESET, 250, "2.0.0", "ok",                                           \
	    "CONNECTED/RSET READY/RSET MAIL/RSET REFUSED/RSET RCPT/RSET")      \
	R(NOOP, 250, "2.0.0", "ok", "*/NOOP")                                  \
	R(BYE, 221, "2.0.0", "good bye", "CONNECTED/QUIT READY/QUIT")          \
	R(HELP, 214, "2.0.0", "HELO EHLO MAIL RCPT DATA RSET NOOP QUIT VRFY "  \
	    "EXPN HELP; HELP STATUS; see RFC 5321", "*/HELP")                  \
	R(STATUS, 211, "2.0.0", "", "*/HELP")                                  \
	R(HELP_UNKNOWN, 504, "5.5.4", "no help about that", "*/HELP")          \
	R(VRFY_MAYBE, 252, "2.0.0", "send mail, and it will be seen",          \
	    "*/VRFY")                                                          \
	R(EXPN, 502, "5.7.0", "lists are not shown", "*/EXPN")                 \
	R(UNKNOWN, 500, "5.5.1", "no such command", "*/(unknown)")             \
	R(BAD_LINE, 500, "5.5.2", "empty, or with a bare CR, LF or NUL",       \
	    "*/(line)")                                                        \
	R(LONG_LINE, 500, "5.5.2", "longer than 1024 octets", "*/(line)")      \
	R(NO_ARGUMENT, 501, "5.5.4", "an argument is missing",                 \
	    "CONNECTED/HELO CONNECTED/EHLO READY/MAIL MAIL/RCPT */VRFY "       \
	    "*/EXPN")                                                          \
	R(ARGUMENT, 501, "5.5.4", "no argument is wanted",                     \
	    "*/RSET */QUIT RCPT/DATA")                                         \
	R(NOT_IMPLEMENTED, 502, "5.5.1", "not implemented",                    \
	    "*/SEND */SOML */SAML */TURN */STARTTLS */AUTH */BDAT */ETRN")     \
	R(ORDER_HELO, 503, "5.5.1", "say HELO or EHLO first",                  \
	    "CONNECTED/MAIL CONNECTED/RCPT CONNECTED/DATA")                    \
	R(ORDER_MAIL, 503, "5.5.1", "say MAIL first",                          \
	    "READY/RCPT READY/DATA")                                           \
	R(ORDER_RCPT, 503, "5.5.1", "say RCPT first", "MAIL/DATA")             \
	R(ORDER_NESTED, 503, "5.5.1", "a mail transaction is open already",    \
	    "MAIL/MAIL REFUSED/MAIL RCPT/MAIL")                                \
	R(NO_RECIPIENT, 554, "5.5.1", "no valid recipients", "REFUSED/DATA")   \
	R(BAD_NAME, 501, "5.5.4", "not a host's name or address literal",      \
	    "CONNECTED/HELO CONNECTED/EHLO")                                   \
	R(MAIL_SYNTAX, 501, "5.1.7", "bad reverse-path", "READY/MAIL")         \
	R(MAIL_NAME, 553, "5.1.7", "bad reverse-path", "READY/MAIL")           \
	R(MAIL_8BIT, 553, "5.6.7", "bad reverse-path", "READY/MAIL")           \
	R(RCPT_SYNTAX, 501, "5.1.3", "bad forward-path", "MAIL/RCPT")          \
	R(RCPT_NAME, 553, "5.1.3", "bad forward-path", "MAIL/RCPT")            \
	R(RCPT_8BIT, 553, "5.6.7", "bad forward-path", "MAIL/RCPT")            \
	R(RCPT_LIMIT, 452, "4.5.3", "too many recipients", "RCPT/RCPT")        \
	R(VRFY_SYNTAX, 553, "5.1.3", "bad address", "*/VRFY")                  \
	R(PARAM_SYNTAX, 501, "5.5.4", "bad parameter", "READY/MAIL MAIL/RCPT") \
	R(PARAM_TWICE, 501, "5.5.4", "twice the same parameter", "READY/MAIL") \
	R(PARAM_VALUE, 504, "5.5.4", "this value is not implemented",          \
	    "READY/MAIL")                                                      \
	R(PARAM_UNKNOWN, 555, "5.5.4", "unknown parameter",                    \
	    "READY/MAIL MAIL/RCPT")                                            \
	R(SIZE_DECLARED, 552, "5.3.4", "larger than message_size_limit",       \
	    "READY/MAIL")                                                      \
	R(SIZE_CONTENT, 552, "5.3.4", "larger than message_size_limit",        \
	    "CONTENT/(content)")                                               \
	R(CONTENT_BARE, 550, "5.5.2", "a bare CR or LF in the content",        \
	    "CONTENT/(content)")                                               \
	R(CONTENT_NUL, 550, "5.6.0", "a NUL in the content",                   \
	    "CONTENT/(content)")                                               \
	R(UPSTREAM, 451, "4.3.0", "the queue does not answer, try again later", \
	    "READY/MAIL MAIL/RCPT RCPT/DATA CONTENT/(content)")

/* What cleanup answers through us. */
#define SMTPD_PASSED(R)                                                        \
	R(ACCEPTING, 452, "4.3.1", "the disk is full", "READY/MAIL")           \
	R(TAKEN, 250, "2.1.5", "taken", "MAIL/RCPT RCPT/RCPT REFUSED/RCPT")    \
	R(FORWARDED, 251, "2.1.5", "will be forwarded", "MAIL/RCPT */VRFY")    \
	R(NO_USER, 550, "5.1.1", "no such user", "MAIL/RCPT RCPT/RCPT")        \
	R(NO_RELAY, 550, "5.7.1", "relaying denied", "MAIL/RCPT")              \
	R(MOVED, 551, "5.1.6", "has moved", "MAIL/RCPT */VRFY")                \
	R(NOT_NOW, 450, "4.2.1", "a route of the administrator's: error:4.2.1", \
	    "MAIL/RCPT")                                                       \
	R(LOCAL_TROUBLE, 451, "4.3.5", "an alias loop", "MAIL/RCPT")           \
	R(QUEUED, 250, "2.0.0", "queued as ID", "CONTENT/(content)")           \
	R(LOOP, 554, "5.4.6", "too many hops", "CONTENT/(content)")

enum smtpd_reply_id {
#define REPLY_ENUM(name, code, esc, text, where) SMTPD_R_##name,
	SMTPD_REPLIES(REPLY_ENUM)
#undef REPLY_ENUM
	SMTPD_NREPLIES
};

struct smtpd_reply {
	const char *name;
	unsigned code;
	const char *esc, *text, *where;
};
extern const struct smtpd_reply smtpd_replies[SMTPD_NREPLIES];

#define SMTPD_NPASSED 10
extern const struct smtpd_reply smtpd_passed[SMTPD_NPASSED];

#endif
