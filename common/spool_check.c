#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/qid.h"
#include "common/spool_check.h"
#include "common/spool_int.h"
#include "common/spool_said.h"
#include "common/xmalloc.h"

#define LOOK_MS  50 /* before what looks wrong is read again: it may be being
                       written to */
#define LOOKS    20 /* at something that looks wrong otherwise each time */

/* A place of damage in the journal. */
struct bad {
	uint64_t segment, offset;
	char why[80];
};
struct bads {
	struct bad *at;
	size_t n;
};

struct check {
	int fd;
	struct bads bads;
	uint64_t nonsense; /* entries of the journal that nobody can read */
	struct spool_index said; /* by the journal, of struct spool_said */
	void (*found)(void *arg, const struct spool_finding *f);
	void *arg;
	struct spool_summary *sum;
};

static void
tell(struct check *c, const char *place, uint64_t offset, const char *what,
    bool damage)
{
	const struct spool_finding f = { place, offset, what, damage };

	c->sum->damaged += damage;
	if (c->found != NULL) {
		c->found(c->arg, &f);
	}
}

/* -- the journal -------------------------------------------------------------------- */

static void
on_entry(void *arg, uint64_t lsn, uint8_t kind, uint64_t qid,
    struct slice body)
{
	struct check *c = arg;

	c->nonsense += !spool_said_add(&c->said, lsn, kind, qid, body);
}

static void
on_bad(void *arg, uint64_t segment, uint64_t offset, const char *why)
{
	struct bads *b = &((struct check *)arg)->bads;
	struct bad *one;

	b->at = xreallocarray(b->at, b->n + 1, sizeof(*b->at));
	one = &b->at[b->n++];
	one->segment = segment;
	one->offset = offset;
	(void)snprintf(one->why, sizeof(one->why), "%.79s", why);
}

static bool
is_among(const struct bad *one, const struct bads *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (l->at[i].segment == one->segment &&
		    l->at[i].offset == one->offset) {
			return true;
		}
	}
	return false;
}

static void
tell_bad(struct check *c, const struct bad *b)
{
	char place[QID_TEXT + 20], id[QID_TEXT + 1], what[160];

	qid_format(b->segment, id);
	(void)snprintf(place, sizeof(place), "journal/%s", id);
	if (strcmp(b->why, JOURNAL_WHY_OTHER) == 0) {
		(void)snprintf(what, sizeof(what), "%s: no start goes on with "
		    "it; start and stop the version that wrote it", b->why);
	} else {
		(void)snprintf(what, sizeof(what), "%s: a start keeps the "
		    "segment as %s-*.bad and uses the rest", b->why, id);
	}
	tell(c, place, b->offset, what, true);
}

/*
 * Of a running system, a segment may become another one while it is read, and
 * looks damaged then. Damage stays where it is: what two readings have found is
 * told.
 */
static int
read_journal(struct check *c, struct journal_report *report)
{
	const struct timespec pause = { 0, LOOK_MS * 1000000L };
	struct bads before = { NULL, 0 };
	int ret, look;
	size_t i, known = 0;

	for (look = 0;; look++) {
		c->nonsense = 0;
		ret = journal_scan(c->fd, on_entry, on_bad, c, report);
		for (i = known = 0; i < c->bads.n; i++) {
			known += is_among(&c->bads.at[i], &before);
		}
		if (ret == -1 || known == c->bads.n || look == LOOKS) {
			break;
		}
		free(before.at);
		before = c->bads;
		c->bads = (struct bads){ NULL, 0 };
		spool_said_clear(&c->said);
		(void)nanosleep(&pause, NULL);
	}
	for (i = 0; i < c->bads.n; i++) {
		if (is_among(&c->bads.at[i], &before)) {
			tell_bad(c, &c->bads.at[i]);
		}
	}
	report->bad = known;
	free(before.at);
	free(c->bads.at);
	c->bads = (struct bads){ NULL, 0 };
	if (c->nonsense > 0) {
		tell(c, "journal", 0, "entries that make no sense: a start "
		    "leaves them out", true);
	}
	return ret;
}

