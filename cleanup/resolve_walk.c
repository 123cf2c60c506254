#include "config.h"

#include <stdlib.h>

#include "cleanup/resolve_walk.h"
#include "common/addr.h"
#include "common/aliases.h"
#include "common/xmalloc.h"


void
walk_init(struct walk *w, const struct policy *p,
    const struct resolve_request *rq, struct memo *memo)
{
	*w = (struct walk){ .p = p, .rq = rq, .memo = memo };
	arena_init(&w->arena);
	lookup_addr_init(&w->addr);
	strbuf_init(&w->found.value, 0);
	strbuf_init(&w->text, 0);
	strbuf_init(&w->buf, 0);
}

/* The targets go to the decision, or are freed by its owner. */
void
walk_clear(struct walk *w)
{
	arena_clear(&w->arena);
	table_clear(&w->visited);
	table_clear(&w->finals);
	lookup_addr_clear(&w->addr);
	strbuf_clear(&w->found.value);
	strbuf_clear(&w->text);
	strbuf_clear(&w->buf);
	free(w->nodes);
	free(w->edges);
}

void
walk_fail(struct walk *w, unsigned code, const char *esc, const char *fmt, ...)
{
	struct strbuf b;
	va_list ap;

	if (w->failure.code != 0 && (w->failure.code < 500 || code >= 500)) {
		return;
	}
	strbuf_init(&b, 0);
	if (code != 551 && !w->rq->route_only) {
		(void)strbuf_add_char(&b, '<');
		strbuf_add_quoted(&b, w->rq->forward_path, SHOWN_MAX);
		(void)strbuf_add_str(&b, ">: ");
	}
	va_start(ap, fmt);
	(void)strbuf_vprintf(&b, fmt, ap);
	va_end(ap);
	w->failure = (struct failure){ code, esc,
		arena_dup(&w->arena, strbuf_slice(&b)) };
	strbuf_clear(&b);
}

/* The reason names files of ours: it is for the trace, not for the client. */
void
walk_fail_temp(struct walk *w)
{
	walk_fail(w, 451, "4.3.0", "Temporary lookup failure");
}

static void
add_edge(struct walk *w, uint32_t from, uint32_t to)
{
	if (w->nedges == w->edges_cap) {
		w->edges_cap = w->edges_cap == 0 ? 16 : w->edges_cap * 2;
		w->edges = xreallocarray(w->edges, w->edges_cap,
		    sizeof(*w->edges));
	}
	w->edges[w->nedges++] = (struct edge){ from, to };
}

/* What makes two nodes the same one: the address without regard to case, and
   what is still to be asked about it. */
static struct slice
node_key(struct walk *w, const struct node *n)
{
	strbuf_reset(&w->text);
	(void)strbuf_add_char(&w->text, n->escaped ? '\\' :
	    n->local ? 'l' :
	    n->via_alias ? 'a' : n->no_virtual ? 'n' : 'v');
	(void)strbuf_add_slice(&w->text, n->skip_alias);
	(void)strbuf_add_char(&w->text, '\0');
	(void)strbuf_add_slice(&w->text, n->address);
	return arena_dup_lower(&w->arena, strbuf_slice(&w->text));
}

/* Lists inside lists: more nodes than targets, but not without end. */
static bool
has_room(struct walk *w, const struct node *n)
{
	uint64_t most = w->p->expansion_limit * 10 + 100;

	if (n->depth > w->p->recursion_limit) {
		walk_fail(w, 451, "4.3.5", "aliases are nested more than %llu "
		    "deep at \"%.*s\"",
		    (unsigned long long)w->p->recursion_limit,
		    SHOWN(n->named_by));
		return false;
	}
	if (w->nnodes >= most || w->nedges >= most ||
	    w->ntargets > w->p->expansion_limit) {
		walk_fail(w, 451, "4.3.5", "\"%.*s\" expands to more than %llu "
		    "addresses", SHOWN(n->named_by),
		    (unsigned long long)w->p->expansion_limit);
		return false;
	}
	return true;
}

void
walk_push(struct walk *w, const struct node *n)
{
	struct node *to;
	struct slice key;
	uint32_t at;

	if (!has_room(w, n)) {
		return;
	}
	key = node_key(w, n);
	if (table_get(&w->visited, key, &at)) {
		add_edge(w, n->parent, at);
		return;
	}
	if (w->nnodes == w->nodes_cap) {
		w->nodes_cap = w->nodes_cap == 0 ? 8 : w->nodes_cap * 2;
		w->nodes = xreallocarray(w->nodes, w->nodes_cap,
		    sizeof(*w->nodes));
	}
	at = w->nnodes++;
	(void)table_add(&w->visited, key, at);
	to = &w->nodes[at];
	*to = *n;
	to->address = arena_dup(&w->arena, n->address);
	to->named_by = arena_dup(&w->arena, n->named_by);
	to->skip_alias = arena_dup(&w->arena, n->skip_alias);
	if (n->parent != NOBODY) {
		add_edge(w, n->parent, at);
	}
}

void
walk_final(struct walk *w, uint32_t at, struct slice transport,
    struct slice next_hop, struct slice extension)
{
	struct resolve_target t = { xslicedup(w->nodes[at].address),
		xslicedup(transport), xslicedup(next_hop),
		xslicedup(extension) };

