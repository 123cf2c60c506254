/*
 * Reading message files, on the reader's thread: envelope and records, or the
 * content. What is allocated is what the header says, whose sizes are checked
 * against the file's first, and records as far as they are good: a size that is
 * wrong, or a long run of garbage, costs no memory.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/io.h"
#include "common/reading.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

#define FIRST_READ 8192         /* octets: most messages whole */
#define CHECK_READ (256 * 1024) /* octets at a time */
#define PIECE      (1024 * 1024) /* of records */
#define RECORD_HEAD 8

/* All of `n' octets, or -1; a file that ends before them is EBADMSG. */
static int
read_all(int fd, char *p, size_t n, uint64_t offset)
{
	ssize_t r;

	while (n > 0) {
		r = pread(fd, p, n, (off_t)offset);
		if (r == -1 && errno == EINTR) {
			continue;
		}
		if (r <= 0) {
			errno = r == 0 ? EBADMSG : errno;
			return -1;
		}
		p += r;
		n -= (size_t)r;
		offset += (uint64_t)r;
	}
	return 0;
}

struct open_file {
	int fd;
	uint64_t size;
	char first[FIRST_READ];
	size_t first_n;
	struct spool_header header;
};

/* Open, read the beginning, check the header. -1: errno, EBADMSG with *why. */
static int
open_message(struct spool *sp, uint64_t qid, uint64_t parent,
    struct open_file *f, const char **why)
{
	struct stat st;

	*why = "cut short";
	f->fd = spool_open_file("spool.read.open", sp->dirs[spool_dir_of(qid)],
	    qid, parent, O_RDONLY);
	if (f->fd == -1 && errno == ELOOP) {
		*why = "a symbolic link";
		errno = EBADMSG;
	}
	if (f->fd == -1 || fstat(f->fd, &st) == -1) {
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		*why = "not a regular file";
		errno = EBADMSG;
		return -1;
	}
	f->size = (uint64_t)st.st_size;
	f->first_n = f->size < FIRST_READ ? (size_t)f->size : FIRST_READ;
	if (read_all(f->fd, f->first, f->first_n, 0) == -1) {
		return -1;
	}
	*why = spool_header_decode(slice_make(f->first, f->first_n),
	    &f->header);
	if (*why == NULL && f->header.qid != qid) {
		*why = "header: of another message";
	}
	if (*why == NULL && (f->header.content_n > f->size - SPOOL_HEADER ||
	    f->header.envelope_n > f->size - SPOOL_HEADER -
	    f->header.content_n)) {
		*why = "shorter than its header says";
	}
	errno = EBADMSG;
	return *why != NULL ? -1 : 0;
}

/* The octets `done' to `want' of it; those that were read already are not read
   again. */
static int
read_more(const struct spool_part *in, char *p, size_t done, size_t want)
{
	const uint64_t at = in->from + done;
	size_t n = 0;

	if (at < in->first.n) {
		n = in->first.n - (size_t)at;
		n = n < want - done ? n : want - done;
		memcpy(p + done, in->first.p + at, n);
	}
	return read_all(in->fd, p + done + n, want - done - n, at + n);
}

char *
spool_read_part(const struct spool_part *in, size_t *n)
{
	const uint64_t all = in->size - in->from;
	size_t have = 0, good = (size_t)(in->records - in->from);
	uint64_t want = (uint64_t)good + PIECE;
	struct spool_record r;
	struct slice rest;
	char *p = NULL;

	for (;; want = (uint64_t)have + PIECE) {
		want = want < all ? want : all;
		p = xreallocarray(p, (size_t)want + 1, 1);
		if (read_more(in, p, have, (size_t)want) == -1) {
			free(p);
			return NULL;
		}
		have = (size_t)want;
		if (have == all) {
			break;
		}
		rest = slice_make(p + good, have - good);
		while (spool_record_next(&rest, in->qid, &r)) {
		}
		good = have - rest.n;
		if (rest.n > RECORD_HEAD + SPOOL_RECORD_MAX) {
			break; /* and no record: what comes is of no use */
		}
	}
	*n = have;
	return p;
}

