/*
 * cleanup - takes mail into the spool, and owns all decisions about addresses.
 *
 * Given: the spool directory, the control socket, the cookies' key.
 * Talks to: smtpd (mail transactions), users (accounts), qmgr (the queue),
 *     local and remote (content of what they deliver), tools (cat, trace, map).
 * Gives up: root, the network, new programs, and every file but the spool and
 *     the maps' directories.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "cleanup/accepting.h"
#include "cleanup/alarm.h"
#include "cleanup/content_service.h"
#include "cleanup/control.h"
#include "cleanup/hosts.h"
#include "cleanup/pickup.h"
#include "cleanup/program.h"
#include "cleanup/queue_service.h"
#include "cleanup/resolving.h"
#include "cleanup/smtpd_service.h"
#include "cleanup/surroundings.h"
#include "common/child.h"
#include "common/journal.h"
#include "common/log.h"
#include "common/reading.h"
#include "common/sandbox.h"

#define STOP_LOOK_MS   10  /* between two looks whether the spool is quiet */
#define GIVE_UP_MS     50
#define STOP_MARGIN_MS 500 /* before the deadline we go in any case */

struct wiring {
	struct program pg;
	int drop_fd, inotify_fd;
	struct event *stop_timer;
	uint64_t stop_left_ms;
};

static void
enter_walls(struct child *c)
{
	struct strlist dirs;
	struct sandbox_path *paths;
	struct sandbox_request rq = { .program = IPC_CLEANUP,
		.user = c->settings.queue_user, .probe = c->settings.wall_probe };
	char words[256] = "";

	surroundings_keep(&c->settings);
	surroundings_paths(&c->settings, &dirs, &paths, &rq.npaths);
	rq.paths = paths;
	sandbox_enter(&rq, words, sizeof(words));
	child_set_walls(c, words);
	free(paths);
	surroundings_clear(&dirs);
}

/* What needs rights that go away: the drop directory and its watch. */
static void
prepare(struct child *c, struct wiring *w)
{
	unsigned uid, gid;
	int queue_fd = child_directory(c, "queue");

	if (queue_fd == -1) {
		log_fatal(EX_PROTOCOL, "master gave no queue directory");
	}
	if (sandbox_account(c->settings.queue_user, &uid, &gid) == -1) {
		log_fatal(EX_NOUSER, "queue_user %s: no such account",
		    c->settings.queue_user);
	}
	if (pickup_open(queue_fd, uid, gid, &w->drop_fd, &w->inotify_fd) ==
	    -1) {
		log_fatal(EX_OSERR, "the drop directory in %s: %s",
		    c->settings.queue_directory, strerror(errno));
	}
}

static struct policy *
load_policy(struct child *c)
{
	struct slice rest, line;
	struct strbuf why;
	struct policy *p;

	strbuf_init(&why, 0);
	p = policy_new(&c->settings, &c->settings.inet_interfaces, &why);
	rest = strbuf_slice(&why);
	while (p == NULL && slice_word(&rest, "\n", &line)) {
		log_error("the settings cannot be used: %.*s", SLF(line));
	}
	strbuf_clear(&why);
	return p;
}

static void
give_up(evutil_socket_t fd, short what, void *arg)
{
	const struct child *c = arg;

	(void)fd;
	(void)what;
	log_fatal(EX_IOERR, "the journal in %s cannot be written any more; a "
	    "new start reads it", c->settings.queue_directory);
}

/* Who waits for an answer gets it first. */
static void
on_fatal(void *arg, int error)
{
	const struct timeval soon = { 0, GIVE_UP_MS * 1000 };
	struct child *c = arg;

	(void)error;
	if (event_base_once(c->base, -1, EV_TIMEOUT, give_up, c, &soon) ==
	    -1) {
		give_up(-1, 0, c);
	}
}

/* Without it nothing is set aside; that is no reason not to start. */
static void
watch_reading(int queue_fd)
{
	int dir = openat(queue_fd, "queue", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir == -1 || !reading_open(dir)) {
		log_warn("queue/reading: %s: messages that nobody can read are "
		    "not found out", strerror(errno));
	}
	if (dir != -1) {
		(void)close(dir);
	}
}

static void
open_spool(struct child *c, struct program *pg)
{
	const struct spool_config cfg = {
		.queue_fd = child_directory(c, "queue"),
		.memory_limit = c->settings.spool_memory_limit,
		.journal_segments = (unsigned)c->settings.journal_segments,
		.journal_segment_size = (uint32_t)
		    (c->settings.journal_segment_size / JOURNAL_BLOCK *
		    JOURNAL_BLOCK),
		.on_fatal = on_fatal,
		.on_fatal_arg = c,
	};

	watch_reading(cfg.queue_fd);
	if (spool_open(c->base, &cfg, &pg->spool) == -1) {
		if (errno == ENOSPC || errno == EDQUOT) {
			log_fatal(EX_TEMPFAIL, "the spool in %s: %s: it goes "
			    "on by itself when there is room, and loses "
			    "nothing", c->settings.queue_directory,
			    strerror(errno));
		}
		log_fatal(EX_IOERR, "the spool in %s: %s",
		    c->settings.queue_directory, errno == ENOTSUP ?
		    "its journal is of another version of veredus, which is to "
		    "be started and stopped first" : strerror(errno));
	}
}

