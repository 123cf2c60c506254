/* Limits, deadlines, stopping; in process. */
#include "config.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/smtpd_rig.h"
#include "tests/unit/unit.h"

static struct rig rig;

static int
setup(void **state)
{
	(void)state;
	rig_start(&rig);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_end(&rig);
	return 0;
}

/* -- limits ---------------------------------------------------------------- */

/* Let the clock and the session's timer go on. */
static void
pass(uint64_t ms)
{
	struct session *s, *next;

	rig_now_ms += ms;
	for (s = rig.srv->sessions; s != NULL; s = next) {
		next = s->next;
		event_active(&s->timer, EV_TIMEOUT, 0);
	}
	rig_settle(&rig);
}

static void
test_errors(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig.set.smtpd_hard_error_limit = 3;
	rig_send(&rig, c, SL("X\r\nX\r\nNOOP\r\nX\r\nNOOP\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "220|500 5.5.1|500 5.5.1|"
	    "250 2.0.0|500 5.5.1|421 4.7.0");
	assert_true(rig.closed[c]);
	c = rig_connect(&rig, false);
	(void)rig_replies(&rig, c);
}

static void
test_commands(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig.set.smtpd_command_limit = 2;
	rig_send(&rig, c, SL("NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c),
	    "220|250 2.0.0|250 2.0.0|421 4.7.0");
	assert_true(rig.closed[c]);
}

static void
test_long_lines(void **state)
{
	static char x[70000];
	int c = rig_connect(&rig, false);

	(void)state;
	memset(x, 'x', sizeof(x));
	rig_send(&rig, c, slice_make(x, 2000), 0);
	assert_string_equal(rig_replies(&rig, c), "220");
	rig_send(&rig, c, SL("\r\nNOOP\r\n"), 0);
	assert_string_equal(rig_replies(&rig, c), "500 5.5.2|250 2.0.0");
	rig_send(&rig, c, slice_make(x, sizeof(x)), 0);
	assert_string_equal(rig_replies(&rig, c), "421 4.7.0");
	assert_true(rig.closed[c]);
}

static void
test_idle(void **state)
{
	int c = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, c, SL(HI), 0);
	pass(299000);
	rig_send(&rig, c, SL("NOOP\r\nNO"), 0);
	pass(299000);
	assert_string_equal(rig_replies(&rig, c), "220|250|250 2.0.0");
	/* octets that make no command do not help */
	rig_send(&rig, c, SL("O"), 0);
	pass(1001);
	assert_string_equal(rig_replies(&rig, c), "421 4.4.2");
	pass(SESSION_LINGER_MS);
	assert_true(rig.closed[c]);
	assert_int_equal(rig.srv->nsessions, 0);
}

static void
test_slow(void **state)
{
	int c = rig_connect(&rig, false), i;

	(void)state;
	rig_send(&rig, c, SL(HI MAIL RCPT "DATA\r\n"), 0);
	(void)rig_replies(&rig, c);
	for (i = 0; i < 100 && rig.got[c].n == 0; i++) {
		rig_send(&rig, c, SL("x"), 0);
		pass(100000);
	}
	assert_true(i <= 19);
	assert_string_equal(rig_replies(&rig, c), "421 4.4.2");
	assert_true(rig.tr[0].aborted);
}

static void
test_cleanup_is_silent(void **state)
{
	int c = rig_connect(&rig, false), d = rig_connect(&rig, false);

	(void)state;
	rig.hold_verdicts = true;
	rig_send(&rig, c, SL(HI MAIL RCPT), 0);
	pass(59000);
	assert_string_equal(rig_replies(&rig, c), "220"); /* replies together */
	pass(1001);
	assert_string_equal(rig_replies(&rig, c), "250" R_MAIL "|451 4.3.0");
	rig_release(&rig); /* too late: dropped */
	assert_non_null(rig.cleanup);
	rig.hold_verdicts = false;
	rig.hold_commits = true;
	rig_send(&rig, d, SL(HI MSG), 0);
	pass(60001);
	assert_string_equal(rig_replies(&rig, d), "220|250" R_MAIL R_RCPT
	    "|354|451 4.3.0");
	rig_release(&rig);
	assert_non_null(rig.cleanup);
	rig.hold_commits = false;
	rig_send(&rig, d, SL(MSG), 0);
	assert_string_equal(rig_replies(&rig, d), "250 2.1.0" R_RCPT
	    "|354|250 2.0.0");
}

static void
test_stop(void **state)
{
	int a = rig_connect(&rig, false), b = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, a, SL(HI), 0);
	rig_send(&rig, b, SL(HI MAIL RCPT), 0);
	(void)rig_replies(&rig, a);
	(void)rig_replies(&rig, b);
	server_stop(rig.srv, 10000);
	rig_settle(&rig);
	assert_string_equal(rig_replies(&rig, a), "421 4.3.2");
	assert_false(rig.stopped);
	rig_send(&rig, b, SL("DATA\r\nx\r\n.\r\n"), 0);
	assert_string_equal(rig_replies(&rig, b), "354|250 2.0.0|421 4.3.2");
	assert_true(rig.tr[0].committed);
	(void)close(rig.client[a]);
	(void)close(rig.client[b]);
	rig.client[a] = rig.client[b] = -1;
	rig_settle(&rig);
	assert_true(rig.stopped);
}

