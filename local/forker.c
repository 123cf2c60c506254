/* close_range() is younger than POSIX; AC_USE_SYSTEM_EXTENSIONS shows it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/util.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "local/forker.h"
#include "local/record.h"

/* The dispatcher keeps to local_process_limit; those that are ending, or are
   given up and cannot die yet, come on top: on a busy machine many, as each
   user's worker makes place for the next user's before it has ended. When there
   is no place left, who is asked for next waits in line until one has ended. */
#define CHILDREN_MAX(limit) (4 * (limit) + 64)
#define WISHES_MAX(limit)   (2 * (limit) + 64) /* of them; the rest is refused */
#define CHILD_FD 3 /* the worker's socket in the child */

struct kid {
	pid_t pid;
	unsigned generation; /* of the channel that asked for it */
	uint32_t serial;
	bool told_to_die;
	char name[RECORD_NAME_MAX + 1];
};

/* A worker that is asked for and has no place yet. */
struct wish {
	struct record record;
	TAILQ_ENTRY(wish) line;
};

struct forker {
	struct event_base *base;
	const struct settings *settings;
	const struct forker_ops *ops;
	int sock; /* -1: no dispatcher */
	unsigned generation;
	struct event *readable, *writable, *sigchld, *deadline;
	struct kid *kids;
	size_t nkids, cap;
	TAILQ_HEAD(, wish) line; /* of this channel, in order */
	size_t nwishes;
	struct {           /* an answer that did not fit into the socket */
		bool waits;
		char octets[RECORD_SIZE];
		int fd;    /* or -1 */
	} answer;
	bool stopping;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_sigchld(evutil_socket_t fd, short what, void *arg);
static void on_deadline(evutil_socket_t fd, short what, void *arg);
static void serve_line(struct forker *f);

struct forker *
forker_new(struct event_base *base, const struct settings *settings,
    const struct forker_ops *ops)
{
	struct forker *f = xcalloc(1, sizeof(*f));

	f->base = base;
	f->settings = settings;
	f->ops = ops;
	f->sock = -1;
	f->answer.fd = -1;
	TAILQ_INIT(&f->line);
	f->sigchld = evsignal_new(base, SIGCHLD, on_sigchld, f);
	f->deadline = evtimer_new(base, on_deadline, f);
	if (f->sigchld == NULL || f->deadline == NULL ||
	    event_add(f->sigchld, NULL) == -1) {
		log_fatal(EX_OSERR, "forker: no event");
	}
	return f;
}

static void
drop_wish(struct forker *f, struct wish *w)
{
	TAILQ_REMOVE(&f->line, w, line);
	f->nwishes--;
	free(w);
}

static void
disconnect(struct forker *f)
{
	if (f->sock == -1) {
		return;
	}
	event_free(f->readable);
	event_free(f->writable);
	(void)close(f->sock);
	f->sock = -1;
	if (f->answer.fd != -1) {
		(void)close(f->answer.fd);
		f->answer.fd = -1;
	}
	f->answer.waits = false;
	while (!TAILQ_EMPTY(&f->line)) {
		drop_wish(f, TAILQ_FIRST(&f->line));
	}
}

void
forker_channel(struct forker *f, int fd)
{
	disconnect(f);
	(void)evutil_make_socket_nonblocking(fd);
	(void)evutil_make_socket_closeonexec(fd);
	f->sock = fd;
	f->generation++;
	f->readable = event_new(f->base, fd, EV_READ | EV_PERSIST, on_readable,
	    f);
	f->writable = event_new(f->base, fd, EV_WRITE, on_writable, f);
	if (f->readable == NULL || f->writable == NULL ||
	    event_add(f->readable, NULL) == -1) {
		log_fatal(EX_OSERR, "forker: no event");
	}
}

size_t
forker_children(const struct forker *f)
{
	return f->nkids;
}

/* -- children ----------------------------------------------------------------- */

static void
keep(struct forker *f, pid_t pid, const struct record *r)
{
	struct kid *k;

	if (f->nkids == f->cap) {
		f->cap = f->cap == 0 ? 64 : f->cap * 2;
		f->kids = xreallocarray(f->kids, f->cap, sizeof(*f->kids));
	}
	k = &f->kids[f->nkids++];
	*k = (struct kid){ .pid = pid, .generation = f->generation,
		.serial = r->serial };
	memcpy(k->name, r->name, sizeof(k->name));
}

static void
say_end(const struct kid *k, int status)
{
	if (WIFSIGNALED(status) && !k->told_to_die) {
		log_error("worker of %s, pid %ld: killed by signal %d", k->name,
		    (long)k->pid, WTERMSIG(status));
	} else if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
		log_error("worker of %s, pid %ld: ended with code %d", k->name,
		    (long)k->pid, WEXITSTATUS(status));
	}
}

