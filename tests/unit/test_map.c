/* Tables, texts, networks, and every type of map. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/cidr.h"
#include "common/map.h"
#include "common/mapentries.h"
#include "common/table.h"
#include "common/textlines.h"
#include "tests/unit/unit.h"
#include "tools/mapmake.h"

static char dir[64];

static int
make_dir(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/veredus-map.XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
drop_dir(void **state)
{
	static const char *const names[] = { "m", "m.cdb", "n", "n.cdb", "link",
		"sub" };
	char path[128];
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)remove(path);
	}
	return rmdir(dir);
}

static const char *
in_dir(const char *prefix, const char *name)
{
	static char path[4][160];
	static unsigned turn;
	char *p = path[turn++ % 4];

	(void)snprintf(p, sizeof(path[0]), "%s%s/%s", prefix, dir, name);
	return p;
}

static void
put(const char *name, struct slice text)
{
	const char *path = in_dir("", name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd != -1);
	assert_int_equal(write(fd, text.p, text.n), text.n);
	(void)fchmod(fd, 0644);
	(void)close(fd);
}

static void
test_table(void **state)
{
	struct table t = { 0 };
	struct arena a;
	char key[16];
	uint32_t i, v = 7;

	(void)state;
	arena_init(&a);
	assert_false(table_get(&t, SL("x"), &v));
	assert_int_equal(v, 7);
	for (i = 0; i < 5000; i++) {
		(void)snprintf(key, sizeof(key), "K%u", i);
		assert_true(table_add(&t, arena_dup(&a, slice_of(key)), i));
		assert_false(table_add(&t, slice_of(key), 1));
	}
	for (i = 0; i < 5000; i++) {
		(void)snprintf(key, sizeof(key), "K%u", i);
		assert_true(table_get(&t, slice_of(key), &v));
		assert_int_equal(v, i);
	}
	assert_false(table_get(&t, SL("K5000"), &v));
	assert_true(table_add(&t, SL(""), 3));
	assert_true(table_get(&t, SL(""), &v));
	assert_true(table_add(&t, SL("\0"), 4));
	table_clear(&t);
	arena_clear(&a);
}

/* Logical lines as "number|text|" ... */
static void
test_textlines(void **state)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "", "" }, { "a", "1|a|" }, { "a\n", "1|a|" },
		{ "a\r\nb\r\n", "1|a|2|b|" }, { "a \n", "1|a|" },
		{ "a\n b\n\tc\nd", "1|a b c|4|d|" },
		{ "# no\na # yes\n  # no\n b\n", "2|a # yes b|" },
		{ "\n\n a\n", "3|a|" }, { "a\n\n b\n", "1|a b|" },
		{ "a\n   \nb", "1|a|3|b|" }, { " # x\n", "" },
	};
	struct textlines tl;
	struct slice line;
	struct strbuf got;
	unsigned number;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		strbuf_init(&got, 0);
		textlines_init(&tl, slice_of(t[i].in));
		while (textlines_next(&tl, &line, &number)) {
			(void)strbuf_printf(&got, "%u|%.*s|", number,
			    SLF(line));
		}
		assert_slice(strbuf_slice(&got), t[i].want);
		textlines_clear(&tl);
		strbuf_clear(&got);
	}
}

static void
test_cidr(void **state)
{
	static const struct {
		const char *net, *addr;
		int want; /* 1 match, 0 none, -1 bad net */
	} t[] = {
		{ "10.0.0.0/8", "10.255.0.1", 1 }, { "10.0.0.0/8", "11.0.0.0", 0 },
		{ "10.0.0.1", "10.0.0.1", 1 }, { "10.0.0.1", "10.0.0.2", 0 },
		{ "0.0.0.0/0", "1.2.3.4", 1 }, { "0.0.0.0/0", "::1", 0 },
		{ "::/0", "1.2.3.4", 0 }, { "::/0", "2001:db8::", 1 },
		{ "192.0.2.128/25", "192.0.2.127", 0 },
		{ "192.0.2.128/25", "192.0.2.128", 1 },
		{ "[2001:db8::]/33", "2001:db8:7fff::", 1 },
		{ "[2001:db8::]/33", "2001:db8:8000::", 0 },
		{ "2001:db8::1", "2001:DB8:0::1", 1 },
		{ "[IPv6:2001:db8::1]", "2001:db8::1", 1 },
		{ "192.0.2.0/24", "::ffff:192.0.2.9", 1 },
		{ "::ffff:192.0.2.0/120", "192.0.2.9", 1 },
		{ "::ffff:192.0.2.0/120", "192.0.3.9", 0 },
		{ "::ffff:192.0.2.0/95", "192.0.2.9", -1 },
		{ "10.0.0.1/8", "", -1 }, { "10.0.0.0/33", "", -1 },
		{ "10.0.0.0/", "", -1 }, { "10.0.0.0/8x", "", -1 },
		{ "10.0.0/8", "", -1 }, { "::/129", "", -1 }, { "", "", -1 },
		{ "[10.0.0.0", "", -1 }, { "10.0.0.0/-1", "", -1 },
		{ "2001:db8::1/64", "", -1 }, { "host.example", "", -1 },
	};
	struct cidr net, addr;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(t); i++) {
		const char *why = cidr_parse_net(slice_of(t[i].net), &net);

		if ((why != NULL) != (t[i].want < 0)) {
			fail_msg("%s: %s", t[i].net, why ? why : "taken");
		}
		if (why == NULL) {
			assert_true(cidr_parse_addr(slice_of(t[i].addr),
			    &addr));
			if (cidr_match(&net, &addr) != t[i].want) {
				fail_msg("%s %s", t[i].net, t[i].addr);
			}
		}
	}
	assert_false(cidr_parse_addr(slice_make("1.2.3.4\0", 8), &addr));
}

