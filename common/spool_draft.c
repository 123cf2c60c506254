/*
 * Messages on their way in. Small content stays in memory; once it is larger
 * than SPOOL_INLINE_MAX pieces go to .ID by jobs of the writer's thread, which
 * is one and works in order: so the checksum grows with the pieces, and the
 * job that discards a draft comes after all its others.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/io.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

#define FIRST_ROOM 4096

/* The writer's side of a draft: no one else looks at it while jobs are out. */
struct draft_file {
	uint64_t qid;
	int fd;
	bool made;       /* .ID is there */
	int error;
	uint64_t size;   /* octets of content written */
	uint32_t crc;
};

struct spool_draft {
	struct spool *sp;
	uint64_t qid;
	uint64_t size;       /* octets of content, all */
	char *mem;           /* what has not gone to the writer */
	size_t mem_n, mem_cap;
	struct draft_file *file; /* NULL: all is in `mem' */
	size_t unwritten;    /* octets in jobs */
	unsigned jobs;
	int error;
	bool freed;          /* the owner is gone */
	void (*drained)(void *arg, int error);
	void *drained_arg;
	void (*finished)(void *arg, int error);
	void *finished_arg;
};

enum draft_step { DRAFT_PIECE, DRAFT_FINISH, DRAFT_DISCARD };

struct draft_job {
	struct spool_job job;
	struct spool_draft *d;   /* the loop's */
	struct draft_file *file; /* the writer's */
	enum draft_step step;
	char *piece;             /* owned */
	size_t n;
	struct spool_state *state; /* FINISH; borrowed */
	struct slice records;
	int error;               /* how the file stands after this job */
};

/* -- on the writer's thread ------------------------------------------------------ */

