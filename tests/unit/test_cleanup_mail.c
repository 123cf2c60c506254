/* Mail transactions from smtpd, from MAIL to the durable message, and VRFY. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup/accepting.h"
#include "cleanup/smtpd_service.h"
#include "common/siphash.h"
#include "tests/unit/cleanup_world.h"

#define TEXT "Subject: x\r\nMessage-ID: <1@client.example>\r\n\r\nhello\r\n"

/* The content as an agent gets it. */
static struct slice
fetch(struct world *w, uint64_t qid)
{
	struct got *g;

	peer_send(&w->local, IPC_FETCH, 1, "uu", qid,
	    siphash_cookie(w->pg.cookie_key, qid));
	g = peer_next(w, &w->local, IPC_FETCHED);
	return strbuf_slice(&g->s[2]);
}

static bool
has(struct slice content, const char *text)
{
	char *copy = malloc(content.n + 1);
	bool found;

	assert_non_null(copy);
	memcpy(copy, content.p, content.n);
	copy[content.n] = '\0';
	found = strstr(copy, text) != NULL;
	free(copy);
	return found;
}

static void
one_message(void **state)
{
	struct world w;
	struct slice c;
	uint64_t qid;

	(void)state;
	world_begin(&w, "");
	qid = smtpd_message(&w, 5, "ann@example.org", TEXT);
	c = fetch(&w, qid);
	assert_true(c.n > strlen(TEXT));
	assert_memory_equal(c.p + c.n - strlen(TEXT), TEXT, strlen(TEXT));
	assert_memory_equal(c.p, "Received: from client.example (unknown "
	    "[192.0.2.9])\r\n\tby mx.example.org (Veredus) with ESMTP id ", 96);
	assert_true(has(c, "\r\n\tfor <ann@example.org>; "));
	assert_false(has(c, "\r\nDate: ")); /* a stranger's stays as it is */
	world_end(&w);
}

/*
 * The acknowledgement of the last piece wakes nobody: it comes with COMMITTED.
 * (By itself if the disk is slow; so at least once.)
 */
static void
last_acknowledgement_in_company(void **state)
{
	struct world w;
	uint32_t tid;
	bool together = false;

	(void)state;
	world_begin(&w, "");
	for (tid = 1; !together && tid <= 100; tid++) {
		smtpd_mail(&w, tid, "");
		assert_int_equal(smtpd_rcpt(&w, tid, "ann@example.org"), 250);
		peer_send_piece(&w.smtpd, tid, SL("A: b\r\n"), true);
		peer_send(&w.smtpd, IPC_COMMIT, tid, "uu", (uint64_t)0,
		    (uint64_t)6);
		world_wait(&w, w.smtpd.at < w.smtpd.n);
		together = w.smtpd.n - w.smtpd.at == 2;
		assert_int_equal(peer_next(&w, &w.smtpd,
		    IPC_CONTENT_ACK)->u[0], 0);
		assert_int_equal(peer_next(&w, &w.smtpd,
		    IPC_COMMITTED)->u[0], 250);
	}
	assert_true(together);
	/* a piece that others follow is acknowledged at once */
	smtpd_mail(&w, tid, "");
	assert_int_equal(smtpd_rcpt(&w, tid, "ann@example.org"), 250);
	assert_int_equal(smtpd_content(&w, tid, "A: b\r\n"), 0);
	world_end(&w);
}

static void
verdicts(void **state)
{
	static const struct {
		const char *rcpt;
		unsigned code;
		const char *esc;
	} rows[] = {
		{ "ann@example.org", 250, "2.1.5" },
		{ "nobody@example.org", 550, "5.1.1" },
		{ "broken@example.org", 451, NULL },
		{ "x@outside.example", 0, NULL },
		{ "bob@example.org", 250, "2.1.5" },
	};
	struct world w;
	struct got *g;
	size_t i;

	(void)state;
	world_begin(&w, "");
	smtpd_mail(&w, 9, "");
	for (i = 0; i < NELEMS(rows); i++) {
		peer_send(&w.smtpd, IPC_RCPT, 9, "s", rows[i].rcpt);
		g = peer_next(&w, &w.smtpd, IPC_VERDICT);
		assert_int_equal(g->tid, 9);
		if (rows[i].code == 0) {
			assert_in_range(g->u[0], 550, 554);
		} else {
			assert_int_equal(g->u[0], rows[i].code);
		}
		if (rows[i].esc != NULL) {
			assert_string_equal(g->s[1].p, rows[i].esc);
		}
	}
	peer_send(&w.smtpd, IPC_ABORT, 9, "");
	world_end(&w);
}

