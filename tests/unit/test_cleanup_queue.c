/* The queue for qmgr, the content for the agents, and requeue. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup/resolving.h"
#include "common/io.h"
#include "common/siphash.h"
#include "tests/unit/cleanup_world.h"

#define TEXT "Subject: x\r\n\r\nhello\r\n"

static unsigned
take(struct world *w, uint32_t tid, uint64_t max, uint64_t *qids)
{
	struct got *g;
	unsigned n = 0;

	peer_send(&w->qmgr, IPC_TAKE, tid, "u", max);
	for (;;) {
		world_wait(w, w->qmgr.at < w->qmgr.n);
		g = &w->qmgr.got[w->qmgr.at++];
		assert_int_equal(g->tid, tid);
		if (g->type == IPC_TAKEN) {
			assert_int_equal(g->u[0], n);
			return n;
		}
		assert_int_equal(g->type, IPC_ENTRY);
		qids[n++] = g->u[0];
	}
}

static struct got *
send_fate(struct world *w, uint64_t qid, uint32_t index, enum fate fate)
{
	const struct fate_item item = { .index = index, .attempt = 1,
		.fate = (uint8_t)fate, .next_at = 5, .esc = SL("2.0.0"),
		.reply = SL("done") };
	struct strbuf b;

	strbuf_init(&b, 0);
	fate_item_encode(&item, &b);
	ipc_begin(w->qmgr.ch, IPC_FATES, 50);
	ipc_put_u(w->qmgr.ch, qid);
	ipc_put_s(w->qmgr.ch, strbuf_slice(&b));
	ipc_end(w->qmgr.ch);
	strbuf_clear(&b);
	return peer_next(w, &w->qmgr, IPC_FATES_ACK);
}

static struct got *
mark(struct world *w, uint64_t qid, enum ipc_mark what, const char *reason)
{
	struct got *g;

	peer_send(&w->qmgr, IPC_MARK, 60, "uus", qid, (uint64_t)what, reason);
	g = peer_next(w, &w->qmgr, IPC_MARKED);
	assert_int_equal(g->tid, 60);
	assert_true(g->u[0] == qid);
	return g;
}

static struct got *
get(struct world *w, uint64_t qid, uint32_t from, bool route)
{
	peer_send(&w->qmgr, IPC_GET, 70, "uuu", qid, (uint64_t)from,
	    (uint64_t)route);
	world_wait(w, w->qmgr.at < w->qmgr.n);
	return &w->qmgr.got[w->qmgr.at++];
}

/* Each message once a channel, in order; all of it again on the next one. */
static void
each_once_a_channel(void **state)
{
	enum { N = 20, ALL = N + 3 };
	struct world w;
	uint64_t sent[ALL], got[ALL];
	unsigned i, n;

	(void)state;
	world_begin(&w, "");
	for (i = 0; i < N; i++) {
		sent[i] = smtpd_message(&w, 1, "ann@example.org", TEXT);
	}
	n = take(&w, 1, 8, got);
	assert_int_equal(n, 8);
	assert_true(w.qmgr.scanned == UINT64_MAX); /* there was nothing */
	n += take(&w, 2, N - 8, got + n);
	assert_int_equal(n, N);
	assert_memory_equal(got, sent, sizeof(sent[0]) * N);
	/* one that waits gets new mail, one after the other, until it is full */
	peer_send(&w.qmgr, IPC_TAKE, 3, "u", (uint64_t)2);
	world_settle(&w);
	assert_true(peer_is_quiet(&w.qmgr));
	sent[N] = smtpd_message(&w, 1, "bob@example.org", TEXT);
	assert_true(peer_next(&w, &w.qmgr, IPC_ENTRY)->u[0] == sent[N]);
	world_settle(&w);
	assert_true(peer_is_quiet(&w.qmgr));
	sent[N + 1] = smtpd_message(&w, 1, "bob@example.org", TEXT);
	assert_true(peer_next(&w, &w.qmgr, IPC_ENTRY)->u[0] == sent[N + 1]);
	assert_int_equal(peer_next(&w, &w.qmgr, IPC_TAKEN)->u[0], 2);
	/* a fresh channel: everything from the beginning */
	world_connect_qmgr(&w);
	sent[N + 2] = smtpd_message(&w, 1, "bob@example.org", TEXT);
	w.qmgr.scanned = 0;
	for (n = 0; n < ALL;) {
		n += take(&w, 4, ALL - n < 5 ? ALL - n : 5, got + n);
	}
	for (i = 0; i < ALL; i++) {
		unsigned k, times = 0;

		for (k = 0; k < ALL; k++) {
			times += got[k] == sent[i] ? 1 : 0;
		}
		assert_int_equal(times, 1);
	}
	/* a next TAKE finds out that it is over */
	peer_send(&w.qmgr, IPC_TAKE, 4, "u", (uint64_t)1);
	world_settle(&w);
	assert_true(peer_is_quiet(&w.qmgr));
	assert_true(w.qmgr.scanned == UINT64_MAX);
	/* and after a restart, from the files; told how far it is */
	world_restart(&w);
	w.qmgr.scanned = 0;
	assert_int_equal(take(&w, 5, ALL - 2, got), ALL - 2);
	assert_true(w.qmgr.scanned == got[ALL - 3]);
	assert_int_equal(take(&w, 5, 2, got + ALL - 2), 2);
	assert_true(w.qmgr.scanned == got[ALL - 1]);
	assert_memory_equal(got, sent, sizeof(sent));
	world_end(&w);
}

