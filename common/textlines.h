/*
 * textlines - the logical lines of a text file that people write: maps and
 * aliases. A line that begins with white space goes on with the one before; a
 * line whose first visible octet is "#", and an empty one, are skipped, also
 * between a line and its continuation. LF or CRLF ends a line. Pure.
 */
#ifndef COMMON_TEXTLINES_H
#define COMMON_TEXTLINES_H

#include <stdbool.h>

#include "common/slice.h"
#include "common/strbuf.h"

struct textlines {
	struct slice rest;
	struct strbuf joined; /* a line that has continuations */
	unsigned line;        /* number of the line to be read next */
};

/* `text' is borrowed. */
void textlines_init(struct textlines *t, struct slice text);
void textlines_clear(struct textlines *t);
/*
 * The next logical line, without white space at both ends, and the number of
 * its first line. False at the end. *line lives until the next call.
 */
bool textlines_next(struct textlines *t, struct slice *line, unsigned *number);

#endif
