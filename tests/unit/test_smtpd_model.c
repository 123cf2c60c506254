/*
 * Random commands against a model of the session (lessons C1: state not reset
 * after a refusal). The model is the few lines of RFC 5321, 4.1.4; whatever
 * comes, DATA gets 354 only after an accepted MAIL and RCPT, and exactly the
 * transactions whose end was answered 250 are committed.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/smtpd_rig.h"
#include "tests/unit/unit.h"

#define SESSIONS 300
#define COMMANDS 60

enum model { M_NEW, M_READY, M_MAIL, M_REFUSED, M_RCPT };

struct line {
	const char *text;
	/* the reply in each state of the model, and the state after it */
	const char *want[5];
	enum model next[5];
};

#define SAME { M_NEW, M_READY, M_MAIL, M_REFUSED, M_RCPT }
#define ALL(r) { r, r, r, r, r }
#define O "503 5.5.1"
#define A "501 5.5.4"

static const struct line lines[] = {
	{ "EHLO c.test", ALL("250"), { M_READY, M_READY, M_READY, M_READY, M_READY } },
	{ "HELO c.test", ALL("250"), { M_READY, M_READY, M_READY, M_READY, M_READY } },
	{ "EHLO", ALL(A), SAME },
	{ "EHLO a b", ALL(A), SAME },
	{ "MAIL FROM:<a@b.test>", { O, "250 2.1.0", O, O, O },
	    { M_NEW, M_MAIL, M_MAIL, M_REFUSED, M_RCPT } },
	{ "MAIL FROM:<>", { O, "250 2.1.0", O, O, O },
	    { M_NEW, M_MAIL, M_MAIL, M_REFUSED, M_RCPT } },
	{ "MAIL FROM:<a@b.test> SIZE=9999999", { O, "552 5.3.4", O, O, O },
	    SAME },
	{ "MAIL FROM:a", { O, "501 5.1.7", O, O, O }, SAME },
	{ "RCPT TO:<a@b.test>", { O, O, "250 2.1.5", "250 2.1.5", "250 2.1.5" },
	    { M_NEW, M_READY, M_RCPT, M_RCPT, M_RCPT } },
	{ "RCPT TO:<a@b.test>", { O, O, "250 2.1.5", "250 2.1.5", "250 2.1.5" },
	    { M_NEW, M_READY, M_RCPT, M_RCPT, M_RCPT } },
	{ "RCPT TO:<unknown@b.test>",
	    { O, O, "550 5.1.1", "550 5.1.1", "550 5.1.1" },
	    { M_NEW, M_READY, M_REFUSED, M_REFUSED, M_RCPT } },
	{ "RCPT TO:<>", { O, O, "501 5.1.3", "501 5.1.3", "501 5.1.3" },
	    { M_NEW, M_READY, M_REFUSED, M_REFUSED, M_RCPT } },
	{ "RCPT", { O, O, A, A, A }, SAME },
	{ "DATA", { O, O, O, "554 5.5.1", "354" }, SAME },
	{ "DATA", { O, O, O, "554 5.5.1", "354" }, SAME },
	{ "DATA x", { O, O, O, A, A }, SAME },
	{ "RSET", ALL("250 2.0.0"), { M_NEW, M_READY, M_READY, M_READY, M_READY } },
	{ "RSET x", ALL(A), SAME },
	{ "NOOP", ALL("250 2.0.0"), SAME },
	{ "VRFY a", ALL("252 2.0.0"), SAME },
	{ "VRFY moved@b.test", ALL("551 5.1.6"), SAME },
	{ "EXPN a", ALL("502 5.7.0"), SAME },
	{ "HELP", ALL("214 2.0.0"), SAME },
	{ "TURN", ALL("502 5.5.1"), SAME },
	{ "BDAT 5 LAST", ALL("502 5.5.1"), SAME },
	{ "xyzzy", ALL("500 5.5.1"), SAME },
	{ "NO\nOP", ALL("500 5.5.2"), SAME },
	{ "", ALL("500 5.5.2"), SAME },
};

