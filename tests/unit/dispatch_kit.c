#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/envelope.h"
#include "common/log.h"
#include "tests/unit/unit.h"
#include "tests/unit/dispatch_kit.h"

/* -- the stage --------------------------------------------------------------------- */

uint64_t
now_us(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void
turn(struct world *w)
{
	struct timespec pause = { 0, 500000 };

	(void)event_base_loop(w->base, EVLOOP_NONBLOCK);
	(void)nanosleep(&pause, NULL);
	(void)event_base_loop(w->base, EVLOOP_NONBLOCK);
}

int
pair(int type, int *theirs)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv), 0);
	*theirs = sv[1];
	return sv[0];
}

void
join_qmgr(struct world *w)
{
	ipc_sync_clear(&w->qmgr);
	w->qmgr = (struct ipc_sync){ .me = IPC_QMGR, .peer = IPC_LOCAL };
	dispatch_qmgr(w->d, pair(SOCK_STREAM, &w->qmgr.fd));
}

void
join_cleanup(struct world *w)
{
	ipc_sync_clear(&w->cleanup);
	w->cleanup = (struct ipc_sync){ .me = IPC_CLEANUP, .peer = IPC_LOCAL };
	dispatch_cleanup(w->d, pair(SOCK_STREAM, &w->cleanup.fd));
}

void
join_forker(struct world *w)
{
	if (w->forker != -1) {
		(void)close(w->forker);
	}
	dispatch_forker(w->d, pair(SOCK_SEQPACKET, &w->forker));
}

/* The next message to one of us, or NULL at the end of the channel. */
static bool
hear(struct world *w, struct ipc_sync *c, struct ipc_msg *m)
{
	int i, r;

	for (i = 0; i < PATIENCE_MS; i++) {
		r = ipc_sync_read(c, m, 0);
		if (r >= 0) {
			return r == 1;
		}
		if (errno == ECONNRESET) {
			return false;
		}
		assert_int_equal(errno, ETIMEDOUT);
		turn(w);
	}
	fail_msg("nothing heard");
	return false;
}

void
expect(struct world *w, struct ipc_sync *c, enum ipc_type type,
    struct ipc_msg *m)
{
	assert_true(hear(w, c, m));
	if (m->type != type) {
		fail_msg("%s instead of %s", ipc_type_name(m->type),
		    ipc_type_name(type));
	}
}

void
expect_silence(struct world *w, struct ipc_sync *c)
{
	struct ipc_msg m;
	int i;

	for (i = 0; i < 20; i++) {
		turn(w);
	}
	if (ipc_sync_read(c, &m, 0) == 1) {
		fail_msg("heard %s", ipc_type_name(m.type));
	}
	assert_int_equal(errno, ETIMEDOUT);
}

void
expect_end(struct world *w, struct ipc_sync *c)
{
	struct ipc_msg m;

	assert_false(hear(w, c, &m));
}

static bool
record_there(struct world *w, struct record *r)
{
	char b[RECORD_SIZE + 1];
	ssize_t n = recv(w->forker, b, sizeof(b), MSG_DONTWAIT);

	if (n == -1) {
		assert_int_equal(errno, EAGAIN);
		return false;
	}
	assert_true(record_decode(slice_make(b, (size_t)n), r));
	return true;
}

void
expect_record(struct world *w, enum record_kind kind, const char *name,
    struct record *r)
{
	int i;

	for (i = 0; i < PATIENCE_MS; i++) {
		if (record_there(w, r)) {
			assert_int_equal(r->kind, kind);
			assert_string_equal(r->name, name);
			return;
		}
		turn(w);
	}
	fail_msg("no record for %s", name);
}

void
expect_no_record(struct world *w)
{
	struct record r;
	int i;

	for (i = 0; i < 20; i++) {
		turn(w);
		assert_false(record_there(w, &r));
	}
}

void
answer(struct world *w, uint32_t serial, enum record_status status, int fd)
{
	const struct record_answer a = { status, serial };
	char b[RECORD_SIZE];
	struct iovec iov = { b, sizeof(b) };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cm;

	record_answer_encode(&a, b);
	if (fd != -1) {
		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = ctl.room;
		mh.msg_controllen = sizeof(ctl.room);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	}
	assert_int_equal(sendmsg(w->forker, &mh, 0), RECORD_SIZE);
	if (fd != -1) {
		(void)close(fd);
	}
}

/* Play the forker: a worker for `name', whose end is ours. */
struct ipc_sync
hire(struct world *w, const char *name)
{
	struct ipc_sync c = { .me = IPC_WORKER, .peer = IPC_LOCAL };
	struct record r;

	expect_record(w, RECORD_WORKER, name, &r);
	answer(w, r.serial, RECORD_OK, pair(SOCK_STREAM, &c.fd));
	return c;
}

/* -- lines of the play ---------------------------------------------------------------- */

