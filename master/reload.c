#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>

#include "cleanup/check.h"
#include "common/ctl.h"
#include "common/log.h"
#include "common/under.h"
#include "common/xmalloc.h"
#include "master/hand.h"
#include "master/life.h"
#include "master/listeners.h"
#include "master/notify.h"
#include "master/reload.h"

#define CHECK_TIMEOUT_S  60
#define CHECK_TEXT_MAX   (256 * 1024)
#define RESTART_STOP_MS  20000

struct reload {
	struct master *m;
	uint32_t session;
	struct settings settings; /* fresh */
	struct settings_source source;
	struct strbuf errors;
	struct strbuf got; /* from the check */
	int fd;            /* the check's pipe, or -1 */
	pid_t pid;
	struct event *readable, *timer;
};

static void
reload_free(struct reload *r)
{
	if (r->readable != NULL) {
		event_free(r->readable);
	}
	if (r->timer != NULL) {
		event_free(r->timer);
	}
	if (r->fd != -1) {
		(void)close(r->fd);
	}
	settings_clear(&r->settings);
	settings_source_clear(&r->source);
	strbuf_clear(&r->errors);
	strbuf_clear(&r->got);
	r->m->reload = NULL;
	free(r);
}

static struct ctl_session *
session_of(struct reload *r)
{
	return r->session != 0 && r->m->ctl != NULL ?
	    ctl_session_get(r->m->ctl, r->session) : NULL;
}

/* The old settings stay: say why, and forget the new ones. */
static void
refuse(struct reload *r)
{
	struct ctl_session *cs = session_of(r);
	struct slice rest = strbuf_slice(&r->errors), line;

	while (slice_word(&rest, "\n", &line)) {
		log_error("reload: %.*s", SLF(line));
		if (cs != NULL) {
			ctl_row_begin(cs);
			ctl_row_s(cs, "error", line);
			ctl_row_end(cs);
		}
	}
	log_error("reload refused: the old settings stay in force");
	if (cs != NULL) {
		ctl_end(cs, EX_CONFIG, "the old settings stay in force");
	}
	notify_send("READY=1\nSTATUS=running (a reload was refused)");
	reload_free(r);
}

/* -- the switch -------------------------------------------------------------- */

static void
send_settings(struct master *m)
{
	struct proc *p;

	for (p = m->procs; p != NULL; p = p->next) {
		if (ipc_chan_alive(p->ch) && p->state != PROC_STOPPING) {
			hand_settings(p);
		}
	}
}

/* Its walls leave open what lay elsewhere: start it anew. */
static void
restart(struct master *m, enum ipc_role role, const char *why)
{
	struct proc *p = proc_first_of(m, role);

	if (p != NULL &&
	    (p->state == PROC_UP || p->state == PROC_STARTING)) {
		log_info("%s is started anew: %s", ipc_role_name(role), why);
		proc_stop(p, RESTART_STOP_MS, true);
	}
}

/* Nothing can fail from here on. Takes the sink and the fresh listeners. */
static void
commit(struct reload *r, struct listener *fresh, int sink, const char *kind)
{
	struct master *m = r->m;
	bool maps = config_moves_maps(&m->settings, &r->settings);
	bool files = config_moves_dns_files(&m->settings, &r->settings);
	bool smtpd = m->settings.smtpd_processes !=
	    r->settings.smtpd_processes;
	struct ctl_session *cs = session_of(r);

	settings_clear(&m->settings);
	settings_source_clear(&m->source);
	m->settings = r->settings;
	m->source = r->source;
	settings_init(&r->settings);
	r->source = (struct settings_source){ NULL, NULL, NULL };
	m->generation++;
	log_set_debug(m->settings.debug);
	smtpd = listeners_commit(m, fresh) || smtpd;
	logs_set_sink(m, sink, kind);
	life_set_watchdog(m);
	if (maps) {
		restart(m, IPC_CLEANUP, "its maps lie elsewhere");
	}
	if (files) {
		restart(m, IPC_DNS, "its files lie elsewhere");
	}
	send_settings(m);
	if (smtpd) {
		life_replace_smtpd(m);
	}
	log_info("reloaded: %s", m->conf);
	if (cs != NULL) {
		ctl_end(cs, 0, "reloaded");
	}
	notify_send("READY=1\nSTATUS=running");
	reload_free(r);
}