struct map_row {
	const char *name, *spec, *key, *want; /* want NULL: none */
};

static const struct map_row lookups[] = {
	{ "inline", "inline:{ a=b, c = d e , { f = g, h }, i={j, k} }", "a",
	    "b" },
	{ "inline, white space", "inline:{ a=b, c = d e , { f = g, h } }", "c",
	    "d e" },
	{ "inline, commas", "inline:{ a=b, { f = g, h } }", "f", "g, h" },
	{ "inline, value in braces", "inline:{ i={j, k} }", "i", "j, k" },
	{ "inline, equals in the value", "inline:{ a=b=c }", "a", "b=c" },
	{ "inline, none", "inline:{ a=b }", "b", NULL },
	{ "inline, keys are folded", "inline:{ Ann@X=b }", "ann@x", "b" },
	{ "inline, lookups are not", "inline:{ Ann@X=b }", "Ann@X", NULL },
	{ "inline, empty", "inline:{}", "x", NULL },
	{ "static", "static:OK", "anything", "OK" },
	{ "static in braces", "static:{ a b }", "", "a b" },
	{ "cidr", "cidr:{10.0.0.0/8=a, 0.0.0.0/0=b}", "10.1.1.1", "a" },
	{ "cidr, first match", "cidr:{0.0.0.0/0 = b, 10.0.0.0/8 = a}",
	    "10.1.1.1", "b" },
	{ "cidr, white space", "cidr:{ {10.0.0.0/8 x y} }", "10.1.1.1", "x y" },
	{ "cidr, v6", "cidr:{2001:db8::/32=a}", "2001:db8::1", "a" },
	{ "cidr, negated", "cidr:{!10.0.0.0/8=out, 10.0.0.0/8=in}", "11.1.1.1",
	    "out" },
	{ "cidr, negated inside", "cidr:{!10.0.0.0/8=out, 10.0.0.0/8=in}",
	    "10.1.1.1", "in" },
	{ "cidr, no address", "cidr:{0.0.0.0/0=a}", "host.example", NULL },
};

static const struct {
	const char *spec, *why;
} bad_specs[] = {
	{ "", "not of the form type:name" },
	{ "aliases", "not of the form type:name" },
	{ "hash:/etc/aliases", "not of the form type:name" },
	{ "file:relative", "not an absolute path" },
	{ "cdb:relative", "not an absolute path" },
	{ "cidr:relative", "not an absolute path" },
	{ "file:/nonexistent", "No such file" },
	{ "cdb:/nonexistent", "/nonexistent.cdb: No such file" },
	{ "file:/dev/null", "not a regular file" },
	{ "inline:a=b", "not of the form { key" },
	{ "inline:{ a }", "inline:1: not of the form key=value: a" },
	{ "inline:{ a=1, =2, c= }", "inline:3: not of the form" },
	{ "inline:{ a=1, A=2 }", "inline:2: a stands already in line 1" },
	{ "static:", "the value is missing" },
	{ "static:{ }", "the value is missing" },
	{ "cidr:{ 10.0.0.1/8=x }", "cidr:1: the address has bits set" },
	{ "cidr:{ 10.0.0.0/8 }", "cidr:1: the value is missing" },
	{ "cidr:{ =x }", "cidr:1: not an address" },
	{ "cidr:{ ! =x }", "cidr:1: not an address" },
};

