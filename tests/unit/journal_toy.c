#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "common/xmalloc.h"
#include "tests/unit/journal_toy.h"

#define STILL_S 3

enum { KIND_PUT = 1, KIND_DROP };

/* -- the ledger ------------------------------------------------------------------ */

void
toy_ledger_line(struct toy_ledger *l, const char *line)
{
	unsigned id;
	char what;

	if (sscanf(line, "%c %u", &what, &id) != 2 || id >= TOY_THINGS) {
		abort();
	}
	l->things[id] = what == 'p' ? TOY_TRIED : what == 'P' ? TOY_PUT :
	    what == 'd' ? TOY_DROPPING : TOY_DROPPED;
}

static void
trail(struct toy *t, char what, unsigned id)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "%c %u\n", what, id);

	toy_ledger_line(&t->ledger, line);
	if (t->pipe != -1 && write(t->pipe, line, (size_t)n) != n) {
		abort();
	}
	line[n - 1] = '\0';
	io_promise(line);
}

/* -- things ------------------------------------------------------------------------ */

static size_t
size_of(unsigned id)
{
	static const size_t sizes[] = { 70000, 10, 33000, 4019, 4020, 90000, 0,
		60000 };

	return sizes[id % NELEMS(sizes)] + (id % 16 == 5 ? 5000 : 0);
}

static char
octet_of(unsigned id, size_t at)
{
	return (char)(unsigned char)((id * 31 + at * 7 + at / 251) & 255);
}

static char *
body_of(unsigned id)
{
	size_t i, n = size_of(id);
	char *p = xmalloc(n + 1);

	for (i = 0; i < n; i++) {
		p[i] = octet_of(id, i);
	}
	return p;
}

static bool
is_body_of(unsigned id, struct slice body)
{
	size_t i;

	for (i = 0; i < body.n && body.p[i] == octet_of(id, i); i++) {
	}
	return body.n == size_of(id) && i == body.n;
}

struct flying {
	struct journal_entry e;
	struct toy *t;
	unsigned id;
	char what; /* P, D; M: put again */
};

static void
on_done(struct journal_entry *e)
{
	struct flying *f = e->arg;
	struct toy *t = f->t;
	struct toy_thing *thing = &t->things[f->id];

	t->flying--;
	t->still = 0;
	t->pressed = true;
	thing->moving = thing->moving && f->what != 'M';
	if (e->error != 0) {
		free(f);
		return;
	}
	if (e->lsn <= t->last_lsn) {
		t->wrong = "not in order";
	}
	t->last_lsn = e->lsn;
	if (f->what == 'D') {
		thing->live = false;
	} else {
		thing->segment = e->lsn >> 32;
	}
	if (f->what != 'M') {
		trail(t, f->what, f->id);
	}
	free(f);
}

static void
append(struct toy *t, unsigned id, char what, enum journal_class c)
{
	struct flying *f = xcalloc(1, sizeof(*f));
	char *body = what == 'D' ? NULL : body_of(id);
	const struct slice part = slice_make(body, size_of(id));

	f->e.done = on_done;
	f->e.arg = f;
	f->t = t;
	f->id = id;
	f->what = what;
	t->flying++;
	journal_append(t->j, &f->e, c, what == 'D' ? KIND_DROP : KIND_PUT, id,
	    &part, what == 'D' ? 0 : 1);
	free(body);
}

void
toy_put(struct toy *t, unsigned id, enum journal_class c)
{
	trail(t, 'p', id);
	t->things[id] = (struct toy_thing){ .live = true,
		.segment = UINT64_MAX };
	append(t, id, 'P', c);
}

void
toy_drop(struct toy *t, unsigned id, enum journal_class c)
{
	trail(t, 'd', id);
	t->things[id].dropping = true;
	append(t, id, 'D', c);
}

static void
set_floor(struct toy *t)
{
	uint64_t floor = t->last_lsn >> 32;
	unsigned id;

	for (id = 0; id < TOY_THINGS; id++) {
		if (t->things[id].live && t->things[id].segment < floor) {
			floor = t->things[id].segment;
		}
	}
	journal_set_floor(t->j, floor);
}

/* What the oldest segment holds is put again, when there are more than two. */
static void
relieve(struct toy *t)
{
	struct journal_usage u;
	unsigned id;

	set_floor(t);
	journal_usage(t->j, &u);
	if (u.current <= u.oldest + 1 && u.waiting == 0) {
		return;
	}
	for (id = 0; id < TOY_THINGS; id++) {
		struct toy_thing *thing = &t->things[id];

		if (thing->live && !thing->moving && !thing->dropping &&
		    thing->segment == u.oldest) {
			thing->moving = true;
			append(t, id, 'M', JOURNAL_RESERVED);
		}
	}
}

static void
on_second(evutil_socket_t fd, short what, void *arg)
{
	struct toy *t = arg;

	(void)fd;
	(void)what;
	if (++t->still >= STILL_S && t->hopeless) {
		t->failed = EIO; /* a full ring stands until a segment can be made */
	}
}

