/*
 * sched - when is which recipient given to which delivery agent: the queue
 * manager's decisions, without its sockets.
 *
 * A pure machine: events go in by the functions below, sched_next() gives out
 * what is to be done, and the time is what sched_time() said last. No I/O, no
 * globals, no randomness but the seed's. Not more than one FATES of a message
 * and one TAKE are out at a time.
 *
 * A message is known by an entry, of some 90 octets with its places in tables;
 * destination and sender are numbers there. While it is active (at
 * most active_limit are) it has its due recipients in memory too, at most
 * SCHED_RCPTS_WORK + SCHED_RCPTS_RUNNING + a page of them; the others are read again, with a fresh
 * route, when they are due.
 *
 * What always holds, whatever the events:
 *  - a recipient is in at most one DELIVER whose result has not come;
 *  - no destination has more DELIVERs out than its limit says (what an agent
 *    has from an earlier life counts once its message was read);
 *  - each recipient of a known message is in memory, or will be asked for, or
 *    the message is on hold;
 *  - nothing of a message on hold is given to an agent;
 *  - a result is acknowledged only after cleanup has recorded it.
 *
 * A recipient that fails for good, or expires, is recorded as deferred with a
 * 5.y.z code and is `stuck': it is not tried again by itself. When the pass
 * over the message ends, a NOTICE is ordered for all of them together, and
 * again until cleanup has said that it is done. Where nobody is to be told (the
 * null reverse-path of a stranger; our own double bounce), the message goes on
 * hold with the first reason once all that is left of it is stuck; release
 * tries the stuck ones again. A recipient with the transport `hold' is parked:
 * once all that is left is, the message goes on hold.
 *
 * A destination beyond this host that fails several times in a row is dead for
 * a while: what is for it is deferred without an attempt, see sched_site.c.
 */
#ifndef QMGR_SCHED_H
#define QMGR_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/envelope.h"
#include "common/ipc.h"
#include "common/settings.h"
#include "common/slice.h"

#define SCHED_TAKE_MAX    256   /* messages of one TAKE */
#define SCHED_RCPTS_WORK  256   /* recipients of a message in memory ... */
#define SCHED_RCPTS_RUNNING 1024 /* ... and, beside them, in agents' hands:
                                   hosts that hang do not stop the others */
#define SCHED_RCPTS_MAX   60000 /* ... and of all, before more are asked for */
#define SCHED_GETS_MAX    64    /* pages asked for at a time */
#define SCHED_BATCH_SIZE  60000 /* octets of one DELIVER's recipients, about */
#define SCHED_LOCAL_MAX   400   /* DELIVERs out to local ... */
#define SCHED_REMOTE_MAX  5000  /* ... and to remote */
#define SCHED_NOTICES_MAX 64    /* NOTICEs without their NOTICED */
#define SCHED_SITE_FAILURES 5   /* in a row: the destination is dead */
#define SCHED_SICK_MAX    10000 /* failing destinations that are remembered */
#define SCHED_CRASH_ALONE 2     /* deaths of the agent before it goes alone */
#define SCHED_CRASH_HOLD  4     /* ... and before it goes on hold */
#define SCHED_PAUSE_MS    1000  /* after an error of cleanup, a dead agent */

enum sched_agent { SCHED_LOCAL, SCHED_REMOTE, SCHED_AGENTS };

/* The transports that have an agent. */
enum sched_transport {
	SCHED_T_LOCAL,
	SCHED_T_SMTP,
	SCHED_T_LMTP,
	SCHED_TRANSPORTS,
};
struct sched_limits {
	uint64_t concurrency; /* the most DELIVERs out to a destination */
	uint64_t initial;     /* ... while nothing is known of it */
	uint64_t rcpts;       /* of one DELIVER */
	uint64_t delay;       /* seconds from the end of one DELIVER to the
	                         start of the next; they go one at a time */
};

