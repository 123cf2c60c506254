/*
 * sched_int - what the files of the scheduler share: its structs, and the
 * functions by which one part calls the other. Nobody else includes it.
 *
 *   sched.c        making, time, sched_next
 *   sched_entry.c  what is known of all messages; counts, lists
 *   sched_load.c   pages of recipients coming in
 *   sched_claim.c  claims: what an agent has of an earlier life of ours
 *   sched_route.c  what becomes of a recipient, by its transport
 *   sched_fate.c   results, recording them, the end of a message's activity
 *   sched_notice.c notices: bounces and delay warnings
 *   sched_dest.c   destinations
 *   sched_site.c   their health: window, death, probes
 *   sched_lane.c   who is next at a destination
 *   sched_domain.c domains on hold
 *   sched_keep.c   what outlives us
 *   sched_report.c the destinations, for people
 *   sched_backlog.c  what waits outside, so that one cannot fill all
 *   sched_job.c    jobs: recipients of a message that go together
 *   sched_agent.c  agents: who is given what, when
 *   sched_admin.c  marks: hold, release, delete, requeue; flush
 */
#ifndef QMGR_SCHED_INT_H
#define QMGR_SCHED_INT_H

#include <sys/queue.h>

#include "common/siphash.h"
#include "common/spool_index.h"
#include "qmgr/heap.h"
#include "qmgr/intern.h"
#include "qmgr/sched.h"

#define NO_DUE      UINT64_MAX
#define GONE_AGAIN  60000 /* ms until a message is read again that could not be */
#define ALONE_MS    2000  /* the share of time of messages that go alone */
#define MARKS_OUT   256   /* MARKs without their MARKED */
#define CLAIM_HASH  1024

/* All that is known of a message that is not active: 56 octets, 16 of the index
   and 8 of the heap. */
struct entry {
	uint64_t qid;
	uint64_t due_ms;    /* while in s->later */
	struct work *work;  /* active */
	uint32_t place;     /* in s->later */
	uint32_t arrived_s; /* CLOCK_REALTIME */
	uint32_t size;      /* octets; UINT32_MAX: that or more */
	uint32_t to;        /* in s->tos: the first open recipient's route */
	uint32_t from;      /* in s->froms: the sender */
	uint16_t rcpts;     /* open, when it was read last */
	uint8_t crashes;    /* deaths of an agent that had it in its hands */
	uint8_t marking;    /* deletes and requeues on their way: leave it */
	bool hold;          /* is, or is about to be, on hold */
	bool force;         /* when active next: try all that is open */
	bool outside;       /* in a lane's outside, see sched_backlog.c */
	bool held;          /* waits for a domain on hold, see sched_domain.c */
};
_Static_assert(sizeof(struct entry) <= 56, "a million of them");
_Static_assert(ENVELOPE_RCPT_MAX <= UINT16_MAX, "entry.rcpts");

enum rcpt_state {
	RCPT_READY,   /* in a job that waits */
	RCPT_RUNNING, /* in a job that an agent has */
	RCPT_RECORD,  /* has a fate, which cleanup has not recorded yet */
};

struct rcpt {
	TAILQ_ENTRY(rcpt) link;    /* work->rcpts */
	TAILQ_ENTRY(rcpt) in_job;  /* job->rcpts, unless RECORD */
	struct work *work;
	struct job *job;           /* NULL when RECORD */
	enum rcpt_state state;
	uint32_t index, attempt;
	uint32_t epoch;            /* of the clock when it was given out */
	char *text;                /* owns the three: */
	struct slice address, original, extension;
	/* RECORD: */
	enum fate fate;
	bool stuck, sent, again;
	bool warned;               /* the sender knows of the delay */
	bool ack;                  /* an agent awaits RESULT_ACK */
	enum sched_agent agent;
	uint64_t next_at;
	char esc[ESC_MAX];
	char *reply, *relay;
};
TAILQ_HEAD(rcpts, rcpt);

/* The recipients of one message for one destination: a DELIVER to come. */
struct job {
	TAILQ_ENTRY(job) link; /* while it waits: in its lane, or the alone */
	struct work *work;
	struct dest *dest;
	struct lane *lane;
	struct rcpts rcpts;
	unsigned n;      /* in rcpts */
	size_t size;     /* octets, about */
	bool running, alone;
	bool probe;      /* of a dead destination */
	uint32_t round;  /* of the destination when it began */
	bool judged;     /* it has told how the destination is */
};
TAILQ_HEAD(jobs, job);

