/*
 * dispatch_int - the inside of the dispatcher, shared by its files:
 *   dispatch.c  the object, handing out work
 *   jobs.c      the deliveries and their results
 *   crew.c      users and their workers
 *   forker_link.c  the forker's socket
 *   parcel.c    what the jobs of one DELIVER share, and its content
 * Results, qmgr's and cleanup's channels: common/agent.h.
 *
 * A delivery (struct job) is in one of these states, changed in jobs.c only:
 *   QUEUED   in its user's queue; holds nothing
 *   CLAIMED  has a place in its worker's window and in the budget; its content
 *            is being fetched, or its worker is starting
 *   SENT     in the worker's hands; has a transaction id
 *   DONE     has its outcome; waits for RESULT_ACK
 * It goes back to QUEUED, once, when its worker dies.
 * A QUEUED, CLAIMED or SENT job belongs to a parcel (one DELIVER) and a user.
 */
#ifndef LOCAL_DISPATCH_INT_H
#define LOCAL_DISPATCH_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "common/agent.h"
#include "local/dispatch.h"
#include "local/record.h"

#define USER_BUCKETS 4096

struct job;
struct user;
struct crewman;
struct parcel;

TAILQ_HEAD(job_list, job);
TAILQ_HEAD(user_list, user);
LIST_HEAD(user_bucket, user);
TAILQ_HEAD(crew_list, crewman);

/* One DELIVER: what its recipients have in common. Lives while one of its jobs
   is not DONE. */
struct parcel {
	struct agent_content content; /* first: it is found by this */
	uint64_t arrived_us, size;
	uint32_t flags;
	char *reverse_path;
	struct job_list jobs;        /* not DONE */
	unsigned claimed;            /* of them */
};

enum job_state { JOB_QUEUED, JOB_CLAIMED, JOB_SENT, JOB_DONE };

struct job {
	struct agent_item item;      /* first: it is found by this */
	enum job_state state;
	bool again;                  /* an earlier attempt may have delivered */
	bool orphaned;               /* a worker has died with it */
	char *address, *original, *extension;
	struct parcel *parcel;       /* NULL when DONE, as the next two */
	struct user *user;
	struct crewman *worker;      /* CLAIMED and SENT */
	uint32_t tid;                /* SENT */
	TAILQ_ENTRY(job) in_parcel;
	TAILQ_ENTRY(job) in_user;    /* QUEUED: the queue; else: the worker's */
};

/* A user with deliveries or a worker. */
struct user {
	char name[RECORD_NAME_MAX + 1];
	struct job_list queue;
	struct crewman *worker;      /* or NULL */
	bool waits;                  /* in d->waiting, for a worker */
	TAILQ_ENTRY(user) waiting;
	LIST_ENTRY(user) bucket;
};

/* A worker, from the request to the forker on. */
struct crewman {
	struct dispatch *d;
	struct user *user;
	uint32_t serial;             /* d->crew_ids */
	struct ipc_chan *chan;       /* NULL: starting */
	struct job_list jobs;        /* CLAIMED and SENT */
	unsigned njobs, nfiles, nsent;
	unsigned served;             /* CLAIMED ever */
	bool retired;                /* gets no more: of older settings */
	uint64_t late_at;            /* starting, or silent with jobs SENT */
	uint64_t idle_since;         /* njobs is 0 */
	TAILQ_ENTRY(crewman) crew;   /* idle ones move to the end */
};

struct dispatch {
	struct event_base *base;
	const struct settings *settings;
	uint64_t started_us;         /* CLOCK_REALTIME */
	struct agent agent;
	struct parcel *fresh;        /* of the DELIVER that is being read */
	struct agent_link forker;
	struct event *pump, *sweep, *stop_timer;

	struct slots sent;           /* tid: job */

	struct user_bucket users[USER_BUCKETS];
	struct user_list waiting;    /* for a worker, in order */
	struct crew_list crew;
	size_t ncrew, nsent;
	struct slots crew_ids;       /* serial: crewman */
	int forker_fd;               /* -1: lost */
	struct event *forker_in, *forker_out;
	struct strbuf records;       /* for the forker, whole records */

	uint64_t budget;             /* octets CLAIMED or SENT */
	unsigned files;              /* jobs CLAIMED or SENT with a descriptor */

	uint64_t retire_at;          /* all workers of now; 0: not */
	bool stopping, done_called;
	void (*done)(void *);
	void *done_arg;
	void (*lost)(void *, const char *);
	void *lost_arg;
};

/* Hand out work at the end of this turn. */
void dispatch_arm(struct dispatch *d);

/* jobs.c */
/* A new job with nothing in it but its key; not in a parcel yet. */
struct job *jobs_add(struct dispatch *d, uint64_t qid, uint32_t index,
    uint32_t attempt);
void jobs_queue(struct dispatch *d, struct job *j, struct parcel *p,
    struct user *u);
/* False: there is no room for it now, in the worker or in all. */
bool jobs_claim(struct dispatch *d, struct job *j, struct crewman *w);
void jobs_sent(struct dispatch *d, struct job *j);
/* Its worker has died: to the head of its user's queue again. */
void jobs_orphan(struct dispatch *d, struct job *j);
/* DONE, from any state; tells qmgr. May free the job's parcel and user. */
void jobs_finish(struct dispatch *d, struct job *j, const struct outcome *o);
/* Acknowledged: forget it. */
void jobs_drop(struct dispatch *d, struct job *j);
void jobs_free_all(struct dispatch *d);

/* crew.c */
struct user *crew_user(struct dispatch *d, struct slice name);
/* Free it when it has neither deliveries nor a worker. */
void crew_user_release(struct dispatch *d, struct user *u);
/* The user has something to do and no worker: stand in line. */
void crew_wait(struct dispatch *d, struct user *u);
/* Start workers for those who wait, as many as there may be. */
void crew_start(struct dispatch *d);
/* Others wait, and this one has had its share; or it is retired. */
bool crew_is_sated(const struct dispatch *d, const struct crewman *w);
/* Give the worker, which is there, its jobs whose content is here. May finish
   one (no descriptor left), and so free its parcel. */
void crew_send(struct dispatch *d, struct crewman *w);
/* All jobs of the worker are deferred for `why'; it is gone after. */
void crew_fail(struct dispatch *d, struct crewman *w, const char *why);
/* All workers of now are of older settings. */
void crew_retire(struct dispatch *d);
void crew_sweep(struct dispatch *d, uint64_t now_ms);
void crew_free_all(struct dispatch *d);
/* The forker's answer for a.serial; `fd', -1 when none came, is taken when it
   returns true. False: it makes no sense. */
bool crew_answered(struct dispatch *d, const struct record_answer *a, int fd);
/* A fresh forker: ask for what the old one did not answer. */
void crew_ask_again(struct dispatch *d);

/* forker_link.c */
void crew_tell_forker(struct dispatch *d, enum record_kind kind,
    uint32_t serial, const char *name);
void crew_forker_close(struct dispatch *d);

/* parcel.c */
struct parcel *parcel_new(const struct agent_mail *m);
/* Its last job has gone. */
void parcel_free(struct dispatch *d, struct parcel *p);
/* Nobody is waiting for the content any more: let go of it. */
void parcel_release(struct parcel *p);
/* The content is here: it is passed on at the end of the turn. */
void parcel_here(void *arg, struct agent_content *c);
/* Without its content nothing of the parcel can be delivered. */
void parcel_failed(void *arg, struct agent_content *c,
    const struct outcome *o);

#endif
