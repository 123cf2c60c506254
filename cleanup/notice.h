/*
 * notice - the text of a notice about a message: multipart/report of RFC 6522
 * with a part for people, a message/delivery-status (RFC 3464) and the header of
 * the message. Pure functions over memory.
 *
 * What comes from outside (replies, addresses, the header) can forge nothing:
 * the result is ASCII in CRLF lines of at most 998 octets, octets that could do
 * harm are replaced, a header that has such octets is quoted-printable, and the
 * boundary is one that no line of it begins with.
 */
#ifndef CLEANUP_NOTICE_H
#define CLEANUP_NOTICE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/slice.h"
#include "common/strbuf.h"

#define NOTICE_RCPTS_MAX  1000              /* told of in full */
#define NOTICE_OTHERS_MAX (4 * 1024 * 1024) /* octets of the others' addresses */

enum notice_kind {
	NOTICE_FAILED,
	NOTICE_DELAYED,
};

enum notice_for {
	NOTICE_TO_SENDER,
	NOTICE_TO_POSTMASTER, /* a copy: the sender is told, too */
	NOTICE_DOUBLE,        /* of a notice that failed: nobody else is told */
};

struct notice_rcpt {
	struct slice address, original;
	struct slice esc, reply; /* of the last attempt; may be empty */
	struct slice relay;      /* who said so, "host[address]:port"; or empty */
};

struct notice {
	enum notice_kind kind;
	enum notice_for whom;
	const char *myhostname, *myorigin;
	const char *id;          /* of the notice: its queue id as text */
	const char *about;       /* of the message it tells of */
	time_t arrived, now;
	time_t retry_until;      /* DELAYED; 0: not known */
	struct slice sender;     /* the message's reverse-path; may be empty */
	struct slice to;         /* whom the notice goes to */
	const struct notice_rcpt *rcpts;
	size_t nrcpts;
	struct slice header;     /* of the message; n 0: left out */
};

/* Append the whole content, header first. */
void notice_compose(const struct notice *n, struct strbuf *out);

/* A message to postmaster about this host: plain text, lines end in LF. */
struct notice_plain {
	const char *myhostname, *myorigin, *id;
	time_t now;
	struct slice to;
	const char *subject, *text;
};
void notice_compose_plain(const struct notice_plain *n, struct strbuf *out);

/* -- for notice*.c only ---------------------------------------------------- */

/* Printable ASCII as it is, runs of white space as one space, none at the ends;
   "?" for everything else. At most `max' octets of `s'. */
void notice_add_words(struct slice s, size_t max, struct strbuf *out);
/* An address: the same, but its spaces stay (they stand in quotes). */
void notice_add_address(struct slice address, struct strbuf *out);
/* "<address>" */
void notice_add_path(struct slice address, struct strbuf *out);
/* The part for people; the fields of message/delivery-status. */
void notice_add_text(const struct notice *n, struct strbuf *out);
void notice_add_status(const struct notice *n, struct strbuf *out);

#endif
