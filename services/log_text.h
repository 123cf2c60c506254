/*
 * log_text - the lines of `log': what came out of a program's pipe, cut into
 * lines and parsed; and how a line is written. No I/O, no clock.
 *
 * A line is "<N>text", N a level of common/log.h. A line without it comes from
 * a library or a sanitizer (last words): an error. Lines longer than
 * LOG_TEXT_MAX end in "...". Octets that are no text are written as \xHH, so
 * that no program can forge another's line.
 */
#ifndef SERVICES_LOG_TEXT_H
#define SERVICES_LOG_TEXT_H

#include <stdbool.h>
#include <time.h>

#include "common/log.h"
#include "common/slice.h"
#include "common/strbuf.h"

#define LOG_TEXT_MAX (LOG_LINE_MAX + 128)

/* What a pipe has said of a line that is not whole yet. */
struct log_part {
	char text[LOG_TEXT_MAX];
	size_t n;
	bool cut; /* the line is too long: skip to its end */
};

struct log_line {
	enum log_level level;
	struct slice text;
};

/*
 * Take octets from *in up to the end of a line. True: *line is whole and lives
 * until the next call. False: *in is used up.
 */
bool log_text_next(struct log_part *p, struct slice *in, struct log_line *line);
/* The pipe has ended: what is left of a line. */
bool log_text_last(struct log_part *p, struct log_line *line);

struct log_origin {
	char host[256];    /* "" is written as localhost */
	char program[32];
	unsigned pid;
};

/* "Nov 23 23:04:05 HOST veredus/PROGRAM[PID]: text" and a line feed. */
void log_text_file(struct strbuf *out, const struct tm *now,
    const struct log_origin *from, const struct log_line *line);
/* A datagram for /dev/log (RFC 3164, facility mail): no host, no line feed. */
void log_text_syslog(struct strbuf *out, const struct tm *now,
    const struct log_origin *from, const struct log_line *line);

#endif
