/* Deliveries into real mbox files: what they hold, limits, batches, what
   earlier attempts left. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/unit.h"
#include "tests/unit/maildir_kit.h"

#define FROM "From s@y.test Tue Nov 14 22:13:20 2023\n"
#define ID   "X-Veredus-Id: 0000I6HB7H6LS.0\n"
#define HEAD FROM FIELDS ID

static void
keeps_the_content(void **state)
{
	struct world *w = *state;
	const struct {
		struct slice in, want;
	} rows[] = {
		{ SL("A: b\r\n\r\nhello\r\n"), SL(HEAD "A: b\n\nhello\n\n") },
		{ SL("A: b\r\n\r\n.\r\n..\r\n"), SL(HEAD "A: b\n\n.\n..\n\n") },
		{ SL("A: b\r\n\r\nno end"), SL(HEAD "A: b\n\nno end\n\n") },
		{ SL("A: b\r\n\r\nFrom x\r\n>From y\r\n"),
		    SL(HEAD "A: b\n\n>From x\n>>From y\n\n") },
		{ SL("From mbox\r\nA: b\r\n"), SL(HEAD ">From mbox\nA: b\n\n") },
		{ SL("\r\n\303\244\377\0\r\n"), SL(HEAD "\n\303\244\377\0\n\n") },
		{ SL("a\rb\nc\r"), SL(HEAD "a\rb\nc\r\n\n") },
		{ SL("a\nFrom b\r\n"), SL(HEAD "a\n>From b\n\n") },
		{ SL(""), SL(HEAD "\n") },
	};
	struct delivery m;
	struct stat st;
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		empty_home(w);
		start_anew(w);
		m = message(QID, "");
		m.content = rows[i].in;
		m.size = rows[i].in.n;
		deliver_one(w, &m, FATE_DELIVERED);
		assert_string_equal(w->out[0].esc, "2.0.0");
		assert_string_equal(w->out[0].text, "delivered to mbox");
		expect_file(w, "ann", rows[i].want);
		assert_int_equal(fstatat(w->home, "ann.lock", &st, 0), -1);
	}
	assert_int_equal(fstatat(w->home, "ann", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
makes_it_of_the_group(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "x\r\n");
	struct stat st;

	w->mbox.lock.group = geteuid() == 0 ? 8 : getegid();
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(fstatat(w->home, "ann", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_gid, w->mbox.lock.group);
}

/* The null reverse-path, and an alias. */
static void
names_who_it_is_from(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "A: b\r\n");

	m.reverse_path = SL("");
	m.original = SL("Team@x.test");
	m.index = 3;
	deliver_one(w, &m, FATE_DELIVERED);
	expect_file(w, "ann", SL("From MAILER-DAEMON Tue Nov 14 22:13:20 2023\n"
	    "Return-Path: <>\nX-Original-To: Team@x.test\n"
	    "Delivered-To: ann@x.test\nX-Veredus-Id: 0000I6HB7H6LS.3\n"
	    "A: b\n\n"));
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
	(void)strbuf_add_str(&want, HEAD);
	for (i = 0; i < 40000; i++) {
		(void)strbuf_add_str(&in, i % 3 == 0 ? "From\r\n" : "From x\r\n");
		(void)strbuf_add_str(&want, i % 3 == 0 ? "From\n" : ">From x\n");
	}
	(void)strbuf_add_str(&want, "\n");
	m.fd = memfd_create("content", MFD_CLOEXEC);
	assert_true(m.fd != -1);
	assert_int_equal(pwrite(m.fd, in.p, in.n, 0), in.n);
	m.offset = 17;
	m.size = in.n - 17;
	deliver_one(w, &m, FATE_DELIVERED);
	expect_file(w, "ann", strbuf_slice(&want));
	/* What is shorter than it should be is cut off again. */
	m.qid++;
	m.size += 1;
	deliver_one(w, &m, FATE_DEFERRED);
	expect_file(w, "ann", strbuf_slice(&want));
	(void)close(m.fd);
	strbuf_clear(&in);
	strbuf_clear(&want);
}

