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

#include "common/codec.h"
#include "common/qid.h"
#include "common/spool_check.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

#define PAGE     256
#define LOOK_MS  100 /* before a file that looks wrong is read again: it may be
                        being written to */

/* What the journal says of a message. */
struct said {
	char *image;
	size_t n;
	struct strbuf records;
	bool done, filed;
};

struct check {
	int fd;
	struct spool_index said;
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

static struct said *
get(struct check *c, uint64_t qid)
{
	void **place = spool_index_add(&c->said, qid);

	if (*place == NULL) {
		*place = xcalloc(1, sizeof(struct said));
		strbuf_init(&((struct said *)*place)->records, 0);
	}
	return *place;
}

static struct said *
find(const struct check *c, uint64_t qid)
{
	void **place = spool_index_find(&c->said, qid);

	return place != NULL ? *place : NULL;
}

static void
add_message(struct check *c, uint64_t qid, struct slice image)
{
	struct said *s = get(c, qid);

	free(s->image);
	s->image = xmalloc(image.n + 1);
	memcpy(s->image, image.p, image.n);
	s->n = image.n;
	strbuf_reset(&s->records);
}

static void
add_change(struct check *c, uint64_t qid, bool done, struct slice records)
{
	struct said *s = get(c, qid);

	s->done = s->done || done;
	(void)strbuf_add_slice(&s->records, records);
}

static void
on_entry(void *arg, uint64_t lsn, uint8_t kind, uint64_t qid,
    struct slice body)
{
	struct check *c = arg;
	struct dec d = dec_make(body);
	uint64_t child;
	bool done;

