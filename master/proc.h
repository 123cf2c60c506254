/*
 * proc - a place for a program's process, and the process in it.
 *
 * proc_new() makes the place, proc_start() puts a process in it; what becomes
 * of one that died is life's decision (life.h).
 */
#ifndef MASTER_PROC_H
#define MASTER_PROC_H

#include "master/logs.h"
#include "master/master.h"
#include "master/program.h"

#define PROC_READY_MS   30000 /* from the start to READY */
#define PROC_INDEX_MAX  72    /* instances of a program, ending ones included */
#define PROC_LINGER_MS  1000  /* from the end of its channel to its own */

enum proc_state {
	PROC_DOWN,     /* no process; the timer starts one */
	PROC_STARTING, /* everything was sent; READY is awaited */
	PROC_UP,       /* READY came */
	PROC_STOPPING, /* was told to stop; the timer kills it */
};

struct proc {
	struct proc *next;
	struct master *m;
	const struct program *prog;
	unsigned index;
	enum proc_state state;
	pid_t pid;             /* 0: none */
	struct ipc_chan *ch;   /* NULL: none */
	struct logpipe *log;   /* its descriptor 2; NULL: none */
	struct event *timer;
	uint64_t started_ms, heard_ms;
	unsigned restarts, failures;
	bool was_up;           /* this place had a READY process once */
	bool again;            /* STOPPING: to be started again at once */
	bool silent;           /* the watchdog has killed this process */
	bool retire;           /* its successor takes over; never started again */
	char *walls;           /* as READY told; NULL: nothing yet */
	char *words;           /* the last of one that never was ready; NULL */
	unsigned handed[IPC_ANY_PROGRAM]; /* channels to each, to this process */
	uint32_t lost;         /* bits of roles: life_renew() */
};

/* The first of a program, or NULL; proc_next_of() goes on. */
struct proc *proc_first_of(struct master *m, enum ipc_role role);
struct proc *proc_next_of(struct proc *p);
struct proc *proc_by_pid(struct master *m, pid_t pid);

/* NULL: all indexes are taken. */
struct proc *proc_new(struct master *m, const struct program *prog);
/* Forget the place; there is no process in it. */
void proc_free(struct proc *p);
/* Fork and exec, hand down what it gets. A failure counts as its death. */
void proc_start(struct proc *p);
/* Start it after `ms'. */
void proc_start_later(struct proc *p, uint64_t ms);
/* Ask it to end within `ms', else kill it. */
void proc_stop(struct proc *p, uint64_t ms, bool again);
/* waitpid() said so: everything of the process is released; the state is DOWN.
   `last' gets what it said last, if it never was READY. */
void proc_ended(struct proc *p, struct strbuf *last);
/* Watchdog: ask all who are up; kill who is silent. `grace': master itself was
   asleep, so nobody is to blame. */
void proc_ping_all(struct master *m, bool grace);
/* "smtpd[123]" */
void proc_name(const struct proc *p, struct strbuf *out);
const char *proc_state_name(enum proc_state s);

#endif
