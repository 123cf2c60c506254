/*
 * The queue manager's program part with fakes at the other ends of its
 * channels: cleanup with a few messages in memory, an agent whose results the
 * test decides, a tool on a control socket. Real clocks: waits for conditions.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/codec.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/qid.h"
#include "common/xmalloc.h"
#include "qmgr/qmgr.h"
#include "qmgr/service.h"
#include "tests/unit/unit.h"

#define MSGS  8
#define RCPTS 3
#define GIVEN 64
#define QID0  1700000000000000

struct fake_msg {
	bool here, handed, hold;
	unsigned n, done, attempts[RCPTS];
	uint8_t fate[RCPTS];
	uint64_t next_at[RCPTS];
	char esc[RCPTS][ESC_MAX];
};

struct given {
	uint64_t qid;
	uint32_t index, attempt;
};

struct fix {
	struct event_base *base;
	struct settings set;
	struct qmgr q;
	struct service sv;
	/* cleanup */
	struct ipc_chan *cleanup;
	struct fake_msg msgs[MSGS];
	bool mute, cleanup_closed; /* mute: answers nothing but TAKE */
	unsigned refuse;           /* the next FATES fail */
	bool taking, bad_page;
	uint32_t take_id;
	unsigned fates, gets, marks;
	/* agent */
	struct ipc_chan *agent;
	struct given given[GIVEN];
	unsigned ngiven, acks;
	bool agent_closed, bad_cookie, quiet_hello;
	/* tool */
	struct ipc_chan *tool;
	unsigned rows, exit;
	char row[2000], text[500];
	bool ended;
	/* qmgr's owner */
	bool lost, stopped;
};

static const unsigned char key[SIPHASH_KEY] = "0123456789abcde";

/* -- cleanup ------------------------------------------------------------------- */

static void
send_entry(struct fix *f, unsigned i, uint32_t tid)
{
	struct fake_msg *m = &f->msgs[i];
	struct rcpt_item it;
	struct strbuf page;
	unsigned r;

	strbuf_init(&page, 0);
	for (r = 0; r < m->n; r++) {
		if (m->fate[r] == FATE_DELIVERED) {
			continue;
		}
		it = (struct rcpt_item){ r, m->attempts[r], m->fate[r],
			m->next_at[r], SL("ann@example.net"),
			SL("crew@example.net"), SL("local"),
			r % 2 == 0 ? SL("ann") : SL("ben"), SL(""),
			slice_of(m->esc[r]), SL("said so") };
		rcpt_item_encode(&it, &page);
	}
	if (f->bad_page) {
		(void)strbuf_add_str(&page, "xx");
	}
	ipc_begin(f->cleanup, IPC_ENTRY, tid);
	ipc_put_u(f->cleanup, QID0 + i);
	ipc_put_u(f->cleanup, (uint64_t)time(NULL) * 1000000);
	ipc_put_u(f->cleanup, 77);
	ipc_put_u(f->cleanup, 0);
	ipc_put_u(f->cleanup, m->hold);
	ipc_put_u(f->cleanup, m->n);
	ipc_put_u(f->cleanup, m->n - m->done);
	ipc_put_u(f->cleanup, 0);
	ipc_put_str(f->cleanup, "sender@example.org");
	ipc_put_s(f->cleanup, strbuf_slice(&page));
	ipc_put_str(f->cleanup, m->hold ? "by hand" : "");
	ipc_end(f->cleanup);
	strbuf_clear(&page);
}

static void
answer_take(struct fix *f)
{
	unsigned i, n = 0;

	for (i = 0; f->taking && i < MSGS; i++) {
		if (f->msgs[i].here && !f->msgs[i].handed) {
			f->msgs[i].handed = true;
			send_entry(f, i, f->take_id);
			n++;
		}
	}
	if (n > 0) {
		f->taking = false;
		ipc_begin(f->cleanup, IPC_TAKEN, f->take_id);
		ipc_put_u(f->cleanup, n);
		ipc_end(f->cleanup);
	}
}