static void
ends_loops(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "Delivered-To: ann@x.test\r\n\r\n");

	deliver_one(w, &m, FATE_FAILED);
	assert_string_equal(w->out[0].esc, "5.4.6");
	expect_file(w, "ann", SL(""));
}

/* The limit is the file's; what is too much is cut off, the rest of the batch
   delivered. */
static void
has_a_limit(void **state)
{
	struct world *w = *state;
	const size_t one = sizeof(HEAD "A: b\n\nhello\n\n") - 1;
	char big[20000];
	struct delivery m[3];
	struct stat st;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	m[0] = message(QID, "A: b\r\n\r\nhello\r\n");
	m[1] = message(QID + 1, big);
	m[2] = message(QID + 2, "A: b\r\n\r\nhello\r\n");
	w->mbox.limit = 2 * one;
	deliver(w, m, 3);
	assert_int_equal(w->out[0].fate, FATE_DELIVERED);
	assert_int_equal(w->out[1].fate, FATE_DEFERRED);
	assert_string_equal(w->out[1].esc, "4.2.2");
	assert_non_null(strstr(w->out[1].text, "mailbox full: mail/ann would "
	    "be larger than"));
	assert_int_equal(w->out[2].fate, FATE_DELIVERED);
	assert_int_equal(fstatat(w->home, "ann", &st, 0), 0);
	assert_int_equal(st.st_size, 2 * one);
	m[0].qid += 10;
	deliver_one(w, &m[0], FATE_DEFERRED);
	assert_string_equal(w->out[0].esc, "4.2.2");
	w->mbox.limit = 3 * one;
	deliver_one(w, &m[0], FATE_DELIVERED);
	w->mbox.limit = 0;
	deliver_one(w, &m[1], FATE_DELIVERED);
}

/* A file that is larger than the limit, and more than one write into it. */
static void
cuts_off_what_is_too_much(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "");
	struct strbuf big;
	int i;

	strbuf_init(&big, 0);
	for (i = 0; i < 30000; i++) {
		(void)strbuf_add_str(&big, "0123456789\r\n");
	}
	m.content = strbuf_slice(&big);
	m.size = big.n;
	m.fd = memfd_create("content", MFD_CLOEXEC);
	assert_int_equal(pwrite(m.fd, big.p, big.n, 0), big.n);
	touch(w, "ann", "From x\n\nold\n");
	w->mbox.limit = 200000;
	deliver_one(w, &m, FATE_DEFERRED);
	assert_string_equal(w->out[0].esc, "4.2.2");
	expect_file(w, "ann", SL("From x\n\nold\n"));
	(void)close(m.fd);
	strbuf_clear(&big);
}

