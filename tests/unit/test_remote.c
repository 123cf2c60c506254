/* remote and a host that talks: messages, connections, content. */
#include "config.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/spool.h"
#include "common/xmalloc.h"
#include "tests/unit/remote_kit.h"
#include "tests/unit/unit.h"

/* -- one message -------------------------------------------------------------- */

static void
test_delivered(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_takes(w, fd, 1, "ann", "250 2.6.0 queued\r\n");
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.6.0 queued");
	(void)close(fd);
}

static void
test_some_refused(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann ben cat");
	fd = host_greets(w);
	host_hears(w, fd, "MAIL FROM:<s@y.test> SIZE=6\r\n");
	host_says(fd, OK2 "550 5.1.1 no ann\r\n" OK2 "450 4.2.2 full\r\n");
	expect_result(w, 1, 0, FATE_FAILED, "550 5.1.1 no ann");
	expect_result(w, 1, 2, FATE_DEFERRED, "450 4.2.2 full");
	host_says(fd, "354 go\r\n");
	fetched(w, 1);
	host_says(fd, OK2);
	expect_result(w, 1, 1, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
}

/* The next message goes over the same connection; one after the limit not. */
static void
test_connection_is_used_again(void **state)
{
	struct world *w = *state;
	int fd;

	w->settings.smtp_connection_reuse_count_limit = 2;
	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_takes(w, fd, 1, "ann", OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	send_mail(w, 2, "ben");
	host_takes(w, fd, 2, "ben", OK2);
	expect_result(w, 2, 0, FATE_DELIVERED, "250 2.0.0 ok");
	host_hears(w, fd, "QUIT\r\n");
	host_says(fd, "221 bye\r\n");
	host_sees_end(w, fd);
	send_mail(w, 3, "cat");
	fd = host_greets(w);
	host_takes(w, fd, 3, "cat", OK2);
	expect_result(w, 3, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
}

static void
test_idle_connection_ends(void **state)
{
	struct world *w = *state;
	int fd;

	w->settings.smtp_connection_cache_time_limit = 1;
	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_takes(w, fd, 1, "ann", OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	host_hears(w, fd, "QUIT\r\n");
	(void)close(fd);
}

/* The peer has left meanwhile: nobody notices but a fresh connection. */
static void
test_kept_connection_has_gone(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_takes(w, fd, 1, "ann", OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	send_mail(w, 2, "ben");
	host_hears(w, fd, "MAIL FROM");
	host_says(fd, "421 4.4.2 idle for too long\r\n");
	(void)close(fd);
	fd = host_greets(w);
	host_takes(w, fd, 2, "ben", OK2);
	expect_result(w, 2, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
}

/* A refused message leaves a half-done transaction: RSET comes first. */
static void
test_reset_between(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_hears(w, fd, "MAIL FROM:<s@y.test> SIZE=6\r\n");
	host_says(fd, OK2 "550 5.1.1 no\r\n" "554 5.5.1 none\r\n");
	host_hears(w, fd, "RCPT TO:<ann@x.test>\r\nDATA\r\n");
	expect_result(w, 1, 0, FATE_FAILED, "550 5.1.1 no");
	turn(w);
	send_mail(w, 2, "ben");
	host_hears(w, fd, "RSET\r\n");
	host_says(fd, OK2);
	host_takes(w, fd, 2, "ben", OK2);
	expect_result(w, 2, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
}

/* -- content -------------------------------------------------------------------- */

/* The next FETCH is answered by a file of `size' octets, at an offset. */
static void
fetched_file(struct world *w, uint64_t size, uint64_t there)
{
	char name[] = "/tmp/vrd-remote-XXXXXX";
	struct ipc_chan_ops ops = { .me = IPC_CLEANUP, .peer = IPC_REMOTE };
	struct ipc_chan *ch;
	struct ipc_msg m;
	uint64_t i;
	FILE *f;
	int fd = mkstemp(name);

	assert_int_not_equal(fd, -1);
	(void)unlink(name);
	f = fdopen(dup(fd), "w");
	assert_non_null(f);
	(void)fputs("head", f);
	for (i = 0; i < there; i++) {
		(void)fputc(i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x', f);
	}
	assert_int_equal(fclose(f), 0);
	expect(w, &w->cleanup, IPC_FETCH, &m);
	ch = ipc_chan_new(w->base, dup(w->cleanup.fd), &ops, NULL);
	ipc_begin(ch, IPC_FETCHED_FILE, m.tid);
	ipc_put_u(ch, size);
	ipc_put_u(ch, 0);
	ipc_put_u(ch, 4);
	ipc_put_fd(ch, fd);
	ipc_end(ch);
	ipc_flush(ch);
	ipc_chan_free(ch);
}

/* Up to the content of a message of `size' octets. */
static int
large_mail(struct world *w, uint64_t size)
{
	const struct mail m = { .qid = 1, .size = size, .users = "ann",
		.transport = "smtp", .next_hop = w->next_hop };
	char line[100];
	int fd;

	deliver(w, &m);
	fd = host_accept(w);
	host_says(fd, HOST_HI);
	host_hears(w, fd, OUR_EHLO);
	host_says(fd, "250-mx.test\r\n250-PIPELINING\r\n250 SIZE\r\n");
	(void)snprintf(line, sizeof(line), "MAIL FROM:<s@y.test> SIZE=%llu\r\n",
	    (unsigned long long)size);
	host_hears(w, fd, line);
	host_hears(w, fd, "RCPT TO:<ann@x.test>\r\nDATA\r\n");
	host_says(fd, OK2 OK2 "354 go\r\n");
	return fd;
}

static void
test_large_content(void **state)
{
	const uint64_t size = 20 * 1024 * 1024;
	struct world *w = *state;
	char *want = xcalloc(1, size + 4);
	uint64_t i;
	int fd;

	for (i = 0; i < size; i++) {
		want[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
	}
	memcpy(want + size, ".\r\n", 4);
	fd = large_mail(w, size);
	fetched_file(w, size, size);
	host_hears(w, fd, want);
	host_says(fd, OK2);
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
	free(want);
}

/* The file is shorter than it should be: the end is never said. */
static void
test_content_too_short(void **state)
{
	struct world *w = *state;
	char buf[4096], last[5] = "";
	ssize_t n = 1;
	int fd = large_mail(w, 1000000);

	fetched_file(w, 1000000, 500000);
	expect_result(w, 1, 0, FATE_DEFERRED,
	    "the content cannot be read: it ends too early");
	while (n != 0) {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n > 4) {
			memcpy(last, buf + n - 4, 4);
		}
		turn(w);
	}
	assert_string_not_equal(last, "\n.\r\n");
	(void)close(fd);
}

static void
test_content_is_gone(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann ben");
	fd = host_greets(w);
	host_hears(w, fd, "MAIL FROM:<s@y.test> SIZE=6\r\n"
	    "RCPT TO:<ann@x.test>\r\nRCPT TO:<ben@x.test>\r\nDATA\r\n");
	host_says(fd, OK2 OK2 OK2 "354 go\r\n");
	fetch_fails(w, 1);
	expect_result(w, 1, 0, FATE_DEFERRED, "the content: no?such");
	expect_result(w, 1, 1, FATE_DEFERRED, "the content: no?such");
	host_sees_end(w, fd);
}

/* Nothing is fetched for a host that does not ask for it. */
static void
test_content_only_when_wanted(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_greets(w);
	host_hears(w, fd, "MAIL FROM:<s@y.test> SIZE=6\r\n"
	    "RCPT TO:<ann@x.test>\r\nDATA\r\n");
	host_says(fd, OK2 OK2);
	expect_silence(w, &w->cleanup);
	host_says(fd, "354 go\r\n");
	fetched(w, 1);
	host_hears(w, fd, "a: b\r\n.\r\n");
	(void)close(fd);
	expect_result(w, 1, 0, FATE_DEFERRED, "the connection was lost while "
	    "waiting for the answer to the end of the content: "
	    "closed by the peer");
}

/* Content that is held is bounded: the rest waits in line. */
static void
test_budget(void **state)
{
	enum { N = 400 };
	struct world *w = *state;
	struct mail m = { .size = SPOOL_INLINE_MAX, .users = "ann",
		.transport = "smtp", .next_hop = w->next_hop };
	struct ipc_msg f;
	unsigned fetches = 0;
	int fds[N], i;

	w->settings.remote_connection_limit = N;
	for (i = 0; i < N; i++) {
		m.qid = (uint64_t)i + 1;
		deliver(w, &m);
		fds[i] = host_greets(w);
		host_hears(w, fds[i], "MAIL");
		host_says(fds[i], OK2 OK2 "354 go\r\n");
	}
	for (i = 0; i < 50; i++) {
		turn(w);
		while (ipc_sync_read(&w->cleanup, &f, 0) == 1) {
			fetches++;
		}
	}
	assert_int_equal(fetches, REMOTE_BUDGET / SPOOL_INLINE_MAX);
	(void)close(fds[0]); /* gives its place to the next */
	expect(w, &w->cleanup, IPC_FETCH, &f);
	for (i = 1; i < N; i++) {
		(void)close(fds[i]);
	}
}

/* A connection in the middle of its transaction costs little. */
static void
test_connections_are_slim(void **state)
{
	enum { N = 400, OCTETS_MAX = 16 * 1024 };
	struct world *w = *state;
	size_t before, after;
	int fds[N], i;

	w->settings.remote_connection_limit = N;
	before = mallinfo2().uordblks;
	for (i = 0; i < N; i++) {
		send_mail(w, (uint64_t)i + 1, "ann");
		fds[i] = host_greets(w);
		host_hears(w, fds[i], "MAIL");
		host_says(fds[i], OK2);
	}
	turn(w);
	after = mallinfo2().uordblks;
	/* 0 where malloc is not glibc's: under sanitizers and valgrind. */
	assert_in_range((after - before) / N, 0, OCTETS_MAX);
	for (i = 0; i < N; i++) {
		(void)close(fds[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ACT(test_delivered),
		ACT(test_some_refused),
		ACT(test_connection_is_used_again),
		ACT(test_idle_connection_ends),
		ACT(test_kept_connection_has_gone),
		ACT(test_reset_between),
		ACT(test_large_content),
		ACT(test_content_too_short),
		ACT(test_content_is_gone),
		ACT(test_content_only_when_wanted),
		ACT(test_budget),
		ACT(test_connections_are_slim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
