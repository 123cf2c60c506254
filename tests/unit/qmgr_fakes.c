#include "config.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/codec.h"
#include "tests/unit/qmgr_fakes.h"

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
		if (m->fate[r] != FATE_NONE && m->fate[r] != FATE_DEFERRED) {
			continue;
		}
		it = (struct rcpt_item){ r, m->attempts[r], m->fate[r],
			m->next_at[r], SL("ann@example.net"),
			SL("crew@example.net"), SL("local"),
			r % 2 == 0 ? SL("ann") : SL("ben"), SL(""),
			slice_of(m->esc[r]), SL("said so"), SL(""), false };
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
	ipc_put_u(f->cleanup, 0);
	ipc_end(f->cleanup);
	strbuf_clear(&page);
}

void
fake_scanned(struct fix *f, uint64_t qid)
{
	ipc_begin(f->cleanup, IPC_SCANNED, 0);
	ipc_put_u(f->cleanup, qid);
	ipc_end(f->cleanup);
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
	if (!f->scanning) {
		fake_scanned(f, UINT64_MAX);
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
answer_mark(struct fix *f, const struct fake_mark *k)
{
	uint64_t i = k->qid - QID0;
	bool here = i < MSGS && f->msgs[i].here;

	if (here && k->what == IPC_MARK_HOLD) {
		f->msgs[i].hold = true;
	} else if (here && k->what == IPC_MARK_RELEASE) {
		f->msgs[i].hold = false;
	} else if (k->what == IPC_MARK_CRASHED) {
		f->crashes++;
	} else if (here) {
		f->msgs[i].here = false;
	}
	ipc_begin(f->cleanup, IPC_MARKED, k->tid);
	ipc_put_u(f->cleanup, k->qid);
	ipc_put_u(f->cleanup, here ? 0 : 1);
	ipc_put_str(f->cleanup, "");
	ipc_end(f->cleanup);
}

static void
take_mark(struct fix *f, const struct ipc_msg *m)
{
	const struct fake_mark k = { ipc_u(m, 0), ipc_u(m, 1), m->tid };

	f->marks += k.what != IPC_MARK_CRASHED;
	if (f->keep_marks) {
		assert_true(f->nkept < MSGS);
		f->kept[f->nkept++] = k;
	} else {
		answer_mark(f, &k);
	}
}

void
fake_marked(struct fix *f)
{
	assert_true(f->nkept > 0);
	answer_mark(f, &f->kept[--f->nkept]);
}

static void
answer_notice(struct fix *f, const struct ipc_msg *m)
{
	struct fake_msg *msg = &f->msgs[ipc_u(m, 0) - QID0];
	unsigned i;

	f->notices++;
	for (i = 0; i < msg->n && f->notice_error == 0; i++) {
		if (msg->fate[i] == FATE_DEFERRED && msg->esc[i][0] == '5') {
			msg->fate[i] = FATE_FAILED;
			msg->done++;
		}
	}
	msg->here = msg->done < msg->n;
	ipc_begin(f->cleanup, IPC_NOTICED, m->tid);
	ipc_put_u(f->cleanup, ipc_u(m, 0));
	ipc_put_u(f->cleanup, ipc_u(m, 1));
	ipc_put_u(f->cleanup, f->notice_error);
	ipc_put_u(f->cleanup, !msg->here);
	ipc_put_str(f->cleanup, f->notice_error > 0 ? "so it is" : "");
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
	case IPC_NOTICE:
		answer_notice(f, m);
		return true;
	case IPC_MARK:
		take_mark(f, m);
		return true;
	case IPC_LOAD:
		ipc_begin(f->cleanup, IPC_LOADED, m->tid);
		ipc_put_u(f->cleanup, 0);
		ipc_put_str(f->cleanup, "");
		ipc_end(f->cleanup);
		return true;
	case IPC_KEEP:
		ipc_begin(f->cleanup, IPC_KEPT, m->tid);
		ipc_put_u(f->cleanup, 0);
		ipc_put_str(f->cleanup, "");
		ipc_end(f->cleanup);
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

void
fake_start_cleanup(struct fix *f)
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

void
fake_arrive(struct fix *f, unsigned i, unsigned n)
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

void
fake_hello(struct fix *f, const struct given *running, unsigned n)
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

void
fake_start_agent(struct fix *f)
{
	int theirs;

	f->agent = ipc_chan_new(f->base, pair(&theirs), &agent_ops, f);
	qmgr_agent_channel(&f->q, SCHED_LOCAL, theirs);
	if (!f->quiet_hello) {
		fake_hello(f, NULL, 0);
	}
}

void
fake_result(struct fix *f, const struct given *g, unsigned fate)
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
	ipc_put_u(f->agent, 0);
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
void
fake_ask(struct fix *f, const char *words)
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


static void
on_kept(void *arg, struct slice text)
{
	struct fix *f = arg;

	service_kept(&f->sv, text);
}

static void
on_scanned(void *arg)
{
	struct fix *f = arg;

	service_scanned(&f->sv);
}

static const struct qmgr_ops ops = {
	.marked = on_marked,
	.kept = on_kept,
	.scanned = on_scanned,
	.lost = on_lost,
	.stopped = on_stopped,
};

void
fake_begin(struct fix *f)
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
	f->set.smtp_destination_concurrency_limit = 10;
	f->set.smtp_initial_destination_concurrency = 5;
	f->set.ipc_timeout = 1;
	qmgr_init(&f->q, f->base, &f->set, key, 1);
	qmgr_ops_set(&f->q, &ops, f);
	service_init(&f->sv, &f->q);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 8), 0);
	service_listen(&f->sv, fd, true);
	fake_start_cleanup(f);
}

void
fake_end(struct fix *f)
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

void
fake_turn(struct fix *f)
{
	const struct timeval tv = { 0, 2000 };

	(void)event_base_loopexit(f->base, &tv);
	(void)event_base_dispatch(f->base);
}

void
fake_turns(struct fix *f, int n)
{
	while (n-- > 0) {
		fake_turn(f);
	}
}
