/*
 * forker - root, and tiny: reads a fixed record (record.h), forks, hands the
 * other end of a fresh socket pair back. What the record's name means is found
 * out in the child, which then drops root for good (become.h).
 *
 * When there are so many children that no more may be, workers that are asked for
 * wait in line, a bounded one, until children have ended; RECORD_KILL is obeyed
 * meanwhile, and takes a worker out of the line too.
 *
 * The forker reads nothing from workers or users. A dispatcher that sends
 * anything but a right record is disconnected.
 */
#ifndef LOCAL_FORKER_H
#define LOCAL_FORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/settings.h"

struct event_base;
struct forker;

struct forker_ops {
	/*
	 * In the child, with no descriptors but 0, 1, 2 and `sock': be the
	 * worker; the result is the exit code.
	 */
	int (*child)(const struct settings *settings, const char *name,
	    int sock);
	/* May be NULL: after forker_stop(), no child is left. */
	void (*stopped)(void *arg);
	void *arg;
};

/* Borrows all three. */
struct forker *forker_new(struct event_base *base,
    const struct settings *settings, const struct forker_ops *ops);
/* A fresh channel to the dispatcher (taken); replaces the old one. */
void forker_channel(struct forker *f, int fd);
/*
 * Take no more; the children end when the dispatcher closes their sockets, and
 * are killed when they have not within the deadline.
 */
void forker_stop(struct forker *f, uint64_t deadline_ms);
size_t forker_children(const struct forker *f);
/* Kills and reaps what is left. */
void forker_free(struct forker *f);

#endif
