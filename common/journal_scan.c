/*
 * Reading a journal: when it is known where batches are (common/journal_look.c)
 * and which segments count, their entries, in order.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/journal_int.h"

struct scan {
	struct journal_look look;
	journal_entry_cb *cb;
	void (*bad)(void *arg, uint64_t segment, uint64_t offset,
	    const char *why);
	void *arg;
	struct journal_report *report;
	/* on the way: */
	struct journal_seen *before; /* the last with a good batch */
	struct journal_seen *behind; /* segments without a good batch from here
	                                on, behind that; NULL: none */
	uint64_t expect;             /* the next batch; 0: any */
	struct journal_seen *cut;    /* behind the last good batch: one that was
	                                cut, it seems; NULL: none */
};

/* Beside a running journal: retired while we read. */
static bool
is_gone(const struct scan *sc, const struct journal_segment *s)
{
	char name[JOURNAL_NAME_MAX];
	struct stat st;

	journal_segment_name(s, name);
	return fstatat(sc->look.dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1 &&
	    errno == ENOENT;
}

static void
tell_bad(struct scan *sc, struct journal_segment *s, uint64_t offset,
    const char *why)
{
	sc->expect = 0; /* what follows from this is no news */
	if (is_gone(sc, s)) {
		return;
	}
	sc->report->bad++;
	s->bad = true;
	if (sc->bad != NULL) {
		sc->bad(sc->arg, s->number, offset, why);
	}
}

static int
read_batch(struct scan *sc, const struct journal_segment *s,
    const struct journal_seen_batch *at)
{
	const uint32_t end = at->end < s->size ? at->end : s->size;
	struct slice body, entry;
	struct journal_batch b;
	uint64_t qid, lsn;
	uint8_t kind;

	if (journal_load(&sc->look, s, at->offset, end - at->offset) == -1 ||
	    journal_decode(slice_make(sc->look.buf, end), s->number, s->salt,
	    at->offset, &b) != JOURNAL_GOOD) {
		return -1;
	}
	body = b.body;
	lsn = s->number << 32 | (at->offset + JOURNAL_HEAD);
	while (journal_next(&body, &kind, &qid, &entry)) {
		sc->report->entries++;
		if (sc->cb != NULL) {
			sc->cb(sc->arg, lsn, kind, qid, entry);
		}
		lsn += JOURNAL_ENTRY_HEAD + entry.n;
	}
	sc->report->batches++;
	return 0;
}

/* What was between the last good batch and this one, and is not there. */
static void
tell_gap(struct scan *sc, struct journal_seen *se,
    const struct journal_seen_batch *at)
{
	struct journal_seen *e;

	if (at->copy) { /* a start, after a crash */
		return;
	}
	for (e = sc->behind; e != NULL && e < se; e++) {
		if (e->n == 0) {
			tell_bad(sc, e->s, e->cut ? e->cut_at : 0, e->cut ?
			    "a damaged batch" :
			    "no batch, but batches behind it");
		}
	}
	if (sc->expect != 0 && at->number != sc->expect) {
		e = sc->before;
		tell_bad(sc, e->s, e->cut ? e->cut_at :
		    e->batches[e->n - 1].end, "batches are missing behind it");
	}
}

/* False: the segment went meanwhile. */
static bool
read_segment(struct scan *sc, struct journal_seen *se)
{
	size_t i, b = 0;

	for (i = 0; i < se->n; i++) {
		const struct journal_seen_batch *at = &se->batches[i];

		for (; b < se->nbad && se->bad[b].offset < at->offset; b++) {
			tell_bad(sc, se->s, se->bad[b].offset, se->bad[b].why);
		}
		tell_gap(sc, se, at);
		sc->behind = NULL;
		if (read_batch(sc, se->s, at) == -1) {
			if (is_gone(sc, se->s)) {
				sc->expect = 0;
				return false;
			}
			tell_bad(sc, se->s, at->offset, "cannot be read again");
		}
		sc->expect = at->number + 1;
		sc->before = se;
	}
	for (; b < se->nbad; b++) {
		tell_bad(sc, se->s, se->bad[b].offset, se->bad[b].why);
	}
	return true;
}

/* A segment is begun when the one before is flushed: one batch was cut at most,
   unless a start came between. */
static void
note_cut(struct scan *sc, struct journal_seen *se)
{
	if (se->n == 0 && !se->cut) {
		return;
	}
	if (se->n == 0 && sc->cut != NULL && !se->copy) {
		tell_bad(sc, sc->cut->s, sc->cut->cut_at, "a damaged batch");
	}
	sc->cut = se->cut ? se : NULL;
}

/* The order of segments is that of their numbers, their batches' likewise. */
static void
read_all(struct scan *sc)
{
	size_t i;

	for (i = 0; i < sc->look.n; i++) {
		struct journal_seen *se = &sc->look.seen[i];

		if (se->s->dot || se->s->number < sc->look.found->first ||
		    !read_segment(sc, se)) {
			continue;
		}
		sc->report->segments += se->n > 0;
		note_cut(sc, se);
		if (se->n == 0 && sc->behind == NULL) {
			sc->behind = se;
		}
	}
	sc->report->cut = sc->cut != NULL;
}

int
journal_read(int dir, journal_entry_cb *cb,
    void (*bad)(void *arg, uint64_t segment, uint64_t offset, const char *why),
    void *arg, struct journal_report *report, struct journal_found *found)
{
	struct scan sc = { .look = { .dir = dir, .found = found }, .cb = cb,
		.bad = bad, .arg = arg, .report = report };

	memset(report, 0, sizeof(*report));
	if (journal_look(&sc.look) == -1) {
		return -1;
	}
	read_all(&sc);
	journal_look_clear(&sc.look);
	return 0;
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
		out->strange = found.strange;
		memcpy(out->strange_name, found.strange_name,
		    sizeof(out->strange_name));
		journal_found_clear(&found);
	}
	(void)close(dir);
	errno = saved;
	return ret;
}

/* Oldest first: what is left by a crash is the end of the journal, whose start
   says that it is empty. */
static int
remove_all(int dir, const struct journal_found *f)
{
	const struct journal_segment *s;
	char name[JOURNAL_NAME_MAX];

	TAILQ_FOREACH (s, &f->segments, next) {
		journal_segment_name(s, name);
		if (io_unlinkat("journal.unlink", dir, name, 0) == -1 &&
		    errno != ENOENT) {
			return -1;
		}
	}
	return io_fsync("journal.remove.dirsync", dir);
}

int
journal_remove(int spool_fd)
{
	struct journal_report r;
	struct journal_found found;
	int dir = io_openat("journal.open", spool_fd, "journal",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	int ret, saved;

	if (dir == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	ret = journal_read(dir, NULL, NULL, NULL, &r, &found);
	saved = errno;
	if (ret == 0) {
		if (r.entries == 0 && r.bad == 0 &&
		    !TAILQ_EMPTY(&found.segments)) {
			ret = remove_all(dir, &found);
			saved = errno;
		}
		journal_found_clear(&found);
	}
	(void)close(dir);
	errno = saved;
	return ret;
}
