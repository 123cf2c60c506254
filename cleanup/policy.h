/*
 * policy - what the resolver decides by: the settings, parsed, with their maps
 * open; and the questions that have an order of keys (Postfix's virtual(5),
 * canonical(5), transport(5)). For the resolver only; the public part stands in
 * cleanup/resolve.h. Every function takes the memo that writes the trace; NULL:
 * none.
 */
#ifndef CLEANUP_POLICY_H
#define CLEANUP_POLICY_H

#include "cleanup/memo.h"
#include "cleanup/resolve.h"
#include "cleanup/route.h"
#include "common/cidr.h"
#include "common/table.h"

struct maplist {
	const char *setting; /* its name, for notes */
	struct map **at;
	size_t n;
};

/* mydestination, relay_domains: in order, the first match decides. */
struct domlist {
	const char *setting;
	struct domlist_member {
		char *text;      /* as written, for notes; lower case */
		struct map *map; /* NULL: a name */
		bool negated;
	} *at;
	size_t n;
	struct table names;  /* exact names, and ".domain" as written */
	size_t *maps;        /* places of the members that are maps */
	size_t nmaps;
	bool parents;        /* a name stands for its subdomains too */
};

struct netlist {
	struct netlist_member {
		char *text;
		struct map *map;
		struct cidr net;
		bool negated;
	} *at;
	size_t n;
};

/* A setting that holds a route. */
struct policy_route {
	struct route route;
	char *text; /* what it borrows from */
};

struct policy {
	struct maplist alias, canonical, virtual_alias, transport, relocated;
	struct domlist mydestination, relay_domains;
	struct netlist mynetworks;
	struct cidr *own;
	size_t nown;
	char *myorigin, *mydomain;
	char delimiter;          /* 0: none */
	bool relocated_forward;
	uint64_t expansion_limit, recursion_limit;
	struct policy_route default_route, mailbox_route;
	bool has_mailbox_route, has_relayhost;
	struct nexthop relayhost;
	struct maplist relay_recipient; /* n 0: all are valid */
	struct maplist local_recipient; /* without users: and listed aliases */
	bool local_users;        /* local_recipient_maps has "users:" */
	bool local_all;          /* it is empty: all are taken */
	bool aliases_listed;     /* it has all alias_maps, or is empty */
	char *luser_relay;       /* "${user}@example.org"; "" none */
};

enum domain_class { DOMAIN_LOCAL, DOMAIN_RELAY, DOMAIN_OUTSIDE, DOMAIN_TEMP };

/* Parts of policy_new(), policy_free(); false: lines in `why'. */
bool policy_open_maps(struct maplist *l, const char *setting,
    const struct strlist *from, struct strbuf *why);
bool policy_open_routes(struct policy *p, const struct settings *s,
    struct strbuf *why);
void policy_close_routes(struct policy *p);
/* Append luser_relay's local-part with its parts filled in. */
void policy_luser_local(struct slice template, struct slice user,
    struct slice ext, struct strbuf *out);

/* Which class; `domain' in lower case, a literal with its []. */
enum domain_class policy_class(const struct policy *p, struct memo *m,
    struct slice domain);
/* The first member of the list that matches: FOUND if it is not negated. */
enum map_result domlist_match(const struct domlist *l, struct memo *m,
    struct slice domain);
/* *which: the text of the member that decided; "" if none. */
enum map_result netlist_match(const struct netlist *l, struct memo *m,
    struct slice addr, const char **which);

/* An address, taken apart for lookups. All in lower case, unquoted. */
struct lookup_addr {
	struct strbuf text;          /* holds them all */
	struct slice local;          /* "ann+lists" */
	struct slice user;           /* "ann": without extension */
	struct slice ext;            /* "lists" */
	bool has_ext;
	struct slice domain;
};
void lookup_addr_init(struct lookup_addr *a);
void lookup_addr_clear(struct lookup_addr *a);
/* False: not an address. A bare name has an empty domain. */
bool lookup_addr_set(const struct policy *p, struct slice address,
    struct lookup_addr *a);

struct found {
	struct strbuf value;
	bool ext_unmatched;   /* the key had no extension, the address has */
	bool by_domain;       /* the key was "@domain": anybody there */
};
/*
 * Search user+ext@domain, user@domain, user+ext and user (when the domain is
 * ours), @domain. TEMP: value says why.
 */
enum map_result policy_find(const struct policy *p, struct memo *m,
    const struct maplist *l, const struct lookup_addr *a, struct found *f);
/* One key in all maps of the list. */
enum map_result maplist_find(const struct maplist *l, struct memo *m,
    struct slice key, struct strbuf *value);
/* transport(5): user+ext@domain, user@domain, domain, .parents, "*". */
enum map_result policy_transport(const struct policy *p, struct memo *m,
    const struct lookup_addr *a, struct strbuf *value);

/* canonical_maps with a trace; `address' has a domain. TEMP: `out' says why. */
enum map_result policy_canonical_traced(const struct policy *p, struct memo *m,
    struct slice address, struct strbuf *out);
/*
 * Append what a target of a map's value makes of the address that was looked
 * up: a bare name is completed, "@domain" keeps the local-part of `address',
 * and an extension that the key did not have goes on to the result.
 */
struct alias_target;
void policy_target_address(const struct policy *p, const struct alias_target *t,
    struct slice address, const struct lookup_addr *a, bool ext_unmatched,
    struct strbuf *out);

#endif
