/*
 * smtpd_rig - a whole smtpd server in process for the tests of sessions: a real
 * event loop, clients on socket pairs, and a fake cleanup at the other end of
 * the channel, which keeps what it is given.
 */
#ifndef TESTS_UNIT_SMTPD_RIG_H
#define TESTS_UNIT_SMTPD_RIG_H

#include <stdbool.h>

#include "smtpd/session.h"

/* Commands, and the replies they get as rig_replies() tells them. */
#define HI    "EHLO c.test\r\n"
#define MAIL  "MAIL FROM:<s@c.test>\r\n"
#define RCPT  "RCPT TO:<a@b.test>\r\n"
#define NOONE "RCPT TO:<unknown@b.test>\r\n"
#define MSG   MAIL RCPT "DATA\r\nhello\r\n.\r\n"

#define R_HI   "250"
#define R_MAIL "|250 2.1.0"
#define R_RCPT "|250 2.1.5"
#define R_NO   "|550 5.1.1"
#define R_MSG  R_MAIL R_RCPT "|354|250 2.0.0"
#define R_BYE  "|221 2.0.0"
#define QUIT   "QUIT\r\n"

#define RIG_TRANSACTIONS 64
#define RIG_CLIENTS      4

/* What the fake cleanup knows of a transaction. */
struct rig_transaction {
	uint32_t tid;
	char *reverse_path;
	struct strbuf rcpts;   /* "a@b c@d " */
	struct strbuf content;
	uint32_t flags;        /* of COMMIT */
	uint64_t mail_flags, size, uid, trusted;
	unsigned pieces, unacked;
	bool last;             /* the piece that COMMIT comes with was there */
	bool committed, aborted;
};

struct rig {
	struct event_base *base;
	struct settings set;
	struct smtpd *srv;
	struct ipc_chan *cleanup; /* the fake's end */
	int client[RIG_CLIENTS];
	struct strbuf got[RIG_CLIENTS]; /* what each client has received */
	bool closed[RIG_CLIENTS];       /* the server closed it */
	struct rig_transaction tr[RIG_TRANSACTIONS];
	unsigned ntr;
	/* how the fake behaves */
	bool hold_verdicts; /* RCPT and VRFY wait for rig_verdicts() */
	bool hold_acks, hold_commits;
	unsigned refuse_piece; /* n: the n-th piece is refused with 452 */
	const char *commit_with; /* "451 4.3.0 text" instead of 250 */
	struct {
		uint32_t tid;
		enum ipc_type type;
		char path[600];
	} held[256];
	unsigned nheld;
	bool stopped;
};

/* The clock of the rig's server, in milliseconds. */
extern uint64_t rig_now_ms;

void rig_start(struct rig *r);
void rig_end(struct rig *r);
/* A new client; the greeting is awaited when `greet'. Returns its index. */
int rig_connect(struct rig *r, bool submit);
/* Let the loop run until nothing happens any more. */
void rig_settle(struct rig *r);
/* Send, in pieces of `cut' octets (0: whole), settling after each. */
void rig_send(struct rig *r, int c, struct slice s, size_t cut);
/* The replies since the last call as "250 2.1.0|354|...": code and enhanced
   code; of many-line replies the last line. Lives until the next call. */
const char *rig_replies(struct rig *r, int c);
/* Answer what is held. */
void rig_release(struct rig *r);
/* The fake dies; the server may get another with rig_new_cleanup(). */
void rig_kill_cleanup(struct rig *r);
void rig_new_cleanup(struct rig *r);
void rig_accepting(struct rig *r, unsigned code, const char *esc,
    const char *text);

#endif
