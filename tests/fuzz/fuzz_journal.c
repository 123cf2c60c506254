/*
 * A journal of two segments: as it is, and with its heads and checksums made
 * right (else nothing behind them would ever be reached). What is read is read in
 * order, stands where its position says, and encodes to the same octets.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/journal.h"

#define SEGMENTS 2
#define NUMBER   3u /* of the first; the salts are the same */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[SEGMENTS] = {
	"journal/0000000000003-0000000000003",
	"journal/0000000000004-0000000000004",
};
static char path[64];
static int dir = -1;

struct seen {
	struct slice segments[SEGMENTS];
	uint64_t last_lsn, entries;
};

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

/* -- the files ----------------------------------------------------------------- */

static void
remove_dir(void)
{
	size_t i;

	for (i = 0; i < SEGMENTS; i++) {
		(void)unlinkat(dir, names[i], 0);
	}
	(void)unlinkat(dir, "journal", AT_REMOVEDIR);
	(void)rmdir(path);
}

static void
make_dir(void)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	check(snprintf(path, sizeof(path), "%s/fuzz-journal.XXXXXX", tmp) <
	    (int)sizeof(path));
	check(mkdtemp(path) != NULL);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(dir != -1 && mkdirat(dir, "journal", 0700) == 0);
	check(atexit(remove_dir) == 0);
}

static void
put_file(const char *name, struct slice s)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0600);

	check(fd != -1 && write(fd, s.p, s.n) == (ssize_t)s.n);
	check(close(fd) == 0);
}

/* -- what is read ---------------------------------------------------------------- */

static void
on_entry(void *arg, uint64_t lsn, uint8_t kind, uint64_t qid,
    struct slice body)
{
	struct seen *seen = arg;
	const uint64_t number = lsn >> 32;
	const size_t at = (size_t)(lsn & UINT32_MAX);
	char head[JOURNAL_ENTRY_HEAD];
	struct slice s;

	check(lsn > seen->last_lsn);
	seen->last_lsn = lsn;
	seen->entries++;
	check(number >= NUMBER && number < NUMBER + SEGMENTS);
	s = seen->segments[number - NUMBER];
	check(at >= JOURNAL_HEAD && at <= s.n &&
	    s.n - at >= sizeof(head) + body.n);
	journal_encode_entry(kind, qid, (uint32_t)body.n, head);
	check(memcmp(s.p + at, head, sizeof(head)) == 0);
	check(memcmp(s.p + at + sizeof(head), body.p, body.n) == 0);
}

/* A batch encodes to what was decoded. */
static void
check_batches(struct slice s, uint64_t number)
{
	struct journal_batch b;
	char head[JOURNAL_HEAD];
	uint32_t at;

	for (at = 0; at < s.n; at += JOURNAL_BLOCK) {
		if (journal_decode(s, number, number, at, &b) !=
		    JOURNAL_GOOD) {
			continue;
		}
		check(b.offset == at && b.octets == b.body.n);
		check(b.end % JOURNAL_BLOCK == 0 && b.end > at &&
		    b.end - at >= JOURNAL_HEAD + b.octets);
		journal_encode_head(&b, crc32c(0, b.body.p, b.body.n), head);
		check(memcmp(head, s.p + at, sizeof(head)) == 0);
		check(journal_decode(s, number, number + 1, at, &b) ==
		    JOURNAL_STALE);
	}
}

static void
look(struct slice first, struct slice second)
{
	struct seen seen = { .segments = { first, second } };
	struct journal_report r;
	size_t i;

	for (i = 0; i < SEGMENTS; i++) {
		put_file(names[i], seen.segments[i]);
		check_batches(seen.segments[i], NUMBER + i);
	}
	check(journal_scan(dir, on_entry, NULL, &seen, &r) == 0);
	check(r.entries == seen.entries && r.cut <= 1);
	check(r.segments <= r.batches && r.segments <= SEGMENTS);
}

/* -- made right -------------------------------------------------------------------- */

/* Entries whose lengths fit; returns the octets they take. */
static uint32_t
count_entries(char *p, uint32_t octets, uint32_t *entries)
{
	struct slice body = slice_make(p, octets), entry;
	uint64_t qid;
	uint8_t kind;

	for (*entries = 0; journal_next(&body, &kind, &qid, &entry);) {
		++*entries;
	}
	return octets - (uint32_t)body.n;
}

static void
heal(char *p, size_t n, uint64_t number)
{
	struct journal_batch b = { .segment = number, .salt = number };
	struct dec d;
	uint32_t at, room;

	for (at = 0; n - at >= JOURNAL_HEAD; at = b.end) {
		room = (uint32_t)(n - at) - JOURNAL_HEAD;
		d = dec_make(slice_make(p + at + 24, JOURNAL_HEAD - 24));
		b.number = dec_u64(&d) & 15;
		(void)dec_u32(&d);
		b.octets = dec_u32(&d) % (room + 1);
		(void)dec_u32(&d);
		b.flags = dec_u32(&d) & 3;
		b.first = NUMBER + (p[at + 52] & 1);
		b.offset = at;
		b.octets = count_entries(p + at + JOURNAL_HEAD, b.octets,
		    &b.entries);
		journal_encode_head(&b, crc32c(0, p + at + JOURNAL_HEAD,
		    b.octets), p + at);
		b.end = at + journal_round((uint64_t)JOURNAL_HEAD + b.octets);
		if (b.end > n) {
			return;
		}
	}
}

/* The first octet: how many blocks the first segment has. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t n = size > 0 ? size - 1 : 0;
	size_t cut = size > 0 ? (size_t)(data[0] & 7) * JOURNAL_BLOCK : 0;
	char *copy = malloc(n + 1);

	check(copy != NULL);
	if (dir == -1) {
		make_dir();
	}
	cut = cut < n ? cut : n;
	if (n > 0) {
		memcpy(copy, data + 1, n);
	}
	look(slice_make(copy, cut), slice_make(copy + cut, n - cut));
	heal(copy, cut, NUMBER);
	heal(copy + cut, n - cut, NUMBER + 1);
	look(slice_make(copy, cut), slice_make(copy + cut, n - cut));
	free(copy);
	return 0;
}