/* No descriptor to read it by: it is not lost, and comes later. */
static void
one_that_cannot_be_read(void **state)
{
	struct world w;
	struct rlimit before, none;
	uint64_t qid, got[4];
	int fd;

	(void)state;
	world_begin(&w, "");
	qid = smtpd_message(&w, 1, "ann@example.org", TEXT);
	world_restart(&w);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	fd = dup(0);
	assert_true(fd != -1);
	(void)close(fd);
	none = before;
	none.rlim_cur = (rlim_t)fd;
	peer_send(&w.qmgr, IPC_TAKE, 1, "u", (uint64_t)1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	world_settle(&w);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(peer_is_quiet(&w.qmgr));
	assert_true(peer_next(&w, &w.qmgr, IPC_ENTRY)->u[0] == qid);
	assert_int_equal(peer_next(&w, &w.qmgr, IPC_TAKEN)->u[0], 1);
	world_connect_qmgr(&w);
	assert_int_equal(take(&w, 2, 1, got), 1);
	world_end(&w);
}

static void
an_entry_tells_all(void **state)
{
	struct world w;
	struct got *g;
	struct rcpt_item item;
	struct slice page;
	uint64_t qid;
	bool bad;

	(void)state;
	world_begin(&w, "recipient_delimiter = +\n");
	qid = smtpd_message(&w, 1, "ann+lists@example.org", TEXT);
	peer_send(&w.qmgr, IPC_TAKE, 3, "u", (uint64_t)1);
	g = peer_next(&w, &w.qmgr, IPC_ENTRY);
	assert_true(g->u[0] == qid);
	assert_true(g->u[1] > 1600000000000000u); /* arrived */
	assert_true(g->u[2] > strlen(TEXT));
	assert_int_equal(g->u[4], 0); /* hold */
	assert_int_equal(g->u[5], 1);
	assert_int_equal(g->u[6], 1);
	assert_int_equal(g->u[7], 0); /* the last page */
	assert_string_equal(g->s[8].p, "sender@client.example");
	page = strbuf_slice(&g->s[9]);
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.original, "ann+lists@example.org");
	assert_slice(item.transport, "local");
	assert_slice(item.next_hop, "ann");
	assert_slice(item.extension, "lists");
	assert_int_equal(item.fate, FATE_NONE);
	assert_int_equal(item.attempt, 0);
	assert_int_equal(page.n, 0);
	world_end(&w);
}

