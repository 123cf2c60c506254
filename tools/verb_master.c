/* veredus start, stop, reload, status: what master does or tells. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "tools/verbs.h"

/* Become master. Returns only when that fails. */
static int
exec_master(const struct tool *t, const char *option, const char *value)
{
	struct strbuf path;
	char *argv[6];
	size_t n = 0;

	strbuf_init(&path, 0);
	(void)strbuf_printf(&path, "%s/master", t->settings.daemon_directory);
	argv[n++] = xstrdup("master");
	argv[n++] = xstrdup("-c");
	argv[n++] = xstrdup(t->conf);
	argv[n++] = xstrdup(option);
	argv[n++] = value != NULL ? xstrdup(value) : NULL;
	argv[n] = NULL;
	(void)execv(path.p, argv);
	tool_say(t, "%s: %s (see daemon_directory)", path.p, strerror(errno));
	return EX_CONFIG;
}

static _Noreturn void
be_daemon(const struct tool *t, int report)
{
	char number[16];
	int null = open("/dev/null", O_RDWR);

	(void)setsid();
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	(void)snprintf(number, sizeof(number), "%d", report);
	_exit(exec_master(t, "-R", number));
}

/* In the background; waits until all programs are ready. */
static int
start_daemon(const struct tool *t)
{
	unsigned char code;
	int p[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe(p) == -1 || (pid = fork()) == -1) {
		tool_say(t, "cannot start: %s", strerror(errno));
		return EX_OSERR;
	}
	if (pid == 0) {
		(void)close(p[0]);
		be_daemon(t, p[1]);
	}
	(void)close(p[1]);
	do {
		n = read(p[0], &code, 1);
	} while (n == -1 && errno == EINTR);
	if (n == 1) {
		return code; /* what was wrong has been said on stderr */
	}
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status)) {
		return WEXITSTATUS(status);
	}
	tool_say(t, "master died while starting");
	return EX_SOFTWARE;
}

int
verb_start(struct tool *t, int argc, char **argv)
{
	bool foreground = false;
	int c;

	while ((c = getopt(argc, argv, "f")) != -1) {
		if (c != 'f') {
			return verb_usage(t, argv[0]);
		}
		foreground = true;
	}
	if (optind != argc) {
		return verb_usage(t, argv[0]);
	}
	tool_need_settings(t);
	return foreground ? exec_master(t, "-f", NULL) : start_daemon(t);
}

/* A verb without arguments that master answers. */
static int
plain(struct tool *t, int argc, char **argv, const char *options)
{
	const char *words[] = { argv[0] };
	int c;

	while ((c = getopt(argc, argv, options)) != -1) {
		if (c != 'j') {
			return verb_usage(t, argv[0]);
		}
		t->json = true;
	}
	if (optind != argc) {
		return verb_usage(t, argv[0]);
	}
	tool_need_sockets(t);
	return tool_ask(t, TOOL_MASTER, words, 1, NULL);
}

int
verb_stop(struct tool *t, int argc, char **argv)
{
	return plain(t, argc, argv, "");
}

int
verb_reload(struct tool *t, int argc, char **argv)
{
	return plain(t, argc, argv, "");
}

int
verb_status(struct tool *t, int argc, char **argv)
{
	return plain(t, argc, argv, "j");
}
