/*
 * Segments: made of zeros under a name with a dot, renamed, given up. At run
 * time that is the keeper's work, so that no batch waits for it.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/journal_int.h"
#include "common/log.h"
#include "common/xmalloc.h"

#define PIECE   (1024u * 1024)
#define PAUSE_S 1 /* before what has failed for want of space is tried again */

void
journal_segment_free(struct journal_segment *s)
{
	if (s->fd != -1) {
		(void)close(s->fd);
	}
	free(s);
}

/* Real zeros: later writes into them change no metadata. */
static int
fill(int fd, uint32_t size)
{
	char *zeros = xcalloc(1, PIECE);
	uint32_t at, n;
	int ret = 0;

	for (at = 0; ret == 0 && at < size; at += n) {
		n = size - at < PIECE ? size - at : PIECE;
		ret = io_pwrite("journal.make.write", fd, zeros, n, at);
	}
	free(zeros);
	return ret;
}

/* Known to nobody who sends mail. */
static uint64_t
draw_salt(void)
{
	uint64_t salt;

	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt)) {
		log_panic("journal: no random octets: errno %d", errno);
	}
	return salt;
}

int
journal_segment_unlink(struct journal *j, const struct journal_segment *s)
{
	char name[JOURNAL_NAME_MAX];

	journal_segment_name(s, name);
	return io_unlinkat("journal.unlink", j->dir, name, 0);
}

struct journal_segment *
journal_segment_make(struct journal *j, uint64_t number)
{
	struct journal_segment *s = xcalloc(1, sizeof(*s));
	char name[JOURNAL_NAME_MAX];
	int saved;

	s->number = number;
	s->salt = draw_salt();
	s->dot = true;
	s->size = j->segment_size;
	journal_segment_name(s, name);
	s->fd = io_openat("journal.make.open", j->dir, name, O_RDWR | O_CREAT |
	    O_EXCL | O_NOFOLLOW, 0600);
	if (s->fd != -1 && fill(s->fd, s->size) == 0 &&
	    io_fsync("journal.make.sync", s->fd) == 0) {
		return s;
	}
	saved = errno;
	if (s->fd != -1) {
		(void)journal_segment_unlink(j, s);
	}
	journal_segment_free(s);
	errno = saved;
	return NULL;
}

/* Of *s only the name is changed: its links in a list are the lock's, and the
   keeper comes here without it. */
int
journal_segment_rename(struct journal *j, struct journal_segment *s,
    uint64_t number, bool dot)
{
	const struct journal_segment after = { .number = number, .dot = dot,
		.salt = number != s->number ? draw_salt() : s->salt };
	char from[JOURNAL_NAME_MAX], to[JOURNAL_NAME_MAX];

	journal_segment_name(s, from);
	journal_segment_name(&after, to);
	if (io_renameat("journal.rename", j->dir, from, j->dir, to) == -1) {
		return -1;
	}
	s->number = after.number;
	s->salt = after.salt;
	s->dot = after.dot;
	return 0;
}

int
journal_segment_set_aside(struct journal *j, const struct journal_segment *s)
{
	char name[JOURNAL_NAME_MAX], aside[JOURNAL_NAME_MAX + 4];
	size_t n;

	journal_segment_name(s, name);
	n = strlen(name);
	memcpy(aside, name, n);
	memcpy(aside + n, ".bad", 5);
	return io_renameat("journal.aside", j->dir, name, j->dir, aside);
}

/* -- the keeper ------------------------------------------------------------------- */

enum step {
	STEP_NOTHING,
	STEP_DONE,
	STEP_AGAIN,  /* in a while */
	STEP_FATAL,  /* a flush failed: what it was for may never be durable */
};

/* Away with its name, flushed, before anything else is done with it. *keep:
   it is to be used again, named `number'. */
static enum step
recycle(struct journal *j, struct journal_segment *s, uint64_t number,
    bool *keep)
{
	int ret;

	*keep = *keep && !s->bad && s->size == j->segment_size;
	if (*keep) {
		ret = journal_segment_rename(j, s, number, false);
	} else if (s->bad) {
		ret = journal_segment_set_aside(j, s);
	} else {
		ret = journal_segment_unlink(j, s);
	}
	if (ret == -1) {
		return STEP_AGAIN;
	}
	return io_fsync("journal.retire.sync", j->dir) == -1 ? STEP_FATAL :
	    STEP_DONE;
}

static enum step
make_one(struct journal *j, uint64_t number, struct journal_segment **out)
{
	struct journal_segment *s = journal_segment_make(j, number);
	int saved;

	if (s == NULL) {
		return STEP_AGAIN;
	}
	if (journal_segment_rename(j, s, number, false) == -1 ||
	    io_fsync("journal.make.dirsync", j->dir) == -1) {
		saved = errno;
		journal_segment_free(s);
		errno = saved;
		return STEP_FATAL;
	}
	*out = s;
	return STEP_DONE;
}

static void
add_ready(struct journal *j, struct journal_segment *s)
{
	s->old = false;
	TAILQ_INSERT_TAIL(&j->ready, s, next);
	j->ready_octets += s->size;
	(void)pthread_cond_signal(&j->flush_wake);
}

static void
pause_or_wake(struct journal *j)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* as its condattr says */
	ts.tv_sec += PAUSE_S;
	(void)pthread_cond_timedwait(&j->keep_wake, &j->lock, &ts);
}

/* One step; `lock' is held at its begin and end. */
static enum step
keeper_step(struct journal *j)
{
	struct journal_segment *s = TAILQ_FIRST(&j->spent), *fresh = NULL;
	uint64_t number = j->next_number;
	bool keep = j->nsegments <= j->segments;
	enum step ret;

	if (s == NULL && j->nsegments >= j->segments &&
	    (!j->starving || !TAILQ_EMPTY(&j->ready))) {
		return STEP_NOTHING;
	}
	j->next_number++;
	(void)pthread_mutex_unlock(&j->lock);
	ret = s == NULL ? make_one(j, number, &fresh) :
	    recycle(j, s, number, &keep);
	(void)pthread_mutex_lock(&j->lock);
	if (ret != STEP_DONE) {
		return ret;
	}
	if (s == NULL) {
		j->nsegments++;
		add_ready(j, fresh);
	} else {
		TAILQ_REMOVE(&j->spent, s, next);
		if (keep) {
			add_ready(j, s);
		} else {
			j->nsegments--;
			journal_segment_free(s);
		}
	}
	j->changed = true;
	return ret;
}

/* The log is the loop's: it is told, and writes it down. */
static void
keeper_failed(struct journal *j, enum step how, bool *told)
{
	const int error = errno;

	if (how == STEP_FATAL && j->error == 0) {
		j->error = error;
		(void)pthread_cond_signal(&j->flush_wake);
	}
	if (!*told) {
		j->trouble = error; /* the log is the loop's */
		*told = true;
	}
	journal_tell_loop(j);
	if (how == STEP_AGAIN) {
		pause_or_wake(j);
	}
}

void *
journal_keeper_main(void *arg)
{
	struct journal *j = arg;
	bool told = false;
	enum step ret;

	(void)pthread_mutex_lock(&j->lock);
	while (!j->stop && j->error == 0) {
		ret = keeper_step(j);
		if (ret == STEP_DONE) {
			told = false;
			journal_tell_loop(j);
		} else if (ret == STEP_NOTHING) {
			(void)pthread_cond_wait(&j->keep_wake, &j->lock);
		} else {
			keeper_failed(j, ret, &told);
		}
	}
	(void)pthread_mutex_unlock(&j->lock);
	return NULL;
}
