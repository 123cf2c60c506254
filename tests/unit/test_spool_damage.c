/* Queue files that are damaged, odd or gone: never a wrong recipient, never wrong
   content, and nothing is deleted. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/qid.h"
#include "common/spool_check.h"
#include "tests/unit/spool_kit.h"
#include "tests/unit/unit.h"

#define LARGE (3 * SPOOL_INLINE_MAX + 777)

/* What is damaged are files: with a journal they are there when it is at rest. */
static void
rest(struct kit *k)
{
	if (kit_journal) {
		kit_restart(k);
	}
}

static void
flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char c;

	assert_int_not_equal(fd, -1);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c = (char)(c ^ 0x10);
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	(void)close(fd);
}

static void
write_last(const struct kit *k, const char *text)
{
	char path[600];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/queue/last", k->path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* An id far beyond the clock, or none: not followed, or ids would begin anew. */
static void
absurd_last_id(void **state)
{
	static const char *const bad[] = { "FVVVVVVVVVVVV", "0080000000000",
		"short", "", "0012345*789AB" };
	struct kit *k = *state;
	uint64_t qid, before;
	size_t i;

	for (i = 0; i < NELEMS(bad); i++) {
		assert_int_equal(kit_accept(k, 70, 1, &before), 0);
		write_last(k, bad[i]);
		kit_restart(k);
		assert_int_equal(kit_accept(k, 70, 1, &qid), 0);
		assert_true(qid > before && qid < before + 3600000000);
		assert_int_equal(kit_info(k, before), 0);
	}
	write_last(k, "0030000000000"); /* late, and believed */
	kit_restart(k);
	assert_int_equal(kit_accept(k, 70, 1, &qid), 0);
	assert_true(qid > before + 3600000000);
}

/* Each octet of a queue file flipped: never a wrong recipient, never wrong
   content, and the file is kept. */
static void
flipped_octets(void **state)
{
	struct kit *k = *state;
	struct stat st;
	char file[512], corrupt[600];
	uint64_t qid, third;
	off_t at, size;
	size_t bad = 0, good = 0;

	assert_int_equal(kit_accept(k, 70, 2, &qid), 0);
	assert_int_equal(kit_fate(k, qid, 1, FATE_DELIVERED, 1), 0);
	assert_int_equal(kit_accept(k, 1, 1, &third), 0);
	rest(k);
	assert_true(kit_file(k, qid, file));
	assert_int_equal(stat(file, &st), 0);
	size = st.st_size;
	(void)snprintf(corrupt, sizeof(corrupt), "%s.corrupt", file);
	for (at = 0; at < size; at++) {
		flip(file, at);
		kit_restart(k);
		if (kit_info(k, qid) == 0 &&
		    kit_content(k, qid, SPOOL_INLINE_MAX) == 0) {
			/* only a state record can be flipped and be read */
			assert_true(kit_content_is(k, 70));
			assert_int_equal(k->nrcpts, 2);
			assert_int_equal(k->open, 2);
			good++;
		} else {
			assert_int_equal(k->error, EBADMSG);
			assert_int_equal(spool_corrupt_count(k->sp), 1);
			assert_int_equal(kit_info(k, qid), ENOENT);
			assert_int_equal(spool_count(k->sp), 1);
			kit_settle(k);
			assert_int_equal(rename(corrupt, file), 0);
			bad++;
		}
		flip(file, at);
	}
	assert_true(good > 20 && bad > 200);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->open, 1);
}

/* A cut record means "not done"; what is appended next is read again. */
static void
torn_record(void **state)
{
	struct kit *k = *state;
	struct stat st;
	char file[512];
	uint64_t qid;

	assert_int_equal(kit_accept(k, 70, 3, &qid), 0);
	assert_int_equal(kit_fate(k, qid, 0, FATE_DELIVERED, 1), 0);
	assert_int_equal(kit_fate(k, qid, 1, FATE_DELIVERED, 1), 0);
	rest(k);
	assert_true(kit_file(k, qid, file));
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(truncate(file, st.st_size - 1), 0);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->open, 2);
	assert_int_equal(k->fates[1], FATE_NONE);
	assert_int_equal(kit_fate(k, qid, 2, FATE_DEFERRED, 1), 0);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->fates[0], FATE_DELIVERED);
	assert_int_equal(k->fates[1], FATE_NONE);
	assert_int_equal(k->fates[2], FATE_DEFERRED);
}

/* The first of two records is damaged: the second counts as not done, too, and
   must not come to life when the first one's place is written again. */
static void
damaged_record(void **state)
{
	struct kit *k = *state;
	struct stat st;
	char file[512];
	uint64_t qid;
	off_t at;

	assert_int_equal(kit_accept(k, 70, 3, &qid), 0);
	rest(k);
	assert_true(kit_file(k, qid, file));
	assert_int_equal(stat(file, &st), 0);
	at = st.st_size;
	assert_int_equal(kit_fate(k, qid, 0, FATE_DELIVERED, 1), 0);
	assert_int_equal(kit_fate(k, qid, 1, FATE_DELIVERED, 1), 0);
	rest(k);
	flip(file, at + SPOOL_RECORD_HEAD + 1);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->open, 3);
	assert_int_equal(kit_fate(k, qid, 2, FATE_DEFERRED, 1), 0);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->fates[0], FATE_NONE);
	assert_int_equal(k->fates[1], FATE_NONE);
	assert_int_equal(k->fates[2], FATE_DEFERRED);
}

