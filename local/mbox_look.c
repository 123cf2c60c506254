/* What is in an mbox file from before: its end, and the ids in it. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/io.h"
#include "common/xmalloc.h"
#include "local/mbox.h"
#include "local/mboxtext.h"

#define WINDOW (64 * 1024) /* octets read at a time */
#define MARGIN 8           /* octets that two windows share: a marker's */

/* Exactly `n' octets at `offset' into m->piece; false: `o' says why. */
static bool
read_at(struct mbox *m, uint64_t offset, size_t n, struct outcome *o)
{
	ssize_t r;

	strbuf_reset(&m->piece);
	while (m->piece.n < n) {
		r = pread(m->lock.fd, strbuf_room(&m->piece, n - m->piece.n),
		    n - m->piece.n, (off_t)(offset + m->piece.n));
		if (r == -1 && errno == EINTR) {
			continue;
		}
		if (r <= 0) {
			errno = r == 0 ? EIO : errno; /* it is locked */
			outcome_errno(o, m->lock.shown, errno);
			return false;
		}
		strbuf_filled(&m->piece, (size_t)r);
	}
	return true;
}

/*
 * Go back from the end to the last message that is mail. True: behind it there
 * are some that never became mail, and begin at *at. A failure to read: false,
 * `o' says why.
 */
static bool
find_unfinished(struct mbox *m, uint64_t size, uint64_t *at, struct outcome *o)
{
	uint64_t end = size, from;
	bool any = false, unfinished = true;
	struct slice in;
	size_t i;

	while (end > 0) {
		from = end > WINDOW ? end - WINDOW : 0;
		if (!read_at(m, from, (size_t)(end - from), o)) {
			return false;
		}
		in = strbuf_slice(&m->piece);
		while (mboxtext_last(in, from == 0, from + in.n == size, &i,
		    &unfinished)) {
			if (!unfinished) {
				return any;
			}
			*at = from + i;
			any = true;
			in.n = i;
		}
		end = from == 0 ? 0 : from + MARGIN;
	}
	return any;
}

static bool
count_blanks(struct mbox *m, uint64_t size, unsigned *blanks,
    struct outcome *o)
{
	size_t n = size < 2 ? (size_t)size : 2;

	*blanks = 0;
	if (n == 0) {
		return true;
	}
	if (!read_at(m, size - n, n, o)) {
		return false;
	}
	if (m->piece.p[n - 1] != '\n') {
		*blanks = 2;
	} else if (n < 2 || m->piece.p[0] != '\n') {
		*blanks = 1;
	}
	return true;
}

bool
mbox_look(struct mbox *m, uint64_t *size, unsigned *blanks, struct outcome *o)
{
	uint64_t at = 0;

	o->fate = FATE_NONE;
	if (find_unfinished(m, *size, &at, o)) {
		if (io_ftruncate("local.mbox.repair", m->lock.fd, (off_t)at) ==
		    -1) {
			outcome_errno(o, m->lock.shown, errno);
			return false;
		}
		*size = at;
	}
	return o->fate == FATE_NONE && count_blanks(m, *size, blanks, o);
}

/* -- ids ---------------------------------------------------------------------- */

static void
note(void *arg, uint64_t qid, uint32_t index)
{
	struct mbox *m = arg;

	if (m->ids.n == m->ids.cap) {
		m->ids.cap = m->ids.cap == 0 ? 256 : m->ids.cap * 2;
		m->ids.at = xreallocarray(m->ids.at, m->ids.cap,
		    sizeof(*m->ids.at));
	}
	m->ids.at[m->ids.n++] = (struct mbox_id){ qid, index };
}

static int
compare(const void *a, const void *b)
{
	const struct mbox_id *x = a, *y = b;

	return x->qid != y->qid ? (x->qid > y->qid) - (x->qid < y->qid) :
	    (x->index > y->index) - (x->index < y->index);
}

static bool
learn(struct mbox *m, struct outcome *o)
{
	const uint64_t size = m->start;
	uint64_t at = size > MBOX_LOOK_BACK ? size - MBOX_LOOK_BACK : 0;
	struct mboxscan scan = { .front = false };
	size_t n;

	m->ids.n = 0;
	while (at < size) {
		n = size - at < WINDOW ? (size_t)(size - at) : WINDOW;
		if (!read_at(m, at, n, o)) {
			return false;
		}
		mboxscan_feed(&scan, strbuf_slice(&m->piece), note, m);
		at += n;
	}
	if (m->ids.n > 0) {
		qsort(m->ids.at, m->ids.n, sizeof(*m->ids.at), compare);
	}
	m->ids.known = true;
	return true;
}

int
mbox_find(struct mbox *m, const struct delivery *d, struct outcome *o)
{
	const struct mbox_id key = { d->qid, d->index };

	if (!m->ids.known && !learn(m, o)) {
		return -1;
	}
	return m->ids.n > 0 && bsearch(&key, m->ids.at, m->ids.n, sizeof(key),
	    compare) != NULL ? 1 : 0;
}
