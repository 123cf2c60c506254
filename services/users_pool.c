#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "services/users_file.h"
#include "services/users_pool.h"

struct queue {
	struct users_job *first, **end;
};

struct users_pool {
	pthread_mutex_t lock; /* for all below */
	pthread_cond_t more;
	struct queue asked, answered;
	unsigned threads, idle, waiting;
	int notify_fd;
	users_lookup_fn *lookup;
};

struct users_job *
users_job_new(const char *source, int dirfd, struct slice name, void *lookup)
{
	struct users_job *j = xcalloc(1, sizeof(*j));

	j->source = xstrdup(source);
	j->name = xslicedup(name);
	j->dirfd = dirfd != -1 ? fcntl(dirfd, F_DUPFD_CLOEXEC, 0) : -1;
	j->lookup = lookup;
	strbuf_init(&j->why, 1000);
	strbuf_init(&j->report, 0);
	return j;
}

void
users_job_free(struct users_job *j)
{
	if (j != NULL) {
		if (j->dirfd != -1) {
			(void)close(j->dirfd);
		}
		free(j->source);
		free(j->name);
		account_clear(&j->account);
		strbuf_clear(&j->why);
		strbuf_clear(&j->report);
		free(j);
	}
}

static void
queue_add(struct queue *q, struct users_job *j)
{
	j->next = NULL;
	*q->end = j;
	q->end = &j->next;
}

static struct users_job *
queue_take(struct queue *q)
{
	struct users_job *j = q->first;

	if (j != NULL) {
		q->first = j->next;
		if (q->first == NULL) {
			q->end = &q->first;
		}
	}
	return j;
}

void
users_look_up(struct users_job *j, struct users_file *f)
{
	if (strncmp(j->source, "file:", 5) == 0) {
		j->result = users_file_lookup(f, j->dirfd, j->source + 5,
		    slice_of(j->name), &j->account, &j->why, &j->report);
	} else {
		j->result = account_lookup(j->source, slice_of(j->name),
		    &j->account, &j->why);
	}
}

static void *
thread_main(void *arg)
{
	const uint64_t one = 1;
	struct users_pool *p = arg;
	struct users_job *j;
	struct users_file file; /* this thread's own */

	users_file_init(&file);
	(void)pthread_mutex_lock(&p->lock);
	for (;;) {
		while ((j = queue_take(&p->asked)) == NULL) {
			p->idle++;
			(void)pthread_cond_wait(&p->more, &p->lock);
			p->idle--;
		}
		p->waiting--;
		(void)pthread_mutex_unlock(&p->lock);
		p->lookup(j, &file);
		(void)pthread_mutex_lock(&p->lock);
		queue_add(&p->answered, j);
		(void)!write(p->notify_fd, &one, sizeof(one));
	}
	return NULL;
}

struct users_pool *
users_pool_new(int notify_fd, users_lookup_fn *lookup)
{
	struct users_pool *p = xcalloc(1, sizeof(*p));

	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->more, NULL);
	p->asked.end = &p->asked.first;
	p->answered.end = &p->answered.first;
	p->notify_fd = notify_fd;
	p->lookup = lookup;
	return p;
}

/* Signals are the loop's. */
static void
start_thread(struct users_pool *p)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t t;
	int error;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&t, &attr, thread_main, p);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0) {
		log_error("no thread for lookups: %s", strerror(error));
	} else {
		p->threads++;
	}
}

bool
users_pool_ask(struct users_pool *p, struct users_job *j)
{
	bool ok;

	(void)pthread_mutex_lock(&p->lock);
	if (p->waiting >= p->idle && p->threads < USERS_THREADS) {
		start_thread(p);
	}
	ok = p->threads > 0;
	if (ok) {
		queue_add(&p->asked, j);
		p->waiting++;
		(void)pthread_cond_signal(&p->more);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return ok;
}

struct users_job *
users_pool_answer(struct users_pool *p)
{
	struct users_job *j;

	(void)pthread_mutex_lock(&p->lock);
	j = queue_take(&p->answered);
	(void)pthread_mutex_unlock(&p->lock);
	return j;
}
