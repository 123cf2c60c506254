/*
 * A batch of operations, on the committer's thread (and at the start, in
 * recovery, on the loop's): write all, fdatasync each, rename and unlink, fsync
 * each touched directory once, then drop the second half of children's names.
 * An operation whose act fails is taken back as far as it went.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/io.h"
#include "common/qid.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

#define NDIRS (SPOOL_DIRS + 1)

#define EACH_OP(op, first)                                                     \
	for ((op) = (struct spool_op *)(first); (op) != NULL;                  \
	    (op) = (struct spool_op *)(op)->job.next)

struct spool_op *
spool_op_new(size_t nacts)
{
	struct spool_op *op = xcalloc(1, sizeof(*op) +
	    nacts * sizeof(op->acts[0]));
	size_t i;

	op->nacts = nacts;
	for (i = 0; i < nacts; i++) {
		op->acts[i].fd = -1;
	}
	return op;
}

/* The directory that an act is about: its place in sp->dirs. */
static unsigned
dir_of(const struct spool_act *a)
{
	return a->kind == ACT_MARK ? SPOOL_DIRS : spool_dir_of(a->qid);
}

static void
fail(struct spool_op *op)
{
	if (op->error == 0) {
		op->error = errno;
	}
}

/* -- phase 1: write -------------------------------------------------------------- */

int
spool_open_file(const char *site, int dir, uint64_t qid, uint64_t parent,
    int flags)
{
	char name[SPOOL_NAME_MAX];
	int fd;

	spool_name(qid, parent, name);
	fd = io_openat(site, dir, name, flags | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd == -1 && errno == ENOENT && parent != 0) {
		spool_name(qid, 0, name);
		fd = io_openat(site, dir, name,
		    flags | O_NOFOLLOW | O_NONBLOCK, 0);
	}
	return fd;
}

