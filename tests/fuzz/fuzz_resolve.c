/*
 * The resolver with maps that anybody wrote. Input lines: the forward-path,
 * then the insides of inline maps for alias_maps, virtual_alias_maps,
 * canonical_maps, relocated_maps and transport_maps. It ends in few rounds,
 * takes a recipient only for somebody, and says nothing unprintable.
 */
#include "config.h"

#include <stdlib.h>

#include "cleanup/resolve.h"
#include "common/addr.h"
#include "common/xmalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
set(struct settings *s, const char *name, struct slice value)
{
	struct strbuf why;

	strbuf_init(&why, 0);
	if (!settings_set(s, settings_find(slice_of(name)), value, &why)) {
		abort();
	}
	strbuf_clear(&why);
}

/* The list of one map whose inside is the next line. */
static void
set_map(struct strlist *l, struct slice *rest)
{
	size_t n = slice_find(*rest, '\n');
	struct strbuf b;

	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "inline:{%.*s}", (int)n, rest->p);
	n += n < rest->n ? 1 : 0;
	*rest = slice_make(rest->p + n, rest->n - n);
	l->at = xcalloc(1, sizeof(char *));
	l->at[0] = strbuf_take(&b);
	l->n = 1;
}

static void
check_text(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s < 32 || *s == 127) {
			abort();
		}
	}
}

static void
check_decision(const struct decision *d)
{
	struct addr unused;
	size_t i;

	check_text(d->text);
	check_text(d->esc);
	if (d->esc[0] < '2' || d->esc[0] > '5' || d->esc[1] != '.' ||
	    (d->code / 100 == 2) != (d->ntargets > 0) ||
	    (unsigned)(d->esc[0] - '0') != d->code / 100) {
		abort();
	}
	for (i = 0; i < d->ntargets; i++) {
		if (addr_parse_mailbox(slice_of(d->targets[i].address), 0,
		    &unused) != ADDR_OK ||
		    strcmp(d->targets[i].transport, "local") != 0 ||
		    strcmp(d->targets[i].next_hop, "root") == 0) {
			abort();
		}
	}
}

static void
ask(const struct policy *p, const struct resolve_request *rq)
{
	struct memo *m = memo_new();
	struct slice user, what, key, result;
	struct decision d;
	size_t place;
	unsigned rounds = 0;

	while (resolve(p, rq, m, &d) == RESOLVE_NEED) {
		if (++rounds > 4) {
			abort();
		}
		place = 0;
		while (memo_need(m, &place, &user)) {
			bool odd = user.n % 3 == 2;

			memo_answer_user(m, user, user.n % 7 == 6 ? MAP_TEMP :
			    odd ? MAP_NONE : MAP_FOUND,
			    slice_eq(user, SL("root")) ? 0 : 1000, SL("x"));
		}
	}
	if (rq->route_only && d.code / 100 == 2 && d.ntargets != 1) {
		abort();
	}
	if (!rq->route_only) {
		check_decision(&d);
	}
	place = 0;
	while (memo_step(m, &place, &what, &key, &result)) {
	}
	decision_clear(&d);
	memo_free(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_make((const char *)data, size);
	size_t n = slice_find(rest, '\n');
	struct resolve_request rq = { .forward_path = slice_make(rest.p, n),
		.reverse_path = SL(""), .client_addr = SL("10.0.0.1") };
	struct strlist own = { NULL, 0 };
	struct settings s;
	struct strbuf why;
	struct policy *p;

	n += n < rest.n ? 1 : 0;
	rest = slice_make(rest.p + n, rest.n - n);
	settings_init(&s);
	set(&s, "myhostname", SL("mx.example.org"));
	set(&s, "mydomain", SL("example.org"));
	set(&s, "myorigin", SL("example.org"));
	set(&s, "mydestination", SL("example.org, localhost"));
	set(&s, "mynetworks", SL("10.0.0.0/8"));
	set(&s, "relay_domains", SL("relay.example"));
	set(&s, "recipient_delimiter", SL("+"));
	set(&s, "relocated_forward", size % 2 == 0 ? SL("yes") : SL("no"));
	set(&s, "alias_expansion_limit", SL("20"));
	set(&s, "alias_recursion_limit", SL("5"));
	set_map(&s.alias_maps, &rest);
	set_map(&s.virtual_alias_maps, &rest);
	set_map(&s.canonical_maps, &rest);
	set_map(&s.relocated_maps, &rest);
	set_map(&s.transport_maps, &rest);
	strbuf_init(&why, 0);
	p = policy_new(&s, &own, &why);
	if (p != NULL) {
		ask(p, &rq);
		rq.route_only = true;
		ask(p, &rq);
		policy_free(p);
	} else if (why.n == 0) {
		abort();
	}
	strbuf_clear(&why);
	settings_clear(&s);
	return 0;
}
