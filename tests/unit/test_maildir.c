/* Deliveries into real Maildirs: what they hold, what survives a crash or a
   failing disk at every operation, and what hostile users put there. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "common/strbuf.h"
#include "local/maildir.h"
#include "tests/unit/unit.h"

#define QID   0x123456789abcu
#define FIELDS "Return-Path: <s@y.test>\nDelivered-To: ann@x.test\n"

struct world {
	char path[64];
	int home;
	struct maildir box;
	struct outcome out[MAILDIR_BATCH];
};

/* -- the stage ---------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	(void)ftw;
	return remove(path);
}

static void
empty_home(struct world *w)
{
	(void)close(w->home);
	(void)nftw(w->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(w->path, 0700), 0);
	w->home = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w->home != -1);
}

static int
raise_curtain(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	/* In memory where there is such a place: thousands of flushes. */
	assert_true(snprintf(w.path, sizeof(w.path), "%s/vrdmailXXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") <
	    (int)sizeof(w.path));
	assert_non_null(mkdtemp(w.path));
	w.home = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w.home != -1);
	maildir_init(&w.box, w.home, "Maildir/", SL("mx.test"));
	*state = &w;
	return 0;
}

static int
drop_curtain(void **state)
{
	struct world *w = *state;

	io_plan(NULL);
	maildir_clear(&w->box);
	(void)close(w->home);
	return nftw(w->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct maildir_message
message(uint64_t qid, const char *content)
{
	return (struct maildir_message){ .qid = qid,
		.arrived_us = 1700000000000042u, .fd = -1,
		.reverse_path = SL("s@y.test"), .address = SL("ann@x.test"),
		.original = SL("ann@x.test"), .content = slice_of(content),
		.size = strlen(content) };
}

/* A batch; the outcomes are in w->out. */
static void
deliver(struct world *w, const struct maildir_message *msgs, size_t n)
{
	struct maildir_pending ps[MAILDIR_BATCH];
	size_t i;

	for (i = 0; i < n; i++) {
		maildir_write(&w->box, &msgs[i], &ps[i]);
	}
	maildir_finish(&w->box, ps, n);
	for (i = 0; i < n; i++) {
		w->out[i] = ps[i].outcome;
		maildir_pending_clear(&ps[i]);
	}
}

static void
deliver_one(struct world *w, const struct maildir_message *msg, enum fate want)
{
	deliver(w, msg, 1);
	if (w->out[0].fate != want) {
		fail_msg("fate %d: %s %s", w->out[0].fate, w->out[0].esc,
		    w->out[0].text);
	}
}

/* A process of its own, as a worker that starts anew. */
static void
start_anew(struct world *w)
{
	maildir_clear(&w->box);
	maildir_init(&w->box, w->home, "Maildir/", SL("mx.test"));
}

/* Names in a directory; the first in `name' when that is not NULL. */
static size_t
count(const struct world *w, const char *sub, char *name, size_t cap)
{
	char path[128];
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	assert_true(snprintf(path, sizeof(path), "%s/%s", w->path, sub) < 128);
	d = opendir(path);
	if (d == NULL) {
		return 0;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.') {
			if (n++ == 0 && name != NULL) {
				assert_true(snprintf(name, cap, "%s",
				    e->d_name) < (int)cap);
			}
		}
	}
	(void)closedir(d);
	return n;
}

static void
read_path(const struct world *w, const char *path, struct strbuf *b)
{
	int fd = openat(w->home, path, O_RDONLY | O_NOFOLLOW);
	ssize_t r;

	strbuf_reset(b);
	assert_true(fd != -1);
	while ((r = read(fd, strbuf_room(b, 65536), 65536)) > 0) {
		strbuf_filled(b, (size_t)r);
	}
	assert_int_equal(r, 0);
	(void)close(fd);
}

/* The only message in new/ is `want'. */
static void
expect_mail(const struct world *w, struct slice want)
{
	char name[200], path[256];
	struct strbuf b;

	assert_int_equal(count(w, "Maildir/new", name, sizeof(name)), 1);
	assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 0);
	assert_true(snprintf(path, sizeof(path), "Maildir/new/%s", name) < 256);
	strbuf_init(&b, 0);
	read_path(w, path, &b);
	if (!slice_eq(strbuf_slice(&b), want)) {
		fail_msg("%.*s\ninstead of\n%.*s", SLF(strbuf_slice(&b)),
		    SLF(want));
	}
	strbuf_clear(&b);
}