	(void)lsn;
	switch ((enum spool_entry_kind)kind) {
	case SPOOL_ENTRY_MESSAGE:
		add_message(c, qid, body);
		return;
	case SPOOL_ENTRY_STATE:
	case SPOOL_ENTRY_DONE:
		add_change(c, qid, kind == SPOOL_ENTRY_DONE, body);
		return;
	case SPOOL_ENTRY_GROUP:
		done = dec_u8(&d) != 0;
		add_change(c, qid, done, dec_slice(&d, body.n));
		while (!d.bad && d.in.n > 0) {
			child = dec_u64(&d);
			add_message(c, child, dec_slice(&d, body.n));
		}
		if (!d.bad) {
			return;
		}
		break;
	}
	tell(c, "journal", lsn & UINT32_MAX, "an entry that makes no sense: a "
	    "start leaves it out", true);
}

static void
on_bad(void *arg, uint64_t segment, uint64_t offset, const char *why)
{
	struct check *c = arg;
	char place[QID_TEXT + 20], id[QID_TEXT + 1], what[160];

	qid_format(segment, id);
	(void)snprintf(place, sizeof(place), "journal/%s", id);
	(void)snprintf(what, sizeof(what), "%s: a start keeps the segment as "
	    "%s.bad and uses the rest", why, id);
	tell(c, place, offset, what, true);
}

static void
count_bad_segments(struct check *c)
{
	int fd = openat(c->fd, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd != -1 ? fdopendir(fd) : NULL;
	struct dirent *de;
	const char *dot;

	while (d != NULL && (de = readdir(d)) != NULL) {
		dot = strrchr(de->d_name, '.');
		c->sum->bad_segments += dot != NULL && strcmp(dot, ".bad") == 0;
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
	ssize_t r = 0;
	size_t at = 0;

	if (fd == -1) {
		return NULL;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		p = xmalloc((size_t)st.st_size + 1);
		while (at < (size_t)st.st_size && (r = pread(fd, p + at,
		    (size_t)st.st_size - at, (off_t)at)) > 0) {
			at += (size_t)r;
		}
		if (r == -1) {
			free(p);
			p = NULL;
		}
	} else {
		errno = EBADMSG;
	}
	(void)close(fd);
	*n = at;
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

/* One look at a file; false: it looks wrong, and *what and *at say how. */
static bool
look_at(struct check *c, int dir, const char *name, uint64_t qid, bool count,
    const char **what, size_t *at)
{
	struct spool_state *st = NULL;
	struct said *s = find(c, qid);
	size_t n, records;
	char *p = read_file(dir, name, &n);

	*at = 0;
	if (p == NULL) {
		*what = errno == ENOENT ? NULL : strerror(errno);
		return *what == NULL; /* it has gone meanwhile */
	}
	*what = parse(slice_make(p, n), &st, &records);
	if (*what == NULL && st->header.qid != qid) {
		*what = "header: of another message";
	}
	if (*what == NULL && records > 0) {
		*what = "a damaged state record: what it said, and what follows "
		    "it, counts as not done";
		*at = records;
	}
	if (*what == NULL || *at > 0) {
		if (s != NULL) {
			s->filed = true;
			(void)spool_state_apply(st, strbuf_slice(&s->records));
		}
		if (count && (s == NULL || !s->done)) {
			count_state(c, st);
			c->sum->behind += s != NULL && s->records.n > 0;
		} else if (count) {
			c->sum->done++;
		}
	}
	spool_state_free(st);
	free(p);
	return *what == NULL;
}

static void
check_file(struct check *c, int dir, unsigned h, const char *name,
    uint64_t qid, bool child)
{
	const struct timespec pause = { 0, LOOK_MS * 1000000L };
	char place[64], text[200];
	const char *what;
	size_t at;

	c->sum->children += child;
	if (look_at(c, dir, name, qid, !child, &what, &at)) {
		return;
	}
	(void)nanosleep(&pause, NULL);
	if (look_at(c, dir, name, qid, !child && at == 0, &what, &at)) {
		return;
	}
	(void)snprintf(place, sizeof(place), "queue/%x/%s", h, name);
	(void)snprintf(text, sizeof(text), "%s%s", what, at > 0 ? "" :
	    ": it will be set aside as .corrupt, never deleted");
	tell(c, place, at, text, true);
}

static int
check_dir(struct check *c, int queue, unsigned h)
{
	static const char digits[] = "0123456789abcdef";
	const char dir_name[2] = { digits[h], '\0' };
	int fd = openat(queue, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd != -1 ? fdopendir(fd) : NULL;
	uint64_t qid = 0, parent = 0;
	struct dirent *de;

	if (d == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	while ((de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 ||
		    strcmp(de->d_name, "..") == 0) {
			continue;
		}
		switch (spool_name_parse(de->d_name, &qid, &parent)) {
		case SPOOL_NAME_MESSAGE:
			check_file(c, fd, h, de->d_name, qid, false);
			break;
		case SPOOL_NAME_CHILD:
			check_file(c, fd, h, de->d_name, qid, true);
			break;
		case SPOOL_NAME_TMP:
			c->sum->leftovers++;
			break;
		case SPOOL_NAME_CORRUPT:
			c->sum->corrupt++;
			break;
		case SPOOL_NAME_FOREIGN:
			c->sum->foreign++;
			break;
		}
	}
	(void)closedir(d);
	return 0;
}

/* -- what only the journal has ------------------------------------------------------------ */

static void
check_said(struct check *c, uint64_t qid, const struct said *s)
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
		qid_format(qid, id);
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
	uint64_t qids[PAGE], after = 0;
	struct said *s;
	size_t i, n;

	while ((n = spool_index_list(&c->said, after, qids, PAGE)) > 0) {
		for (i = 0; i < n; i++) {
			s = find(c, qids[i]);
			check_said(c, qids[i], s);
			free(s->image);
			strbuf_clear(&s->records);
			free(s);
		}
		after = qids[n - 1];
	}
	spool_index_clear(&c->said);
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
	ret = journal_scan(spool_fd, on_entry, on_bad, &c, &report);
	out->journal = report;
	for (h = 0; h < SPOOL_DIRS && ret == 0; h++) {
		ret = check_dir(&c, queue, h);
	}
	count_bad_segments(&c);
	finish(&c);
	(void)close(queue);
	return ret;
}
