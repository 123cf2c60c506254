/*
 * client - the client's side of SMTP (RFC 5321) and LMTP (RFC 2033), as a pure
 * machine: octets of the peer, its end, a timeout and pieces of content go in;
 * octets to send, and fates, come out. No sockets, no clock, no settings but the
 * table of timeouts, so that tests drive it octet by octet.
 *
 * The owner sends what is in `out' (and consumes it), and looks after each
 * event at `stage', `mail' and `failed':
 *   mail is NULL      no mail transaction: each recipient has its fate
 *   stage READY       client_begin() may be called
 *   stage CONTENT     the peer wants the content: client_content(), then
 *                     client_content_end()
 *   failed            nothing more can be done here, `why' tells; recipients
 *                     of `mail' that are not DONE have no fate: nobody has
 *                     answered for them, another host may be tried
 *   stage CLOSED      close the socket
 *
 * Promises: a recipient gets its fate at most once. DELIVERED is said only
 * after the last octet of the content was handed to the socket and a 2yz came
 * for it. From the end of the content on every doubt (no answer, a close, a
 * reply that makes no sense) is DEFERRED, never tried elsewhere at once. A reply
 * that comes before its command was sent is never believed.
 */
#ifndef REMOTE_CLIENT_H
#define REMOTE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/outcome.h"
#include "common/settings.h"
#include "common/slice.h"
#include "common/strbuf.h"
#include "remote/reply.h"

#define CLIENT_OUT_MARK (16 * 1024) /* octets that wait to be sent above which
                                       no further commands are made */

/* stage, in words, what limits it (a setting) */
#define CLIENT_STAGES(S)                                                       \
	S(GREETING, "waiting for the greeting", smtp_helo_timeout)             \
	S(HELLO, "waiting for the answer to EHLO", smtp_helo_timeout)          \
	S(HELO, "waiting for the answer to HELO", smtp_helo_timeout)           \
	S(READY, "idle", smtp_connection_cache_time_limit)                     \
	S(RSET, "waiting for the answer to RSET", smtp_quit_timeout)           \
	S(MAIL, "waiting for the answer to MAIL", smtp_mail_timeout)           \
	S(RCPT, "waiting for the answer to RCPT", smtp_rcpt_timeout)           \
	S(DATA, "waiting for the answer to DATA", smtp_data_init_timeout)      \
	S(CONTENT, "sending the content", smtp_data_xfer_timeout)              \
	S(END, "waiting for the answer to the end of the content",             \
	    smtp_data_done_timeout)                                            \
	S(QUIT, "waiting for the answer to QUIT", smtp_quit_timeout)           \
	S(CLOSED, "closed", smtp_quit_timeout)

enum client_stage {
#define CLIENT_ENUM(name, words, limit) CLIENT_##name,
	CLIENT_STAGES(CLIENT_ENUM)
#undef CLIENT_ENUM
	CLIENT_NSTAGES
};

enum client_rcpt_state {
	CLIENT_RCPT_OPEN,  /* has no fate */
	CLIENT_RCPT_TAKEN, /* the peer has accepted it */
	CLIENT_RCPT_DONE,  /* has its fate */
};

struct client_rcpt {
	struct slice path;  /* without <>; borrowed */
	void *arg;          /* the owner's */
	uint64_t end;       /* private: where its command ends */
	enum client_rcpt_state state;
};

/* A mail transaction; borrowed from client_begin() until c->mail is NULL or the
   client is cleared. */
struct client_mail {
	struct slice reverse_path;
	uint64_t size;      /* octets of the content */
	uint32_t flags;     /* CONTENT_* */
	struct client_rcpt *rcpts; /* all OPEN at the start */
	unsigned nrcpts;    /* at least 1 */
};

struct client_ops {
	/* A recipient's fate. */
	void (*result)(void *owner, struct client_rcpt *r,
	    const struct outcome *o);
};

/* What EHLO offered. */
enum {
	CLIENT_PIPELINING = 1u << 0, /* RFC 2920 */
	CLIENT_SIZE = 1u << 1,       /* RFC 1870 */
	CLIENT_8BITMIME = 1u << 2,   /* RFC 6152 */
};

struct client {
	const struct client_ops *ops;
	void *owner;
	const char *helo;    /* our name; borrowed */
	bool lmtp;
	enum client_stage stage;
	unsigned offers;     /* CLIENT_* */
	uint64_t size_limit; /* of the peer; 0: not told */
	unsigned waits;      /* counts up with each thing that is awaited: the
	                        deadline begins anew */
	unsigned served;     /* mail transactions begun */
	bool was_ready;      /* the peer has answered EHLO or HELO */
	bool raw_8bit;       /* 8-bit content goes to a peer without 8BITMIME */
	bool failed;
	struct outcome why;  /* DEFERRED, when failed */
	struct strbuf out;   /* to be sent */
	struct client_mail *mail;
	bool mail_answered;  /* of `mail', to MAIL: the host is all right */
	/* private: */
	struct reply reply;
	uint64_t queued;     /* octets ever put into `out' */
	uint64_t end, rset_end, mail_end, data_end; /* of commands, in these */
	unsigned said, answered; /* steps of the script; client_mail.c */
	unsigned taken, turn;
	bool reset;          /* RSET comes before the next MAIL */
	bool refused;        /* MAIL was */
	bool named;          /* the first line of EHLO's answer has come */
	bool at_start;       /* of a line of the content */
	bool early;          /* the reply began before the content's end */
};

/* Waits for the greeting. `lmtp': LHLO, and a reply a recipient. */
void client_init(struct client *c, const struct client_ops *ops, void *owner,
    const char *helo, bool lmtp);
void client_clear(struct client *c);

/* Octets of the peer. What was sent must have been consumed from `out'. */
void client_input(struct client *c, struct slice in);
void client_closed(struct client *c, const char *why); /* by the peer */
void client_timeout(struct client *c); /* nothing came in time */
/* Our own trouble: open recipients are left without a fate, or deferred when
   the content has been sent. */
void client_abort(struct client *c, const char *esc, const char *why);

/* READY only. May give fates at once (too large for the peer). */
void client_begin(struct client *c, struct client_mail *m);
/* More commands, when `out' has been sent. */
void client_sent(struct client *c);
/* CONTENT only: pieces as they are in the spool. */
void client_content(struct client *c, struct slice piece);
void client_content_end(struct client *c);
/* Say QUIT if the peer can be spoken to, else close. */
void client_quit(struct client *c);

const char *client_stage_words(enum client_stage s);
/* Seconds that this stage may take. */
uint64_t client_stage_limit(enum client_stage s, const struct settings *set);

/* Between client.c and client_mail.c: */
void client_say(struct client *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void client_set_stage(struct client *c, enum client_stage s);
/* The end of all: `why' as given, or the peer's words. */
void client_fail(struct client *c, const char *esc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void client_fail_said(struct client *c);
/* A reply is whole, in a transaction. */
void client_mail_reply(struct client *c);
/* A reply begins that nobody has asked for. */
bool client_mail_owes(const struct client *c);
/* A reply that begins now comes before the end of the content was sent. */
bool client_mail_early(const struct client *c);
/* Nothing more will come: fates of those whose content was sent. */
void client_mail_lost(struct client *c);

#endif
