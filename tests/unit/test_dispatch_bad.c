/* local's dispatcher when its peers fail, hang, die or lie. */
#include "config.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "tests/unit/dispatch_kit.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(defers_without_content),
		PLAY(tries_again_when_a_worker_dies),
		PLAY(gives_up_a_silent_worker),
		PLAY(asks_a_worker_that_may_not_be),
		PLAY(hears_that_the_forker_cannot),
		PLAY(refuses_what_it_cannot),
		PLAY(disconnects_a_bad_qmgr),
		PLAY(disconnects_a_bad_worker),
		PLAY(workers_speak_for_themselves),
		PLAY(tells_of_a_lost_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