/* Who was found is not asked for again for a second; others always are. */
static void
names_just_found(void **state)
{
	struct world w;
	unsigned i = 0;
	size_t n;

	(void)state;
	world_begin(&w, "");
	smtpd_mail(&w, 1, "");
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	assert_int_equal(smtpd_rcpt(&w, 1, "nobody@example.org"), 550);
	assert_int_equal(smtpd_rcpt(&w, 1, "broken@example.org"), 451);
	assert_int_equal(w.users.n, 3);
	assert_int_equal(smtpd_rcpt(&w, 1, "nobody@example.org"), 550);
	assert_int_equal(smtpd_rcpt(&w, 1, "broken@example.org"), 451);
	assert_int_equal(w.users.n, 5);
	do { /* again and again only if that takes seconds */
		assert_in_range(i++, 0, 100);
		assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
		n = w.users.n;
		assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	} while (w.users.n > n);
	for (i = 0; w.users.n == n; i++) { /* for a second */
		assert_in_range(i, 0, 100000);
		world_turn(&w); /* takes a millisecond */
		if (i % 100 > 0) {
			continue;
		}
		assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	}
	w.answer_users = false; /* a fresh `users' is asked */
	world_connect_users(&w);
	n = w.users.n;
	peer_send(&w.smtpd, IPC_RCPT, 1, "s", "ann@example.org");
	world_wait(&w, w.users.n > n);
	w.answer_users = true;
	assert_int_equal(peer_next(&w, &w.smtpd, IPC_VERDICT)->u[0], 250);
	world_end(&w);
}

/* Each mailbox gets one copy, by whatever names it was reached. */
static void
recipients_are_told_apart_once(void **state)
{
	struct world w;
	struct got *g;
	struct rcpt_item item;
	struct slice page;
	uint64_t qid = 0;
	bool bad;

	(void)state;
	world_begin(&w, "alias_maps = inline:{ {team=ann, bob}, chief=ann }\n");
	smtpd_mail(&w, 1, "a@b.example");
	assert_int_equal(smtpd_rcpt(&w, 1, "team@example.org"), 250);
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@EXAMPLE.org"), 250);
	assert_int_equal(smtpd_rcpt(&w, 1, "chief@localhost"), 250);
	assert_int_equal(smtpd_content(&w, 1, TEXT), 0);
	assert_int_equal(smtpd_commit(&w, 1, strlen(TEXT), &qid), 250);
	peer_send(&w.qmgr, IPC_TAKE, 3, "u", (uint64_t)10);
	g = peer_next(&w, &w.qmgr, IPC_ENTRY);
	assert_int_equal(g->u[5], 2);
	page = strbuf_slice(&g->s[9]);
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.original, "team@example.org");
	assert_slice(item.transport, "local");
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.original, "team@example.org");
	assert_false(rcpt_item_decode(&page, &item, &bad));
	/* several were named: none of them stands in Received */
	assert_false(has(fetch(&w, qid), "\tfor <"));
	world_end(&w);
}

static void
no_recipient_no_message(void **state)
{
	struct world w;
	uint64_t qid;

	(void)state;
	world_begin(&w, "");
	smtpd_mail(&w, 1, "a@b.example");
	assert_int_equal(smtpd_rcpt(&w, 1, "nobody@example.org"), 550);
	assert_int_equal(smtpd_content(&w, 1, TEXT), 0);
	assert_int_equal(smtpd_commit(&w, 1, strlen(TEXT), &qid), 554);
	world_settle(&w);
	assert_int_equal(spool_count(w.pg.spool), 0);
	world_end(&w);
}

