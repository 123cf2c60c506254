/* Lines, verbs, paths and parameters of SMTP; the table of replies. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "smtpd/grammar.h"
#include "smtpd/replies.h"
#include "smtpd/session.h"
#include "tests/unit/unit.h"

/* What comes out of an input, one letter a line: L line, B bad, G long,
   E endless; and the text of the last good line. */
struct line_row {
	const char *name;
	struct slice in;
	const char *want;
	const char *last;
};

#define X64   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256  X64 X64 X64 X64
#define X1022 X256 X256 X256 X64 X64 X64                                       \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct line_row lines[] = {
	{ "nothing", SL_INIT(""), "", NULL },
	{ "one", SL_INIT("NOOP\r\n"), "L", "NOOP" },
	{ "three", SL_INIT("a\r\nb\r\nc\r\n"), "LLL", "c" },
	{ "not whole", SL_INIT("a\r\nb"), "L", "a" },
	{ "only CR", SL_INIT("a\r"), "", NULL },
	{ "empty", SL_INIT("\r\n"), "L", "" },
	{ "LF ends nothing", SL_INIT("a\nb\n"), "", NULL },
	{ "CR ends nothing", SL_INIT("a\rb\r"), "", NULL },
	{ "bare LF", SL_INIT("a\nb\r\nc\r\n"), "BL", "c" },
	{ "bare CR", SL_INIT("a\rb\r\nc\r\n"), "BL", "c" },
	{ "CR CR LF", SL_INIT("a\r\r\nc\r\n"), "BL", "c" },
	{ "LF CR LF", SL_INIT("a\n\r\nc\r\n"), "BL", "c" },
	{ "leading LF", SL_INIT("\nNOOP\r\n"), "B", NULL },
	{ "NUL", SL_INIT("a\0b\r\nc\r\n"), "BL", "c" },
	{ "8-bit is a line", SL_INIT("\351\r\n"), "L", "\351" },
	{ "1024", SL_INIT(X1022 "\r\n"), "L", X1022 },
	{ "1025", SL_INIT(X1022 "x\r\nNOOP\r\n"), "GL", "NOOP" },
	{ "1026", SL_INIT(X1022 "xx\r\nNOOP\r\n"), "GL", "NOOP" },
	{ "long with bare LF", SL_INIT(X1022 "x\nx\r\nNOOP\r\n"), "GL", "NOOP" },
	{ "long with CR CR LF", SL_INIT(X1022 "x\r\r\nNOOP\r\n"), "GL", "NOOP" },
	{ "CR at the edge", SL_INIT(X1022 "x\rx\r\nNOOP\r\n"), "GL", "NOOP" },
};

static void
check_lines(const struct line_row *r, size_t cut)
{
	struct grammar_lines st = { 0 };
	struct slice line = { NULL, 0 }, last = { NULL, 0 };
	char got[16] = "", *copy;
	size_t from = 0, to = 0, used, n = 0;
	enum grammar_line g = GRAMMAR_MORE;

	copy = malloc(r->in.n + 1);
	assert_non_null(copy);
	memcpy(copy, r->in.p, r->in.n);
	while (to < r->in.n || g != GRAMMAR_MORE) {
		if (g == GRAMMAR_MORE) {
			to += r->in.n - to < cut ? r->in.n - to : cut;
		}
		g = grammar_next(&st, slice_make(copy + from, to - from), &line,
		    &used);
		from += used;
		assert_true(from <= to);
		if (g != GRAMMAR_MORE) {
			assert_true(used > 0);
			assert_true(n < sizeof(got) - 1);
			got[n++] = "?LBGE"[g];
		}
		if (g == GRAMMAR_LINE) {
			last = line;
		}
	}
	if (strcmp(got, r->want) != 0) {
		fail_msg("%s (cut %zu): %s, not %s", r->name, cut, got,
		    r->want);
	}
	if (r->last != NULL) {
		assert_slice(last, r->last);
	}
	free(copy);
}

static void
test_lines(void **state)
{
	size_t i, cut;

	(void)state;
	for (i = 0; i < NELEMS(lines); i++) {
		check_lines(&lines[i], lines[i].in.n + 1);
		for (cut = 1; cut < 8; cut++) {
			check_lines(&lines[i], cut);
		}
		check_lines(&lines[i], 1023);
		check_lines(&lines[i], 1024);
	}
}

