#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/envelope.h"
#include "tests/unit/client_rig.h"
#include "tests/unit/unit.h"

#define HI      "220 mx\r\n"
#define EHLO    "250-mx\r\n250-size 100000\r\n250 8BITMIME\r\n"
#define EHLO_P  "250-mx\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250 8bitmime\r\n"
#define OK      "250 2.0.0 ok\r\n"
#define GO      "354 go\r\n"
#define NO      "550 5.1.1 no\r\n"
#define LATER   "450 4.2.1 later\r\n"

#define D FATE_DELIVERED
#define L FATE_DEFERRED
#define F FATE_FAILED
#define N FATE_NONE

/* A whole dialogue: what the peer says, and what comes of it. */
struct play {
	const char *name;
	bool lmtp;
	unsigned nrcpts;
	bool another;     /* then another message follows */
	const char *hears;
	enum fate want[RIG_RCPTS];
	const char *esc; /* of the first recipient */
	enum client_stage stage;
	bool failed;
	const char *sent; /* NULL: not of interest */
};

#define M   "MAIL FROM:<s@y.test> SIZE=11\r\n"
#define R(x) "RCPT TO:<" x "@x.test>\r\n"
#define BODY "a: b\r\n\r\nc\r\n.\r\n"

static const struct play plays[] = {
	{ "plain", false, 1, false, HI EHLO OK OK GO OK, { D }, "2.0.0",
	    CLIENT_READY, false,
	    "EHLO me.test\r\n" M R("a") "DATA\r\n" BODY },
	{ "codes alone", false, 1, false,
	    "220\r\n250\r\n250\r\n250\r\n354\r\n250\r\n", { D }, "2.0.0",
	    CLIENT_READY, false, "EHLO me.test\r\nMAIL FROM:<s@y.test>\r\n"
	    R("a") "DATA\r\n" BODY },
	{ "HELO", false, 1, false, HI "502 what\r\n" OK OK OK GO OK, { D },
	    "2.0.0", CLIENT_READY, false, "EHLO me.test\r\nHELO me.test\r\n"
	    "MAIL FROM:<s@y.test>\r\n" R("a") "DATA\r\n" BODY },
	{ "what HELO's answer lists is not offered", false, 1, false,
	    HI "502 what\r\n250-mx\r\n250 SIZE 10\r\n" OK OK GO OK, { D },
	    "2.0.0", CLIENT_READY, false, NULL },
	{ "some refused", false, 3, false, HI EHLO OK NO OK LATER GO OK,
	    { F, D, L }, "5.1.1", CLIENT_READY, false, NULL },
	{ "all refused", false, 2, false, HI EHLO OK NO NO, { F, F }, "5.1.1",
	    CLIENT_READY, false, "EHLO me.test\r\n" M R("a") R("b") },
	{ "all refused, pipelined", false, 2, false,
	    HI EHLO_P OK NO NO "554 5.5.1 none\r\n", { F, F }, "5.1.1",
	    CLIENT_READY, false, "EHLO me.test\r\n" M R("a") R("b") "DATA\r\n" },
	{ "all refused, yet 354", false, 2, false, HI EHLO_P OK NO NO GO, { F, F },
	    "5.1.1", CLIENT_CLOSED, true,
	    "EHLO me.test\r\n" M R("a") R("b") "DATA\r\n" },
	{ "MAIL refused", false, 2, false, HI EHLO "550 5.7.1 not you\r\n",
	    { F, F }, "5.7.1", CLIENT_READY, false, "EHLO me.test\r\n" M },
	{ "MAIL refused, pipelined", false, 2, false,
	    HI EHLO_P "550 5.7.1 not you\r\n" "503 x\r\n503 x\r\n503 x\r\n",
	    { F, F }, "5.7.1", CLIENT_READY, false, NULL },
	{ "MAIL refused, RCPT not, and 354", false, 1, false,
	    HI EHLO_P "450 4.7.1 not you\r\n" OK GO, { L }, "4.7.1",
	    CLIENT_CLOSED, true, NULL },
	{ "DATA refused", false, 2, false, HI EHLO OK OK OK "451 4.3.0 x\r\n",
	    { L, L }, "4.3.0", CLIENT_READY, false, NULL },
	{ "the end refused", false, 2, false, HI EHLO OK OK OK GO
	    "554 5.6.0 spam\r\n", { F, F }, "5.6.0", CLIENT_READY, false,
	    NULL },
	{ "552 after RCPT", false, 2, false,
	    HI EHLO OK "552 too many\r\n" OK GO OK, { L, D }, "4.5.3",
	    CLIENT_READY, false, NULL },
	{ "552 5.5.3 after RCPT", false, 1, false,
	    HI EHLO OK "552 5.5.3 too many\r\n", { L }, "4.5.3", CLIENT_READY,
	    false, NULL },
	{ "552 of a full mailbox", false, 1, false,
	    HI EHLO OK "552 5.2.2 full\r\n", { F }, "5.2.2", CLIENT_READY,
	    false, NULL },
	{ "552 at the end", false, 1, false, HI EHLO OK OK GO "552 too big\r\n",
	    { F }, "5.0.0", CLIENT_READY, false, NULL },
	{ "251", false, 1, false, HI EHLO OK "251 elsewhere\r\n" GO OK, { D },
	    "2.0.0", CLIENT_READY, false, NULL },
	{ "lines of different classes at the end", false, 1, false,
	    HI EHLO OK OK GO "250-ok\r\n550 no\r\n", { L }, "4.0.0",
	    CLIENT_READY, false, NULL },
	{ "kept for a second message", false, 1, true,
	    HI EHLO OK NO, { F }, "5.1.1", CLIENT_RSET, false,
	    "EHLO me.test\r\n" M R("a") "RSET\r\n" },
	{ "too large for the peer", false, 1, false,
	    HI "250-mx\r\n250 SIZE 10\r\n", { F }, "5.3.4", CLIENT_READY,
	    false, "EHLO me.test\r\n" },
	{ "SIZE 0 is no limit", false, 1, false,
	    HI "250-mx\r\n250 SIZE 0\r\n" OK OK GO OK, { D }, "2.0.0",
	    CLIENT_READY, false, NULL },
	{ "SIZE with nonsense is no limit", false, 1, false,
	    HI "250-mx\r\n250 SIZE -1\r\n" OK OK GO OK, { D }, "2.0.0",
	    CLIENT_READY, false, NULL },
	{ "a host named SIZE offers nothing", false, 1, false,
	    HI "250-SIZE 1\r\n250 HELP\r\n" OK OK GO OK, { D }, "2.0.0",
	    CLIENT_READY, false, NULL },
	{ "LMTP", true, 3, false, HI EHLO_P OK OK NO OK GO OK LATER,
	    { D, F, L }, "2.0.0", CLIENT_READY, false, "LHLO me.test\r\n" M
	    R("a") R("b") R("c") "DATA\r\n" BODY },
	{ "LMTP, not all answers yet", true, 2, false, HI EHLO OK OK OK GO NO,
	    { F, N }, "5.1.1", CLIENT_END, false, NULL },
	{ "LMTP has no HELO", true, 1, false, HI "502 x\r\n", { N }, NULL,
	    CLIENT_QUIT, true, "LHLO me.test\r\nQUIT\r\n" },
	{ "greeting 554", false, 1, false, "554 5.7.1 go away\r\n", { N }, NULL,
	    CLIENT_QUIT, true, "QUIT\r\n" },
	{ "greeting 421", false, 1, false, "421 4.3.2 busy\r\n", { N }, NULL,
	    CLIENT_CLOSED, true, "" },
	{ "HELO refused", false, 1, false, HI "550 x\r\n550 x\r\n", { N }, NULL,
	    CLIENT_QUIT, true, NULL },
	{ "421 at LMTP's second answer", true, 2, false,
	    HI EHLO OK OK OK GO OK "421 4.3.2 bye\r\n", { D, L }, "2.0.0",
	    CLIENT_CLOSED, true, NULL },
};

