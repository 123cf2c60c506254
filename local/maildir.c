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
write_content(struct maildir *m, const struct delivery *msg, int fd,
    struct outcome *o)
{
	struct content src = { msg, &m->piece, 0 };
	struct crlf lines = { false };
	struct slice piece;

	strbuf_reset(&m->work);
	mailtext_fields(&m->work, msg->reverse_path, msg->original,
	    msg->address);
	for (;;) {
		if (!content_next(&src, &piece, o)) {
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
drop_tmp(struct maildir *m, struct pending *p)
{
	if (p->fd != -1) {
		(void)close(p->fd);
		p->fd = -1;
	}
	(void)io_unlinkat("local.maildir.drop", m->tmp, p->tmp.p, 0);
	p->state = PENDING_DONE;
}

/* An earlier attempt may have delivered it. True: there is no more to write. */
static bool
was_here(struct maildir *m, struct slice unique, struct pending *p)
{
	switch (maildir_find(m, unique, p->name.p)) {
	case MAILDIR_AT_NEW:
		p->state = PENDING_MOVED;
		break;
	case MAILDIR_AT_CUR:
		p->state = PENDING_IN_CUR;
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
set_names(struct maildir *m, const struct delivery *msg,
    struct strbuf *unique, struct pending *p)
{
	mailtext_unique(unique, msg->qid, msg->index, msg->arrived_us);
	mailtext_name(&p->name, strbuf_slice(unique), m->host);
	(void)strbuf_printf(&p->tmp, "%s.%ld", p->name.p, (long)getpid());
}

void
maildir_write(struct maildir *m, const struct delivery *msg,
    struct pending *p)
{
	struct strbuf unique;

	pending_init(p);
	strbuf_init(&unique, 0);
	set_names(m, msg, &unique, p);
	if (!maildir_open(m, &p->outcome) ||
	    (msg->again && was_here(m, strbuf_slice(&unique), p)) ||
	    delivery_loops(msg, &m->piece, &p->outcome)) {
		goto out;
	}
	p->fd = create_tmp(m, p->tmp.p);
	if (p->fd == -1) {
		outcome_errno(&p->outcome, "a file in tmp", errno);
	} else if (write_content(m, msg, p->fd, &p->outcome)) {
		p->state = PENDING_WRITTEN;
	} else {
		drop_tmp(m, p);
	}
out:
	strbuf_clear(&unique);
}

/* -- making it durable --------------------------------------------------------- */

/* It was flushed, or that failed with `error'. */
static void
flushed(struct maildir *m, struct pending *p, int error)
{
	int fd = p->fd;

	if (error != 0) {
		outcome_errno(&p->outcome, "flushing the message", error);
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
flush_files(struct maildir *m, struct pending *ps, size_t n)
{
	int fds[DELIVERY_BATCH] = { 0 }, errors[DELIVERY_BATCH];
	struct pending *written[DELIVERY_BATCH];
	size_t i, count = 0;

	for (i = 0; i < n; i++) {
		if (ps[i].state == PENDING_WRITTEN) {
			fds[count] = ps[i].fd;
			written[count++] = &ps[i];
		}
	}
	io_fdatasync_many("local.maildir.fdatasync", fds, errors, count);
	for (i = 0; i < count; i++) {
		flushed(m, written[i], errors[i]);
	}
}

static void
move_file(struct maildir *m, struct pending *p)
{
	if (io_renameat("local.maildir.rename", m->tmp, p->tmp.p, m->new,
	    p->name.p) == -1) {
		outcome_errno(&p->outcome, "moving the message to new", errno);
		drop_tmp(m, p);
		return;
	}
	p->state = PENDING_MOVED;
}

/* Flush `dir' for all pending in `state': they are home then, or deferred. */
static void
flush_dir(struct maildir *m, int dir, struct pending *ps, size_t n)
{
	const int state = dir == m->new ? PENDING_MOVED : PENDING_IN_CUR;
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
		ps[i].state = PENDING_DONE;
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
 * Have all files of the batch written before any of them is waited for: then
 * the first flush commits the file system's journal for the others, too. Only a
 * hint; what fails here fails again there.
 */
static void
start_writing(const struct pending *ps, size_t n)
{
	size_t i;

	for (i = 0; n > 1 && i < n; i++) {
		if (ps[i].state == PENDING_WRITTEN) {
			(void)sync_file_range(ps[i].fd, 0, 0,
			    SYNC_FILE_RANGE_WRITE);
		}
	}
}

void
maildir_finish(struct maildir *m, struct pending *ps, size_t n)
{
	size_t i;

	start_writing(ps, n);
	flush_files(m, ps, n);
	for (i = 0; i < n; i++) {
		if (ps[i].state == PENDING_WRITTEN) {
			move_file(m, &ps[i]);
		}
	}
	flush_dir(m, m->new, ps, n);
	flush_dir(m, m->cur, ps, n);
	m->checked = false;
}
