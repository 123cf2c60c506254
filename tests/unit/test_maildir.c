/* Deliveries into real Maildirs: what they hold, what earlier attempts left, and
   what hostile users put there. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/unit.h"
#include "local/homedir.h"
#include "tests/unit/maildir_kit.h"

/* -- content -------------------------------------------------------------------------- */

static void
keeps_the_content(void **state)
{
	struct world *w = *state;
	const struct {
		struct slice in, want;
	} rows[] = {
		{ SL("A: b\r\n\r\nhello\r\n"), SL(FIELDS "A: b\n\nhello\n") },
		{ SL("A: b\r\n\r\n.\r\n..\r\n"), SL(FIELDS "A: b\n\n.\n..\n") },
		{ SL("A: b\r\n\r\nno end"), SL(FIELDS "A: b\n\nno end") },
		{ SL("A: b\r\n\r\nFrom x\r\n"), SL(FIELDS "A: b\n\nFrom x\n") },
		{ SL("\r\n\303\244\377\0\r\n"), SL(FIELDS "\n\303\244\377\0\n") },
		{ SL("a\rb\nc\r"), SL(FIELDS "a\rb\nc\r") },
		{ SL(""), SL(FIELDS) },
	};
	struct delivery m;
	struct stat st;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		empty_home(w);
		w->box.home = w->home;
		m = message(QID, "");
		m.content = rows[i].in;
		m.size = rows[i].in.n;
		deliver_one(w, &m, FATE_DELIVERED);
		assert_string_equal(w->out[0].esc, "2.0.0");
		assert_string_equal(w->out[0].text, "delivered to maildir");
		expect_mail(w, rows[i].want);
	}
	assert_int_equal(fstatat(w->home, "Maildir/new/"
	    "1700000000.M000042V0000I6HB7H6LSR0.mx.test", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fstatat(w->home, "Maildir", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* 200 KB in a file, at an offset, with line ends across every read. */
static void
reads_from_a_file(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "");
	struct strbuf in, want;
	int i;

	strbuf_init(&in, 0);
	strbuf_init(&want, 0);
	(void)strbuf_add_str(&in, "queue file header");
	(void)strbuf_add_str(&want, FIELDS);
	for (i = 0; i < 40000; i++) {
		(void)strbuf_add_str(&in, i % 3 == 0 ? "x\r\n" : "\r\r\n");
		(void)strbuf_add_str(&want, i % 3 == 0 ? "x\n" : "\r\n");
	}
	m.fd = memfd_create("content", MFD_CLOEXEC);
	assert_true(m.fd != -1);
	assert_int_equal(pwrite(m.fd, in.p, in.n, 0), in.n);
	m.offset = 17;
	m.size = in.n - 17;
	deliver_one(w, &m, FATE_DELIVERED);
	expect_mail(w, strbuf_slice(&want));
	/* What is shorter than it should be is not delivered. */
	m.qid++;
	m.size += 1;
	deliver_one(w, &m, FATE_DEFERRED);
	expect_mail(w, strbuf_slice(&want));
	/* Nor what cannot be read with an offset. */
	(void)close(m.fd);
	m.fd = open(w->path, O_RDONLY | O_DIRECTORY);
	deliver_one(w, &m, FATE_DEFERRED);
	expect_mail(w, strbuf_slice(&want));
	(void)close(m.fd);
	strbuf_clear(&in);
	strbuf_clear(&want);
}

static void
ends_loops(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID,
	    "Received: x\r\nDelivered-To: ann@x.test\r\n\r\nbody\r\n");

	deliver_one(w, &m, FATE_FAILED);
	assert_string_equal(w->out[0].esc, "5.4.6");
	assert_string_equal(w->out[0].text,
	    "mail forwarding loop for ann@x.test");
	assert_int_equal(count(w, "Maildir/new", NULL, 0), 0);
	assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 0);
	/* Another address of the same user is no loop. */
	m.address = SL("ann+list@x.test");
	deliver_one(w, &m, FATE_DELIVERED);
}

/* -- batches --------------------------------------------------------------------------- */

