#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ctl.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "master/backoff.h"
#include "master/hand.h"
#include "master/life.h"
#include "master/listeners.h"
#include "master/notify.h"
#include "master/reload.h"

#define FIRST_TRIES     3 /* lives without READY before a start has failed */
#define TICKS_A_TIMEOUT 5
#define RENEW_MS        200 /* until it is clear that a peer is not dead */
#define RETIRE_MS       600000 /* sessions that outlive a reload */

enum { EV_CHLD, EV_TERM, EV_INT, EV_HUP, EV_USR1, EV_USR2, EV_ALRM,
	EV_TICK, EV_DEADLINE, EV_RENEW, EV_LOG, EV_LOG_RETRY, EV_COUNT };
_Static_assert(EV_COUNT == NELEMS(((struct master *)NULL)->events), "a place for each");

static void stop_stages(struct master *m);

uint64_t
master_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* -- the tool that waits ----------------------------------------------------- */

/* Tell the starting tool how it went; from now on master is on its own. */
static void
report(struct master *m, int code)
{
	const char octet = (char)code;
	int null;

	if (!m->foreground && m->terminal != -1 &&
	    (null = open("/dev/null", O_WRONLY | O_CLOEXEC)) != -1) {
		(void)dup3(null, m->terminal, O_CLOEXEC);
		(void)close(null);
	}

	if (m->report_fd != -1) {
		(void)!write(m->report_fd, &octet, 1);
		(void)close(m->report_fd);
		m->report_fd = -1;
	}
}

/* The first start is not possible: say why where the caller sees it. */
static void
fail_start(struct master *m, int code, const char *text)
{
	if (m->exit_code == 0) {
		log_error("the start failed: %s", text);
		(void)dprintf(m->terminal, "veredus: %s\n", text);
		m->exit_code = code;
	}
	life_stop(m);
}

/* -- starting ---------------------------------------------------------------- */

static void
start_stage(struct master *m)
{
	const struct program *prog = &programs[m->stage];
	unsigned i, n = program_instances(prog, &m->settings);
	struct proc *p;

	for (i = 0; i < n && m->phase == PHASE_STARTING; i++) {
		p = proc_new(m, prog);
		if (p != NULL) {
			proc_start(p);
		}
	}
}

static bool
stage_is_up(struct master *m)
{
	struct proc *p = proc_first_of(m, programs[m->stage].role);

	while (p != NULL && p->state == PROC_UP) {
		p = proc_next_of(p);
	}
	return p == NULL;
}

static void
all_are_up(struct master *m)
{
	m->phase = PHASE_RUNNING;
	log_info("started: %s", m->conf);
	report(m, 0);
	notify_send("READY=1\nSTATUS=running");
}

void
life_ready(struct proc *p)
{
	struct master *m = p->m;
	struct proc *old, *next;

	log_debug("%s[%ld] is ready: %s", program_name(p->prog), (long)p->pid,
	    p->walls);
	if (p->prog->role == IPC_LOG) {
		logs_attach(m);
	}
	for (old = proc_first_of(m, p->prog->role); old != NULL && !p->retire;
	    old = next) {
		next = proc_next_of(old);
		if (old->retire && old->state == PROC_DOWN) {
			proc_free(old);
		} else if (old->retire && old->state != PROC_STOPPING) {
			proc_stop(old, RETIRE_MS, false);
		}
	}
	if (m->phase == PHASE_STARTING && stage_is_up(m)) {
		if (++m->stage == program_count) {
			all_are_up(m);
		} else {
			start_stage(m);
		}
	}
}

void
life_replace_smtpd(struct master *m)
{
	const struct program *prog = program_by_role(IPC_SMTPD);
	unsigned i, n = program_instances(prog, &m->settings);
	struct proc *p;

	for (p = proc_first_of(m, IPC_SMTPD); p != NULL; p = proc_next_of(p)) {
		p->retire = true;
	}
	for (i = 0; i < n; i++) {
		p = proc_new(m, prog);
		if (p == NULL) {
			log_error("too many old smtpd still have sessions: "
			    "%u of %u new ones started", i, n);
			break;
		}
		proc_start(p);
	}
}

