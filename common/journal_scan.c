/*
 * Reading a journal: first where its batches are, segment by segment; then,
 * when it is known which segments count, their entries.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/journal_int.h"
#include "common/qid.h"
#include "common/xmalloc.h"

#define READ_SIZE (1024u * 1024)

struct batch {
	uint32_t offset, end;
	uint64_t number;
	bool copy;
};

/* What was seen in a segment. */
struct seen {
	struct journal_segment *s;
	struct batch *batches;
	size_t n;
	struct place {
		uint32_t offset;
		const char *why;
	} *bad;
	size_t nbad;
	bool cut;        /* damage after the last good batch */
	uint32_t cut_at;
};

struct scan {
	int dir;
	char *buf;
	size_t cap;
	struct seen *seen;
	size_t n;
	uint64_t copied; /* number of the last batch JOURNAL_COPIED */
	struct journal_found *found;
	journal_entry_cb *cb;
	void (*bad)(void *arg, uint64_t segment, uint64_t offset,
	    const char *why);
	void *arg;
	struct journal_report *report;
};

/* -- names --------------------------------------------------------------------- */

void
journal_segment_name(uint64_t number, bool dot, char out[JOURNAL_NAME_MAX])
{
	char id[QID_TEXT + 1];

	qid_format(number, id);
	(void)snprintf(out, JOURNAL_NAME_MAX, "%s%s", dot ? "." : "", id);
}

