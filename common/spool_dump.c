/* A queue file or an entry of the journal as facts for people. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/qid.h"
#include "common/spool_check.h"
#include "common/spool_int.h"
#include "common/xmalloc.h"

struct dump {
	spool_fact_cb *cb;
	void *arg;
};

static void __attribute__((format(printf, 3, 4)))
fact(const struct dump *d, const char *name, const char *fmt, ...)
{
	struct strbuf b;
	va_list ap;
	char *text = NULL;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) == -1) {
		text = NULL;
	}
	va_end(ap);
	strbuf_init(&b, 0);
	strbuf_add_quoted(&b, slice_of(text != NULL ? text : ""), 2000);
	d->cb(d->arg, name, b.p != NULL ? b.p : "");
	strbuf_clear(&b);
	free(text);
}

static const char *
fate_name(uint8_t fate)
{
	static const char *const names[] = { "none", "delivered", "deferred",
		"failed", "expanded", "warned" };

	return fate < NELEMS(names) ? names[fate] : "unknown";
}

static void
dump_record(const struct dump *d, const struct spool_record *r)
{
	char id[QID_TEXT + 1];

	switch ((enum spool_record_kind)r->kind) {
	case SPOOL_REC_FATE:
		fact(d, "fate", "recipient %" PRIu32 ": %s, attempt %" PRIu32
		    ", next at %" PRIu64 ": %.*s %.*s [%.*s]", r->fate.index,
		    fate_name(r->fate.fate), r->fate.attempt, r->fate.next_at,
		    SLF(r->fate.esc), SLF(r->fate.reply), SLF(r->fate.relay));
		return;
	case SPOOL_REC_HOLD:
		fact(d, "hold", "%s: %.*s", r->on ? "on" : "off",
		    SLF(r->reason));
		return;
	case SPOOL_REC_GROUP:
		qid_format(r->parent, id);
		fact(d, "group", "a child of %s, one of %" PRIu32, id,
		    r->nsiblings);
		return;
	case SPOOL_REC_CRASH:
		fact(d, "crashes", "%u", r->crashes);
		return;
	}
	fact(d, "record", "of the later kind %u", r->kind);
}

static void
dump_records(const struct dump *d, uint64_t qid, struct slice in)
{
	struct spool_record r;

	while (spool_record_next(&in, qid, &r)) {
		dump_record(d, &r);
	}
	if (in.n > 0) {
		fact(d, "damage", "%zu octets of state records that are not "
		    "readable: what they said counts as not done", in.n);
	}
}

static void
dump_envelope(const struct dump *d, const struct envelope *e)
{
	char id[QID_TEXT + 1];
	uint32_t i;

	fact(d, "arrived_us", "%" PRIu64, e->arrived_us);
	fact(d, "reverse_path", "<%s>", e->reverse_path);
	fact(d, "client", "%s[%s] helo %s proto %s", e->client_name,
	    e->client_addr, e->helo, e->proto);
	if (e->uid != UINT32_MAX) {
		fact(d, "uid", "%" PRIu32, e->uid);
	}
	if (e->parent_qid != 0) {
		qid_format(e->parent_qid, id);
		fact(d, "parent", "%s", id);
	}
	for (i = 0; i < e->nrcpts; i++) {
		const struct recipient *r = &e->rcpts[i];

		fact(d, "recipient", "%" PRIu32 ": <%s> (%s) by %s to %s%s%s",
		    i, r->address, r->original, r->transport, r->next_hop,
		    r->extension[0] != '\0' ? ", extension " : "",
		    r->extension);
	}
}

static void
dump_image(const struct dump *d, uint64_t qid, struct slice image)
{
	struct envelope e;
	struct slice content;
	uint32_t flags;
	size_t at;
	const char *why;
	char id[QID_TEXT + 1];

	envelope_init(&e);
	qid_format(qid, id);
	fact(d, "message", "%s", id);
	why = spool_parse(image, &e, &content, &flags, &at, true);
	if (why != NULL) {
		fact(d, "damage", "%s", why);
		return;
	}
	fact(d, "content", "%zu octets, flags %" PRIu32, content.n, flags);
	dump_envelope(d, &e);
	dump_records(d, qid, slice_make(image.p + at, image.n - at));
	envelope_clear(&e);
}

/* -- a file -------------------------------------------------------------------- */

