/*
 * resolve_walk - the expansion of one recipient, as a walk over a graph.
 *
 * A node is an address at one stage of its way; what a map makes of it are
 * further nodes. Each node is visited once, however many aliases name it, so a
 * list of n targets costs n steps, and aliases that name each other still end.
 * A node that leads to no mailbox at all is a loop. For the resolver only.
 */
#ifndef CLEANUP_RESOLVE_WALK_H
#define CLEANUP_RESOLVE_WALK_H

#include "cleanup/policy.h"
#include "common/arena.h"
#include "common/table.h"

#define NOBODY           UINT32_MAX /* the parent of the first node */
#define RESOLVE_USER_MAX 32         /* octets of an account; as useradd(8) */

/* For "%.*s": as much of a name as a reply of one line has room for. */
#define SHOWN(s) (int)((s).n > 128 ? 128 : (s).n), (s).p
#define SHOWN_MAX 128

struct node {
	struct slice address;    /* canonical text */
	struct slice named_by;   /* the map's key that named it; n 0: nobody */
	struct slice skip_alias; /* an alias's own name among its targets */
	uint32_t parent, depth;
	bool escaped;            /* "\name": no aliasing */
	bool via_alias;          /* named by an alias: local names go straight
	                            to alias_maps, as in Postfix's local(8) */
	bool no_virtual;         /* a virtual alias that names itself */
	bool configured;         /* a map names it; the sender did not */
	bool local;              /* ours, whatever its domain is */
	bool shared;             /* one of several */
	bool moved;              /* relocated, and to be forwarded */
	bool ends;               /* leads to a mailbox */
};

/* `from' names `to': both places of nodes. */
struct edge {
	uint32_t from, to;
};

struct failure {
	unsigned code; /* 0: none */
	const char *esc;
	struct slice text;
};

struct walk {
	const struct policy *p;
	const struct resolve_request *rq;
	struct memo *memo;
	struct arena arena;
	struct node *nodes;
	uint32_t nnodes, nodes_cap;
	struct edge *edges;
	size_t nedges, edges_cap;
	struct table visited, finals;
	struct resolve_target *targets;
	size_t ntargets, targets_cap;
	struct failure failure;
	struct lookup_addr addr; /* of the node at hand */
	struct found found;
	struct strbuf text, buf; /* scratch */
	bool routing;            /* the forward-path has old routing in it */
	bool waits;              /* an answer of `users' is missing */
	struct slice forward_to; /* 251: where a relocated user is now */
};

void walk_init(struct walk *w, const struct policy *p,
    const struct resolve_request *rq, struct memo *memo);
void walk_clear(struct walk *w);
/* Note a refusal. "<forward-path>: " goes in front of the text, but not with 551
   and routes. A temporary one outweighs a permanent one; else the first counts. */
void walk_fail(struct walk *w, unsigned code, const char *esc,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A lookup failed. */
void walk_fail_temp(struct walk *w);
/* Add an address that the walk has to visit. `n' is copied; its address must
   parse. */
void walk_push(struct walk *w, const struct node *n);
/* Visit all nodes. */
void walk_run(struct walk *w);
/*
 * The route of node `at', whose address is w->addr and whose domain is of this
 * class; `local': mail for it stays here unless transport_maps say otherwise.
 * False: it stays here. True: it has its target, or was refused, or waits.
 */
bool walk_route(struct walk *w, uint32_t at, enum domain_class class,
    bool local);
/* By mailbox_transport, which is set. */
void walk_mailbox_route(struct walk *w, uint32_t at);
/* local_recipient_maps: true when they do not name the node, or not yet. */
bool walk_refuse_unlisted(struct walk *w, uint32_t at);
/* There is no such mailbox. If a map named it the fault is ours: the mail waits
   until it is repaired. */
void walk_fail_unknown(struct walk *w, uint32_t at, const char *in);
/* May the client relay? *temp: that cannot be told now. */
bool walk_is_trusted(struct walk *w, bool *temp);
/* "ann%c@d", "b!ann", "\"ann@c\"": routing of an older time. */
bool walk_has_routing(struct slice local);
/* postmaster@ is always taken, where we take any mail at all. */
bool walk_is_postmaster(const struct walk *w);
/* Has virtual_alias_maps the domain of w->addr as a key of its own? */
enum map_result walk_virtual_domain(struct walk *w);
/* The alias and account stage of node `at'; w->addr is its address. */
void walk_local(struct walk *w, uint32_t at);
/*
 * Push the targets in `value', found under `key' of `setting', as children of
 * node `at'. Virtual maps may name "@domain", alias maps may not.
 */
void walk_children(struct walk *w, uint32_t at, const char *setting,
    struct slice key, struct slice value);
/* Node `at' ends in this target (copied). */
void walk_final(struct walk *w, uint32_t at, struct slice transport,
    struct slice next_hop, struct slice extension);
/* The same for an account. That of uid 0 gets its mail, too, but not as root:
   local's worker knows how. */
void walk_account_final(struct walk *w, uint32_t at, struct slice name,
    struct slice extension, uint64_t uid);
/* Can there be an account of that name? Others are not asked about. */
bool account_name_good(struct slice name);
void resolve_target_clear(struct resolve_target *t);
/* Ask `users' about the account of w->addr: with its extension, then without.
   *name and *ext: which. */
enum memo_user walk_account(struct walk *w, struct slice *name,
    struct slice *ext, uint64_t *uid);

#endif
