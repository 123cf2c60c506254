/* The users service: names, the cache, the file, questions and deadlines. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/xmalloc.h"
#include "services/users_ask.h"
#include "services/users_file.h"
#include "tests/unit/unit.h"

static void
folds_and_refuses_names(void **state)
{
	static const struct {
		const char *in, *out; /* NULL: refused */
	} rows[] = {
		{ "ann", "ann" }, { "Ann", "ann" }, { "a.b-c_d9", "a.b-c_d9" },
		{ "_x", "_x" }, { "9", "9" }, { "", NULL }, { "-rf", NULL },
		{ ".", NULL }, { "..", NULL }, { ".x", NULL },
		{ "a/b", NULL }, { "a:b", NULL }, { "a b", NULL },
		{ "a\nb", NULL }, { "a+b", NULL }, { "m\xc3\xbcller", NULL },
		{ "a$", NULL }, { "*", NULL },
	};
	char out[ACCOUNT_NAME_MAX + 1], big[ACCOUNT_NAME_MAX + 2];
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		assert_int_equal(users_ask_name(slice_of(rows[i].in), out),
		    rows[i].out != NULL);
		if (rows[i].out != NULL) {
			assert_string_equal(out, rows[i].out);
		}
	}
	memset(big, 'a', sizeof(big));
	assert_true(users_ask_name(slice_make(big, ACCOUNT_NAME_MAX), out));
	assert_false(users_ask_name(slice_make(big, sizeof(big)), out));
	assert_false(users_ask_name(slice_make("a\0b", 3), out));
}

/* -- the cache ------------------------------------------------------------- */

static void
cache_expires(void **state)
{
	struct users_cache *c = users_cache_new();
	char home[] = "/home/ann";
	const struct users_answer yes = { ACCOUNT_FOUND, { 1, 2, home } };
	const struct users_answer no = { ACCOUNT_NONE, { 0, 0, NULL } };
	const struct users_answer temp = { ACCOUNT_TEMP, { 0, 0, NULL } };
	struct users_answer a;

	(void)state;
	assert_false(users_cache_get(c, SL("ann"), 0, &a));
	users_cache_put(c, SL("ann"), 1000, &yes, USERS_CACHE_YES_MS);
	users_cache_put(c, SL("bob"), 1000, &no, USERS_CACHE_YES_MS);
	users_cache_put(c, SL("eve"), 1000, &temp,
	    USERS_CACHE_YES_MS); /* never kept */
	users_cache_put(c, SL("zoe"), 1000, &yes, USERS_CACHE_FILE_MS);
	assert_true(users_cache_get(c, SL("zoe"), 1999, &a));
	assert_false(users_cache_get(c, SL("zoe"), 2000, &a));
	assert_true(users_cache_get(c, SL("ann"), 10999, &a));
	assert_int_equal(a.account.uid, 1);
	assert_string_equal(a.account.home, "/home/ann");
	assert_false(users_cache_get(c, SL("ann"), 11000, &a));
	assert_true(users_cache_get(c, SL("bob"), 5999, &a));
	assert_int_equal(a.result, ACCOUNT_NONE);
	assert_false(users_cache_get(c, SL("bob"), 6000, &a));
	assert_false(users_cache_get(c, SL("eve"), 1000, &a));
	users_cache_put(c, SL("ann"), 20000, &no,
	    USERS_CACHE_YES_MS); /* anew, and otherwise */
	assert_true(users_cache_get(c, SL("ann"), 20000, &a));
	assert_int_equal(a.result, ACCOUNT_NONE);
	assert_int_equal(users_cache_count(c), 3);
	users_cache_forget_all(c);
	assert_false(users_cache_get(c, SL("ann"), 20000, &a));
	users_cache_free(c);
	users_cache_free(NULL);
}

