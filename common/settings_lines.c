#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/settings_impl.h"
#include "common/xmalloc.h"

/* The file's lines, and what is said about them. */

#define ERRORS_MAX 200 /* a file of another kind needs no more */

static void __attribute__((format(printf, 4, 0)))
note(struct settings_load *l, int line, const char *name, const char *fmt,
    va_list ap)
{
	struct strbuf b;

	if (l->nerrors == ERRORS_MAX) {
		return;
	}
	strbuf_init(&b, 0);
	if (name != NULL) {
		(void)strbuf_printf(&b, "%s: ", name);
	}
	(void)strbuf_vprintf(&b, fmt, ap);
	l->errors = xreallocarray(l->errors, l->nerrors + 1,
	    sizeof(l->errors[0]));
	l->errors[l->nerrors].line = line;
	l->errors[l->nerrors++].text = strbuf_take(&b);
}

void
settings_say(struct settings_load *l, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(l, line, NULL, fmt, ap);
	va_end(ap);
}

void
settings_say_row(struct settings_load *l, const struct set_row *row,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(l, l->src->line[settings_index(row)], row->name, fmt, ap);
	va_end(ap);
}

/* Printable text of what the file said. */
static char *
quoted(struct slice s)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	strbuf_add_quoted(&b, s, 80);
	return strbuf_take(&b);
}

void
settings_say_unknown(struct settings_load *l, int line, struct slice name,
    const char *in)
{
	const char *near = settings_nearest(name);
	char *q = quoted(name);

	settings_say(l, line, "%s%sunknown setting \"%s\"%s%s%s",
	    in != NULL ? in : "", in != NULL ? ": " : "", q,
	    near != NULL ? " (did you mean " : "",
	    near != NULL ? near : "", near != NULL ? "?)" : "");
	free(q);
}

/* -- files ----------------------------------------------------------------- */

bool
settings_read_all(const char *path, struct strbuf *out, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t r = 1;

	*why = NULL;
	if (fd == -1 || fstat(fd, &st) == -1) {
		*why = strerror(errno);
	} else if (!S_ISREG(st.st_mode)) {
		*why = "not a regular file";
	}
	while (*why == NULL && r > 0) {
		r = read(fd, strbuf_room(out, 65536), 65536);
		if (r == -1 && errno != EINTR) {
			*why = strerror(errno);
		} else if (r > 0) {
			strbuf_filled(out, (size_t)r);
		}
		r = r == -1 ? 1 : r;
		if (out->n > SETTINGS_FILE_MAX) {
			*why = "larger than 1 MiB";
		}
	}
	if (fd != -1) {
		(void)close(fd);
	}
	return *why == NULL;
}

bool
settings_next_line(struct slice *rest, struct slice *line)
{
	size_t lf = slice_find(*rest, '\n');

	if (rest->n == 0) {
		return false;
	}
	*line = slice_make(rest->p, lf);
	lf += lf < rest->n ? 1 : 0;
	*rest = slice_make(rest->p + lf, rest->n - lf);
	return true;
}

const char *
settings_bad_octets(struct slice line)
{
	size_t i;

	if (line.n > SETTINGS_LINE_MAX) {
		return "the line is longer than 16384 octets";
	}
	for (i = 0; i < line.n; i++) {
		if (line.p[i] == '\r') {
			return "a carriage return: the file has the line ends "
			    "of another system";
		}
		if (ascii_iscntrl(line.p[i]) && line.p[i] != '\t') {
			return line.p[i] == '\0' ? "a NUL octet" :
			    "a control octet";
		}
	}
	return NULL;
}

/* -- the lines ------------------------------------------------------------- */

/* What is being collected: a value and where it began. */
struct logical {
	const struct set_row *row; /* NULL: an unknown name, or none yet */
	int line;                  /* 0: nothing yet */
	struct strbuf value;
};

/* The value is whole: it becomes the row's, unless that has one. */
static void
finish_logical(struct settings_load *l, struct logical *g)
{
	size_t i;

	if (g->row != NULL) {
		i = settings_index(g->row);
		if (l->src->line[i] != 0) {
			settings_say(l, g->line, "%s is set twice: first in "
			    "line %d", g->row->name, l->src->line[i]);
		} else {
			free(l->src->raw[i]);
			l->src->raw[i] = xslicedup(strbuf_slice(&g->value));
			l->src->line[i] = g->line;
		}
	}
	strbuf_reset(&g->value);
}

static void
start_logical(struct settings_load *l, struct logical *g, int number,
    struct slice line)
{
	size_t eq = slice_find(line, '='), i = 0;
	struct slice name = slice_trim(slice_make(line.p, eq));
	char *q;

	finish_logical(l, g);
	g->row = NULL;
	g->line = number;
	while (i < name.n && settings_is_name_octet(name.p[i])) {
		i++;
	}
	if (eq == line.n || i < name.n || name.n == 0) {
		q = quoted(line);
		settings_say(l, number,
		    "not a setting: \"%s\" (write name = value)", q);
		free(q);
		return;
	}
	g->row = settings_find(name);
	if (g->row == NULL) {
		settings_say_unknown(l, number, name, NULL);
		return;
	}
	(void)strbuf_add_slice(&g->value,
	    slice_trim(slice_make(line.p + eq + 1, line.n - eq - 1)));
}

static void
continue_logical(struct settings_load *l, struct logical *g, int number,
    struct slice more)
{
	if (g->line == 0) {
		settings_say(l, number, "a line that begins with white space "
		    "goes on with the value before it, but there is none");
		g->line = number;
		return;
	}
	if (g->value.n > 0) {
		(void)strbuf_add_char(&g->value, ' ');
	}
	if (!strbuf_add_slice(&g->value, more) && g->row != NULL) {
		g->row = NULL; /* what is cut is not to be judged */
		settings_say(l, number, "the value is longer than %d octets: "
		    "use a map or a file", SETTINGS_VALUE_MAX);
	}
}

void
settings_read_lines(struct settings_load *l, struct slice text)
{
	struct logical g = { NULL, 0, { NULL, 0, 0, 0, false } };
	struct slice line, trimmed;
	const char *bad;
	int number = 0;

	strbuf_init(&g.value, SETTINGS_VALUE_MAX);
	while (settings_next_line(&text, &line)) {
		number++;
		trimmed = slice_trim(line);
		bad = settings_bad_octets(line);
		if (bad != NULL) {
			settings_say(l, number, "%s", bad);
			finish_logical(l, &g);
			g.row = NULL;
			g.line = number;
		} else if (trimmed.n == 0 || trimmed.p[0] == '#') {
			continue; /* also between a value's lines */
		} else if (ascii_isspace(line.p[0])) {
			continue_logical(l, &g, number, trimmed);
		} else {
			start_logical(l, &g, number, trimmed);
		}
	}
	finish_logical(l, &g);
	strbuf_clear(&g.value);
}
