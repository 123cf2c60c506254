/* Both sides of a control socket, in one process: a tool that asks well, and
   tools that do not; and rows on their way to people and programs. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ctl.h"
#include "common/log.h"
#include "tests/unit/unit.h"
#include "tools/ctl_client.h"
#include "tools/rows.h"

static char sock_path[108];

struct fixture {
	struct event_base *base;
	struct ctl_server *server;
	uint32_t held;  /* a session whose answer comes later */
	unsigned gone, rooms;
	uint64_t left;  /* rows that `many' still owes */
};

static void
ask_echo(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned n)
{
	unsigned i;

	(void)arg;
	for (i = 1; i < n; i++) {
		ctl_row_begin(cs);
		ctl_row_u(cs, "index", i);
		ctl_row_s(cs, "word", words[i]);
		ctl_row_end(cs);
	}
	ctl_data(cs, SL("raw"));
	ctl_end(cs, 0, "%u words", n - 1);
}

static void
on_gone(void *arg, struct ctl_session *cs)
{
	struct fixture *f = arg;

	(void)cs;
	f->gone++;
}

static void
ask_later(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned n)
{
	struct fixture *f = arg;

	(void)words;
	(void)n;
	f->held = ctl_session_id(cs);
	ctl_on_gone(cs, on_gone, f);
}

static void
more_rows(void *arg, struct ctl_session *cs)
{
	struct fixture *f = arg;
	char text[1000];

	f->rooms++;
	memset(text, 'x', sizeof(text));
	while (f->left > 0 && !ctl_is_full(cs)) {
		f->left--;
		ctl_row_begin(cs);
		ctl_row_s(cs, "text", slice_make(text, sizeof(text)));
		ctl_row_end(cs);
	}
	if (f->left > 0) {
		ctl_on_room(cs, more_rows, f);
	} else {
		ctl_end(cs, 0, "%s", "");
	}
}

static void
ask_many(void *arg, struct ctl_session *cs, const struct slice *words,
    unsigned n)
{
	struct fixture *f = arg;

	(void)words;
	(void)n;
	f->left = 3000;
	ctl_on_room(cs, more_rows, f);
}

static const struct ctl_verb verbs[] = {
	{ "echo", false, 0, 3, ask_echo },
	{ "later", false, 0, 0, ask_later },
	{ "many", false, 0, 0, ask_many },
	{ "secret", true, 0, 0, ask_echo },
};

static int
setup(void **state)
{
	static struct fixture f;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&f, 0, sizeof(f));
	(void)snprintf(sock_path, sizeof(sock_path), "/tmp/veredus-ctl-%ld",
	    (long)getpid());
	memcpy(sun.sun_path, sock_path, strlen(sock_path));
	(void)unlink(sock_path);
	if (bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1 ||
	    listen(fd, 128) == -1) {
		return -1;
	}
	f.base = event_base_new();
	f.server = ctl_server_new(f.base, fd, false, IPC_QMGR, verbs,
	    NELEMS(verbs), &f);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	ctl_server_free(f->server);
	event_base_free(f->base);
	(void)unlink(sock_path);
	return 0;
}

static void
spin(struct fixture *f)
{
	int i;

	for (i = 0; i < 20; i++) {
		(void)event_base_loop(f->base, EVLOOP_NONBLOCK);
	}
}

/* Ask, let the server work, and read the next piece while it works on. */
static void
ask(struct ctl_client *c, const char *const *words, size_t n)
{
	assert_int_equal(ctl_client_ask(c, sock_path, IPC_QMGR, words, n), 0);
}

static enum ctl_got
next(struct fixture *f, struct ctl_client *c, struct ctl_item *item)
{
	spin(f);
	return ctl_client_next(c, item, 1000);
}

static void
test_echo(void **state)
{
	static const char *const words[] = { "echo", "a", "" };
	struct fixture *f = *state;
	struct ctl_client c;
	struct ctl_item item;
	struct strbuf out;

	strbuf_init(&out, 0);
	ask(&c, words, 3);
	assert_int_equal(next(f, &c, &item), CTL_GOT_ROW);
	assert_true(row_add_json(&out, item.octets));
	assert_int_equal(next(f, &c, &item), CTL_GOT_ROW);
	assert_true(row_add_json(&out, item.octets));
	assert_string_equal(out.p, "{\"index\":1,\"word\":\"a\"}\n"
	    "{\"index\":2,\"word\":\"\"}\n");
	assert_int_equal(next(f, &c, &item), CTL_GOT_DATA);
	assert_slice(item.octets, "raw");
	assert_int_equal(next(f, &c, &item), CTL_GOT_END);
	assert_int_equal(item.exit, 0);
	assert_slice(item.octets, "2 words");
	assert_int_equal(next(f, &c, &item), CTL_GOT_LOST);
	ctl_client_close(&c);
	strbuf_clear(&out);
}