static void
on_accepting(struct program *pg, const struct reply *r)
{
	if (pg->smtpd != NULL) {
		smtpd_service_accepting(pg->smtpd, r);
	}
}

static void
make_parts(struct child *c, struct wiring *w)
{
	struct program *pg = &w->pg;
	unsigned i;

	pg->base = c->base;
	pg->settings = &c->settings;
	memcpy(pg->cookie_key, c->key, sizeof(pg->cookie_key));
	pg->policy = load_policy(c);
	if (pg->policy == NULL) {
		(void)log_flush(); /* what load_policy() said */
		exit(EX_CONFIG);
	}
	open_spool(c, pg);
	pg->resolving = resolving_new(pg->base, pg->policy,
	    c->settings.ipc_timeout * 1000);
	pg->hosts = hosts_new(pg->base, pg->settings);
	pg->alarm = alarm_new(pg);
	pg->accepting = accepting_new(pg, on_accepting);
	pg->smtpd = smtpd_service_new(pg);
	pg->queue = queue_service_new(pg);
	pg->content = content_service_new(pg, IPC_LOCAL);
	pg->content_remote = content_service_new(pg, IPC_REMOTE);
	pg->pickup = pickup_new(pg, w->drop_fd, w->inotify_fd);
	for (i = 0; i < c->nlisteners; i++) {
		(void)ctl_server_new(pg->base, c->listeners[i].fd, true,
		    IPC_CLEANUP, control_verbs, control_nverbs, pg);
	}
}

/* -- from master ------------------------------------------------------------ */

static void
on_channel(struct child *c, enum ipc_role peer, unsigned index, int fd)
{
	struct wiring *w = c->arg;

	if (peer == IPC_SMTPD) {
		smtpd_service_channel(w->pg.smtpd, index, fd);
	} else if (peer == IPC_USERS) {
		resolving_channel(w->pg.resolving, fd);
	} else if (peer == IPC_DNS) {
		hosts_channel(w->pg.hosts, fd);
	} else if (peer == IPC_QMGR) {
		queue_service_channel(w->pg.queue, fd);
	} else if (peer == IPC_LOCAL) {
		content_service_channel(w->pg.content, fd);
	} else if (peer == IPC_REMOTE) {
		content_service_channel(w->pg.content_remote, fd);
	} else {
		log_error("master gave a channel to %s", ipc_role_name(peer));
		(void)close(fd);
	}
}

static void
on_reloaded(struct child *c)
{
	struct wiring *w = c->arg;
	struct policy *fresh = load_policy(c), *old = w->pg.policy;

	if (fresh == NULL) {
		log_error("reload: the old maps and addresses stay in force");
		return;
	}
	w->pg.policy = fresh;
	resolving_set_policy(w->pg.resolving, fresh);
	hosts_set_settings(w->pg.hosts, w->pg.settings);
	policy_free(old);
	accepting_look(w->pg.accepting);
}

static void
arm_stop(struct wiring *w)
{
	const struct timeval soon = { 0, STOP_LOOK_MS * 1000 };

	(void)event_add(w->stop_timer, &soon);
}

static void
on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;
	struct wiring *w = c->arg;

	(void)fd;
	(void)what;
	if (spool_busy(w->pg.spool) == 0 && spool_rest(w->pg.spool)) {
		spool_close(w->pg.spool);
		child_exit(c);
		return;
	}
	if (w->stop_left_ms < STOP_LOOK_MS) {
		child_exit(c); /* the journal has the rest */
		return;
	}
	w->stop_left_ms -= STOP_LOOK_MS;
	arm_stop(w);
}

/* No new mail; what is on its way to the disk gets there. */
static void
on_stop(struct child *c, uint64_t deadline_ms)
{
	struct wiring *w = c->arg;

	if (w->stop_timer != NULL) {
		return; /* told twice */
	}
	w->pg.stopping = true;
	accepting_look(w->pg.accepting);
	w->stop_left_ms = deadline_ms > STOP_MARGIN_MS ?
	    deadline_ms - STOP_MARGIN_MS : 0;
	w->stop_timer = event_new(c->base, -1, 0, on_stop_timer, c);
	if (w->stop_timer == NULL) {
		child_exit(c);
		return;
	}
	arm_stop(w);
}

int
main(int argc, char **argv)
{
	static const struct child_ops ops = { .channel = on_channel,
		.reloaded = on_reloaded, .stop = on_stop };
	static struct child child;
	static struct wiring wiring;

	child_begin(&child, IPC_CLEANUP, argc, argv);
	child.arg = &wiring;
	prepare(&child, &wiring);
	enter_walls(&child);
	make_parts(&child, &wiring);
	child_run(&child, &ops);
	return 0;
}
