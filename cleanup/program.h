/*
 * program - what cleanup's parts share: one struct, filled by main.c (and by
 * the tests), one field a part. No part keeps state of its own outside its
 * struct, so that a test can have several programs.
 */
#ifndef CLEANUP_PROGRAM_H
#define CLEANUP_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup/resolve.h"
#include "common/settings.h"
#include "common/spool.h"
#include "common/strbuf.h"

struct event_base;

/* Octets of mail that is not accepted yet (headers, small contents, addresses)
   over all transactions; more is answered 452 4.3.1. */
#define PROGRAM_PENDING_MAX (256u * 1024 * 1024)

struct program {
	struct event_base *base;
	const struct settings *settings; /* the ones in force */
	struct policy *policy;           /* made from them; never NULL */
	struct spool *spool;
	unsigned char cookie_key[16];    /* delivery cookies */
	uint64_t pending_octets;         /* see PROGRAM_PENDING_MAX */
	unsigned committing;             /* messages on their way into the spool */
	struct strbuf scratch;           /* a header being made; kept between */
	bool stopping;                   /* no new mail: 451 */
	/* the parts, each made once */
	struct resolving *resolving;
	struct hosts *hosts;
	struct accepting *accepting;
	struct alarm *alarm;
	struct smtpd_service *smtpd;
	struct queue_service *queue;
	struct content_service *content, *content_remote;
	struct pickup *pickup;           /* NULL: no drop directory (tests) */
};

#endif
