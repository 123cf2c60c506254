/*
 * Lookups against servers that say what a test wants: every rcode, silence,
 * garbage, TCP, aliases; and that the same question is asked once.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/xmalloc.h"
#include "services/dns_ask.h"
#include "services/dns_conf.h"
#include "tests/unit/dns_kit.h"
#include "tests/unit/unit.h"

#define ADDR slice_make("\300\0\2\1", 4)

struct world {
	struct event_base *base;
	struct dns_ask *ask;
	struct fake *fake[2];
	char got[4096];     /* "tid:STATUS records reason|" of each reply */
	unsigned replies;
	/* what the fake servers do */
	const char *mode[2];
	unsigned tcp;       /* questions by TCP */
	unsigned flags;     /* of the last question */
};

static void
on_reply(void *asker, uint32_t tid, const struct dns_answer *a)
{
	static const char *const status[] = { "FOUND", "NODATA", "NXDOMAIN",
		"TEMP" };
	struct world *w = *(struct world **)asker;
	size_t n = strlen(w->got);

	(void)snprintf(w->got + n, sizeof(w->got) - n, "%u:%s%s %zu %u %.*s|",
	    tid, status[a->status], a->secure ? "!" : "", a->records.n, a->ttl,
	    SLF(a->reason));
	w->replies++;
	(void)event_base_loopbreak(w->base);
}

/* -- what the servers say ------------------------------------------------------ */

static void
say_found(struct pkt *p, unsigned id, const char *name, unsigned type)
{
	pkt_begin(p, id, OK_FLAGS | AD, name, type);
	if (type == T_MX) {
		pkt_mx(p, name, 10, "mx.test");
	} else {
		pkt_rr(p, AN, name, type, 300, type == T_A ? ADDR :
		    SL("0123456789abcdef"));
	}
}

/* A way through names, one alias at a time: n1 -> n2 -> ... -> n9, found. */
static void
say_chain(struct pkt *p, unsigned id, const char *name, unsigned type)
{
	char next[20];
	unsigned n = (unsigned)strtoul(name + 1, NULL, 10);

	if (n >= 9 && name[0] == 'n') {
		say_found(p, id, name, type);
		return;
	}
	(void)snprintf(next, sizeof(next), "%c%u.test", name[0], n + 1);
	pkt_begin(p, id, OK_FLAGS, name, type);
	pkt_rr_name(p, AN, name, T_CNAME, 100, SL(""), next);
}

static void
say_many(struct pkt *p, unsigned id, const char *name, bool tcp)
{
	unsigned i;

	pkt_begin(p, id, OK_FLAGS | (tcp ? 0 : TC), name, T_A);
	for (i = 0; tcp && i < 1500; i++) {
		pkt_rr(p, AN, name, T_A, 300, ADDR);
	}
}

static void
say(const char *mode, struct pkt *p, const char *name, unsigned type, bool tcp)
{
	unsigned id = (unsigned)p->b[0] << 8 | p->b[1];

	if (strncmp(mode, "rcode ", 6) == 0) {
		pkt_begin(p, id, OK_FLAGS |
		    (unsigned)strtoul(mode + 6, NULL, 10), name, type);
	} else if (strcmp(mode, "found") == 0) {
		say_found(p, id, name, type);
	} else if (strcmp(mode, "chain") == 0) {
		say_chain(p, id, name, type);
	} else if (strcmp(mode, "cut") == 0) {
		say_many(p, id, name, tcp);
	} else if (strcmp(mode, "cut for ever") == 0) {
		say_many(p, id, name, false);
	} else if (strcmp(mode, "soa") == 0) {
		pkt_begin(p, id, OK_FLAGS | 3, name, type);
		pkt_soa(p, "test", 900, 600);
	} else if (strcmp(mode, "wrong id") == 0) {
		say_found(p, id ^ 1, name, type);
	} else if (strcmp(mode, "wrong question") == 0) {
		say_found(p, id, "other.test", type);
	} else if (strcmp(mode, "garbage") == 0) {
		say_found(p, id, name, type);
		p->b[AN + 1] = 200;
	} else if (strcmp(mode, "header only") == 0) {
		pkt_begin(p, id, OK_FLAGS, name, type);
		p->n = 12;
	} else if (strcmp(mode, "octets") == 0) {
		p->n = 5;
	} else {
		assert_string_equal(mode, "silence");
	}
}

static void
on_question(struct world *w, unsigned server, const char *name, unsigned type,
    unsigned flags, bool tcp, struct pkt *reply)
{
	w->flags = flags;
	w->tcp += tcp ? 1 : 0;
	say(w->mode[server], reply, name, type, tcp);
}

