/*
 * sendmail_args - the command line of sendmail(8), as forty years of callers
 * write it: options glued to their argument or apart from it, "--", options
 * that only other MTAs know (taken and ignored), -o with anything behind it.
 * Pure: no I/O, no exit.
 */
#ifndef TOOLS_SENDMAIL_ARGS_H
#define TOOLS_SENDMAIL_ARGS_H

#include <stdbool.h>

#include "common/strbuf.h"

enum sendmail_mode {
	SENDMAIL_SEND,       /* -bm, the default: a message on standard input */
	SENDMAIL_SMTP,       /* -bs: SMTP on standard input and output */
	SENDMAIL_MAILQ,      /* -bp */
	SENDMAIL_NEWALIASES, /* -bi, -I */
	SENDMAIL_FLUSH,      /* -q, -qR..., -qf */
};

struct sendmail_args {
	enum sendmail_mode mode;
	bool from_header;        /* -t: recipients are in the header */
	bool dot_is_data;        /* -i, -oi: a lone "." does not end the input */
	bool body_8bitmime;      /* -B8BITMIME */
	bool sender_given;       /* -f or -r */
	const char *sender;      /* its argument, "" or "<>" for the null path */
	const char *full_name;   /* -F, or NULL */
	const char *conf;        /* -C, or NULL */
	char **rcpts;            /* the rest of argv; borrowed */
	int nrcpts;
};

/* Fills *a, which borrows from argv. On false `why' says what is wrong. */
bool sendmail_args_parse(int argc, char **argv, struct sendmail_args *a,
    struct strbuf *why);

#endif
