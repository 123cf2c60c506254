/* local's dispatcher between a qmgr, a cleanup, a forker and workers that are
   played here, in one process. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/codec.h"
#include "common/envelope.h"
#include "common/ipc.h"
#include "common/log.h"
#include "local/dispatch.h"
#include "local/outcome.h"
#include "local/record.h"
#include "tests/unit/unit.h"

#define PATIENCE_MS 5000

struct world {
	struct event_base *base;
	struct settings settings;
	struct dispatch *d;
	struct ipc_sync qmgr, cleanup;
	int forker;
	bool stopped;
	const char *lost;
};

/* -- the stage --------------------------------------------------------------------- */

static uint64_t
now_us(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_REALTIME, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void
turn(struct world *w)
{
	struct timespec pause = { 0, 500000 };

	(void)event_base_loop(w->base, EVLOOP_NONBLOCK);
	(void)nanosleep(&pause, NULL);
	(void)event_base_loop(w->base, EVLOOP_NONBLOCK);
}

static int
pair(int type, int *theirs)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv), 0);
	*theirs = sv[1];
	return sv[0];
}

static void
join_qmgr(struct world *w)
{
	ipc_sync_clear(&w->qmgr);
	w->qmgr = (struct ipc_sync){ .me = IPC_QMGR, .peer = IPC_LOCAL };
	dispatch_qmgr(w->d, pair(SOCK_STREAM, &w->qmgr.fd));
}

static void
join_cleanup(struct world *w)
{
	ipc_sync_clear(&w->cleanup);
	w->cleanup = (struct ipc_sync){ .me = IPC_CLEANUP, .peer = IPC_LOCAL };
	dispatch_cleanup(w->d, pair(SOCK_STREAM, &w->cleanup.fd));
}

static void
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

static void
expect(struct world *w, struct ipc_sync *c, enum ipc_type type,
    struct ipc_msg *m)
{
	assert_true(hear(w, c, m));
	if (m->type != type) {
		fail_msg("%s instead of %s", ipc_type_name(m->type),
		    ipc_type_name(type));
	}
}

static void
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

static void
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

static void
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

static void
expect_no_record(struct world *w)
{
	struct record r;
	int i;

	for (i = 0; i < 20; i++) {
		turn(w);
		assert_false(record_there(w, &r));
	}
}

static void
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
static struct ipc_sync
hire(struct world *w, const char *name)
{
	struct ipc_sync c = { .me = IPC_WORKER, .peer = IPC_LOCAL };
	struct record r;

	expect_record(w, RECORD_WORKER, name, &r);
	answer(w, r.serial, RECORD_OK, pair(SOCK_STREAM, &c.fd));
	return c;
}

/* -- lines of the play ---------------------------------------------------------------- */

struct mail {
	uint64_t qid, arrived_us, size;
	uint32_t attempt, first;
	const char *users; /* each a recipient: "ann ben" */
	const char *transport, *reverse_path;
};

static void
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

static void
deliver_to(struct world *w, uint64_t qid, const char *users)
{
	const struct mail m = { .qid = qid, .arrived_us = now_us(), .size = 6,
		.users = users };

	deliver(w, &m);
}

static void
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
static void
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

static void
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

static void
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

static void
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
static void
work(struct world *w, struct ipc_sync *c, uint64_t qid, uint64_t index)
{
	struct ipc_msg m;

	expect(w, c, IPC_JOB, &m);
	assert_int_equal(ipc_u(&m, 0), qid);
	assert_int_equal(ipc_u(&m, 1), index);
	assert_slice(ipc_s(&m, 10), "a: b\r\n");
	job_result_as(c, m.tid, qid, index, FATE_DELIVERED);
}

static void
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

static void
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

static int
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

static int
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

/* -- the plays ------------------------------------------------------------------------ */