/* Hear it answer by answer, as a real peer speaks: each in pieces of `cut'. */
static void
hear_replies(struct rig *r, const char *s, size_t cut)
{
	const char *end;

	while (*s != '\0') {
		for (end = s; end[3] == '-'; end = strchr(end, '\n') + 1) {
		}
		end = strchr(end, '\n') + 1;
		rig_hear(r, slice_make(s, (size_t)(end - s)), cut);
		s = end;
	}
}

static void
check_play(const struct play *p, size_t cut)
{
	struct client_rcpt rcpt = { .path = SL("d@x.test") };
	struct client_mail another = { .rcpts = &rcpt, .nrcpts = 1 };
	struct rig r;
	unsigned i;

	rig_init(&r, p->lmtp, p->nrcpts);
	hear_replies(&r, p->hears, cut);
	if (p->another) {
		client_begin(&r.c, &another);
		rig_pump(&r);
	}
	for (i = 0; i < p->nrcpts; i++) {
		if (r.fates[i].fate != p->want[i]) {
			fail_msg("%s: recipient %u: %d %s", p->name, i,
			    (int)r.fates[i].fate, r.fates[i].text);
		}
	}
	if (p->esc != NULL) {
		assert_string_equal(r.fates[0].esc, p->esc);
	}
	if (r.c.stage != p->stage || r.c.failed != p->failed) {
		fail_msg("%s: %s, %s", p->name, client_stage_words(r.c.stage),
		    r.c.why.text);
	}
	if (p->sent != NULL) {
		assert_slice(strbuf_slice(&r.sent), p->sent);
	}
	rig_clear(&r);
}

