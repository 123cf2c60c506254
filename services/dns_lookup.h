/* dns_lookup - what dns_ask.c and dns_lookup.c share. For them only. */
#ifndef SERVICES_DNS_LOOKUP_H
#define SERVICES_DNS_LOOKUP_H

#include <sys/queue.h>

#include "common/siphash.h"
#include "common/slots.h"
#include "services/dns_ask.h"
#include "services/dns_cache.h"
#include "services/dns_conf.h"
#include "services/dns_wire.h"

struct waiter {
	struct waiter *next;
	void *asker;
	uint32_t tid;
};

/* A question that waiters wait for. */
struct lookup {
	struct lookup *chain;          /* of its bucket */
	TAILQ_ENTRY(lookup) line;      /* while not running */
	struct dns_ask *d;
	uint32_t id;                   /* in d->ids */
	char name[DNS_NAME_MAX + 1];
	enum dns_type type;
	struct waiter *waiters;
	uint64_t deadline_ms;
	struct event *timer;           /* the next server's turn, or the end */
	bool running;
	/* about the question on the way: */
	char current[DNS_NAME_MAX + 1]; /* the name, or where CNAMEs led */
	unsigned aliases;              /* CNAMEs so far */
	bool secure;                   /* so far */
	uint32_t ttl;                  /* so far */
	unsigned asked;                /* servers, one after the other */
	bool failed[DNS_SERVERS_MAX];
	unsigned nfailed;
	char reason[200];              /* of the last failure */
};

#define LOOKUP_BUCKETS 4096u

struct dns_ask {
	struct event_base *base;
	dns_reply_fn *reply;
	uint64_t timeout_ms;
	struct dns_cache *cache;
	struct dns_hosts *hosts;
	struct dns_wire *wire;
	unsigned char key[SIPHASH_KEY];
	struct lookup *bucket[LOOKUP_BUCKETS];
	struct slots ids;
	TAILQ_HEAD(lookup_line, lookup) line;
	unsigned nlookups, nrunning, nwaiters;
};

uint64_t dns_now_ms(void);

/* dns_lookup.c: */

/* A fresh one, in line or running. */
struct lookup *lookup_new(struct dns_ask *d, const char *name,
    enum dns_type type);
/* Forget it; nobody is told. */
void lookup_free(struct lookup *l);
/* The servers are others now: ask again. */
void lookup_restart(struct lookup *l);
/* A dns_wire_fn. */
void lookup_answered(void *arg, uint32_t id, unsigned server,
    const char *error, struct slice packet);
/* Let those in line run, as far as they may. */
void lookup_next(struct dns_ask *d);

/* dns_ask.c: the lookup is over: tell its waiters, keep the answer, free it. */
void dns_ask_done(struct lookup *l, const struct dns_answer *a);

#endif
