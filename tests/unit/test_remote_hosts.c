/* remote in search of a host: those that cannot be reached, DNS, UNIX sockets. */
#include "config.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/dns.h"
#include "tests/unit/remote_kit.h"
#include "tests/unit/unit.h"

/* -- hosts that cannot be reached ------------------------------------------- */

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