static void
test_plays(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(plays); i++) {
		check_play(&plays[i], 1000);
		check_play(&plays[i], 1);
	}
}

/* -- every stage and every answer ------------------------------------------- */

struct scene {
	const char *name, *before; /* what leads to the stage */
	bool lmtp;
	enum client_stage stage;
	/* The fate of a recipient without one at each answer: NONE means that the
	   client failed without a fate; see answers[]. */
	enum fate want[11];
};

static const struct {
	const char *name, *octets;
} answers[] = {
	{ "2yz", "250 ok\r\n" },
	{ "354", "354 go\r\n" },
	{ "other 3yz", "334 go\r\n" },
	{ "4yz", "450 4.1.1 x\r\n" },
	{ "5yz", "550 5.1.1 x\r\n" },
	{ "421", "421 4.3.2 x\r\n" },
	{ "not SMTP", "HTTP/1.0 200 OK\r\n" },
	{ "bare LF", "250 ok\n" },
	{ "2yz and 5yz", "250-ok\r\n550 x\r\n" },
	{ "close", NULL },
	{ "timeout", NULL },
};
#define CLOSE   9
#define TIMEOUT 10

/* DELIVERED here: nothing is wrong, and the dialogue goes on. */
static const struct scene scenes[] = {
	{ "greeting", "", false, CLIENT_GREETING,
	    { D, N, N, N, N, N, N, N, N, N, N } },
	{ "EHLO", HI, false, CLIENT_HELLO,
	    { D, N, N, N, D, N, N, N, N, N, N } },
	{ "LHLO", HI, true, CLIENT_HELLO,
	    { D, N, N, N, N, N, N, N, N, N, N } },
	{ "HELO", HI "500 x\r\n", false, CLIENT_HELO,
	    { D, N, N, N, N, N, N, N, N, N, N } },
	{ "MAIL", HI EHLO, false, CLIENT_MAIL,
	    { D, N, N, L, F, N, N, N, L, N, N } },
	{ "RCPT", HI EHLO OK, false, CLIENT_RCPT,
	    { D, N, N, L, F, N, N, N, L, N, N } },
	{ "DATA", HI EHLO OK OK, false, CLIENT_DATA,
	    { N, D, N, L, F, N, N, N, L, N, N } },
	{ "the end", HI EHLO OK OK GO, false, CLIENT_END,
	    { D, L, L, L, F, L, L, L, L, L, L } },
	{ "MAIL, pipelined", HI EHLO_P, false, CLIENT_MAIL,
	    { D, N, N, L, F, N, N, N, L, N, N } },
	{ "RCPT, pipelined", HI EHLO_P OK, false, CLIENT_RCPT,
	    { D, N, N, L, F, N, N, N, L, N, N } },
	{ "DATA, pipelined", HI EHLO_P OK OK, false, CLIENT_DATA,
	    { N, D, N, L, F, N, N, N, L, N, N } },
	{ "the end, pipelined", HI EHLO_P OK OK GO, false, CLIENT_END,
	    { D, L, L, L, F, L, L, L, L, L, L } },
	{ "LMTP's end", HI EHLO_P OK OK GO, true, CLIENT_END,
	    { D, L, L, L, F, L, L, L, L, L, L } },
};

