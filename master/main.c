/*
 * master - starts, watches and stops the programs of one instance.
 *
 * Given: the settings' file (-c), -f to stay in the foreground, -R N: a pipe to
 * the tool that waits for the start. Talks to: every program that it starts,
 * and administrators' tools. Gives up: nothing that it needs to bind ports and
 * to start programs as other users; it reads nothing but the settings.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ctl.h"
#include "common/fstype.h"
#include "common/instance.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "master/control.h"
#include "master/life.h"
#include "master/listeners.h"
#include "master/notify.h"

#define FILES_WANTED 65536
#define BIND_TRIES   100 /* of 50 ms */

static void
read_arguments(struct master *m, int argc, char **argv)
{
	const char *conf = SYSCONFDIR "/veredus/veredus.conf";
	uint64_t fd;
	int c;

	while ((c = getopt(argc, argv, "c:fR:")) != -1) {
		switch (c) {
		case 'c':
			conf = optarg;
			break;
		case 'f':
			m->foreground = true;
			break;
		case 'R':
			if (!slice_number(slice_of(optarg), INT32_MAX, &fd) ||
			    fcntl((int)fd, F_SETFD, FD_CLOEXEC) == -1) {
				log_fatal(EX_USAGE, "-R: no such descriptor");
			}
			m->report_fd = (int)fd;
			break;
		default:
			log_fatal(EX_USAGE, "use veredus start");
		}
	}
	m->conf = realpath(conf, NULL);
	if (m->conf == NULL) {
		log_fatal(EX_NOINPUT, "%s: %s", conf, strerror(errno));
	}
}

/* What all programs inherit. */
static void
set_process(void)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit files;

	(void)umask(077);
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		if (files.rlim_max < FILES_WANTED && geteuid() == 0) {
			files.rlim_max = FILES_WANTED;
		}
		files.rlim_cur = files.rlim_max < FILES_WANTED ?
		    files.rlim_max : FILES_WANTED;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	(void)signal(SIGPIPE, SIG_IGN);
}

/* Print the lines and end; nothing has been started. */
static _Noreturn void
give_up(int code, struct strbuf *lines)
{
	struct slice rest = strbuf_slice(lines), line;

	while (slice_word(&rest, "\n", &line)) {
		log_error("%.*s", SLF(line));
	}
	exit(code);
}

static void
load(struct master *m)
{
	struct strbuf errors;

	strbuf_init(&errors, 0);
	if (!config_load(m->conf, m->as_root, &m->settings, &m->source,
	    &errors)) {
		give_up(EX_CONFIG, &errors);
	}
	log_set_debug(m->settings.debug);
}

static void
make_directories(struct master *m)
{
	struct instance_dir dirs[INSTANCE_DIRS];
	struct strbuf why;
	bool ok;
	size_t i;

	strbuf_init(&why, 0);
	ok = instance_dirs(&m->settings, m->as_root, dirs, &why);
	for (i = 0; i < INSTANCE_DIRS && ok; i++) {
		ok = instance_dir_make(&dirs[i], &why);
	}
	instance_dirs_clear(dirs);
	if (!ok) {
		give_up(EX_CANTCREAT, &why);
	}
	strbuf_clear(&why);
}

/* Flushes over a network mean what another host wants them to. */
static void
refuse_network(const struct master *m)
{
	const char *name;

	switch (fstype_of(m->queue_fd, &name)) {
	case FSTYPE_REMOTE:
		log_fatal(EX_CONFIG, "queue_directory %s lies on %s: mail that "
		    "was accepted could be lost there; use a local disk",
		    m->settings.queue_directory, name);
	case FSTYPE_MEMORY:
		log_warn("queue_directory %s lies on %s: all mail in it is "
		    "lost when the power goes", m->settings.queue_directory,
		    name);
		break;
	case FSTYPE_UNSURE:
		log_warn("queue_directory %s lies on %s: whether a flush there "
		    "means anything cannot be told", m->settings.queue_directory,
		    name);
		break;
	case FSTYPE_GOOD:
		break;
	}
}

static void
take_spool(struct master *m, bool *unclean)
{
	struct strbuf why;

	strbuf_init(&why, 0);
	m->queue_fd = open(m->settings.queue_directory,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->queue_fd == -1) {
		log_fatal(EX_CANTCREAT, "%s: %s", m->settings.queue_directory,
		    strerror(errno));
	}
	refuse_network(m);
	m->lock_fd = lock_spool(m->settings.queue_directory, unclean, &why);
	if (m->lock_fd == -1) {
		give_up(EX_UNAVAILABLE, &why);
	}
	strbuf_clear(&why);
}

/* After a kill the old smtpd may have the port for a moment more. */
static void
open_listeners(struct master *m, bool unclean)
{
	const struct timespec pause = { 0, 50000000 };
	int tries = unclean ? BIND_TRIES : 1;
	struct listener *fresh;
	struct strbuf why;

	strbuf_init(&why, 0);
	while (!listeners_plan(m, &m->settings, &fresh, &why)) {
		if (--tries == 0 || errno != EADDRINUSE) {
			lock_release(m->lock_fd);
			give_up(EX_UNAVAILABLE, &why);
		}
		strbuf_reset(&why);
		(void)nanosleep(&pause, NULL);
	}
	(void)listeners_commit(m, fresh);
	strbuf_clear(&why);
}

static void
open_all(struct master *m, bool unclean)
{
	struct strbuf why;
	const char *kind;
	int fd;

	strbuf_init(&why, 0);
	open_listeners(m, unclean);
	if (!logs_open_sink(m, &m->settings, &fd, &kind, &why)) {
		listeners_close(m);
		lock_release(m->lock_fd);
		give_up(EX_CANTCREAT, &why);
	}
	logs_set_sink(m, fd, kind);
	if (getrandom(m->key, sizeof(m->key), 0) != sizeof(m->key)) {
		log_fatal(EX_OSERR, "no random key: %s", strerror(errno));
	}
	strbuf_clear(&why);
}

/* Keep the first descriptor 2; on our own, stand nowhere in anyone's way. */
static void
arrange_terminal(struct master *m)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	m->terminal = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	if (null == -1 || m->terminal == -1 ||
	    dup2(null, STDIN_FILENO) == -1 ||
	    dup2(null, STDOUT_FILENO) == -1 || chdir("/") == -1) {
		log_fatal(EX_OSERR, "descriptors: %s", strerror(errno));
	}
	(void)close(null);
}

int
main(int argc, char **argv)
{
	struct master m = { .report_fd = -1, .sink_fd = -1, .lock_fd = -1,
		.queue_fd = -1 };
	bool unclean;

	log_setup("veredus", false);
	notify_init();
	m.as_root = geteuid() == 0;
	read_arguments(&m, argc, argv);
	set_process();
	arrange_terminal(&m);
	load(&m);
	make_directories(&m);
	take_spool(&m, &unclean);
	open_all(&m, unclean);
	m.base = event_base_new();
	if (m.base == NULL || !logs_take_own(&m)) {
		log_fatal(EX_OSERR, "no event loop");
	}
	control_begin(&m);
	life_begin(&m);
	(void)event_base_dispatch(m.base);
	life_end(&m);
	settings_clear(&m.settings);
	settings_source_clear(&m.source);
	free(m.conf);
	return m.exit_code;
}
