/* Values of alias maps, alias files, and the compiler. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/aliases.h"
#include "common/io.h"
#include "common/map.h"
#include "tests/unit/points.h"
#include "tests/unit/unit.h"
#include "tools/mapmake.h"

/* Targets as "kind:text", "\" for escaped, "~" for bare; "!" + reason: bad. */
static const struct {
	const char *in, *want;
} values[] = {
	{ "", "" }, { " , ,", "" },
	{ "ann", "a~ann " }, { "ann@example.org", "a:ann@example.org " },
	{ "ann, bob@x.org,carl", "a~ann a:bob@x.org a~carl " },
	{ "<ann@x.org>, < bob >", "a:ann@x.org a~bob " },
	{ "\\ann", "a\\ann " }, { "\"\\ann\"", "a\\ann " },
	{ "\"john doe\"", "a~\"john doe\" " },
	{ "\"john\"", "a~john " },
	{ "\"john doe\"@x.org", "a:\"john doe\"@x.org " },
	{ "\"a,b\", c", "a~\"a,b\" a~c " },
	{ "|/bin/true", "c:/bin/true " },
	{ "\"|/bin/cat -n, x\", y", "c:/bin/cat -n, x a~y " },
	{ "\"|sh -c \\\"x y\\\"\"", "c:sh -c \"x y\" " },
	{ "\"|a\\nb\"", "c:a\\nb " },
	{ "/var/mail/x", "f:/var/mail/x " },
	{ "\"/tmp/a b\"", "f:/tmp/a b " },
	{ ":include:/etc/list", "i:/etc/list " },
	{ ":INCLUDE: /etc/list", "i:/etc/list " },
	{ "\":include:/etc/a b\"", "i:/etc/a b " },
	{ ":fail: no such user", "d::fail: no such user " },
	{ ":blackhole:", "d::blackhole: " },
	{ "@example.org", "@:example.org " },
	{ "@", "!" }, { "@-x", "!" }, { "a b", "!" }, { "a@", "!" },
	{ "a@b@c", "!" }, { "\"open", "!" }, { "a, \"open, b", "a~a !" },
	{ "|", "!" }, { ":include:", "!" }, { ":include:rel", "!" },
	{ "\\", "!" }, { "\\ann@x.org", "!" }, { "<>", "!" }, { "\303\244", "!" },
	{ "\"\"", "!" }, { "a..b", "!" }, { "Ann <ann@x.org>", "!" },
};

static void
test_values(void **state)
{
	static const char letters[] = "a@cfid";
	struct alias_target t;
	struct strbuf buf, got;
	struct slice rest;
	const char *why;
	enum alias_next n;
	size_t i;

	(void)state;
	strbuf_init(&buf, 0);
	for (i = 0; i < NELEMS(values); i++) {
		strbuf_init(&got, 0);
		(void)strbuf_add_str(&got, "");
		rest = slice_of(values[i].in);
		while ((n = aliases_next(&rest, &t, &buf, &why)) ==
		    ALIAS_NEXT) {
			(void)strbuf_printf(&got, "%c%c%.*s ",
			    letters[t.kind], t.escaped ? '\\' : t.bare ? '~' :
			    ':', SLF(t.text));
		}
		if (n == ALIAS_BAD) {
			assert_true(why[0] != '\0');
			(void)strbuf_add_char(&got, '!');
		}
		if (strcmp(got.p, values[i].want) != 0) {
			fail_msg("%s: %s", values[i].in, got.p);
		}
		strbuf_clear(&got);
	}
	strbuf_clear(&buf);
}

