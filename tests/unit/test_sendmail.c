#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/envelope.h"
#include "tests/unit/unit.h"
#include "tools/sendmail_args.h"
#include "tools/sendmail_input.h"

/* How real programs call sendmail (facts, section 4). */
static void
calls_of_real_programs(void **state)
{
	static const struct {
		const char *who;
		char *argv[8];
		bool t, i, given, b8;
		const char *sender, *name;
		int nrcpts;
	} rows[] = {
#define A(...) { (char *)(uintptr_t)"sendmail", __VA_ARGS__ }
#define W(s) (char *)(uintptr_t)(s)
		{ "cron", A(W("-FCronDaemon"), W("-i"), W("-B8BITMIME"), W("-oem"),
		    W("root")), false, true, false, true, "", "CronDaemon", 1 },
		{ "at", A(W("-i"), W("ann")), false, true, false, false, "", NULL, 1 },
		{ "php", A(W("-t"), W("-i"), W("-fa@example.test")), true, true, true,
		    false, "a@example.test", NULL, 0 },
		{ "git", A(W("-f"), W("a@x"), W("-i"), W("b@y"), W("c@z")), false,
		    true, true, false, "a@x", NULL, 2 },
		{ "mutt", A(W("-oem"), W("-oi"), W("-N"), W("failure"), W("--"),
		    W("b@y")), false, true, false, false, "", NULL, 1 },
		{ "mutt -f", A(W("-oem"), W("-oi"), W("-f"), W("a@x"), W("--"),
		    W("-odd@y")), false, true, true, false, "a@x", NULL, 1 },
		{ "s-nail", A(W("-i"), W("-f"), W("a@x"), W("--"), W("b@y")), false,
		    true, true, false, "a@x", NULL, 1 },
		{ "logwatch", A(W("-t")), true, false, false, false, "", NULL, 0 },
		{ "together", A(W("-tif"), W("a@x")), true, true, true, false, "a@x",
		    NULL, 0 },
		{ "null", A(W("-f"), W("<>"), W("b@y")), false, false, true, false,
		    "", NULL, 1 },
		{ "null glued", A(W("-f<>"), W("b@y")), false, false, true, false,
		    "", NULL, 1 },
		{ "unknown -o", A(W("-oxyz"), W("-odq"), W("-o"), W("7"), W("b@y")),
		    false, false, false, false, "", NULL, 1 },
		{ "-O and friends", A(W("-O"), W("DeliveryMode=b"), W("-L"), W("tag"),
		    W("-v"), W("-Ac"), W("b@y")), false, false, false, false, "",
		    NULL, 1 },
#undef A
#undef W
	};
	struct sendmail_args a;
	struct strbuf why;
	size_t k;

	(void)state;
	strbuf_init(&why, 0);
	for (k = 0; k < NELEMS(rows); k++) {
		char *argv[9] = { NULL };
		int argc = 0;

		while (argc < 8 && rows[k].argv[argc] != NULL) {
			argv[argc] = rows[k].argv[argc];
			argc++;
		}
		assert_true(sendmail_args_parse(argc, argv, &a, &why));
		assert_int_equal(a.from_header, rows[k].t);
		assert_int_equal(a.dot_is_data, rows[k].i);
		assert_int_equal(a.sender_given, rows[k].given);
		assert_int_equal(a.body_8bitmime, rows[k].b8);
		assert_string_equal(a.sender, rows[k].sender);
		if (rows[k].name != NULL) {
			assert_string_equal(a.full_name, rows[k].name);
		}
		assert_int_equal(a.nrcpts, rows[k].nrcpts);
	}
	strbuf_clear(&why);
}

static void
bad_calls_say_why(void **state)
{
	static const struct {
		const char *arg, *why;
	} rows[] = {
		{ "-bd", "-bd is not supported" },
		{ "-f", "option -f needs an argument" },
		{ "-Z", "unknown option -Z" },
	};
	struct sendmail_args a;
	struct strbuf why;
	size_t k;

	(void)state;
	strbuf_init(&why, 0);
	for (k = 0; k < NELEMS(rows); k++) {
		char name[] = "sendmail", arg[8];
		char *argv[] = { name, arg, NULL };

		memcpy(arg, rows[k].arg, strlen(rows[k].arg) + 1);
		strbuf_reset(&why);
		assert_false(sendmail_args_parse(2, argv, &a, &why));
		assert_non_null(strstr(why.p, rows[k].why));
	}
	strbuf_clear(&why);
}