static void
buried(struct forker *f, pid_t pid, int status)
{
	size_t i;

	for (i = 0; i < f->nkids && f->kids[i].pid != pid; i++) {
	}
	if (i < f->nkids) {
		say_end(&f->kids[i], status);
		f->kids[i] = f->kids[--f->nkids];
	}
}

static void
on_sigchld(evutil_socket_t fd, short what, void *arg)
{
	struct forker *f = arg;
	int status;
	pid_t pid;

	(void)fd;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		buried(f, pid, status);
	}
	serve_line(f);
	if (f->stopping && f->nkids == 0 && f->ops->stopped != NULL) {
		f->ops->stopped(f->ops->arg);
	}
}

/*
 * The child: nothing of the forker's may stay, neither descriptors nor signal
 * handlers nor log lines that wait.
 */
static _Noreturn void
be_child(const struct forker *f, int sock, const char *name)
{
	sigset_t none;
	int err;

	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_NAME, "local-worker");
	err = dup(STDERR_FILENO);
	(void)dup2(STDOUT_FILENO, STDERR_FILENO); /* /dev/null */
	(void)log_flush();
	log_on_pending(NULL, NULL);
	if (err == -1 || dup2(err, STDERR_FILENO) == -1 ||
	    dup2(sock, CHILD_FD) == -1 ||
	    close_range(CHILD_FD + 1, ~0u, 0) == -1) {
		_exit(EX_OSERR);
	}
	_exit(f->ops->child(f->settings, name, CHILD_FD));
}

/* Fork a worker; returns our end of its socket, or -1 with errno. */
static int
start(struct forker *f, const struct record *r)
{
	sigset_t all, old;
	int sv[2], saved;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == -1) {
		return -1;
	}
	/* No handler of ours may run in the child. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0) {
		be_child(f, sv[1], r->name);
	}
	saved = errno;
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	(void)close(sv[1]);
	if (pid == -1) {
		(void)close(sv[0]);
		errno = saved;
		return -1;
	}
	keep(f, pid, r);
	return sv[0];
}

static void
end_one(struct forker *f, uint32_t serial)
{
	struct wish *w, *next;
	size_t i;

	for (w = TAILQ_FIRST(&f->line); w != NULL; w = next) {
		next = TAILQ_NEXT(w, line);
		if (w->record.serial == serial) {
			drop_wish(f, w);
		}
	}
	for (i = 0; i < f->nkids; i++) {
		if (f->kids[i].serial == serial &&
		    f->kids[i].generation == f->generation) {
			log_warn("worker of %s, pid %ld: given up, killed",
			    f->kids[i].name, (long)f->kids[i].pid);
			f->kids[i].told_to_die = true;
			(void)kill(f->kids[i].pid, SIGKILL);
		}
	}
}

/* -- the dispatcher's socket ---------------------------------------------------- */