/* However the pieces are cut the message is the same. */
static void
pieces_cut_anywhere(void **state)
{
	static const char text[] = "A: b\r\n c\r\nD: e\r\n\r\nbo\r\n\r\ndy\r\n";
	struct world w;
	struct slice c;
	uint64_t qid;
	size_t cut, i, n = sizeof(text) - 1;
	char piece[64];

	(void)state;
	world_begin(&w, "");
	for (cut = 1; cut <= n; cut++) {
		qid = 0;
		smtpd_mail(&w, 1, "");
		assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
		for (i = 0; i < n; i += cut) {
			(void)snprintf(piece, sizeof(piece), "%.*s",
			    (int)(n - i < cut ? n - i : cut), text + i);
			assert_int_equal(smtpd_content(&w, 1, piece), 0);
		}
		assert_int_equal(smtpd_commit(&w, 1, n, &qid), 250);
		c = fetch(&w, qid);
		assert_memory_equal(c.p + c.n - n, text, n);
		assert_memory_equal(c.p + c.n - n - 2, "\r\n", 2);
	}
	world_end(&w);
}

static void
odd_contents(void **state)
{
	static const struct {
		const char *name, *in, *end; /* what the stored one ends in */
	} rows[] = {
		{ "empty", "", "\r\n\r\n" },
		{ "a body alone", "hello world\r\n", "\r\n\r\nhello world\r\n" },
		{ "an empty header", "\r\nbody\r\n", "\r\n\r\nbody\r\n" },
		{ "a header alone", "Subject: x\r\n", "\r\nSubject: x\r\n\r\n" },
		{ "a header cut short", "Subject: x\r\nno field\r\n",
		    "\r\nSubject: x\r\n\r\nno field\r\n" },
		{ "Return-Path goes", "Return-Path: <x@y>\r\nA: b\r\n\r\n",
		    "\r\nA: b\r\n\r\n" },
	};
	struct world w;
	struct slice c;
	uint64_t qid;
	size_t i;

	(void)state;
	world_begin(&w, "");
	for (i = 0; i < NELEMS(rows); i++) {
		size_t n = strlen(rows[i].end);

		qid = 0;
		smtpd_mail(&w, 1, "");
		assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
		if (*rows[i].in != '\0') {
			assert_int_equal(smtpd_content(&w, 1, rows[i].in), 0);
		}
		assert_int_equal(smtpd_commit(&w, 1, strlen(rows[i].in), &qid),
		    250);
		c = fetch(&w, qid);
		if (memcmp(c.p + c.n - n, rows[i].end, n) != 0) {
			fail_msg("%s: %.*s", rows[i].name, (int)c.n, c.p);
		}
		assert_memory_equal(c.p, "Received: ", 10);
		assert_false(has(c, "Return-Path"));
	}
	world_end(&w);
}

static void
refused_contents(void **state)
{
	struct world w;
	struct strbuf hops, giant, wide;
	struct got *g;
	uint64_t qid;
	unsigned i;

	(void)state;
	world_begin(&w, "hopcount_limit = 10\nheader_size_limit = 4096\n"
	    "message_size_limit = 20000\n");
	strbuf_init(&hops, 0);
	strbuf_init(&giant, 0);
	strbuf_init(&wide, 0);
	for (i = 0; i < 11; i++) {
		(void)strbuf_printf(&hops, "Received: by host%u\r\n", i);
	}
	(void)strbuf_add_str(&hops, "\r\n");
	for (i = 0; i < 500; i++) {
		(void)strbuf_printf(&wide, "X-Wide: %u\r\n", i);
	}
	(void)strbuf_add_str(&giant, "A: b\r\n\r\n");
	while (giant.n <= 20000) {
		(void)strbuf_add_str(&giant, "lines and lines\r\n");
	}
	smtpd_mail(&w, 1, "");
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	peer_send_piece(&w.smtpd, 1, strbuf_slice(&hops), false);
	g = peer_next(&w, &w.smtpd, IPC_CONTENT_ACK);
	assert_int_equal(g->u[0], 554);
	assert_string_equal(g->s[1].p, "5.4.6");
	/* pieces on their way, and the end, get the same answer */
	assert_int_equal(smtpd_content(&w, 1, "more\r\n"), 554);
	assert_int_equal(smtpd_commit(&w, 1, 99999, &qid), 554);

	smtpd_mail(&w, 1, "");
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	assert_int_equal(smtpd_content(&w, 1, wide.p), 552);
	peer_send(&w.smtpd, IPC_ABORT, 1, "");

	smtpd_mail(&w, 1, "");
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	assert_int_equal(smtpd_content(&w, 1, giant.p), 552);
	peer_send(&w.smtpd, IPC_ABORT, 1, "");
	world_settle(&w);
	assert_int_equal(spool_count(w.pg.spool), 0);
	strbuf_clear(&hops);
	strbuf_clear(&giant);
	strbuf_clear(&wide);
	world_end(&w);
}

