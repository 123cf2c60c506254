/*
 * data - the content of a message as it comes after DATA (RFC 5321, 4.1.1.4 and
 * 4.5.2): un-stuffs dots, checks every line, finds the end. Pure, incremental:
 * the same result however the octets are cut.
 *
 * The end is CRLF "." CRLF and nothing else; the CRLF of the DATA command counts
 * as the first. A bare CR or LF is never a line end, whatever stands around it:
 * with `normalise' off the message is bad, with it on each becomes a CRLF of the
 * content, and a line that has one at either end is never the end of the
 * message. A NUL makes the message bad. Lines may have any length.
 */
#ifndef SMTPD_DATA_H
#define SMTPD_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

#define DATA_LINE_LONG 998 /* octets without CRLF; RFC 5321, 4.5.3.1.6 */

enum data_verdict {
	DATA_GOOD,
	DATA_BARE,    /* a bare CR or LF */
	DATA_NUL,
	DATA_TOO_BIG, /* more than `limit' octets */
	DATA_UNWANTED, /* set by the caller: nobody takes it any more */
};

struct data_parser {
	uint8_t state;     /* where in a line we are; data.c */
	bool bare;         /* this line began after a bare CR or LF */
	bool normalise;
	bool done;         /* the end has been seen */
	enum data_verdict verdict; /* the first thing that was wrong */
	uint32_t flags;    /* CONTENT_8BIT, _DOT_LINES, _LONG_LINES */
	uint64_t size;     /* octets of content so far, CRLFs included */
	uint64_t taken;    /* octets read so far, the end included */
	uint64_t limit;    /* of size */
	size_t line;       /* octets of the line so far */
};

void data_init(struct data_parser *d, uint64_t limit, bool normalise);

/*
 * Read from `in', append content to `out' until `in' is empty, the end has come
 * (d->done) or `out' has less than 4 octets of room below `max'. Returns the
 * octets read. Once the verdict is bad nothing is appended any more.
 */
size_t data_parse(struct data_parser *d, struct slice in, struct strbuf *out,
    size_t max);

#endif