static void
test_stop_deadline(void **state)
{
	int b = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, b, SL(HI MAIL RCPT "DATA\r\n"), 0);
	(void)rig_replies(&rig, b);
	server_stop(rig.srv, 10000);
	event_active(&rig.srv->stop_timer, EV_TIMEOUT, 0);
	rig_settle(&rig);
	assert_string_equal(rig_replies(&rig, b), "421 4.3.2");
	assert_true(rig.stopped);
	assert_true(rig.tr[0].aborted);
}

/* A listening UNIX socket that the kernel names. */
static int
listen_somewhere(struct sockaddr_un *sun, socklen_t *n)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	assert_int_equal(bind(fd, (struct sockaddr *)sun, sizeof(sa_family_t)),
	    0);
	*n = sizeof(*sun);
	assert_int_equal(getsockname(fd, (struct sockaddr *)sun, n), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void
test_accept_without_descriptors(void **state)
{
	struct rlimit rl, low;
	struct sockaddr_un sun;
	socklen_t n;
	int lfd = listen_somewhere(&sun, &n), fd[6], top = 0;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(fd); i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		top = fd[i] > top ? fd[i] : top;
		assert_int_equal(connect(fd[i], (struct sockaddr *)&sun, n), 0);
	}
	server_listen(rig.srv, lfd, true);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	low = rl;
	low.rlim_cur = (rlim_t)top + 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	rig_settle(&rig);
	assert_int_equal(rig.srv->nsessions, 2);
	/* no spinning: the listener waits for the timer */
	assert_false(event_pending(&rig.srv->listeners[0].ev, EV_READ, NULL));
	assert_true(evtimer_pending(&rig.srv->accept_timer, NULL));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	event_active(&rig.srv->accept_timer, EV_TIMEOUT, 0);
	rig_settle(&rig);
	rig_settle(&rig);
	assert_int_equal(rig.srv->nsessions, NELEMS(fd));
	assert_int_equal(rig.srv->sessions->uid, getuid());
	for (i = 0; i < NELEMS(fd); i++) {
		(void)close(fd[i]);
	}
}

static void
test_too_many_sessions(void **state)
{
	struct sockaddr_un sun;
	socklen_t n;
	int lfd = listen_somewhere(&sun, &n), fd[4];
	char room[100];
	size_t i;
	ssize_t r;

	(void)state;
	rig.set.smtpd_max_sessions = 4; /* local users have half of them */
	server_listen(rig.srv, lfd, true);
	for (i = 0; i < NELEMS(fd); i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(fd[i], (struct sockaddr *)&sun, n), 0);
	}
	rig_settle(&rig);
	rig_settle(&rig);
	assert_int_equal(rig.srv->nsessions, 2);
	for (i = 0; i < NELEMS(fd); i++) {
		r = recv(fd[i], room, sizeof(room), MSG_DONTWAIT);
		assert_true(r > 10);
		assert_memory_equal(room, i < 2 ? "220 " : "421 4.3.2", 4);
		(void)close(fd[i]);
	}
}

/* Who connects before cleanup has said whether it takes mail is greeted after. */
static void
test_greets_when_told(void **state)
{
	struct sockaddr_un sun;
	socklen_t n;
	int lfd = listen_somewhere(&sun, &n), fd;
	char room[100];

	(void)state;
	server_listen(rig.srv, lfd, true);
	rig_kill_cleanup(&rig);
	rig_new_cleanup(&rig);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, n), 0);
	rig_settle(&rig);
	assert_int_equal(rig.srv->nsessions, 0);
	rig_accepting(&rig, 452, "4.3.1", "full");
	rig_settle(&rig);
	assert_int_equal(rig.srv->nsessions, 1);
	assert_true(recv(fd, room, sizeof(room), MSG_DONTWAIT) > 10);
	/* a cleanup that says nothing does not keep clients waiting for long */
	rig_kill_cleanup(&rig);
	rig_new_cleanup(&rig);
	assert_true(evtimer_pending(&rig.srv->accept_timer, NULL));
	event_active(&rig.srv->accept_timer, EV_TIMEOUT, 0);
	rig_settle(&rig);
	assert_true(event_pending(&rig.srv->listeners[0].ev, EV_READ, NULL));
	(void)close(fd);
}

static void
test_idle_is_cheap(void **state)
{
	struct session *s;
	int c = rig_connect(&rig, false);

	(void)state;
	rig_send(&rig, c, SL(HI MSG), 0);
	s = rig.srv->sessions;
	assert_null(s->in.p);
	assert_null(s->out.p);
	assert_null(s->t);
	assert_true(sizeof(*s) < 1024);
	rig_send(&rig, c, SL("NOO"), 0);
	assert_true(s->in.cap < 256);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_errors),
		T(test_commands),
		T(test_long_lines),
		T(test_idle),
		T(test_slow),
		T(test_cleanup_is_silent),
		T(test_stop),
		T(test_stop_deadline),
		T(test_accept_without_descriptors),
		T(test_too_many_sessions),
		T(test_greets_when_told),
		T(test_idle_is_cheap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
