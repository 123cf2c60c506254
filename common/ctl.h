/*
 * ctl - the server's side of control sockets: verbs of the tools.
 *
 * A tool connects, sends CTL_ASK{words}, and reads rows until CTL_END. Who it
 * is, SO_PEERCRED says. Sockets:
 *   RUNTIME/admin/master   master    start, stop, reload, status
 *   RUNTIME/admin/queue    qmgr      everything about the queue
 *   RUNTIME/admin/cleanup  cleanup   cat, trace, map
 *   RUNTIME/public/mailq   qmgr      list, with a limited view
 *   RUNTIME/public/submit  smtpd     SMTP, for sendmail(8)
 * admin is a 0750 directory of root (or the one user) and admin_group. A tool
 * that sends garbage loses its connection, nothing else happens. At most
 * CTL_SESSIONS_MAX tools at a time; one question a connection.
 *
 * A row's columns: {u8 'u' or 's', slice name, u64 or slice value} ... The tool
 * prints them as a table or as a line of JSON (tools/rows.h); a row that begins
 * with the column CTL_PROGRESS it prints on stderr.
 */
#ifndef COMMON_CTL_H
#define COMMON_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ipc.h"
#include "common/slice.h"

#define CTL_SESSIONS_MAX 64
#define CTL_WORDS_MAX    64
#define CTL_PROGRESS     "_progress" /* a row of this column alone: see below */
#define CTL_HIGH_WATER   (256 * 1024) /* octets queued for a slow tool */

struct ctl_session;
struct ctl_server;
struct event_base;

struct ctl_verb {
	const char *name;
	bool admin;   /* refused on a socket that is not for administrators */
	unsigned least, most; /* words after the verb */
	/* Answer now or later; must end in ctl_end(). words[0] is the verb;
	   the slices live until it returns. */
	void (*ask)(void *arg, struct ctl_session *cs,
	    const struct slice *words, unsigned nwords);
};

/* `fd' is listening (taken); `admin' tells what socket it is. */
struct ctl_server *ctl_server_new(struct event_base *base, int fd, bool admin,
    enum ipc_role me, const struct ctl_verb *verbs, size_t nverbs, void *arg);
void ctl_server_free(struct ctl_server *s);

/* For answers that come later: an id (common/slots.h) that finds nothing once
   the tool has gone or ctl_end() was called. */
uint32_t ctl_session_id(const struct ctl_session *cs);
struct ctl_session *ctl_session_get(const struct ctl_server *s, uint32_t id);
struct ctl_server *ctl_session_server(const struct ctl_session *cs);
/* The uid and gid of the tool, by SO_PEERCRED. */
unsigned ctl_session_uid(const struct ctl_session *cs);
bool ctl_session_is_admin(const struct ctl_session *cs);
/* True when rows should wait; `more' is called once there is room, or never
   when the tool goes. */
bool ctl_is_full(const struct ctl_session *cs);
void ctl_on_room(struct ctl_session *cs,
    void (*more)(void *arg, struct ctl_session *cs), void *arg);
/* Called when the tool goes before the end; NULL removes it. */
void ctl_on_gone(struct ctl_session *cs,
    void (*gone)(void *arg, struct ctl_session *cs), void *arg);

void ctl_row_begin(struct ctl_session *cs);
void ctl_row_u(struct ctl_session *cs, const char *name, uint64_t value);
/* Cut at 4096 octets. */
void ctl_row_s(struct ctl_session *cs, const char *name, struct slice value);
void ctl_row_end(struct ctl_session *cs);
/* At most IPC_PIECE_MAX octets a call. */
void ctl_data(struct ctl_session *cs, struct slice octets);
/* The end; `exit' of sysexits.h, `text' for people ("" when all is said). The
   session is gone for the caller. */
void ctl_end(struct ctl_session *cs, unsigned exit, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