static void
lines_become_wire_form(void **state)
{
	static const struct {
		const char *in, *want;
		bool dot_is_data;
	} rows[] = {
		{ "a\nb\n", "a\r\nb\r\n", false },
		{ "a\r\nb\r\n", "a\r\nb\r\n", false },
		{ "a\nb", "a\r\nb\r\n", false },
		{ "a\n.\nb\n", "a\r\n", false },
		{ "a\n.\nb\n", "a\r\n.\r\nb\r\n", true },
		{ "a\r\n.\r\nb\n", "a\r\n", false },
		{ "a\n..\nb\n", "a\r\n..\r\nb\r\n", false },
		{ "a\n.x\n", "a\r\n.x\r\n", false },
		{ "a\rb\n", "a\r\nb\r\n", false },
		{ "a\r\r\nb\n", "a\r\n\r\nb\r\n", false },
		{ "a\n.", "a\r\n", false },
		{ "a\n.", "a\r\n.\r\n", true },
		{ "a\r", "a\r\n", false },
		{ ".\n", "", false },
		{ "", "", false },
		{ "\n", "\r\n", false },
	};
	struct sendmail_lines l;
	struct strbuf out;
	size_t k, i, n;

	(void)state;
	strbuf_init(&out, 0);
	for (k = 0; k < NELEMS(rows); k++) {
		n = strlen(rows[k].in);
		strbuf_reset(&out);
		sendmail_lines_init(&l, &out, rows[k].dot_is_data);
		assert_true(sendmail_lines_feed(&l, slice_of(rows[k].in)));
		assert_true(sendmail_lines_end(&l));
		assert_string_equal(strbuf_slice(&out).p, rows[k].want);
		strbuf_reset(&out); /* and one octet at a time */
		sendmail_lines_init(&l, &out, rows[k].dot_is_data);
		for (i = 0; i < n; i++) {
			assert_true(sendmail_lines_feed(&l,
			    slice_make(rows[k].in + i, 1)));
		}
		assert_true(sendmail_lines_end(&l));
		assert_string_equal(strbuf_slice(&out).p, rows[k].want);
	}
	strbuf_clear(&out);
	strbuf_init(&out, 10);
	sendmail_lines_init(&l, &out, false);
	assert_false(sendmail_lines_feed(&l, SL("0123456789a\n")));
	strbuf_clear(&out);
}

static bool
collect(void *arg, struct slice s)
{
	struct strbuf *b = arg;

	(void)strbuf_add_slice(b, s);
	return strbuf_add_char(b, '|');
}

static void
header_gives_recipients_and_loses_bcc(void **state)
{
	static const struct {
		const char *in, *rcpts, *out;
	} rows[] = {
		{ "To: a@x, B <b@y>\r\nSubject: s\r\nBcc: c@z,\r\n d@z\r\n\r\nBcc: no\r\n",
		    "a@x|b@y|c@z|d@z|",
		    "To: a@x, B <b@y>\r\nSubject: s\r\n\r\nBcc: no\r\n" },
		{ "to: a@x\r\nResent-To: r@x\r\nResent-Bcc: q@x\r\nBcc: b@x\r\n\r\n",
		    "r@x|q@x|", "to: a@x\r\nResent-To: r@x\r\n\r\n" },
		{ "no header at all\r\n", "", "no header at all\r\n" },
		{ "\r\nTo: a@x\r\n", "", "\r\nTo: a@x\r\n" },
		{ "From joe Mon\r\nTo: a@x\r\nBcc: b@x\r\n\r\nx\r\n",
		    "a@x|b@x|", "From joe Mon\r\nTo: a@x\r\n\r\nx\r\n" },
	};
	struct sendmail_header h;
	struct strbuf got, out;
	size_t k;

	(void)state;
	strbuf_init(&got, 0);
	strbuf_init(&out, 0);
	for (k = 0; k < NELEMS(rows); k++) {
		strbuf_reset(&got);
		strbuf_reset(&out);
		sendmail_header_scan(slice_of(rows[k].in), &h);
		assert_true(sendmail_header_recipients(slice_of(rows[k].in), &h,
		    collect, &got, &out));
		assert_string_equal(strbuf_slice(&got).p, rows[k].rcpts);
		assert_string_equal(strbuf_slice(&out).p, rows[k].out);
	}
	strbuf_clear(&got);
	strbuf_clear(&out);
}

static void
flags(void **state)
{
	char line[1100];

	(void)state;
	assert_int_equal(sendmail_flags(SL("a\r\nb\r\n")), 0);
	assert_int_equal(sendmail_flags(SL("a\r\n.b\r\n")), CONTENT_DOT_LINES);
	assert_int_equal(sendmail_flags(SL("\xc3\xa4\r\n")), CONTENT_8BIT);
	memset(line, 'x', sizeof(line));
	assert_int_equal(sendmail_flags(slice_make(line, 1000)), 0);
	assert_int_equal(sendmail_flags(slice_make(line, 1001)),
	    CONTENT_LONG_LINES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_of_real_programs),
		cmocka_unit_test(bad_calls_say_why),
		cmocka_unit_test(lines_become_wire_form),
		cmocka_unit_test(header_gives_recipients_and_loses_bcc),
		cmocka_unit_test(flags),
	};

	return cmocka_run_group_tests_name("sendmail", tests, NULL, NULL);
}
