#include "config.h"

#include <stdlib.h>

#include "tests/unit/resolve_kit.h"
#include "tests/unit/unit.h"

/* name:uid, "?" a lookup that fails. */
static const struct {
	const char *name;
	int uid;
} accounts[] = {
	{ "ann", 1000 }, { "bob", 1001 }, { "carl", 1002 }, { "eve", 1003 },
	{ "root", 0 }, { "keep", 1004 }, { "ann-x", 1005 }, { "tempuser", -1 },
	{ "self", 1006 },
};

/* A line that sets again what HEAD sets takes the place of HEAD's. */
static char *
last_wins(const char *text)
{
	struct slice rest = slice_of(text), line;
	struct strbuf out, name;

	strbuf_init(&out, 0);
	strbuf_init(&name, 0);
	while (slice_word(&rest, "\n", &line)) {
		strbuf_reset(&name);
		(void)strbuf_printf(&name, "\n%.*s =",
		    (int)slice_find(line, ' '), line.p);
		if (strstr(line.p, name.p) == NULL) {
			(void)strbuf_add_slice(&out, line);
			(void)strbuf_add_char(&out, '\n');
		}
	}
	strbuf_clear(&name);
	return strbuf_take(&out);
}

struct policy *
make_policy(const struct world *w, struct settings *s)
{
	static char own4[] = "192.0.2.25", own6[] = "2001:db8::25";
	char *own_list[] = { own4, own6 };
	struct strlist own = { own_list, NELEMS(own_list) };
	struct settings_source src = { 0 };
	char *text = last_wins(w->settings);
	struct strbuf why;
	struct policy *p;

	strbuf_init(&why, 0);
	settings_init(s);
	if (!settings_load("test.conf", slice_of(text), s, &src, &why)) {
		fail_msg("%s: %s", w->name, why.p);
	}
	p = policy_new(s, &own, &why);
	if (p == NULL) {
		fail_msg("%s: %s", w->name, why.p);
	}
	settings_source_clear(&src);
	strbuf_clear(&why);
	free(text);
	return p;
}

static void
answer(struct memo *m, struct slice user)
{
	size_t i;

	for (i = 0; i < NELEMS(accounts); i++) {
		if (!slice_eq(user, slice_of(accounts[i].name))) {
			continue;
		}
		if (accounts[i].uid < 0) {
			memo_answer_user(m, user, MAP_TEMP, 0, SL("asleep"));
		} else {
			memo_answer_user(m, user, MAP_FOUND,
			    (uint64_t)accounts[i].uid, SL(""));
		}
		return;
	}
	memo_answer_user(m, user, MAP_NONE, 0, SL(""));
}

void
decide(const struct policy *p, const struct resolve_request *rq, struct memo *m,
    struct decision *d, unsigned *rounds)
{
	struct slice user;
	size_t place;

	*rounds = 1;
	while (resolve(p, rq, m, d) == RESOLVE_NEED) {
		bool any = false;

		assert_true(++*rounds < 10);
		place = 0;
		while (memo_need(m, &place, &user)) {
			any = true;
			answer(m, user);
		}
		assert_true(any);
	}
}

static void
print_targets(const struct decision *d, struct strbuf *out)
{
	size_t i;

	for (i = 0; i < d->ntargets; i++) {
		const struct resolve_target *t = &d->targets[i];

		bool local = strcmp(t->transport, "local") == 0;

		(void)strbuf_printf(out, "%s%s>%s%s%s%s%s", i > 0 ? ", " : "",
		    t->address, local ? "" : t->transport, local ? "" : ":",
		    t->next_hop, t->extension[0] ? "+" : "", t->extension);
	}
}

void
print_trace(struct memo *m, struct strbuf *out)
{
	struct slice what, key, result;
	size_t place = 0;

	while (memo_step(m, &place, &what, &key, &result)) {
		(void)strbuf_printf(out, "%.*s [%.*s] %.*s\n", SLF(what),
		    SLF(key), SLF(result));
	}
}

void
check_row(const struct policy *p, const struct row *r)
{
	struct resolve_request rq = { .reverse_path = SL("s@example.net"),
		.forward_path = slice_of(r->rcpt),
		.client_addr = slice_of(r->client != NULL ? r->client : ""),
		.trusted = r->client == NULL };
	struct memo *m = memo_new();
	struct strbuf targets, trace;
	struct decision d;
	unsigned rounds;

	decide(p, &rq, m, &d, &rounds);
	strbuf_init(&targets, 0);
	strbuf_init(&trace, 0);
	(void)strbuf_add_str(&targets, "");
	print_targets(&d, &targets);
	print_trace(m, &trace);
	if (d.code != r->code || strcmp(d.esc, r->esc) != 0 ||
	    strstr(d.text, r->text) == NULL ||
	    strcmp(targets.p, r->targets != NULL ? r->targets : "") != 0) {
		fail_msg("%s: %s: %u %s %s [%s], wanted %u %s %s [%s]\n%s",
		    r->name, r->rcpt, d.code, d.esc, d.text, targets.p,
		    r->code, r->esc, r->text,
		    r->targets != NULL ? r->targets : "", trace.p);
	}
	strbuf_clear(&targets);
	strbuf_clear(&trace);
	decision_clear(&d);
	memo_free(m);
}