static void
first(void *arg, const char *name, unsigned type, unsigned flags, bool tcp,
    struct pkt *reply)
{
	on_question(arg, 0, name, type, flags, tcp, reply);
}

static void
second(void *arg, const char *name, unsigned type, unsigned flags, bool tcp,
    struct pkt *reply)
{
	on_question(arg, 1, name, type, flags, tcp, reply);
}

/* -- the rig -------------------------------------------------------------------- */

static void
use(struct world *w, const char *a, const char *b)
{
	char one[40], two[40];
	char *at[2] = { one, two };
	struct strlist l = { at, b != NULL ? 2 : 1 };

	(void)snprintf(one, sizeof(one), "%s", a);
	(void)snprintf(two, sizeof(two), "%s", b != NULL ? b : "");
	assert_null(dns_ask_servers(w->ask, &l));
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	w->base = event_base_new();
	w->ask = dns_ask_new(w->base, on_reply, 700, 100);
	w->fake[0] = fake_new(w->base, first, w);
	w->fake[1] = fake_new(w->base, second, w);
	w->mode[0] = w->mode[1] = "found";
	use(w, fake_address(w->fake[0]), NULL);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	dns_ask_free(w->ask);
	fake_free(w->fake[0]);
	fake_free(w->fake[1]);
	event_base_free(w->base);
	free(w);
	return 0;
}

/* Turn the loop until there are `n' replies; 20 s at most. */
static void
await(struct world *w, unsigned n)
{
	const struct timeval limit = { 20, 0 };

	while (w->replies < n) {
		assert_int_equal(event_base_loopexit(w->base, &limit), 0);
		assert_int_equal(event_base_loop(w->base, 0), 0);
		assert_false(event_base_got_exit(w->base));
	}
	assert_int_equal(w->replies, n);
}

static void
ask(struct world *w, uint32_t tid, const char *name, enum dns_type type)
{
	static struct world *asker;

	asker = w;
	dns_ask(w->ask, &asker, tid, slice_of(name), type, 0);
}

/* Ask, and wait for this one reply. */
static const char *
look_up(struct world *w, const char *name, enum dns_type type)
{
	w->got[0] = '\0';
	w->replies = 0;
	ask(w, 1, name, type);
	await(w, 1);
	return w->got;
}

/* -- tests ------------------------------------------------------------------------ */

static void
test_found(void **state)
{
	struct world *w = *state;

	assert_string_equal(look_up(w, "a.test", DNS_A), "1:FOUND! 10 300 |");
	assert_true((w->flags & AD) != 0 && (w->flags & RD) != 0);
	assert_string_equal(look_up(w, "a.test", DNS_AAAA),
	    "1:FOUND! 22 300 |");
	assert_string_equal(look_up(w, "a.test", DNS_MX), "1:FOUND! 13 300 |");
	assert_int_equal(fake_questions(w->fake[0]), 3);
	/* from the cache now */
	assert_string_equal(look_up(w, "a.test", DNS_A), "1:FOUND! 10 300 |");
	assert_int_equal(fake_questions(w->fake[0]), 3);
}

static const struct {
	const char *mode, *want;
} sayings[] = {
	{ "rcode 0", "1:NODATA 0 0 no such records|" },
	{ "rcode 3", "1:NXDOMAIN 0 0 no such name|" },
	{ "soa", "1:NXDOMAIN 0 600 no such name|" },
	{ "rcode 1", "1:TEMP 0 2 the resolver does not understand the question "
	    "(FORMERR) [" },
	{ "rcode 2", "1:TEMP 0 2 the resolver failed (SERVFAIL) [" },
	{ "rcode 4", "1:TEMP 0 2 the resolver knows no such question (NOTIMP) "
	    "[" },
	{ "rcode 5", "1:TEMP 0 2 the resolver refused (REFUSED) [" },
	{ "rcode 6", "1:TEMP 0 2 the resolver failed (an unknown rcode) [" },
	{ "rcode 7", "1:TEMP 0 2 the resolver failed (an unknown rcode) [" },
	{ "rcode 8", "1:TEMP 0 2 the resolver failed (an unknown rcode) [" },
	{ "rcode 9", "1:TEMP 0 2 the server is not responsible (NOTAUTH) [" },
	{ "rcode 10", "1:TEMP 0 2 the resolver failed (an unknown rcode) [" },
	{ "rcode 15", "1:TEMP 0 2 the resolver failed (an unknown rcode) [" },
	{ "garbage", "1:TEMP 0 2 the answer is malformed [" },
	{ "cut for ever", "1:TEMP 0 2 the answer is cut short [" },
	/* c-ares drops what is no answer to the question; then silence */
	{ "wrong id", "1:TEMP 0 2 the resolver does not answer" },
	{ "wrong question", "1:TEMP 0 2 the resolver does not answer" },
	{ "header only", "1:TEMP 0 2 " },
	{ "octets", "1:TEMP 0 2 " },
	{ "silence", "1:TEMP 0 2 the resolver does not answer" },
};