static void
pages_of_many(void **state)
{
	enum { N = 600 };
	struct world w;
	struct got *g;
	struct slice page;
	struct rcpt_item item;
	char name[40];
	uint64_t qid = 0;
	uint32_t i, seen = 0, from = 0, pages = 0;
	bool bad;
	int route;

	(void)state;
	world_begin(&w, "");
	smtpd_mail(&w, 1, "");
	for (i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "user%u@example.org", i);
		assert_int_equal(smtpd_rcpt(&w, 1, name), 250);
	}
	assert_int_equal(smtpd_content(&w, 1, TEXT), 0);
	assert_int_equal(smtpd_commit(&w, 1, strlen(TEXT), &qid), 250);
	for (route = 0; route < 2; route++) {
		seen = from = pages = 0;
		do {
			g = get(&w, qid, from, route == 1);
			assert_int_equal(g->type, IPC_ENTRY);
			assert_int_equal(g->u[5], N);
			page = strbuf_slice(&g->s[9]);
			assert_true(page.n <= ENVELOPE_PAGE_OCTETS);
			while (rcpt_item_decode(&page, &item, &bad)) {
				assert_int_equal(item.index, seen);
				assert_slice(item.transport, "local");
				seen++;
			}
			assert_false(bad);
			from = (uint32_t)g->u[7];
			pages++;
		} while (from != 0);
		assert_int_equal(seen, N);
		assert_true(pages >= 3);
	}
	world_end(&w);
}

static void
fates_and_the_end(void **state)
{
	struct world w;
	struct got *g;
	struct slice page;
	struct rcpt_item item;
	uint64_t qid = 0;
	bool bad;

	(void)state;
	world_begin(&w, "alias_maps = inline:{ {team=ann, bob} }\n");
	qid = smtpd_message(&w, 1, "team@example.org", TEXT);
	g = send_fate(&w, qid, 0, FATE_DELIVERED);
	assert_true(g->u[0] == qid && g->u[1] == 0 && g->u[2] == 0);
	g = send_fate(&w, qid, 0, FATE_DELIVERED); /* again: harmless */
	assert_true(g->u[1] == 0 && g->u[2] == 0);
	g = send_fate(&w, qid, 1, FATE_DEFERRED);
	assert_true(g->u[1] == 0 && g->u[2] == 0);
	g = get(&w, qid, 0, false);
	assert_int_equal(g->u[5], 2);
	assert_int_equal(g->u[6], 1);
	page = strbuf_slice(&g->s[9]);
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_int_equal(item.index, 1);
	assert_int_equal(item.attempt, 1);
	assert_int_equal(item.fate, FATE_DEFERRED);
	assert_slice(item.reply, "done");
	assert_int_equal(page.n, 0);
	g = send_fate(&w, qid, 1, FATE_DELIVERED);
	assert_true(g->u[1] == 0 && g->u[2] == 1);
	assert_int_equal(get(&w, qid, 0, false)->type, IPC_GONE);
	g = send_fate(&w, qid, 1, FATE_DELIVERED); /* gone already */
	assert_true(g->u[1] == 0 && g->u[2] == 1);
	world_end(&w);
}