static void
take_fates(struct fix *f, const struct ipc_msg *m)
{
	struct fake_msg *msg = &f->msgs[ipc_u(m, 0) - QID0];
	struct slice in = ipc_s(m, 1);
	struct fate_item it;
	bool bad = false;

	f->fates++;
	while (f->refuse == 0 && fate_item_decode(&in, &it, &bad)) {
		assert_int_equal(it.attempt, msg->attempts[it.index] + 1);
		msg->attempts[it.index] = it.attempt;
		msg->fate[it.index] = it.fate;
		msg->next_at[it.index] = it.next_at;
		memcpy(msg->esc[it.index], it.esc.p, it.esc.n);
		msg->done += it.fate == FATE_DELIVERED;
	}
	assert_false(bad);
	if (f->mute) {
		return;
	}
	msg->here = msg->done < msg->n;
	ipc_begin(f->cleanup, IPC_FATES_ACK, m->tid);
	ipc_put_u(f->cleanup, ipc_u(m, 0));
	ipc_put_u(f->cleanup, f->refuse > 0 ? 28 : 0);
	ipc_put_u(f->cleanup, !msg->here);
	ipc_end(f->cleanup);
	f->refuse -= f->refuse > 0;
}

static void
answer_get(struct fix *f, const struct ipc_msg *m)
{
	uint64_t i = ipc_u(m, 0) - QID0;

	f->gets++;
	if (f->mute) {
		return;
	}
	if (i < MSGS && f->msgs[i].here) {
		send_entry(f, (unsigned)i, m->tid);
		return;
	}
	ipc_begin(f->cleanup, IPC_GONE, m->tid);
	ipc_put_u(f->cleanup, 0);
	ipc_put_str(f->cleanup, "no such message");
	ipc_end(f->cleanup);
}

static void
answer_mark(struct fix *f, const struct ipc_msg *m)
{
	uint64_t i = ipc_u(m, 0) - QID0;
	bool here = i < MSGS && f->msgs[i].here;

	f->marks++;
	if (here && ipc_u(m, 1) == IPC_MARK_HOLD) {
		f->msgs[i].hold = true;
	} else if (here && ipc_u(m, 1) == IPC_MARK_RELEASE) {
		f->msgs[i].hold = false;
	} else if (here) {
		f->msgs[i].here = false;
	}
	ipc_begin(f->cleanup, IPC_MARKED, m->tid);
	ipc_put_u(f->cleanup, ipc_u(m, 0));
	ipc_put_u(f->cleanup, here ? 0 : 1);
	ipc_put_str(f->cleanup, "");
	ipc_end(f->cleanup);
}

static bool
cleanup_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct fix *f = owner;

	(void)ch;
	switch ((enum ipc_type)m->type) {
	case IPC_TAKE:
		assert_false(f->taking); /* one outstanding */
		f->taking = true;
		f->take_id = m->tid;
		answer_take(f);
		return true;
	case IPC_GET:
		answer_get(f, m);
		return true;
	case IPC_FATES:
		take_fates(f, m);
		return true;
	case IPC_MARK:
		answer_mark(f, m);
		return true;
	default:
		return false;
	}
}

static void
cleanup_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct fix *f = owner;

	(void)why;
	f->cleanup_closed = true;
	f->cleanup = NULL;
	ipc_chan_free(ch);
}

static const struct ipc_chan_ops cleanup_ops = { IPC_CLEANUP, IPC_QMGR,
	cleanup_message, cleanup_closed, NULL };

static int
pair(int *theirs)
{
	int p[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	*theirs = p[1];
	return p[0];
}

static void
start_cleanup(struct fix *f)
{
	int theirs;
	unsigned i;

	f->taking = false;
	for (i = 0; i < MSGS; i++) {
		f->msgs[i].handed = false;
	}
	f->cleanup = ipc_chan_new(f->base, pair(&theirs), &cleanup_ops, f);
	qmgr_cleanup_channel(&f->q, theirs);
}

static void
arrive(struct fix *f, unsigned i, unsigned n)
{
	f->msgs[i] = (struct fake_msg){ .here = true, .n = n };
	answer_take(f);
}

/* -- the agent ------------------------------------------------------------------- */

static bool
agent_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct fix *f = owner;
	struct rcpt_item it;
	struct slice in;
	bool bad = false;

	(void)ch;
	if (m->type == IPC_RESULT_ACK) {
		f->acks++;
		return true;
	}
	if (m->type != IPC_DELIVER) {
		return false;
	}
	f->bad_cookie = f->bad_cookie ||
	    ipc_u(m, 1) != siphash_cookie(key, ipc_u(m, 0));
	in = ipc_s(m, 6);
	while (rcpt_item_decode(&in, &it, &bad)) {
		assert_true(f->ngiven < GIVEN);
		f->given[f->ngiven++] = (struct given){ ipc_u(m, 0), it.index,
			it.attempt };
	}
	assert_false(bad);
	return true;
}