static void
cache_is_bounded(void **state)
{
	struct users_cache *c = users_cache_new();
	const struct users_answer no = { ACCOUNT_NONE, { 0, 0, NULL } };
	struct users_answer a;
	char name[16];
	unsigned i;

	(void)state;
	for (i = 0; i < USERS_CACHE_MAX + 5; i++) {
		(void)snprintf(name, sizeof(name), "u%u", i);
		users_cache_put(c, slice_of(name), 0, &no,
		    USERS_CACHE_YES_MS);
	}
	assert_int_equal(users_cache_count(c), USERS_CACHE_MAX);
	assert_false(users_cache_get(c, SL("u4"), 1, &a)); /* the oldest */
	assert_true(users_cache_get(c, SL("u5"), 1, &a));
	assert_true(users_cache_get(c, slice_of(name), 1, &a));
	users_cache_free(c);
}

/* -- the file -------------------------------------------------------------- */

static char path[128];

static void
write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static enum account_result
look(struct users_file *f, const char *name, unsigned *uid,
    struct strbuf *report)
{
	enum account_result r;
	struct account a = { 0, 0, NULL };
	struct strbuf why;

	strbuf_init(&why, 0);
	r = users_file_lookup(f, -1, path, slice_of(name), &a, &why, report);
	*uid = r == ACCOUNT_FOUND ? a.uid : 0;
	assert_int_equal(r == ACCOUNT_TEMP, why.n > 0);
	account_clear(&a);
	strbuf_clear(&why);
	return r;
}

static void
file_is_followed(void **state)
{
	struct users_file f;
	struct strbuf report;
	char wanted[400];
	unsigned uid;

	(void)state;
	(void)snprintf(path, sizeof(path), "/tmp/veredus-users-%d",
	    (int)getpid());
	(void)unlink(path);
	users_file_init(&f);
	strbuf_init(&report, 0);
	assert_int_equal(look(&f, "ann", &uid, &report), ACCOUNT_TEMP);
	write_file("# users\nbob:x:2:2::/home/bob:/bin/sh\n"
	    "ann:x:1:1::/home/ann:/bin/sh\n\nann:x:9:9::/home/x:/bin/sh\n"
	    "broken\nann2:x:3:3::/home/ann2:/bin/sh\n:x:1:1::/:\n");
	assert_int_equal(look(&f, "ann", &uid, &report), ACCOUNT_FOUND);
	assert_int_equal(uid, 1); /* the first counts */
	(void)snprintf(wanted, sizeof(wanted),
	    "%s:6: skipped: not a line of passwd(5)\n"
	    "%s:8: skipped: not a line of passwd(5)\n", path, path);
	assert_slice(strbuf_slice(&report), wanted);
	strbuf_reset(&report);
	assert_int_equal(look(&f, "bob", &uid, &report), ACCOUNT_FOUND);
	assert_int_equal(uid, 2);
	assert_int_equal(look(&f, "ann2", &uid, &report), ACCOUNT_FOUND);
	assert_int_equal(look(&f, "an", &uid, &report), ACCOUNT_NONE);
	assert_int_equal(look(&f, "zoe", &uid, &report), ACCOUNT_NONE);
	assert_int_equal(report.n, 0); /* told once */
	write_file("zoe:x:7:7::/home/zoe:/bin/sh");
	assert_int_equal(look(&f, "zoe", &uid, &report), ACCOUNT_FOUND);
	assert_int_equal(uid, 7);
	assert_int_equal(look(&f, "ann", &uid, &report), ACCOUNT_NONE);
	write_file("");
	assert_int_equal(look(&f, "zoe", &uid, &report), ACCOUNT_NONE);
	assert_int_equal(unlink(path), 0);
	/* gone: nobody is "unknown" for that */
	assert_int_equal(look(&f, "zoe", &uid, &report), ACCOUNT_TEMP);
	users_file_clear(&f);
	strbuf_clear(&report);
}

/* -- questions ------------------------------------------------------------- */

static struct event_base *base;
static struct {
	unsigned replies, yes, no, temp, wanted;
	unsigned asked; /* of the database */
	uint32_t last_tid;
} seen;

