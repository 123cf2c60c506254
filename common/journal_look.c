/*
 * Which segments there are, and where their batches are: the first look, before
 * it is known which of them count.
 *
 * The newest segment is looked at first: beside a running journal nothing is
 * missed in between then, as a segment is complete before the next is begun.
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

/* -- names --------------------------------------------------------------------- */

void
journal_segment_name(const struct journal_segment *s,
    char out[JOURNAL_NAME_MAX])
{
	char number[QID_TEXT + 1], salt[QID_TEXT + 1];

	qid_format(s->number, number);
	qid_format(s->salt, salt);
	(void)snprintf(out, JOURNAL_NAME_MAX, "%s%s-%s", s->dot ? "." : "",
	    number, salt);
}

enum name {
	NAME_SEGMENT,
	NAME_KNOWN,   /* no segment, but of ours */
	NAME_STRANGE,
};

/* Only as we write it. */
static enum name
parse_name(const char *name, struct journal_segment *s)
{
	struct slice all = slice_of(name);
	char again[JOURNAL_NAME_MAX];
	size_t bare;

	memset(s, 0, sizeof(*s));
	s->dot = name[0] == '.';
	bare = (s->dot ? 1 : 0) + 2 * QID_TEXT + 1;
	if (all.n < bare || !qid_parse(slice_make(name + bare - 2 * QID_TEXT -
	    1, QID_TEXT), &s->number) || !qid_parse(slice_make(name + bare -
	    QID_TEXT, QID_TEXT), &s->salt) || s->number == 0 ||
	    s->number > UINT32_MAX) {
		return NAME_STRANGE;
	}
	journal_segment_name(s, again);
	if (memcmp(again, name, bare) != 0) {
		return NAME_STRANGE;
	}
	return name[bare] == '\0' ? NAME_SEGMENT :
	    strcmp(name + bare, ".bad") == 0 ? NAME_KNOWN : NAME_STRANGE;
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

static void
note_strange(struct journal_found *f, const char *name)
{
	f->strange++;
	(void)snprintf(f->strange_name, sizeof(f->strange_name), "%.*s",
	    (int)sizeof(f->strange_name) - 1, name);
}

static int
add_segment(struct journal_look *l, const char *name,
    const struct journal_segment *parsed)
{
	struct journal_segment *s;
	struct stat st;
	int fd = io_openat("journal.open", l->dir, name, O_RDONLY |
	    O_NOFOLLOW | O_NONBLOCK, 0);

	if (fd == -1 && errno != ENOENT) {
		(void)snprintf(l->found->failed_name,
		    sizeof(l->found->failed_name), "%s", name);
		return -1;
	}
	if (fd == -1) { /* it went meanwhile */
		return 0;
	}
	if (fstat(fd, &st) == -1) {
		(void)close(fd);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		(void)close(fd);
		note_strange(l->found, name);
		return 0;
	}
	note_times(l->found, &st);
	s = xcalloc(1, sizeof(*s));
	*s = *parsed;
	s->fd = fd;
	s->size = st.st_size > (off_t)JOURNAL_SEGMENT_MAX ?
	    JOURNAL_SEGMENT_MAX : (uint32_t)st.st_size;
	insert(l->found, s);
	return 0;
}

static int
add_name(struct journal_look *l, const char *name)
{
	struct journal_segment s;

	switch (parse_name(name, &s)) {
	case NAME_STRANGE:
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			note_strange(l->found, name);
		}
		return 0;
	case NAME_KNOWN:
		break;
	case NAME_SEGMENT:
		if (add_segment(l, name, &s) == -1) {
			return -1;
		}
		break;
	}
	if (s.number > l->found->last_number) {
		l->found->last_number = s.number;
	}
	return 0;
}

