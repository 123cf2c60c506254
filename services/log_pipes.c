#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "services/log_pipes.h"

#define PIPES_MAX  512
#define READ_SIZE  16384 /* octets of one pipe before the others get a turn */
#define RETRY_MS   50
#define REST_MS    20    /* from one look at the pipes to the next */

struct log_pipe {
	struct log_pipe *next;
	struct log_pipes *all;
	char program[32];
	unsigned pid;
	int fd;
	struct event *readable;
	struct log_part part;
};

struct log_pipes {
	struct event_base *base;
	struct log_sink *sink;
	struct log_pipe *first;
	unsigned n;
	struct event *flush; /* at the end of the turn, or a moment later */
	struct event *rest;  /* its end */
	bool rests;          /* the pipes were read: not looked at until then */
	bool paused;         /* the sink is full: nothing is read */
	void (*done)(void *);
	void *done_arg;
	time_t second;       /* what `now' stands for */
	struct tm now;
};

/* These live longer than we do. */
static bool
outlives_us(const struct log_pipe *p)
{
	return strcmp(p->program, "master") == 0 ||
	    strcmp(p->program, "log") == 0;
}

static const struct tm *
local_time(struct log_pipes *ps)
{
	time_t t = time(NULL);

	if (t != ps->second || t == 0) {
		ps->second = t;
		if (localtime_r(&t, &ps->now) == NULL) {
			memset(&ps->now, 0, sizeof(ps->now));
		}
	}
	return &ps->now;
}

static void
forget(struct log_pipe *p)
{
	struct log_pipe **at = &p->all->first;

	while (*at != p) {
		at = &(*at)->next;
	}
	*at = p->next;
	p->all->n--;
	event_free(p->readable);
	(void)close(p->fd);
	free(p);
}

static void
check_done(struct log_pipes *ps)
{
	const struct log_pipe *p;

	if (ps->done == NULL || ps->sink->out.n > 0) {
		return;
	}
	for (p = ps->first; p != NULL; p = p->next) {
		if (!outlives_us(p)) {
			return;
		}
	}
	ps->done(ps->done_arg);
}

/* Wait for lines, or do not. */
static void
watch(struct log_pipes *ps, bool on)
{
	struct log_pipe *p;

	for (p = ps->first; p != NULL; p = p->next) {
		if (on) {
			(void)event_add(p->readable, NULL);
		} else {
			(void)event_del(p->readable);
		}
	}
}

static void
pause_all(struct log_pipes *ps, bool pause)
{
	if (ps->paused != pause) {
		ps->paused = pause;
		if (!ps->rests) {
			watch(ps, !pause);
		}
	}
}

static void
on_flush(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval later = { 0, RETRY_MS * 1000 };
	struct log_pipes *ps = arg;

	(void)fd;
	(void)what;
	if (!log_sink_flush(ps->sink)) {
		(void)event_add(ps->flush, &later);
	}
	pause_all(ps, log_sink_full(ps->sink));
	check_done(ps);
}

/* Frees `p' when its pipe has ended. Returns what read() did. */
static ssize_t
read_some(struct log_pipe *p)
{
	struct log_pipes *ps = p->all;
	char buf[READ_SIZE];
	struct log_line line;
	struct slice in;
	ssize_t r = read(p->fd, buf, sizeof(buf));

	if (r > 0) {
		in = slice_make(buf, (size_t)r);
		while (log_text_next(&p->part, &in, &line)) {
			log_sink_add(ps->sink, local_time(ps), p->program,
			    p->pid, &line);
		}
	} else if (r == 0 || (errno != EAGAIN && errno != EINTR)) {
		if (log_text_last(&p->part, &line)) {
			log_sink_add(ps->sink, local_time(ps), p->program,
			    p->pid, &line);
		}
		forget(p);
	}
	return r;
}

/*
 * Read a share of each pipe. LOOK_MORE: one of them has more than that. May free
 * pipes that have ended.
 */
