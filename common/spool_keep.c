/*
 * queue/kept: a small text that qmgr keeps beside the queue. Written whole as
 * queue/.kept, flushed and renamed; the directory's flush makes it durable. A
 * crash leaves the old text or the new.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

struct keep_job {
	struct spool_job job;
	char *text;
	size_t n;
	int error;
	spool_kept_cb *cb;
	void *arg;
};

static int
write_kept(int dir, const char *text, size_t n)
{
	int fd = io_openat("spool.keep.open", dir, ".kept",
	    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
	int ret;

	if (fd == -1) {
		return -1;
	}
	ret = io_write("spool.keep.write", fd, text, n);
	if (ret == 0) {
		ret = io_fdatasync("spool.keep.sync", fd);
	}
	if (io_close("spool.keep.close", fd) == -1) {
		ret = -1;
	}
	if (ret == 0) {
		ret = io_renameat("spool.keep.rename", dir, ".kept", dir,
		    "kept");
	}
	return ret == 0 ? io_fsync("spool.keep.dir", dir) : -1;
}

static void
keep_run(struct spool *sp, struct spool_job *job)
{
	struct keep_job *j = (struct keep_job *)job;

	if (write_kept(sp->dirs[SPOOL_DIRS], j->text, j->n) == -1) {
		j->error = errno;
	}
}

/* All of it, or a bit more than there may be. */
static int
read_kept(int dir, struct keep_job *j)
{
	int fd = io_openat("spool.kept.open", dir, "kept",
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	ssize_t n = 0;
	int saved;

	if (fd == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	j->text = xmalloc(SPOOL_KEEP_MAX + 1);
	while (j->n <= SPOOL_KEEP_MAX && (n = read(fd, j->text + j->n,
	    SPOOL_KEEP_MAX + 1 - j->n)) > 0) {
		j->n += (size_t)n;
	}
	saved = errno;
	(void)close(fd);
	errno = n == -1 ? saved : EFBIG;
	return n == -1 || j->n > SPOOL_KEEP_MAX ? -1 : 0;
}

static void
kept_run(struct spool *sp, struct spool_job *job)
{
	struct keep_job *j = (struct keep_job *)job;

	if (read_kept(sp->dirs[SPOOL_DIRS], j) == -1) {
		j->error = errno;
	}
}

static void
keep_done(struct spool *sp, struct spool_job *job)
{
	struct keep_job *j = (struct keep_job *)job;

	sp->busy--;
	if (!sp->closing) {
		j->cb(j->arg, j->error, slice_make(j->text,
		    j->error == 0 ? j->n : 0));
	}
	free(j->text);
	free(j);
}

static void
submit(struct spool *sp, struct keep_job *j, spool_kept_cb *cb, void *arg)
{
	j->job.done = keep_done;
	j->cb = cb;
	j->arg = arg;
	sp->busy++;
	spool_submit(sp, SPOOL_READER, &j->job);
}

void
spool_keep(struct spool *sp, struct slice text, spool_kept_cb *cb, void *arg)
{
	struct keep_job *j = xcalloc(1, sizeof(*j));

	j->text = xslicedup(text);
	j->n = text.n;
	j->job.run = keep_run;
	submit(sp, j, cb, arg);
}

void
spool_kept(struct spool *sp, spool_kept_cb *cb, void *arg)
{
	struct keep_job *j = xcalloc(1, sizeof(*j));

	j->job.run = kept_run;
	submit(sp, j, cb, arg);
}