static void
test_refusals(void **state)
{
	static const struct {
		const char *words[6];
		size_t n;
		unsigned exit;
	} rows[] = {
		{ { "unheard" }, 1, EX_USAGE },
		{ { "secret" }, 1, EX_NOPERM },
		{ { "echo", "1", "2", "3", "4" }, 5, EX_USAGE },
		{ { "later", "1" }, 2, EX_USAGE },
	};
	struct fixture *f = *state;
	struct ctl_client c;
	struct ctl_item item;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		ask(&c, rows[i].words, rows[i].n);
		assert_int_equal(next(f, &c, &item), CTL_GOT_END);
		assert_int_equal(item.exit, rows[i].exit);
		assert_true(item.octets.n > 0);
		ctl_client_close(&c);
	}
}

static void
test_later(void **state)
{
	static const char *const words[] = { "later" };
	struct fixture *f = *state;
	struct ctl_client c;
	struct ctl_item item;

	ask(&c, words, 1);
	spin(f);
	assert_non_null(ctl_session_get(f->server, f->held));
	ctl_end(ctl_session_get(f->server, f->held), EX_DATAERR, "no");
	assert_null(ctl_session_get(f->server, f->held));
	assert_int_equal(next(f, &c, &item), CTL_GOT_END);
	assert_int_equal(item.exit, EX_DATAERR);
	ctl_client_close(&c);
	assert_int_equal(f->gone, 0);
}

static void
test_tool_goes(void **state)
{
	static const char *const words[] = { "later" };
	struct fixture *f = *state;
	struct ctl_client c;

	ask(&c, words, 1);
	spin(f);
	ctl_client_close(&c);
	spin(f);
	assert_int_equal(f->gone, 1);
	assert_null(ctl_session_get(f->server, f->held));
}

static void
test_many_rows(void **state)
{
	static const char *const words[] = { "many" };
	struct fixture *f = *state;
	struct ctl_client c;
	struct ctl_item item;
	unsigned n = 0;
	enum ctl_got got;

	ask(&c, words, 1);
	while ((got = next(f, &c, &item)) == CTL_GOT_ROW) {
		n++;
	}
	assert_int_equal(got, CTL_GOT_END);
	assert_int_equal(n, 3000);
	assert_true(f->rooms > 3); /* it did not all go into memory at once */
	ctl_client_close(&c);
}

static void
send_garbage(const void *p, size_t n)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path, sock_path, strlen(sock_path));
	assert_int_equal(connect(fd, (const struct sockaddr *)&sun,
	    sizeof(sun)), 0);
	assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
	(void)close(fd);
}