/* What a message submitted here lacks is added; addresses are completed. */
static void
local_submission(void **state)
{
	static const char text[] = "To: bob\r\n\r\nhi\r\n";
	struct world w;
	struct slice c;
	struct got *g;
	uint64_t qid = 0;

	(void)state;
	world_begin(&w, "canonical_maps = inline:{"
	    " bob@example.org=Robert@example.org }\n");
	peer_send(&w.smtpd, IPC_MAIL, 2, "suussssuu", "ann", (uint64_t)0,
	    (uint64_t)0, "", "localhost", "", "local", (uint64_t)1234,
	    (uint64_t)1);
	assert_int_equal(smtpd_rcpt(&w, 2, "carl@example.org"), 250);
	assert_int_equal(smtpd_content(&w, 2, text), 0);
	assert_int_equal(smtpd_commit(&w, 2, strlen(text), &qid), 250);
	c = fetch(&w, qid);
	assert_true(has(c, "Received: by mx.example.org (Veredus, from uid "
	    "1234)"));
	assert_true(has(c, "\r\nMessage-ID: <"));
	assert_true(has(c, "\r\nDate: "));
	assert_true(has(c, "\r\nFrom: ann@example.org\r\n"));
	assert_true(has(c, "\r\nTo: Robert@example.org\r\n"));
	peer_send(&w.qmgr, IPC_TAKE, 3, "u", (uint64_t)10);
	g = peer_next(&w, &w.qmgr, IPC_ENTRY);
	assert_string_equal(g->s[8].p, "ann@example.org");
	assert_true((g->u[3] & CONTENT_LOCAL) != 0);
	world_end(&w);
}

/* A large message goes by a file, and is acknowledged as it is written. */
static void
large_message(void **state)
{
	enum { PIECES = 40 };
	static char piece[60001];
	struct world w;
	struct got *g;
	uint64_t qid = 0, size, offset;
	char buf[16];
	unsigned i;

	(void)state;
	memset(piece, 'x', sizeof(piece) - 1);
	for (i = 78; i < sizeof(piece) - 1; i += 80) {
		piece[i] = '\r';
		piece[i + 1] = '\n';
	}
	world_begin(&w, "");
	smtpd_mail(&w, 1, "");
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	assert_int_equal(smtpd_content(&w, 1, "A: b\r\n\r\n"), 0);
	for (i = 0; i < PIECES; i++) {
		assert_int_equal(smtpd_content(&w, 1, piece), 0);
	}
	assert_int_equal(smtpd_commit(&w, 1, 8 + PIECES * 60000, &qid), 250);
	peer_send(&w.local, IPC_FETCH, 1, "uu", qid,
	    siphash_cookie(w.pg.cookie_key, qid));
	g = peer_next(&w, &w.local, IPC_FETCHED_FILE);
	size = g->u[0];
	offset = g->u[2];
	assert_true(size > 8 + PIECES * 60000);
	assert_int_equal(pread(g->fd, buf, 10, (off_t)offset), 10);
	assert_memory_equal(buf, "Received: ", 10);
	assert_int_equal(pread(g->fd, buf, 2, (off_t)(offset + size - 2)), 2);
	assert_memory_equal(buf, "\r\n", 2);
	world_end(&w);
}