/* Whatever of ID, ID+PARENT, ID.corrupt and .ID there is, in this order. */
static int
open_named(int spool_fd, uint64_t qid)
{
	char path[16];
	struct dirent *de;
	uint64_t id, parent;
	enum spool_name_kind kind, best = SPOOL_NAME_FOREIGN;
	int fd = -1, dir;
	DIR *d;

	(void)snprintf(path, sizeof(path), "queue/%x", spool_dir_of(qid));
	dir = openat(spool_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = dir != -1 ? fdopendir(dir) : NULL;
	if (d == NULL) {
		return -1;
	}
	while ((de = readdir(d)) != NULL) {
		kind = spool_name_parse(de->d_name, &id, &parent);
		if (kind == SPOOL_NAME_FOREIGN || id != qid ||
		    (best != SPOOL_NAME_FOREIGN && kind >= best)) {
			continue;
		}
		if (fd != -1) {
			(void)close(fd);
		}
		fd = openat(dir, de->d_name, O_RDONLY | O_NOFOLLOW |
		    O_NONBLOCK | O_CLOEXEC);
		best = fd != -1 ? kind : best;
	}
	(void)closedir(d);
	errno = ENOENT;
	return fd;
}

int
spool_dump_file(int spool_fd, uint64_t qid, spool_fact_cb *cb, void *arg)
{
	const struct dump d = { cb, arg };
	int fd = open_named(spool_fd, qid);
	struct stat st;
	size_t n;
	char *p;

	if (fd == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return -1;
	}
	p = spool_read_file(fd, (uint64_t)st.st_size, &n);
	(void)close(fd);
	if (p == NULL) {
		return -1;
	}
	dump_image(&d, qid, slice_make(p, n));
	free(p);
	return 1;
}

/* -- an entry ---------------------------------------------------------------------- */

const char *
spool_entry_name(uint8_t kind)
{
	switch ((enum spool_entry_kind)kind) {
	case SPOOL_ENTRY_MESSAGE:
		return "message";
	case SPOOL_ENTRY_STATE:
		return "state";
	case SPOOL_ENTRY_DONE:
		return "done";
	case SPOOL_ENTRY_GROUP:
		return "group";
	}
	return "unknown";
}

static void
dump_group(const struct dump *d, uint64_t parent, struct slice body)
{
	struct dec in = dec_make(body);
	bool done = dec_u8(&in) != 0;
	struct slice records = dec_slice(&in, body.n), image;
	uint64_t qid;

	if (done) {
		fact(d, "parent", "%s", "done");
	} else {
		dump_records(d, parent, records);
	}
	while (!in.bad && in.in.n > 0) {
		qid = dec_u64(&in);
		image = dec_slice(&in, body.n);
		if (!in.bad) {
			dump_image(d, qid, image);
		}
	}
	if (in.bad) {
		fact(d, "damage", "%s", "it ends too soon");
	}
}

void
spool_dump_entry(uint8_t kind, uint64_t qid, struct slice body,
    spool_fact_cb *cb, void *arg)
{
	const struct dump d = { cb, arg };

	switch ((enum spool_entry_kind)kind) {
	case SPOOL_ENTRY_MESSAGE:
		dump_image(&d, qid, body);
		return;
	case SPOOL_ENTRY_STATE:
		dump_records(&d, qid, body);
		return;
	case SPOOL_ENTRY_DONE:
		return;
	case SPOOL_ENTRY_GROUP:
		dump_group(&d, qid, body);
		return;
	}
	fact(&d, "entry", "of the unknown kind %u, %zu octets", kind, body.n);
}

bool
spool_entry_is_of(uint8_t kind, uint64_t qid, struct slice body,
    uint64_t wanted)
{
	struct dec in = dec_make(body);
	bool is = qid == wanted;

	if (kind == SPOOL_ENTRY_GROUP) {
		(void)dec_u8(&in);
		(void)dec_slice(&in, body.n);
		while (!is && !in.bad && in.in.n > 0) {
			is = dec_u64(&in) == wanted && !in.bad;
			(void)dec_slice(&in, body.n);
		}
	}
	return is;
}

int
spool_each_file(int spool_fd,
    void (*cb)(void *arg, const char *place, uint64_t octets), void *arg)
{
	char dir[16], place[300];
	struct dirent *de;
	struct stat st;
	unsigned h;
	int fd;
	DIR *d;

	for (h = 0; h < SPOOL_DIRS; h++) {
		(void)snprintf(dir, sizeof(dir), "queue/%x", h);
		fd = openat(spool_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		d = fd != -1 ? fdopendir(fd) : NULL;
		if (d == NULL && errno != ENOENT) {
			return -1;
		}
		while (d != NULL && (de = readdir(d)) != NULL) {
			if (fstatat(fd, de->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
				(void)snprintf(place, sizeof(place), "%s/%s",
				    dir, de->d_name);
				cb(arg, place, (uint64_t)st.st_size);
			}
		}
		if (d != NULL) {
			(void)closedir(d);
		}
	}
	return 0;
}