static void
large_content_damaged(void **state)
{
	struct kit *k = *state;
	char file[512];
	uint64_t qid;

	assert_int_equal(kit_accept(k, LARGE, 1, &qid), 0);
	assert_true(kit_file(k, qid, file));
	flip(file, SPOOL_HEADER + LARGE - 1);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(kit_content(k, qid, SPOOL_INLINE_MAX), EBADMSG);
	assert_int_equal(kit_content(k, qid, SPOOL_INLINE_MAX), ENOENT);
	assert_int_equal(spool_corrupt_count(k->sp), 1);
	kit_settle(k);
	assert_true(kit_file(k, qid, file));
	assert_non_null(strstr(file, ".corrupt"));
	kit_restart(k);
	assert_int_equal(spool_corrupt_count(k->sp), 1);
	assert_int_equal(spool_count(k->sp), 0);
}

static void
foreign_names(void **state)
{
	static const char *const names[] = { "core", "0123456789ABX",
		"00000000000G0", "0123456789AB0.txt", "0123456789ab0",
		".nfs0001", "README", "0123456709AB0" /* later than can be */,
		"0003456719AB0" /* another's directory */ };
	struct kit *k = *state;
	char path[512];
	size_t i;
	int fd;

	for (i = 0; i < NELEMS(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/queue/0/%s", k->path,
		    names[i]);
		fd = open(path, O_CREAT | O_WRONLY, 0600);
		assert_int_not_equal(fd, -1);
		(void)close(fd);
	}
	(void)snprintf(path, sizeof(path), "%s/queue/0/.0003456709AB0",
	    k->path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	(void)close(fd);
	kit_restart(k);
	assert_int_equal(access(path, F_OK), -1); /* a leftover */
	for (i = 0; i < NELEMS(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/queue/0/%s", k->path,
		    names[i]);
		assert_int_equal(access(path, F_OK), 0);
	}
	assert_int_equal(spool_count(k->sp), 1); /* 00000000000G0 */
	assert_int_equal(unlink(path), 0);
}

/* Not a regular file under a message's name: set aside, not waited for. */
static void
odd_files(void **state)
{
	struct kit *k = *state;
	char path[512];
	uint64_t qid;
	int i;

	for (i = 0; i < 4; i++) {
		char id[QID_TEXT + 1];

		qid = 16 * (uint64_t)(100 + i);
		qid_format(qid, id);
		(void)snprintf(path, sizeof(path), "%s/queue/0/%s", k->path,
		    id);
		assert_int_equal(i == 0 ? mkfifo(path, 0600) :
		    i == 1 ? mkdir(path, 0700) :
		    i == 2 ? symlink("/etc/passwd", path) :
		    close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
		kit_restart(k);
		assert_int_equal(kit_info(k, qid), EBADMSG);
		assert_int_equal(spool_corrupt_count(k->sp), (size_t)i + 1);
		assert_int_equal(spool_count(k->sp), 0);
	}
}

static void
vanished_file(void **state)
{
	struct kit *k = *state;
	char file[512];
	uint64_t qid;

	assert_int_equal(kit_accept(k, 70, 2, &qid), 0);
	rest(k);
	assert_true(kit_file(k, qid, file));
	assert_int_equal(unlink(file), 0);
	assert_int_equal(kit_fate(k, qid, 0, FATE_DELIVERED, 1), 0);
	assert_true(k->gone);
	assert_int_equal(kit_info(k, qid), ENOENT);
}

/* A size that is wrong costs neither memory nor time, here or in a check; the next
   record goes where the last good one ends. */
static void
a_size_that_cannot_be(void **state)
{
	struct kit *k = *state;
	struct spool_summary sum;
	struct stat st;
	char file[512];
	uint64_t qid;
	off_t size;

	assert_int_equal(kit_accept(k, 3000, 2, &qid), 0);
	assert_int_equal(kit_fate(k, qid, 0, FATE_DELIVERED, 1), 0);
	rest(k);
	assert_true(kit_file(k, qid, file));
	assert_int_equal(stat(file, &st), 0);
	size = st.st_size;
	assert_int_equal(truncate(file, (off_t)1 << 40), 0);
	assert_int_equal(spool_check(k->fd, NULL, NULL, &sum), 0);
	assert_int_equal(sum.damaged, 1);
	assert_int_equal(sum.messages, 1);
	assert_int_equal(sum.rcpts_open, 1);
	kit_restart(k);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->open, 1);
	assert_int_equal(kit_content(k, qid, SPOOL_INLINE_MAX), 0);
	assert_true(kit_content_is(k, 3000));
	assert_int_equal(kit_fate(k, qid, 1, FATE_DEFERRED, 2), 0);
	rest(k);
	assert_int_equal(stat(file, &st), 0);
	assert_true(st.st_size > size && st.st_size < size + 4096);
	assert_int_equal(kit_info(k, qid), 0);
	assert_int_equal(k->attempts[1], 2);
	assert_int_equal(spool_check(k->fd, NULL, NULL, &sum), 0);
	assert_int_equal(sum.damaged, 0);
}

int
main(void)
{
#define T(name)                                                                \
	cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
	const struct CMUnitTest tests[] = {
		T(flipped_octets),
		T(torn_record),
		T(damaged_record),
		T(large_content_damaged),
		T(foreign_names),
		T(odd_files),
		T(vanished_file),
		T(a_size_that_cannot_be),
		T(absurd_last_id),
	};

	int failed;

	failed = cmocka_run_group_tests_name("damaged files", tests, NULL,
	    NULL);
	kit_journal = true;
	failed += cmocka_run_group_tests_name("damaged files, with a journal",
	    tests, NULL, NULL);
	return failed;
}