char *
spool_read_file(int fd, uint64_t size, size_t *n)
{
	char first[FIRST_READ];
	struct spool_part in = { .fd = fd, .size = size };
	struct spool_header h;
	size_t got = size < sizeof(first) ? (size_t)size : sizeof(first);

	if (read_all(fd, first, got, 0) == -1) {
		return NULL;
	}
	in.first = slice_make(first, got);
	if (spool_header_decode(in.first, &h) != NULL ||
	    h.content_n > size - SPOOL_HEADER ||
	    h.envelope_n > size - SPOOL_HEADER - h.content_n) {
		in.size = in.records = got;
	} else {
		in.qid = h.qid;
		in.records = SPOOL_HEADER + h.content_n + h.envelope_n;
	}
	return spool_read_part(&in, n);
}

/* Octets of the content. */
static char *
read_content(struct open_file *f)
{
	const uint64_t end = SPOOL_HEADER + f->header.content_n;
	const struct spool_part in = { .fd = f->fd, .from = SPOOL_HEADER,
		.records = end, .size = end,
		.first = slice_make(f->first, f->first_n) };
	size_t n;

	return spool_read_part(&in, &n);
}

static void
close_message(struct open_file *f)
{
	if (f->fd != -1) {
		(void)io_close("spool.read.close", f->fd);
	}
}

void
spool_load(struct spool *sp, uint64_t qid, uint64_t parent,
    struct spool_loaded *out)
{
	struct open_file f = { .fd = -1 };
	struct spool_part in = { .qid = qid };
	const char *tail;
	char *rest = NULL;
	size_t n;

	*out = (struct spool_loaded){ .error = 0 };
	if (open_message(sp, qid, parent, &f, &out->why) == -1) {
		out->error = errno;
		goto out;
	}
	if (!reading_begin(qid)) {
		out->why = READING_WHY;
		out->error = EBADMSG;
		goto out;
	}
	in.fd = f.fd;
	in.from = SPOOL_HEADER + f.header.content_n;
	in.records = in.from + f.header.envelope_n;
	in.size = f.size;
	in.first = slice_make(f.first, f.first_n);
	if (f.size <= f.first_n) {
		tail = f.first + in.from;
		n = (size_t)(f.size - in.from);
	} else {
		tail = rest = spool_read_part(&in, &n);
	}
	if (tail == NULL) {
		out->error = errno;
		out->why = "cut short";
	} else {
		out->why = spool_state_decode(&f.header, slice_make(tail, n),
		    &out->state);
		out->error = out->why != NULL ? EBADMSG : 0;
	}
	reading_end();
out:
	free(rest);
	close_message(&f);
}

/* -- content ------------------------------------------------------------------ */

static int
check_content(struct open_file *f, const char **why)
{
	uint64_t at = SPOOL_HEADER, left = f->header.content_n;
	char *buf = xmalloc(CHECK_READ);
	uint32_t crc = 0;
	size_t n;
	int ret = 0;

	for (; left > 0 && ret == 0; left -= n, at += n) {
		n = left < CHECK_READ ? (size_t)left : CHECK_READ;
		ret = read_all(f->fd, buf, n, at);
		if (ret == 0) {
			crc = crc32c(crc, buf, n);
		}
	}
	free(buf);
	if (ret == 0 && crc != f->header.content_crc) {
		*why = "content: wrong checksum";
		errno = EBADMSG;
		ret = -1;
	}
	return ret;
}

static int
take_inline(struct open_file *f, struct spool_content_read *c)
{
	const struct spool_header *h = &f->header;
	char *p = read_content(f);

	if (p == NULL) {
		return -1;
	}
	if (crc32c(0, p, (size_t)h->content_n) != h->content_crc) {
		free(p);
		c->why = "content: wrong checksum";
		errno = EBADMSG;
		return -1;
	}
	c->content = p;
	return 0;
}

void
spool_read_content(struct spool *sp, struct spool_content_read *c)
{
	struct open_file f = { .fd = -1 };
	int ret;

	ret = open_message(sp, c->qid, c->parent, &f, &c->why);
	if (ret == 0) {
		c->header = f.header;
		c->why = "cut short";
		if (c->inline_max > 0 && f.header.content_n <= c->inline_max) {
			ret = take_inline(&f, c);
		} else if (!c->checked) {
			ret = check_content(&f, &c->why);
		}
	}
	c->error = ret == -1 ? errno : 0;
	c->fd = -1;
	if (c->error == 0 && c->content == NULL) {
		c->fd = f.fd;
		f.fd = -1;
	}
	close_message(&f);
}
