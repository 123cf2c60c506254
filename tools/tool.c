#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/ctl.h"
#include "common/log.h"
#include "common/xmalloc.h"
#include "tools/ctl_client.h"
#include "tools/rows.h"
#include "tools/tool.h"

#define ANSWER_TIMEOUT_MS 120000
#define OUTPUT_BUFFER     (32 * 1024) /* octets of one write, not to terminals */

static const struct {
	const char *socket;
	enum ipc_role role;
} peers[] = {
	[TOOL_MASTER] = { "admin/master", IPC_MASTER },
	[TOOL_QUEUE] = { "admin/queue", IPC_QMGR },
	[TOOL_CLEANUP] = { "admin/cleanup", IPC_CLEANUP },
	[TOOL_MAILQ] = { "public/mailq", IPC_QMGR },
};

void
tool_init(struct tool *t, const char *name, const char *conf)
{
	static char output[OUTPUT_BUFFER];
	const char *env = getenv("VEREDUS_CONF");

	*t = (struct tool){ .name = name };
	if (conf != NULL) {
		t->conf = conf;
	} else {
		t->conf = env != NULL && env[0] != '\0' ? env :
		    TOOL_CONF_DEFAULT;
	}
	settings_init(&t->settings);
	log_setup(name, false);
	if (isatty(STDOUT_FILENO) == 0) {
		(void)setvbuf(stdout, output, _IOFBF, sizeof(output));
	}
}

void
tool_clear(struct tool *t)
{
	settings_clear(&t->settings);
	settings_source_clear(&t->source);
	t->loaded = false;
}

bool
tool_load(struct tool *t)
{
	struct strbuf errors;

	if (t->loaded) {
		return true;
	}
	strbuf_init(&errors, 0);
	t->loaded = settings_load(t->conf, slice_make(NULL, 0), &t->settings,
	    &t->source, &errors);
	if (!t->loaded && errors.n > 0) {
		(void)fputs(errors.p, stderr);
	}
	strbuf_clear(&errors);
	return t->loaded;
}

void
tool_need_settings(struct tool *t)
{
	if (!tool_load(t)) {
		exit(EX_CONFIG);
	}
}

/* Does the line set something that sockets are found by? */
static bool
is_about_sockets(struct slice line)
{
	static const char *const names[] = { "queue_directory",
		"runtime_directory", "admin_group", "empty_directory" };
	struct slice name = slice_trim(slice_make(line.p,
	    slice_find(line, '=')));
	size_t i;

	for (i = 0; i < NELEMS(names); i++) {
		if (line.n > 0 && !ascii_isspace(line.p[0]) &&
		    slice_eq(slice_of(names[i]), name)) {
			return true;
		}
	}
	return false;
}

/* Those lines of the settings' file. */
static void
read_socket_lines(const char *path, struct strbuf *out)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	(void)strbuf_add_char(out, '\n');
	while (f != NULL && (n = getline(&line, &room, f)) > 0) {
		if (is_about_sockets(slice_make(line, (size_t)n))) {
			(void)strbuf_add(out, line, (size_t)n);
		}
	}
	free(line);
	if (f != NULL) {
		(void)fclose(f);
	}
}

void
tool_need_sockets(struct tool *t)
{
	struct strbuf lines, errors;

	if (tool_load(t)) {
		return;
	}
	strbuf_init(&lines, 1024 * 1024);
	strbuf_init(&errors, 0);
	read_socket_lines(t->conf, &lines);
	t->loaded = lines.n > 1 && settings_load(t->conf,
	    strbuf_slice(&lines), &t->settings, &t->source, &errors);
	strbuf_clear(&lines);
	strbuf_clear(&errors);
	if (!t->loaded) {
		exit(EX_CONFIG);
	}
	tool_say(t, "going on with runtime_directory = %s",
	    t->settings.runtime_directory);
}