static void
on_reply(void *asker, uint32_t tid, const struct users_answer *a,
    const char *reason)
{
	assert_non_null(asker);
	assert_non_null(reason);
	assert_int_equal(a->result == ACCOUNT_TEMP, reason[0] != '\0');
	seen.replies++;
	seen.last_tid = tid;
	seen.yes += a->result == ACCOUNT_FOUND;
	seen.no += a->result == ACCOUNT_NONE;
	seen.temp += a->result == ACCOUNT_TEMP;
	if (seen.replies == seen.wanted) {
		(void)event_base_loopbreak(base);
	}
}

static void
fake_lookup(struct users_job *j, struct users_file *f)
{
	const struct timespec bit = { 0, 20000000 }, ages = { 60, 0 };

	(void)f;
	(void)__atomic_add_fetch(&seen.asked, 1, __ATOMIC_SEQ_CST);
	if (strcmp(j->name, "hang") == 0) {
		(void)nanosleep(&ages, NULL);
	}
	(void)nanosleep(&bit, NULL);
	j->result = strcmp(j->name, "ann") == 0 ? ACCOUNT_FOUND :
	    strcmp(j->name, "fail") == 0 ? ACCOUNT_TEMP : ACCOUNT_NONE;
	if (j->result == ACCOUNT_FOUND) {
		j->account = (struct account){ 5, 6, xstrdup("/home/ann") };
	} else if (j->result == ACCOUNT_TEMP) {
		(void)strbuf_add_str(&j->why, "broken");
	}
}

static void
wait_for(unsigned replies)
{
	const struct timeval limit = { 20, 0 };

	seen.wanted = replies;
	if (seen.replies < replies) {
		(void)event_base_loopexit(base, &limit);
		(void)event_base_dispatch(base);
	}
	assert_int_equal(seen.replies, replies);
}

static void
answers(void **state)
{
	struct users_ask *u;
	int asker = 0, other = 0;
	unsigned i;

	(void)state;
	memset(&seen, 0, sizeof(seen));
	base = event_base_new();
	u = users_ask_new(base, on_reply, fake_lookup);
	users_ask_source(u, "nss");
	for (i = 0; i < 10; i++) {
		users_ask(u, &asker, i, SL("Ann")); /* asked for once */
	}
	users_ask(u, &asker, 10, SL("no/name")); /* not at all */
	users_ask(u, &asker, 11, SL("bob"));
	users_ask(u, &asker, 12, SL("fail"));
	users_ask(u, &other, 13, SL("ann")); /* hears nothing */
	users_ask_forget(u, &other);
	wait_for(13);
	assert_int_equal(seen.yes, 10);
	assert_int_equal(seen.no, 2);
	assert_int_equal(seen.temp, 1);
	assert_int_equal(seen.asked, 3);
	users_ask(u, &asker, 20, SL("ann")); /* cached: at once */
	assert_int_equal(seen.replies, 14);
	assert_int_equal(seen.last_tid, 20);
	users_ask_source(u, "nss"); /* a reload forgets */
	users_ask(u, &asker, 21, SL("ann"));
	assert_int_equal(seen.replies, 14);
	wait_for(15);
	assert_int_equal(seen.asked, 4);
	users_ask_free(u);
	event_base_free(base);
}

/* A name that a file has is asked for once a second, one that it has not each
   time: it may be there now. */
static void
a_file_is_asked_for_new_names(void **state)
{
	struct users_ask *u;
	int asker = 0;

	(void)state;
	memset(&seen, 0, sizeof(seen));
	base = event_base_new();
	u = users_ask_new(base, on_reply, fake_lookup);
	users_ask_source(u, "file:/nowhere/passwd");
	users_ask(u, &asker, 1, SL("ann"));
	users_ask(u, &asker, 2, SL("bob"));
	wait_for(2);
	users_ask(u, &asker, 3, SL("ann"));
	assert_int_equal(seen.last_tid, 3);
	users_ask(u, &asker, 4, SL("bob"));
	assert_int_equal(seen.last_tid, 3);
	wait_for(4);
	assert_int_equal(seen.asked, 3);
	users_ask_free(u);
	event_base_free(base);
}