/* What no smtpd of ours sends: the channel closes, nothing else happens. */
static void
bad_peers(void **state)
{
	enum { TWICE, NO_MAIL, RCPT_TWO, LATE_RCPT, BAD_SIZE, BAD_FLAGS, EARLY,
		CONTROL, LONG_PATH, BIG_PIECE, BAD_UID, CASES };
	struct world w;
	struct strbuf big;
	int i;

	(void)state;
	world_begin(&w, "");
	strbuf_init(&big, 0);
	while (big.n <= IPC_PIECE_MAX) {
		(void)strbuf_add_str(&big, "a line of content\r\n");
	}
	for (i = 0; i < CASES; i++) {
		smtpd_mail(&w, 1, "a@b.example");
		switch (i) {
		case TWICE:
			smtpd_mail(&w, 1, "a@b.example");
			break;
		case NO_MAIL:
			peer_send(&w.smtpd, IPC_RCPT, 2, "s", "ann");
			break;
		case RCPT_TWO:
			w.answer_users = false;
			peer_send(&w.smtpd, IPC_RCPT, 1, "s", "bob@localhost");
			peer_send(&w.smtpd, IPC_RCPT, 1, "s", "ann@localhost");
			break;
		case LATE_RCPT:
			peer_send_piece(&w.smtpd, 1, SL("a\r\n"), false);
			peer_send(&w.smtpd, IPC_RCPT, 1, "s", "ann@localhost");
			break;
		case BAD_SIZE:
			peer_send_piece(&w.smtpd, 1, SL("a\r\n"), false);
			peer_send(&w.smtpd, IPC_COMMIT, 1, "uu", (uint64_t)0,
			    (uint64_t)4);
			break;
		case BAD_FLAGS:
			peer_send(&w.smtpd, IPC_COMMIT, 1, "uu",
			    (uint64_t)0x100, (uint64_t)0);
			break;
		case EARLY:
			w.answer_users = false;
			peer_send(&w.smtpd, IPC_RCPT, 1, "s", "ann@localhost");
			peer_send_piece(&w.smtpd, 1, SL("a\r\n"), false);
			break;
		case CONTROL:
			peer_send(&w.smtpd, IPC_RCPT, 1, "s",
			    "ann@localhost\r\nX: y");
			break;
		case LONG_PATH:
			big.p[600] = '\0';
			peer_send(&w.smtpd, IPC_RCPT, 1, "s", big.p);
			big.p[600] = 'x';
			break;
		case BIG_PIECE:
			peer_send_piece(&w.smtpd, 1,
			    slice_make(big.p, IPC_PIECE_MAX + 1), false);
			break;
		default:
			peer_send(&w.smtpd, IPC_MAIL, 3, "suussssuu", "",
			    (uint64_t)0, (uint64_t)0, "", "", "", "",
			    (uint64_t)UINT32_MAX + 1, (uint64_t)0);
			break;
		}
		world_wait(&w, w.smtpd.closed);
		assert_int_equal(smtpd_service_open(w.pg.smtpd), 0);
		w.answer_users = true;
		world_connect_smtpd(&w, 0);
	}
	(void)smtpd_message(&w, 1, "ann@example.org", TEXT);
	strbuf_clear(&big);
	world_end(&w);
}

/* The worker dies while the message becomes durable: it stays (RFC 1047);
   what was not committed is gone. */
static void
channel_lost_at_the_end(void **state)
{
	struct world w;
	uint64_t list[4];

	(void)state;
	world_begin(&w, "");
	smtpd_mail(&w, 1, "a@b.example");
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	assert_int_equal(smtpd_content(&w, 1, TEXT), 0);
	smtpd_mail(&w, 2, "a@b.example");
	assert_int_equal(smtpd_rcpt(&w, 2, "bob@example.org"), 250);
	assert_int_equal(smtpd_content(&w, 2, TEXT), 0);
	peer_send(&w.smtpd, IPC_COMMIT, 1, "uu", (uint64_t)0,
	    (uint64_t)strlen(TEXT));
	world_wait(&w, w.pg.committing == 1);
	world_connect_smtpd(&w, 0);
	world_settle(&w);
	assert_int_equal(spool_list(w.pg.spool, 0, list, 4), 1);
	assert_true(peer_is_quiet(&w.smtpd));
	world_end(&w);
}