static void
test_endless(void **state)
{
	static char x[1000];
	struct grammar_lines st = { 0 };
	struct slice line;
	size_t used, sum = 0;
	enum grammar_line g = GRAMMAR_MORE;
	int i;

	(void)state;
	memset(x, 'x', sizeof(x));
	used = 0;
	/* the first thousand waits, the second fills the line */
	assert_int_equal(grammar_next(&st, slice_make(x, sizeof(x)), &line,
	    &used), GRAMMAR_MORE);
	assert_int_equal(used, 0);
	st.skipped = GRAMMAR_LINE_MAX;
	for (i = 0; i < 100 && g == GRAMMAR_MORE; i++) {
		g = grammar_next(&st, slice_make(x, sizeof(x)), &line, &used);
		sum += used;
	}
	assert_int_equal(g, GRAMMAR_ENDLESS);
	assert_true(sum < GRAMMAR_SKIP_MAX + 1000);
}

static void
test_split(void **state)
{
	struct slice v, a;

	(void)state;
	grammar_split(SL("MAIL FROM:<a@b>  "), &v, &a);
	assert_slice(v, "MAIL");
	assert_slice(a, "FROM:<a@b>");
	grammar_split(SL("  noop"), &v, &a);
	assert_slice(v, "noop");
	assert_slice(a, "");
	grammar_split(SL(""), &v, &a);
	assert_int_equal(v.n, 0);
	grammar_split(SL("HELO\thost\t"), &v, &a);
	assert_slice(v, "HELO");
	assert_slice(a, "host");
}

struct path_row {
	const char *in, *word;
	enum addr_err want;
	const char *local, *params;
};

static const struct path_row paths[] = {
	{ "FROM:<a@b>", "FROM:", ADDR_OK, "a", "" },
	{ "from:<a@b> SIZE=1", "FROM:", ADDR_OK, "a", " SIZE=1" },
	{ "FROM: <a@b>", "FROM:", ADDR_OK, "a", "" },
	{ "FROM:<>", "FROM:", ADDR_OK, "", "" },
	{ "TO:<\"a> b\"@c> X", "TO:", ADDR_OK, "\"a> b\"", " X" },
	{ "FROM <a@b>", "FROM:", ADDR_SYNTAX, NULL, NULL },
	{ "FROM :<a@b>", "FROM:", ADDR_SYNTAX, NULL, NULL },
	{ "TO:<a@b>", "FROM:", ADDR_SYNTAX, NULL, NULL },
	{ "FROM:", "FROM:", ADDR_SYNTAX, NULL, NULL },
	{ "FROM:a@b", "FROM:", ADDR_SYNTAX, NULL, NULL },
	{ "FROM:<a@b>SIZE=1", "FROM:", ADDR_SYNTAX, NULL, NULL },
	{ "FROM:<a@b\303\244>", "FROM:", ADDR_8BIT, NULL, NULL },
	{ "", "FROM:", ADDR_SYNTAX, NULL, NULL },
};

static void
test_paths(void **state)
{
	struct slice params;
	struct addr a;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(paths); i++) {
		enum addr_err e = grammar_path(slice_of(paths[i].in),
		    slice_of(paths[i].word), ADDR_ALLOW_NULL, &a, &params);

		if (e != paths[i].want) {
			fail_msg("%s: %s", paths[i].in, addr_err_text(e));
		}
		if (e == ADDR_OK) {
			assert_slice(a.local, paths[i].local);
			assert_slice(params, paths[i].params);
		}
	}
}

