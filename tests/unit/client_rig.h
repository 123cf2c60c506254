/*
 * client_rig - a remote/client with its owner played by the test: what it sends
 * is kept, content is handed to it when it asks, fates are noted.
 */
#ifndef TESTS_UNIT_CLIENT_RIG_H
#define TESTS_UNIT_CLIENT_RIG_H

#include "remote/client.h"

#define RIG_RCPTS 3

struct rig {
	struct client c;
	struct client_mail mail;
	struct client_rcpt rcpts[RIG_RCPTS];
	struct outcome fates[RIG_RCPTS];
	struct strbuf sent;    /* all that went to the peer */
	struct slice content;
	unsigned mails;        /* transactions to begin when READY */
	bool stuck;            /* the peer takes no octet more */
	size_t content_at;     /* of `sent' */
	bool ended;            /* the end of the content was handed over */
};

/* One of `nrcpts' recipients: a@x.test, b@x.test, c@x.test. */
void rig_init(struct rig *r, bool lmtp, unsigned nrcpts);
void rig_clear(struct rig *r);
/* Send, hand out content, begin transactions, until nothing moves. */
void rig_pump(struct rig *r);
/* Octets of the peer in pieces of `cut', pumping between. */
void rig_hear(struct rig *r, struct slice in, size_t cut);

#endif
