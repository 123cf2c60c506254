#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/qid.h"
#include "common/reading.h"
#include "common/slice.h"

#define MARKS_MAX 256 /* of that many deaths the last ones count */

/* A mark in the file; what is cut or overwritten is none. */
struct mark {
	uint64_t qid, inverse;
};

static const int faults[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE };
static struct sigaction before[NELEMS(faults)];
static int file = -1;
static struct mark marks[MARKS_MAX];
static size_t nmarks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of marks */
static _Thread_local volatile uint64_t now; /* 0: nothing */

#ifdef VEREDUS_HOOKS
static uint64_t crash_at; /* for tests: VEREDUS_CRASH_READING=ID */
#endif

/* Async-signal-safe. It returns into the fault, or into abort(), whose handler is
   the one from before now. */
static void
on_fault(int sig)
{
	const struct mark m = { now, ~now };
	const int saved = errno;
	size_t i;

	if (m.qid != 0 && file != -1) {
		(void)!write(file, &m, sizeof(m));
	}
	for (i = 0; i < NELEMS(faults); i++) {
		if (faults[i] == sig) {
			(void)sigaction(sig, &before[i], NULL);
		}
	}
	errno = saved;
}

static bool
load(void)
{
	struct stat st;
	struct mark m;
	off_t at;

	nmarks = 0;
	if (fstat(file, &st) == -1) {
		return false;
	}
	at = st.st_size - st.st_size % (off_t)sizeof(m);
	at = at > (off_t)sizeof(marks) ? at - (off_t)sizeof(marks) : 0;
	for (; pread(file, &m, sizeof(m), at) == sizeof(m);
	    at += (off_t)sizeof(m)) {
		if (m.qid == ~m.inverse && nmarks < MARKS_MAX) {
			marks[nmarks++] = m;
		}
	}
	return true;
}

bool
reading_open(int dir)
{
	struct sigaction sa = { .sa_handler = on_fault,
		.sa_flags = (int)SA_RESETHAND };
	size_t i;

	reading_close();
	file = openat(dir, "reading", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC |
	    O_NOFOLLOW, 0600);
	if (file == -1 || !load()) {
		return false;
	}
#ifdef VEREDUS_HOOKS
	if (getenv("VEREDUS_CRASH_READING") != NULL) {
		(void)qid_parse(slice_of(getenv("VEREDUS_CRASH_READING")),
		    &crash_at);
	}
#endif
	(void)sigemptyset(&sa.sa_mask);
	for (i = 0; i < NELEMS(faults); i++) {
		if (sigaction(faults[i], &sa, &before[i]) == -1) {
			return false;
		}
	}
	return true;
}

void
reading_close(void)
{
	size_t i;

	if (file != -1) {
		for (i = 0; i < NELEMS(faults); i++) {
			(void)sigaction(faults[i], &before[i], NULL);
		}
		(void)close(file);
		file = -1;
	}
	nmarks = 0;
}

/* The marks of others stay, in memory and in the file. */
static void
forget(uint64_t qid)
{
	size_t i, n = 0;

	for (i = 0; i < nmarks; i++) {
		if (marks[i].qid != qid) {
			marks[n++] = marks[i];
		}
	}
	nmarks = n;
	if (ftruncate(file, 0) == 0) {
		(void)!write(file, marks, n * sizeof(*marks));
	}
}

bool
reading_begin(uint64_t qid)
{
	unsigned deaths = 0;
	size_t i;

	if (nmarks > 0) {
		(void)pthread_mutex_lock(&lock);
		for (i = 0; i < nmarks; i++) {
			deaths += marks[i].qid == qid;
		}
		if (deaths >= READING_DEATHS) {
			forget(qid);
		}
		(void)pthread_mutex_unlock(&lock);
	}
	if (deaths >= READING_DEATHS) {
		return false;
	}
	now = qid;
#ifdef VEREDUS_HOOKS
	if (qid == crash_at && file != -1) {
		abort();
	}
#endif
	return true;
}

void
reading_end(void)
{
	now = 0;
}