struct sched_config {
	uint64_t min_backoff, max_backoff; /* seconds, all of them */
	uint64_t lifetime, bounce_lifetime; /* the latter: null reverse-path */
	uint64_t delay_warning; /* 0: never */
	bool soft_bounce;       /* a failure for good is none */
	struct strlist defer_transports; /* borrowed: outlives the scheduler,
	                                    or the next sched_configure() */
	uint64_t active_limit;
	struct sched_limits limits[SCHED_TRANSPORTS];
};

/* config.c: borrows from `set'. */
struct sched_config qmgr_sched_config(const struct settings *set);

struct sched;

struct sched *sched_new(const struct sched_config *cfg, uint64_t seed);
void sched_free(struct sched *s);
/* A reload: holds for what comes. */
void sched_configure(struct sched *s, const struct sched_config *cfg);
/*
 * The time of all events from now on: CLOCK_MONOTONIC in ms and CLOCK_REALTIME
 * in us. A step of one against the other is noticed: after it a message does
 * not expire before it was tried again.
 */
void sched_time(struct sched *s, uint64_t mono_ms, uint64_t real_us);

/* Give nothing out any more and take nothing; what is out is still recorded. */
void sched_stop(struct sched *s);
/* Nothing is in an agent's hands, all that was said is recorded. */
bool sched_is_quiet(const struct sched *s);

/* -- what is to be done ----------------------------------------------------- */

enum sched_kind {
	SCHED_LOAD,  /* what was kept? */
	SCHED_KEEP,    /* text: keep it */
	SCHED_TAKE,    /* max */
	SCHED_GET,     /* qid, from, route */
	SCHED_FATES,   /* msg, items, last */
	SCHED_MARK,    /* qid, what, reason, token */
	SCHED_NOTICE,  /* qid, notice */
	SCHED_DELIVER, /* agent, msg, items */
	SCHED_ACK,     /* agent, qid, index, attempt: RESULT_ACK */
};

struct sched_message {
	uint64_t qid, arrived_us, size;
	uint32_t flags;
	const char *reverse_path;
};

struct sched_item {
	struct rcpt_item rcpt;  /* DELIVER: as it is; FATES: the recipient */
	struct fate_item fate;  /* FATES: what to record */
	struct slice relay;     /* FATES: what the agent said */
	bool stuck;             /* FATES: failed or expired */
	bool again;             /* FATES: was sent before */
};

struct sched_action {
	enum sched_kind kind;
	enum sched_agent agent;
	uint64_t qid;
	uint32_t from, index, attempt;
	bool route;
	bool last;      /* with it all of the message is delivered */
	unsigned max;
	enum ipc_mark what;
	enum ipc_notice notice;
	const char *reason;
	struct slice text;
	uint64_t token; /* of who asked, 0: we ourselves */
	struct sched_message msg;
	const struct sched_item *items;
	size_t nitems;
};

/* The next thing to do, or false. *a lives until the next call of anything. */
bool sched_next(struct sched *s, struct sched_action *a);
/* When to come again if nothing happens, in mono_ms; UINT64_MAX: never. */
uint64_t sched_wake_ms(const struct sched *s);

/* -- events: cleanup -------------------------------------------------------- */

/* The channel is there / is lost: all that was out is asked again. */
void sched_cleanup_up(struct sched *s);
void sched_cleanup_down(struct sched *s);

/* LOADED, or (error) no answer in time. Nothing is taken or delivered before.
   Returns how many of the text's lines cannot be read; they are left out. */
unsigned sched_loaded(struct sched *s, bool error, struct slice text);
/* KEPT, or (error) not now: it is ordered again. */
void sched_kept(struct sched *s, bool error);

struct sched_entry_in {
	uint64_t qid, arrived_us, size;
	uint32_t flags;
	bool hold;
	uint8_t crashes; /* marks that it has: deaths of an agent with it */
	uint32_t rcpts, rcpts_open, next_index;
	struct slice reverse_path, page;
};
enum sched_entry {
	SCHED_ENTRY_BAD,     /* the page makes no sense */
	SCHED_ENTRY_ACTIVE,  /* it has become active just now */
	SCHED_ENTRY_KEPT,    /* anything else */
};
/* ENTRY; `taken': of a TAKE, else the answer to the GET. */
enum sched_entry sched_entry(struct sched *s, const struct sched_entry_in *e,
    bool taken);