static void
check_lookup(struct map *m, const char *name, const char *key,
    const char *want)
{
	struct strbuf value;
	enum map_result r;

	strbuf_init(&value, 0);
	(void)strbuf_add_str(&value, "old");
	r = map_lookup(m, slice_of(key), &value);
	if (r != (want != NULL ? MAP_FOUND : MAP_NONE)) {
		fail_msg("%s: %s: result %d", name, key, r);
	}
	if (want != NULL) {
		assert_slice(strbuf_slice(&value), want);
	}
	strbuf_clear(&value);
}

static struct map *
must_open(const char *spec)
{
	struct strbuf why;
	struct map *m;

	strbuf_init(&why, 0);
	m = map_open(slice_of(spec), &why);
	if (m == NULL) {
		fail_msg("%s: %s", spec, why.p);
	}
	assert_string_equal(map_spec(m), spec);
	strbuf_clear(&why);
	return m;
}

static void
must_fail(const char *spec, const char *reason)
{
	struct strbuf why;

	strbuf_init(&why, 0);
	assert_null(map_open(slice_of(spec), &why));
	if (strstr(why.p, reason) == NULL || why.p[why.n - 1] != '\n') {
		fail_msg("%s: %s", spec, why.p);
	}
	strbuf_clear(&why);
}

static void
test_types(void **state)
{
	struct map *m;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(lookups); i++) {
		m = must_open(lookups[i].spec);
		check_lookup(m, lookups[i].name, lookups[i].key,
		    lookups[i].want);
		assert_true(map_trusted(m));
		assert_null(map_path(m));
		map_close(m);
	}
	for (i = 0; i < NELEMS(bad_specs); i++) {
		must_fail(bad_specs[i].spec, bad_specs[i].why);
	}
}

static void
test_file(void **state)
{
	struct map *m;

	(void)state;
	put("m", SL("# comment\nAnn  a b \n\"two words\"\tv\nname: x,\n  y\n"
	    "\"q\\\"\": z\n:  colon\n"));
	m = must_open(in_dir("file:", "m"));
	assert_string_equal(map_path(m), in_dir("", "m"));
	check_lookup(m, "file", "ann", "a b");
	check_lookup(m, "file", "two words", "v");
	check_lookup(m, "file", "name", "x, y");
	check_lookup(m, "file", "q\"", "z");
	check_lookup(m, "file", ":", "colon");
	check_lookup(m, "file", "none", NULL);
	put("m", SL("ann changed\n"));
	check_lookup(m, "read at load", "ann", "a b");
	map_close(m);

	put("m", SL("a b\nc\n\"x\n\"\" y\n\"z\"v\na d\n"));
	must_fail(in_dir("file:", "m"), "m:2: the key has no value: c");
	must_fail(in_dir("file:", "m"), "m:3: the quoted key has no end");
	must_fail(in_dir("file:", "m"), "m:4: the key is empty");
	must_fail(in_dir("file:", "m"), "m:5: white space is missing");
	must_fail(in_dir("file:", "m"), "m:6: a stands already in line 1");
	put("m", slice_make("a b\0\n", 5));
	must_fail(in_dir("file:", "m"), "m:1: a NUL octet");
	put("m", SL("10.0.0.0/8 ten\n!192.0.2.0/24\tother\n"));
	m = must_open(in_dir("cidr:", "m"));
	check_lookup(m, "cidr file", "10.0.0.1", "ten");
	check_lookup(m, "cidr file", "192.0.2.1", NULL);
	check_lookup(m, "cidr file", "192.0.3.1", "other");
	map_close(m);
}

static void
test_unsafe(void **state)
{
	struct map *m;

	(void)state;
	put("m", SL("a b\n"));
	assert_int_equal(chmod(in_dir("", "m"), 0666), 0);
	must_fail(in_dir("file:", "m"), "writable by everybody");
	assert_int_equal(chmod(in_dir("", "m"), 0664), 0);
	m = must_open(in_dir("file:", "m"));
	assert_false(map_trusted(m));
	map_close(m);
	assert_int_equal(chmod(in_dir("", "m"), 0644), 0);
	m = must_open(in_dir("file:", "m"));
	assert_int_equal(map_trusted(m), geteuid() == 0);
	map_close(m);
	assert_int_equal(mkdir(in_dir("", "sub"), 0755), 0);
	must_fail(in_dir("file:", "sub"), "not a regular file");
	assert_int_equal(mkfifo(in_dir("", "link"), 0644), 0);
	must_fail(in_dir("file:", "link"), "not a regular file");
}