static void
note_bad_segments(struct check *c)
{
	int fd = openat(c->fd, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd != -1 ? fdopendir(fd) : NULL;
	struct dirent *de;
	const char *dot;
	char place[64];

	while (d != NULL && (de = readdir(d)) != NULL) {
		dot = strrchr(de->d_name, '.');
		if (dot != NULL && strcmp(dot, ".bad") == 0) {
			c->sum->bad_segments++;
			(void)snprintf(place, sizeof(place), "journal/%.40s",
			    de->d_name);
			tell(c, place, 0, "set aside by an earlier start; no "
			    "start reads it", false);
		}
	}
	if (d != NULL) {
		(void)closedir(d);
	}
}

/* -- a file ---------------------------------------------------------------------------- */

/* All of it, or NULL with errno. */
static char *
read_file(int dir, const char *name, size_t *n)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	struct stat st;
	char *p = NULL;
	int saved;

	if (fd == -1) {
		return NULL;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		p = spool_read_file(fd, (uint64_t)st.st_size, n);
	} else {
		errno = EBADMSG;
	}
	saved = errno;
	(void)close(fd);
	errno = saved;
	return p;
}

/* NULL and its state, or what is wrong; *records: they end in damage there. */
static const char *
parse(struct slice file, struct spool_state **st, size_t *records)
{
	struct spool_header h;
	const char *why = spool_parse(file, NULL, NULL, NULL, NULL, true);
	size_t tail;

	*records = 0;
	if (why == NULL) {
		why = spool_header_decode(file, &h);
	}
	if (why == NULL) {
		tail = SPOOL_HEADER + (size_t)h.content_n;
		why = spool_state_decode(&h, slice_make(file.p + tail,
		    file.n - tail), st);
	}
	if (why == NULL && (*st)->cut) {
		*records = (size_t)(*st)->end;
	}
	return why;
}

static void
count_state(struct check *c, const struct spool_state *st)
{
	c->sum->messages++;
	c->sum->rcpts_open += st->open;
	c->sum->octets += st->header.content_n;
}

struct look {
	const char *what;       /* NULL: nothing is wrong */
	size_t at, size;
	bool gone;
	struct spool_state *state; /* NULL: not readable */
};

static void
look_at(int dir, const char *name, uint64_t qid, struct look *l)
{
	char *p = read_file(dir, name, &l->size);

	l->at = 0;
	l->gone = p == NULL && errno == ENOENT;
	l->state = NULL;
	if (p == NULL) {
		l->what = l->gone ? NULL : strerror(errno);
		return;
	}
	l->what = parse(slice_make(p, l->size), &l->state, &l->at);
	if (l->what == NULL && l->state->header.qid != qid) {
		l->what = "header: of another message";
		spool_state_free(l->state);
		l->state = NULL;
	} else if (l->what == NULL && l->at > 0) {
		l->what = "a damaged state record: what it said, and what "
		    "follows it, counts as not done";
	}
	free(p);
}

static void
count_file(struct check *c, uint64_t qid, struct spool_state *st)
{
	struct spool_said *s = spool_said_find(&c->said, qid);

	if (s != NULL) {
		s->filed = true;
		(void)spool_state_apply(st, strbuf_slice(&s->records));
	}
	if (s != NULL && s->done) {
		c->sum->done++;
	} else {
		count_state(c, st);
		c->sum->behind += s != NULL && s->records.n > 0;
	}
}

/* One that is being appended to looks wrong otherwise each time. */
static void
check_file(struct check *c, int dir, unsigned h, const char *name,
    uint64_t qid, bool child)
{
	const struct timespec pause = { 0, LOOK_MS * 1000000L };
	char place[300], text[200];
	struct look l, before;
	int looks = 0;

	look_at(dir, name, qid, &l);
	do {
		before = l;
		if (l.what != NULL) {
			spool_state_free(l.state);
			(void)nanosleep(&pause, NULL);
			look_at(dir, name, qid, &l);
		}
	} while (l.what != NULL && ++looks < LOOKS &&
	    (l.at != before.at || l.size != before.size));
	c->sum->children += child && !l.gone;
	if (l.state != NULL && !child) {
		count_file(c, qid, l.state);
	}
	spool_state_free(l.state);
	if (l.what != NULL) {
		(void)snprintf(place, sizeof(place), "queue/%x/%s", h, name);
		(void)snprintf(text, sizeof(text), "%s%s", l.what, l.at > 0 ?
		    "" : ": it will be set aside as .corrupt, never deleted");
		tell(c, place, l.at, text, true);
	}
}

