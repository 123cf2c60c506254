/*
 * mailtext - what the octets of a delivered message are: its file's name, the
 * fields in front of it, the line ends, and whether it has been here before.
 * Pure functions over memory: no I/O, no clock, no globals.
 */
#ifndef LOCAL_MAILTEXT_H
#define LOCAL_MAILTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/strbuf.h"

/* -- names ------------------------------------------------------------------ */

/*
 * The name of a message in a Maildir: SECONDS.MuVqRi. and the host, all made
 * from the message and the recipient, never from the clock or the process, so
 * that a second attempt finds what the first one left. `unique' gets all up to
 * the second dot: two names are the same delivery when that is the same,
 * whatever the host is called by then. '/' and ':' of the host are written
 * \057 and \072 (they mean something in paths and in cur/).
 */
void mailtext_unique(struct strbuf *unique, uint64_t qid, uint32_t index,
    uint64_t arrived_us);
void mailtext_name(struct strbuf *name, struct slice unique,
    struct slice host);
/* The `unique' part at the start of a file's name; empty when it has none. */
struct slice mailtext_unique_of(struct slice file);

/* -- the fields in front ------------------------------------------------------ */

/*
 * Return-Path (RFC 5321, 4.4), X-Original-To when it differs from the final
 * address, Delivered-To. Ends of line are LF. An octet that would end a line or
 * is no text becomes '?' (they cannot come from cleanup).
 */
void mailtext_fields(struct strbuf *out, struct slice reverse_path,
    struct slice original, struct slice address);

/* -- CRLF to LF ---------------------------------------------------------------- */

/* Each CRLF becomes LF; every other octet, a lone CR or LF among them, stays. */
struct crlf {
	bool held; /* a CR whose next octet is not known yet */
};

/* Room for in.n + 1 octets at `out'; returns how many were written. */
size_t crlf_feed(struct crlf *c, struct slice in, char *out);
/* After the last piece: the CR that was held, if any (0 or 1 octets). */
size_t crlf_end(struct crlf *c, char *out);

/* -- loops --------------------------------------------------------------------- */

/*
 * Looks for "Delivered-To: address" in the header section of content with CRLF
 * lines, which may come in pieces of any size. ASCII case does not count.
 */
struct loopscan {
	struct slice address; /* borrowed */
	enum {
		LOOP_NAME,   /* in a field's name; `at' octets fit so far */
		LOOP_VALUE,  /* in the value of a Delivered-To */
		LOOP_TAIL,   /* after an address that fits: only space may follow */
		LOOP_OTHER,  /* in a line that does not fit */
		LOOP_OVER,   /* the header has ended */
		LOOP_FOUND,
	} state;
	size_t at;
	bool line_empty;
};

void loopscan_init(struct loopscan *l, struct slice address);
/* Returns true when there is nothing more to see: found, or the header's end. */
bool loopscan_feed(struct loopscan *l, struct slice piece);
/* Also when the content ends within the field. */
bool loopscan_found(const struct loopscan *l);

#endif
