/*
 * agent - what the delivery agents have in common: the recipients that qmgr has
 * given, their results, and the content that cleanup hands out.
 *
 * Promises (design 5): a recipient's delivery is keyed {queue id, index,
 * attempt}. Its result is kept until qmgr acknowledges it; each fresh channel to
 * qmgr begins with all that is in hand, and the results follow. A DELIVER for
 * something that is in hand starts nothing. A question to cleanup is asked again
 * on a fresh channel, and has a deadline (ipc_timeout): what is late is
 * deferred, never failed.
 *
 * Trust: what qmgr and cleanup say is checked at the door, nonsense closes the
 * channel. Addresses come without control octets.
 */
#ifndef COMMON_AGENT_H
#define COMMON_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/envelope.h"
#include "common/ipc.h"
#include "common/outcome.h"
#include "common/settings.h"
#include "common/slots.h"

#define AGENT_BUCKETS 16384

/* A recipient in hand: part of the agent's own struct. */
struct agent_item {
	uint64_t qid;
	uint32_t index, attempt;
	bool done;               /* has its outcome; waits for RESULT_ACK */
	bool site;               /* as in RESULT */
	char *relay;             /* who said so, owned; NULL: the agent itself */
	struct outcome outcome;
	LIST_ENTRY(agent_item) bucket;
};
LIST_HEAD(agent_bucket, agent_item);

/* What the recipients of a DELIVER have in common. */
struct agent_mail {
	uint64_t qid, cookie, arrived_us, size;
	uint32_t flags;
	struct slice reverse_path;
};

/* The content of a message, asked for and here. */
struct agent_content {
	uint64_t qid, cookie;
	bool here;               /* in `text' or `fd' */
	struct strbuf text;
	int fd;                  /* -1: in text */
	uint64_t offset, size;
	/* private: */
	uint32_t tid;            /* 0: not asked for */
	uint64_t late_at;
	TAILQ_ENTRY(agent_content) fetching;
};
TAILQ_HEAD(agent_contents, agent_content);

struct agent_ops {
	/* A recipient that is not in hand yet; agent_add() it. */
	void (*deliver)(void *arg, const struct agent_mail *m,
	    const struct rcpt_item *r);
	/* That was the last of them. */
	void (*delivered)(void *arg, const struct agent_mail *m);
	/* RESULT_ACK: agent_remove() and free it. */
	void (*acked)(void *arg, struct agent_item *it);
	/* The content is here, or will not come (deferred, `o' tells). */
	void (*here)(void *arg, struct agent_content *c);
	void (*failed)(void *arg, struct agent_content *c,
	    const struct outcome *o);
	/* RECALL: agent_return() what has not been begun. NULL: never comes. */
	void (*recall)(void *arg);
	/* A channel is there again. */
	void (*up)(void *arg);
	/* A channel has been gone for ipc_timeout: only a restart brings a
	   fresh one (a peer that lives has disconnected us). */
	void (*lost)(void *arg, const char *peer);
};

struct agent_link {
	const char *peer;
	struct ipc_chan *chan;   /* NULL: lost, or the owner keeps it */
	bool up;
	uint64_t lost_at;        /* while not up */
};

struct agent {
	struct event_base *base;
	const struct settings *settings;
	const struct agent_ops *ops;
	void *arg;
	enum ipc_role me;
	struct agent_link qmgr, cleanup;
	struct ipc_chan_ops qmgr_ops, cleanup_ops;
	struct agent_bucket items[AGENT_BUCKETS];
	size_t nitems;
	struct slots ids;               /* tid: content */
	struct agent_contents fetching; /* by deadline */
	bool stopping;                  /* new deliveries are not taken */
};

uint64_t agent_now_ms(void); /* CLOCK_MONOTONIC */

/* Borrows all; `settings' may change between two events (reload). */
void agent_init(struct agent *a, struct event_base *base,
    const struct settings *settings, enum ipc_role me);
void agent_set_ops(struct agent *a, const struct agent_ops *ops, void *arg);
/* Closes the channels; items and contents are the owner's. */
void agent_clear(struct agent *a);
/* Fresh channels (taken); each replaces the old one. */
void agent_qmgr(struct agent *a, int fd);
void agent_cleanup(struct agent *a, int fd);
/* Four times a second: deadlines of questions, lost channels. */
void agent_sweep(struct agent *a, uint64_t now_ms);

void agent_link_init(struct agent_link *l, const char *peer);
void agent_link_up(struct agent *a, struct agent_link *l);
void agent_link_down(struct agent_link *l, const char *why);
void agent_link_check(struct agent *a, const struct agent_link *l,
    uint64_t now_ms);

/* -- recipients -------------------------------------------------------------- */

struct agent_item *agent_find(struct agent *a, uint64_t qid, uint32_t index,
    uint32_t attempt);
/* With its key set; zero otherwise. */
void agent_add(struct agent *a, struct agent_item *it);
/* Out of the table; frees its relay. */
void agent_remove(struct agent *a, struct agent_item *it);
/* It has its outcome: keep it, tell qmgr. */
void agent_done(struct agent *a, struct agent_item *it,
    const struct outcome *o);
/* It was not begun: tell qmgr; the caller forgets it. */
void agent_return(struct agent *a, const struct agent_item *it);
/* Any item, or NULL: for who frees all. */
struct agent_item *agent_any(struct agent *a);

/* -- content (agent_fetch.c) ------------------------------------------------- */

void agent_content_init(struct agent_content *c, uint64_t qid,
    uint64_t cookie);
/* Ask, unless it is here or asked for. */
void agent_content_want(struct agent *a, struct agent_content *c);
/* Let go of what is here; an answer on its way still counts. */
void agent_content_release(struct agent_content *c);
/* Release, and forget the question. */
void agent_content_clear(struct agent *a, struct agent_content *c);

/* Between agent.c and agent_fetch.c: */
bool agent_fetch_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m);
void agent_fetch_again(struct agent *a);
void agent_fetch_sweep(struct agent *a, uint64_t now_ms);

#endif
