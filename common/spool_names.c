#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/spool_int.h"
#include "common/spool_names.h"
#include "common/xmalloc.h"

#define THREADS     4       /* more wait for a slow disk at a time */
#define LONG_OCTETS 1000000 /* of all directories: threads are worth it */

/* What the threads share. */
struct work {
	struct spool_names *at;
	size_t n, next;
	pthread_mutex_t lock;
};

static void
add_name(struct spool_names *names, const char *name)
{
	uint64_t qid = 0, parent = 0;

	if (spool_name_parse(name, &qid, &parent) != SPOOL_NAME_MESSAGE ||
	    spool_dir_of(qid) != names->dir) {
		(void)strbuf_add(&names->others, name, strlen(name) + 1);
		return;
	}
	if ((names->nids & (names->nids - 1)) == 0) { /* 0, or a power of two */
		names->ids = xreallocarray(names->ids, names->nids == 0 ? 1 :
		    names->nids * 2, sizeof(*names->ids));
	}
	names->ids[names->nids++] = qid;
}

static int
compare_ids(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
read_one(struct spool_names *names)
{
	int fd = dup(names->fd);
	DIR *d = fd != -1 ? fdopendir(fd) : NULL;
	struct dirent *de;

	if (d == NULL) {
		names->error = errno;
		if (fd != -1) {
			(void)close(fd);
		}
		return;
	}
	for (errno = 0; (de = readdir(d)) != NULL; errno = 0) {
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0) {
			add_name(names, de->d_name);
		}
	}
	names->error = errno;
	(void)closedir(d);
	if (names->nids > 1) {
		qsort(names->ids, names->nids, sizeof(*names->ids),
		    compare_ids);
	}
}

static void *
read_some(void *arg)
{
	struct work *w = arg;
	size_t i;

	for (;;) {
		(void)pthread_mutex_lock(&w->lock);
		i = w->next++;
		(void)pthread_mutex_unlock(&w->lock);
		if (i >= w->n) {
			return NULL;
		}
		read_one(&w->at[i]);
	}
}

static bool
are_long(const struct spool_names *at, size_t n)
{
	off_t octets = 0;
	struct stat st;
	size_t i;

	for (i = 0; i < n; i++) {
		octets += fstat(at[i].fd, &st) == 0 ? st.st_size : 0;
	}
	return octets >= LONG_OCTETS;
}

void
spool_names_read(struct spool_names *at, size_t n)
{
	struct work w = { .at = at, .n = n };
	pthread_t threads[THREADS];
	size_t started = 0, i;
	sigset_t all, old;

	for (i = 0; i < n; i++) {
		strbuf_init(&at[i].others, 0);
	}
	(void)pthread_mutex_init(&w.lock, NULL);
	if (are_long(at, n)) {
		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &old);
		while (started < THREADS && pthread_create(&threads[started],
		    NULL, read_some, &w) == 0) {
			started++;
		}
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	(void)read_some(&w);
	for (i = 0; i < started; i++) {
		(void)pthread_join(threads[i], NULL);
	}
	(void)pthread_mutex_destroy(&w.lock);
}

void
spool_names_clear(struct spool_names *at, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		free(at[i].ids);
		strbuf_clear(&at[i].others);
	}
}