/* A share of a destination: of a class, a sender, or (with jobs) a message. */
struct lane {
	struct lane *next;   /* in its bucket */
	struct lane *parent; /* NULL: the destination's top */
	struct dest *dest;
	uint64_t key;        /* among its parent's: sender, or queue id */
	uint64_t tag;        /* the virtual time of its next job */
	uint64_t seq;        /* when it began to wait */
	uint64_t now;        /* the virtual time of those below */
	uint32_t place;      /* in parent->turns, while jobs wait */
	struct heap turns;   /* lanes below with jobs that wait, by tag */
	struct jobs jobs;    /* waiting */
	unsigned waiting, all; /* jobs here and below */
	/* of a sender; see sched_backlog.c */
	struct outside {
		uint64_t *at; /* queue ids, in a ring */
		uint32_t first, n, cap;
	} outside;
	unsigned coming;     /* messages on their way in */
	unsigned rcpts;      /* in memory */
	bool ready;          /* in s->ready */
	TAILQ_ENTRY(lane) ready_link;
};

enum lane_class { LANE_URGENT, LANE_NORMAL, LANE_CLASSES };

struct dest {
	struct dest *next; /* in its bucket */
	TAILQ_ENTRY(dest) ring;
	char *transport, *next_hop;
	enum sched_agent agent;
	enum sched_transport by;
	uint64_t rest_ms;    /* the rate delay: nothing begins before */
	uint32_t rest_place; /* in s->rests, while it is to be waited for */
	struct lane top, class[LANE_CLASSES];
	unsigned outside, coming; /* messages, of all its lanes */
	unsigned njobs;      /* all, also running and alone */
	unsigned running;
	enum ring { RING_URGENT, RING_NORMAL, RING_NONE } in_ring;
	/* remote only; see sched_site.c */
	unsigned window;     /* DELIVERs out at a time */
	unsigned rise;       /* below this it grows with each answer */
	unsigned answers;    /* since the window grew last */
	uint32_t round;      /* counts the cuts of the window */
	unsigned fails;      /* in a row; > 0: in s->sick */
	TAILQ_ENTRY(dest) sick_link;
	uint64_t failed_ms;  /* the last of them */
	bool dead;           /* then also these: */
	uint64_t retry_ms, backoff; /* backoff: seconds */
	uint64_t salt;       /* spreads the messages, anew at each death */
	uint64_t flushes;    /* s->flushes when it was tried last */
	uint32_t epoch;      /* of the clock then */
	char *esc, *reply, *relay;
};

enum notice {
	NOTICE_NONE,
	NOTICE_WANTED, /* in s->notices */
	NOTICE_OUT,
};

enum page { PAGE_NONE, PAGE_WANTED, PAGE_ASKED };

/* An active message. */
struct work {
	TAILQ_ENTRY(work) link;       /* s->works */
	TAILQ_ENTRY(work) page_link;  /* s->pages, when PAGE_WANTED */
	TAILQ_ENTRY(work) fates_link; /* s->fates or s->slow */
	TAILQ_ENTRY(work) notice_link; /* s->notices, when NOTICE_WANTED */
	struct entry *entry;
	struct lane *lane;       /* that it comes in for */
	uint64_t arrived_us, size;
	uint32_t flags;
	char *reverse_path;
	uint64_t sender;         /* sched_sender_key() of it */
	struct rcpts rcpts;
	unsigned ready, running, record, unsent;
	enum page page;
	uint32_t from;           /* of the page wanted or asked */
	uint32_t next_index;     /* after what is loaded; 0: all is */
	bool whole;              /* the pass over all pages is done */
	bool route;              /* pages come with fresh routes */
	bool force;              /* also what is not due, or stuck */
	bool fates_out, fates_queued, slow;
	uint64_t slow_ms;        /* when it may leave s->slow */
	bool gone;               /* removed; only deliveries are still out */
	bool ending;             /* delete or requeue: load no more */
	bool again;              /* read it anew afterwards */
	bool later;              /* ... but not at once: reading failed */
	bool crashed, resulted;  /* in this activity */
	bool fresh_claim;        /* a claim came after the pass began */
	uint32_t waiting;        /* open recipients that are not due yet */
	uint64_t next_at;        /* the earliest of them; seconds */
	uint64_t defer_at;       /* shared by those deferred in this activity */
	uint32_t stuck, parked;
	uint32_t held;           /* in domains on hold ... */
	uint64_t held_until;     /* ... the earliest end of that; seconds */
	uint32_t unwarned;       /* of those that wait: not warned of yet */
	char *stuck_reason, *parked_reason;
	enum notice notice;
	enum ipc_notice notice_kind;
	bool no_notice, no_warning; /* in this pass */
};
TAILQ_HEAD(works, work);

