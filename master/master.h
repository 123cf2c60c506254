/*
 * master - the supervisor: what all its parts share.
 *
 * Parts: config (settings), lock (one master a spool), listeners, logs (pipes
 * and sink), proc (a program's process), hand (what a program is given), life
 * (start, stop and restart of all), reload, control (verbs of the tools),
 * notify (service manager). One thread, one event loop; nothing in it waits
 * for a program.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/ipc.h"
#include "common/settings.h"

struct ctl_server;
struct event;
struct event_base;
struct listener;
struct logpipe;
struct proc;
struct reload;

enum phase {
	PHASE_STARTING, /* programs[0..stage) are up, `stage' is starting */
	PHASE_RUNNING,  /* all were up once; what dies is started again */
	PHASE_STOPPING, /* programs[stage..) have ended; nothing is started */
};

struct master {
	struct event_base *base;
	char *conf;         /* absolute */
	bool foreground;
	bool as_root;
	int report_fd;      /* to the tool that waits for the start, or -1 */
	int terminal;       /* descriptor 2 as it was at the start */

	struct settings settings;
	struct settings_source source;
	unsigned generation; /* of the settings */

	enum phase phase;
	size_t stage;
	int exit_code;
	uint64_t started_ms, stop_by_ms, ticked_ms;

	struct proc *procs;
	struct listener *listeners;
	struct logpipe *logpipes;
	int sink_fd;
	char sink_kind[8];
	uint64_t syslog_dev, syslog_ino; /* the /dev/log that we are bound to */

	unsigned char key[16]; /* of the delivery cookies */
	int lock_fd, queue_fd;
	struct ctl_server *ctl;
	uint32_t stop_waiter;  /* session of `veredus stop', or 0 */
	struct reload *reload; /* one under way, or NULL */
	struct event *events[12];
};

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t master_now_ms(void);

/* -- config ------------------------------------------------------------------ */

/*
 * Read the settings, complete what is derived (inet_interfaces) and check what
 * only this host can tell (accounts, listen). On false `errors' has lines, and
 * *s and *src are empty.
 */
bool config_load(const char *conf, bool as_root, struct settings *s,
    struct settings_source *src, struct strbuf *errors);
/* Settings that only a restart can change: a line for each that differs. */
bool config_same_base(const char *conf, const struct settings_source *now,
    const struct settings_source *fresh, struct strbuf *errors);
/* Must cleanup be started anew, because its maps lie elsewhere? */
bool config_moves_maps(const struct settings *now,
    const struct settings *fresh);
/* The same of dns and its two files. */
bool config_moves_dns_files(const struct settings *now,
    const struct settings *fresh);

/* -- lock -------------------------------------------------------------------- */

/*
 * Lock the spool for this process and those that it hands the descriptor to.
 * Waits a little for what is still ending. Returns the descriptor, or -1: `why'
 * names who has it. *unclean: the master before was killed, so some of its
 * programs may still be on their way out.
 */
int lock_spool(const char *queue_directory, bool *unclean, struct strbuf *why);
/* A clean end: nothing of this instance is left. Closes. */
void lock_release(int fd);

#endif