static void
test_everything_said(void **state)
{
	struct world *w = *state;
	char name[30];
	size_t i;

	for (i = 0; i < NELEMS(sayings); i++) {
		w->mode[0] = sayings[i].mode;
		(void)snprintf(name, sizeof(name), "x%zu.test", i);
		(void)look_up(w, name, DNS_A);
		if (strncmp(w->got, sayings[i].want,
		    strlen(sayings[i].want)) != 0) {
			fail_msg("%s: %s", sayings[i].mode, w->got);
		}
		/* and it costs nothing but that lookup */
		w->mode[0] = "found";
		(void)snprintf(name, sizeof(name), "y%zu.test", i);
		assert_string_equal(look_up(w, name, DNS_A),
		    "1:FOUND! 10 300 |");
	}
}

static void
test_tcp(void **state)
{
	struct world *w = *state;

	w->mode[0] = "cut";
	assert_string_equal(look_up(w, "many.test", DNS_A),
	    "1:FOUND 2560 300 |");
	assert_int_equal(w->tcp, 1);
}

static void
test_aliases_by_further_questions(void **state)
{
	struct world *w = *state;

	w->mode[0] = "chain";
	/* insecure, as one step was; the least TTL */
	assert_string_equal(look_up(w, "n1.test", DNS_A), "1:FOUND 10 100 |");
	assert_int_equal(fake_questions(w->fake[0]), 9);
	/* without end */
	assert_true(strncmp(look_up(w, "e1.test", DNS_A), "1:TEMP 0 2 aliases "
	    "(CNAME) go round in circles", 45) == 0);
	assert_true(fake_questions(w->fake[0]) <= 9 + 17);
}

static void
test_next_server(void **state)
{
	struct world *w = *state;

	/* nobody at the first: at once */
	use(w, fake_nobody(), fake_address(w->fake[1]));
	assert_string_equal(look_up(w, "a.test", DNS_A), "1:FOUND! 10 300 |");
	/* one that refuses */
	use(w, fake_address(w->fake[0]), fake_address(w->fake[1]));
	w->mode[0] = "rcode 5";
	assert_string_equal(look_up(w, "b.test", DNS_A), "1:FOUND! 10 300 |");
	w->mode[1] = "rcode 2";
	assert_true(strncmp(look_up(w, "c.test", DNS_A),
	    "1:TEMP 0 2 the resolver failed (SERVFAIL) [127.0.0.1:", 50) == 0);
	/* NXDOMAIN is an answer: the second is not asked */
	w->mode[0] = "rcode 3";
	w->mode[1] = "found";
	assert_string_equal(look_up(w, "d.test", DNS_A),
	    "1:NXDOMAIN 0 0 no such name|");
	/* a silent one: after two seconds */
	dns_ask_limits(w->ask, 6000, 100);
	use(w, fake_address(w->fake[1]), fake_address(w->fake[0]));
	use(w, fake_address(w->fake[0]), fake_address(w->fake[1]));
	w->mode[0] = "silence";
	assert_string_equal(look_up(w, "e.test", DNS_A), "1:FOUND! 10 300 |");
}

static void
test_nobody_anywhere(void **state)
{
	struct world *w = *state;

	use(w, fake_nobody(), NULL);
	assert_true(strncmp(look_up(w, "a.test", DNS_A),
	    "1:TEMP 0 2 nothing listens at the resolver's address [", 54) == 0);
	/* remembered for a moment: the same words again */
	assert_true(strncmp(look_up(w, "a.test", DNS_A), "1:TEMP 0 2 nothing",
	    18) == 0);
}

static void
test_asked_once(void **state)
{
	struct world *w = *state;
	uint32_t i;

	for (i = 1; i <= 50; i++) {
		ask(w, i, "a.test", DNS_A);
	}
	ask(w, 51, "a.test", DNS_MX);
	await(w, 51);
	assert_int_equal(fake_questions(w->fake[0]), 2);
	assert_non_null(strstr(w->got, "7:FOUND! 10 300 |"));
	assert_non_null(strstr(w->got, "51:FOUND! 13 300 |"));
}

