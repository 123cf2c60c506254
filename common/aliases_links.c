/* What the entries of an alias file lead to: loops, and how deep they nest. */
#include "config.h"

#include <stdlib.h>

#include "common/addr.h"
#include "common/aliases.h"
#include "common/xmalloc.h"

struct links {
	struct link {
		uint32_t from, to;
	} *at;           /* in the order of `from' */
	size_t n, cap;
	bool *ends;      /* by entry: leads to something that is no alias */
	size_t *first;   /* by entry, and one more: its first link */
};

static void
complain(const struct mapentries *e, const char *name, uint32_t i,
    struct strbuf *errors)
{
	(void)strbuf_printf(errors, "%s:%u: ", name, e->at[i].line);
	strbuf_add_quoted(errors, mapentries_key(e, i), 60);
	(void)strbuf_add_str(errors, ": ");
}

static void
add_link(struct links *l, uint32_t from, uint32_t to)
{
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 64 : l->cap * 2;
		l->at = xreallocarray(l->at, l->cap, sizeof(*l->at));
	}
	l->at[l->n++] = (struct link){ from, to };
}

static void
find_links(const struct mapentries *e, uint32_t i, struct links *l)
{
	struct slice rest = mapentries_value(e, i), key;
	struct alias_target t;
	struct strbuf buf, name;
	struct addr a;
	const char *why;
	uint32_t to;
	size_t n;

	strbuf_init(&buf, 0);
	strbuf_init(&name, 0);
	l->first[i] = l->n;
	while (aliases_next(&rest, &t, &buf, &why) == ALIAS_NEXT) {
		strbuf_reset(&name);
		if (addr_parse_mailbox(t.text, ADDR_ALLOW_BARE, &a) ==
		    ADDR_OK) {
			addr_local_value(&a, &name);
		}
		for (n = 0; n < name.n; n++) {
			name.p[n] = ascii_lower(name.p[n]);
		}
		key = strbuf_slice(&name);
		if (t.kind != ALIAS_ADDRESS || !t.bare || t.escaped ||
		    !table_get(&e->index, key, &to) || to == i) {
			l->ends[i] = true;
		} else {
			add_link(l, i, to);
		}
	}
	strbuf_clear(&name);
	strbuf_clear(&buf);
}

static void
follow_links(struct links *l)
{
	bool again;
	size_t i;

	do {
		again = false;
		for (i = 0; i < l->n; i++) { /* there and back: few passes */
			struct link *a = &l->at[i], *b = &l->at[l->n - 1 - i];

			if (!l->ends[a->from] && l->ends[a->to]) {
				l->ends[a->from] = again = true;
			}
			if (!l->ends[b->from] && l->ends[b->to]) {
				l->ends[b->from] = again = true;
			}
		}
	} while (again);
}

static bool
check_loops(const struct mapentries *e, const char *name, struct links *l,
    struct strbuf *errors)
{
	bool ok = true;
	uint32_t i;

	follow_links(l);
	for (i = 0; i < e->n; i++) {
		if (!l->ends[i]) {
			complain(e, name, i, errors);
			(void)strbuf_add_str(errors, "a loop: leads to aliases "
			    "only that lead back\n");
			ok = false;
		}
	}
	return ok;
}

/* -- depth ------------------------------------------------------------------- */

/* One more step: who has a link to one that can go `steps' - 1 can go `steps'.
   False: nobody can. */
static bool
step(const struct links *l, uint64_t *can, uint64_t steps)
{
	bool any = false;
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (can[l->at[i].to] >= steps - 1) {
			can[l->at[i].from] = steps;
			any = true;
		}
	}
	return any;
}

/*
 * As the resolver walks, each alias once, the nearest first: is there a target
 * more than `deepest' below the entry `root'? `seen' holds root + 1 for those
 * that were met from there; `todo' has room for all.
 */
static bool
is_too_deep(const struct links *l, uint32_t root, uint64_t deepest,
    uint32_t *seen, uint32_t *todo)
{
	size_t done = 0, n = 1, level_end = 1, i;
	uint64_t depth = 0; /* of the aliases of this level */

	todo[0] = root;
	seen[root] = root + 1;
	while (done < n) {
		if (depth == deepest) {
			return true; /* its targets are one deeper */
		}
		for (i = l->first[todo[done]]; i < l->first[todo[done] + 1];
		    i++) {
			if (seen[l->at[i].to] != root + 1) {
				seen[l->at[i].to] = root + 1;
				todo[n++] = l->at[i].to;
			}
		}
		if (++done == level_end) {
			level_end = n;
			depth++;
		}
	}
	return false;
}

/* Only those from which so long a way leads at all are walked. */
static bool
check_depth(const struct mapentries *e, const char *name, uint64_t deepest,
    const struct links *l, struct strbuf *errors)
{
	uint64_t *can = xcalloc(e->n, sizeof(*can)), steps = 1;
	uint32_t *seen = xcalloc(e->n, sizeof(*seen));
	uint32_t *todo = xcalloc(e->n, sizeof(*todo)), i;
	bool ok = true;

	while (steps <= deepest && step(l, can, steps)) {
		steps++;
	}
	for (i = 0; steps > deepest && i < e->n; i++) {
		if (can[i] == deepest &&
		    is_too_deep(l, i, deepest, seen, todo)) {
			complain(e, name, i, errors);
			(void)strbuf_printf(errors, "leads through more than "
			    "%llu aliases (alias_recursion_limit): mail for it "
			    "would wait\n", (unsigned long long)deepest);
			ok = false;
		}
	}
	free(can);
	free(seen);
	free(todo);
	return ok;
}

bool
aliases_check_links(const struct mapentries *e, const char *name,
    uint64_t deepest, struct strbuf *errors)
{
	struct links l = { .ends = xcalloc(e->n + 1, sizeof(bool)),
		.first = xcalloc(e->n + 1, sizeof(size_t)) };
	uint32_t i;
	bool ok;

	for (i = 0; i < e->n; i++) {
		find_links(e, i, &l);
	}
	l.first[e->n] = l.n;
	ok = check_loops(e, name, &l, errors) && (deepest == 0 ||
	    check_depth(e, name, deepest, &l, errors));
	free(l.ends);
	free(l.first);
	free(l.at);
	return ok;
}
