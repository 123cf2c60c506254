#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/child.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "master/connect.h"
#include "master/hand.h"
#include "master/life.h"
#include "master/proc.h"

extern char **environ;

static void on_timer(evutil_socket_t fd, short what, void *arg);

/* -- the list ---------------------------------------------------------------- */

static struct proc *
find(struct proc *p, enum ipc_role role)
{
	while (p != NULL && p->prog->role != role) {
		p = p->next;
	}
	return p;
}

struct proc *
proc_first_of(struct master *m, enum ipc_role role)
{
	return find(m->procs, role);
}

struct proc *
proc_next_of(struct proc *p)
{
	return find(p->next, p->prog->role);
}

struct proc *
proc_by_pid(struct master *m, pid_t pid)
{
	struct proc *p = m->procs;

	while (p != NULL && p->pid != pid) {
		p = p->next;
	}
	return p;
}

/* The lowest index that no place of the program has; PROC_INDEX_MAX: none. */
static unsigned
free_index(struct master *m, const struct program *prog)
{
	bool taken[PROC_INDEX_MAX] = { false };
	struct proc *p;
	unsigned i = 0;

	for (p = proc_first_of(m, prog->role); p != NULL; p = proc_next_of(p)) {
		taken[p->index] = true;
	}
	while (i < PROC_INDEX_MAX && taken[i]) {
		i++;
	}
	return i;
}

struct proc *
proc_new(struct master *m, const struct program *prog)
{
	unsigned index = free_index(m, prog);
	struct proc *p, **end = &m->procs;

	if (index == PROC_INDEX_MAX) {
		return NULL;
	}
	p = xcalloc(1, sizeof(*p));
	p->m = m;
	p->prog = prog;
	p->index = index;
	p->timer = event_new(m->base, -1, 0, on_timer, p);
	if (p->timer == NULL) {
		log_panic("no event for a program");
	}
	while (*end != NULL) {
		end = &(*end)->next;
	}
	*end = p;
	return p;
}

void
proc_free(struct proc *p)
{
	struct proc **link = &p->m->procs;

	while (*link != p) {
		link = &(*link)->next;
	}
	*link = p->next;
	event_free(p->timer);
	free(p->walls);
	free(p->words);
	free(p);
}

void
proc_name(const struct proc *p, struct strbuf *out)
{
	(void)strbuf_printf(out, "%s[%ld]", program_name(p->prog),
	    (long)p->pid);
}

const char *
proc_state_name(enum proc_state s)
{
	switch (s) {
	case PROC_DOWN:
		return "down";
	case PROC_STARTING:
		return "starting";
	case PROC_UP:
		return "up";
	case PROC_STOPPING:
		return "stopping";
	}
	return "?";
}

static void
set_timer(struct proc *p, uint64_t ms)
{
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	(void)event_add(p->timer, &tv);
}

/* -- a process --------------------------------------------------------------- */

/* What a program may see of master's environment. */
static bool
is_inherited(const char *var)
{
	static const char *const names[] = { "TZ=", "ASAN_OPTIONS=",
		"UBSAN_OPTIONS=", "LSAN_OPTIONS=", "GCOV_PREFIX=",
		"GCOV_PREFIX_STRIP=", "VEREDUS_IO_PLAN=", "VEREDUS_IO_ONCE=",
		"VEREDUS_CRASH_READING=",
		"VEREDUS_IO_RECORD=" };
	size_t i;

	for (i = 0; i < NELEMS(names); i++) {
		if (strncmp(var, names[i], strlen(names[i])) == 0) {
			return true;
		}
	}
	return false;
}

static char **
make_environment(void)
{
	static char path[] = "PATH=/usr/bin:/bin";
	size_t n = 0, i;
	char **env;

	while (environ[n] != NULL) {
		n++;
	}
	env = xcalloc(n + 3, sizeof(*env));
	n = 0;
	env[n++] = path;
#ifdef VEREDUS_SANITIZERS
	static char leaks[] = "ASAN_OPTIONS=detect_leaks=0";

	if (getenv("ASAN_OPTIONS") == NULL) {
		env[n++] = leaks; /* looking for them hangs behind walls */
	}
#endif
	for (i = 0; environ[i] != NULL; i++) {
		if (is_inherited(environ[i])) {
			env[n++] = environ[i];
		}
	}
	return env;
}