	w->nodes[at].ends = true;
	strbuf_reset(&w->text);
	resolve_target_key(&t, &w->text);
	if (!table_add(&w->finals, arena_dup(&w->arena,
	    strbuf_slice(&w->text)), 0)) {
		memo_note(w->memo, "target", w->nodes[at].address,
		    "a target already");
		resolve_target_clear(&t);
		return;
	}
	if (w->ntargets == w->targets_cap) {
		w->targets_cap = w->targets_cap == 0 ? 4 : w->targets_cap * 2;
		w->targets = xreallocarray(w->targets, w->targets_cap,
		    sizeof(*w->targets));
	}
	w->targets[w->ntargets++] = t;
	memo_note(w->memo, "target", w->nodes[at].address, "%.*s %.*s",
	    SLF(transport), SLF(next_hop));
	if (w->ntargets > w->p->expansion_limit) {
		walk_fail(w, 451, "4.3.5", "expands to more than %llu "
		    "addresses", (unsigned long long)w->p->expansion_limit);
	}
}

/* Why a target of an alias cannot be had, or NULL. */
static const char *
target_fault(const struct alias_target *t, bool is_virtual)
{
	switch (t->kind) {
	case ALIAS_ADDRESS:
		return is_virtual && t->escaped ? "not an address" : NULL;
	case ALIAS_DOMAIN:
		return is_virtual ? NULL : "not an address";
	case ALIAS_COMMAND:
		return "commands are not available in this version";
	case ALIAS_FILE:
		return "files are not available in this version";
	case ALIAS_INCLUDE:
		return ":include: is not available in this version";
	case ALIAS_DIRECTIVE:
		return "not available in this version";
	}
	return "not an address";
}

/* An alias among its own targets means the user of that name. */
static bool
names_itself(struct walk *w, struct slice address, struct slice key)
{
	struct lookup_addr a;
	bool yes;

	lookup_addr_init(&a);
	yes = lookup_addr_set(w->p, address, &a) &&
	    (slice_eq(a.local, key) || slice_eq(a.user, key)) &&
	    policy_class(w->p, w->memo, a.domain) == DOMAIN_LOCAL;
	lookup_addr_clear(&a);
	return yes;
}

static void
push_child(struct walk *w, uint32_t at, const struct alias_target *t,
    bool is_virtual, struct slice key, bool shared)
{
	struct node n = { .parent = at, .depth = w->nodes[at].depth + 1,
		.named_by = key, .escaped = t->escaped,
		.skip_alias = slice_make("", 0), .via_alias = !is_virtual,
		.shared = w->nodes[at].shared || shared,
		.moved = w->nodes[at].moved };
	struct strbuf address;

	n.configured = w->nodes[at].configured || t->kind != ALIAS_DOMAIN;
	strbuf_init(&address, 0);
	policy_target_address(w->p, t, w->nodes[at].address, &w->addr,
	    is_virtual && w->found.ext_unmatched, &address);
	n.address = strbuf_slice(&address);
	if (!is_virtual && !t->escaped && names_itself(w, n.address, key)) {
		n.skip_alias = key;
	}
	if (is_virtual && slice_case_eq(n.address, w->nodes[at].address)) {
		n.no_virtual = true;
		n.configured = w->nodes[at].configured;
	}
	walk_push(w, &n);
	strbuf_clear(&address);
}

void
walk_children(struct walk *w, uint32_t at, const char *setting,
    struct slice key, struct slice value)
{
	bool is_virtual = strcmp(setting, "alias_maps") != 0;
	struct slice rest = value;
	struct alias_target t;
	struct strbuf text;
	const char *why = NULL;
	enum alias_next next;
	bool shared, any = false;

	strbuf_init(&text, 0);
	while ((next = aliases_next(&rest, &t, &text, &why)) == ALIAS_NEXT) {
		why = target_fault(&t, is_virtual);
		if (why != NULL) {
			break;
		}
		shared = any || slice_trim(rest).n > 0;
		any = true;
		push_child(w, at, &t, is_virtual, key, shared);
	}
	strbuf_clear(&text);
	if (next == ALIAS_END && !any) {
		why = "no target";
	}
	if (why != NULL) {
		memo_note(w->memo, setting, key, "a bad entry: %s", why);
		walk_fail(w, 451, "4.3.5", "the entry of \"%.*s\" in %s is bad: "
		    "%s", SHOWN(key), setting, why);
	}
}

bool
account_name_good(struct slice name)
{
	size_t i;

	if (name.n == 0 || name.n > RESOLVE_USER_MAX || name.p[0] == '-' ||
	    name.p[0] == '.') {
		return false;
	}
	for (i = 0; i < name.n; i++) {
		if (!ascii_isalnum(name.p[i]) && name.p[i] != '.' &&
		    name.p[i] != '_' && name.p[i] != '-') {
			return false;
		}
	}
	return true;
}

void
walk_account_final(struct walk *w, uint32_t at, struct slice name,
    struct slice extension, uint64_t uid)
{
	if (uid == 0) {
		memo_note(w->memo, "uid 0", name, "no alias: into the mail "
		    "spool, as default_privs");
	}
	walk_final(w, at, SL("local"), name, extension);
}

enum memo_user
walk_account(struct walk *w, struct slice *name, struct slice *ext,
    uint64_t *uid)
{
	enum memo_user whole, user;
	uint64_t user_uid = 0;

	*name = w->addr.local;
	*ext = slice_make("", 0);
	whole = account_name_good(*name) ? memo_user(w->memo, *name, uid) :
	    MEMO_USER_NONE;
	if (!w->addr.has_ext || whole == MEMO_USER_FOUND) {
		return whole;
	}
	/* Both are asked in the same round. */
	user = account_name_good(w->addr.user) ?
	    memo_user(w->memo, w->addr.user, &user_uid) : MEMO_USER_NONE;
	if (whole != MEMO_USER_NONE) {
		return whole;
	}
	*name = w->addr.user;
	*ext = w->addr.ext;
	*uid = user_uid;
	return user;
}