static void
test_garbage(void **state)
{
	static const char *const words[] = { "echo" };
	static const char no_nul[] = "\x1b\0\0\0\x20\x03\0\0\1\0\0\0b\xa\0\0\0echo echo!";
	struct fixture *f = *state;
	struct ctl_client c;
	struct ctl_item item;

	send_garbage("GET / HTTP/1.0\r\n\r\n", 18);
	spin(f);
	send_garbage("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
	spin(f);
	send_garbage(no_nul, sizeof(no_nul) - 1);
	spin(f);
	/* It serves on. */
	ask(&c, words, 1);
	assert_int_equal(next(f, &c, &item), CTL_GOT_DATA);
	ctl_client_close(&c);
}

static void
test_more_than_fit(void **state)
{
	static const char *const words[] = { "later" };
	struct fixture *f = *state;
	struct ctl_client c[CTL_SESSIONS_MAX + 4];
	struct ctl_item item;
	size_t i;

	for (i = 0; i < NELEMS(c); i++) {
		ask(&c[i], words, 1);
		spin(f);
	}
	assert_int_equal(ctl_client_next(&c[NELEMS(c) - 1], &item, 10),
	    CTL_GOT_LOST);
	assert_int_equal(item.exit, EX_TEMPFAIL); /* waits, not refused */
	for (i = 0; i + 1 < NELEMS(c); i++) {
		ctl_client_close(&c[i]);
	}
	spin(f);
	assert_non_null(ctl_session_get(f->server, f->held));
	ctl_client_close(&c[NELEMS(c) - 1]);
	spin(f);
	assert_int_equal(f->gone, NELEMS(c));
}

/* -- rows -------------------------------------------------------------------- */

static void
test_json_strings(void **state)
{
	static const struct {
		const char *in;
		size_t n;
		const char *want;
	} rows[] = {
		{ "", 0, "\"\"" },
		{ "plain", 5, "\"plain\"" },
		{ "\"\\/", 3, "\"\\\"\\\\/\"" },
		{ "\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"" },
		{ "a\0b\x1f\x7f", 5, "\"a\\u0000b\\u001f\\u007f\"" },
		{ "\xc3\xa9", 2, "\"\xc3\xa9\"" },
		{ "\xe2\x82\xac", 3, "\"\xe2\x82\xac\"" },
		{ "\xf0\x9f\x93\xa7", 4, "\"\xf0\x9f\x93\xa7\"" },
		{ "\xff", 1, "\"\\ufffd\"" },
		{ "\xc3", 1, "\"\\ufffd\"" },
		{ "\xc0\xaf", 2, "\"\\ufffd\\ufffd\"" },         /* overlong */
		{ "\xe0\x80\xaf", 3, "\"\\ufffd\\ufffd\\ufffd\"" },
		{ "\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"" }, /* surrogate */
		{ "\xf4\x90\x80\x80", 4,
		    "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
		{ "\xe2\x82x", 3, "\"\\ufffd\\ufffdx\"" },
		/* C1, line separator, direction */
		{ "\xc2\x9b" "1m\xc2\x85", 6, "\"\\u009b1m\\u0085\"" },
		{ "\xe2\x80\xa8\xe2\x80\xa9", 6, "\"\\u2028\\u2029\"" },
		{ "\xe2\x80\xae\xe2\x81\xa6", 6, "\"\\u202e\\u2066\"" },
	};
	struct strbuf out;
	size_t i;

	(void)state;
	strbuf_init(&out, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		strbuf_reset(&out);
		json_add_string(&out, slice_make(rows[i].in, rows[i].n));
		assert_string_equal(out.p, rows[i].want);
	}
	strbuf_clear(&out);
}

static void
test_printable(void **state)
{
	struct strbuf out;

	(void)state;
	strbuf_init(&out, 0);
	text_add_printable(&out, SL("a\x1b[31m\xc2\x9b\xc3\xa9\xff\n"));
	assert_string_equal(out.p, "a\\x1b[31m\\xc2\\x9b\xc3\xa9\\xff\\x0a");
	strbuf_clear(&out);
}

static void
test_broken_rows(void **state)
{
	struct strbuf row, out;
	size_t n;

	(void)state;
	strbuf_init(&row, 0);
	strbuf_init(&out, 0);
	row_add_u(&row, "n", 7);
	row_add_s(&row, "s", SL("text"));
	assert_true(row_add_json(&out, strbuf_slice(&row)));
	assert_string_equal(out.p, "{\"n\":7,\"s\":\"text\"}\n");
	for (n = 1; n < row.n; n++) {
		if (n == 14) {
			continue; /* just the first column: a sound row */
		}
		strbuf_reset(&out);
		assert_false(row_add_json(&out, slice_make(row.p, n)));
		assert_int_equal(out.n, 0);
	}
	strbuf_clear(&row);
	strbuf_clear(&out);
}

static void
test_table(void **state)
{
	static const char want[] =
	    "name    size\n"
	    "\xc3\xa9 x        7\n"
	    "longer   123\n";
	char got[200];
	struct rows_out o;
	struct strbuf row;
	FILE *f = tmpfile();
	size_t n;

	(void)state;
	assert_non_null(f);
	strbuf_init(&row, 0);
	rows_begin(&o, f, false);
	row_add_s(&row, "name", SL("\xc3\xa9 x"));
	row_add_u(&row, "size", 7);
	row_add_s(&row, "_only_json", SL("not shown"));
	rows_put(&o, strbuf_slice(&row));
	strbuf_reset(&row);
	row_add_s(&row, "name", SL("longer"));
	row_add_u(&row, "size", 123);
	rows_put(&o, strbuf_slice(&row));
	rows_put(&o, SL("?"));
	assert_true(rows_end(&o));
	assert_true(o.broken);
	assert_int_equal(o.count, 2);
	rewind(f);
	n = fread(got, 1, sizeof(got) - 1, f);
	got[n] = '\0';
	assert_string_equal(got, want);
	(void)fclose(f);
	strbuf_clear(&row);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_echo, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tool_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_than_fit, setup,
		    teardown),
		cmocka_unit_test(test_json_strings),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_broken_rows),
		cmocka_unit_test(test_table),
	};

	log_setup("test_ctl", false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
