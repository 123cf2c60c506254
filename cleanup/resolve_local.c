/*
 * The stages of a local node: alias_maps, local_recipient_maps, the account or
 * mailbox_transport, luser_relay.
 */
#include "config.h"

#include "cleanup/resolve_walk.h"
#include "common/addr.h"

bool
walk_has_routing(struct slice local)
{
	return slice_find(local, '@') < local.n ||
	    slice_find(local, '%') < local.n || slice_find(local, '!') < local.n;
}

void
walk_fail_unknown(struct walk *w, uint32_t at, const char *in)
{
	const struct node *n = &w->nodes[at];

	if (n->configured) {
		walk_fail(w, 451, "4.3.5", "\"%.*s\" names <%.*s>, an unknown "
		    "user", SHOWN(n->named_by), SHOWN(n->address));
	} else if (walk_has_routing(w->addr.local)) {
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

/*
 * local_recipient_maps. What a map of ours names was not the sender's choice,
 * and postmaster is always taken.
 */
static enum memo_user
is_listed(struct walk *w, uint32_t at)
{
	struct slice name, ext;
	enum map_result r;
	uint64_t uid;

	if (w->nodes[at].configured || w->p->local_all ||
	    walk_is_postmaster(w)) {
		return MEMO_USER_FOUND;
	}
	r = policy_find(w->p, w->memo, &w->p->local_recipient, &w->addr,
	    &w->found);
	if (r == MAP_NONE && w->p->aliases_listed) {
		r = policy_find(w->p, w->memo, &w->p->alias, &w->addr,
		    &w->found);
	}
	if (r != MAP_NONE) {
		return r == MAP_FOUND ? MEMO_USER_FOUND : MEMO_USER_TEMP;
	}
	return w->p->local_users ? walk_account(w, &name, &ext, &uid) :
	    MEMO_USER_NONE;
}

bool
walk_refuse_unlisted(struct walk *w, uint32_t at)
{
	switch (is_listed(w, at)) {
	case MEMO_USER_FOUND:
		return false;
	case MEMO_USER_NONE:
		walk_fail_unknown(w, at, "");
		break;
	case MEMO_USER_TEMP:
		walk_fail_temp(w);
		break;
	case MEMO_USER_WAIT:
		w->waits = true;
		break;
	}
	return true;
}

/* luser_relay: the address for an unknown user, as a node of its own. */
static void
to_luser(struct walk *w, uint32_t at)
{
	struct slice text = slice_of(w->p->luser_relay), domain;
	struct node n = { .parent = at, .depth = w->nodes[at].depth + 1,
		.named_by = SL("luser_relay"), .configured = true,
		.skip_alias = slice_make("", 0), .shared = w->nodes[at].shared };
	struct strbuf local, address;
	size_t end = text.n;

	while (end > 0 && text.p[end - 1] != '@') {
		end--;
	}
	domain = end == 0 ? slice_of(w->p->myorigin) :
	    slice_make(text.p + end, text.n - end);
	if (slice_eq(domain, SL("${domain}"))) {
		domain = w->addr.domain;
	}
	strbuf_init(&local, ADDR_LOCAL_MAX * 4);
	strbuf_init(&address, 0);
	policy_luser_local(slice_make(text.p, end > 0 ? end - 1 : text.n),
	    w->addr.user, w->addr.ext, &local);
	addr_print(strbuf_slice(&local), domain, &address);
	memo_note(w->memo, "luser_relay", w->addr.local, "unknown: to %s",
	    address.p);
	n.address = strbuf_slice(&address);
	walk_push(w, &n);
	strbuf_clear(&local);
	strbuf_clear(&address);
}

/* Neither an alias nor an account. */
static void
to_nobody(struct walk *w, uint32_t at)
{
	struct strbuf b;

	if (walk_is_postmaster(w)) {
		postmaster_is_root(w, at);
		return;
	}
	if (w->nodes[at].configured || walk_has_routing(w->addr.local)) {
		walk_fail_unknown(w, at, "");
		return;
	}
	if (walk_refuse_unlisted(w, at)) {
		return;
	}
	if (w->p->luser_relay[0] != '\0') {
		to_luser(w, at);
		return;
	}
	memo_note(w->memo, "local_recipient_maps", w->addr.local,
	    "taken, but there is no such user: it will bounce");
	strbuf_init(&b, 0);
	(void)strbuf_add_str(&b, "5.1.1 unknown user: \"");
	strbuf_add_quoted(&b, w->addr.local, SHOWN_MAX);
	(void)strbuf_add_char(&b, '"');
	walk_final(w, at, SL("error"), strbuf_slice(&b), SL(""));
	strbuf_clear(&b);
}

static void
to_account(struct walk *w, uint32_t at)
{
	struct slice name, ext;
	uint64_t uid = 0;

	if (w->p->has_mailbox_route && !walk_is_postmaster(w)) {
		if (!walk_refuse_unlisted(w, at)) {
			walk_mailbox_route(w, at);
		}
		return;
	}
	switch (walk_account(w, &name, &ext, &uid)) {
	case MEMO_USER_WAIT:
		w->waits = true;
		break;
	case MEMO_USER_TEMP:
		walk_fail_temp(w);
		break;
	case MEMO_USER_FOUND:
		if (w->p->has_mailbox_route) {
			walk_mailbox_route(w, at);
		} else if (w->p->local_users ||
		    !walk_refuse_unlisted(w, at)) {
			walk_account_final(w, at, name, ext, uid);
		}
		break;
	case MEMO_USER_NONE:
		to_nobody(w, at);
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
	if (r == MAP_TEMP) {
		walk_fail_temp(w);
	} else if (r == MAP_NONE) {
		to_account(w, at);
	} else if (w->p->aliases_listed || !walk_refuse_unlisted(w, at)) {
		/* that may have used w->found */
		(void)find_alias(w, &w->nodes[at], &key);
		walk_children(w, at, "alias_maps", key,
		    strbuf_slice(&w->found.value));
	}
}
