/*
 * sched_world - a model of cleanup and of the two delivery agents around a
 * scheduler, on a clock that the test turns. Users below WORLD_LOCAL are local,
 * the others are sites, which remote may find down. It checks what sched.h promises at each
 * step; a broken promise fails the test.
 */
#ifndef TESTS_UNIT_SCHED_WORLD_H
#define TESTS_UNIT_SCHED_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "qmgr/sched.h"

#define WORLD_MSGS  400
#define WORLD_RCPTS 6
#define WORLD_USERS 5
#define WORLD_LOCAL 2

struct world_rcpt {
	uint32_t attempt;
	enum fate fate;        /* as recorded */
	uint64_t next_at;
	char esc[ESC_MAX], reply[64];
	unsigned user;
	unsigned delivered;    /* times */
	unsigned lost;         /* times that a delivery's record was lost */
	unsigned bounced, warned; /* notices that told of it */
};

struct world_msg {
	uint64_t qid, arrived_us;
	bool hold, gone, handed;
	bool forced;           /* released or flushed: next_at does not count */
	bool null_path, removed; /* removed: deleted or requeued */
	uint32_t flags;
	uint8_t crashes;       /* marks */
	bool notice_lost;      /* done, but the answer has not come */
	unsigned bounces, warnings;
	unsigned nrcpts, attempts;
	struct world_rcpt rcpts[WORLD_RCPTS];
	char reason[64];       /* of the hold */
};

struct world {
	struct sched *s;
	struct sched_config cfg;
	uint64_t random, mono_ms, real_us, last_qid;
	struct world_msg msgs[WORLD_MSGS];
	unsigned nmsgs;
	struct world_req *reqs, *answers; /* in order */
	struct world_job *jobs;           /* the agent's recipients */
	unsigned life, batch;
	bool agent_up[SCHED_AGENTS], take_waits;
	/* A site's health, as sched.h says it is to be judged. */
	struct world_site {
		bool down;
		unsigned fails;        /* in a row; SCHED_SITE_FAILURES: dead */
		uint64_t died_ms, failed_ms;
		unsigned died_batch, hurried;
	} sites[WORLD_USERS];
	unsigned hurried;                 /* flushes and releases so far */
	const char *transport;            /* of the sites */
	const char *esc, *reply;          /* of the deferred, if not the usual */
	const char *never;                /* why no notice can be made */
	unsigned page;                    /* recipients of a page; 0: all */
	unsigned bad;                     /* of 100 attempts fail for good */
	unsigned soft;                    /* ... are deferred */
	struct world_domain {             /* of each user: u.example */
		bool held;
		uint64_t until;           /* 0: for ever */
	} domains[WORLD_USERS];
	char kept[60000];                 /* by KEEP */
	size_t nkept;
	unsigned fates, marks, delivers, notices; /* seen */
};

void world_init(struct world *w, uint64_t seed);
void world_clear(struct world *w);
uint64_t world_random(struct world *w, uint64_t below);
/* A message arrives; `users' are the recipients' destinations. */
struct world_msg *world_arrive(struct world *w, unsigned n,
    const unsigned *users);
void world_advance(struct world *w, uint64_t ms);
/* Does all that the scheduler wants. */
void world_pump(struct world *w);
/* Cleanup works on one request, or its answer arrives; false: nothing to do. */
bool world_cleanup_step(struct world *w);
/* The n-th running recipient ends with this fate; at a site that is down,
   with that. */
void world_finish(struct world *w, unsigned n, enum fate fate);
/* An agent has a recipient of it. */
bool world_has(const struct world *w, const struct world_msg *m);
unsigned world_running(const struct world *w);
void world_agent_dies(struct world *w, enum sched_agent a, bool itself);
void world_agent_starts(struct world *w, enum sched_agent a);
/* The domain of such users is held, 0: until it is released. */
void world_hold_domain(struct world *w, unsigned user, uint64_t until);
void world_release_domain(struct world *w, unsigned user);
bool world_is_held(const struct world *w, unsigned user);
bool world_is_dead(const struct world *w, unsigned user);
void world_cleanup_dies(struct world *w);
void world_qmgr_dies(struct world *w);
/* All answers and deliveries (as `bad' and `soft' say), no time passes. */
void world_settle(struct world *w);
/* Time too, until nothing is left but what is on hold; false: it never ends. */
bool world_drain(struct world *w);
unsigned world_queued(const struct world *w);

#endif
