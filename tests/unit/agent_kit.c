#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/envelope.h"
#include "tests/unit/agent_kit.h"
#include "tests/unit/unit.h"

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
		r.next_hop = m->next_hop != NULL ? slice_of(m->next_hop) : user;
		r.extension = r.esc = r.reply = SL("");
		rcpt_item_encode(&r, &rcpts);
		r.index++;
	}
	ipc_build_begin(&ib, &b, IPC_DELIVER, 0);
	ipc_build_u(&ib, m->qid);
	ipc_build_u(&ib, m->qid + 1000);
	ipc_build_u(&ib, m->arrived_us);
	ipc_build_u(&ib, m->size);
	ipc_build_u(&ib, m->flags);
	ipc_build_s(&ib, slice_of(m->reverse_path != NULL ? m->reverse_path :
	    "s@y.test"));
	ipc_build_s(&ib, strbuf_slice(&rcpts));
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(w->qmgr.fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
	strbuf_clear(&rcpts);
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
expect_result(struct world *w, uint64_t qid, uint64_t index, enum fate fate,
    const char *text)
{
	struct ipc_msg m;

	expect(w, &w->qmgr, IPC_RESULT, &m);
	assert_int_equal(ipc_u(&m, 0), qid);
	assert_int_equal(ipc_u(&m, 1), index);
	assert_int_equal(ipc_u(&m, 3), fate);
	assert_slice(ipc_s(&m, 5), text);
	assert_slice(ipc_s(&m, 6), w->relay);
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
