/* The account lookup: passwd's format, and the two sources. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/account.h"
#include "tests/unit/unit.h"

static void
parses_lines(void **state)
{
	static const struct {
		const char *line;
		bool ok;
		unsigned uid, gid;
		const char *home;
	} rows[] = {
		{ "ann:x:1000:100:Ann,,,:/home/ann:/bin/sh", true, 1000, 100,
		    "/home/ann" },
		{ "a::0:0::/:", true, 0, 0, "/" },
		{ "a:x:4294967294:1::/h:", true, 4294967294u, 1, "/h" },
		{ "", false, 0, 0, "" },
		{ "#ann:x:1000:100::/home/ann:/bin/sh", false, 0, 0, "" },
		{ "ann:x:1000:100::/home/ann", false, 0, 0, "" },
		{ "ann:x:1000:100::/home/ann:/bin/sh:", false, 0, 0, "" },
		{ ":x:1000:100::/home/ann:/bin/sh", false, 0, 0, "" },
		{ "ann:x::100::/home/ann:/bin/sh", false, 0, 0, "" },
		{ "ann:x:-1:100::/home/ann:/bin/sh", false, 0, 0, "" },
		{ "ann:x:4294967295:100::/home/ann:/bin/sh", false, 0, 0, "" },
		{ "ann:x:1000:4294967295::/home/ann:/bin/sh", false, 0, 0, "" },
		{ "ann:x:1000:1x::/home/ann:/bin/sh", false, 0, 0, "" },
		{ "ann:x:1000:100::home/ann:/bin/sh", false, 0, 0, "" },
		{ "ann:x:1000:100:::/bin/sh", false, 0, 0, "" },
		{ "+::::::", false, 0, 0, "" },
	};
	struct account_line l;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		if (account_parse_line(slice_of(rows[i].line), &l) !=
		    rows[i].ok) {
			fail_msg("row %zu: %s", i, rows[i].line);
		}
		if (rows[i].ok) {
			assert_int_equal(l.uid, rows[i].uid);
			assert_int_equal(l.gid, rows[i].gid);
			assert_slice(l.home, rows[i].home);
		}
	}
}

static void
finds_the_first(void **state)
{
	const struct slice text = SL("broken\nann:x:1:1::/a:\nann:x:2:2::/b:\n"
	    "annabel:x:3:3::/c:\nben:x:4:4::/d:");
	struct account_line l;

	(void)state;
	assert_true(account_find(text, SL("ann"), &l));
	assert_int_equal(l.uid, 1);
	assert_true(account_find(text, SL("ben"), &l));
	assert_int_equal(l.uid, 4);
	assert_false(account_find(text, SL("an"), &l));
	assert_false(account_find(text, SL(""), &l));
	assert_false(account_find(SL(""), SL("ann"), &l));
}

static void
looks_up_in_a_file(void **state)
{
	char dir[] = "/tmp/vrdaccXXXXXX", path[64], source[80];
	struct account a;
	struct strbuf why;
	FILE *f;

	(void)state;
	strbuf_init(&why, 0);
	assert_non_null(mkdtemp(dir));
	assert_true(snprintf(path, sizeof(path), "%s/passwd", dir) < 64);
	assert_true(snprintf(source, sizeof(source), "file:%s", path) < 80);
	assert_int_equal(account_lookup(source, SL("ann"), &a, &why),
	    ACCOUNT_TEMP);
	assert_true(why.n > 0);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs("ann:x:7:8::/home/ann:/bin/sh\n", f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(account_lookup(source, SL("ann"), &a, &why),
	    ACCOUNT_FOUND);
	assert_int_equal(a.uid, 7);
	assert_int_equal(a.gid, 8);
	assert_string_equal(a.home, "/home/ann");
	account_clear(&a);
	assert_int_equal(account_lookup(source, SL("ben"), &a, &why),
	    ACCOUNT_NONE);
	assert_int_equal(account_lookup(source, SL("an\0n"), &a, &why),
	    ACCOUNT_NONE);
	/* A FIFO is no database, and nobody waits for its other end. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(account_lookup(source, SL("ann"), &a, &why),
	    ACCOUNT_TEMP);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	strbuf_clear(&why);
}

/* However the pieces that are read cut the lines. */
static void
finds_each_of_many(void **state)
{
	char path[] = "/tmp/vrdaccXXXXXX", source[40], name[16];
	const int users = 700, fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");
	struct account a;
	struct strbuf why;
	int i;

	(void)state;
	assert_non_null(f);
	for (i = 0; i < users; i++) {
		assert_true(fprintf(f, "u%d:x:%d:7:%0*d:/home/%d:/bin/sh\n", i,
		    1000 + i, i == 400 ? 20000 : i % 50 + 1, 0, i) > 0);
		if (i == 300) { /* longer than a piece */
			assert_true(fprintf(f, "x%020000d\n", 0) > 0);
		}
	}
	assert_true(fputs("last:x:9:7::/last:", f) >= 0); /* no end of line */
	assert_int_equal(fclose(f), 0);
	assert_true(snprintf(source, sizeof(source), "file:%s", path) < 40);
	strbuf_init(&why, 0);
	for (i = 0; i < users; i++) {
		assert_true(snprintf(name, sizeof(name), "u%d", i) < 16);
		assert_int_equal(account_lookup(source, slice_of(name), &a,
		    &why), ACCOUNT_FOUND);
		assert_int_equal(a.uid, 1000 + i);
		account_clear(&a);
	}
	assert_int_equal(account_lookup(source, SL("last"), &a, &why),
	    ACCOUNT_FOUND);
	assert_int_equal(a.uid, 9);
	account_clear(&a);
	assert_int_equal(account_lookup(source, SL("u700"), &a, &why),
	    ACCOUNT_NONE);
	assert_int_equal(account_lookup(source, SL("u"), &a, &why),
	    ACCOUNT_NONE);
	assert_int_equal(truncate(path, ACCOUNT_FILE_MAX + 65536), 0);
	assert_int_equal(account_lookup(source, SL("u700"), &a, &why),
	    ACCOUNT_TEMP);
	assert_int_equal(unlink(path), 0);
	strbuf_clear(&why);
}

static void
looks_up_by_nss(void **state)
{
	struct account a;
	struct strbuf why;

	(void)state;
	strbuf_init(&why, 0);
	assert_int_equal(account_lookup("nss", SL("root"), &a, &why),
	    ACCOUNT_FOUND);
	assert_int_equal(a.uid, 0);
	account_clear(&a);
	assert_int_equal(account_lookup("nss", SL("no-such-user-here"), &a,
	    &why), ACCOUNT_NONE);
	assert_int_equal(account_lookup("nss", SL(""), &a, &why), ACCOUNT_NONE);
	assert_int_equal(account_lookup("ldap", SL("root"), &a, &why),
	    ACCOUNT_TEMP);
	strbuf_clear(&why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_lines),
		cmocka_unit_test(finds_the_first),
		cmocka_unit_test(looks_up_in_a_file),
		cmocka_unit_test(finds_each_of_many),
		cmocka_unit_test(looks_up_by_nss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
