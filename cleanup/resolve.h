/*
 * resolve - address policy: is it local, aliased, virtual, relayed, refused,
 * and why. The one owner of that decision (design, rule 7).
 *
 * A pure, restartable function: resolve() reads a request, the policy (settings
 * already parsed) and a memo of answers; it decides, or says which answers it
 * still needs. The caller puts them into the memo and calls again from the
 * start. Maps in memory answer at once through policy->lookup; `users' (and
 * later `dns') answer later. The memo, in its order, with its notes, is the
 * trace: each step with the setting or map entry that decided it.
 */
#ifndef CLEANUP_RESOLVE_H
#define CLEANUP_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/envelope.h"
#include "common/map.h"
#include "common/settings.h"
#include "common/slice.h"

/* What the resolver decides by; made at load, owned by the maker. It may be
   replaced between two rounds of one request: the memo holds copies only. */
struct policy;

struct resolve_request {
	struct slice reverse_path;   /* without <> */
	struct slice forward_path;   /* without <>; "postmaster" may be bare */
	struct slice client_addr;    /* "192.0.2.1", "2001:db8::1"; "" local */
	bool trusted;                /* may relay for other reasons (local user) */
	bool route_only;             /* a queued address: no expansion, no access
	                                checks; only transport and next hop */
};

enum resolve_state { RESOLVE_DONE, RESOLVE_NEED };

/* A target: what becomes a recipient of the envelope. */
struct resolve_target {
	char *address, *transport, *next_hop, *extension;
};

struct decision {
	unsigned code;    /* 250, 251, or the refusal: 4yz and 5yz */
	char *esc;        /* "2.1.5" */
	char *text;       /* one printable line */
	struct resolve_target *targets; /* when code is 2yz */
	size_t ntargets;
};
void decision_clear(struct decision *d);
/*
 * Append what tells one final mailbox from another: two targets with the same
 * key get one copy ("ann@localhost" and "ann@example.org" are one user here).
 */
void resolve_target_key(const struct resolve_target *t, struct strbuf *out);

struct memo;
struct memo *memo_new(void);
void memo_free(struct memo *m);
/* A key of `users' that is still missing; false at the end. *place from 0. */
bool memo_need(const struct memo *m, size_t *place, struct slice *user);
/*
 * The answer of `users'. FOUND: `uid' is the account's (uid 0 never receives
 * mail, so the resolver must know). TEMP: `reason' says why.
 */
void memo_answer_user(struct memo *m, struct slice user, enum map_result found,
    uint64_t uid, struct slice reason);
/*
 * The trace, in order: `what' (a map's name, a setting's name, "users"), `key',
 * and `result' in words. False at the end. *place from 0.
 */
bool memo_step(struct memo *m, size_t *place, struct slice *what,
    struct slice *key, struct slice *result);

/*
 * Make the policy from settings; opens all maps. NULL: `why' holds a line for
 * each thing that is wrong. `own_addresses': the addresses this host listens on
 * (for user@[address]), borrowed during the call.
 */
struct policy *policy_new(const struct settings *s,
    const struct strlist *own_addresses, struct strbuf *why);
void policy_free(struct policy *p);
/* In mynetworks? */
bool policy_is_my_network(const struct policy *p, struct slice client_addr);

/*
 * Decide. RESOLVE_NEED: the memo has new needs (all that can be told now, so
 * the number of rounds is bounded by the depth of nesting). RESOLVE_DONE: *d is
 * filled and owned by the caller.
 */
enum resolve_state resolve(const struct policy *p,
    const struct resolve_request *rq, struct memo *memo, struct decision *d);

/*
 * canonical_maps for one address of envelope or header, from maps in memory.
 * FOUND: `out' is the new address. NONE: unchanged. TEMP: try again later.
 */
enum map_result policy_canonical(const struct policy *p, struct slice address,
    struct strbuf *out);
/* Completes "user" and "user@host-without-dot"... by myorigin and mydomain as
   Postfix's trivial-rewrite does for local submissions. */
void policy_complete(const struct policy *p, struct slice address,
    struct strbuf *out);

#endif
