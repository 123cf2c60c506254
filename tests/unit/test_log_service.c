/* The log service: lines out of pipes, their shapes, the sinks. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "services/log_pipes.h"
#include "tests/unit/unit.h"

/* For static tables. */
#define LIT(s) { (s), sizeof(s) - 1 }

static const struct tm noon = { .tm_mon = 10, .tm_mday = 3, .tm_hour = 12 };

/* All lines of `in', fed `step' octets at a time, as "LEVEL text|". */
static void
feed(struct slice in, size_t step, struct strbuf *out)
{
	struct log_part part = { .n = 0 };
	struct log_line line;
	struct slice now;

	while (in.n > 0) {
		now = slice_make(in.p, in.n < step ? in.n : step);
		in = slice_make(in.p + now.n, in.n - now.n);
		while (log_text_next(&part, &now, &line)) {
			(void)strbuf_printf(out, "%d ", (int)line.level);
			(void)strbuf_add_slice(out, line.text);
			(void)strbuf_add_char(out, '|');
		}
	}
	if (log_text_last(&part, &line)) {
		(void)strbuf_printf(out, "%d ", (int)line.level);
		(void)strbuf_add_slice(out, line.text);
		(void)strbuf_add_char(out, '$');
	}
}

static void
cuts_lines(void **state)
{
	static const struct {
		const char *name;
		struct slice in;
		const char *out;
	} rows[] = {
		{ "nothing", { "", 0 }, "" },
		{ "levels", LIT("<3>a\n<4>b\n<6>c\n<7>d\n"), "3 a|4 b|6 c|7 d|" },
		{ "no level", LIT("free(): invalid\n"), "3 free(): invalid|" },
		{ "odd level", LIT("<5>x\n<66>y\n<6 z\n"),
		    "3 <5>x|3 <66>y|3 <6 z|" },
		{ "empty lines", LIT("\n\n<6>a\n\n"), "6 a|" },
		{ "last words", LIT("<6>a\n<3>b"), "6 a|3 b$" },
		{ "level alone", LIT("<6>\n"), "6 |" },
	};
	struct strbuf out;
	size_t i, step;

	(void)state;
	strbuf_init(&out, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		for (step = 1; step < 40; step += 3) {
			strbuf_reset(&out);
			feed(rows[i].in, step, &out);
			assert_slice(strbuf_slice(&out), rows[i].out);
		}
	}
	strbuf_clear(&out);
}

static void
bounds_lines(void **state)
{
	size_t n = 3 * LOG_TEXT_MAX;
	char *big = malloc(n + 5);
	struct strbuf out;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', n);
	memcpy(big, "<6>", 3);
	memcpy(big + n, "\n<6>z", 5);
	strbuf_init(&out, 0);
	feed(slice_make(big, n + 5), 1000, &out);
	assert_int_equal(out.n, 2 + LOG_TEXT_MAX - 3 + 1 + 4);
	assert_memory_equal(out.p + out.n - 8, "...|6 z$", 8);
	strbuf_clear(&out);
	free(big);
}

static void
writes_shapes(void **state)
{
	static const struct {
		enum log_level level;
		struct slice text;
		const char *file, *syslog;
	} rows[] = {
		{ LOG_L_INFO, LIT("a=b"),
		    "Nov  3 12:00:00 mx veredus/smtpd[12]: a=b\n",
		    "<22>Nov  3 12:00:00 veredus/smtpd[12]: a=b" },
		{ LOG_L_WARN, LIT("a"),
		    "Nov  3 12:00:00 mx veredus/smtpd[12]: warning: a\n",
		    "<20>Nov  3 12:00:00 veredus/smtpd[12]: warning: a" },
		{ LOG_L_ERROR, LIT("a"),
		    "Nov  3 12:00:00 mx veredus/smtpd[12]: error: a\n",
		    "<19>Nov  3 12:00:00 veredus/smtpd[12]: error: a" },
		{ LOG_L_DEBUG, LIT("a"),
		    "Nov  3 12:00:00 mx veredus/smtpd[12]: a\n",
		    "<23>Nov  3 12:00:00 veredus/smtpd[12]: a" },
		/* no octet of a terminal, nothing escaped twice */
		{ LOG_L_INFO, LIT("\x1b[2J\r\\x00\0"),
		    "Nov  3 12:00:00 mx veredus/smtpd[12]: "
		    "\\x1b[2J\\x0d\\x00\\x00\n",
		    "<22>Nov  3 12:00:00 veredus/smtpd[12]: "
		    "\\x1b[2J\\x0d\\x00\\x00" },
	};
	const struct log_origin from = { "mx", "smtpd", 12 };
	struct log_line line;
	struct strbuf out;
	size_t i;

	(void)state;
	strbuf_init(&out, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		line = (struct log_line){ rows[i].level, rows[i].text };
		strbuf_reset(&out);
		log_text_file(&out, &noon, &from, &line);
		assert_slice(strbuf_slice(&out), rows[i].file);
		strbuf_reset(&out);
		log_text_syslog(&out, &noon, &from, &line);
		assert_slice(strbuf_slice(&out), rows[i].syslog);
	}
	strbuf_clear(&out);
}