static void
agent_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct fix *f = owner;

	(void)why;
	f->agent_closed = true;
	f->agent = NULL;
	ipc_chan_free(ch);
}

static const struct ipc_chan_ops agent_ops = { IPC_LOCAL, IPC_QMGR,
	agent_message, agent_closed, NULL };

static void
hello(struct fix *f, const struct given *running, unsigned n)
{
	struct strbuf b;
	unsigned i;

	strbuf_init(&b, 0);
	for (i = 0; i < n; i++) {
		enc_u64(&b, running[i].qid);
		enc_u32(&b, running[i].index);
		enc_u32(&b, running[i].attempt);
	}
	if (n > 0) {
		ipc_begin(f->agent, IPC_AGENT_HELLO, 0);
		ipc_put_s(f->agent, strbuf_slice(&b));
		ipc_end(f->agent);
	}
	strbuf_clear(&b);
	ipc_begin(f->agent, IPC_AGENT_HELLO_END, 0);
	ipc_end(f->agent);
}

static void
start_agent(struct fix *f)
{
	int theirs;

	f->agent = ipc_chan_new(f->base, pair(&theirs), &agent_ops, f);
	qmgr_agent_channel(&f->q, SCHED_LOCAL, theirs);
	if (!f->quiet_hello) {
		hello(f, NULL, 0);
	}
}

static void
result(struct fix *f, const struct given *g, unsigned fate)
{
	ipc_begin(f->agent, IPC_RESULT, 0);
	ipc_put_u(f->agent, g->qid);
	ipc_put_u(f->agent, g->index);
	ipc_put_u(f->agent, g->attempt);
	ipc_put_u(f->agent, fate);
	ipc_put_str(f->agent, fate == FATE_DELIVERED ? "2.0.0" :
	    fate == FATE_FAILED ? "5.1.1" : "4.2.2");
	ipc_put_str(f->agent, "reply\r\nwith: a line end");
	ipc_put_str(f->agent, "local");
	ipc_end(f->agent);
}

/* -- the tool ---------------------------------------------------------------------- */

static bool
tool_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct fix *f = owner;
	struct slice s;

	(void)ch;
	if (m->type == IPC_CTL_ROW) {
		s = ipc_s(m, 0);
		assert_true(s.n < sizeof(f->row));
		memcpy(f->row, s.p, s.n);
		f->row[s.n] = '\0';
		f->rows++;
		return true;
	}
	if (m->type != IPC_CTL_END) {
		return false;
	}
	f->exit = (unsigned)ipc_u(m, 0);
	s = ipc_s(m, 1);
	assert_true(s.n < sizeof(f->text));
	memcpy(f->text, s.p, s.n);
	f->text[s.n] = '\0';
	f->ended = true;
	return true;
}

static void
tool_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct fix *f = owner;

	(void)why;
	f->tool = NULL;
	ipc_chan_free(ch);
}

static const struct ipc_chan_ops tool_ops = { IPC_TOOL, IPC_QMGR,
	tool_message, tool_closed, NULL };

static struct sockaddr_un
socket_name(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int n = snprintf(sun.sun_path + 1, sizeof(sun.sun_path) - 1,
	    "veredus-test-qmgr-%ld", (long)getpid()); /* abstract: no file */

	assert_true(n > 0);
	return sun;
}

/* "word word ..." */
static void
ask(struct fix *f, const char *words)
{
	struct sockaddr_un sun = socket_name();
	struct slice rest = slice_of(words), word;
	struct strbuf b;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ipc_chan_free(f->tool);
	f->tool = ipc_chan_new(f->base, fd, &tool_ops, f);
	f->rows = 0;
	f->ended = false;
	strbuf_init(&b, 0);
	while (slice_word(&rest, " ", &word)) {
		(void)strbuf_add_slice(&b, word);
		(void)strbuf_add_char(&b, '\0');
	}
	ipc_begin(f->tool, IPC_CTL_ASK, 0);
	ipc_put_s(f->tool, strbuf_slice(&b));
	ipc_end(f->tool);
	strbuf_clear(&b);
}

/* -- all together ------------------------------------------------------------------- */

static void
on_marked(void *arg, uint64_t token, uint64_t qid, unsigned res,
    struct slice text)
{
	struct fix *f = arg;

	service_marked(&f->sv, token, qid, res, text);
}