/* What an agent has of an earlier life of ours. */
struct claim {
	struct claim *next;
	uint64_t qid;
	uint32_t index, attempt;
	enum sched_agent agent;
	bool is_result;
	enum fate fate;
	char *esc, *reply, *relay;
};

struct mark {
	TAILQ_ENTRY(mark) link;
	uint64_t qid, token, retry_ms;
	enum ipc_mark what;
	char *reason;
};
TAILQ_HEAD(marks, mark);

/* A domain on hold. */
struct domain {
	TAILQ_ENTRY(domain) link;
	char *name;
	uint64_t until; /* seconds of CLOCK_REALTIME; 0: for ever */
};
TAILQ_HEAD(domains, domain);

struct ack {
	TAILQ_ENTRY(ack) link;
	uint64_t qid;
	uint32_t index, attempt;
	enum sched_agent agent;
};
TAILQ_HEAD(acks, ack);

struct agent {
	bool up, paused;
	uint64_t ready_ms;     /* no DELIVER before */
	unsigned inflight;     /* jobs */
	struct jobs alone;     /* jobs of messages with crash marks */
	bool alone_running;
	uint64_t alone_ms;     /* until then it is their turn ... */
	uint64_t common_ms;    /* ... and until then the others' */
	/* destinations that may have one more: with urgent mail, and others */
	TAILQ_HEAD(, dest) rings[RING_NONE];
	unsigned turn;         /* counts choices between the two */
};

struct sched {
	struct sched_config cfg;
	uint64_t mono_ms, real_us, random;
	int64_t skew_us;       /* realtime minus monotonic */
	uint32_t epoch;        /* counts steps of the clock */
	bool timed;

	struct spool_index entries; /* struct entry, by queue id */
	struct intern tos, froms;
	struct heap later;      /* not active, not on hold, by due_ms */
	struct works works;
	uint64_t nactive, nrcpts, nrunning;

	struct lane **lanes;    /* buckets; those of classes are not in it */
	uint32_t nlane_buckets, nlanes;
	uint64_t lane_seq;
	TAILQ_HEAD(, lane) ready; /* may have one more come in */

	struct dest **dests;
	uint32_t ndest_buckets, ndests;
	unsigned char dest_key[SIPHASH_KEY]; /* strangers choose next hops */
	struct heap rests;     /* destinations, by rest_ms */
	TAILQ_HEAD(dests, dest) sick; /* by the time of their last failure */
	uint32_t nsick;
	uint64_t flushes;      /* counts the acts by which an administrator hurries */
	struct agent agents[SCHED_AGENTS];

	bool cleanup_up, take_out, stopping;
	unsigned gets_out;
	struct works pages, fates, slow, notices;
	unsigned notices_out;
	struct marks marks; /* to be sent; slow: in a while; wait: for the work */
	struct marks marks_slow, marks_wait, marks_out;
	unsigned nmarks_out;
	struct acks acks;
	struct domains domains;
	unsigned ndomains;
	bool loaded, load_out, keep_out;
	uint64_t load_ms, keep_ms; /* not before */
	uint64_t keep_wanted, keep_sent, keep_done; /* versions */
	struct strbuf keep_text;
	struct claim *claims[CLAIM_HASH];

	/* what the last action points to */
	struct sched_item items[SCHED_TAKE_MAX];
	struct mark *last_mark;
	struct ack *last_ack;
};

/* sched.c */
uint64_t sched_random(struct sched *s);
uint64_t sched_now_s(const struct sched *s); /* realtime, rounded up */
/* The mono_ms for a realtime of cleanup's; bounded, clocks may be wrong. */
uint64_t sched_due_ms(const struct sched *s, uint64_t next_at);
bool sched_is_due(const struct sched *s, uint64_t next_at);
struct work *sched_work_new(struct sched *s, struct entry *e);
/* Frees it with all that it has; the entry stays. */
void sched_work_free(struct sched *s, struct work *w);
void sched_ack(struct sched *s, enum sched_agent a, uint64_t qid,
    uint32_t index, uint32_t attempt);

