/*
 * logs - the pipes behind each program's descriptor 2, and where lines go.
 *
 * master keeps a duplicate of each read end, so that a `log' that was started
 * again gets them all; until then lines wait in the pipes. A program's pipe
 * goes to `log' once the program is READY; what one that never was had to say
 * is read here and logged with its name.
 */
#ifndef MASTER_LOGS_H
#define MASTER_LOGS_H

#include "master/master.h"

struct logpipe {
	struct logpipe *next;
	char program[32];
	pid_t pid;
	int fd;     /* read end, non-blocking */
	bool given; /* to be with `log' (now, or when it is up again) */
	bool ended; /* the writer has gone: kept until it is empty */
};

/* Remember a read end (taken). */
struct logpipe *logs_add(struct master *m, const char *program, pid_t pid,
    int fd);
/* The program is up: its lines go to `log' from now on. */
void logs_give(struct master *m, struct logpipe *lp);
/*
 * The program has ended. What is unread and was not for `log' yet is logged
 * here; the last line of it, if any, is added to `last'.
 */
void logs_end(struct master *m, struct logpipe *lp, struct strbuf *last);
/* `log' is up (again): it gets the sink and all pipes. */
void logs_attach(struct master *m);
/* Now and then: forget emptied pipes, follow a syslogd that was restarted. */
void logs_tick(struct master *m);

/*
 * Open what the setting `log' says; false: `why' has a line. The descriptor and
 * its kind are for logs_set_sink(), which takes the descriptor and tells `log'.
 */
bool logs_open_sink(struct master *m, const struct settings *s, int *fd,
    const char **kind, struct strbuf *why);
void logs_set_sink(struct master *m, int fd, const char *kind);
/* master's own lines go through a pipe, too. */
bool logs_take_own(struct master *m);
/* At the very end: what `log' has left in the pipes goes to the terminal. */
void logs_drain(struct master *m);

#endif