static void
check_scene(const struct scene *s, size_t answer, size_t cut)
{
	struct rig r;
	bool goes_on = s->want[answer] == D;

	rig_init(&r, s->lmtp, 1);
	hear_replies(&r, s->before, 1000);
	rig_pump(&r);
	assert_int_equal(r.c.stage, s->stage);
	if (answer == CLOSE) {
		client_closed(&r.c, "closed by the peer");
	} else if (answer == TIMEOUT) {
		client_timeout(&r.c);
	} else {
		rig_hear(&r, slice_of(answers[answer].octets), cut);
	}
	if (r.fates[0].fate != (goes_on && s->stage != CLIENT_END ? N :
	    s->want[answer]) || (s->want[answer] == N) != r.c.failed) {
		if (!(s->stage == CLIENT_END && r.c.failed &&
		    r.fates[0].fate == s->want[answer])) {
			fail_msg("%s, %s: %d %d %s", s->name,
			    answers[answer].name, (int)r.fates[0].fate,
			    r.c.failed, r.c.why.text);
		}
	}
	if (r.c.failed) {
		assert_int_equal(r.c.why.fate, L);
		assert_true(outcome_is_esc(slice_of(r.c.why.esc), '4'));
	}
	if (r.c.failed) { /* who has no fate may be tried elsewhere */
		assert_int_equal(r.c.mail == NULL, r.fates[0].fate != N ||
		    r.mails == 1);
	}
	rig_clear(&r);
}

static void
test_every_answer(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < NELEMS(scenes); i++) {
		for (k = 0; k < NELEMS(answers); k++) {
			check_scene(&scenes[i], k, 1000);
			check_scene(&scenes[i], k, 1);
		}
	}
}

/* -- a close at every octet -------------------------------------------------- */

static void
check_close(const char *hears, bool lmtp, size_t at)
{
	struct rig r;
	const char *end = hears + at;
	char part[512];
	unsigned i;
	bool sent;

	rig_init(&r, lmtp, 2);
	assert_true(at < sizeof(part));
	memcpy(part, hears, at);
	part[at] = '\0';
	/* Whole replies first, then the rest of what came. */
	while (at > 0 && part[at - 1] != '\n') {
		part[--at] = '\0';
	}
	for (i = 0; i < at;) {
		const char *nl = strchr(part + i, '\n');

		rig_hear(&r, slice_make(part + i, (size_t)(nl + 1 - part) - i),
		    1000);
		i = (unsigned)(nl + 1 - part);
	}
	rig_hear(&r, slice_make(hears + at, (size_t)(end - hears) - at), 1);
	rig_pump(&r);
	sent = r.c.stage == CLIENT_END;
	client_closed(&r.c, "closed by the peer");
	for (i = 0; i < 2; i++) {
		if (*end == '\0') {
			assert_int_equal(r.fates[i].fate, D);
		} else if (r.fates[i].fate != D || !lmtp) {
			assert_int_equal(r.fates[i].fate, sent ? L : N);
		}
	}
	rig_clear(&r);
}

static void
test_close_anywhere(void **state)
{
	static const char *const hears[] = { HI EHLO OK OK OK GO OK,
		HI EHLO_P OK OK OK GO OK, HI EHLO_P OK OK OK GO OK OK };
	size_t i, k;

	(void)state;
	for (i = 0; i < NELEMS(hears); i++) {
		for (k = 0; k <= strlen(hears[i]); k++) {
			check_close(hears[i], i == 2, k);
		}
	}
}

/* -- answers before their time ------------------------------------------------ */

static void
test_early_answers(void **state)
{
	static const char *const early[] = {
		/* Everything at once, before a word of ours. */
		HI EHLO OK OK GO OK,
		HI EHLO_P OK OK GO OK,
		HI HI,
	};
	struct rig r;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(early); i++) {
		rig_init(&r, false, 1);
		rig_hear(&r, slice_of(early[i]), 1000);
		assert_true(r.c.failed);
		assert_string_equal(r.c.why.esc, "4.5.0");
		assert_int_equal(r.fates[0].fate, N);
		rig_clear(&r);
	}
}

/* One answer too many after a group: the next would be taken for another's. */
static void
test_one_too_many(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, false, 1);
	hear_replies(&r, HI EHLO, 1000);
	rig_hear(&r, SL(OK OK OK), 1000); /* RCPT is not said yet */
	assert_true(r.c.failed);
	rig_clear(&r);
	rig_init(&r, false, 1);
	hear_replies(&r, HI EHLO OK OK GO OK, 1000);
	assert_int_equal(r.fates[0].fate, D);
	rig_hear(&r, SL(OK), 1000);
	assert_true(r.c.failed);
	assert_int_equal(r.fates[0].fate, D);
	rig_clear(&r);
}

