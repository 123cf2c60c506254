/*
 * Reading message files, on the reader's thread: envelope and records, or the
 * content. At most one allocation of the file's own size; the header's sizes
 * are checked against it first.
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

/* The rest of the file from `at' on; what was read already is not read again. */
static char *
read_rest(struct open_file *f, uint64_t at, uint64_t end)
{
	size_t n = (size_t)(end - at), have = 0;
	char *p = xmalloc(n > 0 ? n : 1);

	if (at < f->first_n) {
		have = f->first_n - (size_t)at;
		have = have < n ? have : n;
		memcpy(p, f->first + at, have);
	}
	if (read_all(f->fd, p + have, n - have, at + have) == -1) {
		free(p);
		return NULL;
	}
	return p;
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
	const char *tail;
	char *rest = NULL;
	uint64_t at;

	*out = (struct spool_loaded){ .error = 0 };
	if (open_message(sp, qid, parent, &f, &out->why) == -1) {
		out->error = errno;
		goto out;
	}
	at = SPOOL_HEADER + f.header.content_n;
	if (f.size <= f.first_n) {
		tail = f.first + at;
	} else {
		tail = rest = read_rest(&f, at, f.size);
	}
	if (tail == NULL) {
		out->error = errno;
		out->why = "cut short";
		goto out;
	}
	if (reading_begin(qid)) {
		out->why = spool_state_decode(&f.header,
		    slice_make(tail, (size_t)(f.size - at)), &out->state);
		reading_end();
	} else {
		out->why = READING_WHY;
	}
	out->error = out->why != NULL ? EBADMSG : 0;
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
	char *p = read_rest(f, SPOOL_HEADER, SPOOL_HEADER + h->content_n);

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
