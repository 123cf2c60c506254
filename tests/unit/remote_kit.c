#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/log.h"
#include "common/xmalloc.h"
#include "tests/unit/remote_kit.h"
#include "tests/unit/unit.h"

void
rejoin_qmgr(struct world *w)
{
	ipc_sync_clear(&w->qmgr);
	w->qmgr = (struct ipc_sync){ .me = IPC_QMGR, .peer = IPC_REMOTE };
	remote_qmgr(w->r, pair(SOCK_STREAM, &w->qmgr.fd));
}

void
join_all(struct world *w)
{
	rejoin_qmgr(w);
	ipc_sync_clear(&w->cleanup);
	w->cleanup = (struct ipc_sync){ .me = IPC_CLEANUP,
		.peer = IPC_REMOTE };
	remote_cleanup(w->r, pair(SOCK_STREAM, &w->cleanup.fd));
	ipc_sync_clear(&w->dns);
	w->dns = (struct ipc_sync){ .me = IPC_DNS, .peer = IPC_REMOTE };
	remote_dns(w->r, pair(SOCK_STREAM, &w->dns.fd));
}

void
send_mail(struct world *w, uint64_t qid, const char *users)
{
	const struct mail m = { .qid = qid, .arrived_us = now_us(), .size = 6,
		.users = users, .transport = "smtp", .next_hop = w->next_hop };

	deliver(w, &m);
}

/* -- the host ---------------------------------------------------------------- */

int
host_listen(const char *addr, uint16_t *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_port = htons(*port) };
	socklen_t n = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	assert_int_not_equal(fd, -1);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
	    sizeof(one)), 0);
	assert_int_equal(inet_pton(AF_INET, addr, &sin.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 100), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &n), 0);
	*port = ntohs(sin.sin_port);
	return fd;
}

int
host_accept_at(struct world *w, int listener)
{
	int i, fd;

	for (i = 0; i < PATIENCE_MS; i++) {
		fd = accept4(listener, NULL, NULL,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd != -1) {
			return fd;
		}
		assert_int_equal(errno, EAGAIN);
		turn(w);
	}
	fail_msg("nobody connects");
	return -1;
}

int
host_accept(struct world *w)
{
	return host_accept_at(w, w->listener);
}

void
host_is_alone(struct world *w)
{
	int i;

	for (i = 0; i < 20; i++) {
		turn(w);
		assert_int_equal(accept(w->listener, NULL, NULL), -1);
	}
}

void
host_hears(struct world *w, int fd, const char *what)
{
	size_t want = strlen(what), n = 0;
	char *got = xcalloc(1, want + 1);
	ssize_t r;
	int i;

	for (i = 0; i < PATIENCE_MS && n < want; i++) {
		r = recv(fd, got + n, want - n, 0);
		if (r == 0) {
			fail_msg("closed instead of: %s", what);
		}
		n += r > 0 ? (size_t)r : 0;
		if (strncmp(got, what, n) != 0) {
			fail_msg("heard: %s", got);
		}
		turn(w);
	}
	if (n < want) {
		fail_msg("heard only: %s", got);
	}
	free(got);
}

void
host_says(int fd, const char *what)
{
	assert_int_equal(send(fd, what, strlen(what), MSG_NOSIGNAL),
	    strlen(what));
}

void
host_sees_end(struct world *w, int fd)
{
	char c;
	int i;

	for (i = 0; i < PATIENCE_MS; i++) {
		ssize_t r = recv(fd, &c, 1, 0);

		if (r == 0 || (r == -1 && errno == ECONNRESET)) {
			(void)close(fd);
			return;
		}
		assert_int_equal(r, -1);
		turn(w);
	}
	fail_msg("it does not close");
}

int
host_greets(struct world *w)
{
	int fd = host_accept(w);

	host_says(fd, HOST_HI);
	host_hears(w, fd, OUR_EHLO);
	host_says(fd, HOST_EHLO);
	return fd;
}

void
host_takes(struct world *w, int fd, uint64_t qid, const char *users,
    const char *end)
{
	struct slice rest = slice_of(users), user;
	char line[100];

	host_hears(w, fd, "MAIL FROM:<s@y.test> SIZE=6\r\n");
	host_says(fd, OK2);
	while (slice_word(&rest, " ", &user)) {
		assert_true(snprintf(line, sizeof(line),
		    "RCPT TO:<%.*s@x.test>\r\n", SLF(user)) <
		    (int)sizeof(line));
		host_hears(w, fd, line);
		host_says(fd, OK2);
	}
	host_hears(w, fd, "DATA\r\n");
	host_says(fd, "354 go\r\n");
	fetched(w, qid);
	host_hears(w, fd, "a: b\r\n.\r\n");
	host_says(fd, end);
}

/* -- the stage ---------------------------------------------------------------- */

static void
set_text(char **field, const char *text)
{
	*field = xstrdup(text);
}

int
raise_remote(void **state)
{
	static struct world w;

	log_setup(NULL, false);
	w = (struct world){ .me = IPC_REMOTE };
	w.qmgr.fd = w.cleanup.fd = w.dns.fd = -1;
	w.base = event_base_new();
	assert_non_null(w.base);
	w.listener = host_listen("127.0.0.1", &w.port);
	assert_true(snprintf(w.next_hop, sizeof(w.next_hop),
	    "[127.0.0.1]:%u", w.port) < (int)sizeof(w.next_hop));
	assert_true(snprintf(w.relay_text, sizeof(w.relay_text),
	    "127.0.0.1[127.0.0.1]:%u", w.port) < (int)sizeof(w.relay_text));
	w.relay = w.relay_text;
	settings_init(&w.settings);
	set_text(&w.settings.smtp_helo_name, "me.test");
	set_text(&w.settings.myhostname, "me.test");
	w.settings.inet_protocols.at = xcalloc(2, sizeof(char *));
	w.settings.inet_protocols.at[0] = xstrdup("ipv4");
	w.settings.inet_protocols.at[1] = xstrdup("ipv6");
	w.settings.inet_protocols.n = 2;
	w.settings.ipc_timeout = 100;
	w.settings.remote_connection_limit = 10;
	w.settings.smtp_connect_timeout = 100;
	w.settings.smtp_helo_timeout = w.settings.smtp_mail_timeout =
	    w.settings.smtp_rcpt_timeout = w.settings.smtp_data_init_timeout =
	    w.settings.smtp_data_xfer_timeout =
	    w.settings.smtp_data_done_timeout =
	    w.settings.smtp_quit_timeout = 100;
	w.settings.smtp_connection_cache_time_limit = 100;
	w.settings.smtp_connection_reuse_count_limit = 100;
	w.settings.smtp_mx_address_limit = 5;
	w.r = remote_new(w.base, &w.settings);
	join_all(&w);
	expect_hello(&w, 0);
	*state = &w;
	return 0;
}

int
drop_remote(void **state)
{
	struct world *w = *state;

	remote_free(w->r);
	ipc_sync_clear(&w->qmgr);
	ipc_sync_clear(&w->cleanup);
	ipc_sync_clear(&w->dns);
	(void)close(w->listener);
	settings_clear(&w->settings);
	event_base_free(w->base);
	return 0;
}