void
deliver(struct world *w, const struct mail *m)
{
	struct slice rest = slice_of(m->users), user;
	struct rcpt_item r = { .index = m->first, .attempt = m->attempt,
		.fate = FATE_NONE };
	struct strbuf b, rcpts;
	struct ipc_build ib;
	char address[80];

	strbuf_init(&b, 0);
	strbuf_init(&rcpts, 0);
	while (slice_word(&rest, " ", &user)) {
		assert_true(snprintf(address, sizeof(address), "%.*s@x.test",
		    SLF(user)) < (int)sizeof(address));
		r.address = r.original = slice_of(address);
		r.transport = slice_of(m->transport != NULL ? m->transport :
		    "local");
		r.next_hop = user;
		r.extension = r.esc = r.reply = SL("");
		rcpt_item_encode(&r, &rcpts);
		r.index++;
	}
	ipc_build_begin(&ib, &b, IPC_DELIVER, 0);
	ipc_build_u(&ib, m->qid);
	ipc_build_u(&ib, m->qid + 1000);
	ipc_build_u(&ib, m->arrived_us);
	ipc_build_u(&ib, m->size);
	ipc_build_u(&ib, 3);
	ipc_build_s(&ib, slice_of(m->reverse_path != NULL ? m->reverse_path :
	    "s@y.test"));
	ipc_build_s(&ib, strbuf_slice(&rcpts));
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(w->qmgr.fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
	strbuf_clear(&rcpts);
}

void
deliver_to(struct world *w, uint64_t qid, const char *users)
{
	const struct mail m = { .qid = qid, .arrived_us = now_us(), .size = 6,
		.users = users };

	deliver(w, &m);
}

void
ack(struct world *w, uint64_t qid, uint32_t index, uint32_t attempt)
{
	struct ipc_build ib;
	struct strbuf b;

	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_RESULT_ACK, 0);
	ipc_build_u(&ib, qid);
	ipc_build_u(&ib, index);
	ipc_build_u(&ib, attempt);
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(w->qmgr.fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
}

/* Answer the next FETCH, which must be for `qid'. */
void
fetched(struct world *w, uint64_t qid)
{
	struct ipc_build ib;
	struct ipc_msg m;
	struct strbuf b;

	expect(w, &w->cleanup, IPC_FETCH, &m);
	assert_int_equal(ipc_u(&m, 0), qid);
	assert_int_equal(ipc_u(&m, 1), qid + 1000);
	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_FETCHED, m.tid);
	ipc_build_u(&ib, 6);
	ipc_build_u(&ib, 3);
	ipc_build_s(&ib, SL("a: b\r\n"));
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(w->cleanup.fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
}

void
fetch_fails(struct world *w, uint64_t gone)
{
	struct ipc_build ib;
	struct ipc_msg m;
	struct strbuf b;

	expect(w, &w->cleanup, IPC_FETCH, &m);
	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_FETCH_FAILED, m.tid);
	ipc_build_u(&ib, gone);
	ipc_build_s(&ib, SL("no\nsuch"));
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(w->cleanup.fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
}

void
job_result_as(struct ipc_sync *c, uint32_t tid, uint64_t qid, uint64_t index,
    enum fate fate)
{
	struct ipc_build ib;
	struct strbuf b;

	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_JOB_RESULT, tid);
	ipc_build_u(&ib, qid);
	ipc_build_u(&ib, index);
	ipc_build_u(&ib, (uint64_t)fate);
	ipc_build_s(&ib, SL("2.0.0"));
	ipc_build_s(&ib, SL("done"));
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(c->fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
}

void
refuse(struct ipc_sync *c, enum fate fate, const char *esc)
{
	struct ipc_build ib;
	struct strbuf b;

	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_WORKER_FAILED, 0);
	ipc_build_u(&ib, (uint64_t)fate);
	ipc_build_s(&ib, slice_of(esc));
	ipc_build_s(&ib, SL("no such user"));
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(c->fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
}

/* The worker takes a job and says that it is done. */
void
work(struct world *w, struct ipc_sync *c, uint64_t qid, uint64_t index)
{
	struct ipc_msg m;

	expect(w, c, IPC_JOB, &m);
	assert_int_equal(ipc_u(&m, 0), qid);
	assert_int_equal(ipc_u(&m, 1), index);
	assert_slice(ipc_s(&m, 10), "a: b\r\n");
	job_result_as(c, m.tid, qid, index, FATE_DELIVERED);
}

void
expect_result(struct world *w, uint64_t qid, uint64_t index, enum fate fate,
    const char *text)
{
	struct ipc_msg m;

	expect(w, &w->qmgr, IPC_RESULT, &m);
	assert_int_equal(ipc_u(&m, 0), qid);
	assert_int_equal(ipc_u(&m, 1), index);
	assert_int_equal(ipc_u(&m, 3), fate);
	assert_slice(ipc_s(&m, 5), text);
	assert_slice(ipc_s(&m, 6), "local");
}

void
expect_hello(struct world *w, size_t known)
{
	struct ipc_msg m;
	size_t n = 0;

	for (;;) {
		assert_true(hear(w, &w->qmgr, &m));
		if (m.type == IPC_AGENT_HELLO_END) {
			break;
		}
		assert_int_equal(m.type, IPC_AGENT_HELLO);
		n += ipc_s(&m, 0).n / 16;
	}
	assert_int_equal(n, known);
}

int
raise_curtain(void **state)
{
	static struct world w;

	log_setup(NULL, false);
	w = (struct world){ .forker = -1 };
	w.qmgr.fd = w.cleanup.fd = -1;
	w.base = event_base_new();
	assert_non_null(w.base);
	settings_init(&w.settings);
	w.settings.local_process_limit = 50;
	w.settings.local_worker_idle = 100;
	w.settings.local_delivery_timeout = 100;
	w.settings.ipc_timeout = 100;
	w.d = dispatch_new(w.base, &w.settings);
	join_qmgr(&w);
	join_cleanup(&w);
	join_forker(&w);
	expect_hello(&w, 0);
	*state = &w;
	return 0;
}

int
drop_curtain(void **state)
{
	struct world *w = *state;

	dispatch_free(w->d);
	ipc_sync_clear(&w->qmgr);
	ipc_sync_clear(&w->cleanup);
	(void)close(w->forker);
	settings_clear(&w->settings);
	event_base_free(w->base);
	return 0;
}
