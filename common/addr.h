/*
 * addr - parse and print SMTP mailboxes and paths (RFC 5321, 4.1.2).
 * Pure functions over memory: no I/O, no globals, no locale.
 */
#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H

#include <stdbool.h>

#include "common/slice.h"
#include "common/strbuf.h"

/*
 * RFC 5321, 4.5.3.1, asks us to take a local-part of 64 octets and a path of
 * 256 at least, and to refuse no more than we must: VERP and SRS addresses of
 * great senders are longer. So only the domain's limit is the RFC's own.
 */
#define ADDR_LOCAL_MAX  255 /* octets, as written */
#define ADDR_DOMAIN_MAX 255 /* octets; RFC 5321, 4.5.3.1.2 */
#define ADDR_PATH_MAX   513 /* octets with <>, without a source route */

/*
 * The canonical text of a mailbox: the local-part unquoted where it may be and
 * quoted where it must be, "@", the domain as written (or "[literal]"). This
 * text is what travels between the programs.
 */
struct addr {
	struct slice local;  /* as written, quotes included */
	struct slice domain; /* as written; "[192.0.2.1]" for a literal; n 0: none */
};

enum addr_err {
	ADDR_OK,
	ADDR_EMPTY,        /* no local-part */
	ADDR_SYNTAX,       /* not a path, or not a mailbox */
	ADDR_LOCAL_LONG,
	ADDR_DOMAIN_LONG,
	ADDR_DOMAIN_BAD,   /* a label that no host name may have */
	ADDR_LITERAL_BAD,
	ADDR_8BIT,         /* octets above 127 (no SMTPUTF8 yet) */
};
/* "the local-part has more than 255 octets" */
const char *addr_err_text(enum addr_err e);
/* The code of RFC 5321, 4.2.3 that refuses it: 501, or 553 for a mailbox that is
   well formed but names what cannot be. */
unsigned addr_err_code(enum addr_err e);

enum {
	ADDR_ALLOW_NULL = 1 << 0,      /* "<>": local and domain empty */
	ADDR_ALLOW_BARE = 1 << 1,      /* a local-part without domain */
};

/*
 * Parse a path, "<local@domain>" or "<>", at the start of `in'.
 * On ADDR_OK fills *out, which borrows from `in' and lives as long as it, and
 * sets *used to the octets consumed. Otherwise leaves both untouched.
 * Accepts and discards a source route (RFC 5321, appendix C). Strict otherwise:
 * no white space, no missing <>, no empty atoms ("a..b"), no general literals,
 * no local-part of nothing but quotes.
 */
enum addr_err addr_parse_path(struct slice in, unsigned allow,
    struct addr *out, size_t *used);
/* The same without <>, and exactly `in': the text that travels, map values. */
enum addr_err addr_parse_mailbox(struct slice in, unsigned allow,
    struct addr *out);
/* Append the local-part's value: without quotes and backslashes. */
void addr_local_value(const struct addr *a, struct strbuf *out);
/* Append the canonical text of local-part value `local' and `domain'. */
void addr_print(struct slice local, struct slice domain, struct strbuf *out);
/* A name of RFC 1035 labels (letters, digits, underscores, and hyphens inside;
   63 octets), dots between; at most 255 octets; for HELO, settings, next hops. */
bool addr_is_domain(struct slice s);
/* "[...]" of RFC 5321, 4.1.3: IPv4, "IPv6:...". */
bool addr_is_literal(struct slice s);

#endif
