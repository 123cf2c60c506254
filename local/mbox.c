#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "local/mailtext.h"
#include "local/mbox.h"
#include "local/mboxtext.h"

#define CHUNK   (64 * 1024) /* octets written at a time, at least */

void
mbox_init(struct mbox *m, int dir, const char *name, const char *shown)
{
	*m = (struct mbox){ .begun = false };
	mboxlock_init(&m->lock, dir, name, shown);
	strbuf_init(&m->work, 0);
	strbuf_init(&m->piece, 0);
}

void
mbox_clear(struct mbox *m)
{
	mboxlock_clear(&m->lock);
	free(m->ids.at);
	m->ids.at = NULL;
	m->ids.n = m->ids.cap = 0;
	strbuf_clear(&m->work);
	strbuf_clear(&m->piece);
}

/* -- the batch begins --------------------------------------------------------- */

static bool
is_as_we_left_it(const struct mbox *m, const struct stat *st)
{
	return st->st_ino == m->left.st_ino && st->st_dev == m->left.st_dev &&
	    st->st_size == m->left.st_size &&
	    st->st_mtim.tv_sec == m->left.st_mtim.tv_sec &&
	    st->st_mtim.tv_nsec == m->left.st_mtim.tv_nsec;
}

/* Lock the file and look at its end. False: `o' says why not. */
static bool
open_batch(struct mbox *m, struct outcome *o)
{
	struct stat st;

	m->spoilt = false;
	if (!mboxlock_take(&m->lock, o)) {
		return false;
	}
	if (fstat(m->lock.fd, &st) == -1) {
		outcome_errno(o, m->lock.shown, errno);
		return false;
	}
	m->start = (uint64_t)st.st_size;
	m->blanks = 0;
	if (!is_as_we_left_it(m, &st)) {
		m->ids.known = false;
		if (!mbox_look(m, &m->start, &m->blanks, o)) {
			return false;
		}
	}
	m->at = m->start;
	/* It may be fresh, or its maker may have died: a name as durable as
	   what is in it. */
	if (m->start == 0 &&
	    io_fsync("local.mbox.dir.fsync", m->lock.dir) == -1) {
		outcome_errno(o, "the directory of the mailbox", errno);
		return false;
	}
	return true;
}

/* Once a batch. False: none of it can be written, for m->why. */
static bool
begin(struct mbox *m)
{
	if (!m->begun) {
		m->begun = true;
		m->refused = !open_batch(m, &m->why);
	}
	return !m->refused;
}

/* -- one message ---------------------------------------------------------------- */

/* Write what is in m->work; false: `o' says why not. */
static bool
put_work(struct mbox *m, struct outcome *o)
{
	if (m->limit != 0 && m->at + m->work.n > m->limit) {
		outcome_set(o, FATE_DEFERRED, "4.2.2", "mailbox full: %s would "
		    "be larger than %llu octets", m->lock.shown,
		    (unsigned long long)m->limit);
		return false;
	}
	if (io_pwrite("local.mbox.write", m->lock.fd, m->work.p, m->work.n,
	    (off_t)m->at) == -1) {
		outcome_errno(o, "writing the message", errno);
		return false;
	}
	m->at += m->work.n;
	strbuf_reset(&m->work);
	return true;
}

/* What stands in front of the content; returns where it begins. */
static uint64_t
put_head(struct mbox *m, const struct delivery *d)
{
	size_t at;

	strbuf_reset(&m->work);
	if (m->at == m->start) {
		(void)strbuf_add(&m->work, "\n\n", m->blanks);
	}
	at = m->work.n;
	mboxtext_from(&m->work, d->reverse_path, d->arrived_us);
	mailtext_fields(&m->work, d->reverse_path, d->original, d->address);
	mboxtext_id(&m->work, d->qid, d->index);
	m->work.p[at] = '\0';
	return m->at + at;
}

/* Two steps: CRLF to LF, then the quoting. */
static void
put_piece(struct mbox *m, struct crlf *lines, struct mboxquote *quote,
    struct slice piece, struct strbuf *lf)
{
	strbuf_reset(lf);
	strbuf_filled(lf, piece.n > 0 ?
	    crlf_feed(lines, piece, strbuf_room(lf, piece.n + 1)) :
	    crlf_end(lines, strbuf_room(lf, 1)));
	strbuf_filled(&m->work, mboxquote_feed(quote, strbuf_slice(lf),
	    strbuf_room(&m->work, MBOXQUOTE_ROOM(lf->n))));
	if (piece.n == 0) {
		strbuf_filled(&m->work, mboxquote_end(quote,
		    strbuf_room(&m->work, MBOXQUOTE_ROOM(0))));
	}
}