static void
delivers(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann, ben;

	deliver_to(w, 7, "ann ben");
	ann = hire(w, "ann");
	ben = hire(w, "ben");
	fetched(w, 7); /* one fetch for both */
	work(w, &ann, 7, 0);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	work(w, &ben, 7, 1);
	expect_result(w, 7, 1, FATE_DELIVERED, "done");
	expect_silence(w, &w->cleanup);
	/* The worker is there for the next one. */
	deliver_to(w, 8, "ann");
	fetched(w, 8);
	work(w, &ann, 8, 0);
	expect_result(w, 8, 0, FATE_DELIVERED, "done");
	expect_no_record(w);
	ipc_sync_clear(&ann);
	ipc_sync_clear(&ben);
}

static void
does_nothing_twice(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;
	struct ipc_msg m;

	deliver_to(w, 7, "ann");
	deliver_to(w, 7, "ann"); /* queued */
	ann = hire(w, "ann");
	deliver_to(w, 7, "ann");
	fetched(w, 7);
	expect(w, &ann, IPC_JOB, &m);
	deliver_to(w, 7, "ann"); /* in the worker's hands */
	expect_silence(w, &ann);
	job_result_as(&ann, m.tid, 7, 0, FATE_DELIVERED);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	deliver_to(w, 7, "ann"); /* done, not acknowledged: told again */
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	expect_silence(w, &ann);
	ack(w, 7, 0, 0);
	deliver_to(w, 7, "ann"); /* forgotten: this is a new one */
	fetched(w, 7);
	work(w, &ann, 7, 0);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
}