enum look { LOOK_NOTHING, LOOK_LINES, LOOK_MORE };

static enum look
read_all(struct log_pipes *ps)
{
	enum look seen = LOOK_NOTHING;
	struct log_pipe *p, *next;
	ssize_t r;

	for (p = ps->first; p != NULL && !log_sink_full(ps->sink); p = next) {
		next = p->next;
		r = read_some(p);
		if (r == READ_SIZE) {
			seen = LOOK_MORE;
		} else if (r >= 0 && seen == LOOK_NOTHING) {
			seen = LOOK_LINES;
		}
	}
	return seen;
}

/*
 * Lines come in runs, of several programs, and each would wake us: after a look
 * at all pipes nobody waits for them for a moment, then they are looked at
 * again, until there is nothing.
 */
static void
look(struct log_pipes *ps)
{
	const struct timeval moment = { 0, REST_MS * 1000 }, now = { 0, 0 };
	enum look seen = ps->paused ? LOOK_NOTHING : read_all(ps);
	bool rests = seen != LOOK_NOTHING;

	if (rests) {
		(void)event_add(ps->rest, seen == LOOK_MORE ? &now : &moment);
		event_active(ps->flush, 0, 0);
	}
	if (rests != ps->rests) {
		ps->rests = rests;
		if (!ps->paused) {
			watch(ps, !rests);
		}
	}
}

static void
on_rested(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look(arg);
}

/* May free the pipe. */
static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct log_pipe *p = arg;

	(void)fd;
	(void)what;
	look(p->all);
}

struct log_pipes *
log_pipes_new(struct event_base *base, struct log_sink *sink)
{
	struct log_pipes *ps = xcalloc(1, sizeof(*ps));

	ps->base = base;
	ps->sink = sink;
	ps->paused = log_sink_full(sink);
	ps->flush = event_new(base, -1, 0, on_flush, ps);
	ps->rest = evtimer_new(base, on_rested, ps);
	if (ps->flush == NULL || ps->rest == NULL) {
		log_panic("no event for the sink");
	}
	return ps;
}

bool
log_pipes_add(struct log_pipes *ps, struct slice program, unsigned pid, int fd)
{
	struct log_pipe *p;

	if (ps->n == PIPES_MAX || program.n >= sizeof(p->program)) {
		(void)close(fd);
		return false;
	}
	(void)evutil_make_socket_nonblocking(fd);
	p = xcalloc(1, sizeof(*p));
	p->all = ps;
	memcpy(p->program, program.p, program.n);
	p->pid = pid;
	p->fd = fd;
	p->readable = event_new(ps->base, fd, EV_READ | EV_PERSIST,
	    on_readable, p);
	if (p->readable == NULL) {
		log_panic("no event for a pipe");
	}
	p->next = ps->first;
	ps->first = p;
	ps->n++;
	if (!ps->paused && !ps->rests) {
		(void)event_add(p->readable, NULL);
	}
	return true;
}

void
log_pipes_resume(struct log_pipes *ps)
{
	event_active(ps->flush, 0, 0);
}

void
log_pipes_finish(struct log_pipes *ps, void (*done)(void *), void *arg)
{
	ps->done = done;
	ps->done_arg = arg;
	event_active(ps->flush, 0, 0);
}

void
log_pipes_drain(struct log_pipes *ps)
{
	struct log_pipe *p, *next;
	bool more = true;

	while (more && !log_sink_full(ps->sink)) {
		more = false;
		for (p = ps->first; p != NULL; p = next) {
			next = p->next;
			more |= read_some(p) > 0;
		}
		(void)log_sink_flush(ps->sink);
	}
}

void
log_pipes_free(struct log_pipes *ps)
{
	while (ps->first != NULL) {
		forget(ps->first);
	}
	event_free(ps->flush);
	event_free(ps->rest);
	free(ps);
}