static void
abort_at_any_time(void **state)
{
	struct world w;
	int step;

	(void)state;
	world_begin(&w, "");
	for (step = 0; step < 4; step++) {
		smtpd_mail(&w, 1, "a@b.example");
		if (step > 0) {
			assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"),
			    250);
		}
		if (step > 1) {
			assert_int_equal(smtpd_content(&w, 1, "A: b\r\n"), 0);
		}
		if (step > 2) {
			assert_int_equal(smtpd_content(&w, 1, "\r\nx\r\n"), 0);
		}
		peer_send(&w.smtpd, IPC_ABORT, 1, "");
	}
	w.answer_users = false; /* while the resolver waits */
	smtpd_mail(&w, 1, "a@b.example");
	peer_send(&w.smtpd, IPC_RCPT, 1, "s", "carl@example.org");
	world_wait(&w, w.users.n > w.users.at);
	peer_send(&w.smtpd, IPC_ABORT, 1, "");
	w.answer_users = true;
	world_settle(&w);
	assert_true(peer_is_quiet(&w.smtpd));
	peer_send(&w.smtpd, IPC_ABORT, 77, ""); /* too late is no harm */
	world_settle(&w);
	assert_false(w.smtpd.closed);
	assert_int_equal(spool_count(w.pg.spool), 0);
	world_end(&w);
}

static void
vrfy_leaves_nothing(void **state)
{
	struct world w;
	struct got *g;

	(void)state;
	world_begin(&w, "");
	peer_send(&w.smtpd, IPC_RESOLVE, 40, "sssuu", "", "ann@example.org",
	    "192.0.2.9", (uint64_t)UINT32_MAX, (uint64_t)0);
	g = peer_next(&w, &w.smtpd, IPC_VERDICT);
	assert_int_equal(g->tid, 40);
	assert_int_equal(g->u[0], 250);
	peer_send(&w.smtpd, IPC_RESOLVE, 41, "sssuu", "", "nobody@example.org",
	    "192.0.2.9", (uint64_t)UINT32_MAX, (uint64_t)0);
	g = peer_next(&w, &w.smtpd, IPC_VERDICT);
	assert_int_equal(g->tid, 41);
	assert_int_equal(g->u[0], 550);
	assert_int_equal(smtpd_service_open(w.pg.smtpd), 0);
	w.answer_users = false; /* the channel goes while it waits */
	peer_send(&w.smtpd, IPC_RESOLVE, 42, "sssuu", "", "slow@example.org",
	    "192.0.2.9", (uint64_t)UINT32_MAX, (uint64_t)0);
	world_wait(&w, smtpd_service_open(w.pg.smtpd) == 1);
	world_connect_smtpd(&w, 0);
	assert_int_equal(smtpd_service_open(w.pg.smtpd), 0);
	world_end(&w);
}

static void
no_space_is_said_before(void **state)
{
	struct world w;
	struct got *g;

	(void)state;
	world_begin(&w, "");
	w.settings.queue_minfree = UINT64_MAX;
	accepting_look(w.pg.accepting);
	g = peer_next(&w, &w.smtpd, IPC_ACCEPTING);
	assert_int_equal(g->u[0], 452);
	assert_string_equal(g->s[1].p, "4.3.1");
	w.settings.queue_minfree = 0;
	accepting_look(w.pg.accepting);
	assert_int_equal(peer_next(&w, &w.smtpd, IPC_ACCEPTING)->u[0], 250);
	accepting_look(w.pg.accepting); /* the same is not told twice */
	world_settle(&w);
	assert_true(peer_is_quiet(&w.smtpd));
	w.pg.stopping = true;
	accepting_look(w.pg.accepting);
	assert_int_equal(peer_next(&w, &w.smtpd, IPC_ACCEPTING)->u[0], 451);
	smtpd_mail(&w, 1, "");
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 451);
	w.pg.stopping = false;
	world_end(&w);
}

