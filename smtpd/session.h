/*
 * session - one client's connection and its state machine; transaction - what
 * hangs on it from MAIL to the end of data.
 *
 * Replies leave strictly in the order of the commands: while an answer of
 * cleanup is awaited nothing more is parsed. What the client sent meanwhile
 * waits in `in' (bounded), then in the socket.
 *
 * A session is never freed inside its own callbacks: session_close() makes it
 * dead, the server frees the dead at the end of the turn. An idle one holds no
 * buffers.
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/slice.h"
#include "common/strbuf.h"
#include "smtpd/data.h"
#include "smtpd/grammar.h"
#include "smtpd/replies.h"
#include "smtpd/server.h"

#define SESSION_OUT_MARK  4096 /* octets of replies above which we wait */
#define SESSION_PIECE_MIN (16 * 1024) /* a piece this large goes when it can */
#define SESSION_LINGER_MS 2000
#define SESSION_STEPS_MAX 500  /* commands in a turn; then others have theirs */

/* name, invariant */
#define SMTPD_STATES(S)                                                        \
	S(CONNECTED, "greeted; no HELO or EHLO yet")                           \
	S(READY, "the client has a name; no mail transaction")                 \
	S(MAIL, "reverse-path accepted; no forward-path offered yet")          \
	S(REFUSED, "every forward-path so far was refused")                    \
	S(RCPT, "at least one forward-path accepted")                          \
	S(CONTENT, "354 sent; the end of the content not seen yet")            \
	S(COMMITTING, "the content is whole; cleanup makes it durable")        \
	S(CLOSING, "the last reply is said; nothing is parsed any more")

enum smtpd_state {
#define STATE_ENUM(name, meaning) SMTPD_##name,
	SMTPD_STATES(STATE_ENUM)
#undef STATE_ENUM
	SMTPD_NSTATES
};

/* Which answer of cleanup the session waits for; while it does, nothing is
   parsed. (CONTENT_ACK is not awaited this way: transaction.unacked.) */
enum smtpd_await {
	AWAIT_NOTHING,
	AWAIT_RCPT,   /* VERDICT about a forward-path */
	AWAIT_VRFY,   /* VERDICT about an address */
	AWAIT_COMMIT, /* COMMITTED */
};

struct transaction {
	uint32_t tid;        /* 0 until cleanup was told of it */
	char *reverse_path;  /* canonical text; "" is the null reverse-path */
	char *forward_path;  /* the one that is being asked about, or NULL */
	uint64_t size;       /* declared by SIZE=, else 0 */
	uint32_t flags;      /* CONTENT_BODY_8BITMIME, CONTENT_LOCAL */
	unsigned accepted;   /* forward-paths */
	bool lost;           /* cleanup has forgotten it: 451 whatever comes */
	bool unacked;        /* a piece of content is with cleanup */
	bool committed;      /* COMMIT is sent */
	struct answer *refusal; /* cleanup's, for the end of the content; owned */
	struct data_parser data;
	struct strbuf piece; /* content that is not sent yet */
};

struct session {
	struct smtpd *srv;
	struct session *next, *prev;
	int fd;
	enum smtpd_state state;
	enum smtpd_await awaits;
	bool esmtp;        /* EHLO, not HELO */
	bool submit;       /* by the UNIX socket: trusted, `uid' is known */
	bool eof;          /* the client will send no more */
	bool reading;      /* the read event is pending */
	bool broken;       /* the socket is dead: no reply can be sent */
	bool quits;        /* said QUIT: nothing more will come */
	bool shut;         /* CLOSING, and our side is shut already */
	bool closed;       /* dead, waits for the end of the turn */
	bool running;      /* session_run() is on the stack */
	uint32_t uid;      /* of the local user, else UINT32_MAX */
	uint32_t vrfy_tid; /* of the question that VRFY waits for, or 0 */
	unsigned commands, errors, messages;
	const char *verb;  /* the last command, for the log */
	char addr[46];     /* "192.0.2.1", "2001:db8::1"; "" by the UNIX socket */
	char *helo;        /* NULL before HELO */
	struct transaction *t;
	struct grammar_lines lines;
	struct slice input; /* octets not parsed yet, while running */
	struct strbuf in;   /* the same, between two runs */
	size_t in_done;     /* octets of `in' already parsed */
	struct strbuf out;  /* replies not sent yet */
	struct event readable, writable, timer;
	uint64_t deadline_ms; /* of what is awaited now */
	uint64_t timer_ms;    /* when the timer fires; at most deadline_ms */
	uint64_t progress_ms; /* when something worth its place happened */
	uint64_t progress_in; /* octets since then */
};