static void
test_params(void **state)
{
	struct slice p = SL(" SIZE=123  BODY=8BITMIME X-y"), k, v;
	uint64_t n = 7;

	(void)state;
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_PARAM);
	assert_slice(k, "SIZE");
	assert_slice(v, "123");
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_PARAM);
	assert_slice(k, "BODY");
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_PARAM);
	assert_slice(k, "X-y");
	assert_null(v.p);
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_NO_PARAM);
	p = SL("=1");
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_PARAM_BAD);
	p = SL("SIZE=");
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_PARAM_BAD);
	p = SL("-A=1");
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_PARAM_BAD);
	p = SL("A=b=c");
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_PARAM_BAD);
	p = SL("A=\177");
	assert_int_equal(grammar_next_param(&p, &k, &v), GRAMMAR_PARAM_BAD);
	assert_true(grammar_size(SL("0"), &n));
	assert_int_equal(n, 0);
	assert_true(grammar_size(SL("99999999999999999999"), &n));
	assert_true(n == UINT64_MAX);
	assert_false(grammar_size(SL("999999999999999999999"), &n));
	assert_false(grammar_size(SL(""), &n));
	assert_false(grammar_size(SL("1k"), &n));
	assert_false(grammar_size(SL("-1"), &n));
	assert_true(grammar_is_helo(SL("mail.example.org")));
	assert_true(grammar_is_helo(SL("[192.0.2.1]")));
	assert_true(grammar_is_helo(SL("my_pc")));
	assert_false(grammar_is_helo(SL("")));
	assert_false(grammar_is_helo(SL("a b")));
	assert_false(grammar_is_helo(SL("\303\244")));
	assert_false(grammar_is_helo(SL("a\033[0m")));
	assert_false(grammar_is_helo(SL(X256)));
}

/* -- the table of replies -------------------------------------------------- */

static bool
is_state(struct slice s)
{
	unsigned i;

	for (i = 0; i < SMTPD_NSTATES; i++) {
		if (slice_eq(s, slice_of(session_state_name(i)))) {
			return true;
		}
	}
	return slice_eq(s, SL("*"));
}

static void
print_row(const struct smtpd_reply *r, const char *who, struct strbuf *out)
{
	struct slice rest = slice_of(r->where), w;
	size_t n;

	assert_true(rest.n > 0);
	while (slice_word(&rest, " ", &w)) {
		n = slice_find(w, '/');
		assert_true(n < w.n);
		if (!is_state(slice_make(w.p, n))) {
			fail_msg("%s: no state %.*s", r->name, SLF(w));
		}
		strbuf_printf(out, "%s %u %s %.*s %.*s %s\n", r->name, r->code,
		    r->esc[0] != '\0' ? r->esc : "-", (int)n, w.p,
		    (int)(w.n - n - 1), w.p + n + 1, who);
	}
}

/*
 * smtpd/replies.txt is the table's print: "NAME CODE ESC STATE COMMAND WHO".
 * VEREDUS_UPDATE=1 writes it anew.
 */
static void
test_replies(void **state)
{
	const char *src = getenv("VEREDUS_SRCDIR");
	struct strbuf want, got;
	char path[4096], room[4096];
	FILE *f;
	size_t i, n;

	(void)state;
	strbuf_init(&want, 0);
	strbuf_init(&got, 0);
	for (i = 0; i < SMTPD_NREPLIES; i++) {
		const struct smtpd_reply *r = &smtpd_replies[i];

		assert_true(r->code >= 200 && r->code < 600);
		if (r->esc[0] != '\0') {
			assert_int_equal(r->esc[0], '0' + r->code / 100);
		}
		print_row(r, "smtpd", &want);
	}
	for (i = 0; i < SMTPD_NPASSED; i++) {
		print_row(&smtpd_passed[i], "cleanup", &want);
	}
	assert_true(snprintf(path, sizeof(path), "%s/smtpd/replies.txt",
	    src != NULL ? src : ".") < (int)sizeof(path));
	if (getenv("VEREDUS_UPDATE") != NULL) {
		f = fopen(path, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(want.p, 1, want.n, f), want.n);
		assert_int_equal(fclose(f), 0);
	}
	f = fopen(path, "r");
	assert_non_null(f);
	while ((n = fread(room, 1, sizeof(room), f)) > 0) {
		strbuf_add(&got, room, n);
	}
	(void)fclose(f);
	if (!slice_eq(strbuf_slice(&want), strbuf_slice(&got))) {
		fail_msg("smtpd/replies.txt is not the table's print; "
		    "VEREDUS_UPDATE=1 writes it anew");
	}
	strbuf_clear(&want);
	strbuf_clear(&got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
