/* local's dispatcher: deliveries, their order and bounds, fresh channels. */
#include "config.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/unit.h"
#include "tests/unit/dispatch_kit.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(delivers),
		PLAY(does_nothing_twice),
		PLAY(survives_qmgr),
		PLAY(survives_cleanup),
		PLAY(survives_forker),
		PLAY(keeps_to_the_limit),
		PLAY(serves_in_order),
		PLAY(shares),
		PLAY(ends_idle_workers),
		PLAY(replaces_workers_after_a_reload),
		PLAY(keeps_to_the_window),
		PLAY(passes_descriptors),
		PLAY(knows_what_may_have_been),
		PLAY(stops),
		PLAY(stops_at_the_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