static void
say(const struct tool *t, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* What it says may hold what strangers wrote: nothing that a terminal obeys. */
static void
say(const struct tool *t, const char *fmt, va_list ap)
{
	struct strbuf text, shown;

	strbuf_init(&text, 0);
	strbuf_init(&shown, 0);
	(void)strbuf_vprintf(&text, fmt, ap);
	text_add_printable(&shown, strbuf_slice(&text));
	(void)fflush(stdout);
	(void)fprintf(stderr, "%s: %s\n", t->name,
	    shown.n > 0 ? shown.p : "");
	strbuf_clear(&text);
	strbuf_clear(&shown);
}

void
tool_say(const struct tool *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(t, fmt, ap);
	va_end(ap);
}

void
tool_die(const struct tool *t, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(t, fmt, ap);
	va_end(ap);
	exit(code);
}

char *
tool_socket_path(const struct tool *t, const char *name)
{
	struct strbuf path;

	strbuf_init(&path, 0);
	(void)strbuf_printf(&path, "%s/%s", t->settings.runtime_directory,
	    name);
	return strbuf_take(&path);
}

/* Why a connection was not possible, and the exit code for it. */
static int
say_no_connection(const struct tool *t, const char *path, int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		tool_say(t, "Veredus is not running (nobody answers on %s)",
		    path);
		return EX_UNAVAILABLE;
	case EACCES:
	case EPERM:
		tool_say(t, "%s: you may not: members of %s may", path,
		    t->settings.admin_group);
		return EX_NOPERM;
	case EMSGSIZE:
		tool_say(t, "too many or too long arguments");
		return EX_USAGE;
	default:
		tool_say(t, "%s: %s", path, strerror(error));
		return EX_UNAVAILABLE;
	}
}

static void
print_end(const struct tool *t, const struct ctl_item *item)
{
	struct strbuf line;

	strbuf_init(&line, 0);
	text_add_printable(&line, item->octets);
	if (line.n == 0 && item->exit == 0) {
		return;
	}
	if (item->exit != 0) {
		tool_say(t, "%s", line.n > 0 ? line.p : "failed");
	} else if (!t->json) {
		(void)puts(line.p);
	}
	strbuf_clear(&line);
}

/* False: the row is not of that kind. */
static bool
say_progress(const struct tool *t, struct slice row)
{
	struct row_column col;

	if (row_next(&row, &col) != 1 || !col.is_text ||
	    !slice_eq(col.name, slice_of(CTL_PROGRESS))) {
		return false;
	}
	tool_say(t, "%.*s", SLF(col.text));
	return true;
}

/* Read and print until the end; returns the exit code. */
static int
print_answer(const struct tool *t, struct ctl_client *c, struct rows_out *rows)
{
	/* A stop may take as long as it is allowed to. */
	int timeout = ANSWER_TIMEOUT_MS +
	    (int)t->settings.stop_timeout * 1000;
	struct ctl_item item;

	for (;;) {
		switch (ctl_client_next(c, &item, timeout)) {
		case CTL_GOT_ROW:
			if (!say_progress(t, item.octets)) {
				rows_put(rows, item.octets);
			}
			break;
		case CTL_GOT_DATA:
			(void)fwrite(item.octets.p, 1, item.octets.n, stdout);
			break;
		case CTL_GOT_END:
			if (!rows_end(rows)) {
				tool_say(t, "the output could not be written");
				return EX_IOERR;
			}
			print_end(t, &item);
			return (int)item.exit;
		case CTL_GOT_LOST:
			(void)rows_end(rows);
			tool_say(t, "no whole answer from %s: %.*s",
			    ipc_role_name(c->in.peer), SLF(item.octets));
			return (int)item.exit;
		}
	}
}

int
tool_ask(const struct tool *t, enum tool_peer whom, const char *const *words,
    size_t nwords, size_t *count)
{
	char *path = tool_socket_path(t, peers[whom].socket);
	struct ctl_client c;
	struct rows_out rows;
	int r;

	if (ctl_client_ask(&c, path, peers[whom].role, words, nwords) == -1) {
		r = say_no_connection(t, path, errno);
		free(path);
		return r;
	}
	free(path);
	rows_begin(&rows, stdout, t->json);
	r = print_answer(t, &c, &rows);
	if (r == 0 && rows.broken) {
		tool_say(t, "some rows could not be read");
		r = EX_PROTOCOL;
	}
	if (count != NULL) {
		*count = rows.count;
	}
	ctl_client_close(&c);
	return r;
}
