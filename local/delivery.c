#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "local/delivery.h"
#include "local/mailtext.h"

#define PIECE (64 * 1024) /* octets of content read at a time */

void
pending_init(struct pending *p)
{
	*p = (struct pending){ .state = PENDING_DONE, .fd = -1 };
	strbuf_init(&p->name, 0);
	strbuf_init(&p->tmp, 0);
}

void
pending_clear(struct pending *p)
{
	if (p->fd != -1) {
		(void)close(p->fd);
		p->fd = -1;
	}
	strbuf_clear(&p->name);
	strbuf_clear(&p->tmp);
}

/* -1 with errno; ENODATA when the file is shorter than it should be. */
static int
next_piece(struct content *c, struct slice *piece)
{
	uint64_t left = c->d->size - c->at;
	ssize_t r;

	if (c->d->fd == -1 || left == 0) {
		*piece = slice_make(c->d->content.p + c->at, left);
		c->at += left;
		return 0;
	}
	strbuf_reset(c->room);
	do {
		r = pread(c->d->fd, strbuf_room(c->room, PIECE),
		    left < PIECE ? (size_t)left : PIECE,
		    (off_t)(c->d->offset + c->at));
	} while (r == -1 && errno == EINTR);
	if (r <= 0) {
		errno = r == 0 ? ENODATA : errno;
		return -1;
	}
	strbuf_filled(c->room, (size_t)r);
	c->at += (uint64_t)r;
	*piece = strbuf_slice(c->room);
	return 0;
}

bool
content_next(struct content *c, struct slice *piece, struct outcome *o)
{
	if (next_piece(c, piece) == 0) {
		return true;
	}
	if (errno == ENODATA) {
		outcome_set(o, FATE_DEFERRED, "4.3.0",
		    "the content is shorter than it should be");
	} else {
		outcome_errno(o, "reading the content", errno);
	}
	return false;
}

bool
delivery_loops(const struct delivery *d, struct strbuf *room,
    struct outcome *o)
{
	struct content c = { d, room, 0 };
	struct loopscan scan;
	struct slice piece;

	loopscan_init(&scan, d->address);
	do {
		if (!content_next(&c, &piece, o)) {
			return true;
		}
	} while (piece.n > 0 && !loopscan_feed(&scan, piece));
	if (!loopscan_found(&scan)) {
		return false;
	}
	outcome_set(o, FATE_FAILED, "5.4.6", "mail forwarding loop for %.*s",
	    SLF(d->address));
	return true;
}
