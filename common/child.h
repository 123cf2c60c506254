/*
 * child - the life of a program that master starts.
 *
 * A program's main() is three steps:
 *     child_begin()    descriptors and settings arrive on descriptor 3 (blocking)
 *     sandbox_enter()  rights go away for good (common/sandbox.h)
 *     child_run()      says READY, serves until it is told to stop
 * Between the first two the program may open what it needs; after the second
 * it has what it has.
 */
#ifndef COMMON_CHILD_H
#define COMMON_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ipc.h"
#include "common/settings.h"

#define CHILD_LISTENERS_MAX   80
#define CHILD_DIRECTORIES_MAX 8
#define CHILD_CHANNELS_MAX    80
#define CHILD_MASTER_FD       3

struct child;

struct child_listener {
	char kind[16];   /* "smtp", "submit", "control", "mailq" */
	char name[128];  /* "127.0.0.1:25", or the socket's path */
	int fd;
};

struct child_ops {
	/* A fresh channel to a peer; takes `fd'. Also called from child_run()
	   for the channels that came before START, in order. */
	void (*channel)(struct child *c, enum ipc_role peer, unsigned index,
	    int fd);
	/* May be NULL: c->settings is new (reload). */
	void (*reloaded)(struct child *c);
	/* Finish what is in hand within deadline_ms, then call child_exit().
	   NULL: exit at once. */
	void (*stop)(struct child *c, uint64_t deadline_ms);
	/* May be NULL: a message that only this program gets from master. False
	   when it makes no sense. */
	bool (*message)(struct child *c, struct ipc_msg *m);
};

struct child {
	enum ipc_role role;
	unsigned index; /* of several of one kind */
	struct settings settings;
	struct child_listener listeners[CHILD_LISTENERS_MAX];
	unsigned nlisteners;
	struct {
		char name[32];
		int fd;
	} directories[CHILD_DIRECTORIES_MAX];
	unsigned ndirectories;
	unsigned char key[16]; /* delivery cookies; zeros when not given */
	struct event_base *base; /* from child_run() on... */
	void *arg;               /* the program's own */
	/* private: */
	const struct child_ops *ops;
	struct ipc_chan *master;
	struct ipc_sync sync; /* what came with or behind START */
	struct settings fresh; /* a reload on its way in */
	struct {
		enum ipc_role peer;
		unsigned index;
		int fd;
	} early[CHILD_CHANNELS_MAX];
	unsigned nearly;
	struct event *log_event, *log_retry;
	char walls[256];
	unsigned given[IPC_ANY_PROGRAM]; /* channels that came, by peer */
};

/*
 * Prepare descriptor 2 as the log, ignore SIGPIPE, read from master until
 * START. Exits (EX_CONFIG, EX_PROTOCOL) when that fails. c->base is made here,
 * so that a program may register its events before sandbox_enter() as long as
 * it starts no thread.
 */
void child_begin(struct child *c, enum ipc_role role, int argc, char **argv);
/* The descriptor of a directory ("queue", "maps", ...), or -1. */
int child_directory(const struct child *c, const char *name);
/* In words for `veredus status': what sandbox_enter() achieved. */
void child_set_walls(struct child *c, const char *walls);
/* Serve: says READY, hands the early channels to ops->channel, loops. */
void child_run(struct child *c, const struct child_ops *ops);
/* Leave the loop after this turn, flush the log, exit(0) from child_run(). */
void child_exit(struct child *c);

#endif