static void
turn(struct toy *t)
{
	static const struct timeval second = { 1, 0 };
	struct event *clock = event_new(t->base, -1, EV_PERSIST, on_second, t);

	t->still = 0;
	if (clock == NULL || event_add(clock, &second) == -1) {
		abort();
	}
	while (t->flying > 0 && t->failed == 0) {
		if (event_base_loop(t->base, EVLOOP_ONCE) == -1) {
			abort();
		}
		if (t->pressed && t->failed == 0) {
			t->pressed = false;
			relieve(t);
		}
	}
	event_free(clock);
}

void
toy_wait(struct toy *t)
{
	turn(t);
	if (t->failed == 0) {
		relieve(t);
		turn(t);
	}
}

/* -- open and close ------------------------------------------------------------------- */

void
toy_make(struct toy *t)
{
	const char *tmp = getenv("TMPDIR");

	*t = (struct toy){ .dir = -1, .pipe = -1 };
	if (snprintf(t->path, sizeof(t->path), "%s/journal-toy.XXXXXX",
	    tmp != NULL ? tmp : "/tmp") >= (int)sizeof(t->path) ||
	    mkdtemp(t->path) == NULL) {
		abort();
	}
}

static size_t
each_file(const struct toy *t, bool bad, bool remove)
{
	struct dirent *de;
	char path[512];
	size_t n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/journal", t->path);
	d = opendir(path);
	while (d != NULL && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 ||
		    strcmp(de->d_name, "..") == 0) {
			continue;
		}
		n += bad ? strstr(de->d_name, ".bad") != NULL : 1;
		if (remove && unlinkat(dirfd(d), de->d_name, 0) == -1) {
			abort();
		}
	}
	if (d != NULL) {
		(void)closedir(d);
	}
	return n;
}

size_t
toy_files(const struct toy *t, bool bad)
{
	return each_file(t, bad, false);
}

void
toy_remove(struct toy *t)
{
	char path[512];

	(void)each_file(t, false, true);
	(void)snprintf(path, sizeof(path), "%s/journal", t->path);
	(void)rmdir(path);
	if (rmdir(t->path) == -1) {
		abort();
	}
}

static void
on_entry(void *arg, uint64_t lsn, uint8_t kind, uint64_t qid,
    struct slice body)
{
	struct toy *t = arg;

	t->read++;
	if (qid >= TOY_THINGS || (kind != KIND_PUT && kind != KIND_DROP)) {
		t->wrong = "an entry that nobody has made";
	} else if (kind == KIND_PUT) {
		t->things[qid].live = true;
		t->things[qid].segment = lsn >> 32;
		if (!is_body_of((unsigned)qid, body)) {
			t->wrong = "another body";
		}
	} else {
		t->things[qid].live = false;
	}
}

static void
on_failed(void *arg, int error)
{
	((struct toy *)arg)->failed = error;
}

static void
on_pressure(void *arg)
{
	((struct toy *)arg)->pressed = true;
}

static bool
copy_things(struct toy *t)
{
	uint64_t lsn;
	unsigned id;

	for (id = 0; id < TOY_THINGS; id++) {
		char *body = t->things[id].live ? body_of(id) : NULL;
		const struct slice part = slice_make(body, size_of(id));
		const int ret = body == NULL ? 0 : journal_copy(t->j, KIND_PUT,
		    id, &part, 1, &lsn);

		free(body);
		if (ret == -1) {
			return false;
		}
		if (t->things[id].live) {
			t->things[id].segment = lsn >> 32;
		}
	}
	return true;
}

static bool
go_on(struct toy *t)
{
	struct toy_thing were[TOY_THINGS];

	memcpy(were, t->things, sizeof(were));
	if (copy_things(t) && journal_start(t->j) == 0) {
		return true;
	}
	memcpy(t->things, were, sizeof(were));
	return journal_is_full(errno) && journal_keep(t->j) == 0 &&
	    journal_start(t->j) == 0;
}

bool
toy_open(struct toy *t)
{
	struct journal_config cfg = { .segment_size = JOURNAL_SEGMENT_MIN,
		.segments = TOY_SEGMENTS };
	int saved;

	memset(t->things, 0, sizeof(t->things));
	t->read = t->flying = 0;
	t->last_lsn = 0;
	t->failed = 0;
	t->j = NULL;
	t->dir = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->base = event_base_new();
	cfg.spool_fd = t->dir;
	if (t->dir == -1 || t->base == NULL) {
		abort();
	}
	if (journal_open(t->base, &cfg, on_entry, t, &t->j) == -1 ||
	    !go_on(t)) {
		saved = errno;
		toy_close(t, false);
		errno = saved;
		return false;
	}
	journal_on_failed(t->j, on_failed, t);
	journal_on_pressure(t->j, on_pressure, t);
	return true;
}

