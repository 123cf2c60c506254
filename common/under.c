#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sandbox.h"
#include "common/under.h"

#define UNDER_CPU_S 60 /* a check that loops ends */

static bool
drop_to(const char *user, struct strbuf *why)
{
	unsigned uid, gid;

	if (geteuid() != 0) {
		return true;
	}
	if (sandbox_account(user, &uid, &gid) == -1 || uid == 0) {
		(void)strbuf_printf(why, "there is no account \"%s\"\n", user);
		return false;
	}
	if (setgroups(0, NULL) == -1 || setresgid(gid, gid, gid) == -1 ||
	    setresuid(uid, uid, uid) == -1) {
		(void)strbuf_printf(why, "cannot become %s: %s\n", user,
		    strerror(errno));
		return false;
	}
	return true;
}

static _Noreturn void
be_child(int out, const struct under_work *w)
{
	const struct rlimit cpu = { UNDER_CPU_S, UNDER_CPU_S };
	struct strbuf why;
	struct slice rest;
	ssize_t n = 1;
	bool ok;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)setrlimit(RLIMIT_CPU, &cpu);
	(void)dup2(out, STDIN_FILENO); /* not closed by what follows */
	(void)close_range(3, ~0u, 0);
	strbuf_init(&why, 0);
	if (w->prepare != NULL) {
		w->prepare(w->arg);
	}
	ok = drop_to(w->user, &why) && w->check(w->arg, &why);
	rest = strbuf_slice(&why);
	if (write(STDIN_FILENO, ok ? "Y" : "N", 1) == 1) {
		while (rest.n > 0 && n > 0) {
			n = write(STDIN_FILENO, rest.p, rest.n);
			if (n > 0) {
				rest.p += n;
				rest.n -= (size_t)n;
			}
		}
	}
	_exit(0);
}

int
under_start(const struct under_work *w, pid_t *pid)
{
	int p[2], saved;

	if (pipe2(p, O_CLOEXEC) == -1) {
		return -1;
	}
	(void)fflush(NULL); /* or the child would write it again */
	*pid = fork();
	if (*pid == -1) {
		saved = errno;
		(void)close(p[0]);
		(void)close(p[1]);
		errno = saved;
		return -1;
	}
	if (*pid == 0) {
		be_child(p[1], w);
	}
	(void)close(p[1]);
	return p[0];
}

bool
under_verdict(struct slice got, struct strbuf *why)
{
	if (got.n == 0 || (got.p[0] != 'Y' && got.p[0] != 'N')) {
		(void)strbuf_add_str(why, "the check of the maps died\n");
		return false;
	}
	(void)strbuf_add(why, got.p + 1, got.n - 1);
	return got.p[0] == 'Y';
}

bool
under_run(const struct under_work *w, struct strbuf *why)
{
	struct strbuf got;
	ssize_t r = 1;
	pid_t pid;
	bool ok;
	int fd = under_start(w, &pid);

	if (fd == -1) {
		(void)strbuf_printf(why, "cannot check the maps: %s\n",
		    strerror(errno));
		return false;
	}
	strbuf_init(&got, 0);
	while (r > 0 || (r == -1 && errno == EINTR)) {
		r = read(fd, strbuf_room(&got, 4096), 4096);
		if (r > 0) {
			strbuf_filled(&got, (size_t)r);
		}
	}
	(void)close(fd);
	while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) {
	}
	ok = under_verdict(strbuf_slice(&got), why);
	strbuf_clear(&got);
	return ok;
}
