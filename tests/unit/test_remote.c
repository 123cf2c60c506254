#include "config.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/dns.h"
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

/* -- hosts that cannot be reached -------------------------------------------------- */

static void
expect_site(struct world *w, uint64_t qid, enum fate fate, const char *esc,
    const char *relay)
{
	struct ipc_msg m;

	expect(w, &w->qmgr, IPC_RESULT, &m);
	assert_int_equal(ipc_u(&m, 0), qid);
	assert_int_equal(ipc_u(&m, 3), fate);
	assert_slice(ipc_s(&m, 4), esc);
	assert_slice(ipc_s(&m, 6), relay);
	assert_int_equal(ipc_u(&m, 7), 1);
}

static void
test_refused_connection(void **state)
{
	struct world *w = *state;

	(void)close(w->listener);
	send_mail(w, 1, "ann");
	expect_site(w, 1, FATE_DEFERRED, "4.4.1", w->relay);
	w->listener = host_listen("127.0.0.1", &w->port);
}

static void
test_refused_session(void **state)
{
	struct world *w = *state;
	int fd;

	send_mail(w, 1, "ann");
	fd = host_accept(w);
	host_says(fd, "554 5.7.1 we do not like you\r\n");
	expect_site(w, 1, FATE_DEFERRED, "4.7.1", w->relay);
	host_hears(w, fd, "QUIT\r\n");
	(void)close(fd);
}

static void
test_silent_host(void **state)
{
	struct world *w = *state;
	int fd;

	w->settings.smtp_helo_timeout = 1;
	send_mail(w, 1, "ann");
	fd = host_accept(w);
	expect_site(w, 1, FATE_DEFERRED, "4.4.2", w->relay);
	host_sees_end(w, fd);
}

static void
test_bad_destination(void **state)
{
	struct world *w = *state;
	const struct mail m = { .qid = 1, .users = "ann", .transport = "smtp",
		.next_hop = "[" };
	const struct mail k = { .qid = 2, .users = "ann", .transport = "local",
		.next_hop = "x" };
	struct ipc_msg r;

	deliver(w, &m);
	expect(w, &w->qmgr, IPC_RESULT, &r);
	assert_int_equal(ipc_u(&r, 3), FATE_DEFERRED);
	assert_slice(ipc_s(&r, 4), "4.3.5");
	deliver(w, &k);
	expect(w, &w->qmgr, IPC_RESULT, &r);
	assert_slice(ipc_s(&r, 4), "4.3.5");
}

/* -- dns -------------------------------------------------------------------------- */

static void
dns_says(struct world *w, const char *name, enum dns_type type,
    enum dns_status status, struct slice records)
{
	struct ipc_build ib;
	struct ipc_msg m;
	struct strbuf b;

	expect(w, &w->dns, IPC_DNS_QUERY, &m);
	assert_slice(ipc_s(&m, 0), name);
	assert_int_equal(ipc_u(&m, 1), type);
	strbuf_init(&b, 0);
	ipc_build_begin(&ib, &b, IPC_DNS_ANSWER, m.tid);
	ipc_build_u(&ib, (uint64_t)status);
	ipc_build_u(&ib, 0);
	ipc_build_u(&ib, 60);
	ipc_build_s(&ib, records);
	ipc_build_s(&ib, SL("no reason"));
	ipc_build_end(&ib);
	assert_int_equal(ipc_sync_write(w->dns.fd, strbuf_slice(&b)), 0);
	strbuf_clear(&b);
}

static void
dns_finds(struct world *w, const char *name, enum dns_type type,
    const struct dns_record *rec, size_t n)
{
	struct strbuf b;
	size_t i;

	strbuf_init(&b, 0);
	for (i = 0; i < n; i++) {
		dns_record_encode(&rec[i], &b);
	}
	dns_says(w, name, type, DNS_FOUND, strbuf_slice(&b));
	strbuf_clear(&b);
}

static void
to_domain(struct world *w, uint64_t qid)
{
	char hop[64];
	struct mail m = { .qid = qid, .size = 6, .users = "ann",
		.transport = "smtp", .next_hop = hop };

	(void)snprintf(hop, sizeof(hop), "x.test:%u", w->port);
	deliver(w, &m);
}

/* Both MX hosts: 127.0.0.2 where nobody listens, then 127.0.0.1. */
static void
two_hosts(struct world *w)
{
	const struct dns_record mx[] = { { 10, SL_INIT("a.test") },
		{ 20, SL_INIT("b.test") } };
	const struct dns_record a = { 0, SL_INIT("\177\0\0\2") };
	const struct dns_record b = { 0, SL_INIT("\177\0\0\1") };

	dns_finds(w, "x.test", DNS_MX, mx, 2);
	dns_finds(w, "a.test", DNS_A, &a, 1);
	dns_says(w, "a.test", DNS_AAAA, DNS_NODATA, SL(""));
	dns_finds(w, "b.test", DNS_A, &b, 1);
	dns_says(w, "b.test", DNS_AAAA, DNS_NODATA, SL(""));
}