struct during {
	const char *octets;
	enum fate want;
};

/* The content is on its way and has not been sent to its end. */
static void
test_answer_during_content(void **state)
{
	static const struct during rows[] = {
		{ OK, N }, { GO, N }, { LATER, L }, { NO, F },
		{ "421 4.3.2 bye\r\n", N }, { "junk\r\n", N },
	};
	struct rig r;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		rig_init(&r, false, 2);
		hear_replies(&r, HI EHLO OK OK OK, 1000);
		r.stuck = true;
		rig_hear(&r, SL(GO), 1000);
		assert_int_equal(r.c.stage, CLIENT_CONTENT);
		client_content(&r.c, r.content);
		rig_hear(&r, slice_of(rows[i].octets), 1);
		assert_true(r.c.failed);
		assert_int_equal(r.c.stage, CLIENT_CLOSED);
		assert_int_equal(r.fates[0].fate, rows[i].want);
		assert_int_equal(r.fates[1].fate, rows[i].want);
		rig_clear(&r);
	}
}

/* "250" while the dot is still ours: nobody has accepted anything. */
static void
test_answer_before_the_dot_left(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, false, 1);
	hear_replies(&r, HI EHLO OK OK, 1000);
	r.stuck = true;
	rig_hear(&r, SL(GO), 1000);
	client_content(&r.c, r.content);
	client_content_end(&r.c);
	rig_hear(&r, SL(OK), 1000);
	assert_true(r.c.failed);
	assert_int_equal(r.fates[0].fate, L);
	rig_clear(&r);
}

/* A client whose content, or its end too, waits to be sent. */
static void
init_stuck(struct rig *r, bool lmtp, bool ended)
{
	rig_init(r, lmtp, lmtp ? 2 : 1);
	hear_replies(r, lmtp ? HI EHLO OK OK OK : HI EHLO OK OK, 1000);
	r->stuck = true;
	rig_hear(r, SL(GO), 1000);
	client_content(&r->c, r->content);
	if (ended) {
		client_content_end(&r->c);
	}
}

/* A refusal is believed before its time, too. */
static void
test_refused_before_the_dot_left(void **state)
{
	struct rig r;

	(void)state;
	init_stuck(&r, false, true);
	rig_hear(&r, SL("552 5.3.4 too much\r\n"), 1);
	assert_int_equal(r.fates[0].fate, F);
	assert_string_equal(r.fates[0].esc, "5.3.4");
	assert_int_equal(r.c.stage, CLIENT_CLOSED);
	rig_clear(&r);
}

/* What begins too early does not become true by ending late. */
static void
test_answer_begun_before_the_dot_left(void **state)
{
	struct rig r;

	(void)state;
	init_stuck(&r, false, false);
	rig_hear(&r, SL("25"), 1);
	client_content_end(&r.c);
	r.stuck = false;
	rig_pump(&r);
	assert_int_equal(r.c.out.n, 0);
	rig_hear(&r, SL("0 2.0.0 ok\r\n"), 1);
	assert_int_equal(r.fates[0].fate, L);
	assert_int_equal(r.c.stage, CLIENT_CLOSED);
	rig_clear(&r);
}

/* One early refusal of an LMTP server is not for both recipients. */
static void
test_lmtp_refuses_too_early(void **state)
{
	struct rig r;

	(void)state;
	init_stuck(&r, true, true);
	rig_hear(&r, SL(NO), 1000);
	assert_int_equal(r.fates[0].fate, L);
	assert_int_equal(r.fates[1].fate, L);
	assert_string_equal(r.fates[0].esc, "4.1.1");
	rig_clear(&r);
}

/* -- content ------------------------------------------------------------------ */

struct text {
	const char *content, *wire;
	uint32_t flags;
};