static void
sink_is_syslog(void **state)
{
	const struct log_line line = { LOG_L_INFO, SL("hello") };
	struct log_sink s;
	char buf[200];
	int pair[2];
	ssize_t r;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	log_sink_init(&s, "mx");
	assert_true(log_sink_full(&s)); /* nowhere to go yet */
	assert_true(log_sink_set(&s, SL("syslog"), pair[0]));
	assert_false(log_sink_full(&s));
	log_sink_add(&s, &noon, "qmgr", 7, &line);
	log_sink_add(&s, &noon, "qmgr", 8, &line);
	assert_true(log_sink_flush(&s));
	r = recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT);
	assert_true(r > 0);
	assert_slice(slice_make(buf, (size_t)r),
	    "<22>Nov  3 12:00:00 veredus/qmgr[7]: hello");
	r = recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT);
	assert_slice(slice_make(buf, (size_t)r),
	    "<22>Nov  3 12:00:00 veredus/qmgr[8]: hello");
	/* syslogd dies: counted; the next one hears of it */
	(void)close(pair[1]);
	log_sink_add(&s, &noon, "qmgr", 7, &line);
	log_sink_add(&s, &noon, "qmgr", 7, &line);
	assert_true(log_sink_flush(&s));
	assert_int_equal(s.lost, 2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	assert_true(log_sink_set(&s, SL("syslog"), pair[0]));
	log_sink_add(&s, &noon, "qmgr", 7, &line);
	assert_true(log_sink_flush(&s));
	r = recv(pair[1], buf, sizeof(buf) - 1, MSG_DONTWAIT);
	assert_true(r > 0);
	buf[r] = '\0';
	assert_non_null(strstr(buf, "warning: 2 log lines lost"));
	assert_int_equal(s.lost, 0);
	log_sink_clear(&s);
	(void)close(pair[1]);
}

static void
sink_waits(void **state)
{
	const struct log_line line = { LOG_L_INFO, SL("hello") };
	char buf[65536];
	struct log_sink s;
	int fds[2], i, blocked = 0;
	size_t got = 0, put;
	ssize_t r;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	log_sink_init(&s, "mx");
	assert_false(log_sink_set(&s, SL("carrier pigeon"), dup(fds[1])));
	assert_true(log_sink_set(&s, SL("stderr"), fds[1]));
	for (i = 0; i < 4000 && !log_sink_full(&s); i++) {
		log_sink_add(&s, &noon, "qmgr", 7, &line);
		blocked += log_sink_flush(&s) ? 0 : 1; /* never hangs */
	}
	assert_true(blocked > 0);
	put = s.out.n;
	while (s.out.n > 0) {
		while ((r = read(fds[0], buf, sizeof(buf))) > 0) {
			got += (size_t)r;
		}
		(void)log_sink_flush(&s);
	}
	while ((r = read(fds[0], buf, sizeof(buf))) > 0) {
		got += (size_t)r;
	}
	assert_true(put > 0);
	assert_int_equal(got, (size_t)i *
	    strlen("Nov  3 12:00:00 mx veredus/qmgr[7]: hello\n"));
	assert_int_equal(s.lost, 0);
	log_sink_clear(&s);
	(void)close(fds[0]);
}

static void
sink_is_full_disk(void **state)
{
	const struct log_line line = { LOG_L_INFO, SL("hello") };
	struct log_sink s;
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	if (fd == -1) {
		skip(); /* no /dev/full here */
	}
	log_sink_init(&s, "mx");
	assert_true(log_sink_set(&s, SL("file"), fd));
	log_sink_add(&s, &noon, "qmgr", 7, &line);
	assert_true(log_sink_flush(&s));
	assert_int_equal(s.lost, 1);
	assert_int_equal(s.out.n, 0);
	log_sink_clear(&s);
}

/* -- the pipes ------------------------------------------------------------- */

static bool finished;

static void
on_done(void *arg)
{
	finished = true;
	(void)event_base_loopbreak(arg);
}