static const struct {
	const char *name, *in, *want; /* want: "key=value;", or part of errors */
	bool ok;
} files[] = {
	{ "plain", "Ann: bob\n# x\nteam : a, b,\n\tc\n",
	    "ann=bob;team=a, b, c;", true },
	{ "quoted name", "\"john doe\": x\n\"a:b\" : y\n",
	    "john doe=x;a:b=y;", true },
	{ "empty", "", "", true },
	{ "self", "a: a\n", "a=a;", true },
	{ "self in capitals", "a: A, b\n", "a=A, b;", true },
	{ "escaped is no loop", "a: b\nb: \\a\n", "a=b;b=\\a;", true },
	{ "lists that name each other", "a: b, x\nb: a, y\n",
	    "a=b, x;b=a, y;", true },
	{ "loop", "x: y\na: b\nb: a\n", "f:2: a: a loop", false },
	{ "loop by capitals", "a: B\nb: A\n", "f:1: a: a loop", false },
	{ "into a loop", "c: a\na: b\nb: a\n", "f:1: c: a loop", false },
	{ "loop with quotes", "a: \"b\"\nb: \"a\"\n", "f:1: a: a loop", false },
	{ "with a domain it leaves", "a: b\nb: a@example.org\n",
	    "a=b;b=a@example.org;", true },
	{ "as deep as may be", "a: b\nb: c\nc: d\n", "a=b;b=c;c=d;", true },
	{ "too deep", "a: b\nb: c\nc: d\nd: e\n", "f:1: a: leads through "
	    "more than 3 aliases", false },
	{ "too deep by a list", "z: a, y\na: b\nb: c, x\nc: y\n",
	    "f:1: z: leads through more than 3 aliases", false },
	{ "two ways, and the short one counts", "a: b, d\nb: c\nc: d\nd: e\n",
	    "a=b, d;b=c;c=d;d=e;", true },
	{ "lists that name each other are not deep", "a: b, x\nb: a, y\n",
	    "a=b, x;b=a, y;", true },
	{ "twice", "a: x\nb: y\nA: z\n", "f:3: a stands already in line 1",
	    false },
	{ "no colon", "a b\n", "f:1: a b: not of the form", false },
	{ "no target", "a:\n", "f:1: no target", false },
	{ "only commas", "a: ,\n", "f:1: no target", false },
	{ "no name", ": a\n", "f:1: the name before the colon is missing",
	    false },
	{ "a domain", "a@b: c\n", "f:1: a@b: an alias is a local name", false },
	{ "white space in the name", "a b: c\n", "f:1: a b: not a local name",
	    false },
	{ "command", "a: x,\n \"|cmd\"\n", "f:1: \"|cmd\": commands are not "
	    "available in this version", false },
	{ "file", "a: /x\n", "f:1: /x: files are not available", false },
	{ "include", "a: :include:/x\n", "include: is not available", false },
	{ "fail", "a: :fail: x\n", "f:1: :fail: x: not available", false },
	{ "domain only", "a: @x.org\n", "f:1: @x.org: not an address", false },
	{ "bad target", "a: b\n\nc: d e\n", "f:3: d e: not of the form", false },
	{ "control octets are shown", "a: b\033[1m\n", "b\\x1b[1m", false },
};

static void
test_files(void **state)
{
	struct mapentries e;
	struct strbuf errors, got;
	size_t i, k;
	bool ok;

	(void)state;
	for (i = 0; i < NELEMS(files); i++) {
		strbuf_init(&errors, 0);
		strbuf_init(&got, 0);
		(void)strbuf_add_str(&got, "");
		(void)strbuf_add_str(&errors, "");
		mapentries_init(&e);
		ok = aliases_parse(&e, slice_of(files[i].in), "f", 3,
		    &errors);
		for (k = 0; ok && k < e.n; k++) {
			(void)strbuf_printf(&got, "%.*s=%.*s;",
			    SLF(mapentries_key(&e, k)),
			    SLF(mapentries_value(&e, k)));
		}
		if (ok != files[i].ok || (ok ?
		    strcmp(got.p, files[i].want) != 0 :
		    strstr(errors.p, files[i].want) == NULL)) {
			fail_msg("%s: %d [%s] [%s]", files[i].name, ok, got.p,
			    errors.p);
		}
		mapentries_clear(&e);
		strbuf_clear(&errors);
		strbuf_clear(&got);
	}
}

