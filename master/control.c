#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/ctl.h"
#include "common/log.h"
#include "common/strbuf.h"
#include "master/control.h"
#include "master/life.h"
#include "master/listeners.h"
#include "master/reload.h"

/* The effective uid of a process, as the kernel tells it (stat() of its /proc
   directory would say root: our programs are not dumpable). -1: unknown. */
static uint64_t
uid_of(pid_t pid)
{
	struct strbuf path, text;
	struct slice rest, line, word;
	uint64_t uid = UINT64_MAX;
	ssize_t n = 0;
	int fd;

	strbuf_init(&path, 0);
	strbuf_init(&text, 0);
	(void)strbuf_printf(&path, "/proc/%ld/status", (long)pid);
	fd = open(path.p, O_RDONLY | O_CLOEXEC);
	if (fd != -1) {
		n = read(fd, strbuf_room(&text, 4096), 4096);
		(void)close(fd);
	}
	if (n > 0) {
		strbuf_filled(&text, (size_t)n);
	}
	rest = strbuf_slice(&text);
	while (slice_word(&rest, "\n", &line)) {
		if (slice_word(&line, " \t", &word) &&
		    slice_eq(word, SL("Uid:")) &&
		    slice_word(&line, " \t", &word) && /* real */
		    slice_word(&line, " \t", &word)) { /* effective */
			(void)slice_number(word, UINT32_MAX, &uid);
		}
	}
	strbuf_clear(&path);
	strbuf_clear(&text);
	return uid;
}

static void
put_pid(struct ctl_session *cs, pid_t pid)
{
	uint64_t uid = pid > 0 ? uid_of(pid) : UINT64_MAX;

	if (pid <= 0) {
		ctl_row_s(cs, "pid", SL("-"));
		ctl_row_s(cs, "uid", SL("-"));
		return;
	}
	ctl_row_u(cs, "pid", (uint64_t)pid);
	if (uid == UINT64_MAX) {
		ctl_row_s(cs, "uid", SL("?"));
	} else {
		ctl_row_u(cs, "uid", uid);
	}
}

static void
put_proc(struct ctl_session *cs, const struct proc *p, uint64_t now)
{
	ctl_row_begin(cs);
	ctl_row_s(cs, "program", slice_of(program_name(p->prog)));
	ctl_row_u(cs, "index", p->index);
	put_pid(cs, p->pid);
	ctl_row_s(cs, "state", slice_of(proc_state_name(p->state)));
	ctl_row_u(cs, "uptime", p->pid > 0 ? (now - p->started_ms) / 1000 : 0);
	ctl_row_u(cs, "restarts", p->restarts);
	ctl_row_s(cs, "walls", slice_of(p->words != NULL ? p->words :
	    p->walls != NULL ? p->walls : ""));
	ctl_row_end(cs);
}

static const char *
phase_name(enum phase phase)
{
	switch (phase) {
	case PHASE_STARTING:
		return "starting";
	case PHASE_RUNNING:
		return "up";
	case PHASE_STOPPING:
		return "stopping";
	}
	return "?";
}

static void
ask_status(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned n)
{
	struct master *m = arg;
	uint64_t now = master_now_ms();
	const struct proc *p;

	(void)words;
	(void)n;
	ctl_row_begin(cs);
	ctl_row_s(cs, "program", SL("master"));
	ctl_row_u(cs, "index", 0);
	put_pid(cs, getpid());
	ctl_row_s(cs, "state", slice_of(phase_name(m->phase)));
	ctl_row_u(cs, "uptime", (now - m->started_ms) / 1000);
	ctl_row_u(cs, "restarts", 0);
	ctl_row_s(cs, "walls", SL("none: it parses only the settings"));
	ctl_row_end(cs);
	for (p = m->procs; p != NULL; p = p->next) {
		put_proc(cs, p, now);
	}
	ctl_end(cs, 0, "%s", "");
}

static void
ask_reload(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned n)
{
	(void)words;
	(void)n;
	log_info("reload asked for by uid %u", ctl_session_uid(cs));
	reload_begin(arg, ctl_session_id(cs));
}

static void
ask_stop(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned n)
{
	struct master *m = arg;

	(void)words;
	(void)n;
	if (m->stop_waiter != 0 &&
	    ctl_session_get(m->ctl, m->stop_waiter) != NULL) {
		ctl_end(cs, EX_TEMPFAIL, "it is stopping already");
		return;
	}
	log_info("stop asked for by uid %u", ctl_session_uid(cs));
	m->stop_waiter = ctl_session_id(cs);
	life_stop(m);
}

static const struct ctl_verb verbs[] = {
	{ "status", true, 0, 0, ask_status },
	{ "reload", true, 0, 0, ask_reload },
	{ "stop", true, 0, 0, ask_stop },
};

void
control_begin(struct master *m)
{
	struct listener *l = m->listeners;

	while (l != NULL && l->row->role != IPC_MASTER) {
		l = l->next;
	}
	if (l != NULL) {
		m->ctl = ctl_server_new(m->base, l->fd, true, IPC_MASTER,
		    verbs, NELEMS(verbs), m);
		l->fd = -1; /* taken */
	}
}