/* sched_entry.c */
void sched_entries_init(struct sched *s);
void sched_entries_clear(struct sched *s);
struct entry *sched_find(const struct sched *s, uint64_t qid);
struct entry *sched_entry_new(struct sched *s, uint64_t qid);
void sched_entry_free(struct sched *s, struct entry *e);
/* What a page of it tells about the whole. */
void sched_entry_learn(struct sched *s, struct entry *e,
    const struct sched_entry_in *in);
/* Into s->later, or to another place there. */
void sched_later(struct sched *s, struct entry *e, uint64_t due_ms);
void sched_not_later(struct sched *s, struct entry *e);

/* sched_claim.c */
void sched_claim_result(struct sched *s, enum sched_agent a,
    const struct sched_result *r);
bool sched_has_claim(const struct sched *s, uint64_t qid);
/* Out of the table, or NULL; the caller frees. */
struct claim *sched_claim_take(struct sched *s, uint64_t qid, uint32_t index);
void sched_claim_free(struct claim *c);
/* Nothing more is to be known of the message: acknowledge, forget. */
void sched_claims_end(struct sched *s, uint64_t qid);
void sched_claims_drop_running(struct sched *s, enum sched_agent a);
void sched_claims_free(struct sched *s);

/* sched_load.c */
struct rcpt *sched_rcpt_find(const struct work *w, uint32_t index);
/* Takes it out of its job and its message. */
void sched_rcpt_free(struct sched *s, struct rcpt *rc);
void sched_stuck(struct work *w, struct slice esc, struct slice reply);
/* One that waits until then; `warned': not to be warned of (again). */
void sched_waits(struct work *w, uint64_t next_at, bool warned);

/* sched_route.c */
/* A recipient that is due: to an agent, or it gets its fate at once. */
void sched_route(struct sched *s, struct rcpt *rc, struct slice transport,
    struct slice next_hop);

/* sched_notice.c */
/* Somebody would be told if this message failed. */
bool sched_bounces(const struct work *w);
/* The pass has ended: is a notice on its way, or to be ordered? */
bool sched_notice_awaited(struct sched *s, struct work *w);
void sched_notice_drop(struct sched *s, struct work *w);
bool sched_build_notice(struct sched *s, struct sched_action *a);
void sched_notices_lost(struct sched *s);

/* sched_fate.c */
struct sched_outcome {
	enum fate fate;
	struct slice esc, reply, relay;
	uint64_t next_at; /* DEFERRED: when again; 0: as old as it is */
};
/* Gives it a fate: to be recorded. */
void sched_record(struct sched *s, struct rcpt *rc,
    const struct sched_outcome *o);
/* The message goes on hold, because of its stuck recipients. */
void sched_hold_stuck(struct sched *s, struct work *w);
/* After any change of a message: does what follows. May free `w'. */
void sched_work_check(struct sched *s, struct work *w);
/* The message is removed. May free the entry and its work. */
void sched_entry_gone(struct sched *s, struct entry *e);
bool sched_build_fates(struct sched *s, struct sched_action *a);
/* Takes back what no agent has: it is read again if need be. */
void sched_withdraw(struct sched *s, struct work *w);

/* sched_dest.c */
/* The transport by its name, or -1; and its agent. */
int sched_transport_of(struct slice name);
enum sched_agent sched_agent_of(enum sched_transport t);
const struct sched_limits *sched_limits_of(const struct sched *s,
    const struct dest *d);
/* How many DELIVERs it may have out just now. */
uint64_t sched_window_of(const struct sched *s, const struct dest *d);
/* A destination, made if need be. */
struct dest *sched_dest_get(struct sched *s, enum sched_transport t,
    struct slice next_hop);
/* NULL: nothing is known of it. */
struct dest *sched_dest_find(const struct sched *s, struct slice transport,
    struct slice next_hop);
/* Frees it when nothing has to be known of it any more. */
void sched_dest_release(struct sched *s, struct dest *d);
/* One of its DELIVERs has ended: its rate delay begins. */
void sched_dest_rest(struct sched *s, struct dest *d);
/* Ends the rests whose time has come. */
void sched_dests_wake(struct sched *s);
/* At the end: those that only rest. */
void sched_dests_free(struct sched *s);
bool sched_rests_before(const void *a, const void *b);
/* After any change of it: may it have one more delivery out? */
void sched_ring_update(struct sched *s, struct dest *d);
void sched_dests_update(struct sched *s);

/* sched_site.c */
/* What an attempt tells of its destination, before the result is recorded. */
void sched_site_result(struct sched *s, const struct rcpt *rc,
    const struct sched_result *r);