static bool
append(struct mbox *m, const struct delivery *d, struct pending *p)
{
	struct content src = { d, &m->piece, 0 };
	struct mboxquote quote = { .state = QUOTE_START };
	struct crlf lines = { false };
	struct slice piece;
	struct strbuf lf;
	bool good;

	strbuf_init(&lf, 0);
	p->at = put_head(m, d);
	do {
		good = content_next(&src, &piece, &p->outcome);
		if (good) {
			put_piece(m, &lines, &quote, piece, &lf);
			good = (piece.n > 0 && m->work.n < CHUNK) ||
			    put_work(m, &p->outcome);
		}
	} while (good && piece.n > 0);
	strbuf_clear(&lf);
	return good;
}

/* Cut the file off at `size', if it is larger: it might look changed. */
static void
cut_off(struct mbox *m, uint64_t size)
{
	struct stat st;

	if ((fstat(m->lock.fd, &st) == -1 || st.st_size > (off_t)size) &&
	    io_ftruncate("local.mbox.cut", m->lock.fd, (off_t)size) == -1) {
		m->spoilt = true;
		return;
	}
	m->at = size;
}

/* It may be there from an earlier attempt. True: there is no more to write. */
static bool
was_here(struct mbox *m, const struct delivery *d, struct pending *p)
{
	switch (mbox_find(m, d, &p->outcome)) {
	case 0:
		return false;
	case 1:
		p->found = true;
		p->state = PENDING_WRITTEN;
		return true;
	default:
		return true;
	}
}

void
mbox_write(struct mbox *m, const struct delivery *d, struct pending *p)
{
	uint64_t before;

	pending_init(p);
	if (!begin(m)) {
		p->outcome = m->why;
		return;
	}
	if ((d->again && was_here(m, d, p)) ||
	    delivery_loops(d, &m->piece, &p->outcome)) {
		return;
	}
	if (m->spoilt) {
		outcome_set(&p->outcome, FATE_DEFERRED, "4.3.0",
		    "%s: cannot be repaired now", m->lock.shown);
		return;
	}
	before = m->at;
	if (append(m, d, p)) {
		p->state = PENDING_WRITTEN;
	} else {
		cut_off(m, before);
	}
}

/* -- the batch ends ----------------------------------------------------------------- */

/* From the first to the last: what a crash leaves stands behind all mail. */
static int
make_mail(struct mbox *m, const struct pending *ps, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (ps[i].state == PENDING_WRITTEN && !ps[i].found &&
		    io_pwrite("local.mbox.commit", m->lock.fd, "F", 1,
		    (off_t)ps[i].at) == -1) {
			return -1;
		}
	}
	return 0;
}

/* False: none of the batch is delivered, `o' says why. */
static bool
commit(struct mbox *m, const struct pending *ps, size_t n, struct outcome *o)
{
	const int fd = m->lock.fd;

	if (m->spoilt) {
		outcome_set(o, FATE_DEFERRED, "4.3.0", "%s: another message of "
		    "this batch cannot be cut off", m->lock.shown);
		return false;
	}
	if (io_fdatasync("local.mbox.fdatasync", fd) == -1 ||
	    (m->at != m->start && (make_mail(m, ps, n) == -1 ||
	    io_fdatasync("local.mbox.commit.fdatasync", fd) == -1))) {
		outcome_errno(o, "flushing the mailbox", errno);
		return false;
	}
	return true;
}

/* As it was before the batch, where that can be had. */
static void
roll_back(struct mbox *m)
{
	m->ids.known = false;
	memset(&m->left, 0, sizeof(m->left));
	cut_off(m, m->start);
	(void)io_fdatasync("local.mbox.cut.fdatasync", m->lock.fd);
}

static void
conclude(struct pending *ps, size_t n, bool good, const struct outcome *why)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (ps[i].state == PENDING_DONE) {
			continue;
		}
		ps[i].state = PENDING_DONE;
		if (good) {
			outcome_set(&ps[i].outcome, FATE_DELIVERED, "2.0.0",
			    ps[i].found ?
			    "delivered to mbox by an earlier attempt" :
			    "delivered to mbox");
		} else {
			ps[i].outcome = *why;
		}
	}
}

void
mbox_finish(struct mbox *m, struct pending *ps, size_t n)
{
	struct outcome why;
	bool any = false, good;
	size_t i;

	for (i = 0; i < n; i++) {
		any = any || ps[i].state == PENDING_WRITTEN;
	}
	if (any) {
		good = commit(m, ps, n, &why);
		if (!good) {
			roll_back(m);
		} else if (m->at != m->start &&
		    fstat(m->lock.fd, &m->left) == -1) {
			memset(&m->left, 0, sizeof(m->left));
		}
		conclude(ps, n, good, &why);
	} else if (m->spoilt) {
		roll_back(m);
	}
	mboxlock_release(&m->lock);
	m->begun = m->refused = false;
}