/* -- dying ------------------------------------------------------------------- */

static void
describe_status(int status, struct strbuf *out)
{
	if (WIFSIGNALED(status)) {
		(void)strbuf_printf(out, "signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	} else {
		(void)strbuf_printf(out, "exit %d%s", WEXITSTATUS(status),
		    WEXITSTATUS(status) == EX_CONFIG ?
		    " (bad configuration)" : "");
	}
}

/*
 * Did it die of its own doing: a crash, or silence? A kill from outside (an
 * administrator's, the kernel's for want of memory) says nothing about what it
 * was at, nor does an exit that it chose (log_fatal() and the like: a peer or the
 * machine fails it).
 */
static bool
died_itself(const struct proc *p, int status)
{
	static const int faults[] = { SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL,
		SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ };
	size_t i;

	if (WIFEXITED(status)) {
		return WEXITSTATUS(status) != 0 &&
		    (WEXITSTATUS(status) < EX__BASE ||
		    WEXITSTATUS(status) > EX__MAX); /* a sanitizer's */
	}
	for (i = 0; i < NELEMS(faults); i++) {
		if (WTERMSIG(status) == faults[i]) {
			return true;
		}
	}
	return p->silent;
}

/* It has said that what it lacks may come (a full disk). */
static bool
waits(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == EX_TEMPFAIL;
}

/* In the first start: is it hopeless? */
static bool
is_hopeless(const struct proc *p, int status)
{
	return !waits(status) && p->m->phase == PHASE_STARTING && !p->was_up &&
	    ((WIFEXITED(status) && WEXITSTATUS(status) == EX_CONFIG) ||
	    p->failures + 1 >= FIRST_TRIES);
}

static void
start_again(struct proc *p, uint64_t lived_ms)
{
	uint64_t wait = backoff_next(&p->failures, lived_ms);

	p->restarts++;
	if (wait == 0) {
		proc_start(p);
	} else {
		log_info("%s is started again in %llu ms",
		    program_name(p->prog), (unsigned long long)wait);
		proc_start_later(p, wait);
	}
}

void
life_not_started(struct proc *p)
{
	if (p->m->phase == PHASE_STARTING) {
		fail_start(p->m, EX_OSERR, "no process could be started");
		return;
	}
	start_again(p, 0);
}

/* A process that was to serve is dead. */
static void
died(struct proc *p, int status, const char *how, const char *last)
{
	struct strbuf text;

	if (is_hopeless(p, status)) {
		strbuf_init(&text, 0);
		(void)strbuf_printf(&text, "%s does not start: %s",
		    program_name(p->prog), last[0] != '\0' ? last : how);
		fail_start(p->m, WIFEXITED(status) &&
		    WEXITSTATUS(status) == EX_CONFIG ? EX_CONFIG : EX_SOFTWARE,
		    text.p);
		strbuf_clear(&text);
		return;
	}
	if (p->retire) {
		proc_free(p);
		return;
	}
	if (p->m->phase == PHASE_STARTING && waits(status) &&
	    p->failures == 0) {
		(void)dprintf(p->m->terminal, "veredus: the start waits: %s\n",
		    last[0] != '\0' ? last : how);
		notify_send("STATUS=waiting, see the log");
	}
	start_again(p, master_now_ms() - p->started_ms);
}

/* A process that was told to stop has ended. */
static void
stopped(struct proc *p)
{
	struct master *m = p->m;

	if (p->again && m->phase != PHASE_STOPPING) {
		proc_start(p);
	} else {
		proc_free(p);
	}
}

static void
ended(struct proc *p, int status)
{
	struct strbuf how, name, last;
	enum proc_state was = p->state;
	bool clean = was == PROC_STOPPING && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0;
	struct master *m = p->m;

	strbuf_init(&how, 0);
	strbuf_init(&name, 0);
	strbuf_init(&last, 0);
	describe_status(status, &how);
	proc_name(p, &name);
	proc_ended(p, &last);
	hand_death(p, died_itself(p, status));
	if (clean) {
		log_debug("%s has stopped", name.p);
	} else {
		log_error("%s died: %s", name.p, how.p);
	}
	if (was == PROC_STOPPING || m->phase == PHASE_STOPPING) {
		stopped(p);
	} else {
		died(p, status, how.p, last.n > 0 ? last.p : "");
	}
	strbuf_clear(&how);
	strbuf_clear(&name);
	strbuf_clear(&last);
	if (m->phase == PHASE_STOPPING) {
		stop_stages(m);
	}
}

static void
on_child(evutil_socket_t sig, short what, void *arg)
{
	struct master *m = arg;
	struct proc *p;
	int status;
	pid_t pid;

	(void)sig;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		p = proc_by_pid(m, pid);
		if (p != NULL) {
			ended(p, status);
		} /* else the check of a reload: its pipe tells */
	}
}

