#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "local/maildir.h"
#include "local/maildir_open.h"
#include "local/mailtext.h"

#define PIECE (64 * 1024) /* octets of content read and written at a time */

void
maildir_init(struct maildir *m, int home, const char *mailbox,
    struct slice host)
{
	*m = (struct maildir){ .home = home, .mailbox = mailbox, .host = host,
		.base = -1, .tmp = -1, .new = -1, .cur = -1 };
	strbuf_init(&m->work, 0);
	strbuf_init(&m->piece, 0);
}

void
maildir_clear(struct maildir *m)
{
	maildir_close(m);
	free(m->seen.at);
	m->seen.at = NULL;
	m->seen.cap = 0;
	strbuf_clear(&m->work);
	strbuf_clear(&m->piece);
}

bool
maildir_mailbox_ok(const char *mailbox, struct outcome *o)
{
	struct slice all = slice_of(mailbox), rest = all, word;

	if (all.n == 0 || all.p[all.n - 1] != '/') {
		outcome_set(o, FATE_DEFERRED, "4.3.5", "home_mailbox = %s: "
		    "only Maildir is there yet, which is written with a slash "
		    "at the end", mailbox);
		return false;
	}
	if (all.p[0] == '/') {
		outcome_set(o, FATE_DEFERRED, "4.3.5",
		    "home_mailbox = %s: is not below the home", mailbox);
		return false;
	}
	while (slice_word(&rest, "/", &word)) {
		if (slice_eq(word, SL("..")) || slice_eq(word, SL("."))) {
			outcome_set(o, FATE_DEFERRED, "4.3.5",
			    "home_mailbox = %s: has %.*s in it", mailbox,
			    SLF(word));
			return false;
		}
	}
	return true;
}

void
maildir_pending_clear(struct maildir_pending *p)
{
	if (p->fd != -1) {
		(void)close(p->fd);
		p->fd = -1;
	}
	strbuf_clear(&p->name);
	strbuf_clear(&p->tmp);
}

/* -- the content ------------------------------------------------------------- */

/* What is still to be read of a message's content. */
struct source {
	const struct maildir_message *msg;
	uint64_t at;
};

/*
 * The next piece; empty at the end. It lives until the next call. -1 with
 * errno; ENODATA when the file is shorter than it should be.
 */
static int
next_piece(struct maildir *m, struct source *src, struct slice *piece)
{
	uint64_t left = src->msg->size - src->at;
	ssize_t r;

	if (src->msg->fd == -1 || left == 0) {
		*piece = slice_make(src->msg->content.p + src->at, left);
		src->at += left;
		return 0;
	}
	strbuf_reset(&m->piece);
	do {
		r = pread(src->msg->fd, strbuf_room(&m->piece, PIECE),
		    left < PIECE ? (size_t)left : PIECE,
		    (off_t)(src->msg->offset + src->at));
	} while (r == -1 && errno == EINTR);
	if (r <= 0) {
		errno = r == 0 ? ENODATA : errno;
		return -1;
	}
	strbuf_filled(&m->piece, (size_t)r);
	src->at += (uint64_t)r;
	*piece = strbuf_slice(&m->piece);
	return 0;
}

static void
content_trouble(struct outcome *o)
{
	if (errno == ENODATA) {
		outcome_set(o, FATE_DEFERRED, "4.3.0",
		    "the content is shorter than it should be");
	} else {
		outcome_errno(o, "reading the content", errno);
	}
}

/* True: the header says that it has been delivered here; or `o' is deferred. */
static bool
loops(struct maildir *m, const struct maildir_message *msg, struct outcome *o)
{
	struct source src = { msg, 0 };
	struct loopscan scan;
	struct slice piece;

	loopscan_init(&scan, msg->address);
	do {
		if (next_piece(m, &src, &piece) == -1) {
			content_trouble(o);
			return true;
		}
	} while (piece.n > 0 && !loopscan_feed(&scan, piece));
	if (!loopscan_found(&scan)) {
		return false;
	}
	outcome_set(o, FATE_FAILED, "5.4.6", "mail forwarding loop for %.*s",
	    SLF(msg->address));
	return true;
}

/* -- writing ------------------------------------------------------------------ */

static bool
write_work(struct maildir *m, int fd, struct outcome *o)
{
	if (io_write("local.maildir.write", fd, m->work.p, m->work.n) == -1) {
		outcome_errno(o, "writing the message", errno);
		return false;
	}
	strbuf_reset(&m->work);
	return true;
}

/* Fields and content to `fd'; false: `o' says why. */
static bool
write_content(struct maildir *m, const struct maildir_message *msg, int fd,
    struct outcome *o)
{
	struct source src = { msg, 0 };
	struct crlf lines = { false };
	struct slice piece;

	strbuf_reset(&m->work);
	mailtext_fields(&m->work, msg->reverse_path, msg->original,
	    msg->address);
	for (;;) {
		if (next_piece(m, &src, &piece) == -1) {
			content_trouble(o);
			return false;
		}
		if (piece.n == 0) {
			break;
		}
		strbuf_filled(&m->work, crlf_feed(&lines, piece,
		    strbuf_room(&m->work, piece.n + 1)));
		if (m->work.n > 0 && !write_work(m, fd, o)) {
			return false;
		}
	}
	strbuf_filled(&m->work, crlf_end(&lines, strbuf_room(&m->work, 1)));
	return m->work.n == 0 || write_work(m, fd, o);
}

/* A fresh file in tmp/; one of this name is of a process that had our pid. */
static int
create_tmp(struct maildir *m, const char *name)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC |
	    O_NONBLOCK;
	int fd = io_openat("local.maildir.create", m->tmp, name, flags, 0600);

	if (fd == -1 && errno == EEXIST &&
	    io_unlinkat("local.maildir.replace", m->tmp, name, 0) == 0) {
		fd = io_openat("local.maildir.create", m->tmp, name, flags,
		    0600);
	}
	return fd;
}