static void
flushes_once_a_batch(void **state)
{
	struct world *w = *state;
	struct delivery msgs[DELIVERY_BATCH];
	size_t i, n, syncs = 0, files = 0, renames = 0, last_rename = 0;
	size_t dir_sync = 0, made = 0;
	struct io_record *r;

	msgs[0] = message(QID, "x\r\n");
	io_record_start();
	deliver_one(w, &msgs[0], FATE_DELIVERED);
	r = io_record_stop(&n);
	for (i = 0; i < n; i++) {
		if (r[i].op == IO_MKDIR) { /* its parent at once */
			made++;
			assert_true(i + 1 < n);
			assert_int_equal(r[i + 1].op, IO_SYNC_DIR);
			assert_int_equal(r[i + 1].file, r[i].dir);
		}
	}
	assert_int_equal(made, 4);
	io_records_free(r, n);
	for (i = 0; i < DELIVERY_BATCH; i++) {
		msgs[i] = message(QID + 1 + i, "x\r\n");
	}
	io_record_start();
	deliver(w, msgs, DELIVERY_BATCH);
	r = io_record_stop(&n);
	for (i = 0; i < n; i++) {
		if (r[i].op == IO_SYNC_DIR) {
			syncs++;
			dir_sync = i;
		} else if (r[i].op == IO_SYNC_FILE) {
			assert_int_equal(renames, 0);
			files++;
		} else if (r[i].op == IO_RENAME) {
			renames++;
			last_rename = i;
		}
	}
	assert_int_equal(files, DELIVERY_BATCH);
	assert_int_equal(renames, DELIVERY_BATCH);
	assert_int_equal(syncs, 1);
	assert_true(dir_sync > last_rename);
	io_records_free(r, n);
	assert_int_equal(count(w, "Maildir/new", NULL, 0), DELIVERY_BATCH + 1);
	for (i = 0; i < DELIVERY_BATCH; i++) {
		assert_int_equal(w->out[i].fate, FATE_DELIVERED);
	}
}

static void
one_bad_does_not_spoil_the_others(void **state)
{
	struct world *w = *state;
	struct delivery msgs[3];

	msgs[0] = message(QID, "x\r\n");
	msgs[1] = message(QID + 1, "Delivered-To: ann@x.test\r\n");
	msgs[2] = message(QID + 2, "x\r\n");
	deliver(w, msgs, 3);
	assert_int_equal(w->out[0].fate, FATE_DELIVERED);
	assert_int_equal(w->out[1].fate, FATE_FAILED);
	assert_int_equal(w->out[2].fate, FATE_DELIVERED);
	assert_int_equal(count(w, "Maildir/new", NULL, 0), 2);
}

/* -- attempts after the first -------------------------------------------------------------- */

#define NAME "1700000000.M000042V0000I6HB7H6LSR0.mx.test"

static void
finds_what_was_delivered(void **state)
{
	struct world *w = *state;
	const struct {
		const char *path;
		bool found;
	} rows[] = {
		{ "Maildir/new/" NAME, true },
		{ "Maildir/new/" NAME ":2,", true },
		{ "Maildir/cur/" NAME ":2,S", true },
		{ "Maildir/cur/" NAME ",S=12:2,RS", true },
		{ "Maildir/cur/1700000000.M000042V0000I6HB7H6LSR0.old.test:2,",
		    true },
		{ "Maildir/cur/1700000000.M000042V0000I6HB7H6LSR01.mx.test:2,",
		    false },
		{ "Maildir/cur/1700000000.M000042V0000I6HB7H6LTR0.mx.test:2,",
		    false },
		{ "Maildir/cur/1700000001.M000042V0000I6HB7H6LSR0.mx.test:2,",
		    false },
		{ "Maildir/tmp/" NAME, false },
	};
	struct delivery m = message(QID, "x\r\n");
	size_t i;

	m.again = true;
	for (i = 0; i < NELEMS(rows); i++) {
		empty_home(w);
		start_anew(w);
		assert_int_equal(mkdirat(w->home, "Maildir", 0700), 0);
		assert_int_equal(mkdirat(w->home, "Maildir/tmp", 0700), 0);
		assert_int_equal(mkdirat(w->home, "Maildir/new", 0700), 0);
		assert_int_equal(mkdirat(w->home, "Maildir/cur", 0700), 0);
		touch(w, rows[i].path, "y\n");
		deliver_one(w, &m, FATE_DELIVERED);
		if ((strstr(w->out[0].text, "earlier") != NULL) !=
		    rows[i].found) {
			fail_msg("%s: %s", rows[i].path, w->out[0].text);
		}
	}
}

