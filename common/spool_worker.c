/*
 * The spool's threads. Each takes all that it was given at once; the committer
 * makes one batch of it. What is finished goes to one list, and an eventfd
 * tells the loop when that list stops being empty.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/spool_int.h"

#define TOGETHER    16   /* finished jobs that go home ... */
#define TOGETHER_US 1000 /* ... or after so long */

void
spool_jobs_init(struct spool_jobs *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

void
spool_jobs_add(struct spool_jobs *l, struct spool_job *job)
{
	job->next = NULL;
	*l->tail = job;
	l->tail = &job->next;
}

struct spool_job *
spool_jobs_shift(struct spool_jobs *l)
{
	struct spool_job *job = l->head;

	if (job != NULL) {
		l->head = job->next;
		if (l->head == NULL) {
			l->tail = &l->head;
		}
	}
	return job;
}

/* All of `from' to the end of `to'. */
static void
jobs_move(struct spool_jobs *to, struct spool_jobs *from)
{
	if (from->head != NULL) {
		*to->tail = from->head;
		to->tail = from->tail;
		spool_jobs_init(from);
	}
}

/* -- on the threads ------------------------------------------------------------ */

/* Finished jobs go home. */
static void
hand_back(struct spool *sp, struct spool_jobs *l)
{
	static const uint64_t one = 1;
	bool first;

	(void)pthread_mutex_lock(&sp->done_lock);
	first = sp->done.head == NULL;
	jobs_move(&sp->done, l);
	(void)pthread_mutex_unlock(&sp->done_lock);
	if (first && write(sp->done_fd, &one, sizeof(one)) == -1) {
		log_panic("spool: eventfd: errno %d", errno);
	}
}

/* At most `max' of what is waiting; false: stop. */
static bool
take(struct spool_worker *w, size_t max, struct spool_jobs *out)
{
	size_t n;

	spool_jobs_init(out);
	(void)pthread_mutex_lock(&w->lock);
	while (w->todo.head == NULL && !w->stop) {
		w->idle = true;
		(void)pthread_cond_wait(&w->wake, &w->lock);
	}
	w->idle = false;
	for (n = 0; n < max && w->todo.head != NULL; n++) {
		spool_jobs_add(out, spool_jobs_shift(&w->todo));
	}
	(void)pthread_mutex_unlock(&w->lock);
	return out->head != NULL;
}

static uint64_t
now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* One after the other. Where many wait, some go home together: waking the loop
   costs more than a read from the cache. */
static void
run_each(struct spool_worker *w, struct spool_jobs *l)
{
	uint64_t began_us = 0;
	struct spool_jobs done;
	struct spool_job *job;
	unsigned n = 0;

	spool_jobs_init(&done);
	while ((job = spool_jobs_shift(l)) != NULL) {
		if (n++ == 0) {
			began_us = now_us();
		}
		job->run(w->sp, job);
		spool_jobs_add(&done, job);
		if (l->head == NULL || n == TOGETHER ||
		    now_us() - began_us > TOGETHER_US) {
			hand_back(w->sp, &done);
			spool_jobs_init(&done);
			n = 0;
		}
	}
}

static void *
worker_main(void *arg)
{
	struct spool_worker *w = arg;
	struct spool_jobs l;

	while (take(w, SPOOL_BATCH_MAX, &l)) {
		if (w->kind == SPOOL_COMMITTER) {
			spool_commit_batch(w->sp, l.head);
			hand_back(w->sp, &l);
		} else {
			run_each(w, &l);
		}
	}
	return NULL;
}

/* -- on the loop --------------------------------------------------------------- */

/* Threads take no signals: the loop's handlers run on the loop's thread. */
static void
start_thread(struct spool_worker *w)
{
	sigset_t all, old;
	int error;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&w->thread, NULL, worker_main, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error != 0) {
		log_panic("spool: cannot start a thread: errno %d", error);
	}
	w->started = true;
}

static void
flush_worker(struct spool_worker *w)
{
	bool idle;

	if (w->outbox.head == NULL) {
		return;
	}
	if (!w->started) {
		start_thread(w);
	}
	(void)pthread_mutex_lock(&w->lock);
	jobs_move(&w->todo, &w->outbox);
	idle = w->idle;
	w->idle = false;
	(void)pthread_mutex_unlock(&w->lock);
	if (idle) {
		(void)pthread_cond_signal(&w->wake);
	}
}

void
spool_workers_flush(struct spool *sp)
{
	size_t i;

	for (i = 0; i < SPOOL_THREADS; i++) {
		flush_worker(&sp->workers[i]);
	}
}

struct spool_jobs
spool_workers_done(struct spool *sp)
{
	struct spool_jobs l;
	uint64_t n;

	spool_jobs_init(&l);
	if (read(sp->done_fd, &n, sizeof(n)) == -1 && errno != EAGAIN &&
	    errno != EINTR) {
		log_panic("spool: eventfd: errno %d", errno);
	}
	(void)pthread_mutex_lock(&sp->done_lock);
	jobs_move(&l, &sp->done);
	(void)pthread_mutex_unlock(&sp->done_lock);
	if (l.head == NULL) {
		l.tail = NULL; /* not to be added to: the caller has a copy */
	}
	return l;
}

void
spool_wake(struct spool *sp)
{
	if (!sp->in_turn) {
		event_active(sp->event, EV_TIMEOUT, 0);
	}
}

void
spool_submit(struct spool *sp, enum spool_thread t, struct spool_job *job)
{
	spool_jobs_add(&sp->workers[t].outbox, job);
	spool_wake(sp);
}

void
spool_later(struct spool *sp, struct spool_job *job)
{
	spool_jobs_add(&sp->later, job);
	spool_wake(sp);
}

int
spool_workers_open(struct spool *sp)
{
	size_t i;

	spool_jobs_init(&sp->done);
	spool_jobs_init(&sp->later);
	(void)pthread_mutex_init(&sp->done_lock, NULL);
	for (i = 0; i < SPOOL_THREADS; i++) {
		struct spool_worker *w = &sp->workers[i];

		w->sp = sp;
		w->kind = (enum spool_thread)i;
		spool_jobs_init(&w->todo);
		spool_jobs_init(&w->outbox);
		(void)pthread_mutex_init(&w->lock, NULL);
		(void)pthread_cond_init(&w->wake, NULL);
	}
	sp->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return sp->done_fd == -1 ? -1 : 0;
}

void
spool_workers_close(struct spool *sp)
{
	size_t i;

	for (i = 0; i < SPOOL_THREADS; i++) {
		struct spool_worker *w = &sp->workers[i];

		if (w->started) {
			(void)pthread_mutex_lock(&w->lock);
			w->stop = true;
			(void)pthread_mutex_unlock(&w->lock);
			(void)pthread_cond_signal(&w->wake);
			(void)pthread_join(w->thread, NULL);
		}
		(void)pthread_mutex_destroy(&w->lock);
		(void)pthread_cond_destroy(&w->wake);
	}
	(void)pthread_mutex_destroy(&sp->done_lock);
	(void)close(sp->done_fd);
}