/* -- stopping ---------------------------------------------------------------- */

static uint64_t
time_left(const struct master *m)
{
	uint64_t now = master_now_ms();

	return m->stop_by_ms > now ? m->stop_by_ms - now : 0;
}

/* Everything has gone. The names and the lock go before the answer, so that
   "stop, then start" works. */
static void
finish(struct master *m)
{
	struct ctl_session *waiter = NULL;

	if (m->stop_waiter != 0 && m->ctl != NULL) {
		waiter = ctl_session_get(m->ctl, m->stop_waiter);
	}
	listeners_close(m);
	lock_release(m->lock_fd);
	m->lock_fd = -1;
	if (waiter != NULL) {
		ctl_end(waiter, 0, "stopped");
	}
	report(m, m->exit_code);
	(void)event_base_loopexit(m->base, NULL);
}

/* Tell the programs of a stage to stop; false when there is none left. */
static bool
stop_stage(struct master *m, const struct program *prog)
{
	struct proc *p, *next;

	for (p = proc_first_of(m, prog->role); p != NULL; p = next) {
		next = proc_next_of(p);
		if (p->state == PROC_DOWN) {
			proc_free(p);
		} else if (p->state != PROC_STOPPING || p->retire) {
			p->retire = false;
			proc_stop(p, time_left(m), false);
		}
	}
	return proc_first_of(m, prog->role) != NULL;
}

static void
stop_stages(struct master *m)
{
	if (m->lock_fd == -1) {
		return; /* finished already */
	}
	while (m->stage > 0) {
		if (stop_stage(m, &programs[m->stage - 1])) {
			return; /* their end brings us back */
		}
		m->stage--;
	}
	finish(m);
}

void
life_stop(struct master *m)
{
	const struct timeval tv = { (time_t)m->settings.stop_timeout, 0 };

	if (m->phase == PHASE_STOPPING) {
		return;
	}
	log_info("stopping");
	notify_send("STOPPING=1\nSTATUS=stopping");
	m->phase = PHASE_STOPPING;
	m->stage = program_count;
	m->stop_by_ms = master_now_ms() + m->settings.stop_timeout * 1000;
	(void)event_add(m->events[EV_DEADLINE], &tv);
	reload_cancel(m);
	stop_stages(m);
}

/* `log' last: it is to write down what happened to the others. */
static void
kill_all(struct master *m, bool with_log)
{
	struct proc *p;

	for (p = m->procs; p != NULL; p = p->next) {
		if (p->pid > 0 && (with_log || p->prog->role != IPC_LOG)) {
			(void)kill(p->pid, SIGKILL);
		}
	}
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	(void)fd;
	(void)what;
	log_error("not stopped after %llu s: the rest is killed",
	    (unsigned long long)m->settings.stop_timeout);
	kill_all(m, false);
}

static void
on_term(evutil_socket_t sig, short what, void *arg)
{
	struct master *m = arg;

	(void)what;
	if (m->phase == PHASE_STOPPING && sig == SIGINT) {
		kill_all(m, true);
		return;
	}
	life_stop(m);
}