/* When a dead destination is tried again, in seconds; 0: it lives. */
uint64_t sched_site_next_try(const struct sched *s, const struct rcpt *rc);
/* One that was dead in an earlier life of ours. */
struct sched_dead {
	enum sched_transport transport;
	struct slice next_hop, esc, relay, reply;
	uint64_t retry_at, backoff; /* seconds */
};
void sched_site_restore(struct sched *s, const struct sched_dead *in);
/* Its destination is dead: deferred. */
bool sched_site_defers(struct sched *s, struct rcpt *rc,
    struct slice transport, struct slice next_hop);
/* Forgets old failures that nobody has asked about. */
void sched_sites_reap(struct sched *s);
void sched_sites_free(struct sched *s);

/* sched_lane.c */
void sched_lanes_init(struct dest *d);
void sched_lanes_clear(struct dest *d);
/* Whose messages share a lane. */
uint64_t sched_sender_key(const struct sched *s, struct slice reverse_path);
enum lane_class sched_lane_class(uint32_t flags);
/* NULL: it has nothing there. */
struct lane *sched_lane_of_sender(const struct sched *s, struct dest *d,
    enum lane_class class, uint64_t sender);
/* Frees the lane, and its parent, when nothing has to be known of it. */
void sched_lane_release(struct sched *s, struct lane *l);
/* At the end, when there are no jobs any more: those with others outside. */
void sched_lanes_free(struct sched *s);
/* A job begins, and ends, to belong to its lane. */
void sched_lane_join(struct sched *s, struct job *j);
void sched_lane_leave(struct sched *s, struct job *j);
/* ... and to wait in it. */
void sched_lane_push(struct sched *s, struct job *j);
void sched_lane_remove(struct job *j);
/* The turn of a job that waits still has come: its lanes pay for it. */
void sched_lane_charge(struct job *j);
/* The one whose turn it is, NULL: none waits. */
struct job *sched_lane_next(const struct dest *d);
/* The last one of the message that waits, or NULL. */
struct job *sched_lane_newest(const struct sched *s, struct dest *d,
    const struct work *w);

/* sched_domain.c */
/* Only notes it. False: there are too many. */
bool sched_domain_add(struct sched *s, struct slice name, uint64_t until);
void sched_domains_free(struct sched *s);

/* sched_keep.c */
/* What is to be kept has changed; it is to be written within that time. */
void sched_keep_soon(struct sched *s, uint64_t within_ms);
bool sched_keep_is_due(const struct sched *s);
bool sched_build_load(struct sched *s, struct sched_action *a);
bool sched_build_keep(struct sched *s, struct sched_action *a);
void sched_keep_lost(struct sched *s);
uint64_t sched_keep_wake(const struct sched *s);

/* sched_backlog.c */
/* Nothing that is due of the entry's page finds a place: it waits outside. */
bool sched_stays_outside(struct sched *s, struct entry *e,
    const struct sched_entry_in *in, bool force);
/* A job of a sender's lane has ended, or a message of it has come in. */
void sched_lane_ended(struct sched *s, struct lane *l);
/* The next message to be read for a lane; NULL: none. */
struct work *sched_come_in(struct sched *s);
/* It has been read, or will not be. May free its destination. */
void sched_came_in(struct sched *s, struct work *w);
void sched_outside_clear(struct sched *s, struct lane *l);

/* sched_job.c */
/* A job for a recipient, READY, or RUNNING when an agent has it already. */
void sched_dispatch(struct sched *s, struct rcpt *rc, enum sched_transport t,
    struct slice next_hop, bool running);
/* Takes a recipient out of its job; the job ends with its last. */
void sched_leave_job(struct sched *s, struct rcpt *rc);
void sched_run_anyway(struct sched *s, struct rcpt *rc);
/* It is in the agent's hands from now on. */
void sched_job_start(struct sched *s, struct job *j);

/* sched_agent.c */
bool sched_build_deliver(struct sched *s, struct sched_action *a);
uint64_t sched_agents_wake(const struct sched *s);
void sched_fill_item(struct sched_item *it, const struct rcpt *rc);

/* sched_admin.c */
/* All that wait for a domain on hold are read again. */
void sched_wake_held(struct sched *s);
void sched_mark_add(struct sched *s, uint64_t qid, enum ipc_mark what,
    const char *reason, uint64_t token);
/* The message is not active any more: what waited for that may go. */
void sched_marks_ready(struct sched *s, uint64_t qid);
bool sched_build_mark(struct sched *s, struct sched_action *a);
void sched_marks_lost(struct sched *s);
void sched_mark_free(struct mark *m);
#endif
