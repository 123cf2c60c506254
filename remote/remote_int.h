/*
 * remote_int - the inside of remote, shared by its files:
 *   remote.c    the object, life and deadlines
 *   delivery.c  a delivery: where it stands, which address is next, its results
 *   dest.c      destinations: their idle connections and what DNS says of them
 *   lookup.c    dns's channel
 *   dial.c      from an address to a connection; addresses that failed
 *   conn.c      a connection: events, deadlines, and its client (client.h)
 *   feed.c      content on its way to a connection
 *
 * A delivery is in one of these states:
 *   ROUTING  waits for dns, in its destination's list
 *   WAITING  waits for a place for its connection, in remote's list
 *   DIALING  its connection is being made (`conn', or master is asked)
 *   TALKING  `conn' is its own
 * When all its recipients have their fates it is freed, by delivery_settle().
 */
#ifndef REMOTE_REMOTE_INT_H
#define REMOTE_REMOTE_INT_H

#include <sys/queue.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/agent.h"
#include "common/mx.h"
#include "common/siphash.h"
#include "remote/client.h"
#include "remote/remote.h"

#define DEST_BUCKETS 4096
#define DEAD_BUCKETS 1024
#define RELAY_MAX    512 /* "host[addr]:port", "host[path]" */

struct conn;
struct dest;
struct delivery;

TAILQ_HEAD(delivery_list, delivery);
TAILQ_HEAD(conn_list, conn);
LIST_HEAD(dest_bucket, dest);
LIST_HEAD(dead_bucket, dead);

/* A recipient. */
struct rcpt {
	struct agent_item item;      /* first: it is found by this */
	char *path;                  /* freed when it is done */
};

enum delivery_state {
	DELIVERY_ROUTING,
	DELIVERY_WAITING,
	DELIVERY_DIALING,
	DELIVERY_TALKING,
};

struct delivery {
	struct agent_content content; /* first: it is found by this */
	struct remote *r;
	struct dest *dest;
	enum delivery_state state;
	char *reverse_path;
	struct client_mail mail;
	struct client_rcpt *rcpts;   /* of mail, `arg' is a struct rcpt */
	unsigned nrcpts, open;       /* all; without a fate */
	struct mx_result route;      /* when known */
	bool routed;
	size_t next;                 /* of route */
	struct conn *conn;           /* DIALING, TALKING */
	uint32_t dial_tid;           /* DIALING by master */
	uint64_t dial_late_at;
	struct outcome last;         /* why the last address was no good */
	char *relay;                 /* which one that was; NULL: none yet */
	bool site;                   /* all so far failed before MAIL */
	/* content on its way (feed.c): */
	bool feeding;                /* in the budget */
	bool in_line;                /* waits for the budget */
	uint64_t fed;                /* octets given to the client */
	TAILQ_ENTRY(delivery) list;  /* fresh, ROUTING, WAITING, DIALING by
	                                master */
	TAILQ_ENTRY(delivery) line;  /* in_line */
	TAILQ_ENTRY(delivery) all;
};

/* Where mail goes: transport and next hop. */
struct dest {
	char *key;                   /* "lmtp:unix:/path" */
	bool lmtp;
	struct nexthop hop;
	struct delivery_list routing;
	unsigned ndeliveries, nconns;
	struct conn_list idle;       /* the one used last in front */
	/* What dns said: */
	struct mx_memo *memo;        /* NULL: not asked */
	unsigned asked;              /* questions without an answer */
	uint64_t memo_until;         /* 0: not all is known yet */
	LIST_ENTRY(dest) bucket;
};

/* A question to dns. */
struct lookup {
	struct dest *dest;           /* NULL: nobody waits any more */
	struct mx_question q;        /* q.name borrows from `name' */
	char *name;
	uint32_t tid;
	uint64_t late_at;
	TAILQ_ENTRY(lookup) list;
};
TAILQ_HEAD(lookup_list, lookup);

struct conn {
	struct remote *r;
	struct dest *dest;
	struct delivery *d;          /* NULL: idle, or on its way out */
	struct client client;
	int fd;
	bool connecting, idle, dead;
	bool begun;                  /* the delivery's transaction */
	bool running;                /* conn_run() is on the stack */
	char *helo, *relay;          /* our name; "host[addr]:port" */
	char *host;                  /* of the address; "" when it has no name */
	struct cidr addr;            /* bits 0: a UNIX socket */
	uint16_t port;
	struct event readable, writable, timer;
	bool writing;                /* writable is pending */
	unsigned waits;              /* client.waits that the deadline is for */
	uint64_t deadline, timer_at;
	TAILQ_ENTRY(conn) in_idle;
	TAILQ_ENTRY(conn) all;       /* also of the dead */
};

/* An address that failed. */
struct dead {
	struct cidr addr;
	uint16_t port;
	uint64_t until;
	LIST_ENTRY(dead) bucket;
};

struct remote {
	struct event_base *base;
	const struct settings *settings;
	struct agent agent;
	struct agent_link dns;
	bool had_dns;                /* its channel was there once */
	struct event *pump, *sweep, *stop_timer, *reap;
	struct mx_policy *policy;
	uint64_t seed;               /* of remote_random() */
	unsigned char secret[SIPHASH_KEY]; /* of the table of destinations */

	struct delivery_list deliveries, waiting, asked_master, in_line;
	struct delivery_list fresh;  /* of the DELIVER that is being read */