/* The maps are good: open what is new, then switch. */
static void
go_on(struct reload *r)
{
	struct listener *fresh = NULL;
	const char *kind = "";
	int sink = -1;

	if (!listeners_plan(r->m, &r->settings, &fresh, &r->errors)) {
		refuse(r);
	} else if (!logs_open_sink(r->m, &r->settings, &sink, &kind,
	    &r->errors)) {
		listeners_abort(fresh);
		refuse(r);
	} else {
		commit(r, fresh, sink, kind);
	}
}

/* -- the check --------------------------------------------------------------- */

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;

	(void)fd;
	(void)what;
	(void)kill(r->pid, SIGKILL);
	(void)strbuf_printf(&r->errors, "the check of the maps took longer "
	    "than %d s\n", CHECK_TIMEOUT_S);
	refuse(r);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;
	char buf[4096];
	ssize_t n = read((int)fd, buf, sizeof(buf));

	(void)what;
	if (n > 0) {
		(void)strbuf_add(&r->got, buf, (size_t)n);
		return;
	}
	if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	if (under_verdict(strbuf_slice(&r->got), &r->errors)) {
		go_on(r);
	} else {
		refuse(r);
	}
}

static bool
start_check(struct reload *r)
{
	const struct timeval tv = { CHECK_TIMEOUT_S, 0 };

	const struct under_work work = { .user = r->settings.queue_user,
		.prepare = cleanup_check_prepare, .check = cleanup_check,
		.arg = &r->settings };

	r->fd = under_start(&work, &r->pid);
	if (r->fd == -1) {
		(void)strbuf_printf(&r->errors, "cannot check the maps: %s\n",
		    strerror(errno));
		return false;
	}
	(void)fcntl(r->fd, F_SETFL, O_NONBLOCK);
	r->readable = event_new(r->m->base, r->fd, EV_READ | EV_PERSIST,
	    on_readable, r);
	r->timer = event_new(r->m->base, -1, 0, on_timeout, r);
	if (r->readable == NULL || r->timer == NULL ||
	    event_add(r->readable, NULL) == -1 ||
	    event_add(r->timer, &tv) == -1) {
		log_panic("no event for a reload");
	}
	return true;
}

static void
not_now(struct master *m, uint32_t session, const char *why)
{
	struct ctl_session *cs = session != 0 && m->ctl != NULL ?
	    ctl_session_get(m->ctl, session) : NULL;

	log_warn("no reload: %s", why);
	if (cs != NULL) {
		ctl_end(cs, EX_TEMPFAIL, "%s", why);
	}
}

static void
notify_reloading(void)
{
	char text[80];
	int n = snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)master_now_ms() * 1000);

	if (n > 0 && (size_t)n < sizeof(text)) {
		notify_send(text);
	}
}

void
reload_begin(struct master *m, uint32_t session)
{
	struct reload *r;

	if (m->phase != PHASE_RUNNING || m->reload != NULL) {
		not_now(m, session, m->reload != NULL ?
		    "another reload is under way" :
		    "not while starting or stopping");
		return;
	}
	notify_reloading();
	r = xcalloc(1, sizeof(*r));
	r->m = m;
	r->session = session;
	r->fd = -1;
	strbuf_init(&r->errors, 0);
	strbuf_init(&r->got, CHECK_TEXT_MAX);
	settings_init(&r->settings);
	m->reload = r;
	if (!config_load(m->conf, m->as_root, &r->settings, &r->source,
	    &r->errors) ||
	    !config_same_base(m->conf, &m->source, &r->source, &r->errors) ||
	    !start_check(r)) {
		refuse(r);
	}
}

void
reload_cancel(struct master *m)
{
	struct ctl_session *cs;

	if (m->reload != NULL) {
		cs = session_of(m->reload);
		if (cs != NULL) {
			ctl_end(cs, EX_TEMPFAIL, "Veredus is stopping");
		}
		if (m->reload->fd != -1) {
			(void)kill(m->reload->pid, SIGKILL);
		}
		reload_free(m->reload);
	}
}