static int
make_file(struct spool *sp, struct draft_file *f)
{
	char name[SPOOL_NAME_MAX];

	if (f->made) {
		return 0;
	}
	spool_name_tmp(f->qid, name);
	f->fd = io_openat("spool.large.open", sp->dirs[spool_dir_of(f->qid)],
	    name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	f->made = f->fd != -1;
	return f->made ? 0 : -1;
}

static int
write_piece(struct draft_file *f, const struct draft_job *j)
{
	if (j->n > 0 && io_pwrite("spool.large.write", f->fd, j->piece, j->n,
	    (off_t)(SPOOL_HEADER + f->size)) == -1) {
		return -1;
	}
	f->crc = crc32c(f->crc, j->piece, j->n);
	f->size += j->n;
	return 0;
}

/* Envelope and first records, then the header, then flush. */
static int
finish_file(struct draft_file *f, const struct draft_job *j)
{
	struct spool_header *h = &j->state->header;
	char head[SPOOL_HEADER];
	struct strbuf b;
	int ret;

	strbuf_init(&b, 0);
	envelope_encode(&j->state->envelope, &b);
	(void)strbuf_add_slice(&b, j->records);
	h->envelope_n = (uint32_t)(b.n - j->records.n);
	h->envelope_crc = crc32c(0, b.p, h->envelope_n);
	h->content_n = f->size;
	h->content_crc = f->crc;
	j->state->end = SPOOL_HEADER + f->size + b.n;
	spool_header_encode(h, head);
	ret = io_pwrite("spool.large.envelope", f->fd, b.p, b.n,
	    (off_t)(SPOOL_HEADER + f->size));
	strbuf_clear(&b);
	if (ret == 0) {
		ret = io_pwrite("spool.large.header", f->fd, head,
		    sizeof(head), 0);
	}
	return ret == 0 ? io_fdatasync("spool.large.sync", f->fd) : -1;
}

static int
close_file(struct draft_file *f)
{
	int fd = f->fd;

	f->fd = -1;
	return fd != -1 ? io_close("spool.large.close", fd) : 0;
}

static void
discard_file(struct spool *sp, struct draft_file *f)
{
	char name[SPOOL_NAME_MAX];

	(void)close_file(f);
	if (f->made) {
		spool_name_tmp(f->qid, name);
		(void)io_unlinkat("spool.large.undo",
		    sp->dirs[spool_dir_of(f->qid)], name, 0);
		f->made = false;
	}
}

static void
draft_run(struct spool *sp, struct spool_job *job)
{
	struct draft_job *j = (struct draft_job *)job;
	struct draft_file *f = j->file;
	int ret = 0;

	if (j->step == DRAFT_DISCARD) {
		discard_file(sp, f);
	} else if (f->error == 0) {
		ret = make_file(sp, f) == -1 || write_piece(f, j) == -1 ?
		    -1 : 0;
		if (ret == 0 && j->step == DRAFT_FINISH) {
			ret = finish_file(f, j);
		}
		if (ret == 0 && j->step == DRAFT_FINISH) {
			ret = close_file(f);
		}
	}
	if (ret == -1) {
		f->error = errno;
		discard_file(sp, f);
	}
	j->error = f->error;
}

/* -- on the loop ------------------------------------------------------------------ */

static void
draft_delete(struct spool_draft *d)
{
	free(d->mem);
	free(d->file);
	free(d);
}

/* The owner is gone; the last job takes the rest along. */
static void
draft_delete_idle(struct spool_draft *d)
{
	if (d->jobs == 0) {
		draft_delete(d);
	}
}

/* What was asked for when the jobs are done; may free the draft's owner. */
static void
tell_drained(struct spool_draft *d)
{
	void (*cb)(void *, int) = d->drained;

	if (cb != NULL && d->jobs == 0) {
		d->drained = NULL;
		if (!d->sp->closing) {
			cb(d->drained_arg, d->error);
		}
	}
}

static void
draft_done(struct spool *sp, struct spool_job *job)
{
	struct draft_job *j = (struct draft_job *)job;
	struct spool_draft *d = j->d;
	enum draft_step step = j->step;

	d->jobs--;
	d->unwritten -= j->n;
	sp->busy--;
	d->error = j->error;
	free(j->piece);
	free(j);
	if (d->freed) {
		draft_delete_idle(d);
	} else if (step == DRAFT_FINISH) {
		d->finished(d->finished_arg, d->error);
	} else {
		tell_drained(d);
	}
}

static void
submit(struct spool_draft *d, enum draft_step step, struct spool_state *st,
    struct slice records)
{
	struct draft_job *j = xcalloc(1, sizeof(*j));

	j->job.run = draft_run;
	j->job.done = draft_done;
	j->d = d;
	j->file = d->file;
	j->step = step;
	j->piece = d->mem;
	j->n = d->mem_n;
	j->state = st;
	j->records = records;
	d->unwritten += d->mem_n;
	d->mem = NULL;
	d->mem_n = d->mem_cap = 0;
	d->jobs++;
	d->sp->busy++;
	spool_submit(d->sp, SPOOL_WRITER, &j->job);
}

struct spool_draft *
spool_draft_new(struct spool *sp)
{
	struct spool_draft *d = xcalloc(1, sizeof(*d));

	d->sp = sp;
	d->qid = spool_next_qid(sp);
	return d;
}

uint64_t
spool_draft_qid(const struct spool_draft *d)
{
	return d->qid;
}

struct spool *
spool_draft_spool(const struct spool_draft *d)
{
	return d->sp;
}

uint64_t
spool_draft_size(const struct spool_draft *d)
{
	return d->size;
}

bool
spool_draft_filed(const struct spool_draft *d)
{
	return d->file != NULL;
}

/* Append to `mem', which holds at most SPOOL_INLINE_MAX; returns octets taken. */
static size_t
fill(struct spool_draft *d, struct slice piece)
{
	size_t n = SPOOL_INLINE_MAX - d->mem_n;

	n = piece.n < n ? piece.n : n;
	if (d->mem_n + n > d->mem_cap) {
		d->mem_cap = d->mem_cap == 0 ? FIRST_ROOM : d->mem_cap * 2;
		if (d->mem_cap < d->mem_n + n) {
			d->mem_cap = d->mem_n + n;
		}
		if (d->mem_cap > SPOOL_INLINE_MAX) {
			d->mem_cap = SPOOL_INLINE_MAX;
		}
		d->mem = xrealloc(d->mem, d->mem_cap);
	}
	memcpy(d->mem + d->mem_n, piece.p, n);
	d->mem_n += n;
	return n;
}

size_t
spool_draft_add(struct spool_draft *d, struct slice piece)
{
	size_t n;

	d->size += piece.n;
	while (piece.n > 0 && d->error == 0) {
		if (d->mem_n == SPOOL_INLINE_MAX) {
			if (d->file == NULL) {
				d->file = xcalloc(1, sizeof(*d->file));
				d->file->qid = d->qid;
				d->file->fd = -1;
			}
			submit(d, DRAFT_PIECE, NULL, SL(""));
		}
		n = fill(d, piece);
		piece.p += n;
		piece.n -= n;
	}
	return d->unwritten;
}

struct nudge {
	struct spool_job job;
	struct spool_draft *d;
};

static void
nudge_done(struct spool *sp, struct spool_job *job)
{
	struct spool_draft *d = ((struct nudge *)job)->d;

	sp->busy--;
	free(job);
	d->jobs--;
	if (d->freed) {
		draft_delete_idle(d);
	} else {
		tell_drained(d);
	}
}

void
spool_draft_on_drained(struct spool_draft *d,
    void (*cb)(void *arg, int error), void *arg)
{
	struct nudge *nu;

	d->drained = cb;
	d->drained_arg = arg;
	if (cb == NULL || d->jobs > 0) {
		return;
	}
	nu = xcalloc(1, sizeof(*nu));
	nu->job.done = nudge_done;
	nu->d = d;
	d->jobs++;
	d->sp->busy++;
	spool_later(d->sp, &nu->job);
}

void
spool_draft_free(struct spool_draft *d)
{
	if (d == NULL) {
		return;
	}
	d->freed = true;
	/* With no job out the writer is not at the file: we may look. */
	if (d->file != NULL && (d->jobs > 0 || d->file->made)) {
		submit(d, DRAFT_DISCARD, NULL, SL(""));
	} else {
		draft_delete_idle(d);
	}
}

void
spool_draft_given(struct spool_draft *d)
{
	d->file->made = false;
}

char *
spool_draft_take(struct spool_draft *d, size_t *n)
{
	char *p = d->mem_n > 0 ? xrealloc(d->mem, d->mem_n) : xmalloc(1);

	*n = d->mem_n;
	d->mem = NULL;
	d->mem_n = d->mem_cap = 0;
	return p;
}

void
spool_draft_finish(struct spool_draft *d, struct spool_state *st,
    struct slice records, void (*cb)(void *arg, int error), void *arg)
{
	d->drained = NULL;
	d->finished = cb;
	d->finished_arg = arg;
	submit(d, DRAFT_FINISH, st, records);
}