static void
compile(const char *name, struct slice text)
{
	struct mapmake m;
	struct strbuf errors;

	put(name, text);
	strbuf_init(&errors, 0);
	if (!mapmake_read(&m, in_dir("", name), MAPMAKE_MAP, 0,
	    &errors) ||
	    !mapmake_write(&m, &errors)) {
		fail_msg("%s", errors.p);
	}
	mapmake_clear(&m);
	strbuf_clear(&errors);
}

static void
test_cdb(void **state)
{
	struct map *m;

	(void)state;
	compile("m", SL("Ann x\nbob y, z\n"));
	m = must_open(in_dir("cdb:", "m"));
	check_lookup(m, "cdb", "ann", "x");
	check_lookup(m, "cdb", "bob", "y, z");
	check_lookup(m, "cdb", "Ann", NULL);
	check_lookup(m, "cdb", "", NULL);
	/* A new one is picked up, a missing or broken one is not. */
	compile("m", SL("ann new\n"));
	map_refresh(m);
	check_lookup(m, "replaced", "ann", "new");
	check_lookup(m, "replaced", "bob", NULL);
	put("n", SL("garbage"));
	assert_int_equal(rename(in_dir("", "n"), in_dir("", "m.cdb")), 0);
	map_refresh(m);
	check_lookup(m, "broken", "ann", "new");
	assert_int_equal(unlink(in_dir("", "m.cdb")), 0);
	map_refresh(m);
	check_lookup(m, "gone", "ann", "new");
	compile("m", SL("ann back\n"));
	map_refresh(m);
	check_lookup(m, "back", "ann", "back");
	map_close(m);
	m = must_open(in_dir("cdb:", "m.cdb"));
	check_lookup(m, "full name", "ann", "back");
	map_close(m);
}

/* Every octet of a map flipped: an answer or an error, never more. */
static void
test_cdb_damage(void **state)
{
	struct strbuf file, why, value;
	struct map *m;
	size_t i;
	int fd;

	(void)state;
	compile("m", SL("ann x\nbob y\ncarl z\n"));
	strbuf_init(&file, 0);
	strbuf_init(&why, 0);
	strbuf_init(&value, 0);
	fd = open(in_dir("", "m.cdb"), O_RDONLY | O_CLOEXEC);
	i = (size_t)read(fd, strbuf_room(&file, 65536), 65536);
	strbuf_filled(&file, i);
	(void)close(fd);
	assert_true(file.n > 2048);
	for (i = 0; i < file.n; i++) {
		file.p[i] = (char)(file.p[i] ^ (i % 2 ? 0xff : 1 << i % 8));
		put("n.cdb", strbuf_slice(&file));
		file.p[i] = (char)(file.p[i] ^ (i % 2 ? 0xff : 1 << i % 8));
		m = map_open(slice_of(in_dir("cdb:", "n")), &why);
		if (m != NULL) {
			(void)map_lookup(m, SL("ann"), &value);
			(void)map_lookup(m, SL("bob"), &value);
			(void)map_lookup(m, SL("none"), &value);
			map_close(m);
		}
	}
	for (i = 0; i < 2048; i += 97) {
		put("n.cdb", slice_make(file.p, i));
		must_fail(in_dir("cdb:", "n"), "not a cdb file");
	}
	strbuf_clear(&file);
	strbuf_clear(&why);
	strbuf_clear(&value);
}

/* Damage where a lookup meets it is a temporary failure, not "none". */
static void
test_cdb_temp(void **state)
{
	unsigned char bad[4] = { 0xff, 0xff, 0xff, 0x7f };
	struct strbuf value;
	struct map *m;
	int fd, i;

	(void)state;
	compile("m", SL("ann x\n"));
	fd = open(in_dir("", "m.cdb"), O_RDWR | O_CLOEXEC);
	for (i = 0; i < 256; i++) { /* all hash tables elsewhere */
		assert_int_equal(pwrite(fd, bad, 4, i * 8), 4);
	}
	(void)close(fd);
	strbuf_init(&value, 0);
	m = map_open(slice_of(in_dir("cdb:", "m")), &value);
	assert_non_null(m);
	assert_int_equal(map_lookup(m, SL("ann"), &value), MAP_TEMP);
	assert_non_null(strstr(value.p, "damaged"));
	map_close(m);
	strbuf_clear(&value);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_textlines),
		cmocka_unit_test(test_cidr),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_unsafe),
		cmocka_unit_test(test_cdb),
		cmocka_unit_test(test_cdb_damage),
		cmocka_unit_test(test_cdb_temp),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