/* What the file ends in, and what is made of it. */
static void
begins_behind_a_blank_line(void **state)
{
	struct world *w = *state;
	static const struct {
		struct slice before, after;
	} rows[] = {
		{ SL_INIT(""), SL_INIT("") },
		{ SL_INIT("From a\n\nb\n\n"), SL_INIT("From a\n\nb\n\n") },
		{ SL_INIT("From a\n\nb\n"), SL_INIT("From a\n\nb\n\n") },
		{ SL_INIT("From a\n\nb"), SL_INIT("From a\n\nb\n\n") },
		{ SL_INIT("x"), SL_INIT("x\n\n") },
		{ SL_INIT("\n"), SL_INIT("\n\n") },
		/* of a crash */
		{ SL_INIT("From a\n\nb\n\n\0rom c\n\nd"),
		    SL_INIT("From a\n\nb\n\n") },
		{ SL_INIT("From a\n\nb\n\n\0rom c\n\nd\n\n\0rom e\n\nx\n\n"),
		    SL_INIT("From a\n\nb\n\n") },
		{ SL_INIT("From a\n\nb\n\n\0"), SL_INIT("From a\n\nb\n\n") },
		{ SL_INIT("\0rom c\n\nd"), SL_INIT("") },
		/* no crash: someone else's octets */
		{ SL_INIT("From a\n\n\0\0\0\n"), SL_INIT("From a\n\n\0\0\0\n\n") },
		{ SL_INIT("From a\n\n\0rom b\n\nFrom c\n\nd\n\n"),
		    SL_INIT("From a\n\n\0rom b\n\nFrom c\n\nd\n\n") },
	};
	struct delivery m = message(QID, "A: b\r\n");
	struct strbuf want;
	size_t i;
	int fd;

	strbuf_init(&want, 0);
	for (i = 0; i < NELEMS(rows); i++) {
		empty_home(w);
		start_anew(w);
		fd = openat(w->home, "ann", O_WRONLY | O_CREAT, 0600);
		assert_int_equal(write(fd, rows[i].before.p, rows[i].before.n),
		    rows[i].before.n);
		(void)close(fd);
		deliver_one(w, &m, FATE_DELIVERED);
		strbuf_reset(&want);
		(void)strbuf_add_slice(&want, rows[i].after);
		(void)strbuf_add_str(&want, HEAD "A: b\n\n");
		expect_file(w, "ann", strbuf_slice(&want));
	}
	strbuf_clear(&want);
}

/* A crash left 300 KB, and a marker across the border of what is read at once. */
static void
cuts_off_a_long_end(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "A: b\r\n");
	struct strbuf text;
	size_t at, size;
	int fd;

	strbuf_init(&text, 0);
	for (size = 65536 * 3; size < 65536 * 3 + 12; size++) {
		for (at = 65536 - 4; at < 65536 + 12; at += 3) {
			empty_home(w);
			start_anew(w);
			strbuf_reset(&text);
			while (text.n < at - 2) {
				(void)strbuf_add_char(&text, 'x');
			}
			(void)strbuf_add(&text, "\n\n\0rom y\n", 9);
			while (text.n < size) {
				(void)strbuf_add_char(&text,
				    text.n % 61 == 0 ? '\n' : 'z');
			}
			fd = openat(w->home, "ann", O_WRONLY | O_CREAT, 0600);
			assert_int_equal(write(fd, text.p, text.n), text.n);
			(void)close(fd);
			deliver_one(w, &m, FATE_DELIVERED);
			text.n = at;
			(void)strbuf_add_str(&text, HEAD "A: b\n\n");
			expect_file(w, "ann", strbuf_slice(&text));
		}
	}
	strbuf_clear(&text);
}

static void
finds_what_was_delivered(void **state)
{
	struct world *w = *state;
	struct delivery m = message(QID, "A: b\r\n");
	struct stat st;
	off_t size;

	deliver_one(w, &m, FATE_DELIVERED);
	m.again = true;
	start_anew(w);
	deliver_one(w, &m, FATE_DELIVERED);
	assert_string_equal(w->out[0].text,
	    "delivered to mbox by an earlier attempt");
	expect_file(w, "ann", SL(HEAD "A: b\n\n"));
	/* Another recipient of it is another delivery. */
	m.index = 1;
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(fstatat(w->home, "ann", &st, 0), 0);
	size = st.st_size;
	assert_int_equal(size, 2 * (sizeof(HEAD "A: b\n\n") - 1));
	/* The file has changed since it was read: it is read again. */
	assert_int_equal(unlinkat(w->home, "ann", 0), 0);
	deliver_one(w, &m, FATE_DELIVERED);
	assert_string_equal(w->out[0].text, "delivered to mbox");
	/* A sender cannot say that it is there. */
	m = message(QID + 1, "X-Veredus-Id: 0000I6HB7H6LU.0\r\n\r\n"
	    "From x\r\nX-Veredus-Id: 0000I6HB7H6LU.0\r\n");
	m.content = SL("Received: by us\r\nX-Veredus-Id: 0000I6HB7H6LU.0\r\n"
	    "\r\nFrom x\r\nX-Veredus-Id: 0000I6HB7H6LU.0\r\n");
	m.size = m.content.n;
	deliver_one(w, &m, FATE_DELIVERED);
	m = message(QID + 2, "A: b\r\n");
	m.again = true;
	start_anew(w);
	deliver_one(w, &m, FATE_DELIVERED);
	assert_string_equal(w->out[0].text, "delivered to mbox");
}

