/* queue_service's parts, for each other only. */
#ifndef CLEANUP_QUEUE_INT_H
#define CLEANUP_QUEUE_INT_H

#include <event2/event.h>

#include "cleanup/backlog.h"
#include "cleanup/entry.h"
#include "cleanup/notice_job.h"
#include "cleanup/queue_service.h"
#include "cleanup/requeue.h"
#include "common/ipc.h"

struct queue_service {
	struct program *pg;
	struct ipc_chan *ch;    /* NULL: none just now */
	uint32_t epoch;         /* counts channels: older questions are void */
	struct backlog backlog; /* not handed out on this channel yet */
	uint64_t scanned; /* how far the scan is, as qmgr was told */
	struct event *turn;     /* goes on with TAKE */
	uint64_t *later;        /* could not be read; see on_retry() */
	size_t nlater;
	struct event *retry;
	bool taking;            /* a TAKE is unanswered */
	bool in_turn;           /* take_on() is on the stack */
	uint32_t take_tid;
	unsigned take_max, taken, reading;
	unsigned asked;         /* other questions in hand */
	struct asked *asks;     /* all of them, to be forgotten at the end */
	struct strbuf page;     /* kept between entries */
};

/* A question whose answer comes later. */
struct asked {
	struct queue_service *s;
	uint32_t epoch, tid;
	uint64_t qid;
	uint32_t from;         /* NOTICE: the kind */
	struct entry_routes *routes;
	struct requeue *requeue;
	struct notice_job *notice;
	struct asked *prev, *next;
};

/* It is among s->asks until queue_asked_end(). */
struct asked *queue_asked_new(struct queue_service *s, const struct ipc_msg *m);
/* Frees it; the channel to answer on, or NULL when the asker has gone. */
struct ipc_chan *queue_asked_end(struct asked *a);

/* -- queue_take.c: the messages, one after the other, as qmgr wants them ------- */

/* False: the TAKE makes no sense. */
bool queue_take(struct queue_service *s, const struct ipc_msg *m);
/* Goes on with the TAKE in hand, at the end of this turn of the loop. */
void queue_take_later(struct queue_service *s);
/* spool_on_accepted's */
void queue_take_accepted(void *arg, uint64_t qid);
/* The events of s->turn and s->retry. */
void queue_take_turn(evutil_socket_t fd, short what, void *arg);
void queue_take_retry(evutil_socket_t fd, short what, void *arg);

#endif