static void
note(struct check *c, const char *dir, const char *name, const char *what)
{
	struct strbuf shown;
	char place[160];

	strbuf_init(&shown, 0);
	strbuf_add_quoted(&shown, slice_of(name), 100);
	(void)snprintf(place, sizeof(place), "%s/%s", dir,
	    shown.n > 0 ? shown.p : "");
	tell(c, place, 0, what, false);
	strbuf_clear(&shown);
}

static void
check_name(struct check *c, int dir, unsigned h, const char *name)
{
	uint64_t qid = 0, parent = 0;
	char place[16];
	enum spool_name_kind kind = spool_name_parse(name, &qid, &parent);

	if (kind != SPOOL_NAME_FOREIGN && spool_dir_of(qid) != h) {
		kind = SPOOL_NAME_FOREIGN;
	}
	(void)snprintf(place, sizeof(place), "queue/%x", h);
	switch (kind) {
	case SPOOL_NAME_MESSAGE:
	case SPOOL_NAME_CHILD:
		check_file(c, dir, h, name, qid, kind == SPOOL_NAME_CHILD);
		break;
	case SPOOL_NAME_TMP:
		c->sum->leftovers++;
		break;
	case SPOOL_NAME_CORRUPT:
		c->sum->corrupt++;
		note(c, place, name, "set aside as unreadable; nothing delivers it");
		break;
	case SPOOL_NAME_FOREIGN:
		c->sum->foreign++;
		note(c, place, name, "not a queue file, or not one of this "
		    "directory: left alone");
		break;
	}
}

static int
check_dir(struct check *c, int queue, unsigned h)
{
	static const char digits[] = "0123456789abcdef";
	const char dir_name[2] = { digits[h], '\0' };
	int fd = openat(queue, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd != -1 ? fdopendir(fd) : NULL;
	struct dirent *de;

	if (d == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	while ((de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0) {
			check_name(c, fd, h, de->d_name);
		}
	}
	(void)closedir(d);
	return 0;
}

/* -- what only the journal has ------------------------------------------------------------ */

static void
check_said(struct check *c, const struct spool_said *s)
{
	struct spool_state *st = NULL;
	char id[QID_TEXT + 1];
	const char *why;
	size_t records;

	if (s->done || s->filed || s->image == NULL) {
		return;
	}
	why = parse(slice_make(s->image, s->n), &st, &records);
	if (why != NULL) {
		qid_format(s->qid, id);
		tell(c, id, 0, why, true);
		return;
	}
	(void)spool_state_apply(st, strbuf_slice(&s->records));
	count_state(c, st);
	c->sum->journal_only++;
	spool_state_free(st);
}

static void
finish(struct check *c)
{
	struct spool_index_at at = { 0 };
	const struct spool_said *s;

	while ((s = spool_said_each(&c->said, &at)) != NULL) {
		check_said(c, s);
	}
	spool_said_clear(&c->said);
}

int
spool_check(int spool_fd,
    void (*found)(void *arg, const struct spool_finding *f), void *arg,
    struct spool_summary *out)
{
	struct check c = { .fd = spool_fd, .found = found, .arg = arg,
		.sum = out };
	struct journal_report report;
	unsigned h;
	int queue, ret;

	memset(out, 0, sizeof(*out));
	spool_index_init(&c.said);
	queue = openat(spool_fd, "queue", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (queue == -1) {
		return -1;
	}
	ret = read_journal(&c, &report);
	out->journal = report;
	if (report.strange > 0) {
		out->foreign += report.strange;
		note(&c, "journal", report.strange_name, report.strange == 1 ?
		    "not a segment: left alone" :
		    "not a segment, and not the only one: left alone");
	}
	for (h = 0; h < SPOOL_DIRS && ret == 0; h++) {
		ret = check_dir(&c, queue, h);
	}
	note_bad_segments(&c);
	finish(&c);
	(void)close(queue);
	return ret;
}
