/*
 * qmgr - the queue manager: the scheduler (qmgr/sched.h) with its sockets.
 *
 * Takes messages from cleanup, gives recipients to agents, has cleanup record
 * what they say, serves the queue to the tools. Sees no content, opens no file.
 *
 * Every question to cleanup has a deadline (ipc_timeout) except TAKE, which
 * waits for mail. A DELIVER has its deadline with the agent (for local:
 * local_delivery_timeout); an agent that does not end it is master's to kill.
 *
 * The life of a turn: events change the scheduler; at its end the pump does all
 * that the scheduler then wants, so results that came together are recorded
 * together.
 */
#ifndef QMGR_QMGR_H
#define QMGR_QMGR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc.h"
#include "common/settings.h"
#include "common/siphash.h"
#include "common/slots.h"
#include "qmgr/sched.h"

#define QMGR_HIGH_WATER (512 * 1024) /* octets queued for a slow peer */

struct event;
struct event_base;
struct qmgr;

/* A page of a message for the queue service, or (NULL) why there is none. */
typedef void qmgr_view_cb(void *arg, const struct sched_entry_in *in,
    struct slice hold_reason);

/* A question to cleanup that is not answered yet. */
struct ask;
TAILQ_HEAD(asks, ask);

struct qmgr_ops {
	/* A MARK that the service ordered: result as in MARKED. */
	void (*marked)(void *arg, uint64_t token, uint64_t qid,
	    unsigned result, struct slice text);
	/* What sched_keep_wanted() said is durable, up to sched_keep_done();
	   or (text) why not: it is tried again. */
	void (*kept)(void *arg, struct slice text);
	/* q->scanned has grown. */
	void (*scanned)(void *arg);
	/* A peer has been gone for ipc_timeout: only a restart helps. */
	void (*lost)(void *arg, const char *peer);
	/* After qmgr_stop(): nothing is in hand any more. */
	void (*stopped)(void *arg);
};

struct qmgr {
	struct event_base *base;
	struct sched *s;
	const struct qmgr_ops *ops;
	void *arg;
	unsigned char key[SIPHASH_KEY];
	uint64_t ipc_timeout_ms;
	struct event *pump, *timer;
	struct strbuf scratch;
	bool stopping;
	uint64_t stop_ms;
	/* to_cleanup.c */
	struct ipc_chan *cleanup;
	struct slots slots;
	struct asks asks;        /* by deadline */
	uint32_t take_id;
	uint64_t scanned; /* what was in the spool when cleanup's channel came
	                     is known up to this id; UINT64_MAX: all of it */
	uint64_t cleanup_gone_ms; /* 0: it is there */
	/* to_agent.c */
	struct agent_link {
		struct ipc_chan *ch;
		bool hello;          /* AGENT_HELLO_END came */
		bool full;           /* QMGR_HIGH_WATER is reached */
		size_t told;         /* deliveries in the HELLO */
		uint64_t gone_ms;
		bool itself;         /* see sched_agent_down() */
		bool died;           /* master has said so */
	} agents[SCHED_AGENTS];
};

/* -- qmgr.c ----------------------------------------------------------------- */

void qmgr_init(struct qmgr *q, struct event_base *base,
    const struct settings *set, const unsigned char key[SIPHASH_KEY],
    uint64_t seed);
void qmgr_ops_set(struct qmgr *q, const struct qmgr_ops *ops, void *arg);
void qmgr_clear(struct qmgr *q);
void qmgr_configure(struct qmgr *q, const struct settings *set);
/* Give out nothing more; ops->stopped comes when all results are recorded, or
   after deadline_ms. */
void qmgr_stop(struct qmgr *q, uint64_t deadline_ms);
/* Something has changed: do what follows at the end of this turn. */
void qmgr_wake(struct qmgr *q);
/* The clocks, told to the scheduler: before any event for it. */
void qmgr_time(struct qmgr *q);
uint64_t qmgr_mono_ms(void);

/* -- to_cleanup.c ------------------------------------------------------------ */

/* A fresh channel (taken); replaces the old one. */
void qmgr_cleanup_channel(struct qmgr *q, int fd);
void qmgr_cleanup_clear(struct qmgr *q);
/* What the scheduler asks of cleanup. */
void qmgr_cleanup_do(struct qmgr *q, const struct sched_action *a);
/* One page of a message, as it is in the spool. Returns an id, or 0 when
   cleanup is not there; then nothing is called. */
uint32_t qmgr_view(struct qmgr *q, uint64_t qid, uint32_t from,
    qmgr_view_cb *cb, void *arg);
void qmgr_view_cancel(struct qmgr *q, uint32_t id);
/* Questions whose time is over; returns when to look again (mono_ms). */
uint64_t qmgr_cleanup_deadlines(struct qmgr *q);

/* -- to_agent.c -------------------------------------------------------------- */

void qmgr_agent_channel(struct qmgr *q, enum sched_agent a, int fd);
/* Master: it is dead, of its own doing or not. Before or after the channel's end. */
void qmgr_agent_died(struct qmgr *q, enum sched_agent a, bool itself);
void qmgr_agent_clear(struct qmgr *q);
void qmgr_agent_do(struct qmgr *q, const struct sched_action *a);
/* Before actions are taken: tells the scheduler which agents are full. */
void qmgr_agent_pressure(struct qmgr *q);
/* Remote is to give back what it has not begun. */
void qmgr_agent_recall(struct qmgr *q);
uint64_t qmgr_agent_deadlines(struct qmgr *q);

/* -- qlog.c: the lines of the log (facts.md, 3b) ----------------------------- */

void qlog_active(const struct sched_entry_in *in);
void qlog_fate(const struct sched_message *msg, const struct sched_item *it,
    uint64_t now_us);
void qlog_mark(uint64_t qid, enum ipc_mark what, const char *reason);
/* What cleanup says of a notice; `text' is its reason when there is none. */
void qlog_noticed(uint64_t qid, enum ipc_notice kind, enum sched_noticed result,
    struct slice text);
void qlog_removed(uint64_t qid);

#endif
