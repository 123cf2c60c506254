/*
 * mboxtext - what the octets of an mbox file are: the line in front of each
 * message, which lines are quoted, and what the end of a file tells.
 * Pure functions over memory: no I/O, no clock, no globals, no locale.
 *
 * The format is "mboxrd": a message is a From_ line, the message with LF line
 * ends, and a blank line. A line of the message that would be taken for a From_
 * line, or for one that was quoted before (^>*From ), gets one ">" more, so
 * that what was sent can be had back exactly.
 *
 * Behind From_ line and fields in front stands "X-Veredus-Id: QUEUEID.INDEX".
 * What is not yet durable begins with NUL in place of the "F" of its From_
 * line; one octet, written last, makes it mail (mbox.h). No content of ours
 * holds NUL.
 */
#ifndef LOCAL_MBOXTEXT_H
#define LOCAL_MBOXTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

/*
 * "From s@y.test Wed Nov 25 11:07:45 2026\n": the reverse-path, MAILER-DAEMON
 * for the null one, with white space and control octets written as "-", and
 * the arrival in UTC (RFC 4155, appendix A).
 */
void mboxtext_from(struct strbuf *out, struct slice reverse_path,
    uint64_t arrived_us);

/* "X-Veredus-Id: 0000I6HB7H6LS.0\n" */
void mboxtext_id(struct strbuf *out, uint64_t qid, uint32_t index);
/* Parse that line, without its end. */
bool mboxtext_parse_id(struct slice line, uint64_t *qid, uint32_t *index);

/* -- quoting ------------------------------------------------------------------ */

struct mboxquote {
	enum {
		QUOTE_START, /* at the start of a line, or behind its ">"s */
		QUOTE_FROM,  /* `held' octets of "From " have been seen there */
		QUOTE_REST,  /* in a line that stays as it is */
	} state;
	size_t held;
	bool any;            /* the last octet was no LF */
};

#define MBOXQUOTE_ROOM(n) ((n) + (n) / 5 + 8) /* octets for n of input */
/* Lines end in LF. MBOXQUOTE_ROOM(in.n) at `out'; returns how many were
   written. Starts zeroed. */
size_t mboxquote_feed(struct mboxquote *q, struct slice in, char *out);
/* The rest, the end of an unfinished line, and the blank line. */
size_t mboxquote_end(struct mboxquote *q, char *out);

/* -- the end of a file ---------------------------------------------------------- */

/*
 * The last line in `in' that begins a message: "From " at the start of a line,
 * or NUL and "rom " behind a blank line. `in' is a piece of a file: `first',
 * its first; `final', its last, whose end may have cut that line off. False:
 * there is none.
 */
bool mboxtext_last(struct slice in, bool first, bool final, size_t *at,
    bool *unfinished);

/*
 * Looks through a file for X-Veredus-Id, which stands between a From_ line and
 * the first Received. Feed it pieces of any size; calls `found'.
 */
struct mboxscan {
	char head[64]; /* the start of the line */
	size_t n;      /* octets of the line that are in head */
	bool front;    /* in the fields in front */
};
void mboxscan_feed(struct mboxscan *s, struct slice in,
    void (*found)(void *arg, uint64_t qid, uint32_t index), void *arg);

#endif