static void
touch(const struct world *w, const char *path, const char *text)
{
	int fd = openat(w->home, path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd != -1);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

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
	struct maildir_message m;
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
	struct maildir_message m = message(QID, "");
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
	struct maildir_message m = message(QID,
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
	struct maildir_message msgs[MAILDIR_BATCH];
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
	for (i = 0; i < MAILDIR_BATCH; i++) {
		msgs[i] = message(QID + 1 + i, "x\r\n");
	}
	io_record_start();
	deliver(w, msgs, MAILDIR_BATCH);
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
	assert_int_equal(files, MAILDIR_BATCH);
	assert_int_equal(renames, MAILDIR_BATCH);
	assert_int_equal(syncs, 1);
	assert_true(dir_sync > last_rename);
	io_records_free(r, n);
	assert_int_equal(count(w, "Maildir/new", NULL, 0), MAILDIR_BATCH + 1);
	for (i = 0; i < MAILDIR_BATCH; i++) {
		assert_int_equal(w->out[i].fate, FATE_DELIVERED);
	}
}

static void
one_bad_does_not_spoil_the_others(void **state)
{
	struct world *w = *state;
	struct maildir_message msgs[3];

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
	struct maildir_message m = message(QID, "x\r\n");
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
	struct maildir_message m = message(QID, "x\r\n");

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
	struct maildir_message m = message(QID + 100, "x\r\n");

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
	struct maildir_message m = message(QID, "x\r\n");
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
	struct maildir_message m = message(QID, "x\r\n");
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
	struct maildir_message m = message(QID, "x\r\n");

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
	struct maildir_message m = message(QID, "x\r\n");

	assert_int_equal(mkdirat(w->home, "elsewhere", 0700), 0);
	assert_int_equal(symlinkat("elsewhere", w->home, "Maildir"), 0);
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(count(w, "elsewhere/new", NULL, 0), 1);
}

static void
notices_a_new_maildir(void **state)
{
	struct world *w = *state;
	struct maildir_message m = message(QID, "x\r\n");

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
		{ ".maildir/", true }, { "Mailbox", false }, { "", false },
		{ "/var/mail/", false }, { "../Maildir/", false },
		{ "a/../b/", false }, { "./Maildir/", false }, { "/", false },
	};
	struct maildir_message m = message(QID, "x\r\n");
	struct outcome o;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		o.fate = FATE_NONE;
		if (maildir_mailbox_ok(rows[i].mailbox, &o) != rows[i].ok) {
			fail_msg("%s", rows[i].mailbox);
		}
		assert_int_equal(o.fate,
		    rows[i].ok ? FATE_NONE : FATE_DEFERRED);
	}
	w->box.mailbox = "mail/in box/";
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(count(w, "mail/in box/new", NULL, 0), 1);
}

/* -- crashes and faults -------------------------------------------------------------------------- */

static size_t kills, faults;

/* Two messages; each must be in new/ once and whole after the last attempt. */
static void
both(struct maildir_message msgs[2], bool again)
{
	msgs[0] = message(QID, "A: b\r\n\r\nhello\r\n");
	msgs[1] = message(QID + 1, "A: b\r\n\r\nhello\r\n");
	msgs[0].again = msgs[1].again = again;
}

static void
expect_whole(const struct world *w, const char *dir)
{
	char path[128];
	struct dirent *e;
	struct strbuf b;
	DIR *d;

	assert_true(snprintf(path, sizeof(path), "%s/%s", w->path, dir) < 128);
	d = opendir(path);
	if (d == NULL) {
		return;
	}
	strbuf_init(&b, 0);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.') {
			continue;
		}
		assert_true(snprintf(path, sizeof(path), "%s/%.90s", dir,
		    e->d_name) < 128);
		read_path(w, path, &b);
		assert_slice(strbuf_slice(&b), FIELDS "A: b\n\nhello\n");
	}
	(void)closedir(d);
	strbuf_clear(&b);
}

static void
expect_both(struct world *w)
{
	assert_int_equal(w->out[0].fate, FATE_DELIVERED);
	assert_int_equal(w->out[1].fate, FATE_DELIVERED);
	assert_int_equal(count(w, "Maildir/new", NULL, 0), 2);
	assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 0);
	expect_whole(w, "Maildir/new");
}

/* In a process of its own; true when the plan has killed it. */
static bool
killed_at(struct world *w, enum io_plan_kind kind, unsigned n, bool again)
{
	const struct io_plan plan = { .kind = kind, .n = n };
	struct maildir_message msgs[2];
	int status;
	pid_t pid = fork();

	assert_true(pid != -1);
	if (pid == 0) {
		both(msgs, again);
		start_anew(w);
		io_plan(&plan);
		deliver(w, msgs, 2);
		_exit(w->out[0].fate == FATE_DELIVERED &&
		    w->out[1].fate == FATE_DELIVERED ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status)) {
		assert_int_equal(WEXITSTATUS(status), 0);
		return false;
	}
	assert_int_equal(WTERMSIG(status), SIGKILL);
	return true;
}

