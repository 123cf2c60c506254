/*
 * envelope - the envelope of a message as the spool keeps it and the programs
 * hand it around (RFC 5321, 2.3.1): reverse-path, where it came from, and the
 * resolved recipients. Owned strings; one encoder and decoder.
 */
#ifndef COMMON_ENVELOPE_H
#define COMMON_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fate.h"
#include "common/slice.h"
#include "common/strbuf.h"

#define ENVELOPE_RCPT_MAX    50000 /* recipients of one message */
#define ENVELOPE_PATH_MAX    512   /* octets of a path or an address */
#define ENVELOPE_STR_MAX     1024  /* octets of any other text */
#define ENVELOPE_PAGE_RCPTS  256   /* recipients of one IPC page ... */
#define ENVELOPE_PAGE_OCTETS 60000 /* ... and its octets */

/* What was learnt about the content on its way in. */
enum {
	CONTENT_8BIT = 1 << 0,        /* has octets above 127 */
	CONTENT_DOT_LINES = 1 << 1,   /* has lines that begin with a dot */
	CONTENT_BODY_8BITMIME = 1 << 2, /* declared by BODY= (RFC 6152) */
	CONTENT_LONG_LINES = 1 << 3,  /* has lines above 998 octets */
	CONTENT_LOCAL = 1 << 4,       /* submitted on this host, by a user */
	CONTENT_NOTICE = 1 << 5,      /* a notice of ours (RFC 3464) */
	CONTENT_DOUBLE = 1 << 6,      /* ... that no further one is made of:
	                                 for postmaster */
};

/* A recipient: the address to deliver to, and how it came to be one. */
struct recipient {
	const char *address;   /* final, after expansion: local-part@domain */
	const char *original;  /* the forward-path it came from (RFC 3461, 4.2) */
	const char *transport; /* "local", "smtp", "lmtp", ...; see below */
	const char *next_hop;  /* local: the user; else what the transport needs */
	const char *extension; /* local: what follows recipient_delimiter, or "" */
	char *texts;           /* owns these five */
};
/*
 * transport and next_hop are the route at the time of accept. The spool keeps
 * them with the recipient for the first attempt; at each later attempt cleanup
 * asks the resolver again. "error": next_hop is "5.x.x text" or "4.x.x text".
 */

struct envelope {
	uint64_t qid;          /* 0 until the spool gave one */
	uint64_t parent_qid;   /* of a child of a group; else 0 */
	uint32_t parent_rcpt;  /* which recipient of the parent gave birth */
	uint8_t parent_kind;   /* enum spool_child */
	uint64_t arrived_us;   /* CLOCK_REALTIME */
	uint32_t flags;        /* CONTENT_* */
	uint32_t uid;          /* who submitted locally; UINT32_MAX: nobody */
	char *reverse_path;    /* without <>; "" is the null reverse-path */
	char *client_addr;     /* "192.0.2.1", "" for local */
	char *client_name;
	char *helo;
	char *proto;           /* "SMTP", "ESMTP", "local" */
	struct recipient *rcpts;
	uint32_t nrcpts;
};

/* All empty strings, no recipient, uid UINT32_MAX. */
void envelope_init(struct envelope *e);
void envelope_clear(struct envelope *e);
/* Copies the five texts; returns the recipient's index. */
uint32_t envelope_add(struct envelope *e, struct slice address,
    struct slice original, struct slice transport, struct slice next_hop,
    struct slice extension);
/* Replaces *field, an owned string of an envelope, by a copy of `value'. */
void envelope_set(char **field, struct slice value);

/* Version 1. Appends to `out'. */
void envelope_encode(const struct envelope *e, struct strbuf *out);
/*
 * Decode exactly `in'. On true *e, which must be initialised and empty, is
 * filled and owned by the caller. On false it stays empty: the version is
 * unknown, a length or count is out of its bounds, octets are missing or left
 * over, or a text that stands in the protocol has NUL, CR or LF.
 */
bool envelope_decode(struct slice in, struct envelope *e);

/* A recipient in pages from cleanup to qmgr, and on to the agents. */
struct rcpt_item {
	uint32_t index;    /* in the message; with the queue id, its name */
	uint32_t attempt;  /* attempts so far */
	uint8_t fate;      /* enum fate: FATE_NONE or FATE_DEFERRED while open */
	uint64_t next_at;  /* seconds, CLOCK_REALTIME; 0: now */
	struct slice address, original, transport, next_hop, extension;
	struct slice esc, reply; /* of the last attempt; empty: none yet */
	struct slice relay; /* who said so, "host[address]:port"; or empty */
	bool warned;        /* the sender was told of the delay */
};

void rcpt_item_encode(const struct rcpt_item *r, struct strbuf *out);
/* Reads one; false at the end or at bad input (*bad tells which). */
bool rcpt_item_decode(struct slice *in, struct rcpt_item *r, bool *bad);

/* A recipient's result from qmgr to cleanup. */
struct fate_item {
	uint32_t index;
	uint32_t attempt;  /* the number of attempts with this one */
	uint8_t fate;      /* enum fate, never FATE_NONE; FATE_WARNED: the
	                      fields below count for nothing */
	uint64_t next_at;  /* FATE_DEFERRED: seconds, CLOCK_REALTIME */
	struct slice esc, reply; /* at most ESC_MAX - 1, REPLY_TEXT_MAX */
	struct slice relay;      /* at most RELAY_TEXT_MAX */
};

void fate_item_encode(const struct fate_item *f, struct strbuf *out);
bool fate_item_decode(struct slice *in, struct fate_item *f, bool *bad);

#endif