static void
marks(void **state)
{
	struct world w;
	struct got *g;
	uint64_t qid;

	(void)state;
	world_begin(&w, "");
	qid = smtpd_message(&w, 1, "ann@example.org", TEXT);
	assert_int_equal(mark(&w, qid, IPC_MARK_HOLD, "by\nhand")->u[1], 0);
	g = get(&w, qid, 0, false);
	assert_int_equal(g->u[4], 1);
	assert_string_equal(g->s[10].p, "by\\x0ahand");
	assert_int_equal(mark(&w, qid, IPC_MARK_RELEASE, "")->u[1], 0);
	assert_int_equal(get(&w, qid, 0, false)->u[4], 0);
	assert_int_equal(mark(&w, qid, IPC_MARK_CRASHED, "")->u[1], 0);
	assert_int_equal(mark(&w, qid, IPC_MARK_CRASHED, "")->u[1], 0);
	assert_int_equal(get(&w, qid, 0, false)->u[11], 2);
	assert_int_equal(get(&w, qid, 0, true)->u[11], 2);
	assert_int_equal(mark(&w, qid, IPC_MARK_DELETE, "")->u[1], 0);
	assert_int_equal(get(&w, qid, 0, false)->type, IPC_GONE);
	assert_int_equal(mark(&w, qid, IPC_MARK_HOLD, "x")->u[1], 1);
	assert_int_equal(mark(&w, qid, IPC_MARK_RELEASE, "")->u[1], 1);
	assert_int_equal(mark(&w, qid, IPC_MARK_DELETE, "")->u[1], 1);
	assert_int_equal(mark(&w, qid, IPC_MARK_REQUEUE, "")->u[1], 1);
	assert_int_equal(mark(&w, qid, IPC_MARK_CRASHED, "")->u[1], 1);
	world_end(&w);
}

static void
load(struct world *w, uint64_t error, const char *text)
{
	struct got *g;

	peer_send(&w->qmgr, IPC_LOAD, 77, "");
	g = peer_next(w, &w->qmgr, IPC_LOADED);
	assert_int_equal(g->tid, 77);
	assert_int_equal(g->u[0], error);
	assert_slice(strbuf_slice(&g->s[1]), text);
}

static void
keep(struct world *w, uint32_t tid, struct slice text)
{
	ipc_begin(w->qmgr.ch, IPC_KEEP, tid);
	ipc_put_s(w->qmgr.ch, text);
	ipc_end(w->qmgr.ch);
}

/* Whatever operation fails, the old text is there or the new. */
static void
keeps(void **state)
{
	struct io_plan plan = { .kind = IO_PLAN_FAIL, .error = ENOSPC };
	static char large[SPOOL_KEEP_MAX];
	struct world w;
	unsigned failed = 0;
	struct got *g;
	bool hit = true;
	int fd;

	(void)state;
	world_begin(&w, "");
	load(&w, 0, "");
	keep(&w, 5, SL("one\n"));
	g = peer_next(&w, &w.qmgr, IPC_KEPT);
	assert_true(g->tid == 5 && g->u[0] == 0);
	load(&w, 0, "one\n");
	for (plan.n = 1; hit && io_build_has_hooks(); plan.n++) {
		io_plan(&plan);
		keep(&w, 6, SL("another"));
		g = peer_next(&w, &w.qmgr, IPC_KEPT);
		hit = io_plan_hit() != NULL;
		io_plan(NULL);
		assert_int_equal(g->u[0], hit ? ENOSPC : 0);
		failed += hit;
		peer_send(&w.qmgr, IPC_LOAD, 8, "");
		g = peer_next(&w, &w.qmgr, IPC_LOADED);
		assert_int_equal(g->u[0], 0);
		assert_true(g->s[1].n == 7 || (hit && g->s[1].n == 4));
	}
	assert_true(!io_build_has_hooks() || failed == 6);
	world_restart(&w);
	load(&w, 0, io_build_has_hooks() ? "another" : "one\n");
	memset(large, 'x', sizeof(large));
	keep(&w, 9, slice_make(large, sizeof(large)));
	assert_int_equal(peer_next(&w, &w.qmgr, IPC_KEPT)->u[0], 0);
	fd = openat(w.dirfd, "queue/kept", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(close(fd), 0);
	load(&w, 0, ""); /* not ours */
	world_end(&w);
}

/* team was ann and bob; ann has the mail; team is bob, carl and ann now. */
static void
requeue_expands_anew(void **state)
{
	struct world w;
	struct got *g;
	struct slice page;
	struct rcpt_item item;
	uint64_t qid, got[2];
	bool bad;

	(void)state;
	world_begin(&w, "alias_maps = inline:{ {team=ann, bob} }\n");
	qid = smtpd_message(&w, 1, "team@example.org", TEXT);
	assert_int_equal(take(&w, 1, 1, got), 1);
	assert_int_equal(send_fate(&w, qid, 0, FATE_DELIVERED)->u[1], 0);
	world_set_aliases(&w, "inline:{ {team=ann, bob, carl} }");
	assert_int_equal(mark(&w, qid, IPC_MARK_REQUEUE, "")->u[1], 0);
	assert_int_equal(get(&w, qid, 0, false)->type, IPC_GONE);
	peer_send(&w.qmgr, IPC_TAKE, 2, "u", (uint64_t)9);
	g = peer_next(&w, &w.qmgr, IPC_ENTRY);
	assert_true(g->u[0] != qid);
	assert_int_equal(g->u[5], 2);
	assert_string_equal(g->s[8].p, "sender@client.example");
	page = strbuf_slice(&g->s[9]);
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.next_hop, "bob");
	assert_slice(item.original, "team@example.org");
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.next_hop, "carl");
	peer_send(&w.local, IPC_FETCH, 1, "uu", g->u[0],
	    siphash_cookie(w.pg.cookie_key, g->u[0]));
	g = peer_next(&w, &w.local, IPC_FETCHED);
	assert_memory_equal(g->s[2].p + g->s[2].n - strlen(TEXT), TEXT,
	    strlen(TEXT));
	assert_int_equal(spool_count(w.pg.spool), 1);
	world_end(&w);
}