static void
survives_qmgr(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann, ben;
	struct ipc_msg m;

	deliver_to(w, 7, "ann ben cat");
	ann = hire(w, "ann");
	ben = hire(w, "ben");
	fetched(w, 7);
	work(w, &ann, 7, 0);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	expect(w, &ben, IPC_JOB, &m);
	join_qmgr(w);
	expect_hello(w, 3);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	ack(w, 7, 0, 0);
	/* A result while qmgr is away is told when it is back. */
	ipc_sync_clear(&w->qmgr);
	turn(w);
	job_result_as(&ben, m.tid, 7, 1, FATE_DELIVERED);
	turn(w);
	turn(w);
	join_qmgr(w);
	expect_hello(w, 2);
	expect_result(w, 7, 1, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
	ipc_sync_clear(&ben);
}

static void
survives_cleanup(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;
	struct ipc_msg m;

	deliver_to(w, 7, "ann");
	ann = hire(w, "ann");
	expect(w, &w->cleanup, IPC_FETCH, &m);
	ipc_sync_clear(&w->cleanup);
	turn(w);
	deliver_to(w, 8, "ann");
	turn(w);
	turn(w);
	join_cleanup(w);
	fetched(w, 7);
	fetched(w, 8);
	work(w, &ann, 7, 0);
	work(w, &ann, 8, 0);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	expect_result(w, 8, 0, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
}

static void
survives_forker(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann, ben;
	struct record r;

	deliver_to(w, 7, "ann ben");
	ann = hire(w, "ann");
	expect_record(w, RECORD_WORKER, "ben", &r);
	(void)close(w->forker);
	w->forker = -1;
	turn(w);
	fetched(w, 7);
	work(w, &ann, 7, 0); /* the workers that are there go on */
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	join_forker(w);
	ben = hire(w, "ben");
	work(w, &ben, 7, 1);
	expect_result(w, 7, 1, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
	ipc_sync_clear(&ben);
}

static void
defers_without_content(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann, ben;

	deliver_to(w, 7, "ann ben");
	ann = hire(w, "ann");
	ben = hire(w, "ben");
	fetch_fails(w, 1);
	expect_result(w, 7, 0, FATE_DEFERRED, "the content: no?such");
	expect_result(w, 7, 1, FATE_DEFERRED, "the content: no?such");
	w->settings.ipc_timeout = 1;
	deliver_to(w, 8, "ann");
	expect_result(w, 8, 0, FATE_DEFERRED,
	    "the queue did not hand out the content in time");
	/* Too late is never: the answer finds nothing. */
	fetched(w, 8);
	expect_silence(w, &ann);
	ipc_sync_clear(&ann);
	ipc_sync_clear(&ben);
}

/* Once more, by a fresh worker who looks what there is; then it is deferred. */
static void
tries_again_when_a_worker_dies(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;
	struct ipc_msg m;

	deliver_to(w, 7, "ann");
	deliver_to(w, 8, "ann");
	ann = hire(w, "ann");
	fetched(w, 7);
	expect(w, &ann, IPC_JOB, &m);
	ipc_sync_clear(&ann);
	ann = hire(w, "ann");
	fetched(w, 8); /* was asked for, and is still wanted */
	expect(w, &ann, IPC_JOB, &m);
	assert_int_equal(ipc_u(&m, 0), 8);
	assert_int_equal(ipc_u(&m, 2), 1);
	fetched(w, 7);
	expect(w, &ann, IPC_JOB, &m);
	assert_int_equal(ipc_u(&m, 0), 7);
	assert_int_equal(ipc_u(&m, 2), 1);
	expect_silence(w, &w->qmgr);
	ipc_sync_clear(&ann);
	expect_result(w, 8, 0, FATE_DEFERRED, "the delivery worker died");
	expect_result(w, 7, 0, FATE_DEFERRED, "the delivery worker died");
	deliver_to(w, 9, "ann");
	ann = hire(w, "ann");
	fetched(w, 9);
	work(w, &ann, 9, 0);
	expect_result(w, 9, 0, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
}

static void
gives_up_a_silent_worker(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;
	struct record r;
	struct ipc_msg m;

	w->settings.local_delivery_timeout = 1;
	deliver_to(w, 7, "ann");
	ann = hire(w, "ann");
	fetched(w, 7);
	expect(w, &ann, IPC_JOB, &m);
	expect_result(w, 7, 0, FATE_DEFERRED, "the delivery took too long");
	expect_record(w, RECORD_KILL, "", &r);
	expect_end(w, &ann);
	ipc_sync_clear(&ann);
	/* One that never starts is given up too; a late one is not used. */
	w->settings.ipc_timeout = 1;
	deliver_to(w, 8, "ann");
	expect_record(w, RECORD_WORKER, "ann", &r);
	fetched(w, 8);
	expect_result(w, 8, 0, FATE_DEFERRED,
	    "no delivery worker was started in time");
	ann = (struct ipc_sync){ .me = IPC_WORKER, .peer = IPC_LOCAL };
	answer(w, r.serial, RECORD_OK, pair(SOCK_STREAM, &ann.fd));
	expect_end(w, &ann);
	ipc_sync_clear(&ann);
}

static void
asks_a_worker_that_may_not_be(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;

	deliver_to(w, 7, "ann");
	deliver_to(w, 8, "ann");
	ann = hire(w, "ann");
	refuse(&ann, FATE_FAILED, "5.1.1");
	expect_result(w, 7, 0, FATE_FAILED, "no such user");
	expect_result(w, 8, 0, FATE_FAILED, "no such user");
	expect_end(w, &ann);
	ipc_sync_clear(&ann);
	deliver_to(w, 9, "ann");
	ann = hire(w, "ann");
	refuse(&ann, FATE_DELIVERED, "2.0.0"); /* not its to say */
	expect_end(w, &ann);
	ipc_sync_clear(&ann);
}

static void
hears_that_the_forker_cannot(void **state)
{
	struct world *w = *state;
	struct record r;

	deliver_to(w, 7, "ann");
	expect_record(w, RECORD_WORKER, "ann", &r);
	answer(w, r.serial, RECORD_BUSY, -1);
	expect_result(w, 7, 0, FATE_DEFERRED,
	    "no process for the delivery can be had");
}

static void
keeps_to_the_limit(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann, ben, cat;

	w->settings.local_process_limit = 2;
	deliver_to(w, 7, "ann ben cat");
	ann = hire(w, "ann");
	ben = hire(w, "ben");
	expect_no_record(w);
	fetched(w, 7);
	work(w, &ben, 7, 1); /* ben is idle first, and makes room */
	expect_result(w, 7, 1, FATE_DELIVERED, "done");
	expect_end(w, &ben);
	cat = hire(w, "cat");
	fetched(w, 7); /* nobody had kept it */
	work(w, &ann, 7, 0);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	work(w, &cat, 7, 2);
	expect_result(w, 7, 2, FATE_DELIVERED, "done");
	/* Both are idle, ann longer. */
	deliver_to(w, 8, "ben");
	expect_end(w, &ann);
	ipc_sync_clear(&ben);
	ben = hire(w, "ben");
	deliver_to(w, 9, "cat");
	fetched(w, 8);
	fetched(w, 9);
	work(w, &cat, 9, 0);
	expect_result(w, 9, 0, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
	ipc_sync_clear(&ben);
	ipc_sync_clear(&cat);
}

static void
serves_in_order(void **state)
{
	struct world *w = *state;
	static const char *const names[] = { "u1", "u2", "u3", "u4", "u5" };
	struct ipc_sync c;
	size_t i;

	w->settings.local_process_limit = 1;
	deliver_to(w, 7, "u1 u2 u3 u4 u5");
	deliver_to(w, 8, "u1");
	for (i = 0; i < NELEMS(names); i++) {
		c = hire(w, names[i]);
		fetched(w, 7);
		if (i == 0) {
			fetched(w, 8);
		}
		work(w, &c, 7, i);
		expect_result(w, 7, i, FATE_DELIVERED, "done");
		if (i == 0) {
			work(w, &c, 8, 0);
			expect_result(w, 8, 0, FATE_DELIVERED, "done");
		}
		if (i + 1 < NELEMS(names)) {
			expect_end(w, &c);
		}
		ipc_sync_clear(&c);
	}
}

/* A user who always has mail does not keep the others out. */
static void
shares(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann, ben;
	uint64_t i, n = DISPATCH_SHARE + 5;

	w->settings.local_process_limit = 1;
	for (i = 0; i < n; i++) {
		deliver_to(w, 1000 + i, "ann");
		turn(w);
	}
	deliver_to(w, 7, "ben");
	ann = hire(w, "ann");
	for (i = 0; i < DISPATCH_SHARE; i++) {
		fetched(w, 1000 + i);
		work(w, &ann, 1000 + i, 0);
		expect_result(w, 1000 + i, 0, FATE_DELIVERED, "done");
	}
	expect_end(w, &ann);
	ben = hire(w, "ben");
	fetched(w, 7);
	work(w, &ben, 7, 0);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
	ann = hire(w, "ann");
	for (; i < n; i++) {
		fetched(w, 1000 + i);
		work(w, &ann, 1000 + i, 0);
		expect_result(w, 1000 + i, 0, FATE_DELIVERED, "done");
	}
	ipc_sync_clear(&ann);
	ipc_sync_clear(&ben);
}

static void
ends_idle_workers(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;

	w->settings.local_worker_idle = 1;
	deliver_to(w, 7, "ann");
	ann = hire(w, "ann");
	fetched(w, 7);
	work(w, &ann, 7, 0);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	expect_end(w, &ann);
	expect_no_record(w);
	ipc_sync_clear(&ann);
}

/* After a reload each user gets a fresh worker, when the old has done. */
static void
replaces_workers_after_a_reload(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann, ben, cat;
	struct ipc_msg m;

	deliver_to(w, 7, "ann ben");
	ann = hire(w, "ann");
	ben = hire(w, "ben");
	fetched(w, 7);
	work(w, &ben, 7, 1);
	expect_result(w, 7, 1, FATE_DELIVERED, "done");
	expect(w, &ann, IPC_JOB, &m);
	dispatch_reloaded(w->d);
	expect_end(w, &ben);
	deliver_to(w, 8, "ann");
	expect_silence(w, &ann);
	job_result_as(&ann, m.tid, 7, 0, FATE_DELIVERED);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	expect_end(w, &ann);
	cat = hire(w, "ann");
	fetched(w, 8);
	work(w, &cat, 8, 0);
	expect_result(w, 8, 0, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
	ipc_sync_clear(&ben);
	ipc_sync_clear(&cat);
}

static void
keeps_to_the_window(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;
	struct ipc_msg m;
	uint64_t i;

	for (i = 0; i < DISPATCH_WINDOW + 5; i++) {
		deliver_to(w, 100 + i, "ann");
	}
	ann = hire(w, "ann");
	for (i = 0; i < DISPATCH_WINDOW; i++) {
		fetched(w, 100 + i);
	}
	expect_silence(w, &w->cleanup);
	for (i = 0; i < DISPATCH_WINDOW; i++) {
		expect(w, &ann, IPC_JOB, &m);
	}
	job_result_as(&ann, m.tid, ipc_u(&m, 0), 0, FATE_DELIVERED);
	fetched(w, 100 + DISPATCH_WINDOW);
	expect_silence(w, &w->cleanup);
	ipc_sync_clear(&ann);
}

static void
send_file(struct world *w, uint32_t tid)
{
	struct ipc_chan *ch;
	struct ipc_chan_ops ops = { .me = IPC_CLEANUP, .peer = IPC_LOCAL };
	int fd = memfd_create("content", MFD_CLOEXEC), copy;

	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, "xxa: b\r\n", 8, 0), 8);
	copy = dup(w->cleanup.fd);
	assert_true(copy != -1);
	ch = ipc_chan_new(w->base, copy, &ops, NULL);
	ipc_begin(ch, IPC_FETCHED_FILE, tid);
	ipc_put_u(ch, 6);
	ipc_put_u(ch, 3);
	ipc_put_u(ch, 2);
	ipc_put_fd(ch, fd);
	ipc_end(ch);
	ipc_flush(ch);
	ipc_chan_free(ch);
}

static void
passes_descriptors(void **state)
{
	struct world *w = *state;
	const struct mail big = { .qid = 7, .arrived_us = now_us(),
		.size = 1000000, .users = "ann ann ann ann ann ann" };
	struct ipc_sync ann;
	struct ipc_msg m;
	char b[6];
	int i;

	deliver(w, &big);
	ann = hire(w, "ann");
	expect(w, &w->cleanup, IPC_FETCH, &m);
	send_file(w, m.tid);
	for (i = 0; i < DISPATCH_WINDOW_FILES; i++) {
		expect(w, &ann, IPC_JOB_FILE, &m);
		assert_int_equal(ipc_u(&m, 1), i);
		assert_int_equal(ipc_u(&m, 9), 6);
		assert_int_equal(ipc_u(&m, 10), 2);
		assert_int_equal(pread(m.fd, b, 6, 2), 6);
		assert_memory_equal(b, "a: b\r\n", 6);
		(void)close(ipc_take_fd(&m));
	}
	expect_silence(w, &ann);
	job_result_as(&ann, m.tid, 7, ipc_u(&m, 1), FATE_DELIVERED);
	expect_result(w, 7, DISPATCH_WINDOW_FILES - 1, FATE_DELIVERED, "done");
	expect(w, &w->cleanup, IPC_FETCH, &m);
	send_file(w, m.tid);
	expect(w, &ann, IPC_JOB_FILE, &m);
	(void)close(ipc_take_fd(&m));
	ipc_sync_clear(&ann);
}

static void
knows_what_may_have_been(void **state)
{
	struct world *w = *state;
	const uint64_t now = now_us();
	const struct {
		struct mail mail;
		uint64_t again;
	} rows[] = {
		{ { .qid = 1, .arrived_us = now + 1000000, .size = 6,
		    .users = "ann" }, 0 },
		{ { .qid = 2, .arrived_us = now + 1000000, .size = 6,
		    .attempt = 1, .users = "ann" }, 1 },
		{ { .qid = 3, .arrived_us = now - 60000000, .size = 6,
		    .users = "ann" }, 1 },
	};
	struct ipc_sync ann = { .fd = -1 };
	struct ipc_msg m;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		deliver(w, &rows[i].mail);
		if (i == 0) {
			ann = hire(w, "ann");
		}
		fetched(w, rows[i].mail.qid);
		expect(w, &ann, IPC_JOB, &m);
		assert_int_equal(ipc_u(&m, 2), rows[i].again);
		assert_int_equal(ipc_u(&m, 3), rows[i].mail.arrived_us);
		assert_slice(ipc_s(&m, 4), "s@y.test");
		assert_slice(ipc_s(&m, 5), "ann@x.test");
		job_result_as(&ann, m.tid, rows[i].mail.qid, 0,
		    FATE_DELIVERED);
		expect_result(w, rows[i].mail.qid, 0, FATE_DELIVERED, "done");
	}
	ipc_sync_clear(&ann);
}

static void
refuses_what_it_cannot(void **state)
{
	struct world *w = *state;
	const struct mail relay = { .qid = 7, .size = 6, .users = "ann",
		.transport = "smtp" };

	deliver_to(w, 6, "Ann ../x");
	expect_result(w, 6, 0, FATE_FAILED,
	    "not the name of a user that mail is delivered to");
	expect_result(w, 6, 1, FATE_FAILED,
	    "not the name of a user that mail is delivered to");
	deliver(w, &relay);
	expect_result(w, 7, 0, FATE_DEFERRED,
	    "local does not deliver by smtp");
	expect_no_record(w);
	/* Results of these are kept as any other. */
	join_qmgr(w);
	expect_hello(w, 3);
}

static void
disconnects_a_bad_qmgr(void **state)
{
	struct world *w = *state;
	const struct mail bad = { .qid = 7, .size = 6, .users = "ann",
		.reverse_path = "a\nb" };
	struct ipc_build ib;
	struct strbuf b;
	int i;

	deliver(w, &bad);
	expect_end(w, &w->qmgr);
	join_qmgr(w);
	expect_hello(w, 0);
	/* Recipients that are none. */
	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_DELIVER, 0);
	for (i = 0; i < 5; i++) {
		ipc_build_u(&ib, 1);
	}
	ipc_build_s(&ib, SL(""));
	ipc_build_s(&ib, SL("garbage"));
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(w->qmgr.fd, strbuf_slice(&b)), 0);
	expect_end(w, &w->qmgr);
	strbuf_clear(&b);
}

static void
disconnects_a_bad_worker(void **state)
{
	struct world *w = *state;
	static const struct {
		uint32_t tid;
		uint64_t qid, index;
		enum fate fate;
	} rows[] = { /* added to what is right; fate as it is */
		{ 1, 0, 0, FATE_DELIVERED },
		{ 0, 1, 0, FATE_DELIVERED },
		{ 0, 0, 1, FATE_DELIVERED },
		{ 0, 0, 0, FATE_EXPANDED },
		{ 0, 0, 0, FATE_FAILED }, /* with 2.0.0 */
	};
	struct ipc_sync ann;
	struct ipc_msg m;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		deliver_to(w, 100 + i, "ann");
		ann = hire(w, "ann");
		fetched(w, 100 + i);
		expect(w, &ann, IPC_JOB, &m);
		job_result_as(&ann, m.tid + rows[i].tid, 100 + i + rows[i].qid,
		    rows[i].index, rows[i].fate);
		expect_end(w, &ann);
		ipc_sync_clear(&ann);
		ann = hire(w, "ann");
		fetched(w, 100 + i);
		work(w, &ann, 100 + i, 0);
		expect_result(w, 100 + i, 0, FATE_DELIVERED, "done");
		w->settings.local_worker_idle = 0;
		expect_end(w, &ann);
		w->settings.local_worker_idle = 100;
		ipc_sync_clear(&ann);
	}
}