static const struct text texts[] = {
	{ "a\r\n", "a\r\n.\r\n", 0 },
	{ "", ".\r\n", 0 },
	{ "a", "a\r\n.\r\n", 0 },
	{ ".\r\n", "..\r\n.\r\n", CONTENT_DOT_LINES },
	{ ".a\r\n..b\r\n\r\n.\r\nc.\r\n", "..a\r\n...b\r\n\r\n..\r\nc.\r\n.\r\n",
	    CONTENT_DOT_LINES },
	{ "a\r\n.b", "a\r\n..b\r\n.\r\n", CONTENT_DOT_LINES },
	/* Nothing that cannot be in the spool ends a message, either. */
	{ "a\n.\n.\r\n", "a\n..\n..\r\n.\r\n", CONTENT_DOT_LINES },
};

static void
check_text(const struct text *t, size_t cut)
{
	struct slice in = slice_of(t->content);
	struct strbuf wire;
	struct rig r;
	size_t n;

	rig_init(&r, false, 1);
	r.mail.flags = t->flags;
	strbuf_init(&wire, 0);
	hear_replies(&r, HI EHLO OK OK, 1000);
	r.stuck = true;
	rig_hear(&r, SL(GO), 1000);
	for (; in.n > 0; in.p += n, in.n -= n) {
		n = in.n < cut ? in.n : cut;
		client_content(&r.c, slice_make(in.p, n));
		(void)strbuf_add_slice(&wire, strbuf_slice(&r.c.out));
		strbuf_reset(&r.c.out);
	}
	client_content_end(&r.c);
	(void)strbuf_add_slice(&wire, strbuf_slice(&r.c.out));
	assert_slice(strbuf_slice(&wire), t->wire);
	strbuf_clear(&wire);
	rig_clear(&r);
}

static void
test_content(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(texts); i++) {
		check_text(&texts[i], 1000);
		check_text(&texts[i], 1);
		check_text(&texts[i], 2);
	}
}

/* -- parameters and paths ------------------------------------------------------ */

static void
says(const char *hello, uint32_t flags, const char *mail, bool raw)
{
	struct rig r;

	rig_init(&r, false, 1);
	r.mail.flags = flags;
	r.mail.reverse_path = SL("");
	hear_replies(&r, HI, 1000);
	strbuf_reset(&r.sent);
	rig_hear(&r, slice_of(hello), 1000);
	assert_slice(strbuf_slice(&r.sent), mail);
	assert_int_equal(r.c.raw_8bit, raw);
	rig_clear(&r);
}

static void
test_mail_parameters(void **state)
{
	(void)state;
	says("250 mx\r\n", 0, "MAIL FROM:<>\r\n", false);
	says("250 mx\r\n", CONTENT_8BIT, "MAIL FROM:<>\r\n", true);
	says(EHLO, 0, "MAIL FROM:<> SIZE=11\r\n", false);
	says(EHLO, CONTENT_8BIT, "MAIL FROM:<> SIZE=11 BODY=8BITMIME\r\n",
	    false);
	says("250-mx\r\n250-XSIZE\r\n250 SIZE\r\n", 0,
	    "MAIL FROM:<> SIZE=11\r\n", false);
}

static void
test_paths_not_ascii(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, false, 2);
	r.rcpts[0].path = SL("\303\244@x.test");
	hear_replies(&r, HI EHLO OK OK GO OK, 1000);
	assert_int_equal(r.fates[0].fate, F);
	assert_string_equal(r.fates[0].esc, "5.6.7");
	assert_int_equal(r.fates[1].fate, D);
	assert_null(strstr(r.sent.p, "\303"));
	rig_clear(&r);
	rig_init(&r, false, 2);
	r.mail.reverse_path = SL("\303\244@x.test");
	hear_replies(&r, HI EHLO, 1000);
	assert_int_equal(r.fates[0].fate, F);
	assert_int_equal(r.fates[1].fate, F);
	assert_int_equal(r.c.stage, CLIENT_READY);
	rig_clear(&r);
}