void sched_taken(struct sched *s);
/* GONE, or (temporary) no answer in time. */
void sched_gone(struct sched *s, uint64_t qid, bool temporary);
/* FATES_ACK, or (error) no answer in time. */
void sched_fates_ack(struct sched *s, uint64_t qid, bool error, bool gone);
/* MARKED; result as there, 2 also for no answer in time. */
void sched_marked(struct sched *s, uint64_t qid, enum ipc_mark what,
    uint64_t token, unsigned result);

enum sched_noticed {
	SCHED_NOTICED,       /* durable */
	SCHED_NOTICED_NEVER, /* none can be made */
	SCHED_NOTICED_LATER, /* not now; also for no answer in time */
};
/* NOTICED. `text': why never. */
void sched_noticed(struct sched *s, uint64_t qid, enum ipc_notice kind,
    enum sched_noticed result, bool gone, struct slice text);

/* -- events: agents --------------------------------------------------------- */

/* A delivery that the agent told of in its HELLO. */
void sched_agent_running(struct sched *s, enum sched_agent a, uint64_t qid,
    uint32_t index, uint32_t attempt);
/* After the HELLO's end: it takes deliveries. */
void sched_agent_up(struct sched *s, enum sched_agent a);
/* Its channel is lost: nothing more for it. What it had stays in its hands until
   sched_agent_down() says what became of it. */
void sched_agent_lost(struct sched *s, enum sched_agent a);
/*
 * What it had and does not tell of in its next HELLO is delivered anew. `itself':
 * it died, and of its own doing, so what it had is suspect (a crash mark); a kill
 * from outside says nothing about the mail.
 */
void sched_agent_down(struct sched *s, enum sched_agent a, bool itself);
/* Its channel is full: no DELIVER for now. */
void sched_agent_pause(struct sched *s, enum sched_agent a, bool pause);

/* The agent has not begun it, and gives it back: as if never given. */
void sched_returned(struct sched *s, enum sched_agent a, uint64_t qid,
    uint32_t index, uint32_t attempt);

struct sched_result {
	uint64_t qid;
	uint32_t index, attempt;
	enum fate fate; /* DELIVERED, DEFERRED or FAILED */
	struct slice esc, reply, relay;
	bool site;      /* the next hop as a whole could not be reached */
};
/* False: it makes no sense (an attempt that never was). */
bool sched_result(struct sched *s, enum sched_agent a,
    const struct sched_result *r);

/* -- the administrator ------------------------------------------------------ */

enum sched_state {
	SCHED_S_UNKNOWN,
	SCHED_S_ACTIVE,
	SCHED_S_DEFERRED,
	SCHED_S_HOLD,
};
struct sched_info {
	enum sched_state state;
	unsigned running;   /* recipients in an agent's hands */
	bool held;          /* DEFERRED; some wait for a domain on hold */
	uint64_t due_in_ms; /* DEFERRED; 0: as soon as there is room */
	/* as it was when it was read last: */
	uint64_t arrived_s, size, rcpts; /* size: UINT32_MAX is that or more;
	                                    rcpts: those that are open */
	struct slice to, from; /* the first of them: "smtp:example.org",
	                          "local"; the sender, "<>". "": too many
	                          different ones are in the queue */
};
void sched_info(const struct sched *s, uint64_t qid, struct sched_info *out);
/* The recipient is in memory: being delivered, or about to be. */
bool sched_is_active(const struct sched *s, uint64_t qid, uint32_t index);

/*
 * Hold, release, delete or requeue. Takes effect at once in memory; the answer
 * comes by MARK with `token' and its MARKED. For requeue the MARK waits until
 * nothing of the message is in an agent's hands: a recipient is never both
 * there and in the new message.
 */
void sched_mark(struct sched *s, uint64_t qid, enum ipc_mark what,
    const char *reason, uint64_t token);