/* .ID, whole, with one write. */
static int
write_new(struct spool_act *a, int dir)
{
	struct strbuf tail;
	char head[SPOOL_HEADER], name[SPOOL_NAME_MAX];
	struct iovec v[3];
	int ret;

	strbuf_init(&tail, 0);
	spool_image(a->state, slice_make(a->content, a->content_n),
	    a->whole ? NULL : &a->records, head, &tail);
	spool_name_tmp(a->qid, name);
	a->fd = io_openat("spool.accept.open", dir, name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	ret = a->fd == -1 ? -1 : 0;
	if (ret == 0) {
		a->tmp = true;
		v[0] = (struct iovec){ head, sizeof(head) };
		v[1] = (struct iovec){ a->content, a->content_n };
		v[2] = (struct iovec){ tail.p, tail.n };
		ret = io_pwritev("spool.accept.write", a->fd, v, 3, 0);
	}
	strbuf_clear(&tail);
	return ret;
}

static int
append(struct spool_act *a, int dir)
{
	a->fd = spool_open_file("spool.state.open", dir, a->qid, a->parent,
	    O_WRONLY);
	if (a->fd == -1) {
		return -1;
	}
	if (a->cut && io_ftruncate("spool.state.truncate", a->fd,
	    (off_t)a->end) == -1) {
		return -1;
	}
	return io_pwrite("spool.state.write", a->fd, a->records.p,
	    a->records.n, (off_t)a->end);
}

/* 13 octets, always in one block: old or new. */
static int
write_mark(struct spool_act *a, int dir)
{
	char text[QID_TEXT + 1];

	qid_format(a->qid, text);
	a->fd = io_openat("spool.mark.open", dir, "last",
	    O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
	return a->fd == -1 ? -1 : io_pwrite("spool.mark.write", a->fd, text,
	    QID_TEXT, 0);
}

static void
write_op(const struct spool *sp, struct spool_op *op)
{
	size_t i;

	for (i = 0; i < op->nacts && op->error == 0; i++) {
		struct spool_act *a = &op->acts[i];
		int dir = sp->dirs[dir_of(a)], ret = 0;

		switch (a->kind) {
		case ACT_CREATE:
			ret = write_new(a, dir);
			break;
		case ACT_APPEND:
			ret = append(a, dir);
			break;
		case ACT_MARK:
			ret = write_mark(a, dir);
			break;
		case ACT_PUBLISH:
			a->tmp = true;
			break;
		case ACT_REMOVE:
		case ACT_SET_ASIDE:
			break;
		}
		if (ret == -1) {
			fail(op);
		}
	}
}

/* -- phase 2: flush the files ------------------------------------------------------ */

/* With several files: let them all go to the disk before waiting for the first,
   whose fdatasync then commits the file system's journal for all. Only a hint. */
static void
start_writeback(struct spool_job *first)
{
	struct spool_op *op;
	size_t i;

	if (first->next == NULL) {
		return;
	}
	EACH_OP (op, first) {
		for (i = 0; i < op->nacts; i++) {
			if (op->acts[i].fd != -1) {
				(void)sync_file_range(op->acts[i].fd, 0, 0,
				    SYNC_FILE_RANGE_WRITE);
			}
		}
	}
}

static void
sync_op(struct spool_op *op)
{
	size_t i;

	for (i = 0; i < op->nacts; i++) {
		struct spool_act *a = &op->acts[i];

		if (a->fd == -1) {
			continue;
		}
		if (op->error == 0 &&
		    io_fdatasync(a->kind == ACT_CREATE ? "spool.accept.sync" :
		    "spool.state.sync", a->fd) == -1) {
			fail(op);
		}
		if (io_close("spool.close", a->fd) == -1) {
			fail(op);
		}
		a->fd = -1;
	}
}

/* -- phase 3: rename and unlink ------------------------------------------------------ */

static int
publish(struct spool_act *a, int dir)
{
	char tmp[SPOOL_NAME_MAX], name[SPOOL_NAME_MAX];

	spool_name_tmp(a->qid, tmp);
	spool_name(a->qid, a->parent, name);
	if (io_renameat("spool.accept.rename", dir, tmp, dir, name) == -1) {
		return -1;
	}
	a->tmp = false;
	a->renamed = true;
	return 0;
}

static int
take_away_name(const struct spool_act *a, int dir, uint64_t parent)
{
	char name[SPOOL_NAME_MAX], aside[SPOOL_NAME_MAX];

	spool_name(a->qid, parent, name);
	if (a->kind == ACT_REMOVE) {
		return io_unlinkat("spool.done.unlink", dir, name, 0);
	}
	spool_name_corrupt(a->qid, aside);
	return io_renameat("spool.corrupt.rename", dir, name, dir, aside);
}

/* What is not there any more is removed: maybe by a try whose directory could
   not be flushed. */
static int
take_away(const struct spool_act *a, int dir)
{
	int ret = take_away_name(a, dir, a->parent);

	if (ret == -1 && errno == ENOENT && a->parent != 0) {
		ret = take_away_name(a, dir, 0);
	}
	return ret == -1 && errno == ENOENT ? 0 : ret;
}

static void
rename_op(const struct spool *sp, struct spool_op *op, bool *dirty)
{
	size_t i;

	for (i = 0; i < op->nacts && op->error == 0; i++) {
		struct spool_act *a = &op->acts[i];
		unsigned d = dir_of(a);
		int ret = 0;

		switch (a->kind) {
		case ACT_CREATE:
		case ACT_PUBLISH:
			ret = publish(a, sp->dirs[d]);
			break;
		case ACT_REMOVE:
		case ACT_SET_ASIDE:
			ret = take_away(a, sp->dirs[d]);
			break;
		case ACT_MARK:
			break;
		case ACT_APPEND:
			continue;
		}
		dirty[d] = true;
		if (ret == -1) {
			fail(op);
		}
	}
}

/* Remove what a failed operation has made. That this may fail, too, is why
   leftovers are removed at the start. */
static void
take_back(const struct spool *sp, struct spool_op *op, bool *dirty)
{
	char name[SPOOL_NAME_MAX];
	size_t i;

	for (i = 0; op->error != 0 && i < op->nacts; i++) {
		struct spool_act *a = &op->acts[i];
		unsigned d = dir_of(a);

		if (!a->tmp && !a->renamed) {
			continue;
		}
		if (a->renamed) {
			spool_name(a->qid, a->parent, name);
			dirty[d] = true;
		} else {
			spool_name_tmp(a->qid, name);
		}
		(void)io_unlinkat("spool.accept.undo", sp->dirs[d], name, 0);
		a->tmp = a->renamed = false;
	}
}

/* -- phase 4: flush the directories ---------------------------------------------------- */

static void
sync_dirs(const struct spool *sp, const bool *dirty, int *errors)
{
	size_t d;

	for (d = 0; d < NDIRS; d++) {
		errors[d] = dirty[d] &&
		    io_fsync("spool.dir.sync", sp->dirs[d]) == -1 ? errno : 0;
	}
}

/* Which directories an operation relies on; an append on none. */
static void
check_dirs(struct spool_op *op, const int *errors)
{
	size_t i;

	for (i = 0; i < op->nacts; i++) {
		errno = errors[dir_of(&op->acts[i])];
		if (op->acts[i].kind != ACT_APPEND && errno != 0) {
			fail(op);
		}
	}
}

/* -- phase 5: the children's names ------------------------------------------------------- */

static void
late_op(const struct spool *sp, struct spool_op *op)
{
	char from[SPOOL_NAME_MAX], to[SPOOL_NAME_MAX];
	size_t i;
	int dir;

	for (i = 0; i < op->nlate; i++) {
		struct spool_late *l = &op->late[i];

		dir = sp->dirs[spool_dir_of(l->qid)];
		spool_name(l->qid, l->parent, from);
		spool_name(l->qid, 0, to);
		l->failed = op->error != 0 || io_renameat("spool.group.rename",
		    dir, from, dir, to) == -1;
	}
}

void
spool_commit_batch(struct spool *sp, struct spool_job *first)
{
	bool dirty[NDIRS] = { false }, none[NDIRS];
	int errors[NDIRS];
	struct spool_op *op;

	EACH_OP (op, first) {
		write_op(sp, op);
	}
	start_writeback(first);
	EACH_OP (op, first) {
		sync_op(op);
	}
	EACH_OP (op, first) {
		rename_op(sp, op, dirty);
		take_back(sp, op, dirty);
	}
	sync_dirs(sp, dirty, errors);
	EACH_OP (op, first) {
		check_dirs(op, errors);
		take_back(sp, op, none);
		late_op(sp, op);
	}
}