static uint64_t
time_us(struct timespec t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
note_times(struct journal_found *f, const struct stat *st)
{
	if (time_us(st->st_ctim) > f->newest_us) {
		f->newest_us = time_us(st->st_ctim);
	}
	if (time_us(st->st_mtim) > f->newest_us) {
		f->newest_us = time_us(st->st_mtim);
	}
}

/* By number, those with a dot in front of all others. */
static void
insert(struct journal_found *f, struct journal_segment *s)
{
	struct journal_segment *at;

	TAILQ_FOREACH_REVERSE (at, &f->segments, journal_segments, next) {
		if (at->dot != s->dot ? at->dot : at->number < s->number) {
			TAILQ_INSERT_AFTER(&f->segments, at, s, next);
			return;
		}
	}
	TAILQ_INSERT_HEAD(&f->segments, s, next);
}

static int
add_name(struct scan *sc, const char *name)
{
	struct journal_segment *s;
	struct stat st;
	bool dot = name[0] == '.';
	uint64_t number;
	int fd;

	if (!qid_parse(slice_of(name + (dot ? 1 : 0)), &number) ||
	    number == 0 || number > UINT32_MAX) {
		return 0;
	}
	fd = io_openat("journal.open", sc->dir, name, O_RDONLY | O_NOFOLLOW |
	    O_NONBLOCK, 0);
	if (fd == -1) {
		return errno == ENOENT ? 0 : -1; /* it went meanwhile */
	}
	if (fstat(fd, &st) == -1) {
		(void)close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		(void)close(fd);
		return 0;
	}
	note_times(sc->found, &st);
	s = xcalloc(1, sizeof(*s));
	s->number = number;
	s->dot = dot;
	s->fd = fd;
	s->size = st.st_size > (off_t)JOURNAL_SEGMENT_MAX ?
	    JOURNAL_SEGMENT_MAX : (uint32_t)st.st_size;
	if (number > sc->found->last_number) {
		sc->found->last_number = number;
	}
	insert(sc->found, s);
	return 0;
}

static int
find_names(struct scan *sc)
{
	struct stat st;
	struct dirent *de;
	DIR *d;
	int fd = openat(sc->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = 0;

	if (fd == -1 || fstat(fd, &st) == -1 || (d = fdopendir(fd)) == NULL) {
		if (fd != -1) {
			(void)close(fd);
		}
		return -1;
	}
	note_times(sc->found, &st);
	errno = 0;
	while (ret == 0 && (de = readdir(d)) != NULL) {
		ret = add_name(sc, de->d_name);
		errno = 0;
	}
	if (errno != 0) {
		ret = -1;
	}
	(void)closedir(d);
	return ret;
}

/* -- the first look ----------------------------------------------------------------- */

static void
add_bad(struct seen *se, uint32_t offset, const char *why)
{
	se->bad = xreallocarray(se->bad, se->nbad + 1, sizeof(*se->bad));
	se->bad[se->nbad++] = (struct place){ offset, why };
}

/* The whole file; what the disk does not give is zeros, and told. */
static void
load(struct scan *sc, struct seen *se)
{
	size_t at = 0, want;
	ssize_t n;

	if (sc->cap < se->s->size) {
		free(sc->buf);
		sc->cap = se->s->size;
		sc->buf = xmalloc(sc->cap);
	}
	while (at < se->s->size) {
		want = se->s->size - at < READ_SIZE ? se->s->size - at :
		    READ_SIZE;
		n = pread(se->s->fd, sc->buf + at, want, (off_t)at);
		if (n == -1 && errno == EINTR) {
			continue;
		}
		if (n == 0) {
			se->s->size = (uint32_t)at;
			return;
		}
		if (n == -1) {
			want = want > JOURNAL_BLOCK ? JOURNAL_BLOCK : want;
			n = pread(se->s->fd, sc->buf + at, want, (off_t)at);
			if (n <= 0) {
				add_bad(se, (uint32_t)at, "cannot be read");
				memset(sc->buf + at, 0, want);
				n = (ssize_t)want;
			}
		}
		at += (size_t)n;
	}
}

static bool
is_whole(const struct journal_batch *b)
{
	struct slice body = b->body, entry;
	uint32_t n = 0;
	uint8_t kind;
	uint64_t qid;

	while (journal_next(&body, &kind, &qid, &entry)) {
		n++;
	}
	return body.n == 0 && n == b->entries;
}

static void
add_batch(struct scan *sc, struct seen *se, const struct journal_batch *b)
{
	if ((se->n & (se->n - 1)) == 0) {
		se->batches = xreallocarray(se->batches, se->n == 0 ? 1 :
		    se->n * 2, sizeof(*se->batches));
	}
	se->batches[se->n++] = (struct batch){ b->offset, b->end, b->number,
		(b->flags & JOURNAL_COPY) != 0 };
	if (b->number > sc->found->last_batch) {
		sc->found->last_batch = b->number;
	}
	if ((b->flags & JOURNAL_COPIED) != 0 && b->number >= sc->copied) {
		sc->copied = b->number;
		sc->found->first = b->first;
	}
}

static void
look(struct scan *sc, struct seen *se)
{
	struct slice all = slice_make(sc->buf, se->s->size);
	struct journal_batch b;
	uint32_t at = 0, from = 0, end;
	const char *why = NULL;
	enum journal_decoded d;

	while (at < se->s->size) {
		d = journal_decode(all, se->s->number, at, &b);
		if (d == JOURNAL_GOOD && is_whole(&b)) {
			if (at > from) {
				add_bad(se, from, why != NULL ? why :
				    "a batch with a damaged head");
			}
			add_batch(sc, se, &b);
			at = from = b.end;
			why = NULL;
			continue;
		}
		end = at + JOURNAL_BLOCK;
		if (d != JOURNAL_STALE) {
			why = "a damaged batch";
			end = b.end;
			if (!se->cut || se->cut_at < from) {
				se->cut_at = at;
			}
			se->cut = true;
		}
		at = end;
	}
	se->cut = se->cut && se->cut_at >= from;
}

/* -- the entries ------------------------------------------------------------------------ */

static void
tell_bad(struct scan *sc, struct journal_segment *s, uint64_t offset,
    const char *why)
{
	sc->report->bad++;
	s->bad = true;
	if (sc->bad != NULL) {
		sc->bad(sc->arg, s->number, offset, why);
	}
}

static int
read_batch(struct scan *sc, struct seen *se, const struct batch *at)
{
	struct slice body, entry;
	struct journal_batch b;
	uint32_t n = at->end - at->offset, done = 0;
	uint64_t qid, lsn;
	uint8_t kind;
	ssize_t got;

	if (at->end > se->s->size) {
		n = se->s->size - at->offset;
	}
	while (done < n) {
		got = pread(se->s->fd, sc->buf + at->offset + done, n - done,
		    (off_t)at->offset + done);
		if (got <= 0 && !(got == -1 && errno == EINTR)) {
			return -1;
		}
		done += got > 0 ? (uint32_t)got : 0;
	}
	if (journal_decode(slice_make(sc->buf, at->offset + n),
	    se->s->number, at->offset, &b) != JOURNAL_GOOD) {
		return -1;
	}
	body = b.body;
	lsn = se->s->number << 32 | (at->offset + JOURNAL_HEAD);
	while (journal_next(&body, &kind, &qid, &entry)) {
		sc->report->entries++;
		sc->cb(sc->arg, lsn, kind, qid, entry);
		lsn += JOURNAL_ENTRY_HEAD + entry.n;
	}
	sc->report->batches++;
	return 0;
}

/* The order of segments is that of their numbers, their batches' likewise. */
static void
read_all(struct scan *sc)
{
	uint64_t expect = 0;
	struct seen *before = NULL;
	size_t i, k, b;

	for (i = 0; i < sc->n; i++) {
		struct seen *se = &sc->seen[i];

		if (se->s->dot || se->s->number < sc->found->first) {
			continue;
		}
		for (k = b = 0; k < se->n; k++) {
			const struct batch *at = &se->batches[k];

			for (; b < se->nbad && se->bad[b].offset < at->offset;
			    b++) {
				tell_bad(sc, se->s, se->bad[b].offset,
				    se->bad[b].why);
				expect = 0; /* told already */
			}
			if (expect != 0 && at->number != expect && !at->copy) {
				tell_bad(sc, before != NULL ? before->s : se->s,
				    at->offset, "batches in front are missing");
			}
			if (read_batch(sc, se, at) == -1) {
				tell_bad(sc, se->s, at->offset,
				    "cannot be read again");
			}
			expect = at->number + 1;
			before = se;
		}
		for (; b < se->nbad; b++) {
			tell_bad(sc, se->s, se->bad[b].offset, se->bad[b].why);
		}
		sc->report->segments += se->n > 0;
		if (se->n > 0 || se->cut) {
			sc->report->cut = se->cut;
		}
	}
}

int
journal_read(int dir, journal_entry_cb *cb,
    void (*bad)(void *arg, uint64_t segment, uint64_t offset, const char *why),
    void *arg, struct journal_report *report, struct journal_found *found)
{
	struct scan sc = { .dir = dir, .found = found, .cb = cb, .bad = bad,
		.arg = arg, .report = report };
	struct journal_segment *s;
	size_t i, n = 0;
	int ret;

	memset(report, 0, sizeof(*report));
	memset(found, 0, sizeof(*found));
	TAILQ_INIT(&found->segments);
	ret = find_names(&sc);
	if (ret == -1) {
		journal_found_clear(found);
		return -1;
	}
	TAILQ_FOREACH (s, &found->segments, next) {
		n++;
	}
	sc.seen = xcalloc(n > 0 ? n : 1, sizeof(*sc.seen));
	TAILQ_FOREACH (s, &found->segments, next) {
		sc.seen[sc.n].s = s;
		if (!s->dot) {
			load(&sc, &sc.seen[sc.n]);
			look(&sc, &sc.seen[sc.n]);
			s->old = sc.seen[sc.n].n > 0 || sc.seen[sc.n].cut;
		}
		sc.n++;
	}
	read_all(&sc);
	for (i = 0; i < sc.n; i++) {
		free(sc.seen[i].batches);
		free(sc.seen[i].bad);
	}
	free(sc.seen);
	free(sc.buf);
	return 0;
}

void
journal_found_clear(struct journal_found *f)
{
	struct journal_segment *s;

	while ((s = TAILQ_FIRST(&f->segments)) != NULL) {
		TAILQ_REMOVE(&f->segments, s, next);
		journal_segment_free(s);
	}
}

int
journal_scan(int spool_fd, journal_entry_cb *cb,
    void (*bad)(void *arg, uint64_t segment, uint64_t offset, const char *why),
    void *arg, struct journal_report *out)
{
	struct journal_found found;
	int dir = io_openat("journal.open", spool_fd, "journal",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	int ret, saved;

	memset(out, 0, sizeof(*out));
	if (dir == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	ret = journal_read(dir, cb, bad, arg, out, &found);
	saved = errno;
	if (ret == 0) {
		journal_found_clear(&found);
	}
	(void)close(dir);
	errno = saved;
	return ret;
}