static ssize_t
send_answer(int sock, const char *octets, int fd)
{
	struct iovec iov = { NULL, RECORD_SIZE };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	char copy[RECORD_SIZE];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct cmsghdr *cm;

	memcpy(copy, octets, sizeof(copy));
	iov.iov_base = copy;
	if (fd != -1) {
		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = ctl.room;
		mh.msg_controllen = sizeof(ctl.room);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	}
	return sendmsg(sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Send the waiting answer. False: the socket is full (or gone). */
static bool
flush_answer(struct forker *f)
{
	if (!f->answer.waits) {
		return true;
	}
	if (send_answer(f->sock, f->answer.octets, f->answer.fd) == -1) {
		if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS ||
		    errno == ETOOMANYREFS) {
			(void)event_del(f->readable);
			(void)event_add(f->writable, NULL);
			return false;
		}
		/* The dispatcher is gone; its workers see that too. */
		disconnect(f);
		return false;
	}
	if (f->answer.fd != -1) {
		(void)close(f->answer.fd);
		f->answer.fd = -1;
	}
	f->answer.waits = false;
	return true;
}

/* A worker, or a word that there is none. */
static void
answer(struct forker *f, const struct record *r, const char *why_not)
{
	struct record_answer a = { RECORD_OK, r->serial };

	f->answer.fd = why_not != NULL ? -1 : start(f, r);
	if (f->answer.fd == -1) {
		a.status = RECORD_BUSY;
		log_error("no worker for %s: %s", r->name,
		    why_not != NULL ? why_not : strerror(errno));
	}
	record_answer_encode(&a, f->answer.octets);
	f->answer.waits = true;
}

/* As many of those in line as there is place for, and answers can be sent. May
   find the dispatcher gone. */
static void
serve_line(struct forker *f)
{
	const size_t max = CHILDREN_MAX(f->settings->local_process_limit);
	struct wish *w;

	while (flush_answer(f) && (w = TAILQ_FIRST(&f->line)) != NULL &&
	    (f->nkids < max || f->stopping)) {
		answer(f, &w->record, f->stopping ? "stopping" : NULL);
		drop_wish(f, w);
	}
}

static void
obey(struct forker *f, const struct record *r)
{
	struct wish *w;

	if (r->kind == RECORD_KILL) {
		end_one(f, r->serial);
		return;
	}
	if (f->nwishes >= WISHES_MAX(f->settings->local_process_limit)) {
		answer(f, r, "too many wait for one");
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->record = *r;
	TAILQ_INSERT_TAIL(&f->line, w, line);
	f->nwishes++;
	serve_line(f);
}

/* One record. False: there is no more to read now. */
static bool
read_one(struct forker *f)
{
	char buf[RECORD_SIZE + 1]; /* one more shows a record that is too long */
	struct record r;
	ssize_t n = recv(f->sock, buf, sizeof(buf), MSG_DONTWAIT);

	if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
		return false;
	}
	if (n <= 0) {
		disconnect(f);
		return false;
	}
	if (!record_decode(slice_make(buf, (size_t)n), &r)) {
		log_error("the dispatcher sent a bad record: disconnected");
		disconnect(f);
		return false;
	}
	obey(f, &r);
	return f->sock != -1;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct forker *f = arg;
	int turn = 0;

	(void)fd;
	(void)what;
	while (flush_answer(f) && turn++ < 16 && read_one(f)) {
	}
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct forker *f = arg;

	(void)fd;
	(void)what;
	if (flush_answer(f)) {
		(void)event_add(f->readable, NULL);
		serve_line(f);
	}
}

/* -- the end -------------------------------------------------------------------- */

static void
kill_all(struct forker *f)
{
	size_t i;

	for (i = 0; i < f->nkids; i++) {
		f->kids[i].told_to_die = true;
		(void)kill(f->kids[i].pid, SIGKILL);
	}
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct forker *f = arg;

	(void)fd;
	(void)what;
	log_warn("%zu workers have not ended: killed", f->nkids);
	kill_all(f);
}

void
forker_stop(struct forker *f, uint64_t deadline_ms)
{
	/* Time to reap what is killed; then the rest of the stop goes on. */
	const uint64_t ms = deadline_ms > 2000 ? deadline_ms - 1000 :
	    deadline_ms / 2;
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	f->stopping = true;
	serve_line(f);
	if (f->nkids == 0) {
		if (f->ops->stopped != NULL) {
			f->ops->stopped(f->ops->arg);
		}
		return;
	}
	(void)event_add(f->deadline, &tv);
}

void
forker_free(struct forker *f)
{
	if (f == NULL) {
		return;
	}
	disconnect(f);
	kill_all(f);
	while (f->nkids > 0) {
		int status;
		pid_t pid = waitpid(f->kids[0].pid, &status, 0);

		if (pid == -1 && errno == EINTR) {
			continue;
		}
		buried(f, f->kids[0].pid, 0);
	}
	event_free(f->sigchld);
	event_free(f->deadline);
	free(f->kids);
	free(f);
}