/* One worker's answer for another's delivery changes nothing there. */
static void
workers_speak_for_themselves(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann, ben;
	struct ipc_msg m;
	uint32_t tid;

	deliver_to(w, 7, "ann ben");
	ann = hire(w, "ann");
	ben = hire(w, "ben");
	fetched(w, 7);
	expect(w, &ben, IPC_JOB, &m);
	tid = m.tid;
	expect(w, &ann, IPC_JOB, &m);
	job_result_as(&ann, tid, 7, 1, FATE_DELIVERED);
	expect_end(w, &ann);
	expect_silence(w, &w->qmgr);
	job_result_as(&ben, tid, 7, 1, FATE_DELIVERED);
	expect_result(w, 7, 1, FATE_DELIVERED, "done");
	ipc_sync_clear(&ann);
	ipc_sync_clear(&ben);
}

static void
on_stopped(void *arg)
{
	((struct world *)arg)->stopped = true;
}

static void
stops(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;
	struct ipc_msg m;

	deliver_to(w, 7, "ann");
	ann = hire(w, "ann");
	fetched(w, 7);
	expect(w, &ann, IPC_JOB, &m);
	dispatch_stop(w->d, 60000, on_stopped, w);
	deliver_to(w, 8, "ben");
	expect_no_record(w);
	assert_false(w->stopped);
	job_result_as(&ann, m.tid, 7, 0, FATE_DELIVERED);
	expect_result(w, 7, 0, FATE_DELIVERED, "done");
	turn(w);
	assert_true(w->stopped);
	ipc_sync_clear(&ann);
}

