/*
 * grammar - the lines and commands of SMTP (RFC 5321, 4.1). Pure: no I/O, no
 * allocation, no globals. The same answers however the octets are cut.
 *
 * A line ends with CRLF and nothing else. Lines of more than GRAMMAR_LINE_MAX
 * octets, CRLF included, are skipped up to their CRLF; RFC 5321 (4.5.3.1.4)
 * asks for 512, and for more with extensions.
 */
#ifndef SMTPD_GRAMMAR_H
#define SMTPD_GRAMMAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/slice.h"

#define GRAMMAR_LINE_MAX 1024
#define GRAMMAR_SKIP_MAX (64 * 1024) /* octets of a line skipped at most */

/* Zero it at the start of a session. */
struct grammar_lines {
	size_t skipped; /* octets of a long line already dropped; 0: none */
	bool cr;        /* the last of them was a CR */
};

enum grammar_line {
	GRAMMAR_MORE,    /* not whole yet */
	GRAMMAR_LINE,    /* *line, without CRLF; never a CR, LF or NUL in it */
	GRAMMAR_BAD,     /* a line with a bare CR or LF, or a NUL */
	GRAMMAR_LONG,    /* a long line has been skipped */
	GRAMMAR_ENDLESS, /* more than GRAMMAR_SKIP_MAX of it: give up */
};

/*
 * The next line at the start of `in'. *used says how many octets are done with
 * (also with GRAMMAR_MORE, while a long line is skipped). With GRAMMAR_MORE the
 * rest must be offered again, with more behind it.
 */
enum grammar_line grammar_next(struct grammar_lines *st, struct slice in,
    struct slice *line, size_t *used);

/*
 * Cut a line into verb and argument. White space around the argument is
 * dropped: RFC 5321, 4.1.1, wants trailing white space to be tolerated.
 */
void grammar_split(struct slice line, struct slice *verb, struct slice *arg);

/*
 * "FROM:<path> parameters", "TO:<path> parameters": `word' is "FROM:" or "TO:".
 * On ADDR_OK fills *out and *params. White space after the colon is accepted,
 * as many printers and scripts send it; a path without <> is not.
 */
enum addr_err grammar_path(struct slice arg, struct slice word, unsigned allow,
    struct addr *out, struct slice *params);

enum grammar_param { GRAMMAR_NO_PARAM, GRAMMAR_PARAM, GRAMMAR_PARAM_BAD };
/* The next esmtp-param off *params; value.p is NULL when there is no "=". */
enum grammar_param grammar_next_param(struct slice *params, struct slice *key,
    struct slice *value);

/* A value of SIZE=, 1-20 digits (RFC 1870, 4). What is too large for the type
   is UINT64_MAX. False when it is no number. */
bool grammar_size(struct slice value, uint64_t *out);

/* May stand as the argument of HELO and EHLO: a printable token of at most 255
   octets. Many hosts do not know their name, so more is not asked. */
bool grammar_is_helo(struct slice s);

#endif