/* Takes `fd', connected and non-blocking, and greets. `addr' is "" for the UNIX
   socket, whose peer is `uid'. */
void session_new(struct smtpd *srv, int fd, const char *addr, bool submit,
    uint32_t uid);
/* Parse what is there, send what is to be sent. May make the session dead. */
void session_run(struct session *s);
/* The session becomes dead, its transaction is aborted. */
void session_close(struct session *s);
/* Free a dead one; the server's business. */
void session_free(struct session *s);
/* The server stops: say 421 unless a mail transaction is open. */
void session_stop(struct session *s, bool now);
/* The channel to cleanup is lost. */
void session_upstream_lost(struct session *s);
/* An answer of cleanup; false when the session does not wait for it. In the
   commands' answer functions NULL stands for one that will not come. */
bool session_answer(struct session *s, enum ipc_type type, uint32_t tid,
    const struct answer *a);

/* -- for the commands ------------------------------------------------------ */

const char *session_state_name(enum smtpd_state st);
void session_set_state(struct session *s, enum smtpd_state st);
/* Say a reply of the table; a 5yz counts as an error. */
void session_reply(struct session *s, enum smtpd_reply_id id);
/* The same, with ": detail" behind the text (or the detail alone when the text
   is empty). Control octets in the detail are escaped. */
void session_reply_with(struct session *s, enum smtpd_reply_id id,
    struct slice detail);
/* No more commands: the session is over when the replies are sent. */
void session_set_closing(struct session *s);
/* Say a 421 and close when it is sent. */
void session_reply_last(struct session *s, enum smtpd_reply_id id);
/* Say what cleanup answered. */
void session_say(struct session *s, const struct answer *a);
/* Wait for an answer of cleanup. */
void session_await(struct session *s, enum smtpd_await what);
/* "unknown[192.0.2.1]", "localhost[local]" */
const char *session_peer(const struct session *s, char room[64]);
/* "NOQUEUE: reject: RCPT from ...": what was refused, and why. */
void session_log_reject(const struct session *s, const char *verb,
    const struct answer *a, const char *forward_path);
/* The same for a reply of the table. */
void session_log_reply(const struct session *s, const char *verb,
    enum smtpd_reply_id id, const char *forward_path);
/* Something worth its place happened: the slowness is counted from here. */
void session_progress(struct session *s);

/* -- mail transactions (smtpd/transaction.c) ------------------------------- */

/* Opens one: s->t is fresh, the state MAIL. */
void transaction_begin(struct session *s, struct slice reverse_path,
    uint64_t size, uint32_t flags);
/* Tell cleanup of it, unless that has been done. False: cleanup is not there. */
bool transaction_open(struct session *s);
/* Have cleanup forget it; s->t stays, without a tid. */
void transaction_abort(struct session *s);
/* Ends it, if there is one; cleanup forgets it unless it has answered. */
void transaction_end(struct session *s);
/* Cleanup has done its part: it is not to hear of this tid again. */
void transaction_detach(struct session *s);

/* -- the content (smtpd/content.c) ----------------------------------------- */

/* Read content from s->input. Returns false when it can go no further now. */
bool content_run(struct session *s);
/* The input of this turn is used up: send a piece if it is worth it. */
void content_push(struct session *s);
bool content_answer(struct session *s, enum ipc_type type,
    const struct answer *a);
/* Cleanup takes no more of this content: its end will be answered by `a', or
   451 when that is NULL. */
void content_refuse(struct session *s, const struct answer *a);

/* -- commands (smtpd/dispatch.c, smtpd/cmd_*.c) ---------------------------- */

/* One line from s->input, if there is one whole. False: more is needed. */
bool dispatch_run(struct session *s);

void cmd_helo(struct session *s, struct slice arg);
void cmd_ehlo(struct session *s, struct slice arg);
void cmd_mail(struct session *s, struct slice arg);
void cmd_rcpt(struct session *s, struct slice arg);
void cmd_rcpt_answer(struct session *s, const struct answer *a);
void cmd_data(struct session *s, struct slice arg);
void cmd_rset(struct session *s, struct slice arg);
void cmd_noop(struct session *s, struct slice arg);
void cmd_quit(struct session *s, struct slice arg);
void cmd_vrfy(struct session *s, struct slice arg);
void cmd_vrfy_answer(struct session *s, const struct answer *a);
void cmd_expn(struct session *s, struct slice arg);
void cmd_help(struct session *s, struct slice arg);
/* Verbs that are known and not implemented: 502. */
void cmd_none(struct session *s, struct slice arg);
/* HTTP speaks: close. */
void cmd_http(struct session *s, struct slice arg);

#endif