static void
test_forgotten_asker(void **state)
{
	struct world *w = *state, *gone = w;

	dns_ask(w->ask, &gone, 9, SL("a.test"), DNS_A, 0);
	ask(w, 1, "a.test", DNS_A);
	dns_ask_forget(w->ask, &gone);
	await(w, 1);
	assert_string_equal(w->got, "1:FOUND! 10 300 |");
}

/* More than run at a time: all are answered. */
static void
test_many_wait_in_line(void **state)
{
	struct world *w = *state;
	char name[30];
	uint32_t i;

	dns_ask_limits(w->ask, 20000, 100);
	use(w, fake_address(w->fake[1]), NULL);
	for (i = 1; i <= 3 * DNS_RUNNING_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u.test", i);
		ask(w, i, name, DNS_A);
	}
	await(w, 3 * DNS_RUNNING_MAX);
	assert_true(fake_questions(w->fake[1]) >= 3 * DNS_RUNNING_MAX);
}

/* A dead resolver: those in line end at their own deadline, too. */
static void
test_line_ends(void **state)
{
	struct world *w = *state;
	char name[30];
	uint32_t i;

	w->mode[0] = "silence";
	for (i = 1; i <= DNS_RUNNING_MAX + 5; i++) {
		(void)snprintf(name, sizeof(name), "n%u.test", i);
		ask(w, i, name, DNS_A);
	}
	await(w, DNS_RUNNING_MAX + 5);
	assert_non_null(strstr(w->got, "1:TEMP 0 2 the resolver does not"));
	assert_null(strstr(w->got, "FOUND"));
}

static void
test_bounded(void **state)
{
	struct world *w = *state;
	char name[30];
	uint32_t i;

	w->mode[0] = "silence";
	for (i = 1; i <= DNS_LOOKUPS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u.test", i);
		ask(w, i, name, DNS_A);
	}
	assert_int_equal(w->replies, 0);
	ask(w, 1, "more.test", DNS_A);
	assert_string_equal(w->got, "1:TEMP 0 2 too many lookups wait for the "
	    "resolver|");
	w->got[0] = '\0';
	for (; i <= DNS_WAITERS_MAX; i++) { /* of one that runs already */
		ask(w, 1, "n1.test", DNS_A);
	}
	assert_int_equal(w->replies, 1);
	ask(w, 2, "n1.test", DNS_A);
	assert_int_equal(w->replies, 2);
}

/* New servers: what is running is asked anew, what was cached is forgotten. */
static void
test_servers_change(void **state)
{
	struct world *w = *state;

	assert_string_equal(look_up(w, "old.test", DNS_A), "1:FOUND! 10 300 |");
	w->mode[0] = "silence";
	w->got[0] = '\0';
	w->replies = 0;
	ask(w, 1, "a.test", DNS_A);
	use(w, fake_address(w->fake[1]), NULL);
	await(w, 1);
	assert_string_equal(w->got, "1:FOUND! 10 300 |");
	assert_string_equal(look_up(w, "old.test", DNS_A), "1:FOUND! 10 300 |");
	assert_int_equal(fake_questions(w->fake[1]), 2);
}

static void
test_hosts_first(void **state)
{
	struct world *w = *state;

	dns_ask_hosts(w->ask, dns_hosts_new(SL("192.0.2.7 mx.test\n")));
	dns_ask(w->ask, &w, 1, SL("mx.test"), DNS_A, DNS_ASK_HOSTS);
	dns_ask(w->ask, &w, 2, SL("mx.test"), DNS_AAAA, DNS_ASK_HOSTS);
	assert_string_equal(w->got, "1:FOUND 10 10 |2:NODATA 0 10 no such "
	    "address in the hosts file|");
	assert_int_equal(fake_questions(w->fake[0]), 0);
	/* not without the flag, not for MX, and not others */
	w->replies = 0;
	w->got[0] = '\0';
	dns_ask(w->ask, &w, 3, SL("mx.test"), DNS_A, 0);
	dns_ask(w->ask, &w, 4, SL("mx.test"), DNS_MX, DNS_ASK_HOSTS);
	dns_ask(w->ask, &w, 5, SL("b.test"), DNS_A, DNS_ASK_HOSTS);
	await(w, 3);
	assert_int_equal(fake_questions(w->fake[0]), 3);
	dns_ask_hosts(w->ask, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_found),
		T(test_everything_said),
		T(test_tcp),
		T(test_aliases_by_further_questions),
		T(test_next_server),
		T(test_nobody_anywhere),
		T(test_asked_once),
		T(test_forgotten_asker),
		T(test_many_wait_in_line),
		T(test_line_ends),
		T(test_bounded),
		T(test_servers_change),
		T(test_hosts_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