static void
drop_tmp(struct maildir *m, struct maildir_pending *p)
{
	if (p->fd != -1) {
		(void)close(p->fd);
		p->fd = -1;
	}
	(void)io_unlinkat("local.maildir.drop", m->tmp, p->tmp.p, 0);
	p->state = MAILDIR_DONE;
}

/* An earlier attempt may have delivered it. True: there is no more to write. */
static bool
was_here(struct maildir *m, struct slice unique, struct maildir_pending *p)
{
	switch (maildir_find(m, unique, p->name.p)) {
	case MAILDIR_AT_NEW:
		p->state = MAILDIR_MOVED;
		break;
	case MAILDIR_AT_CUR:
		p->state = MAILDIR_IN_CUR;
		break;
	case MAILDIR_AT_ERROR:
		outcome_errno(&p->outcome, "looking for an earlier delivery",
		    errno);
		return true;
	case MAILDIR_AT_NONE:
		return false;
	}
	p->found = true;
	return true;
}

static void
set_names(struct maildir *m, const struct maildir_message *msg,
    struct strbuf *unique, struct maildir_pending *p)
{
	mailtext_unique(unique, msg->qid, msg->index, msg->arrived_us);
	mailtext_name(&p->name, strbuf_slice(unique), m->host);
	(void)strbuf_printf(&p->tmp, "%s.%ld", p->name.p, (long)getpid());
}

void
maildir_write(struct maildir *m, const struct maildir_message *msg,
    struct maildir_pending *p)
{
	struct strbuf unique;

	*p = (struct maildir_pending){ .state = MAILDIR_DONE, .fd = -1 };
	strbuf_init(&p->name, 0);
	strbuf_init(&p->tmp, 0);
	strbuf_init(&unique, 0);
	set_names(m, msg, &unique, p);
	if (!maildir_open(m, &p->outcome) ||
	    (msg->again && was_here(m, strbuf_slice(&unique), p)) ||
	    loops(m, msg, &p->outcome)) {
		goto out;
	}
	p->fd = create_tmp(m, p->tmp.p);
	if (p->fd == -1) {
		outcome_errno(&p->outcome, "a file in tmp", errno);
	} else if (write_content(m, msg, p->fd, &p->outcome)) {
		p->state = MAILDIR_WRITTEN;
	} else {
		drop_tmp(m, p);
	}
out:
	strbuf_clear(&unique);
}

/* -- making it durable --------------------------------------------------------- */

static void
flush_file(struct maildir *m, struct maildir_pending *p)
{
	int fd = p->fd;

	if (io_fdatasync("local.maildir.fdatasync", fd) == -1) {
		outcome_errno(&p->outcome, "flushing the message", errno);
		drop_tmp(m, p);
		return;
	}
	p->fd = -1;
	if (io_close("local.maildir.close", fd) == -1) {
		outcome_errno(&p->outcome, "closing the message", errno);
		drop_tmp(m, p);
	}
}

static void
move_file(struct maildir *m, struct maildir_pending *p)
{
	if (io_renameat("local.maildir.rename", m->tmp, p->tmp.p, m->new,
	    p->name.p) == -1) {
		outcome_errno(&p->outcome, "moving the message to new", errno);
		drop_tmp(m, p);
		return;
	}
	p->state = MAILDIR_MOVED;
}

/* Flush `dir' for all pending in `state': they are home then, or deferred. */
static void
flush_dir(struct maildir *m, int dir, struct maildir_pending *ps, size_t n)
{
	const int state = dir == m->new ? MAILDIR_MOVED : MAILDIR_IN_CUR;
	bool any = false, good;
	int error;
	size_t i;

	for (i = 0; i < n; i++) {
		any = any || (int)ps[i].state == state;
	}
	if (!any) {
		return;
	}
	good = io_fsync("local.maildir.fsync", dir) == 0;
	error = errno;
	for (i = 0; i < n; i++) {
		if ((int)ps[i].state != state) {
			continue;
		}
		ps[i].state = MAILDIR_DONE;
		if (good) {
			outcome_set(&ps[i].outcome, FATE_DELIVERED, "2.0.0",
			    ps[i].found ?
			    "delivered to maildir by an earlier attempt" :
			    "delivered to maildir");
		} else {
			/* It may be there: the next attempt will look. */
			outcome_errno(&ps[i].outcome, "flushing the mailbox",
			    error);
			maildir_forget(m);
		}
	}
}

/*
 * Have all files of the batch written before the first of them is waited for:
 * then its fdatasync() commits the file system's journal for the others, too.
 * Only a hint; what fails here fails again there.
 */
static void
start_writing(const struct maildir_pending *ps, size_t n)
{
	size_t i;

	for (i = 0; n > 1 && i < n; i++) {
		if (ps[i].state == MAILDIR_WRITTEN) {
			(void)sync_file_range(ps[i].fd, 0, 0,
			    SYNC_FILE_RANGE_WRITE);
		}
	}
}

void
maildir_finish(struct maildir *m, struct maildir_pending *ps, size_t n)
{
	size_t i;

	start_writing(ps, n);
	for (i = 0; i < n; i++) {
		if (ps[i].state == MAILDIR_WRITTEN) {
			flush_file(m, &ps[i]);
		}
	}
	for (i = 0; i < n; i++) {
		if (ps[i].state == MAILDIR_WRITTEN) {
			move_file(m, &ps[i]);
		}
	}
	flush_dir(m, m->new, ps, n);
	flush_dir(m, m->cur, ps, n);
	m->checked = false;
}