/*
 * What is flushed or released from here on is one act of an administrator: each
 * dead destination is tried once for it, however many messages it is of.
 */
void sched_hurry(struct sched *s);
/* Try all open recipients now. False: unknown, or on hold. */
bool sched_flush(struct sched *s, uint64_t qid);
/* The same for all that are deferred, as one act; returns how many. */
uint64_t sched_flush_all(struct sched *s);

/*
 * A domain of recipients on hold, until then (seconds of CLOCK_REALTIME; 0: for
 * ever): what is in flight ends, nothing more begins, flush or not. Outlives us
 * once sched_keep_done() has reached what sched_keep_wanted() says afterwards.
 * False: SCHED_DOMAINS_MAX are. Release: false: it is not on hold.
 */
#define SCHED_DOMAINS_MAX 100
#define SCHED_DOMAIN_LEN  255
bool sched_hold_domain(struct sched *s, struct slice name, uint64_t until);
bool sched_release_domain(struct sched *s, struct slice name);
uint64_t sched_keep_wanted(const struct sched *s);
uint64_t sched_keep_done(const struct sched *s);
/* Is the recipient's domain on hold, and until when? */
bool sched_domain_held(const struct sched *s, struct slice address,
    uint64_t *until);
/* The next one; *cursor is 0 at first. */
bool sched_domain_next(const struct sched *s, size_t *cursor,
    const char **name, uint64_t *until);

enum sched_dest_state {
	SCHED_DEST_GOOD,
	SCHED_DEST_SICK,  /* failed last */
	SCHED_DEST_DEAD,
	SCHED_DEST_RESTS, /* the rate delay */
};
struct sched_dest_info {
	const char *transport, *next_hop; /* borrowed */
	enum sched_dest_state state;
	uint64_t window;    /* DELIVERs at a time */
	unsigned running, waiting; /* DELIVERs */
	unsigned outside;   /* messages that are not active for its sake */
	unsigned fails;     /* in a row */
	uint64_t until;     /* DEAD, RESTS: seconds of CLOCK_REALTIME; 0: now */
	const char *esc, *relay, *reply; /* DEAD: the last ones; NULL: none */
};
/* All that are known, the busiest first; the caller frees the list only, and
   before anything else is called. */
struct sched_dest_info *sched_dests(const struct sched *s, size_t *n);

/* CLOCK_REALTIME in seconds, as sched_time() said last. */
uint64_t sched_real_s(const struct sched *s);
/* The age of a message in seconds; 0 when it comes from the future. */
uint64_t sched_age_s(const struct sched *s, uint64_t arrived_us);

struct sched_counts {
	uint64_t active, deferred, hold; /* messages; sum: all that are known */
	uint64_t rcpts, running;         /* in memory; in agents' hands */
	uint64_t destinations;
};
void sched_counts(const struct sched *s, struct sched_counts *out);
/* The queue ids above `after', rising, at most max; returns how many. */
size_t sched_list(const struct sched *s, uint64_t after, uint64_t *out,
    size_t max);
/* How many messages there are, and the last queue id. */
size_t sched_known(const struct sched *s);
uint64_t sched_last(const struct sched *s);

/* Messages by age, each class twice as long as the one before. */
#define SCHED_AGES        10
#define SCHED_AGE_FIRST_S 300
enum sched_by { SCHED_BY_DESTINATION, SCHED_BY_SENDER };
struct sched_sum {
	struct slice text; /* as in sched_info; borrowed */
	uint64_t n, octets;
	uint64_t by_age[SCHED_AGES];
};
/* A sum for each destination, or sender, of the messages in state `only'
   (UNKNOWN: in any); *n of them, some of nothing. The caller frees. */
struct sched_sum *sched_summary(const struct sched *s, enum sched_by by,
    enum sched_state only, size_t *n);

/* The time to the next attempt in seconds (exported for its test): the age of
   the message between the bounds, +/- 10 %, never below the least. */
uint64_t sched_backoff(const struct sched_config *cfg, uint64_t age,
    uint64_t random);

#endif