static void
stops_at_the_deadline(void **state)
{
	struct world *w = *state;
	struct ipc_sync ann;
	struct ipc_msg m;
	int i;

	deliver_to(w, 7, "ann");
	ann = hire(w, "ann");
	fetched(w, 7);
	expect(w, &ann, IPC_JOB, &m);
	dispatch_stop(w->d, 50, on_stopped, w);
	for (i = 0; i < PATIENCE_MS && !w->stopped; i++) {
		turn(w);
	}
	assert_true(w->stopped);
	ipc_sync_clear(&ann);
}

static void
on_lost(void *arg, const char *peer)
{
	((struct world *)arg)->lost = peer;
}

static void
tells_of_a_lost_link(void **state)
{
	struct world *w = *state;
	int i;

	w->settings.ipc_timeout = 1;
	dispatch_on_lost(w->d, on_lost, w);
	/* A record that is none: the forker's socket is closed. */
	assert_int_equal(send(w->forker, "x", 1, 0), 1);
	for (i = 0; i < PATIENCE_MS && w->lost == NULL; i++) {
		turn(w);
	}
	assert_non_null(w->lost);
	assert_string_equal(w->lost, "forker");
}

#define PLAY(f) cmocka_unit_test_setup_teardown(f, raise_curtain, drop_curtain)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(delivers),
		PLAY(does_nothing_twice),
		PLAY(survives_qmgr),
		PLAY(survives_cleanup),
		PLAY(survives_forker),
		PLAY(defers_without_content),
		PLAY(tries_again_when_a_worker_dies),
		PLAY(gives_up_a_silent_worker),
		PLAY(asks_a_worker_that_may_not_be),
		PLAY(hears_that_the_forker_cannot),
		PLAY(keeps_to_the_limit),
		PLAY(serves_in_order),
		PLAY(shares),
		PLAY(ends_idle_workers),
		PLAY(replaces_workers_after_a_reload),
		PLAY(keeps_to_the_window),
		PLAY(passes_descriptors),
		PLAY(knows_what_may_have_been),
		PLAY(refuses_what_it_cannot),
		PLAY(disconnects_a_bad_qmgr),
		PLAY(disconnects_a_bad_worker),
		PLAY(workers_speak_for_themselves),
		PLAY(stops),
		PLAY(stops_at_the_deadline),
		PLAY(tells_of_a_lost_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