/* In the child: arrange the descriptors, become the program. */
static _Noreturn void
become(const struct proc *p, int control, int log)
{
	char index[16], *argv[3], *name = xstrdup(program_name(p->prog));
	struct strbuf path;
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)setpgid(0, 0); /* what a terminal or timeout(1) sends is for master */
	/* Out of the way first: none of them may stand in 0-3. */
	control = fcntl(control, F_DUPFD, 10);
	log = fcntl(log, F_DUPFD, 10);
	if (null == -1 || control == -1 || log == -1 ||
	    dup2(log, STDERR_FILENO) == -1 || dup2(null, STDIN_FILENO) == -1 ||
	    dup2(null, STDOUT_FILENO) == -1 ||
	    dup2(control, CHILD_MASTER_FD) == -1 ||
	    close_range(CHILD_MASTER_FD + 1, ~0u, 0) == -1) {
		_exit(EX_OSERR);
	}
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)snprintf(index, sizeof(index), "%u", p->index);
	argv[0] = name;
	argv[1] = index;
	argv[2] = NULL;
	strbuf_init(&path, 0);
	(void)strbuf_printf(&path, "%s/%s", p->m->settings.daemon_directory,
	    name);
	(void)execve(path.p, argv, make_environment());
	(void)dprintf(STDERR_FILENO, "<%d>%s: %s (see daemon_directory)\n",
	    LOG_L_ERROR, path.p, strerror(errno));
	_exit(EX_CONFIG);
}

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *msg)
{
	struct proc *p = owner;
	struct slice walls;

	(void)ch;
	p->heard_ms = master_now_ms();
	if (msg->type == IPC_PONG) {
		return true;
	}
	if (msg->type == IPC_CONNECT) {
		connect_serve(p, msg->tid, ipc_s(msg, 0));
		return true;
	}
	if (msg->type == IPC_LOST) {
		if (hand_lost(p, ipc_u(msg, 0), ipc_u(msg, 1))) {
			life_renew(p->m);
		}
		return true;
	}
	if (msg->type != IPC_READY || p->state == PROC_UP) {
		return false;
	}
	walls = ipc_s(msg, 0);
	free(p->walls);
	p->walls = xslicedup(walls);
	free(p->words);
	p->words = NULL;
	if (p->state == PROC_STARTING) {
		p->state = PROC_UP;
		p->was_up = true;
		(void)event_del(p->timer);
		logs_give(p->m, p->log);
		life_ready(p);
	}
	return true;
}

/* It is ending, or broke the rules: waitpid() will tell, soon. The dead channel
   stays until then. */
static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct proc *p = owner;

	(void)ch;
	log_debug("%s[%ld] closed its channel: %s", program_name(p->prog),
	    (long)p->pid, why);
	if (p->state != PROC_STOPPING) {
		set_timer(p, PROC_LINGER_MS);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct proc *p = arg;

	(void)fd;
	(void)what;
	if (p->state == PROC_DOWN) {
		proc_start(p);
		return;
	}
	log_error("%s[%ld] %s: killed", program_name(p->prog), (long)p->pid,
	    p->state == PROC_STOPPING ? "does not stop" :
	    !ipc_chan_alive(p->ch) ? "closed its channel and stays" :
	    "is not ready in time");
	(void)kill(p->pid, SIGKILL);
	set_timer(p, PROC_READY_MS); /* it is dead soon; or again, then */
}

static const struct ipc_chan_ops *
chan_ops(enum ipc_role role)
{
	static struct ipc_chan_ops ops[IPC_ANY_PROGRAM];

	ops[role] = (struct ipc_chan_ops){ .me = IPC_MASTER, .peer = role,
		.message = on_message, .closed = on_closed };
	return &ops[role];
}

