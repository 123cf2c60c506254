/*
 * users_pool - the threads that ask the account database, so that one which
 * hangs never blocks the loop. They share nothing with it but two queues.
 */
#ifndef SERVICES_USERS_POOL_H
#define SERVICES_USERS_POOL_H

#include "common/account.h"

#define USERS_THREADS 4

/* A question on its way through a thread; belongs to one side at a time. */
struct users_job {
	struct users_job *next;
	char *source, *name;     /* the setting local_users; owned */
	int dirfd;               /* of the source's file, or -1; owned */
	void *lookup;            /* the asker's, untouched */
	enum account_result result;
	struct account account;
	struct strbuf why;       /* when TEMP */
	struct strbuf report;    /* lines for the log */
};

struct users_pool;
struct users_file;

/* Answers a job; blocks. `file' is the thread's own. */
typedef void users_lookup_fn(struct users_job *j, struct users_file *file);
/* The database that the job's source names. */
void users_look_up(struct users_job *j, struct users_file *file);

/* `notify_fd' (an eventfd) is written to when an answer is ready. */
struct users_pool *users_pool_new(int notify_fd, users_lookup_fn *lookup);
/* Starts a thread when all are busy and there are not USERS_THREADS yet. False:
   there is no thread at all. Takes the job when true. */
bool users_pool_ask(struct users_pool *p, struct users_job *j);
/* The next answer, or NULL; the caller frees it. */
struct users_job *users_pool_answer(struct users_pool *p);

/* Keeps a duplicate of dirfd. */
struct users_job *users_job_new(const char *source, int dirfd,
    struct slice name, void *lookup);
void users_job_free(struct users_job *j);

#endif
