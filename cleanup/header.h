/*
 * header - the header section of a message: where it ends, what is in it, its
 * addresses rewritten, and the fields that we add. Pure functions over memory;
 * time and memory are linear in the section, whatever is nested in it.
 *
 * A field that is not rewritten stays as it is, octet for octet. Taken out are
 * Return-Path fields: final delivery writes its own (RFC 5321, 4.4).
 */
#ifndef CLEANUP_HEADER_H
#define CLEANUP_HEADER_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/map.h"
#include "common/slice.h"
#include "common/strbuf.h"

/* -- where it ends --------------------------------------------------------- */

/* Zeros at first. */
struct header_scan {
	size_t line; /* the line that is not judged yet begins here */
	size_t seen; /* no line end before this */
};

/*
 * Look at the content as far as it has come (each time from its start, with
 * more at its end). True when the header section is known: it is the first
 * *header_n octets, the body begins at *body_at; between them stands the empty
 * line, or nothing, when the content has none: then the caller puts one there.
 * `whole': no more will come. A section ends at an empty line or at a line that
 * is neither a field nor its continuation; content that begins with such a line
 * has no header. Only a first line "From " of a mailbox file is let in.
 */
bool header_scan(struct header_scan *s, struct slice so_far, bool whole,
    size_t *header_n, size_t *body_at);

/* -- what is in it --------------------------------------------------------- */

struct header_field {
	struct slice whole; /* with its line end */
	struct slice name;  /* n 0: no field (a "From " line) */
	struct slice value; /* behind the colon, folded, without the line end */
};
/* The next field of a section; *place from 0. False at the end. */
bool header_next(struct slice section, size_t *place, struct header_field *f);

struct header_facts {
	unsigned received;       /* Received fields: hops (RFC 5321, 6.3) */
	unsigned return_path;    /* Return-Path fields, taken out */
	bool has_date, has_from, has_sender, has_recipients; /* To, Cc, Bcc */
	bool has_resent;         /* any Resent- field */
	bool has_resent_date, has_resent_from, has_resent_message_id;
	bool has_message_id;     /* a field that is not empty */
	struct slice message_id; /* its value, trimmed; borrows from the input */
};

/* -- rewriting ------------------------------------------------------------- */

/*
 * Called for each address of an address field; `address' parsed as a mailbox
 * or a bare local-part. FOUND: `out' has its new text. NONE: it stays.
 * TEMP: the whole rewriting is given up.
 */
typedef enum map_result header_address_cb(void *arg, struct slice address,
    struct strbuf *out);

/*
 * Append the section to `out', rewritten, and fill *facts. `rewrite' NULL:
 * addresses stay (mail of strangers: what they signed is left alone). A field
 * that would get a line above 998 octets by rewriting stays as it is. False
 * when `rewrite' said TEMP.
 */
bool header_rewrite(struct slice section, header_address_cb *rewrite,
    void *arg, struct strbuf *out, struct header_facts *facts);

/* -- fields that we add, each with CRLF ------------------------------------- */

struct header_trace {
	const char *helo, *client_name, *client_addr; /* as in the envelope */
	const char *proto;     /* "SMTP", "ESMTP", "local" */
	const char *myhostname;
	const char *id;        /* the queue id as text */
	const char *recipient; /* the only one, or NULL */
	uint32_t uid;          /* proto "local": who */
	time_t now;
};
/* Received (RFC 5321, 4.4). What the client said is made harmless. */
void header_add_received(const struct header_trace *t, struct strbuf *out);
/* "Date: ..." and the like: `name' is the field's name. */
void header_add_date(const char *name, time_t now, struct strbuf *out);
void header_add_message_id(const char *name, const char *id,
    const char *myhostname, struct strbuf *out);
/* "From: address"; `address' is the canonical text. */
void header_add_from(const char *name, struct slice address,
    struct strbuf *out);
/* RFC 5322, 3.3: "Thu, 1 Jan 1970 01:00:00 +0100". Local zone, our own names. */
void header_date(time_t now, struct strbuf *out);

#endif