static int
find_names(struct journal_look *l)
{
	struct stat st;
	struct dirent *de;
	DIR *d;
	int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = 0;

	if (fd == -1 || fstat(fd, &st) == -1 || (d = fdopendir(fd)) == NULL) {
		if (fd != -1) {
			(void)close(fd);
		}
		return -1;
	}
	note_times(l->found, &st);
	for (errno = 0; error == 0 && (de = readdir(d)) != NULL; errno = 0) {
		error = add_name(l, de->d_name) == -1 ? errno : 0;
	}
	error = error != 0 ? error : errno;
	(void)closedir(d);
	errno = error;
	return error != 0 ? -1 : 0;
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

/* -- reading --------------------------------------------------------------------- */

static ssize_t
read_some(int fd, char *p, size_t n, uint32_t at)
{
	ssize_t got;

	do {
		got = pread(fd, p, n, (off_t)at);
	} while (got == -1 && errno == EINTR);
	return got;
}

int
journal_load(struct journal_look *l, const struct journal_segment *s,
    uint32_t at, uint32_t n)
{
	const uint32_t end = at + n;
	ssize_t got;

	while (at < end) {
		got = read_some(s->fd, l->buf + at, end - at, at);
		if (got <= 0) {
			return -1;
		}
		at += (uint32_t)got;
	}
	return 0;
}

static void
add_bad(struct journal_seen *se, uint32_t offset, const char *why)
{
	se->bad = xreallocarray(se->bad, se->nbad + 1, sizeof(*se->bad));
	se->bad[se->nbad++] = (struct journal_seen_bad){ offset, why };
}

/* The whole file; what the disk does not give is zeros, and told. */
static void
load_all(struct journal_look *l, struct journal_seen *se)
{
	uint32_t at = 0, want;
	ssize_t got;

	if (l->cap < se->s->size) {
		free(l->buf);
		l->cap = se->s->size;
		l->buf = xmalloc(l->cap);
	}
	while (at < se->s->size) {
		want = se->s->size - at < READ_SIZE ? se->s->size - at :
		    READ_SIZE;
		got = read_some(se->s->fd, l->buf + at, want, at);
		if (got == -1) { /* block by block from here on */
			want = want > JOURNAL_BLOCK ? JOURNAL_BLOCK : want;
			got = read_some(se->s->fd, l->buf + at, want, at);
		}
		if (got == -1) {
			add_bad(se, at, "cannot be read");
			memset(l->buf + at, 0, want);
			got = (ssize_t)want;
		}
		if (got == 0) { /* shorter now */
			se->s->size = at;
		}
		at += (uint32_t)got;
	}
}

/* -- batches ------------------------------------------------------------------------ */

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
add_batch(struct journal_look *l, struct journal_seen *se,
    const struct journal_batch *b)
{
	if ((se->n & (se->n - 1)) == 0) {
		se->batches = xreallocarray(se->batches, se->n == 0 ? 1 :
		    se->n * 2, sizeof(*se->batches));
	}
	se->batches[se->n++] = (struct journal_seen_batch){ b->offset, b->end,
		b->number, (b->flags & JOURNAL_COPY) != 0 };
	if (b->number > l->found->last_batch) {
		l->found->last_batch = b->number;
	}
	if ((b->flags & JOURNAL_COPIED) != 0 && b->number >= l->copied) {
		l->copied = b->number;
		l->found->first = b->first;
	}
}

/* On the way through a segment. */
struct course {
	struct journal_seen *se;
	uint32_t good;    /* behind the last good batch */
	uint32_t known;   /* behind the last batch whose head is right */
	size_t nbad;      /* places of damage up to `good' */
	const char *why;  /* what is wrong behind that */
	bool begun;       /* a head was right */
};

static void
note_head(struct course *c, const struct journal_batch *b)
{
	if (!c->begun) {
		c->se->copy = (b->flags & JOURNAL_COPY) != 0;
	}
	c->begun = true;
	c->known = b->end;
}

/* What was found behind the good one before is one place of damage. */
static void
good_batch(struct journal_look *l, struct course *c,
    const struct journal_batch *b)
{
	c->se->nbad = c->nbad;
	if (b->offset > c->good) {
		add_bad(c->se, c->good, c->why != NULL ? c->why :
		    "a batch with a damaged head");
	}
	add_batch(l, c->se, b);
	note_head(c, b);
	c->nbad = c->se->nbad;
	c->good = c->se->s->end = b->end;
	c->se->cut = false;
	c->why = NULL;
}

/* The one before was flushed before this one was begun: so it was not cut, unless
   a start came between. */
static void
damaged_batch(struct course *c, const struct journal_batch *b)
{
	struct journal_seen *se = c->se;

	c->why = "a damaged batch";
	if ((b->flags & JOURNAL_COPY) == 0 && se->cut) {
		add_bad(se, se->cut_at, c->why);
	}
	if ((b->flags & JOURNAL_COPY) == 0 && b->offset > c->known) {
		add_bad(se, c->known, "a batch with a damaged head");
	}
	note_head(c, b);
	se->cut = b->octets <= se->s->size - b->offset - JOURNAL_HEAD;
	se->cut_at = b->offset;
	if (!se->cut) { /* no crash shortens a file */
		add_bad(se, b->offset, "the file ends inside a batch");
	}
}

static void
other_batch(struct journal_look *l, struct course *c, uint32_t at)
{
	if (c->why == NULL || strcmp(c->why, JOURNAL_WHY_OTHER) != 0) {
		add_bad(c->se, at, JOURNAL_WHY_OTHER);
	}
	c->why = JOURNAL_WHY_OTHER;
	c->se->other = l->found->other = true;
}

static void
look(struct journal_look *l, struct journal_seen *se)
{
	struct slice all = slice_make(l->buf, se->s->size);
	struct course c = { .se = se };
	struct journal_batch b;
	uint32_t at = 0;

	/* made whole, and flushed, before it got its name */
	if (all.n < JOURNAL_SEGMENT_MIN || all.n % JOURNAL_BLOCK != 0) {
		add_bad(se, se->s->size, "the file is cut short");
	}
	c.nbad = se->nbad;
	while (at < se->s->size) {
		switch (journal_decode(all, se->s->number, se->s->salt, at,
		    &b)) {
		case JOURNAL_GOOD:
			if (is_whole(&b)) {
				good_batch(l, &c, &b);
			} else {
				damaged_batch(&c, &b);
			}
			at = b.end;
			break;
		case JOURNAL_DAMAGED:
			damaged_batch(&c, &b);
			at = b.end;
			break;
		case JOURNAL_OTHER:
			other_batch(l, &c, at);
			at += JOURNAL_BLOCK;
			break;
		case JOURNAL_STALE:
			at += JOURNAL_BLOCK;
			break;
		}
	}
}

/* Damage behind which there is nothing that counts was told when it was found;
   it is still to be kept. */
static void
keep_bad(struct journal_look *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (l->seen[i].nbad > 0) {
			l->seen[i].s->bad = true;
		}
	}
}

int
journal_look(struct journal_look *l)
{
	struct journal_found *f = l->found;
	struct journal_segment *s;
	size_t i = 0;

	memset(f, 0, sizeof(*f));
	TAILQ_INIT(&f->segments);
	if (find_names(l) == -1) {
		journal_found_clear(f);
		return -1;
	}
	TAILQ_FOREACH (s, &f->segments, next) {
		l->n++;
	}
	l->seen = xcalloc(l->n > 0 ? l->n : 1, sizeof(*l->seen));
	TAILQ_FOREACH (s, &f->segments, next) {
		l->seen[i++].s = s;
	}
	while (i-- > 0) {
		s = l->seen[i].s;
		if (!s->dot) {
			load_all(l, &l->seen[i]);
			look(l, &l->seen[i]);
			s->old = l->seen[i].n > 0 || l->seen[i].cut ||
			    l->seen[i].other;
		}
	}
	keep_bad(l);
	return 0;
}

void
journal_look_clear(struct journal_look *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		free(l->seen[i].batches);
		free(l->seen[i].bad);
	}
	free(l->seen);
	free(l->buf);
}