static void
requeue_that_finds_nobody(void **state)
{
	struct world w;
	struct got *g;
	uint64_t qid;

	(void)state;
	world_begin(&w, "alias_maps = inline:{ gone=ann }\n");
	qid = smtpd_message(&w, 1, "gone@example.org", TEXT);
	world_set_aliases(&w, "inline:{ other=bob }");
	g = mark(&w, qid, IPC_MARK_REQUEUE, "");
	assert_int_equal(g->u[1], 2);
	assert_true(strstr(g->s[2].p, "left as it is") != NULL);
	assert_int_equal(get(&w, qid, 0, false)->u[6], 1);
	assert_int_equal(spool_count(w.pg.spool), 1);
	world_end(&w);
}

/* Who has the mail gets no second copy; nobody else is left: done. */
static void
requeue_of_the_served(void **state)
{
	struct world w;
	uint64_t qid;

	(void)state;
	world_begin(&w, "alias_maps = inline:{ {team=ann, bob} }\n");
	qid = smtpd_message(&w, 1, "team@example.org", TEXT);
	assert_int_equal(send_fate(&w, qid, 0, FATE_DELIVERED)->u[1], 0);
	world_set_aliases(&w, "inline:{ team=ann }");
	assert_int_equal(mark(&w, qid, IPC_MARK_REQUEUE, "")->u[1], 0);
	assert_int_equal(spool_count(w.pg.spool), 0);
	world_end(&w);
}