struct content {
	const char *text, *want;
	const char *commit_with; /* what cleanup says to COMMIT */
	unsigned refuse_piece;
};

static const struct content contents[] = {
	{ "x\r\n.\r\n", "250 2.0.0", NULL, 0 },
	{ ".\r\n", "250 2.0.0", NULL, 0 },
	{ "MAIL FROM:<e@x>\r\nRCPT TO:<e@x>\r\nDATA\r\n..\r\n.\r\n",
	    "250 2.0.0", NULL, 0 },
	{ "x\n.\n\r\n.\r\n", "550 5.5.2", NULL, 0 },
	{ "x\r\n.\r\n", "451 4.3.0", "451 4.3.0 later", 0 },
	{ "x\r\n.\r\n", "554 5.4.6", "554 5.4.6 too many hops", 0 },
	{ "x\r\n.\r\n", "452 4.3.1", NULL, 1 },
};

static uint64_t seed = 88172645463325252u;

static unsigned
roll(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 32) % below;
}

struct play {
	struct strbuf in, want;
	enum model at;
	unsigned messages;
};

/* Say one line more; true when it was DATA and content is due. */
static bool
say(struct play *p, const struct line *l)
{
	const char *want = l->want[p->at];

	(void)strbuf_printf(&p->in, "%s\r\n", l->text);
	(void)strbuf_printf(&p->want, "|%s", want);
	p->at = l->next[p->at];
	return strcmp(want, "354") == 0;
}

static void
check(struct rig *r, int c, struct play *p, size_t cut)
{
	const char *got;

	rig_send(r, c, strbuf_slice(&p->in), cut);
	got = rig_replies(r, c);
	if (strcmp(got, p->want.p + 1) != 0) {
		fail_msg("after:\n%s\ngot    %s\nwanted %s", p->in.p, got,
		    p->want.p + 1);
	}
	strbuf_reset(&p->in);
	strbuf_reset(&p->want);
}

static unsigned
count(const struct rig *r)
{
	unsigned i, n = 0;

	for (i = 0; i < r->ntr; i++) {
		n += r->tr[i].committed ? 1 : 0;
	}
	return n;
}

/* One session: commands in groups of random size, content where it is due. */
static void
run(unsigned n)
{
	static struct rig r;
	struct play p = { .at = M_NEW };
	const struct content *ct;
	unsigned i, refused = 0;
	size_t cut = n % 3 == 0 ? 1 : n % 3 == 1 ? 0 : 1 + roll(9);
	int c;

	rig_start(&r);
	r.set.smtpd_hard_error_limit = 100000;
	c = rig_connect(&r, false);
	(void)rig_replies(&r, c);
	strbuf_init(&p.in, 0);
	strbuf_init(&p.want, 0);
	for (i = 0; i < COMMANDS && r.ntr < RIG_TRANSACTIONS - 2; i++) {
		if (!say(&p, &lines[roll(NELEMS(lines))])) {
			if (roll(4) == 0) {
				check(&r, c, &p, cut);
			}
			continue;
		}
		check(&r, c, &p, cut); /* DATA ends a group: RFC 2920, 3.1 */
		ct = &contents[roll(NELEMS(contents))];
		r.commit_with = ct->commit_with;
		r.refuse_piece = ct->refuse_piece;
		(void)strbuf_add_str(&p.in, ct->text);
		(void)strbuf_printf(&p.want, "|%s", ct->want);
		p.at = M_READY;
		p.messages += ct->want[0] == '2' ? 1 : 0;
		/* COMMIT was sent, and refused */
		refused += ct->commit_with != NULL || ct->refuse_piece != 0;
		check(&r, c, &p, cut);
	}
	if (p.in.n > 0) {
		check(&r, c, &p, cut);
	}
	assert_int_equal(count(&r), p.messages + refused);
	strbuf_clear(&p.in);
	strbuf_clear(&p.want);
	rig_end(&r);
}

static void
test_model(void **state)
{
	unsigned n;

	(void)state;
	for (n = 0; n < SESSIONS; n++) {
		run(n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