/* One flush for all that is written, one for what makes it mail. */
static void
flushes_once_a_batch(void **state)
{
	struct world *w = *state;
	struct delivery m[DELIVERY_BATCH];
	struct io_record *r;
	size_t i, n, syncs[2] = { 0, 0 }, commits = 0, dirs = 0;

	if (!io_build_has_hooks()) {
		skip();
	}
	for (i = 0; i < DELIVERY_BATCH; i++) {
		m[i] = message(QID + i, "A: b\r\n");
	}
	io_record_start();
	deliver(w, m, DELIVERY_BATCH);
	r = io_record_stop(&n);
	for (i = 0; i < n; i++) {
		if (strcmp(r[i].site, "local.mbox.fdatasync") == 0) {
			assert_int_equal(commits, 0);
			assert_int_equal(dirs, 1);
			syncs[0]++;
		} else if (strcmp(r[i].site, "local.mbox.commit") == 0) {
			assert_int_equal(syncs[0], 1);
			assert_int_equal(syncs[1], 0);
			assert_int_equal(r[i].n, 1);
			commits++;
		} else if (strcmp(r[i].site, "local.mbox.commit.fdatasync") ==
		    0) {
			assert_int_equal(commits, DELIVERY_BATCH);
			syncs[1]++;
		} else if (strcmp(r[i].site, "local.mbox.dir.fsync") == 0) {
			dirs++;
		}
	}
	assert_true(syncs[0] == 1 && syncs[1] == 1);
	io_records_free(r, n);
	for (i = 0; i < DELIVERY_BATCH; i++) {
		assert_int_equal(w->out[i].fate, FATE_DELIVERED);
	}
}

/* Readers tell new mail by the times: our own look leaves no trace. */
static void
leaves_the_times_alone(void **state)
{
	struct world *w = *state;
	const struct timespec times[2] = { { 1600000000, 0 },
		{ 1600000000, 0 } };
	struct delivery m = message(QID, "Delivered-To: ann@x.test\r\n\r\n");
	struct stat st;

	touch(w, "ann", "From a\n\nb\n\n");
	assert_int_equal(utimensat(w->home, "ann", times, 0), 0);
	deliver_one(w, &m, FATE_FAILED);
	assert_int_equal(fstatat(w->home, "ann", &st, 0), 0);
	assert_int_equal(st.st_atim.tv_sec, 1600000000);
	assert_int_equal(st.st_mtim.tv_sec, 1600000000);
	m = message(QID, "A: b\r\n");
	deliver_one(w, &m, FATE_DELIVERED);
	assert_int_equal(fstatat(w->home, "ann", &st, 0), 0);
	assert_int_equal(st.st_atim.tv_sec, 1600000000);
	assert_true(st.st_mtim.tv_sec > 1600000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MBOX_PLAY(keeps_the_content),
		MBOX_PLAY(makes_it_of_the_group),
		MBOX_PLAY(names_who_it_is_from),
		MBOX_PLAY(reads_from_a_file),
		MBOX_PLAY(ends_loops),
		MBOX_PLAY(has_a_limit),
		MBOX_PLAY(cuts_off_what_is_too_much),
		MBOX_PLAY(begins_behind_a_blank_line),
		MBOX_PLAY(cuts_off_a_long_end),
		MBOX_PLAY(finds_what_was_delivered),
		MBOX_PLAY(flushes_once_a_batch),
		MBOX_PLAY(leaves_the_times_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