/* The resolver knows all answers at once: still one copy of each. */
static void
requeue_without_waiting(void **state)
{
	enum { RCPTS = 150 };
	char to[64];
	struct world w;
	struct got *g;
	uint64_t qid = 0;
	unsigned i;

	(void)state;
	world_begin(&w, "mynetworks = 0.0.0.0/0, [::]/0\n");
	smtpd_mail(&w, 1, "sender@client.example");
	for (i = 0; i < RCPTS; i++) {
		(void)snprintf(to, sizeof(to), "x%u@far.example", i);
		assert_int_equal(smtpd_rcpt(&w, 1, to), 250);
	}
	assert_int_equal(smtpd_content(&w, 1, TEXT), 0);
	assert_int_equal(smtpd_commit(&w, 1, strlen(TEXT), &qid), 250);
	assert_int_equal(mark(&w, qid, IPC_MARK_REQUEUE, "")->u[1], 0);
	world_settle(&w);
	assert_int_equal(get(&w, qid, 0, false)->type, IPC_GONE);
	assert_int_equal(spool_count(w.pg.spool), 1);
	peer_send(&w.qmgr, IPC_TAKE, 2, "u", (uint64_t)9);
	g = peer_next(&w, &w.qmgr, IPC_ENTRY);
	assert_int_equal(g->u[5], RCPTS);
	world_end(&w);
}

/* A large one is copied in pieces; the others go along with their reason. */
static void
requeue_of_a_large_one(void **state)
{
	enum { PIECES = 10 };
	static char piece[60001];
	struct world w;
	struct got *g;
	struct slice page;
	struct rcpt_item item;
	uint64_t qid = 0;
	unsigned i;
	bool bad;

	(void)state;
	memset(piece, 'y', sizeof(piece) - 1);
	memcpy(piece + 59998, "\r\n", 2);
	world_begin(&w, "alias_maps = inline:{ old=ann, one=bob }\n");
	smtpd_mail(&w, 1, "");
	assert_int_equal(smtpd_rcpt(&w, 1, "old@example.org"), 250);
	assert_int_equal(smtpd_rcpt(&w, 1, "one@example.org"), 250);
	assert_int_equal(smtpd_content(&w, 1, "A: b\r\n\r\n"), 0);
	for (i = 0; i < PIECES; i++) {
		assert_int_equal(smtpd_content(&w, 1, piece), 0);
	}
	assert_int_equal(smtpd_commit(&w, 1, 8 + PIECES * 60000, &qid), 250);
	world_set_aliases(&w, "inline:{ one=carl }");
	assert_int_equal(mark(&w, qid, IPC_MARK_REQUEUE, "")->u[1], 0);
	peer_send(&w.qmgr, IPC_TAKE, 2, "u", (uint64_t)9);
	g = peer_next(&w, &w.qmgr, IPC_ENTRY);
	assert_true(g->u[2] > 8 + PIECES * 60000);
	page = strbuf_slice(&g->s[9]);
	while (rcpt_item_decode(&page, &item, &bad)) {
		if (slice_eq(item.original, SL("old@example.org"))) {
			assert_slice(item.transport, "error");
			assert_memory_equal(item.next_hop.p, "5.1.1 ", 6);
		} else {
			assert_slice(item.next_hop, "carl");
		}
	}
	assert_int_equal(g->u[5], 2);
	world_end(&w);
}

/* The route is asked anew: what has no account any more is told so. */
static void
fresh_routes(void **state)
{
	struct world w;
	struct got *g;
	struct slice page;
	struct rcpt_item item;
	uint64_t qid;
	bool bad;

	(void)state;
	world_begin(&w, "transport_maps =\n");
	qid = smtpd_message(&w, 1, "ann@example.org", TEXT);
	g = get(&w, qid, 0, true);
	assert_int_equal(g->type, IPC_ENTRY);
	page = strbuf_slice(&g->s[9]);
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.transport, "local");
	assert_slice(item.next_hop, "ann");
	/* the channel goes while the resolver waits: no harm */
	w.answer_users = false;
	world_restart(&w);
	peer_send(&w.qmgr, IPC_GET, 70, "uuu", qid, (uint64_t)0, (uint64_t)1);
	world_settle(&w);
	world_connect_qmgr(&w);
	w.answer_users = true;
	world_settle(&w);
	world_end(&w);
}

