/*
 * settings_impl - what the files of `settings' share among themselves.
 */
#ifndef COMMON_SETTINGS_IMPL_H
#define COMMON_SETTINGS_IMPL_H

#include "common/settings.h"

#define SETTINGS_FILE_MAX  (1024 * 1024) /* octets of a file that is read */
#define SETTINGS_LINE_MAX  16384         /* octets of one line */
#define SETTINGS_VALUE_MAX 64000         /* octets expanded: fits an IPC blob */

/*
 * Is `value' of `row' plausible, beyond its type? On false `why' says what is
 * wrong and what would be right. (settings_check.c; one row per setting.)
 */
bool settings_plausible(const struct set_row *row, struct slice value,
    struct strbuf *why);

/* The next member of a list; "{ ... }" keeps commas and spaces together. */
bool settings_member(struct slice *rest, struct slice *member);

/* A host or domain name of LDH labels, at most 255 octets. */
bool settings_is_domain(struct slice s);

/* -- reading the file: settings_lines.c, settings_file.c ------------------- */

enum settings_state { ROW_NEW, ROW_BUSY, ROW_GOOD, ROW_BAD };

struct settings_error {
	int line;
	char *text;
};

struct settings_load {
	const char *path;
	struct settings *s;
	struct settings_source *src; /* value: NULL until resolved */
	enum settings_state *state;  /* by row */
	struct settings_error *errors;
	size_t nerrors;
};

static inline size_t
settings_index(const struct set_row *row)
{
	return (size_t)(row - settings_table);
}

static inline bool
settings_is_name_octet(char c)
{
	return ascii_isalnum(c) || c == '_';
}

/* Note an error; line 0: of no line. */
void settings_say(struct settings_load *l, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* ... of the value of `row': with its name and line. */
void settings_say_row(struct settings_load *l, const struct set_row *row,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* `name' is no setting; `in' the setting whose value says it, or NULL. */
void settings_say_unknown(struct settings_load *l, int line, struct slice name,
    const char *in);
/* All of the regular file at `path', at most SETTINGS_FILE_MAX octets. */
bool settings_read_all(const char *path, struct strbuf *out, const char **why);
/* The next line, without its LF. False at the end. */
bool settings_next_line(struct slice *rest, struct slice *line);
/* What no line may have; NULL: all is well. */
const char *settings_bad_octets(struct slice line);
/* The lines of the file become raw values by row. */
void settings_read_lines(struct settings_load *l, struct slice text);

#endif