static void
hanging_blocks_nobody(void **state)
{
	struct users_ask *u;
	int asker = 0;

	(void)state;
	memset(&seen, 0, sizeof(seen));
	base = event_base_new();
	u = users_ask_new(base, on_reply, fake_lookup);
	users_ask_source(u, "nss");
	users_ask(u, &asker, 1, SL("hang"));
	users_ask(u, &asker, 2, SL("ann"));
	wait_for(1);
	assert_int_equal(seen.yes, 1);
	wait_for(2); /* the deadline */
	assert_int_equal(seen.temp, 1);
	assert_int_equal(seen.last_tid, 1);
	users_ask(u, &asker, 3, SL("hang")); /* not waited for again */
	assert_int_equal(seen.temp, 2);
	users_ask_free(u);
	event_base_free(base);
}

static void
too_many_are_refused(void **state)
{
	struct users_ask *u;
	char name[16];
	int asker = 0;
	unsigned i;

	(void)state;
	memset(&seen, 0, sizeof(seen));
	base = event_base_new();
	u = users_ask_new(base, on_reply, fake_lookup);
	users_ask_source(u, "nss");
	for (i = 0; i < USERS_LOOKUPS_MAX + 7; i++) {
		(void)snprintf(name, sizeof(name), "u%u", i);
		users_ask(u, &asker, i, slice_of(name));
	}
	assert_int_equal(seen.temp, 7);
	users_ask_forget(u, &asker);
	users_ask_free(u);
	event_base_free(base);
}

/* The file of a private instance below /root: reached by its directory, which
   was opened before the uid went. */
static _Noreturn void
ask_as_plain_user(const char *source)
{
	struct users_ask *u;
	int asker = 0;

	base = event_base_new();
	u = users_ask_new(base, on_reply, users_look_up);
	users_ask_source(u, source);
	if (setgid(65534) == -1 || setuid(65534) == -1) {
		_exit(2);
	}
	memset(&seen, 0, sizeof(seen));
	users_ask(u, &asker, 1, SL("ann"));
	wait_for(1);
	users_ask_source(u, source); /* a reload */
	users_ask(u, &asker, 2, SL("ann"));
	wait_for(2);
	_exit(seen.yes == 2 ? 0 : 1);
}

static void
below_a_closed_directory(void **state)
{
	char closed[] = "/tmp/veredus-closed-XXXXXX", open_dir[64], source[160];
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		skip(); /* only root has a uid to give up */
	}
	assert_non_null(mkdtemp(closed)); /* 0700 */
	(void)snprintf(open_dir, sizeof(open_dir), "%s/etc", closed);
	assert_int_equal(mkdir(open_dir, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/passwd", open_dir);
	(void)snprintf(source, sizeof(source), "file:%s", path);
	write_file("ann:x:1:1::/home/ann:/bin/sh\n");
	assert_int_equal(chmod(path, 0644), 0);
	pid = fork();
	if (pid == 0) {
		ask_as_plain_user(source);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)unlink(path);
	(void)rmdir(open_dir);
	(void)rmdir(closed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: its child has no threads of others, whose pools
		   (never freed) would be leaks there */
		cmocka_unit_test(below_a_closed_directory),
		cmocka_unit_test(folds_and_refuses_names),
		cmocka_unit_test(cache_expires),
		cmocka_unit_test(a_file_is_asked_for_new_names),
		cmocka_unit_test(cache_is_bounded),
		cmocka_unit_test(file_is_followed),
		cmocka_unit_test(answers),
		cmocka_unit_test(hanging_blocks_nobody),
		cmocka_unit_test(too_many_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
