#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/unit.h"
#include "tests/unit/maildir_kit.h"

/* -- the stage ---------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	(void)ftw;
	return remove(path);
}

void
empty_home(struct world *w)
{
	(void)close(w->home);
	(void)nftw(w->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(w->path, 0700), 0);
	w->home = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w->home != -1);
}

int
raise_curtain(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	(void)umask(022);
	/* In memory where there is such a place: thousands of flushes. */
	assert_true(snprintf(w.path, sizeof(w.path), "%s/vrdmailXXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") <
	    (int)sizeof(w.path));
	assert_non_null(mkdtemp(w.path));
	w.home = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w.home != -1);
	maildir_init(&w.box, w.home, "Maildir/", SL("mx.test"));
	mbox_init(&w.mbox, w.home, "ann", "mail/ann");
	*state = &w;
	return 0;
}

int
raise_curtain_of_mbox(void **state)
{
	struct world *w;

	assert_int_equal(raise_curtain(state), 0);
	w = *state;
	w->is_mbox = true;
	start_anew(w);
	return 0;
}

int
drop_curtain(void **state)
{
	struct world *w = *state;

	io_plan(NULL);
	maildir_clear(&w->box);
	mbox_clear(&w->mbox);
	(void)close(w->home);
	return nftw(w->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct delivery
message(uint64_t qid, const char *content)
{
	return (struct delivery){ .qid = qid,
		.arrived_us = 1700000000000042u, .fd = -1,
		.reverse_path = SL("s@y.test"), .address = SL("ann@x.test"),
		.original = SL("ann@x.test"), .content = slice_of(content),
		.size = strlen(content) };
}

/* A batch; the outcomes are in w->out. */
void
deliver(struct world *w, const struct delivery *msgs, size_t n)
{
	struct pending ps[DELIVERY_BATCH];
	size_t i;

	for (i = 0; i < n; i++) {
		if (w->is_mbox) {
			mbox_write(&w->mbox, &msgs[i], &ps[i]);
		} else {
			maildir_write(&w->box, &msgs[i], &ps[i]);
		}
	}
	if (w->is_mbox) {
		mbox_finish(&w->mbox, ps, n);
	} else {
		maildir_finish(&w->box, ps, n);
	}
	for (i = 0; i < n; i++) {
		w->out[i] = ps[i].outcome;
		pending_clear(&ps[i]);
	}
}

void
deliver_one(struct world *w, const struct delivery *msg, enum fate want)
{
	deliver(w, msg, 1);
	if (w->out[0].fate != want) {
		fail_msg("fate %d: %s %s", w->out[0].fate, w->out[0].esc,
		    w->out[0].text);
	}
}

/* A process of its own, as a worker that starts anew. */
void
start_anew(struct world *w)
{
	maildir_clear(&w->box);
	maildir_init(&w->box, w->home, "Maildir/", SL("mx.test"));
	mbox_clear(&w->mbox);
	mbox_init(&w->mbox, w->home, "ann", "mail/ann");
	w->mbox.lock.wait_ms = 20;
}

/* Names in a directory; the first in `name' when that is not NULL. */
size_t
count(const struct world *w, const char *sub, char *name, size_t cap)
{
	char path[128];
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	assert_true(snprintf(path, sizeof(path), "%s/%s", w->path, sub) < 128);
	d = opendir(path);
	if (d == NULL) {
		return 0;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.') {
			if (n++ == 0 && name != NULL) {
				assert_true(snprintf(name, cap, "%s",
				    e->d_name) < (int)cap);
			}
		}
	}
	(void)closedir(d);
	return n;
}

void
read_path(const struct world *w, const char *path, struct strbuf *b)
{
	int fd = openat(w->home, path, O_RDONLY | O_NOFOLLOW);
	ssize_t r;

	strbuf_reset(b);
	assert_true(fd != -1);
	while ((r = read(fd, strbuf_room(b, 65536), 65536)) > 0) {
		strbuf_filled(b, (size_t)r);
	}
	assert_int_equal(r, 0);
	(void)close(fd);
}

void
expect_file(const struct world *w, const char *path, struct slice want)
{
	struct strbuf b;

	strbuf_init(&b, 0);
	read_path(w, path, &b);
	if (!slice_eq(strbuf_slice(&b), want)) {
		fail_msg("%.*s\ninstead of\n%.*s", SLF(strbuf_slice(&b)),
		    SLF(want));
	}
	strbuf_clear(&b);
}

/* The only message in new/ is `want'. */
void
expect_mail(const struct world *w, struct slice want)
{
	char name[200], path[256];

	assert_int_equal(count(w, "Maildir/new", name, sizeof(name)), 1);
	assert_int_equal(count(w, "Maildir/tmp", NULL, 0), 0);
	assert_true(snprintf(path, sizeof(path), "Maildir/new/%s", name) < 256);
	expect_file(w, path, want);
}

void
touch(const struct world *w, const char *path, const char *text)
{
	int fd = openat(w->home, path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd != -1);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}
