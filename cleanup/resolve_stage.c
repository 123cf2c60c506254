/*
 * The stages of a node: virtual_alias_maps, the class of its domain,
 * relocated_maps, relay_recipient_maps; then its route (resolve_route.c), and
 * what is local goes on in resolve_local.c.
 */
#include "config.h"

#include "cleanup/resolve_walk.h"
#include "common/addr.h"

#define MOVED_MAX 400 /* octets of a new address: it must fit into a reply */

/* A sender must get the whole new address (RFC 5321, 3.4), once at least. */
static void
fail_moved(struct walk *w, struct slice to)
{
	if (to.n > MOVED_MAX / 2) {
		walk_fail(w, 551, "5.1.6", "please try <%.*s>", SLF(to));
	} else {
		walk_fail(w, 551, "5.1.6", "User has moved to %.*s; please try "
		    "<%.*s>", SLF(to), SLF(to));
	}
}

/* relocated_maps: true when the node has moved on. */
static bool
is_relocated(struct walk *w, uint32_t at)
{
	struct node n = w->nodes[at];
	struct strbuf moved;
	struct addr unused;
	enum map_result r;
	bool is_address;

	r = policy_find(w->p, w->memo, &w->p->relocated, &w->addr, &w->found);
	if (r == MAP_NONE) {
		return false;
	}
	if (r == MAP_TEMP) {
		walk_fail_temp(w);
		return true;
	}
	strbuf_init(&moved, 2000);
	strbuf_add_quoted(&moved, slice_trim(strbuf_slice(&w->found.value)),
	    MOVED_MAX);
	is_address = addr_parse_mailbox(strbuf_slice(&moved), 0, &unused) ==
	    ADDR_OK;
	if (n.shared) {
		walk_fail(w, 451, "4.3.5", "\"%.*s\" names <%.*s>, who has "
		    "moved", SHOWN(n.named_by), SHOWN(n.address));
	} else if (w->p->relocated_forward && is_address) {
		w->forward_to = arena_dup(&w->arena, strbuf_slice(&moved));
		n.named_by = n.address;
		n.address = strbuf_slice(&moved);
		n.parent = at;
		n.depth++;
		n.moved = n.configured = true;
		n.via_alias = n.escaped = n.no_virtual = n.local = false;
		walk_push(w, &n);
	} else if (is_address) {
		fail_moved(w, strbuf_slice(&moved));
	} else {
		walk_fail(w, 550, "5.1.6", "User has moved to %s", moved.p);
	}
	strbuf_clear(&moved);
	return true;
}

enum map_result
walk_virtual_domain(struct walk *w)
{
	return maplist_find(&w->p->virtual_alias, w->memo, w->addr.domain,
	    &w->found.value);
}

/* relay_recipient_maps: true when they do not name it. What our own maps name is
   for the other host to judge, and postmaster is always taken. */
static bool
is_no_relay_recipient(struct walk *w, uint32_t at)
{
	enum map_result r;

	if (w->p->relay_recipient.n == 0 || w->nodes[at].configured ||
	    walk_is_postmaster(w)) {
		return false;
	}
	r = policy_find(w->p, w->memo, &w->p->relay_recipient, &w->addr,
	    &w->found);
	if (r == MAP_TEMP) {
		walk_fail_temp(w);
	} else if (r == MAP_NONE) {
		walk_fail_unknown(w, at, " in relay recipient table");
	}
	return r != MAP_FOUND;
}

/* The node is not, or no longer, a virtual alias. */
static void
by_domain(struct walk *w, uint32_t at, enum domain_class class)
{
	bool local = class == DOMAIN_LOCAL;
	enum map_result r = class == DOMAIN_TEMP ? MAP_TEMP :
	    local ? MAP_NONE : walk_virtual_domain(w);

	if (r == MAP_TEMP) {
		walk_fail_temp(w);
	} else if (r == MAP_FOUND && walk_is_postmaster(w)) {
		walk_local(w, at);
	} else if (r == MAP_FOUND) {
		walk_fail_unknown(w, at, " in virtual alias table");
	} else if (!is_relocated(w, at) &&
	    !(class == DOMAIN_RELAY && is_no_relay_recipient(w, at)) &&
	    !walk_route(w, at, class, local)) {
		walk_local(w, at);
	}
}

static void
visit(struct walk *w, uint32_t at)
{
	const struct node *n = &w->nodes[at];
	enum domain_class class;
	enum map_result r = MAP_NONE;

	if (!lookup_addr_set(w->p, n->address, &w->addr)) {
		walk_fail(w, 451, "4.3.5", "\"%.*s\" names a bad address",
		    SHOWN(n->named_by));
		return;
	}
	if (n->local) {
		walk_local(w, at);
		return;
	}
	class = policy_class(w->p, w->memo, w->addr.domain);
	if (!n->no_virtual && !(n->via_alias && class == DOMAIN_LOCAL)) {
		r = policy_find(w->p, w->memo, &w->p->virtual_alias, &w->addr,
		    &w->found);
	}
	if (r == MAP_FOUND) {
		walk_children(w, at, "virtual_alias_maps", n->address,
		    strbuf_slice(&w->found.value));
	} else if (r == MAP_TEMP) {
		walk_fail_temp(w);
	} else {
		by_domain(w, at, class);
	}
}

void
walk_run(struct walk *w)
{
	uint32_t at;

	for (at = 0; at < w->nnodes; at++) {
		visit(w, at);
	}
}