static void
too_many_transactions(void **state)
{
	struct world w;
	uint32_t i;

	(void)state;
	world_begin(&w, "");
	for (i = 1; i <= SMTPD_TRANSACTIONS_MAX + 1; i++) {
		smtpd_mail(&w, i, "");
	}
	assert_int_equal(smtpd_rcpt(&w, i - 1, "ann@example.org"), 452);
	assert_int_equal(smtpd_rcpt(&w, 1, "ann@example.org"), 250);
	assert_int_equal(smtpd_service_open(w.pg.smtpd),
	    SMTPD_TRANSACTIONS_MAX);
	world_connect_smtpd(&w, 0);
	assert_int_equal(smtpd_service_open(w.pg.smtpd), 0);
	assert_int_equal(w.pg.pending_octets, 0);
	world_end(&w);
}

/* Any order of well-formed messages: the worker is served or dropped, and
   nothing is left of it. */
static void
a_mad_worker(void **state)
{
	enum { MESSAGES = 4000 };
	static const char *const rcpts[] = { "ann@example.org", "nobody",
		"broken@example.org", "bob@localhost", "", "a b" };
	struct world w;
	uint32_t seed = 99, i, drops = 0;

	(void)state;
	world_begin(&w, "");
	for (i = 0; i < MESSAGES; i++) {
		uint32_t roll, tid;

		seed = seed * 1103515245u + 12345u;
		roll = seed >> 16;
		tid = 1 + roll % 3;
		if (w.smtpd.closed || w.smtpd.n > GOT_MAX - 200) {
			drops++;
			world_connect_smtpd(&w, 0);
		}
		switch (roll / 3 % 10) {
		case 0:
		case 1:
			smtpd_mail(&w, tid, "a@b.example");
			break;
		case 2:
		case 3:
			peer_send(&w.smtpd, IPC_RCPT, tid, "s",
			    rcpts[roll / 30 % NELEMS(rcpts)]);
			break;
		case 4:
		case 5:
			peer_send_piece(&w.smtpd, tid,
			    roll / 30 % 2 == 0 ? SL("A: b\r\n") :
			    SL("\r\nx\r\n"), roll / 60 % 2 == 0);
			break;
		case 6:
			peer_send(&w.smtpd, IPC_COMMIT, tid, "uu", (uint64_t)0,
			    (uint64_t)(roll / 30 % 3 * 6));
			break;
		case 7:
		case 8:
			peer_send(&w.smtpd, IPC_ABORT, tid, "");
			break;
		default:
			peer_send(&w.smtpd, IPC_RESOLVE, tid, "sssuu", "",
			    rcpts[roll / 30 % NELEMS(rcpts)], "192.0.2.9",
			    (uint64_t)UINT32_MAX, (uint64_t)0);
			break;
		}
		if (roll / 300 % 3 == 0) {
			world_turn(&w);
		}
	}
	assert_true(drops > 50);
	if (!w.smtpd.closed) {
		ipc_chan_free(w.smtpd.ch);
		w.smtpd.ch = NULL;
	}
	world_settle(&w);
	assert_int_equal(smtpd_service_open(w.pg.smtpd), 0);
	assert_int_equal(w.pg.pending_octets, 0);
	world_end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_message),
		cmocka_unit_test(last_acknowledgement_in_company),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(names_just_found),
		cmocka_unit_test(recipients_are_told_apart_once),
		cmocka_unit_test(no_recipient_no_message),
		cmocka_unit_test(pieces_cut_anywhere),
		cmocka_unit_test(odd_contents),
		cmocka_unit_test(refused_contents),
		cmocka_unit_test(local_submission),
		cmocka_unit_test(large_message),
		cmocka_unit_test(bad_peers),
		cmocka_unit_test(channel_lost_at_the_end),
		cmocka_unit_test(abort_at_any_time),
		cmocka_unit_test(vrfy_leaves_nothing),
		cmocka_unit_test(no_space_is_said_before),
		cmocka_unit_test(too_many_transactions),
		cmocka_unit_test(a_mad_worker),
	};

	return cmocka_run_group_tests_name("cleanup_mail", tests, NULL, NULL);
}