static void
cookies(void **state)
{
	struct world w;
	struct got *g;
	uint64_t qid, good;

	(void)state;
	world_begin(&w, "");
	qid = smtpd_message(&w, 1, "ann@example.org", TEXT);
	good = siphash_cookie(w.pg.cookie_key, qid);
	peer_send(&w.local, IPC_FETCH, 1, "uu", qid, good ^ 1);
	g = peer_next(&w, &w.local, IPC_FETCH_FAILED);
	assert_int_equal(g->u[0], 1);
	peer_send(&w.local, IPC_FETCH, 2, "uu", qid + 1, good);
	assert_int_equal(peer_next(&w, &w.local, IPC_FETCH_FAILED)->u[0], 1);
	peer_send(&w.local, IPC_FETCH, 3, "uu", qid + 1,
	    siphash_cookie(w.pg.cookie_key, qid + 1));
	g = peer_next(&w, &w.local, IPC_FETCH_FAILED); /* no such message */
	assert_int_equal(g->u[0], 1);
	assert_int_equal(g->tid, 3);
	peer_send(&w.local, IPC_FETCH, 4, "uu", qid, good);
	assert_int_equal(peer_next(&w, &w.local, IPC_FETCHED)->tid, 4);
	world_end(&w);
}

static void
bad_qmgr(void **state)
{
	static const struct {
		const char *name;
		enum ipc_type type;
		const char *fields;
		uint64_t a, b, c;
	} rows[] = {
		{ "TAKE of none", IPC_TAKE, "u", 0, 0, 0 },
		{ "TAKE of too many", IPC_TAKE, "u", 257, 0, 0 },
		{ "GET with a bad route", IPC_GET, "uuu", 1, 0, 2 },
		{ "GET with a bad index", IPC_GET, "uuu", 1, 1ull << 32, 0 },
		{ "FATES of none", IPC_FATES, "us", 1, 0, 0 },
		{ "MARK of nothing known", IPC_MARK, "uus", 1, 9, 0 },
	};
	struct world w;
	size_t i;

	(void)state;
	world_begin(&w, "");
	for (i = 0; i < NELEMS(rows); i++) {
		ipc_begin(w.qmgr.ch, rows[i].type, 1);
		ipc_put_u(w.qmgr.ch, rows[i].a);
		if (rows[i].fields[1] == 'u') {
			ipc_put_u(w.qmgr.ch, rows[i].b);
		}
		if (strcmp(rows[i].fields, "uuu") == 0) {
			ipc_put_u(w.qmgr.ch, rows[i].c);
		}
		if (strchr(rows[i].fields, 's') != NULL) {
			ipc_put_str(w.qmgr.ch, "");
		}
		ipc_end(w.qmgr.ch);
		world_wait(&w, w.qmgr.closed);
		world_connect_qmgr(&w);
	}
	peer_send(&w.qmgr, IPC_TAKE, 1, "u", (uint64_t)5);
	peer_send(&w.qmgr, IPC_TAKE, 2, "u", (uint64_t)5);
	world_wait(&w, w.qmgr.closed); /* one at a time */
	world_connect_qmgr(&w);
	assert_int_equal(get(&w, 77, 0, false)->type, IPC_GONE);
	world_end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_once_a_channel),
		cmocka_unit_test(one_that_cannot_be_read),
		cmocka_unit_test(an_entry_tells_all),
		cmocka_unit_test(pages_of_many),
		cmocka_unit_test(fates_and_the_end),
		cmocka_unit_test(marks),
		cmocka_unit_test(keeps),
		cmocka_unit_test(requeue_expands_anew),
		cmocka_unit_test(requeue_that_finds_nobody),
		cmocka_unit_test(requeue_of_the_served),
		cmocka_unit_test(requeue_without_waiting),
		cmocka_unit_test(requeue_of_a_large_one),
		cmocka_unit_test(fresh_routes),
		cmocka_unit_test(cookies),
		cmocka_unit_test(bad_qmgr),
	};

	return cmocka_run_group_tests_name("cleanup_queue", tests, NULL, NULL);
}