static unsigned
kill_everywhere(struct world *w, enum io_plan_kind kind)
{
	struct maildir_message msgs[2];
	unsigned n, m, points = 0;
	bool killed = true, killed_again;

	for (n = 1; killed; n++) {
		killed_again = true;
		for (m = 1; killed_again; m++) {
			empty_home(w);
			w->box.home = w->home;
			killed = killed_at(w, kind, n, false);
			expect_whole(w, "Maildir/new");
			/* The second attempt dies too ... */
			killed_again = killed && m <= 40 &&
			    killed_at(w, kind, m, true);
			expect_whole(w, "Maildir/new");
			/* ... the third finds what there is. */
			both(msgs, true);
			start_anew(w);
			deliver(w, msgs, 2);
			expect_both(w);
			points++;
		}
	}
	return points;
}

static void
survives_kills(void **state)
{
	struct world *w = *state;
	unsigned points;

	points = kill_everywhere(w, IO_PLAN_KILL);
	points += kill_everywhere(w, IO_PLAN_TORN);
	assert_true(points > 100);
	kills += points;
}

/* The message was read, moved to cur/ by a client, while the power failed. */
static void
survives_kills_and_readers(void **state)
{
	struct world *w = *state;
	struct maildir_message msgs[2];
	char name[200], from[256], to[256];
	bool killed = true;
	unsigned n;

	for (n = 1; killed; n++) {
		empty_home(w);
		w->box.home = w->home;
		killed = killed_at(w, IO_PLAN_KILL, n, false);
		while (count(w, "Maildir/new", name, sizeof(name)) > 0) {
			assert_true(snprintf(from, sizeof(from),
			    "Maildir/new/%s", name) < 256);
			assert_true(snprintf(to, sizeof(to),
			    "Maildir/cur/%s:2,S", name) < 256);
			assert_int_equal(renameat(w->home, from, w->home, to),
			    0);
		}
		both(msgs, true);
		start_anew(w);
		deliver(w, msgs, 2);
		assert_int_equal(w->out[0].fate, FATE_DELIVERED);
		assert_int_equal(w->out[1].fate, FATE_DELIVERED);
		assert_int_equal(count(w, "Maildir/new", NULL, 0) +
		    count(w, "Maildir/cur", NULL, 0), 2);
		assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 0);
		expect_whole(w, "Maildir/cur");
		kills++;
	}
}

static void
fail_everywhere(struct world *w, enum io_plan_kind kind, int error, bool stay)
{
	struct io_plan plan = { .kind = kind, .error = error, .stay = stay };
	struct maildir_message msgs[2];
	size_t delivered;
	bool hit = true;
	unsigned i;

	for (plan.n = 1; hit; plan.n++) {
		empty_home(w);
		start_anew(w);
		both(msgs, false);
		io_plan(&plan);
		deliver(w, msgs, 2);
		hit = io_plan_hit() != NULL;
		io_plan(NULL);
		delivered = 0;
		for (i = 0; i < 2; i++) {
			assert_true(w->out[i].fate == FATE_DELIVERED ||
			    w->out[i].fate == FATE_DEFERRED);
			delivered += w->out[i].fate == FATE_DELIVERED;
		}
		assert_true(count(w, "Maildir/new", NULL, 0) >= delivered);
		/* What failed is not called delivered. */
		assert_true(!hit || error == 0 || error == EINTR ||
		    delivered < 2);
		faults += hit;
		expect_whole(w, "Maildir/new");
		/* The same worker tries what it must; the other is not. */
		both(msgs, true);
		deliver(w, msgs, 2);
		expect_both(w);
	}
	assert_true(plan.n > 10);
}

static void
survives_faults(void **state)
{
	struct world *w = *state;
	static const int errors[] = { ENOSPC, EIO, EDQUOT, EMFILE, EROFS,
		EACCES };
	size_t i;

	for (i = 0; i < NELEMS(errors); i++) {
		fail_everywhere(w, IO_PLAN_FAIL, errors[i], false);
		fail_everywhere(w, IO_PLAN_FAIL, errors[i], true);
		fail_everywhere(w, IO_PLAN_SHORT, errors[i], false);
	}
	fail_everywhere(w, IO_PLAN_SHORT, 0, false);
	fail_everywhere(w, IO_PLAN_FAIL, EINTR, false);
}

static void
enough(void **state)
{
	(void)state;
	print_message("crash: maildir: %zu distinct points (kill %zu, "
	    "fault %zu), 0 lost\n", kills + faults, kills, faults);
	assert_true(kills > 500 && faults > 100);
}

#define PLAY(f) cmocka_unit_test_setup_teardown(f, raise_curtain, drop_curtain)

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
		PLAY(survives_kills),
		PLAY(survives_kills_and_readers),
		PLAY(survives_faults),
		cmocka_unit_test(enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
