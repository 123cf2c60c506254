/*
 * tool - what all tools share: finding the settings, asking the programs,
 * saying what went wrong. Tools run as their caller and are short-lived: they
 * may block and exit.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <stdbool.h>
#include <stdio.h>

#include "common/ipc.h"
#include "common/settings.h"

#define TOOL_CONF_DEFAULT SYSCONFDIR "/veredus/veredus.conf"

struct tool {
	const char *name;   /* in front of what it says: "veredus" */
	const char *conf;   /* the settings' file */
	bool json;          /* rows as JSON lines */
	bool loaded;
	struct settings settings;
	struct settings_source source;
};

/* `conf' is what an option said, or NULL: then VEREDUS_CONF, then the default.
   Reads no file yet. */
void tool_init(struct tool *t, const char *name, const char *conf);
void tool_clear(struct tool *t);
/* Read the settings. On false says on stderr each thing that is wrong. */
bool tool_load(struct tool *t);
/* tool_load() or exit(EX_CONFIG). */
void tool_need_settings(struct tool *t);
/*
 * Enough to find the sockets and the spool: when the file has errors, they are
 * said, and what the lines of the directories' settings alone say is used, so
 * that a running system can be asked and stopped whatever became of its file.
 * Exits with EX_CONFIG when not even that is possible.
 */
void tool_need_sockets(struct tool *t);

/* "NAME: text" on stderr. */
void tool_say(const struct tool *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
_Noreturn void tool_die(const struct tool *t, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* RUNTIME/`name' ("admin/master", "public/mailq"); needs the settings. The
   caller frees it. */
char *tool_socket_path(const struct tool *t, const char *name);

/* Who answers what. */
enum tool_peer { TOOL_MASTER, TOOL_QUEUE, TOOL_CLEANUP, TOOL_MAILQ };

/*
 * Ask and print the whole answer: rows (table or JSON lines) and octets on
 * stdout, the last line on stdout when all is well, else on stderr. Says so
 * when the program is not running. Returns the exit code (sysexits.h). `count',
 * unless NULL, becomes the number of rows.
 */
int tool_ask(const struct tool *t, enum tool_peer whom,
    const char *const *words, size_t nwords, size_t *count);

#endif