static pid_t
spawn(struct proc *p, int *control, int *log)
{
	int pair[2] = { -1, -1 }, pipes[2] = { -1, -1 };
	pid_t pid = -1;
	int saved;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 &&
	    pipe2(pipes, O_CLOEXEC) == 0) {
		(void)log_flush(); /* or the child might write it again */
		pid = fork();
	}
	if (pid == 0) {
		become(p, pair[1], pipes[1]);
	}
	saved = errno;
	if (pair[1] != -1) {
		(void)close(pair[1]);
	}
	if (pipes[1] != -1) {
		(void)close(pipes[1]);
	}
	if (pid == -1) {
		if (pair[0] != -1) {
			(void)close(pair[0]);
		}
		if (pipes[0] != -1) {
			(void)close(pipes[0]);
		}
	}
	errno = saved;
	*control = pair[0];
	*log = pipes[0];
	return pid;
}

void
proc_start(struct proc *p)
{
	int control, log;
	pid_t pid = spawn(p, &control, &log);

	(void)event_del(p->timer);
	p->again = p->silent = false;
	memset(p->handed, 0, sizeof(p->handed));
	p->lost = 0;
	p->started_ms = p->heard_ms = master_now_ms();
	if (pid == -1) {
		log_error("cannot start %s: %s", program_name(p->prog),
		    strerror(errno));
		life_not_started(p);
		return;
	}
	p->pid = pid;
	p->state = PROC_STARTING;
	(void)fcntl(log, F_SETFL, O_NONBLOCK);
	p->log = logs_add(p->m, program_name(p->prog), pid, log);
	p->ch = ipc_chan_new(p->m->base, control, chan_ops(p->prog->role), p);
	set_timer(p, PROC_READY_MS);
	log_debug("%s[%ld] starting", program_name(p->prog), (long)pid);
	hand_down(p);
}

void
proc_start_later(struct proc *p, uint64_t ms)
{
	set_timer(p, ms);
}

void
proc_stop(struct proc *p, uint64_t ms, bool again)
{
	p->state = PROC_STOPPING;
	p->again = again;
	if (ipc_chan_alive(p->ch)) {
		ipc_begin(p->ch, IPC_STOP, 0);
		ipc_put_u(p->ch, ms);
		ipc_end(p->ch);
	}
	/* A little more than it was told: it may use its time up. */
	set_timer(p, ms + 500);
}

void
proc_ended(struct proc *p, struct strbuf *last)
{
	(void)event_del(p->timer);
	ipc_chan_free(p->ch);
	p->ch = NULL;
	if (p->log != NULL) {
		logs_end(p->m, p->log, last);
		p->log = NULL;
	}
	if (last->n > 0) {
		free(p->words);
		p->words = xslicedup(strbuf_slice(last));
	}
	p->pid = 0;
	p->state = PROC_DOWN;
}

static void
ping(struct proc *p, uint64_t now, bool grace)
{
	uint64_t limit = p->m->settings.watchdog_timeout * 1000;

	if (grace) {
		p->heard_ms = now;
	}
	if (now - p->heard_ms > limit) {
		log_error("%s[%ld] silent for %llu s: killed",
		    program_name(p->prog), (long)p->pid,
		    (unsigned long long)(now - p->heard_ms) / 1000);
		p->heard_ms = now; /* one line, one kill */
		p->silent = true;
		(void)kill(p->pid, SIGKILL);
		return;
	}
	ipc_begin(p->ch, IPC_PING, 0);
	ipc_end(p->ch);
}

void
proc_ping_all(struct master *m, bool grace)
{
	uint64_t now = master_now_ms();
	struct proc *p;

	for (p = m->procs; p != NULL; p = p->next) {
		if (p->state == PROC_UP && ipc_chan_alive(p->ch)) {
			ping(p, now, grace);
		}
	}
}
