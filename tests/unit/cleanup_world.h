/*
 * cleanup_world - all of cleanup but its main(), in the test's own process: a
 * spool in a scratch directory, a policy from a text of settings, and fakes of
 * smtpd, users, qmgr and local at the other ends of real channels.
 */
#ifndef TESTS_UNIT_CLEANUP_WORLD_H
#define TESTS_UNIT_CLEANUP_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup/program.h"
#include "common/ipc.h"
#include "common/settings.h"
#include "tests/unit/unit.h"

#define GOT_MAX 4096

/* An IPC message that came, with copies of its fields. */
struct got {
	uint16_t type;
	uint32_t tid;
	uint64_t u[IPC_FIELDS_MAX];
	struct strbuf s[IPC_FIELDS_MAX];
	int fd;
};

struct peer {
	struct ipc_chan_ops ops;
	struct ipc_chan *ch;
	bool closed;
	struct got *got; /* GOT_MAX of them */
	unsigned n, at; /* come, and already looked at */
	uint64_t scanned; /* of the last SCANNED; these are not among got[] */
};

struct world {
	char dir[64];
	int dirfd;
	struct event_base *base;
	struct settings settings;
	struct settings_source source;
	struct program pg;
	struct peer smtpd, users, qmgr, local;
	struct peer dns; /* not there until world_connect_dns() */
	bool answer_users; /* ann, bob, carl exist; others do not; slow: never */
};

/* `settings' is added to a few lines that each world has. */
void world_begin(struct world *w, const char *settings);
void world_end(struct world *w);
/* The same in a directory that is there, and stays. */
void world_begin_in(struct world *w, const char *dir, const char *settings);
void world_leave(struct world *w);
/* Close the parts and the spool, and open all anew, as a restart does. */
void world_restart(struct world *w);
/* Run the loop until `cond' is true; fails the test after 12 s. */
#define world_wait(w, cond)                                                    \
	do {                                                                   \
		unsigned turns_ = 0;                                           \
		while (!(cond)) {                                              \
			world_turn(w);                                         \
			if (++turns_ > 12000) {                                 \
				fail_msg("never: %s", #cond);                  \
			}                                                      \
		}                                                              \
	} while (0)
/* A turn of at most a millisecond. */
void world_turn(struct world *w);
/* A reload with other alias_maps; local_recipient_maps follow, as their default
   does. */
void world_set_aliases(struct world *w, const char *aliases);
/* Until nothing is on its way any more. */
void world_settle(struct world *w);

/* Fresh channels; the fake's old messages are forgotten. */
void world_connect_smtpd(struct world *w, unsigned index);
void world_connect_users(struct world *w);
void world_connect_qmgr(struct world *w);
void world_connect_local(struct world *w);
void world_connect_dns(struct world *w);

/* The next message that came to `p', of that type; waits for it. */
struct got *peer_next(struct world *w, struct peer *p, enum ipc_type type);
/* Nothing unseen has come. */
bool peer_is_quiet(const struct peer *p);
/* Send: "u" takes uint64_t, "s" takes const char *; e.g. "su". */
void peer_send(struct peer *p, enum ipc_type type, uint32_t tid,
    const char *fields, ...);
void peer_send_piece(struct peer *p, uint32_t tid, struct slice piece,
    bool last);

/* What smtpd does, in one call each. */
void smtpd_mail(struct world *w, uint32_t tid, const char *reverse_path);
unsigned smtpd_rcpt(struct world *w, uint32_t tid, const char *forward_path);
unsigned smtpd_content(struct world *w, uint32_t tid, const char *text);
/* The reply's code; *qid when it is 250. */
unsigned smtpd_commit(struct world *w, uint32_t tid, uint64_t size,
    uint64_t *qid);
/* A whole message; returns its queue id. */
uint64_t smtpd_message(struct world *w, uint32_t tid, const char *rcpt,
    const char *text);

#endif