/* Many commands are not all made at once, and all are said in the end. */
static void
test_many_recipients(void **state)
{
	static struct client_rcpt rcpts[2000];
	static struct outcome fates[NELEMS(rcpts)];
	struct rig r;
	size_t i;

	(void)state;
	rig_init(&r, false, 1);
	memset(fates, 0, sizeof(fates));
	for (i = 0; i < NELEMS(rcpts); i++) {
		rcpts[i] = (struct client_rcpt){ .path = SL("someone@x.test"),
			.arg = &fates[i] };
	}
	r.mail.rcpts = rcpts;
	r.mail.nrcpts = NELEMS(rcpts);
	hear_replies(&r, HI, 1000);
	r.stuck = true;
	rig_hear(&r, SL(EHLO_P), 1000);
	assert_in_range(r.c.out.n, CLIENT_OUT_MARK, CLIENT_OUT_MARK + 600);
	r.stuck = false;
	rig_pump(&r);
	assert_non_null(strstr(r.sent.p, "DATA\r\n"));
	hear_replies(&r, OK, 1000);
	for (i = 0; i < NELEMS(rcpts); i++) {
		hear_replies(&r, i % 2 == 0 ? OK : NO, 1000);
	}
	hear_replies(&r, GO OK, 1000);
	for (i = 0; i < NELEMS(rcpts); i++) {
		assert_int_equal(fates[i].fate, i % 2 == 0 ? D : F);
	}
	rig_clear(&r);
}

/* The peer never takes all of a group, answers what it took, and is heard. */
static void
test_group_half_sent(void **state)
{
	struct rig r;
	size_t n;

	(void)state;
	rig_init(&r, false, 2);
	hear_replies(&r, HI, 1000);
	r.stuck = true;
	rig_hear(&r, SL(EHLO_P), 1000);
	n = strlen(M R("a"));
	strbuf_consume(&r.c.out, n);
	rig_hear(&r, SL(OK NO), 1000);
	assert_false(r.c.failed);
	assert_int_equal(r.fates[0].fate, F);
	rig_hear(&r, SL(OK), 1000); /* of an RCPT that it has not got */
	assert_true(r.c.failed);
	assert_int_equal(r.fates[1].fate, N);
	rig_clear(&r);
}

static void
test_quit(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, false, 1);
	hear_replies(&r, HI EHLO OK OK GO OK, 1000);
	strbuf_reset(&r.sent);
	client_quit(&r.c);
	rig_pump(&r);
	assert_slice(strbuf_slice(&r.sent), "QUIT\r\n");
	assert_int_equal(r.c.stage, CLIENT_QUIT);
	rig_hear(&r, SL("221 bye\r\n"), 1);
	assert_int_equal(r.c.stage, CLIENT_CLOSED);
	assert_false(r.c.failed);
	rig_clear(&r);
}

/* Each thing that is awaited begins its time anew, and has a limit. */
static void
test_limits(void **state)
{
	struct settings set;
	struct rig r;
	unsigned was;
	int i;

	(void)state;
	settings_init(&set);
	set.smtp_helo_timeout = 1;
	set.smtp_mail_timeout = 2;
	set.smtp_rcpt_timeout = 3;
	set.smtp_data_init_timeout = 4;
	set.smtp_data_xfer_timeout = 5;
	set.smtp_data_done_timeout = 6;
	set.smtp_quit_timeout = 7;
	set.smtp_connection_cache_time_limit = 8;
	for (i = 0; i < CLIENT_NSTAGES; i++) {
		assert_in_range(client_stage_limit((enum client_stage)i, &set),
		    1, 8);
		assert_true(strlen(client_stage_words((enum client_stage)i)) >
		    3);
	}
	assert_int_equal(client_stage_limit(CLIENT_RCPT, &set), 3);
	assert_int_equal(client_stage_limit(CLIENT_END, &set), 6);
	rig_init(&r, false, 2);
	hear_replies(&r, HI EHLO_P OK, 1000);
	assert_int_equal(r.c.stage, CLIENT_RCPT);
	was = r.c.waits;
	rig_hear(&r, SL("250 2.1"), 1);
	assert_int_equal(r.c.waits, was); /* slow octets win no time */
	rig_hear(&r, SL(".5 ok\r\n"), 1);
	assert_int_not_equal(r.c.waits, was);
	rig_clear(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plays),
		cmocka_unit_test(test_every_answer),
		cmocka_unit_test(test_close_anywhere),
		cmocka_unit_test(test_early_answers),
		cmocka_unit_test(test_one_too_many),
		cmocka_unit_test(test_answer_during_content),
		cmocka_unit_test(test_answer_before_the_dot_left),
		cmocka_unit_test(test_refused_before_the_dot_left),
		cmocka_unit_test(test_answer_begun_before_the_dot_left),
		cmocka_unit_test(test_lmtp_refuses_too_early),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_mail_parameters),
		cmocka_unit_test(test_paths_not_ascii),
		cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_group_half_sent),
		cmocka_unit_test(test_quit),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
