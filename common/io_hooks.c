/*
 * Counting, killing, failing and recording of file operations, for tests only.
 * One mutex: the pool's threads come here too. While recording it is held
 * during the operation itself, so that the record is in the true order.
 */
#include "config.h"

#include "common/io_hooks.h"

#ifdef VEREDUS_HOOKS

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/xmalloc.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct io_plan plan;
static unsigned count;
static const char *hit;
static struct io_hit *watched;
static bool recording;
static bool disk_full;
static const char *disk_full_also;
static struct io_record *records;
static size_t nrecords;

_Noreturn void
io_hook_die(void)
{
	/* tgkill of oneself: the one signal that every wall lets through. */
	(void)raise(SIGKILL);
	_exit(128 + SIGKILL);
}

bool
io_hook_syncs(void)
{
	static int syncs = -1; /* the same for every thread that comes first */
	const char *text;

	if (__atomic_load_n(&syncs, __ATOMIC_RELAXED) == -1) {
		text = getenv("VEREDUS_SYNC");
		__atomic_store_n(&syncs, text == NULL ||
		    strcmp(text, "no") != 0, __ATOMIC_RELAXED);
	}
	return __atomic_load_n(&syncs, __ATOMIC_RELAXED) != 0;
}

bool
io_build_has_hooks(void)
{
	return true;
}

void
io_plan(const struct io_plan *p)
{
	(void)pthread_mutex_lock(&lock);
	plan = p != NULL ? *p : (struct io_plan){ .kind = IO_PLAN_NONE };
	count = 0;
	hit = NULL;
	if (watched != NULL && p != NULL) {
		*watched = (struct io_hit){ .half = false };
	}
	(void)pthread_mutex_unlock(&lock);
}

void
io_disk_full(bool full, const char *also)
{
	(void)pthread_mutex_lock(&lock);
	disk_full = full;
	disk_full_also = also;
	(void)pthread_mutex_unlock(&lock);
}

unsigned
io_count(void)
{
	unsigned n;

	(void)pthread_mutex_lock(&lock);
	n = count;
	(void)pthread_mutex_unlock(&lock);
	return n;
}

const char *
io_plan_hit(void)
{
	const char *s;

	(void)pthread_mutex_lock(&lock);
	s = hit;
	(void)pthread_mutex_unlock(&lock);
	return s;
}

void
io_plan_watch(struct io_hit *out)
{
	(void)pthread_mutex_lock(&lock);
	watched = out;
	(void)pthread_mutex_unlock(&lock);
}

static void
note_hit(const struct io_call *c)
{
	if (watched != NULL && hit == NULL &&
	    snprintf(watched->site, sizeof(watched->site), "%s", c->site) >=
	    (int)sizeof(watched->site)) {
		abort(); /* a longer name needs more room */
	}
	if (watched != NULL && hit == NULL) {
		watched->half = c->half;
	}
	hit = c->site;
}

static void
apply_plan(struct io_call *c)
{
	bool now = count == plan.n || (plan.stay && count > plan.n);

	if (plan.kind == IO_PLAN_NONE || !now) {
		return;
	}
	c->half = c->op == IO_WRITE &&
	    (plan.kind == IO_PLAN_TORN || plan.kind == IO_PLAN_SHORT);
	note_hit(c);
	switch (plan.kind) {
	case IO_PLAN_TORN:
		c->die = c->half;
		if (!c->half) {
			io_hook_die();
		}
		return;
	case IO_PLAN_KILL:
		io_hook_die();
	case IO_PLAN_FAIL:
		c->error = plan.error;
		return;
	case IO_PLAN_SHORT:
		c->error = plan.error;
		return;
	case IO_PLAN_NONE:
		return;
	}
}

/* Does the plan count it? */
static bool
counts(const struct io_call *c)
{
	if (plan.only != NULL &&
	    strncmp(c->site, plan.only, strlen(plan.only)) != 0) {
		return false;
	}
	return !plan.changes || (c->op != IO_CLOSE && c->op != IO_MKDIR &&
	    (c->op != IO_OPEN || (c->flags & O_CREAT) != 0));
}

static bool
takes_room(const struct io_call *c)
{
	struct stat st;
	off_t at;

	if (disk_full_also != NULL &&
	    strncmp(c->site, disk_full_also, strlen(disk_full_also)) == 0) {
		return true;
	}
	if (c->op == IO_OPEN) {
		return (c->flags & O_CREAT) != 0 && fstatat(c->dir, c->name,
		    &st, AT_SYMLINK_NOFOLLOW) == -1;
	}
	at = c->op != IO_WRITE ? -1 : c->offset >= 0 ? c->offset :
	    lseek(c->fd, 0, SEEK_CUR);
	return at >= 0 && fstat(c->fd, &st) == 0 &&
	    at + (off_t)c->n > st.st_size;
}

void
io_hook_before(struct io_call *c)
{
	(void)pthread_mutex_lock(&lock);
	if (counts(c)) {
		count++;
		apply_plan(c);
	}
	if (disk_full && c->error == 0 && !c->half && takes_room(c)) {
		c->error = ENOSPC;
	}
	if (!recording) {
		(void)pthread_mutex_unlock(&lock);
	}
}

int
io_hook_refuse(struct io_call *c)
{
	errno = c->error;
	c->error = 0;
	return -1;
}