static void
sweeps_its_own_leftovers(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");

	deliver_one(w, &m, FATE_DELIVERED);
	start_anew(w);
	/* Of dead processes; pid 1 is none of ours. */
	touch(w, "Maildir/tmp/" NAME ".1", "half");
	touch(w, "Maildir/tmp/1600000000.M000042V0000I6HB7H6LTR0.mx.test.1",
	    "half");
	touch(w, "Maildir/tmp/1600000000.M000042V0000I6HB7H6LTR0.other.test.1",
	    "of another host");
	touch(w, "Maildir/tmp/1600000000.M1P2.mx.test", "another program's");
	m = message(QID + 1, "x\r\n");
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 4);
	m = message(QID + 2, "x\r\n");
	m.again = true;
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 2);
	assert_int_equal(count(w, "Maildir/new", NULL, 0), 3);
}

/* -- hostile users ---------------------------------------------------------------------------- */

static void
make_dirs(struct world *w)
{
	struct delivery m = message(QID + 100, "x\r\n");

	empty_home(w);
	start_anew(w);
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(unlinkat(w->home, "Maildir/new/1700000000.M000042V"
	    "0000I6HB7H6P0R0.mx.test", 0), 0);
	start_anew(w);
}

/* What stands where a directory or file of ours belongs. */
enum thing { FIFO, LINK_OUT, LINK_IN, DIRECTORY, FILE_, DANGLING };

static void
put(struct world *w, enum thing t, const char *path)
{
	int r = -1;

	switch (t) {
	case FIFO:
		r = mkfifoat(w->home, path, 0600);
		break;
	case LINK_OUT:
		r = symlinkat("/tmp", w->home, path);
		break;
	case LINK_IN:
		(void)mkdirat(w->home, "elsewhere", 0700);
		r = symlinkat("../elsewhere", w->home, path);
		break;
	case DIRECTORY:
		r = mkdirat(w->home, path, 0700);
		break;
	case FILE_:
		touch(w, path, "mine\n");
		r = 0;
		break;
	case DANGLING:
		r = symlinkat("nowhere", w->home, path);
		break;
	}
	assert_int_equal(r, 0);
}

static void
is_not_led_astray(void **state)
{
	struct world *w = *state;
	const struct {
		const char *sub;
		enum thing thing;
	} rows[] = {
		{ "tmp", FIFO }, { "tmp", LINK_OUT }, { "tmp", LINK_IN },
		{ "tmp", FILE_ }, { "tmp", DANGLING }, { "new", FIFO },
		{ "new", LINK_OUT }, { "new", LINK_IN }, { "new", FILE_ },
		{ "cur", FIFO }, { "cur", LINK_IN }, { "", FIFO },
		{ "", FILE_ }, { "", DANGLING },
	};
	struct delivery m = message(QID, "x\r\n");
	char path[64];
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		if (rows[i].sub[0] == '\0') {
			empty_home(w);
			start_anew(w);
			put(w, rows[i].thing, "Maildir");
		} else {
			make_dirs(w);
			assert_true(snprintf(path, sizeof(path), "Maildir/%s",
			    rows[i].sub) < 64);
			assert_int_equal(unlinkat(w->home, path, AT_REMOVEDIR),
			    0);
			put(w, rows[i].thing, path);
		}
		deliver(w, &m, 1);
		if (w->out[0].fate != FATE_DEFERRED ||
		    memcmp(w->out[0].esc, "4.2.0", 6) != 0) {
			fail_msg("row %zu: %d %s %s", i, w->out[0].fate,
			    w->out[0].esc, w->out[0].text);
		}
		assert_int_equal(count(w, "elsewhere", NULL, 0), 0);
	}
}