static void
on_lost(void *arg, const char *peer)
{
	struct fix *f = arg;

	(void)peer;
	f->lost = true;
}

static void
on_stopped(void *arg)
{
	struct fix *f = arg;

	f->stopped = true;
}

static const struct qmgr_ops ops = { on_marked, on_lost, on_stopped };

static void
begin(struct fix *f)
{
	struct sockaddr_un sun = socket_name();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(f, 0, sizeof(*f));
	f->base = event_base_new();
	settings_init(&f->set);
	f->set.minimal_backoff_time = f->set.maximal_backoff_time = 300;
	f->set.maximal_queue_lifetime = 432000;
	f->set.qmgr_message_active_limit = 100;
	f->set.local_destination_concurrency_limit = 10;
	f->set.default_destination_concurrency_limit = 10;
	f->set.ipc_timeout = 1;
	qmgr_init(&f->q, f->base, &f->set, key, 1);
	qmgr_ops_set(&f->q, &ops, f);
	service_init(&f->sv, &f->q);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 8), 0);
	service_listen(&f->sv, fd, true);
	start_cleanup(f);
}

static void
end(struct fix *f)
{
	assert_false(f->bad_cookie);
	service_clear(&f->sv);
	qmgr_clear(&f->q);
	ipc_chan_free(f->cleanup);
	ipc_chan_free(f->agent);
	ipc_chan_free(f->tool);
	settings_clear(&f->set);
	event_base_free(f->base);
}

/* Turns of the loop until `cond', five seconds at most. */
#define WAIT(f, cond)                                                          \
	do {                                                                   \
		uint64_t end_ = qmgr_mono_ms() + 5000;                         \
		while (!(cond)) {                                              \
			if (qmgr_mono_ms() > end_) {                           \
				fail_msg("never came: %s", #cond);             \
			}                                                      \
			turn(f);                                               \
		}                                                              \
	} while (0)

static void
turn(struct fix *f)
{
	const struct timeval tv = { 0, 2000 };

	(void)event_base_loopexit(f->base, &tv);
	(void)event_base_dispatch(f->base);
}

static void
turns(struct fix *f, int n)
{
	while (n-- > 0) {
		turn(f);
	}
}

static void
test_way_of_a_message(void **state)
{
	struct fix f;

	(void)state;
	begin(&f);
	start_agent(&f);
	arrive(&f, 0, 3);
	WAIT(&f, f.ngiven == 3);
	result(&f, &f.given[0], FATE_DELIVERED);
	result(&f, &f.given[1], FATE_DELIVERED);
	result(&f, &f.given[2], FATE_DELIVERED);
	WAIT(&f, f.acks == 3);
	assert_int_equal(f.fates, 1); /* recorded together */
	assert_false(f.msgs[0].here);
	arrive(&f, 1, 1);
	WAIT(&f, f.ngiven == 4);
	assert_int_equal(f.given[3].qid, QID0 + 1);
	end(&f);
}

/* No dispatching before the agent has said what it has, nor without cleanup. */
static void
test_order_at_start(void **state)
{
	struct fix f;

	(void)state;
	begin(&f);
	f.quiet_hello = true;
	start_agent(&f);
	arrive(&f, 0, 1);
	turns(&f, 20);
	assert_int_equal(f.ngiven, 0);
	hello(&f, NULL, 0);
	WAIT(&f, f.ngiven == 1);
	end(&f);
}

/* The spool says no: the result is kept, and told again. */
static void
test_fates_refused(void **state)
{
	struct fix f;

	(void)state;
	begin(&f);
	start_agent(&f);
	f.refuse = 1;
	arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, f.fates == 1);
	turns(&f, 10);
	assert_int_equal(f.acks, 0);
	WAIT(&f, f.fates == 2); /* a second later */
	WAIT(&f, f.acks == 1);
	assert_false(f.msgs[0].here);
	end(&f);
}

/* Cleanup dies with the fates in its hands, recorded or not. */
static void
test_cleanup_dies(void **state)
{
	struct fix f;

	(void)state;
	begin(&f);
	start_agent(&f);
	arrive(&f, 0, 2);
	WAIT(&f, f.ngiven == 2);
	f.mute = true;
	f.refuse = 1; /* what it was told is forgotten */
	result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, f.fates == 1);
	ipc_chan_free(f.cleanup);
	f.cleanup = NULL;
	turns(&f, 5);
	result(&f, &f.given[1], FATE_DELIVERED); /* meanwhile */
	turns(&f, 5);
	assert_int_equal(f.acks, 0);
	f.mute = false;
	f.refuse = 0;
	start_cleanup(&f);
	WAIT(&f, f.acks == 2);
	turns(&f, 10);
	assert_int_equal(f.ngiven, 2); /* TAKE told it again: nothing twice */
	assert_false(f.msgs[0].here);
	end(&f);
}

