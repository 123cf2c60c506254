/*
 * The stages of a node: virtual_alias_maps, the class of its domain,
 * relocated_maps, transport_maps, alias_maps, the account.
 */
#include "config.h"

#include "cleanup/resolve_walk.h"
#include "common/addr.h"

#define MOVED_MAX 400 /* octets of a new address: it must fit into a reply */
#define NO_RELAY "relaying is not available in this version"

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

static void
fail_outside(struct walk *w, uint32_t at)
{
	const struct node *n = &w->nodes[at];

	if (n->moved) {
		fail_moved(w, n->address);
	} else if (n->configured) {
		walk_fail(w, 550, "5.4.4", "Recipient address rejected: its "
		    "alias target <%.*s> is not on this host, and " NO_RELAY,
		    SHOWN(n->address));
	} else {
		walk_fail(w, 550, "5.4.4", "Recipient address rejected: "
		    NO_RELAY);
	}
}

/* "ann%c@d", "b!ann", "\"ann@c\"": routing of an older time. */
static bool
has_routing(struct slice local)
{
	return slice_find(local, '@') < local.n ||
	    slice_find(local, '%') < local.n || slice_find(local, '!') < local.n;
}

/* There is no such mailbox. If a map named it the fault is ours: the mail
   waits until it is repaired. */
static void
fail_unknown(struct walk *w, uint32_t at, const char *in)
{
	const struct node *n = &w->nodes[at];

	if (n->configured) {
		walk_fail(w, 451, "4.3.5", "\"%.*s\" names <%.*s>, an unknown "
		    "user", SHOWN(n->named_by), SHOWN(n->address));
	} else if (has_routing(w->addr.local)) {
		walk_fail(w, 550, "5.7.1", "Relay access denied");
	} else {
		walk_fail(w, 550, "5.1.1", "Recipient address rejected: User "
		    "unknown%s", in);
	}
}

bool
walk_is_postmaster(const struct walk *w)
{
	return slice_eq(w->addr.local, SL("postmaster"));
}

/* Look the node's names up in alias_maps. NONE: no alias. */
static enum map_result
find_alias(struct walk *w, const struct node *n, struct slice *key)
{
	const struct slice names[] = { w->addr.local, w->addr.user };
	enum map_result r = MAP_NONE;
	size_t i;

	for (i = 0; i < (w->addr.has_ext ? 2 : 1) && r == MAP_NONE; i++) {
		*key = names[i];
		if (n->skip_alias.n > 0 && slice_eq(*key, n->skip_alias)) {
			memo_note(w->memo, "alias_maps", *key,
			    "names itself: the user of that name");
			continue;
		}
		r = maplist_find(&w->p->alias, w->memo, *key, &w->found.value);
	}
	return r;
}

static void
root_account(struct walk *w, uint32_t at)
{
	uint64_t uid = 0;

	switch (memo_user(w->memo, SL("root"), &uid)) {
	case MEMO_USER_WAIT:
		w->waits = true;
		break;
	case MEMO_USER_TEMP:
		walk_fail_temp(w);
		break;
	case MEMO_USER_FOUND:
		walk_account_final(w, at, SL("root"), SL(""), uid);
		break;
	case MEMO_USER_NONE:
		walk_fail(w, 451, "4.3.5", "postmaster needs an alias on this "
		    "host");
		break;
	}
}

/* postmaster without alias and account is whoever root is (RFC 5321, 4.5.1). */
static void
postmaster_is_root(struct walk *w, uint32_t at)
{
	enum map_result r = maplist_find(&w->p->alias, w->memo, SL("root"),
	    &w->found.value);

	if (r == MAP_FOUND) {
		memo_note(w->memo, "postmaster", w->addr.local,
		    "neither alias nor account: root's alias");
		walk_children(w, at, "alias_maps", SL("root"),
		    strbuf_slice(&w->found.value));
	} else if (r == MAP_TEMP) {
		walk_fail_temp(w);
	} else {
		memo_note(w->memo, "postmaster", w->addr.local,
		    "neither alias nor account, as root has no alias: root");
		root_account(w, at);
	}
}

static void
to_account(struct walk *w, uint32_t at)
{
	struct slice name, ext;
	uint64_t uid = 0;

	switch (walk_account(w, &name, &ext, &uid)) {
	case MEMO_USER_WAIT:
		w->waits = true;
		break;
	case MEMO_USER_TEMP:
		walk_fail_temp(w);
		break;
	case MEMO_USER_FOUND:
		walk_account_final(w, at, name, ext, uid);
		break;
	case MEMO_USER_NONE:
		if (walk_is_postmaster(w)) {
			postmaster_is_root(w, at);
		} else {
			fail_unknown(w, at, "");
		}
		break;
	}
}

void
walk_local(struct walk *w, uint32_t at)
{
	struct slice key = w->addr.local;
	enum map_result r = MAP_NONE;

	if (!w->nodes[at].escaped) {
		r = find_alias(w, &w->nodes[at], &key);
	}
	if (r == MAP_FOUND) {
		walk_children(w, at, "alias_maps", key,
		    strbuf_slice(&w->found.value));
	} else if (r == MAP_TEMP) {
		walk_fail_temp(w);
	} else {
		to_account(w, at);
	}
}

/* "error:5.1.6 text", "error:text". */
static void
fail_by_transport(struct walk *w, struct slice text)
{
	struct slice rest = text, esc;
	const char *code = "5.0.0";
	struct strbuf b;

	if (slice_word(&rest, " \t", &esc) && esc.n >= 5 && esc.n < 12 &&
	    (esc.p[0] == '4' || esc.p[0] == '5') && esc.p[1] == '.') {
		code = arena_dup(&w->arena, esc).p;
		text = slice_trim(rest);
	}
	strbuf_init(&b, 1000);
	strbuf_add_quoted(&b, text.n > 0 ? text : SL("not accepted here"), 300);
	walk_fail(w, code[0] == '4' ? 450 : 550, code, "%s", b.p);
	strbuf_clear(&b);
}

bool
walk_transport(struct walk *w, uint32_t at, bool *local)
{
	struct slice v, transport;
	enum map_result r;
	size_t colon;

	r = policy_transport(w->p, w->memo, &w->addr, &w->found.value);
	if (r == MAP_TEMP) {
		walk_fail_temp(w);
		return true;
	}
	if (r == MAP_NONE) {
		return false;
	}
	v = slice_trim(strbuf_slice(&w->found.value));
	colon = slice_find(v, ':');
	transport = slice_make(v.p, colon);
	if (slice_case_eq(transport, SL("error")) && colon < v.n) {
		fail_by_transport(w, slice_trim(slice_make(v.p + colon + 1,
		    v.n - colon - 1)));
		return true;
	}
	if (slice_case_eq(transport, SL("local"))) {
		*local = true;
	} else if (transport.n > 0) {
		fail_outside(w, at);
		return true;
	}
	return false;
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
		fail_unknown(w, at, " in virtual alias table");
	} else if (!is_relocated(w, at) && !walk_transport(w, at, &local)) {
		if (local) {
			walk_local(w, at);
		} else {
			fail_outside(w, at);
		}
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
