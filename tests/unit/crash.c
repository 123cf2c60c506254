#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/crash.h"
#include "tests/unit/deadline.h"
#include "tests/unit/unit.h"

struct crash_counts crash;

const char *const crash_cut_names[] = {
	[CUT_LOST] = "power cut",
	[CUT_NAMES] = "power cut (names)",
	[CUT_ZEROS] = "power cut (zeros)",
	[CUT_RANDOM] = "power cut (random)",
	[CUT_BLOCKS] = "power cut (blocks)",
};

bool
crash_long(void)
{
	return getenv("VEREDUS_LONG") != NULL;
}

void
crash_begin(unsigned deadline_s)
{
	int silence;

	/* Nothing here needs a real disk: the power cuts are made up. */
	if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) {
		(void)setenv("TMPDIR", "/dev/shm", 1);
	}
	silence = open("/dev/null", O_WRONLY); /* the code's log lines */
	(void)dup2(silence, STDERR_FILENO);
	(void)close(silence);
	unit_deadline(deadline_s);
}

void
crash_lost(const char *story, const char *what, unsigned n, const char *why)
{
	crash.lost++;
	print_message("LOST: story %s, %s at operation %u: %s\n", story, what, n,
	    why);
	if (getenv("VEREDUS_FAIL_FAST") != NULL) {
		_exit(1);
	}
}

void
crash_print(const char *name)
{
	print_message("crash: %s: %zu of these while recovering from "
	    "another; besides, %zu power cuts\n", name, crash.restarts,
	    crash.cuts);
}

int
crash_fork(struct crash_child *c)
{
	int fds[2];

	(void)fflush(stdout);
	if (pipe(fds) == -1 || (c->pid = fork()) == -1) {
		abort();
	}
	if (c->pid == 0) {
		(void)close(fds[0]);
		return fds[1];
	}
	(void)close(fds[1]);
	c->trail = fdopen(fds[0], "r");
	if (c->trail == NULL) {
		abort();
	}
	return -1;
}

bool
crash_line(struct crash_child *c, char line[CRASH_LINE])
{
	return fgets(line, CRASH_LINE, c->trail) != NULL &&
	    strchr(line, '\n') != NULL;
}

int
crash_end(struct crash_child *c)
{
	int status;

	(void)fclose(c->trail);
	if (waitpid(c->pid, &status, 0) != c->pid) {
		abort();
	}
	return status;
}

bool
crash_was_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}
