/*
 * sendmail_input - a message from a local program as mail goes on the wire:
 * every line end (LF or CRLF) becomes CRLF, a lone "." ends the input unless
 * told otherwise, the last line gets its end. With -t the recipients are read
 * from To, Cc and Bcc (from Resent-To, -Cc, -Bcc when there are Resent fields),
 * and Bcc is removed. Pure but for reading the descriptor.
 */
#ifndef TOOLS_SENDMAIL_INPUT_H
#define TOOLS_SENDMAIL_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

/* Turns lines into wire form; feed pieces cut anywhere, then end. */
struct sendmail_lines {
	struct strbuf *out;   /* its ceiling is the message size limit */
	bool dot_is_data;
	bool ended;           /* the lone dot was seen: the rest is ignored */
	bool at_bol, cr, dot; /* begin of line; a CR, a lone dot is pending */
	bool nul;             /* there was a NUL octet, which mail cannot have */
};
void sendmail_lines_init(struct sendmail_lines *l, struct strbuf *out,
    bool dot_is_data);
/* False when the ceiling of `out' is reached. */
bool sendmail_lines_feed(struct sendmail_lines *l, struct slice in);
bool sendmail_lines_end(struct sendmail_lines *l);

/* Read all of `fd'. 0; or -1 with errno (EFBIG: above the ceiling). */
int sendmail_read(int fd, struct sendmail_lines *l);

/* What the header of a whole message in wire form says. */
struct sendmail_header {
	size_t header_octets; /* up to and with the last field's CRLF */
	size_t mailbox_line;  /* of these: "From joe Mon Jan 1 ..." of an mbox */
	bool has_header;      /* the first line is a field */
	bool has_from, has_resent;
};
void sendmail_header_scan(struct slice message, struct sendmail_header *h);
/*
 * -t: calls `add' for each address (its octets borrow from `message'), and
 * writes the message without Bcc fields to `out'. False when add returned so.
 */
bool sendmail_header_recipients(struct slice message,
    const struct sendmail_header *h, bool (*add)(void *arg, struct slice addr),
    void *arg, struct strbuf *out);
/* CONTENT_8BIT, _DOT_LINES, _LONG_LINES of a message in wire form. */
uint32_t sendmail_flags(struct slice message);

#endif
