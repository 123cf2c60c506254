/*
 * remote - the delivery agent for SMTP and LMTP: takes deliveries from qmgr,
 * asks dns where they go, speaks to the hosts there, fetches content from cleanup
 * when a host is ready for it, and tells qmgr what became of each recipient.
 *
 * Promises, beside those of common/agent.h and remote/client.h:
 * - A delivery (the recipients of a DELIVER with one transport and next hop)
 *   tries at most smtp_mx_address_limit addresses in MX order. It goes on to the
 *   next while nobody can have got the content. Recipients that no address
 *   answered for are deferred; RESULT.site tells that every address failed
 *   before MAIL.
 * - A connection that has done its work waits smtp_connection_cache_time_limit
 *   for the next message to the same destination, and serves at most
 *   smtp_connection_reuse_count_limit of them. When the peer has left meanwhile
 *   the delivery goes on as if it had not been there.
 * - At most remote_connection_limit connections, or as many as RLIMIT_NOFILE
 *   has room for; deliveries wait in order of arrival for a place.
 * - Bounded memory: content is fetched when a host asks for it, at most
 *   REMOTE_BUDGET octets of it and REMOTE_FILES descriptors at a time.
 *
 * Trust: what hosts and dns say is hostile. The program opens no file.
 */
#ifndef REMOTE_REMOTE_H
#define REMOTE_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ipc.h"
#include "common/settings.h"

#define REMOTE_BUDGET  (16 * 1024 * 1024) /* octets of content held */
#define REMOTE_FILES   256    /* descriptors of content held */
#define REMOTE_ITEMS   100000 /* recipients in hand; more are deferred */
#define REMOTE_DEAD_MS 30000  /* an address that failed comes last so long */
#define REMOTE_ROUTE_S 300    /* DNS answers are kept at most so long */

struct event_base;
struct remote;

/* Borrows `settings', which may change between two events (reload). */
struct remote *remote_new(struct event_base *base,
    const struct settings *settings);
/* Closes everything. Not from inside a callback of it. */
void remote_free(struct remote *r);

/* Fresh channels (taken); each replaces the old one. */
void remote_qmgr(struct remote *r, int fd);
void remote_cleanup(struct remote *r, int fd);
void remote_dns(struct remote *r, int fd);
/*
 * Who connects to a UNIX socket for us (master); the answers come back by
 * remote_connected(): fd (taken), or -1 and the reason.
 */
void remote_on_connect(struct remote *r, void (*ask)(void *arg, uint32_t tid,
    const char *path), void *arg);
void remote_connected(struct remote *r, uint32_t tid, int fd,
    struct slice reason);

/* The settings have changed: they are for what comes from here on. */
void remote_reloaded(struct remote *r);
/* Begin nothing more; `done' is called once no mail transaction is open, or
   after deadline_ms. */
void remote_stop(struct remote *r, uint64_t deadline_ms,
    void (*done)(void *arg), void *arg);
/* As agent_ops.lost. */
void remote_on_lost(struct remote *r, void (*lost)(void *arg,
    const char *peer), void *arg);

#endif
