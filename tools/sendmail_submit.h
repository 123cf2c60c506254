/*
 * sendmail_submit - hand a message over by SMTP on the submit socket.
 * Blocks, with a deadline for each reply.
 */
#ifndef TOOLS_SENDMAIL_SUBMIT_H
#define TOOLS_SENDMAIL_SUBMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

enum submit_fate {
	SUBMIT_TAKEN,   /* 250 to the end of data */
	SUBMIT_REFUSED, /* 5yz */
	SUBMIT_LATER,   /* 4yz, no answer, a broken dialogue: keep it */
};

struct submit {
	struct slice reverse_path;
	const struct slice *rcpts;   /* forward-paths without <> */
	size_t nrcpts;
	struct slice message;        /* wire form, not dot-stuffed */
	bool body_8bitmime;
	/* out: */
	enum submit_fate *fates;     /* by recipient; the caller's array */
	struct strbuf replies;       /* a line for each refusal, for people */
	struct strbuf later;         /* the last reply 4yz; empty: there was none */
};

/*
 * Connect to the socket at `path'. Returns the descriptor, or -1: nobody
 * answers there.
 */
int submit_connect(const char *path);
/* The whole dialogue; closes `fd'. Fills s->fates and s->replies. */
void submit_send(int fd, struct submit *s);

#endif