/* Something stands in the very place of the file. */
static void
is_not_led_astray_by_files(void **state)
{
	struct world *w = *state;
	const struct {
		const char *dir;
		enum thing thing;
		bool delivered;
	} rows[] = {
		{ "tmp", FIFO, true },
		{ "tmp", LINK_OUT, true },
		{ "tmp", FILE_, true },
		{ "tmp", DANGLING, true },
		{ "tmp", DIRECTORY, false },
		{ "new", FIFO, true },
		{ "new", LINK_OUT, true },
		{ "new", DANGLING, true },
		{ "new", DIRECTORY, false },
	};
	struct delivery m = message(QID, "x\r\n");
	char path[128];
	size_t i;
	bool again;

	for (i = 0; i < 2 * NELEMS(rows); i++) {
		again = i >= NELEMS(rows);
		m.again = again;
		make_dirs(w);
		if (rows[i % NELEMS(rows)].dir[0] == 't') {
			assert_true(snprintf(path, sizeof(path),
			    "Maildir/tmp/" NAME ".%ld", (long)getpid()) < 128);
		} else {
			memcpy(path, "Maildir/new/" NAME,
			    sizeof("Maildir/new/" NAME));
		}
		put(w, rows[i % NELEMS(rows)].thing, path);
		if (rows[i % NELEMS(rows)].delivered) {
			deliver_one(w, &m, FATE_DELIVERED);
			expect_mail(w, SL(FIELDS "x\n"));
		} else {
			deliver_one(w, &m, FATE_DEFERRED);
		}
	}
}

static void
wants_the_users_own(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");

	if (geteuid() != 0) {
		skip(); /* only root can make another's directory */
	}
	make_dirs(w);
	assert_int_equal(fchownat(w->home, "Maildir/new", 61000, 61000, 0), 0);
	deliver_one(w, &m, FATE_DEFERRED);
	assert_non_null(strstr(w->out[0].text, "belongs to uid 61000"));
	make_dirs(w);
	assert_int_equal(fchownat(w->home, "Maildir", 61000, 61000, 0), 0);
	deliver_one(w, &m, FATE_DEFERRED);
}

static void
may_be_a_link(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");

	assert_int_equal(mkdirat(w->home, "elsewhere", 0700), 0);
	assert_int_equal(symlinkat("elsewhere", w->home, "Maildir"), 0);
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(count(w, "elsewhere/new", NULL, 0), 1);
}

static void
notices_a_new_maildir(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");

	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(renameat(w->home, "Maildir", w->home, "Old"), 0);
	m.qid++;
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(count(w, "Old/new", NULL, 0), 1);
	assert_int_equal(count(w, "Maildir/new", NULL, 0), 1);
	assert_int_equal(renameat(w->home, "Maildir/new", w->home, "n"), 0);
	m.qid++;
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(count(w, "Maildir/new", NULL, 0), 1);
}

static void
mailboxes(void **state)
{
	struct world *w = *state;
	const struct {
		const char *mailbox;
		bool ok;
	} rows[] = {
		{ "Maildir/", true }, { "mail/in box/", true },
		{ ".maildir/", true }, { "Mailbox", true }, { "", false },
		{ "/var/mail/", false }, { "../Maildir/", false },
		{ "a/../b/", false }, { "./Maildir/", false }, { "/", false },
	};
	struct delivery m = message(QID, "x\r\n");
	struct outcome o;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		o.fate = FATE_NONE;
		if (homedir_path_ok(rows[i].mailbox, &o) != rows[i].ok) {
			fail_msg("%s", rows[i].mailbox);
		}
		assert_int_equal(o.fate,
		    rows[i].ok ? FATE_NONE : FATE_DEFERRED);
	}
	w->box.mailbox = "mail/in box/";
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(count(w, "mail/in box/new", NULL, 0), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(keeps_the_content),
		PLAY(reads_from_a_file),
		PLAY(ends_loops),
		PLAY(flushes_once_a_batch),
		PLAY(one_bad_does_not_spoil_the_others),
		PLAY(finds_what_was_delivered),
		PLAY(sweeps_its_own_leftovers),
		PLAY(is_not_led_astray),
		PLAY(is_not_led_astray_by_files),
		PLAY(wants_the_users_own),
		PLAY(may_be_a_link),
		PLAY(notices_a_new_maildir),
		PLAY(mailboxes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
