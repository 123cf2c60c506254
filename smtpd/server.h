/*
 * server - what all sessions of one smtpd share: listeners, the channel to
 * cleanup, limits, the list of sessions. It opens and connects nothing: sockets
 * and channels are handed in.
 */
#ifndef SMTPD_SERVER_H
#define SMTPD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/ipc.h"
#include "common/settings.h"
#include "common/slots.h"

#define SERVER_READ_SIZE     (64 * 1024)
#define SERVER_LISTENERS_MAX 80
#define SERVER_OTHER_FDS     64 /* descriptors that are not sessions */

struct session;

/* A reply of cleanup's: checked, printable, NUL-terminated. */
struct answer {
	unsigned code;
	char esc[12];
	char text[512];
};

struct server_listener {
	struct smtpd *srv;
	int fd;
	bool submit; /* the UNIX socket of sendmail(8) */
	struct event ev;
};

struct smtpd {
	struct event_base *base;
	const struct settings *set; /* always the newest; borrowed */
	/* Milliseconds that only grow; tests turn their own clock. */
	uint64_t (*now_ms)(void);
	/* Called once, when server_stop() has come to its end; may be NULL. */
	void (*stopped)(void *arg);
	void *stopped_arg;

	struct ipc_chan *cleanup; /* NULL while there is none */
	struct answer accepting;  /* what cleanup wants MAIL to be answered */
	bool told;                /* ... it has said so on this channel */
	struct slots tids;        /* transaction id -> struct session */

	struct server_listener listeners[SERVER_LISTENERS_MAX];
	unsigned nlisteners;
	struct event accept_timer; /* while no descriptors are left */
	uint64_t paused_logged_ms; /* when that was said last; 0: never */
	uint64_t full_logged_ms;   /* the same of too many sessions */

	struct session *sessions; /* all that are open */
	struct session *dead;     /* closed; freed at the end of the turn */
	unsigned nsessions, nsubmit;
	uint64_t places; /* sessions that there are descriptors for */
	struct event reap;

	bool stopping;
	struct event stop_timer;

	char scratch[SERVER_READ_SIZE];
};

struct smtpd *server_new(struct event_base *base, const struct settings *set);
/* Closes all; for tests. */
void server_free(struct smtpd *srv);
/* Takes `fd', a listening non-blocking socket. */
void server_listen(struct smtpd *srv, int fd, bool submit);
/* Takes `fd', the fresh channel; the transactions of the old are lost. */
void server_take_channel(struct smtpd *srv, int fd);
/* Take no connection for a second, or until server_accept_now(). */
void server_accept_later(struct smtpd *srv);
void server_accept_now(struct smtpd *srv);
/* No more accepting; idle sessions are told 421, the others may finish their
   mail transaction within `deadline_ms'. Ends in srv->stopped(). */
void server_stop(struct smtpd *srv, uint64_t deadline_ms);
/* The last session of a stopping server may have gone. */
void server_check_stopped(struct smtpd *srv);

/* -- cleanup, upstream (smtpd/upstream.c) ---------------------------------- */

/* There is a channel: questions may be asked. */
bool upstream_alive(const struct smtpd *srv);

#endif
