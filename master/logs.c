#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "master/logs.h"
#include "master/proc.h"

#define SYSLOG_PATH   "/dev/log"
#define PIPE_READ_MAX 65536

/* -- pipes ------------------------------------------------------------------- */

struct logpipe *
logs_add(struct master *m, const char *program, pid_t pid, int fd)
{
	struct logpipe *lp = xcalloc(1, sizeof(*lp));
	size_t n = strlen(program);

	memcpy(lp->program, program, n < sizeof(lp->program) ? n :
	    sizeof(lp->program) - 1);
	lp->pid = pid;
	lp->fd = fd;
	lp->next = m->logpipes;
	m->logpipes = lp;
	return lp;
}

static void
forget(struct master *m, struct logpipe *lp)
{
	struct logpipe **link = &m->logpipes;

	while (*link != lp) {
		link = &(*link)->next;
	}
	*link = lp->next;
	(void)close(lp->fd);
	free(lp);
}

static void
send_pipe(struct proc *log, const struct logpipe *lp)
{
	int fd = fcntl(lp->fd, F_DUPFD_CLOEXEC, 0);

	if (fd == -1) {
		log_warn("the log of %s: %s", lp->program, strerror(errno));
		return;
	}
	ipc_begin(log->ch, IPC_LOG_PIPE, 0);
	ipc_put_str(log->ch, lp->program);
	ipc_put_u(log->ch, (uint64_t)lp->pid);
	ipc_put_fd(log->ch, fd);
	ipc_end(log->ch);
	ipc_flush(log->ch);
}

static struct proc *
log_program(struct master *m)
{
	struct proc *p = proc_first_of(m, IPC_LOG);

	return p != NULL && p->state == PROC_UP ? p : NULL;
}

void
logs_give(struct master *m, struct logpipe *lp)
{
	struct proc *log = log_program(m);

	if (lp->given) {
		return;
	}
	lp->given = true;
	if (log != NULL && log->log != lp) { /* its own comes by attach */
		send_pipe(log, lp);
	}
}

/* "<3>text" -> 3, and text. A line without a level came past common/log. */
static int
take_level(struct slice *line)
{
	int level = LOG_L_ERROR;

	if (line->n > 3 && line->p[0] == '<' && ascii_isdigit(line->p[1]) &&
	    line->p[2] == '>') {
		level = line->p[1] - '0';
		*line = slice_make(line->p + 3, line->n - 3);
	}
	return level;
}

static void
relay_lines(const struct logpipe *lp, struct slice text, struct strbuf *last)
{
	struct slice line;

	while (slice_word(&text, "\n", &line)) {
		if (take_level(&line) <= LOG_L_WARN) {
			strbuf_reset(last);
			(void)strbuf_add_slice(last, line);
		}
		log_error("%s[%ld]: %.*s", lp->program, (long)lp->pid,
		    SLF(line));
	}
}

void
logs_end(struct master *m, struct logpipe *lp, struct strbuf *last)
{
	struct strbuf text;
	ssize_t n;

	if (lp->given) {
		lp->ended = true;
		logs_tick(m);
		return;
	}
	strbuf_init(&text, 0);
	n = read(lp->fd, strbuf_room(&text, PIPE_READ_MAX), PIPE_READ_MAX);
	if (n > 0) {
		strbuf_filled(&text, (size_t)n);
		relay_lines(lp, strbuf_slice(&text), last);
	}
	strbuf_clear(&text);
	forget(m, lp);
}

static bool
is_empty(const struct logpipe *lp)
{
	int n = 0;

	return ioctl(lp->fd, FIONREAD, &n) == -1 || n == 0;
}

static int
open_syslog(struct master *m)
{
	const struct sockaddr_un sun = { .sun_family = AF_UNIX,
		.sun_path = SYSLOG_PATH };
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1 || stat(SYSLOG_PATH, &st) == -1 ||
	    connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1) {
		if (fd != -1) {
			(void)close(fd);
		}
		return -1;
	}
	m->syslog_dev = st.st_dev;
	m->syslog_ino = st.st_ino;
	return fd;
}

/* syslogd was started, or started anew: another socket. */
static void
follow_syslog(struct master *m)
{
	struct stat st;
	int fd;

	if (strcmp(m->settings.log, "syslog") != 0 ||
	    stat(SYSLOG_PATH, &st) == -1 ||
	    (st.st_dev == m->syslog_dev && st.st_ino == m->syslog_ino)) {
		return;
	}
	fd = open_syslog(m);
	if (fd != -1) {
		logs_set_sink(m, fd, "syslog");
	}
}