	struct dest_bucket dests[DEST_BUCKETS];
	struct slots lookups;        /* tid: lookup */
	struct lookup_list asking;   /* by deadline */

	struct conn_list conns, dead_conns;
	size_t nconns, nidle;
	size_t room;                 /* for connections, among descriptors */
	struct dead_bucket dead[DEAD_BUCKETS];
	size_t ndead;
	uint64_t budget;             /* octets of content held */
	unsigned files, files_max;   /* descriptors of content */
	struct slots dials;          /* tid: delivery that master was asked for */
	char scratch[16 * 1024];     /* what was received in this turn */

	bool recalled;               /* by qmgr: nothing is begun any more */
	bool stopping, done_called;
	void (*done)(void *);
	void *done_arg;
	void (*ask)(void *, uint32_t, const char *);
	void *ask_arg;
	void (*lost)(void *, const char *);
	void *lost_arg;
};

/* remote.c */
void remote_arm(struct remote *r); /* look after the lists, in this turn */
uint64_t remote_random(struct remote *r);
/* remote_connection_limit, or fewer where descriptors are scarce: a channel's
   descriptors must find room, too. */
size_t remote_connections_max(const struct remote *r);

/* delivery.c */
void delivery_take(void *arg, const struct agent_mail *m,
    const struct rcpt_item *item);
void delivery_taken(void *arg, const struct agent_mail *m);
void delivery_acked(void *arg, struct agent_item *it);
/* ROUTING: what dns says is known. WAITING: there is a place. */
void delivery_go(struct delivery *d);
/* A client's ops.result: `owner' is the conn. */
void delivery_result(void *owner, struct client_rcpt *cr,
    const struct outcome *o);
/* The address that it tried was no good: the next one, or the end. `relay' is
   copied. May free it. */
void delivery_failed_at(struct delivery *d, const char *relay,
    const struct outcome *why, bool site);
/* The connection was kept and the peer has left: begin again. */
void delivery_again(struct delivery *d);
/* Nothing more will be tried: the recipients without a fate get the last
   reason. Frees it. */
void delivery_give_up(struct delivery *d);
/* The same, for trouble of ours. */
void delivery_defer(struct delivery *d, const struct outcome *o);
/* Whatever no host was told of goes back to qmgr. */
void delivery_recall(void *arg);
void delivery_free(struct delivery *d); /* recipients included */

/* dest.c */
struct dest *dest_get(struct remote *r, struct slice transport,
    struct slice next_hop, const char **why); /* NULL: it makes no sense */
/* Free it when nobody needs it. */
void dest_release(struct remote *r, struct dest *dest);
/* True: d->route is filled. False: dns is asked; d is in dest->routing. */
bool dest_route(struct remote *r, struct delivery *d);
void dest_answered(struct remote *r, struct dest *dest);
void dest_sweep(struct remote *r, uint64_t now_ms);
void dest_forget(struct remote *r); /* all that dns said */

/* lookup.c */
void lookup_ask(struct remote *r, struct dest *dest,
    const struct mx_question *q);
void lookup_sweep(struct remote *r, uint64_t now_ms);
void lookup_forget(struct remote *r, const struct dest *dest);
void lookup_clear(struct remote *r);

/* dial.c */
/* Connect d to its next address; gives up when there is none. */
void dial_next(struct delivery *d);
void dial_sweep(struct remote *r, uint64_t now_ms);
void dial_cancel(struct delivery *d);
void dial_set_dead(struct remote *r, const struct cidr *addr, uint16_t port);
/* Addresses that failed lately go to the end. */
void dial_order(struct remote *r, struct mx_result *route);
void dial_clear(struct remote *r);
/* "host[path]" */
void dial_unix_relay(const struct delivery *d, char *out, size_t cap);
/* One line in the log, in a shape that its readers know. */
void dial_log_failure(const char *host, const struct cidr *addr,
    uint16_t port, const char *why);
void dial_relay(const char *host, const struct cidr *addr, uint16_t port,
    struct strbuf *out);

/* conn.c */
/* `fd' connecting or connected, is taken. host, addr, port are of `at'; path
   for a UNIX socket (at NULL). The delivery's. */
struct conn *conn_new(struct delivery *d, int fd, const struct mx_candidate *at,
    bool connecting);
/* An idle one for this destination, now the delivery's; NULL: none. */
struct conn *conn_take_idle(struct delivery *d);
void conn_run(struct conn *c); /* may make it dead */
void conn_begin(struct conn *c); /* its delivery's transaction */
/* The one that has been idle longest goes, to make room. */
bool conn_drop_idle(struct remote *r);
void conn_close(struct conn *c); /* dead; freed at the end of the turn */
void conn_reap(struct remote *r);
/* The content could not be got. */
void conn_abort(struct conn *c, const struct outcome *o);
/* Say QUIT to all idle ones. */
void conn_quit_idle(struct remote *r);

/* feed.c */
/* The peer wants content: as much as it takes now. */
void feed_run(struct conn *c);
/* The delivery needs its content no more. */
void feed_end(struct delivery *d);
void feed_here(void *arg, struct agent_content *content);
void feed_pump(struct remote *r); /* who stands in line, as far as it goes */
void feed_failed(void *arg, struct agent_content *content,
    const struct outcome *o);

#endif