static void
test_next_host(void **state)
{
	struct world *w = *state;
	char relay[64];
	int fd;

	w->settings.smtp_connection_cache_time_limit = 0;
	to_domain(w, 1);
	two_hosts(w);
	fd = host_greets(w);
	host_takes(w, fd, 1, "ann", OK2);
	(void)snprintf(relay, sizeof(relay), "b.test[127.0.0.1]:%u", w->port);
	w->relay = relay;
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
	/* What dns said is kept, and the dead one comes last. */
	to_domain(w, 2);
	fd = host_greets(w);
	expect_silence(w, &w->dns);
	host_takes(w, fd, 2, "ann", OK2);
	expect_result(w, 2, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
}

/* Lost before the end of the content: the other host is asked. */
static void
test_next_host_in_the_middle(void **state)
{
	struct world *w = *state;
	uint16_t port = w->port;
	char relay[64];
	int second = host_listen("127.0.0.2", &port), fd;

	to_domain(w, 1);
	two_hosts(w);
	fd = host_accept_at(w, second);
	host_says(fd, HOST_HI);
	host_hears(w, fd, OUR_EHLO);
	host_says(fd, HOST_EHLO);
	host_hears(w, fd, "MAIL FROM:<s@y.test> SIZE=6\r\n");
	host_says(fd, OK2 OK2);
	(void)close(fd);
	fd = host_greets(w);
	host_takes(w, fd, 1, "ann", OK2);
	(void)snprintf(relay, sizeof(relay), "b.test[127.0.0.1]:%u", w->port);
	w->relay = relay;
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	(void)close(fd);
	(void)close(second);
}

static void
test_no_such_domain(void **state)
{
	struct world *w = *state;

	to_domain(w, 1);
	dns_says(w, "x.test", DNS_MX, DNS_TEMP, SL(""));
	expect_site(w, 1, FATE_DEFERRED, "4.4.3", "none");
	to_domain(w, 2);
	dns_says(w, "x.test", DNS_MX, DNS_NXDOMAIN, SL(""));
	expect_site(w, 2, FATE_FAILED, "5.4.4", "none");
	to_domain(w, 3); /* this is known, for a while */
	expect_site(w, 3, FATE_FAILED, "5.4.4", "none");
}

/* Nonsense closes the channel, and the question is asked on the next one. */
static void
test_dns_talks_nonsense(void **state)
{
	struct world *w = *state;

	to_domain(w, 1);
	dns_says(w, "x.test", DNS_MX, (enum dns_status)77, SL(""));
	expect_end(w, &w->dns);
	ipc_sync_clear(&w->dns);
	w->dns = (struct ipc_sync){ .me = IPC_DNS, .peer = IPC_REMOTE };
	remote_dns(w->r, pair(SOCK_STREAM, &w->dns.fd));
	dns_says(w, "x.test", DNS_MX, DNS_NXDOMAIN, SL(""));
	expect_site(w, 1, FATE_FAILED, "5.4.4", "none");
}

static void
test_dns_is_silent(void **state)
{
	struct world *w = *state;

	w->settings.ipc_timeout = 1;
	to_domain(w, 1);
	expect_site(w, 1, FATE_DEFERRED, "4.4.3", "none");
}

/* -- UNIX sockets -------------------------------------------------------------------- */

static struct {
	uint32_t tid;
	char path[100];
} asked;

static void
on_ask(void *arg, uint32_t tid, const char *path)
{
	(void)arg;
	asked.tid = tid;
	(void)snprintf(asked.path, sizeof(asked.path), "%s", path);
}

static void
test_lmtp_by_unix_socket(void **state)
{
	struct world *w = *state;
	const struct mail m = { .qid = 1, .size = 6, .users = "ann ben",
		.transport = "lmtp", .next_hop = "unix:/run/lmtp" };
	int fd;

	asked.tid = 0;
	remote_on_connect(w->r, on_ask, NULL);
	deliver(w, &m);
	while (asked.tid == 0) {
		turn(w);
	}
	assert_string_equal(asked.path, "/run/lmtp");
	remote_connected(w->r, asked.tid, pair(SOCK_STREAM, &fd), SL(""));
	assert_int_equal(evutil_make_socket_nonblocking(fd), 0);
	host_says(fd, HOST_HI);
	host_hears(w, fd, "LHLO me.test\r\n");
	host_says(fd, HOST_EHLO);
	host_takes(w, fd, 1, "ann ben", OK2 "452 4.2.2 full\r\n");
	w->relay = "me.test[/run/lmtp]";
	expect_result(w, 1, 0, FATE_DELIVERED, "250 2.0.0 ok");
	expect_result(w, 1, 1, FATE_DEFERRED, "452 4.2.2 full");
	(void)close(fd);
}

static void
test_unix_socket_refused(void **state)
{
	struct world *w = *state;
	const struct mail m = { .qid = 1, .size = 6, .users = "ann",
		.transport = "lmtp", .next_hop = "unix:/run/lmtp" };

	asked.tid = 0;
	remote_on_connect(w->r, on_ask, NULL);
	deliver(w, &m);
	while (asked.tid == 0) {
		turn(w);
	}
	remote_connected(w->r, asked.tid, -1, SL("No such file"));
	expect_site(w, 1, FATE_DEFERRED, "4.4.1", "me.test[/run/lmtp]");
	/* A late or forged answer finds nobody. */
	remote_connected(w->r, asked.tid, -1, SL("again"));
}

/* -- qmgr ------------------------------------------------------------------------------ */

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
		ACT(test_refused_connection),
		ACT(test_refused_session),
		ACT(test_silent_host),
		ACT(test_bad_destination),
		ACT(test_next_host),
		ACT(test_next_host_in_the_middle),
		ACT(test_no_such_domain),
		ACT(test_dns_talks_nonsense),
		ACT(test_dns_is_silent),
		ACT(test_lmtp_by_unix_socket),
		ACT(test_unix_socket_refused),
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