static void
pipes_to_file(void **state)
{
	char name[] = "/tmp/veredus-log-XXXXXX", text[8192], *p;
	struct event_base *base = event_base_new();
	struct log_sink s;
	struct log_pipes *ps;
	int a[2], b[2], m[2], fd = mkstemp(name), i, lines = 0;
	ssize_t r;

	(void)state;
	finished = false;
	assert_true(fd >= 0);
	assert_int_equal(pipe(a), 0);
	assert_int_equal(pipe(b), 0);
	assert_int_equal(pipe(m), 0);
	log_sink_init(&s, "mx");
	ps = log_pipes_new(base, &s);
	assert_true(log_pipes_add(ps, SL("smtpd"), 1, a[0]));
	assert_true(log_pipes_add(ps, SL("qmgr"), 2, b[0]));
	assert_true(log_pipes_add(ps, SL("master"), 3, m[0]));
	assert_false(log_pipes_add(ps, SL("a name that is far too long for it"),
	    3, dup(a[0])));
	for (i = 0; i < 20; i++) {
		/* halves of lines, in turns: they must not mix */
		assert_int_equal(write(a[1], "<6>from smtpd, fi", 17), 17);
		assert_int_equal(write(b[1], "<6>from qmgr, se", 16), 16);
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		assert_int_equal(write(a[1], "rst\n", 4), 4);
		assert_int_equal(write(b[1], "cond\n", 5), 5);
		if (i == 3) { /* nothing was read before there was a sink */
			assert_int_equal(s.out.n, 0);
			assert_true(log_sink_set(&s, SL("file"), dup(fd)));
			log_pipes_resume(ps);
		}
	}
	assert_int_equal(write(b[1], "last words", 10), 10);
	(void)close(a[1]);
	log_pipes_finish(ps, on_done, base);
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	assert_false(finished); /* qmgr still writes */
	(void)close(b[1]);
	(void)event_base_dispatch(base);
	assert_true(finished); /* master's pipe is open all the same */
	r = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(r > 0);
	text[r] = '\0';
	for (p = strtok(text, "\n"); p != NULL; p = strtok(NULL, "\n")) {
		lines++;
		p += strlen("Nov  3 12:00:00 mx ");
		assert_true(strcmp(p, "veredus/smtpd[1]: from smtpd, first") ==
		    0 || strcmp(p, "veredus/qmgr[2]: from qmgr, second") == 0 ||
		    strcmp(p, "veredus/qmgr[2]: error: last words") == 0);
	}
	assert_int_equal(lines, 41);
	log_pipes_free(ps);
	log_sink_clear(&s);
	event_base_free(base);
	(void)close(m[1]);
	(void)close(fd);
	(void)unlink(name);
}

/* Many lines: the first is read at once, none is lost, they stay in order, and
   the reader slept in between. */
static void
pipes_rest_under_load(void **state)
{
	static char text[65536];
	char name[] = "/tmp/veredus-log-XXXXXX", line[32], *p;
	struct event_base *base = event_base_new();
	struct log_sink s;
	struct log_pipes *ps;
	int a[2], fd = mkstemp(name), i, n, seen = 0;
	bool slept = false;
	ssize_t r;

	(void)state;
	finished = false;
	assert_true(fd >= 0);
	assert_int_equal(pipe(a), 0);
	log_sink_init(&s, "mx");
	assert_true(log_sink_set(&s, SL("file"), dup(fd)));
	ps = log_pipes_new(base, &s);
	assert_true(log_pipes_add(ps, SL("smtpd"), 1, a[0]));
	for (i = 0; i < 1000; i++) {
		n = snprintf(line, sizeof(line), "<6>n=%d\n", i);
		assert_int_equal(write(a[1], line, (size_t)n), n);
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
		assert_int_equal(ioctl(a[0], FIONREAD, &n), 0);
		slept = slept || n > 0;
		assert_true(i > 0 || !slept);
	}
	assert_true(slept);
	(void)close(a[1]);
	log_pipes_finish(ps, on_done, base);
	(void)event_base_dispatch(base);
	assert_true(finished);
	r = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(r > 0);
	text[r] = '\0';
	for (p = strtok(text, "\n"); p != NULL; p = strtok(NULL, "\n")) {
		assert_non_null(strstr(p, "n="));
		assert_int_equal(atoi(strstr(p, "n=") + 2), seen++);
	}
	assert_int_equal(seen, 1000);
	log_pipes_free(ps);
	log_sink_clear(&s);
	event_base_free(base);
	(void)close(fd);
	(void)unlink(name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_lines),
		cmocka_unit_test(bounds_lines),
		cmocka_unit_test(writes_shapes),
		cmocka_unit_test(sink_is_syslog),
		cmocka_unit_test(sink_waits),
		cmocka_unit_test(sink_is_full_disk),
		cmocka_unit_test(pipes_to_file),
		cmocka_unit_test(pipes_rest_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
