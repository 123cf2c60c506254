#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/log.h"
#include "tests/unit/unit.h"
#include "tests/unit/dispatch_kit.h"

/* -- the stage --------------------------------------------------------------------- */

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
deliver_to(struct world *w, uint64_t qid, const char *users)
{
	const struct mail m = { .qid = qid, .arrived_us = now_us(), .size = 6,
		.users = users };

	deliver(w, &m);
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

int
raise_curtain(void **state)
{
	static struct world w;

	log_setup(NULL, false);
	w = (struct world){ .forker = -1, .me = IPC_LOCAL,
		.relay = "local" };
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