static void
test_agent_dies(void **state)
{
	struct fix f;
	uint64_t t;

	(void)state;
	begin(&f);
	start_agent(&f);
	arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	t = qmgr_mono_ms();
	ipc_chan_free(f.agent);
	f.agent = NULL;
	turns(&f, 5);
	start_agent(&f);
	WAIT(&f, f.ngiven == 2);
	assert_true(qmgr_mono_ms() - t >= 900); /* it gets a second */
	assert_int_equal(f.given[1].attempt, 0); /* that was no attempt */
	result(&f, &f.given[1], FATE_DELIVERED);
	WAIT(&f, f.acks == 1);
	end(&f);
}

/* We died; the agent lives, still has one and has ended another. */
static void
test_qmgr_was_restarted(void **state)
{
	const struct given before[] = { { QID0, 0, 0 }, { QID0, 1, 0 },
		{ QID0 + 5, 0, 0 } };
	struct fix f;

	(void)state;
	begin(&f);
	f.quiet_hello = true;
	start_agent(&f);
	hello(&f, before, 3);
	result(&f, &before[1], FATE_DELIVERED);
	result(&f, &before[2], FATE_DELIVERED); /* long recorded, and gone */
	arrive(&f, 0, 3);
	WAIT(&f, f.acks == 2);
	assert_int_equal(f.msgs[0].done, 1);
	result(&f, &before[0], FATE_DELIVERED);
	WAIT(&f, f.ngiven == 1);
	assert_int_equal(f.given[0].index, 2); /* the only one that it had not */
	result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, !f.msgs[0].here && f.acks == 4);
	end(&f);
}

/* A failure: on hold, seen, released, deleted. */
static void
test_service(void **state)
{
	struct fix f;
	char id[QID_TEXT + 1], words[100];

	(void)state;
	begin(&f);
	start_agent(&f);
	qid_format(QID0, id);
	ask(&f, "list");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 0);
	arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	ask(&f, "list");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 1);
	assert_int_equal(f.exit, 0);
	assert_non_null(memmem(f.row, sizeof(f.row), id, QID_TEXT));
	assert_non_null(memmem(f.row, sizeof(f.row), "active", 6));
	result(&f, &f.given[0], FATE_FAILED);
	WAIT(&f, f.msgs[0].hold);
	assert_string_equal(f.msgs[0].esc[0], "5.1.1");
	ask(&f, "list status=hold recipient=example.net");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 1);
	assert_non_null(memmem(f.row, sizeof(f.row), "by hand", 7));
	ask(&f, "list sender=nobody@example.org");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 0);
	assert_true(snprintf(words, sizeof(words), "flush %s", id) > 0);
	ask(&f, words);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 75);
	assert_non_null(strstr(f.text, "is on hold"));
	assert_true(snprintf(words, sizeof(words), "release %s", id) > 0);
	ask(&f, words);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 0);
	WAIT(&f, f.ngiven == 2); /* tried again at once */
	assert_true(snprintf(words, sizeof(words), "delete %s", id) > 0);
	ask(&f, words);
	WAIT(&f, f.ended);
	assert_non_null(strstr(f.text, "deleted; in flight, and perhaps "
	    "delivered all the same: 1"));
	result(&f, &f.given[1], FATE_DELIVERED);
	WAIT(&f, f.acks == 2);
	ask(&f, words);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 66);
	end(&f);
}

static void
test_service_bad_words(void **state)
{
	static const char *const bad[] = { "delete", "delete xyz", "hold id=5",
		"list status=lost", "list colour=red", "nonsense", "count x",
		"release all x" };
	struct fix f;
	size_t i;

	(void)state;
	begin(&f);
	for (i = 0; i < NELEMS(bad); i++) {
		ask(&f, bad[i]);
		WAIT(&f, f.ended);
		assert_int_equal(f.exit, 64);
	}
	ask(&f, "hold all");
	WAIT(&f, f.ended);
	assert_string_equal(f.text, "0 messages on hold");
	ask(&f, "count");
	WAIT(&f, f.ended);
	assert_int_equal(f.rows, 1);
	end(&f);
}

