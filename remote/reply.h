/*
 * reply - read what an SMTP or LMTP server answers (RFC 5321, 4.2).
 * Incremental and pure: octets in, lines and replies out, the same however the
 * octets are cut. No I/O, no allocation.
 *
 * Strict: a line is "ddd", "ddd text" or "ddd-text" and ends with CRLF; a bare
 * CR or LF, or a code outside 200-599, is bad, for it may hide a second reply.
 * Everything else in the text is only shown: NUL, control and 8-bit octets
 * become '?'. Bounded: a reply has at most REPLY_OCTETS_MAX octets, so that an
 * endless line, or a reply of endless lines, is bad too.
 */
#ifndef REMOTE_REPLY_H
#define REMOTE_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fate.h"
#include "common/slice.h"

#define REPLY_OCTETS_MAX (32 * 1024) /* RFC 5321 says 512 a line */
#define REPLY_LINE_KEPT  256         /* octets of one line that are kept */

enum reply_got {
	REPLY_MORE, /* all was taken; the line is not whole yet */
	REPLY_LINE, /* a line, and others follow */
	REPLY_DONE, /* the last line: the reply is whole */
	REPLY_BAD,  /* this is not SMTP: close the connection */
};

/* Zero it to begin; it begins again by itself after REPLY_DONE. */
struct reply {
	/* After REPLY_DONE, until the next octet is fed: */
	unsigned code;  /* of the last line, 200-599 */
	unsigned class; /* 2 to 5; 4 when the lines are of different classes */
	char esc[ESC_MAX]; /* the peer's if it is of the class, else "x.0.0" */
	char text[REPLY_TEXT_MAX + 1]; /* code and texts of all lines in one */
	/* After REPLY_LINE and REPLY_DONE: what followed the code. */
	char line[REPLY_LINE_KEPT + 1];
	const char *why; /* after REPLY_BAD */
	/* private: */
	uint8_t at;      /* enum place */
	bool begun, more, mixed, stale;
	unsigned now;    /* the code of this line */
	uint16_t nline, ntext;
	uint32_t octets;
};

/* Feed octets; takes them up to the end of the first line: *used. */
enum reply_got reply_feed(struct reply *r, struct slice in, size_t *used);
/* Is a reply half read? */
bool reply_is_begun(const struct reply *r);

#endif
