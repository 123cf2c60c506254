/*
 * The power fails during deliveries into mbox files and Maildirs: after each
 * recorded operation, with all that a file system may leave of what was not
 * flushed (power_cut.h). What was there stays; what was reported delivered is
 * there, whole; what was not is delivered once by the next attempt.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/xmalloc.h"
#include "tests/unit/unit.h"
#include "tests/unit/maildir_kit.h"
#include "tests/unit/power_cut.h"

#define LARGE   30000 /* some blocks */
#define SAMPLES 12    /* of the last variant at each place */

static char large[LARGE + 1]; /* content */
static size_t cuts;

static const struct story {
	const char *before; /* what another program has left in the mbox */
	const char *content; /* NULL: `large' */
	size_t n;           /* messages, in one batch */
} stories[] = {
	{ NULL, "A: b\r\n\r\nFrom here\r\n", 2 },
	{ "From x\n\nold\n\n", "A: b\r\n\r\nFrom here\r\n", 2 },
	{ "From x\n\nold", "A: b\r\n\r\nFrom here\r\n", 2 },
	{ NULL, NULL, 1 },
	{ "From x\n\nold\n\n", NULL, 1 },
};

static void
deliver_all(struct world *w, const struct story *s, bool again)
{
	struct delivery msgs[2];
	size_t i;

	for (i = 0; i < s->n; i++) {
		msgs[i] = message(QID + i, s->content != NULL ? s->content :
		    large);
		msgs[i].again = again;
	}
	deliver(w, msgs, s->n);
	for (i = 0; i < s->n; i++) {
		if (w->out[i].fate != FATE_DELIVERED) {
			fail_msg("%s", w->out[i].text);
		}
	}
}

/* By the functions of common/io: the record is to know it. */
static void
leave_before(const struct world *w, const char *text)
{
	int fd;

	if (text == NULL || !w->is_mbox) {
		return;
	}
	fd = io_openat("test", w->home, "ann", O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(fd != -1);
	assert_int_equal(io_write("test", fd, text, strlen(text)), 0);
	assert_int_equal(io_fsync("test", fd), 0);
	assert_int_equal(io_fsync("test", w->home), 0);
	assert_int_equal(io_close("test", fd), 0);
}

/* -- what is to be there ------------------------------------------------------ */

/* The mbox, or any message of the Maildir: all are alike. */
static void
read_mailbox(const struct world *w, struct strbuf *b)
{
	char name[200], path[256];

	if (w->is_mbox) {
		read_path(w, "ann", b);
		return;
	}
	assert_true(count(w, "Maildir/new", name, sizeof(name)) > 0);
	assert_true(snprintf(path, sizeof(path), "Maildir/new/%s", name) <
	    (int)sizeof(path));
	read_path(w, path, b);
}

/* An mbox may keep what is no mail at the end of the message before; mbox.h. */
static bool
is_there_once(const struct story *s, struct slice got, struct slice want)
{
	size_t before = s->before != NULL ? strlen(s->before) : 0;
	const char *mine = memmem(want.p, want.n, "From s@y", 8);
	size_t n = want.n - (size_t)(mine - want.p);
	const char *first = memmem(got.p, got.n, mine, n);

	return got.n >= want.n && memcmp(got.p, want.p, before) == 0 &&
	    first != NULL && first + n == got.p + got.n;
}

static void
expect_all(struct world *w, const struct story *s, const struct strbuf *want,
    size_t at, unsigned v)
{
	struct strbuf got;

	strbuf_init(&got, 0);
	read_mailbox(w, &got);
	if (w->is_mbox && v >= CUT_ZEROS ? !is_there_once(s,
	    strbuf_slice(&got), strbuf_slice(want)) :
	    !slice_eq(strbuf_slice(&got), strbuf_slice(want)) ||
	    (!w->is_mbox && count(w, "Maildir/new", NULL, 0) != s->n)) {
		fail_msg("story %zu, cut after operation %zu, variant %u: "
		    "%zu octets, not %zu", (size_t)(s - stories), at, v,
		    got.n, want->n);
	}
	strbuf_clear(&got);
}

/* -- the cuts --------------------------------------------------------------------- */

static void
cut_here(struct world *w, const struct cut_fs *fs, const struct story *s,
    const struct strbuf *want, size_t at, bool promised)
{
	unsigned i, v;

	for (i = 0; i < CUT_VARIANTS + SAMPLES; i++) {
		v = i < CUT_VARIANTS ? i : CUT_BLOCKS;
		/* mbox.h knows of it: octets of one block are not written
		   in another order than they were given */
		if (w->is_mbox && v == CUT_RANDOM) {
			continue;
		}
		empty_home(w);
		cut_make(fs, (enum cut_variant)v, 88172645463325252u +
		    at * 1009 + i, w->path);
		start_anew(w);
		if (promised) {
			expect_all(w, s, want, at, v);
		}
		/* its maker lives: it is this process */
		(void)unlinkat(w->home, "ann.lock", 0);
		deliver_all(w, s, true);
		expect_all(w, s, want, at, v);
		cuts++;
	}
}

static struct io_record *
record(struct world *w, const struct story *s, ino_t *root, size_t *n)
{
	struct stat st;

	empty_home(w);
	start_anew(w);
	assert_int_equal(fstat(w->home, &st), 0);
	*root = st.st_ino;
	io_plan(NULL);
	io_record_start();
	leave_before(w, s->before);
	io_promise("before");
	deliver_all(w, s, false);
	io_promise("delivered");
	return io_record_stop(n);
}

static void
cut_story(struct world *w, const struct story *s)
{
	struct io_record *r;
	struct strbuf want;
	struct cut_fs *fs;
	size_t i, n, promised = 0;
	ino_t root;

	strbuf_init(&want, 0);
	r = record(w, s, &root, &n);
	read_mailbox(w, &want);
	fs = cut_new(root);
	for (i = 0; i < n; i++) {
		cut_apply(fs, &r[i]);
		promised += r[i].op == IO_PROMISE;
		if (promised > 0) {
			cut_here(w, fs, s, &want, i, promised == 2);
		}
	}
	cut_free(fs);
	io_records_free(r, n);
	strbuf_clear(&want);
}

static void
survives_power_cuts(void **state)
{
	struct world *w = *state;
	size_t i;

	memset(large, 'x', LARGE);
	memcpy(large, "A: b\r\n\r\n", 8);
	for (i = 998; i + 2 < LARGE; i += 1000) {
		memcpy(large + i, "\r\n", 2);
	}
	memcpy(large + LARGE - 2, "\r\n", 2);
	cuts = 0;
	for (i = 0; i < NELEMS(stories); i++) {
		/* for a Maildir they differ in what is delivered only */
		if (w->is_mbox || stories[i].before == NULL) {
			cut_story(w, &stories[i]);
		}
	}
	print_message("crash: %s: %zu power cuts, 0 lost\n", w->is_mbox ?
	    "mbox" : "maildir", cuts);
	assert_true(cuts > 200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MBOX_PLAY(survives_power_cuts),
		PLAY(survives_power_cuts),
	};

	if (!io_build_has_hooks()) {
		print_message("built without hooks\n");
		return 1;
	}
	return cmocka_run_group_tests_name("mailbox_cut", tests, NULL, NULL);
}