/* -- the rest of the events -------------------------------------------------- */

/* Somebody's mistake, or what means something to another MTA: by default it
   would end us. */
static void
on_other(evutil_socket_t signo, short what, void *arg)
{
	(void)what;
	(void)arg;
	log_warn("signal %d means nothing to master: ignored (SIGHUP reloads, "
	    "SIGTERM stops)", (int)signo);
}

static void
on_hup(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	reload_begin(arg, 0);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	uint64_t now = master_now_ms();
	uint64_t slept = now - m->ticked_ms;

	(void)fd;
	(void)what;
	m->ticked_ms = now;
	proc_ping_all(m, slept > m->settings.watchdog_timeout * 1000 / 2);
	logs_tick(m);
}

void
life_set_watchdog(struct master *m)
{
	uint64_t ms = m->settings.watchdog_timeout * 1000 / TICKS_A_TIMEOUT;
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	(void)event_add(m->events[EV_TICK], &tv);
}

static void
on_renew(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	struct proc *p;

	(void)fd;
	(void)what;
	for (p = m->procs; p != NULL && m->phase == PHASE_RUNNING;
	    p = p->next) {
		hand_renew(p);
	}
}

void
life_renew(struct master *m)
{
	const struct timeval tv = { 0, RENEW_MS * 1000 };

	if (!event_pending(m->events[EV_RENEW], EV_TIMEOUT, NULL)) {
		(void)event_add(m->events[EV_RENEW], &tv);
	}
}

static void
flush_log(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	const struct timeval later = { 0, 50000 };

	(void)fd;
	(void)what;
	if (!log_flush()) {
		(void)event_add(m->events[EV_LOG_RETRY], &later);
	}
}

static void
arm_log(void *arg)
{
	struct master *m = arg;

	event_active(m->events[EV_LOG], 0, 0);
}

void
life_begin(struct master *m)
{
	const struct {
		int fd; /* a signal's number, or -1 */
		short what;
		event_callback_fn call;
	} events[EV_COUNT] = {
		[EV_CHLD] = { SIGCHLD, EV_SIGNAL | EV_PERSIST, on_child },
		[EV_TERM] = { SIGTERM, EV_SIGNAL | EV_PERSIST, on_term },
		[EV_INT] = { SIGINT, EV_SIGNAL | EV_PERSIST, on_term },
		[EV_HUP] = { SIGHUP, EV_SIGNAL | EV_PERSIST, on_hup },
		[EV_USR1] = { SIGUSR1, EV_SIGNAL | EV_PERSIST, on_other },
		[EV_USR2] = { SIGUSR2, EV_SIGNAL | EV_PERSIST, on_other },
		[EV_ALRM] = { SIGALRM, EV_SIGNAL | EV_PERSIST, on_other },
		[EV_TICK] = { -1, EV_PERSIST, on_tick },
		[EV_DEADLINE] = { -1, 0, on_deadline },
		[EV_RENEW] = { -1, 0, on_renew },
		[EV_LOG] = { -1, 0, flush_log },
		[EV_LOG_RETRY] = { -1, 0, flush_log },
	};
	size_t i;

	for (i = 0; i < EV_COUNT; i++) {
		m->events[i] = event_new(m->base, events[i].fd, events[i].what,
		    events[i].call, m);
		if (m->events[i] == NULL || (events[i].fd != -1 &&
		    event_add(m->events[i], NULL) == -1)) {
			log_fatal(EX_OSERR, "no event for a signal");
		}
	}
	log_on_pending(arm_log, m);
	m->started_ms = m->ticked_ms = master_now_ms();
	life_set_watchdog(m);
	m->phase = PHASE_STARTING;
	m->stage = 0;
	start_stage(m);
}

void
life_end(struct master *m)
{
	size_t i;

	log_on_pending(NULL, NULL);
	logs_drain(m);
	ctl_server_free(m->ctl);
	for (i = 0; i < EV_COUNT; i++) {
		event_free(m->events[i]);
	}
	event_base_free(m->base);
}
