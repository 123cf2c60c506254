/* remote and qmgr: results that are kept, limits, recall, the end. */
#include "config.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "tests/unit/remote_kit.h"
#include "tests/unit/unit.h"

/* A result is kept until it is acknowledged; what is in hand is not begun twice. */
static void
test_results_are_kept(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_greets(w);
	rejoin_qmgr(w);
	expect_hello(w, 1);
	send_mail(w, 1, "ann");
	host_takes(w, fd, 1, "ann", OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	rejoin_qmgr(w);
	expect_hello(w, 1);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	send_mail(w, 1, "ann");
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	host_is_alone(w);
	ack(w, 1, 0, 0);
	turn(w);
	rejoin_qmgr(w);
	expect_hello(w, 0);
	(void)close(fd);
}

/* No more connections than allowed; the others wait for a place. */
static void
test_connection_limit(void **state)
{
	struct world *w = *state;
	int a, b;

	w->settings.remote_connection_limit = 2;
	w->settings.smtp_connection_cache_time_limit = 0;
	send_mail(w, 1, "ann");
	send_mail(w, 2, "ben");
	send_mail(w, 3, "cat");
	a = host_greets(w);
	b = host_greets(w);
	host_is_alone(w);
	host_takes(w, a, 1, "ann", OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	host_hears(w, a, "QUIT\r\n");
	host_is_alone(w);
	(void)close(a);
	a = host_greets(w);
	host_takes(w, a, 3, "cat", OK2);
	expect_result(w, 3, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(a);
	(void)close(b);
}

static void
on_stopped(void *arg)
{
	struct world *w = arg;

	w->stopped = true;
}

/* The open transaction is finished, nothing else is begun. */
static void
test_stop(void **state)
{
	struct world *w = *state;
	int fd, idle;

	send_mail(w, 1, "ann");
	idle = host_greets(w);
	host_takes(w, idle, 1, "ann", OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	send_mail(w, 2, "ben");
	host_hears(w, idle, "MAIL");
	send_mail(w, 3, "cat");
	fd = host_greets(w);
	host_hears(w, fd, "MAIL");
	host_says(fd, OK2 "550 5.1.1 no\r\n" "554 none\r\n");
	expect_result(w, 3, 0, FATE_FAILED, "550 5.1.1 no");
	remote_stop(w->r, 60000, on_stopped, w);
	send_mail(w, 4, "dan");
	host_is_alone(w);
	assert_false(w->stopped);
	host_says(idle, OK2 OK2 "354 go\r\n");
	fetched(w, 2);
	host_says(idle, OK2);
	expect_result(w, 2, 0, FATE_DELIVERED, "250 2.0.0 ok");
	while (!w->stopped) {
		turn(w);
	}
	(void)close(fd);
	(void)close(idle);
}

static void
expect_returned(struct world *w, uint64_t qid)
{
	struct ipc_msg m;

	expect(w, &w->qmgr, IPC_RETURNED, &m);
	assert_int_equal(ipc_u(&m, 0), qid);
	assert_int_equal(ipc_u(&m, 1), 0);
}

static void
recall(struct world *w)
{
	struct ipc_build ib;
	struct strbuf b;

	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_RECALL, 0);
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(w->qmgr.fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
}

/* Not greeted, not answered by dns, and greeted but not told of anything: all go
   back; what has begun goes on, and ends with the address that it has. */
static void
test_recall(void **state)
{
	struct world *w = *state;
	int begun, silent;

	send_mail(w, 1, "ann");
	begun = host_greets(w);
	host_hears(w, begun, "MAIL");
	send_mail(w, 2, "ben");
	silent = host_accept(w);
	recall(w);
	expect_returned(w, 2);
	host_sees_end(w, silent);
	host_says(begun, OK2 OK2 "354 go\r\n");
	fetched(w, 1);
	host_says(begun, OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(begun);
	(void)close(silent);
}

/* Its one address has failed: there is no other for it any more. */
static void
test_recall_ends_the_search(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_hears(w, fd, "MAIL");
	recall(w);
	host_says(fd, "421 4.3.2 going down\r\n");
	expect_result(w, 1, 0, FATE_DEFERRED, "421 4.3.2 going down");
	host_is_alone(w);
	(void)close(fd);
}

/* Over a kept connection that has gone nothing was told of the message: it goes
   back as if it had never been here. */
static void
test_recall_over_a_kept_connection(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_takes(w, fd, 1, "ann", OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	send_mail(w, 2, "ben");
	host_hears(w, fd, "MAIL FROM");
	recall(w);
	host_says(fd, "421 4.4.2 idle for too long\r\n");
	expect_returned(w, 2);
	host_is_alone(w);
	(void)close(fd);
}

static void
test_stop_has_a_deadline(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_hears(w, fd, "MAIL");
	remote_stop(w->r, 50, on_stopped, w);
	while (!w->stopped) {
		turn(w);
	}
	(void)close(fd);
}

static void
on_lost(void *arg, const char *peer)
{
	struct world *w = arg;

	w->lost = peer;
}

static void
test_lost_for_good(void **state)
{
	struct world *w = *state;

	w->settings.ipc_timeout = 1;
	remote_on_lost(w->r, on_lost, w);
	ipc_sync_clear(&w->dns);
	w->dns.fd = -1;
	while (w->lost == NULL) {
		turn(w);
	}
	assert_string_equal(w->lost, "dns");
}

/* New settings are for what comes. */
static void
test_reload(void **state)
{
	struct world *w = *state;
	int fd, kept;

	send_mail(w, 1, "ann");
	kept = host_greets(w);
	free(w->settings.smtp_helo_name);
	w->settings.smtp_helo_name = xstrdup("new.test");
	remote_reloaded(w->r);
	send_mail(w, 2, "ben");
	fd = host_accept(w);
	host_says(fd, HOST_HI);
	host_hears(w, fd, "EHLO new.test\r\n");
	host_takes(w, kept, 1, "ann", OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
	(void)close(kept);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ACT(test_results_are_kept),
		ACT(test_connection_limit),
		ACT(test_stop),
		ACT(test_stop_has_a_deadline),
		ACT(test_recall),
		ACT(test_recall_over_a_kept_connection),
		ACT(test_recall_ends_the_search),
		ACT(test_lost_for_good),
		ACT(test_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
