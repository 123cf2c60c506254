/*
 * resolve_kit - the resolver for tests by tables: a world (settings with maps,
 * accounts), a recipient, and what is decided. `users' answers between the
 * rounds.
 */
#ifndef TESTS_UNIT_RESOLVE_KIT_H
#define TESTS_UNIT_RESOLVE_KIT_H

#include "cleanup/resolve.h"

#define HEAD "myhostname = mx.example.org\nmyorigin = example.org\n" \
	"mydomain = example.org\n" \
	"mydestination = example.org, localhost, !no.local, " \
	"inline:{ mapped.example=x }\n" \
	"mynetworks = !10.0.0.7, 10.0.0.0/8, [2001:db8::]/32, 192.0.2.1\n" \
	"relay_domains = relay.example\nalias_maps =\n"

struct world {
	const char *name, *settings;
};

enum { PLAIN, ALIASES, EXT, EXT_DASH, VIRTUAL, CANON, MOVED, MOVED_FWD,
	TRANSPORT, ORIGIN, RELAY, DEFAULT_HOP, NO_EXIT, HELD, RELAY_RCPT, MAPPED,
	TAKE_ALL, LUSER, LUSER_EXT, LUSER_SELF, VALID, VALID_LUSER, LMTP,
	LMTP_ALL, WORLDS };
extern const struct world worlds[WORLDS];

#define OUT "198.51.100.1"
#define NET "10.1.2.3"

struct row {
	const char *name;
	int world;
	const char *rcpt, *client; /* client NULL: trusted */
	unsigned code;
	const char *esc, *text; /* text: what must be in it */
	const char *targets;    /* "address>user+ext, ..." */
};

/* A failure of these fails the test. */
struct policy *make_policy(const struct world *w, struct settings *s);
/* Ask until it is decided; *rounds counts. */
void decide(const struct policy *p, const struct resolve_request *rq,
    struct memo *m, struct decision *d, unsigned *rounds);
void print_trace(struct memo *m, struct strbuf *out);
void check_row(const struct policy *p, const struct row *r);

#endif