void
toy_close(struct toy *t, bool at_rest)
{
	if (at_rest && t->failed == 0) {
		journal_set_floor(t->j, UINT64_MAX);
	}
	if (t->j != NULL) {
		journal_close(t->j);
	}
	t->j = NULL;
	event_base_free(t->base);
	(void)close(t->dir);
}

const char *
toy_check(const struct toy *t)
{
	unsigned id;

	for (id = 0; t->wrong == NULL && id < TOY_THINGS; id++) {
		switch (t->ledger.things[id]) {
		case TOY_NEVER:
			if (t->things[id].live) {
				return "a thing that was never put";
			}
			break;
		case TOY_PUT:
			if (!t->things[id].live) {
				return "a thing that was promised is not there";
			}
			break;
		case TOY_DROPPED:
			if (t->things[id].live) {
				return "a thing is back that was dropped";
			}
			break;
		case TOY_TRIED:
		case TOY_DROPPING:
			break;
		}
	}
	return t->wrong;
}

/* -- stories ------------------------------------------------------------------------ */

/* False: the story ends here, closed. */
static bool
again(struct toy *t, bool stay)
{
	int tries;

	for (tries = 0; tries < 3; tries++) {
		if (toy_open(t)) {
			if (t->wrong == NULL) {
				t->wrong = toy_check(t);
			}
			return true;
		}
		if (stay) {
			return false;
		}
	}
	t->wrong = "it cannot be opened";
	return false;
}

static bool
restart(struct toy *t, bool stay)
{
	toy_close(t, false);
	return again(t, stay);
}

/* After toy_wait(): go on, with a new start if need be. */
static bool
goes_on(struct toy *t, bool stay)
{
	return t->failed == 0 || restart(t, stay);
}

static bool
drop_all(struct toy *t, bool stay)
{
	unsigned id;

	for (id = 0; id < TOY_THINGS; id++) {
		if (t->things[id].live) {
			toy_drop(t, id, JOURNAL_RESERVED);
		}
	}
	toy_wait(t);
	return goes_on(t, stay);
}

static void
finish(struct toy *t, bool stay)
{
	int tries;

	/* again when the last was hit */
	for (tries = 0; tries < 3; tries++) {
		unsigned id, live = 0;

		if (!drop_all(t, stay)) {
			return;
		}
		for (id = 0; id < TOY_THINGS; id++) {
			live += t->things[id].live;
		}
		if (live == 0) {
			break;
		}
	}
	toy_close(t, true);
}

void
toy_serial(struct toy *t, bool stay)
{
	unsigned id;

	for (id = 1; id <= 40; id++) {
		toy_put(t, id, JOURNAL_NEW);
		toy_wait(t);
		if (id > 4 && id % 4 != 0 && t->failed == 0) {
			toy_drop(t, id - 3, JOURNAL_RESERVED);
			toy_wait(t);
		}
		if (!goes_on(t, stay) ||
		    (id % 17 == 0 && !restart(t, stay))) {
			return;
		}
	}
	finish(t, stay);
}

void
toy_crowd(struct toy *t, bool stay)
{
	unsigned id, i;

	for (id = 1; id + 8 < 80; id += 8) {
		for (i = 0; i < 8; i++) {
			toy_put(t, id + i, JOURNAL_NEW);
			if (id > 8 && i != 3) {
				toy_drop(t, id - 8 + i, i % 2 == 0 ?
				    JOURNAL_COMPANY : JOURNAL_RESERVED);
			} else if (id > 24) {
				toy_drop(t, id - 24 + i, JOURNAL_RESERVED);
			}
			if (i % 3 == 2 && t->failed == 0) {
				(void)event_base_loop(t->base, EVLOOP_NONBLOCK);
			}
		}
		toy_wait(t);
		if (!goes_on(t, stay) ||
		    ((id == 33 || id == 41) && !restart(t, stay))) {
			return;
		}
	}
	finish(t, stay);
}

void
toy_disk_full(bool full)
{
	io_disk_full(full, "journal.copy.write");
}

/* All of it fits, so that nothing waits for room that never comes. */
void
toy_full(struct toy *t, bool stay)
{
	unsigned id, round;

	for (id = 1; id <= 7; id++) {
		toy_put(t, id, JOURNAL_NEW);
		toy_wait(t);
	}
	toy_disk_full(true);
	for (round = 0; round < 3; round++) {
		if (!restart(t, stay)) {
			return;
		}
		for (; id <= 10 + 3 * round; id++) {
			toy_put(t, id, id % 2 == 0 ? JOURNAL_NEW :
			    JOURNAL_RESERVED);
			toy_drop(t, id - 5, JOURNAL_COMPANY);
			if (id % 3 != 0) {
				toy_wait(t);
			}
		}
		toy_wait(t);
		if (!goes_on(t, stay)) {
			return;
		}
	}
	toy_disk_full(false);
	if (restart(t, stay)) {
		finish(t, stay);
	}
}