void
logs_tick(struct master *m)
{
	struct logpipe *lp, *next;

	for (lp = m->logpipes; lp != NULL; lp = next) {
		next = lp->next;
		if (lp->ended && is_empty(lp)) {
			forget(m, lp);
		}
	}
	follow_syslog(m);
}

/* -- the sink ---------------------------------------------------------------- */

static void
send_sink(struct master *m, struct proc *log)
{
	int fd = fcntl(m->sink_fd, F_DUPFD_CLOEXEC, 0);

	if (fd == -1) {
		log_error("the log: %s", strerror(errno));
		return;
	}
	ipc_begin(log->ch, IPC_LOG_SINK, 0);
	ipc_put_str(log->ch, m->sink_kind);
	ipc_put_fd(log->ch, fd);
	ipc_end(log->ch);
}

void
logs_attach(struct master *m)
{
	struct proc *log = log_program(m);
	const struct logpipe *lp;

	send_sink(m, log);
	for (lp = m->logpipes; lp != NULL; lp = lp->next) {
		if (lp->given) {
			send_pipe(log, lp);
		}
	}
}

static int
open_file(const char *path)
{
	mode_t before = umask(0027);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC |
	    O_NOCTTY | O_NONBLOCK, 0640);
	int saved = errno;

	(void)umask(before);
	errno = saved;
	return fd;
}

/* In the foreground there is always the terminal to fall back on. */
static bool
no_syslog(struct master *m, int *fd, const char **kind, struct strbuf *why)
{
	if (!m->foreground) {
		(void)strbuf_printf(why, "log = syslog, but nobody answers on "
		    "%s: start a syslog service, or set log = file:PATH\n",
		    SYSLOG_PATH);
		return false;
	}
	log_warn("nobody answers on %s: logging to stderr", SYSLOG_PATH);
	*kind = "stderr";
	*fd = fcntl(m->terminal, F_DUPFD_CLOEXEC, 0);
	return *fd != -1;
}

bool
logs_open_sink(struct master *m, const struct settings *s, int *fd,
    const char **kind, struct strbuf *why)
{
	if (strcmp(s->log, "syslog") == 0) {
		*kind = "syslog";
		*fd = open_syslog(m);
		return *fd != -1 || no_syslog(m, fd, kind, why);
	}
	if (strcmp(s->log, "stderr") == 0) {
		*kind = "stderr";
		if (!m->foreground) {
			(void)strbuf_add_str(why, "log = stderr is for veredus "
			    "start -f: set log = syslog or file:PATH\n");
			return false;
		}
		*fd = fcntl(m->terminal, F_DUPFD_CLOEXEC, 0);
	} else {
		*kind = "file";
		*fd = open_file(s->log + strlen("file:"));
	}
	if (*fd == -1) {
		(void)strbuf_printf(why, "log = %s: %s\n", s->log,
		    strerror(errno));
	}
	return *fd != -1;
}

void
logs_set_sink(struct master *m, int fd, const char *kind)
{
	struct proc *log = log_program(m);

	if (m->sink_fd != -1) {
		(void)close(m->sink_fd);
	}
	m->sink_fd = fd;
	memset(m->sink_kind, 0, sizeof(m->sink_kind));
	memcpy(m->sink_kind, kind, strlen(kind));
	if (log != NULL) {
		send_sink(m, log);
	}
}

/* -- master's own ------------------------------------------------------------ */

bool
logs_take_own(struct master *m)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) == -1) {
		return false;
	}
	if (dup2(p[1], STDERR_FILENO) == -1) {
		return false;
	}
	(void)close(p[1]);
	logs_add(m, "master", getpid(), p[0])->given = true;
	log_setup(NULL, true);
	return true;
}

void
logs_drain(struct master *m)
{
	struct strbuf text;
	struct slice rest, line;
	ssize_t n;

	(void)log_flush();
	log_setup("veredus", false);
	(void)dup2(m->terminal, STDERR_FILENO);
	while (m->logpipes != NULL) {
		strbuf_init(&text, 0);
		n = read(m->logpipes->fd, strbuf_room(&text, PIPE_READ_MAX),
		    PIPE_READ_MAX);
		if (n > 0) {
			strbuf_filled(&text, (size_t)n);
		}
		rest = strbuf_slice(&text);
		while (slice_word(&rest, "\n", &line)) {
			(void)take_level(&line);
			log_info("%.*s", SLF(line));
		}
		strbuf_clear(&text);
		forget(m, m->logpipes);
	}
}