static ino_t
inode_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static struct io_record *
add_record(enum io_op op, const char *site)
{
	if ((nrecords & (nrecords - 1)) == 0) {
		records = xreallocarray(records, nrecords == 0 ? 1 :
		    nrecords * 2, sizeof(*records));
	}
	records[nrecords] = (struct io_record){ .op = op, .site = site };
	return &records[nrecords++];
}

static void
set_name(char out[64], const char *name)
{
	if (name != NULL && snprintf(out, 64, "%s", name) >= 64) {
		abort(); /* a test with longer names needs more room */
	}
}

/* The octets, read back from the file: `iov' was used up by the writing. */
static void
copy_data(struct io_record *r, const struct io_call *c)
{
	size_t n = c->n;
	char path[64];
	int fd;

	r->n = n;
	r->data = xmalloc(n > 0 ? n : 1);
	r->offset = c->offset >= 0 ? c->offset :
	    lseek(c->fd, 0, SEEK_CUR) - (off_t)n;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", c->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1 || pread(fd, r->data, n, r->offset) != (ssize_t)n) {
		abort();
	}
	(void)close(fd);
}

static void
record(struct io_call *c)
{
	struct io_record *r;

	if (c->op == IO_CLOSE || (c->op == IO_OPEN && c->fd == -1)) {
		return;
	}
	r = add_record(c->op, c->site);
	r->dir = inode_of(c->dir);
	r->dir2 = c->name2 != NULL ? inode_of(c->dir2) : 0;
	set_name(r->name, c->name);
	set_name(r->name2, c->name2);
	r->file = inode_of(c->fd);
	r->offset = c->offset;
	if (c->op == IO_WRITE) {
		copy_data(r, c);
	}
	if (c->op == IO_MKDIR) {
		struct stat st;

		if (fstatat(c->dir, c->name, &st, 0) == 0) {
			r->file = st.st_ino;
		}
	}
}

int
io_hook_after(struct io_call *c, int ret)
{
	int saved = errno;

	/* `recording' was read under the lock before, and changes only when no
	   operation runs. */
	if (recording) {
		if (ret != -1) {
			record(c);
		}
		(void)pthread_mutex_unlock(&lock);
	}
	errno = saved;
	return ret;
}

void
io_promise(const char *what)
{
	(void)pthread_mutex_lock(&lock);
	if (recording) {
		set_name(add_record(IO_PROMISE, "promise")->name, what);
	}
	(void)pthread_mutex_unlock(&lock);
}

void
io_record_start(void)
{
	(void)pthread_mutex_lock(&lock);
	recording = true;
	records = NULL;
	nrecords = 0;
	(void)pthread_mutex_unlock(&lock);
}

struct io_record *
io_record_stop(size_t *n)
{
	struct io_record *r;

	(void)pthread_mutex_lock(&lock);
	recording = false;
	r = records;
	*n = nrecords;
	records = NULL;
	nrecords = 0;
	(void)pthread_mutex_unlock(&lock);
	return r;
}

void
io_records_free(struct io_record *r, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		free(r[i].data);
	}
	free(r);
}

/* -- from the environment -------------------------------------------------- */

static bool
plan_error(struct slice name, int *out)
{
	static const struct {
		const char *name;
		int error;
	} rows[] = {
		{ "ENOSPC", ENOSPC },
		{ "EIO", EIO },
		{ "EDQUOT", EDQUOT },
		{ "EMFILE", EMFILE },
		{ "ENFILE", ENFILE },
		{ "EINTR", EINTR },
		{ "EROFS", EROFS },
	};
	size_t i;

	for (i = 0; i < NELEMS(rows); i++) {
		if (slice_eq(name, slice_of(rows[i].name))) {
			*out = rows[i].error;
			return true;
		}
	}
	return false;
}

static bool
plan_kind(struct slice kind, struct io_plan *p)
{
	if (slice_eq(kind, SL("kill"))) {
		p->kind = IO_PLAN_KILL;
	} else if (slice_eq(kind, SL("torn"))) {
		p->kind = IO_PLAN_TORN;
	} else if (slice_eq(kind, SL("fail"))) {
		p->kind = IO_PLAN_FAIL;
	} else {
		return false;
	}
	return true;
}

static bool
plan_parse(struct slice s, const char *program, struct io_plan *p)
{
	struct slice kind, name, n, error;
	uint64_t number;

	if (!slice_word(&s, ":", &kind) || !slice_word(&s, ":", &name) ||
	    !slice_word(&s, ":", &n) || !slice_eq(name, slice_of(program)) ||
	    !plan_kind(kind, p) || !slice_number(n, 1u << 30, &number)) {
		return false;
	}
	p->n = (unsigned)number;
	return p->kind != IO_PLAN_FAIL || (slice_word(&s, ":", &error) &&
	    plan_error(error, &p->error));
}

void
io_plan_from_env(const char *program)
{
	const char *text = getenv("VEREDUS_IO_PLAN");
	const char *once = getenv("VEREDUS_IO_ONCE");
	struct io_plan p = { .kind = IO_PLAN_NONE };
	int fd;

	if (text == NULL || !plan_parse(slice_of(text), program, &p)) {
		return;
	}
	if (once != NULL) {
		fd = open(once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd == -1) {
			return;
		}
		(void)close(fd);
	}
	io_plan(&p);
}

#endif