/* A question that cleanup does not answer in time ends, and is asked again. */
static void
test_deadline(void **state)
{
	struct fix f;

	(void)state;
	begin(&f);
	start_agent(&f);
	arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	f.mute = true;
	f.refuse = 100;
	ask(&f, "list");
	result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, f.ended);
	assert_int_equal(f.exit, 75);
	WAIT(&f, f.fates >= 2);
	f.mute = false;
	f.refuse = 0;
	WAIT(&f, f.acks == 1);
	end(&f);
}

static void
test_stop(void **state)
{
	struct fix f;

	(void)state;
	begin(&f);
	start_agent(&f);
	arrive(&f, 0, 1);
	WAIT(&f, f.ngiven == 1);
	qmgr_stop(&f.q, 5000);
	arrive(&f, 1, 1);
	turns(&f, 10);
	assert_false(f.stopped);
	result(&f, &f.given[0], FATE_DELIVERED);
	WAIT(&f, f.stopped);
	assert_false(f.msgs[0].here);
	assert_int_equal(f.ngiven, 1);
	end(&f);
}

static void
test_peer_lost(void **state)
{
	struct fix f;

	(void)state;
	begin(&f);
	ipc_chan_free(f.cleanup);
	f.cleanup = NULL;
	WAIT(&f, f.lost);
	end(&f);
}

/* What makes no sense closes that channel, and nothing else. */
enum bad_kind {
	BAD_RESULT_EARLY,
	BAD_RESULT_FATE,
	BAD_RESULT_ATTEMPT,
	BAD_HELLO_SIZE,
	BAD_HELLO_TWICE,
	BAD_ENTRY_PAGE,
	BAD_TAKEN,
	BADS
};

static void
do_bad(struct fix *f, enum bad_kind kind)
{
	struct given g;

	switch (kind) {
	case BAD_RESULT_EARLY:
		result(f, &(struct given){ QID0, 0, 0 }, FATE_DELIVERED);
		break;
	case BAD_RESULT_FATE:
		result(f, &(struct given){ QID0, 0, 0 }, FATE_EXPANDED);
		break;
	case BAD_RESULT_ATTEMPT:
		WAIT(f, f->ngiven == 1);
		g = f->given[0];
		g.attempt += 7;
		result(f, &g, FATE_DELIVERED);
		break;
	case BAD_HELLO_SIZE:
		ipc_begin(f->agent, IPC_AGENT_HELLO, 0);
		ipc_put_str(f->agent, "seventeen octets.");
		ipc_end(f->agent);
		break;
	case BAD_HELLO_TWICE:
		hello(f, NULL, 0);
		break;
	case BAD_ENTRY_PAGE:
		f->bad_page = true;
		arrive(f, 1, 1);
		break;
	case BAD_TAKEN:
		ipc_begin(f->cleanup, IPC_TAKEN, 999);
		ipc_put_u(f->cleanup, 1);
		ipc_end(f->cleanup);
		break;
	case BADS:
		break;
	}
}

static void
test_bad_messages(void **state)
{
	unsigned k;
	struct fix f;

	(void)state;
	for (k = 0; k < BADS; k++) {
		begin(&f);
		f.quiet_hello = k == BAD_RESULT_EARLY || k == BAD_HELLO_SIZE;
		start_agent(&f);
		WAIT(&f, f.taking);
		if (k == BAD_RESULT_ATTEMPT) {
			arrive(&f, 0, 1);
		}
		do_bad(&f, (enum bad_kind)k);
		if (k == BAD_ENTRY_PAGE || k == BAD_TAKEN) {
			WAIT(&f, f.cleanup_closed);
			assert_false(f.agent_closed);
		} else {
			WAIT(&f, f.agent_closed);
			assert_false(f.cleanup_closed);
		}
		end(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_way_of_a_message),
		cmocka_unit_test(test_order_at_start),
		cmocka_unit_test(test_fates_refused),
		cmocka_unit_test(test_cleanup_dies),
		cmocka_unit_test(test_agent_dies),
		cmocka_unit_test(test_qmgr_was_restarted),
		cmocka_unit_test(test_service),
		cmocka_unit_test(test_service_bad_words),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_peer_lost),
		cmocka_unit_test(test_bad_messages),
	};

	log_setup("test_qmgr", false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