/* A long chain and a long loop, in the worst order. */
static void
test_long_chain(void **state)
{
	struct mapentries e;
	struct strbuf text, errors;
	unsigned i;

	(void)state;
	strbuf_init(&text, 0);
	strbuf_init(&errors, 0);
	for (i = 0; i < 20000; i++) {
		(void)strbuf_printf(&text, "n%u: n%u\n", i, i + 1);
	}
	mapentries_init(&e);
	assert_true(aliases_parse(&e, strbuf_slice(&text), "f", 0, &errors));
	mapentries_clear(&e);
	(void)strbuf_add_str(&text, "n20000: n0\n");
	assert_false(aliases_parse(&e, strbuf_slice(&text), "f", 0, &errors));
	mapentries_clear(&e);
	strbuf_clear(&text);
	strbuf_clear(&errors);
}

/* -- the compiler ------------------------------------------------------------ */

static char dir[64];

static char *
path_of(const char *name)
{
	static char path[2][128];
	static unsigned turn;
	char *p = path[turn++ % 2];

	(void)snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void
put(const char *text, mode_t mode)
{
	int fd = open(path_of("a"), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

static bool
make(const char *want)
{
	struct mapmake m;
	struct strbuf errors;
	bool ok;

	strbuf_init(&errors, 0);
	ok = mapmake_read(&m, path_of("a"), MAPMAKE_ALIASES, 0, &errors) &&
	    mapmake_write(&m, &errors);
	if (!ok && strstr(errors.p, want) == NULL) {
		fail_msg("%s", errors.p);
	}
	if (ok) {
		assert_int_equal(m.entries.n, 2);
		assert_int_equal(m.longest, 8);
		assert_int_equal(m.total, 11);
	}
	mapmake_clear(&m);
	strbuf_clear(&errors);
	return ok;
}

static void
test_mapmake(void **state)
{
	static const char good[] = "ann: bob\nall: ann, bob\n";
	struct stat before, after;

	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/veredus-al.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_false(make("No such file"));
	put(good, 0640);
	assert_true(make(""));
	assert_int_equal(stat(path_of("a.cdb"), &before), 0);
	assert_int_equal(before.st_mode & 07777, 0640);
	/* Errors of every kind leave the old map as it is. */
	put("ann: |x\n", 0644);
	assert_false(make("a:1: |x: commands"));
	put(good, 0666);
	assert_false(make("writable by everybody"));
	put(good, 0644);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_false(make("others could change the map"));
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(stat(path_of("a.cdb"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_true(make(""));
	assert_int_equal(stat(path_of("a.cdb"), &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	(void)unlink(path_of("a"));
	(void)unlink(path_of("a.cdb"));
	assert_int_equal(rmdir(dir), 0); /* nothing else was left there */
}

/* What the map says now of "who"; the directory holds nothing but map, text
   and at most what a killed compiler left. */
static void
expect_who(const char *old, const char *fresh, const char *name)
{
	struct strbuf value;
	struct map *m;
	char spec[160];

	strbuf_init(&value, 0);
	(void)snprintf(spec, sizeof(spec), "cdb:%s", path_of("a"));
	m = map_open(slice_of(spec), &value);
	assert_non_null(m);
	assert_int_equal(map_lookup(m, SL("who"), &value), MAP_FOUND);
	if (strcmp(value.p, old) != 0 && strcmp(value.p, fresh) != 0) {
		fail_msg("%s: %s", name, value.p);
	}
	map_close(m);
	strbuf_clear(&value);
}

static bool
try_make(void)
{
	struct mapmake m;
	struct strbuf errors;
	bool ok;

	strbuf_init(&errors, 0);
	ok = mapmake_read(&m, path_of("a"), MAPMAKE_ALIASES, 0, &errors) &&
	    mapmake_write(&m, &errors);
	assert_int_equal(ok, errors.n == 0);
	mapmake_clear(&m);
	strbuf_clear(&errors);
	return ok;
}

/* In a process of its own; true when the plan has killed it. `path': what was
   before. */
static bool
killed_at(const char *path, enum io_plan_kind kind, unsigned n)
{
	const struct io_plan plan = { .kind = kind, .n = n };
	int status;
	pid_t pid = fork();

	assert_true(pid != -1);
	if (pid == 0) {
		io_plan(&plan);
		_exit(try_make() ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	(void)points_add(path, &plan);
	return WIFSIGNALED(status);
}

static void
put_old_and_new(void)
{
	put("who: old\n", 0644);
	assert_true(try_make());
	expect_who("old", "old", "before");
	put("who: new\n", 0644);
}

/* The next compilation dies, too; the one after it does its work. */
static void
kill_everywhere(enum io_plan_kind kind)
{
	char path[40];
	unsigned n, m;
	bool killed = true, again;

	for (n = 1; killed; n++) {
		(void)snprintf(path, sizeof(path), "again after %d %u", kind,
		    n);
		for (m = 1, again = true; again; m++) {
			put_old_and_new();
			killed = killed_at("compile", kind, n);
			expect_who("old", "new", "killed");
			again = killed && killed_at(path, kind, m);
			expect_who("old", "new", "killed again");
			assert_true(try_make());
			expect_who("new", "new", "not killed");
		}
	}
	assert_true(n > 6);
}

static void
fail_everywhere(enum io_plan_kind kind, int error)
{
	struct io_plan plan = { .kind = kind, .error = error };
	bool hit = true, made;

	while (hit) {
		put_old_and_new();
		plan.n++;
		io_plan(&plan);
		made = try_make();
		hit = io_plan_hit() != NULL;
		(void)points_add("compile", &plan);
		io_plan(NULL);
		assert_true(made || (hit && error != 0 && error != EINTR));
		expect_who(made ? "new" : "old", "new", "failed");
		assert_true(try_make());
		expect_who("new", "new", "made again");
	}
	assert_true(plan.n > 6);
}

/* Killed before, in, or failing at, each operation: the old map or the new. */
static void
test_mapmake_crash(void **state)
{
	static const int errors[] = { ENOSPC, EDQUOT, EIO, EMFILE, ENFILE,
		EINTR };
	size_t i;

	(void)state;
	assert_true(io_build_has_hooks());
	points_begin();
	(void)snprintf(dir, sizeof(dir), "/tmp/veredus-al.XXXXXX");
	assert_non_null(mkdtemp(dir));
	kill_everywhere(IO_PLAN_KILL);
	kill_everywhere(IO_PLAN_TORN);
	for (i = 0; i < NELEMS(errors); i++) {
		fail_everywhere(IO_PLAN_FAIL, errors[i]);
	}
	fail_everywhere(IO_PLAN_SHORT, 0);
	fail_everywhere(IO_PLAN_SHORT, ENOSPC);
	(void)unlink(path_of("a"));
	(void)unlink(path_of("a.cdb"));
	assert_int_equal(rmdir(dir), 0); /* no leftovers */
	points_print("maps", 0);
	/* what tinycdb writes, it writes itself */
	assert_true(points_count(POINTS_KILL) >= 50 &&
	    points_count(POINTS_FAULT) >= 30);
}

/* Somebody else's file under the fresh file's name is not written to. */
static void
test_mapmake_planted(void **state)
{
	struct stat st;

	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/veredus-al.XXXXXX");
	assert_non_null(mkdtemp(dir));
	put("who: new\n", 0644);
	assert_int_equal(symlink(path_of("a"), path_of(".a.cdb.tmp")), 0);
	assert_false(try_make());
	assert_int_equal(stat(path_of("a"), &st), 0);
	assert_int_equal(st.st_size, 9);
	assert_int_equal(unlink(path_of(".a.cdb.tmp")), 0);
	assert_true(try_make());
	(void)unlink(path_of("a"));
	(void)unlink(path_of("a.cdb"));
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_long_chain),
		cmocka_unit_test(test_mapmake),
		cmocka_unit_test(test_mapmake_crash),
		cmocka_unit_test(test_mapmake_planted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
