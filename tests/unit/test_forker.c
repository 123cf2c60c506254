/* The forker: records in, children and their sockets out. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/log.h"
#include "local/forker.h"
#include "local/record.h"
#include "tests/unit/unit.h"

#define PATIENCE_MS 5000

struct world {
	struct event_base *base;
	struct settings settings;
	struct forker *f;
	struct forker_ops ops;
	int sock;
	bool stopped;
};

static void
turn(struct world *w)
{
	struct timespec pause = { 0, 1000000 };

	(void)event_base_loop(w->base, EVLOOP_NONBLOCK);
	(void)nanosleep(&pause, NULL);
}

/* -- the child -------------------------------------------------------------------- */

static size_t
open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	if (d == NULL) {
		return 999;
	}
	while (readdir(d) != NULL) {
		n++;
	}
	(void)closedir(d);
	return n - 3; /* ".", "..", and that of the directory */
}

/* Says who it is, then waits until its socket is closed. */
static int
child(const struct settings *settings, const char *name, int sock)
{
	char text[100], c;
	sigset_t mask;
	int n;

	(void)settings;
	if (sigprocmask(SIG_BLOCK, NULL, &mask) == -1 ||
	    sigismember(&mask, SIGTERM) != 0) {
		return 3;
	}
	n = snprintf(text, sizeof(text), "%s %ld %zu %d", name, (long)getpid(),
	    open_descriptors(), sock);
	if (n < 0 || write(sock, text, (size_t)n) != n) {
		return 4;
	}
	if (strcmp(name, "stubborn") == 0) {
		for (;;) {
			(void)pause();
		}
	}
	return read(sock, &c, 1) <= 0 ? 0 : 5;
}

/* -- the dispatcher's part ----------------------------------------------------------- */

static void
join(struct world *w)
{
	int sv[2];

	if (w->sock != -1) {
		(void)close(w->sock);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
	    sv), 0);
	w->sock = sv[0];
	forker_channel(w->f, sv[1]);
}

static void
ask(struct world *w, enum record_kind kind, uint32_t serial, const char *name)
{
	struct record r = { .kind = kind, .serial = serial };
	char b[RECORD_SIZE];

	memcpy(r.name, name, strlen(name));
	record_encode(&r, b);
	assert_int_equal(send(w->sock, b, sizeof(b), 0), sizeof(b));
}

/* The next answer and its descriptor (-1: none); false: disconnected. */
static bool
hear(struct world *w, struct record_answer *a, int *fd)
{
	char b[RECORD_SIZE + 1];
	struct iovec iov = { b, sizeof(b) };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cm;
	ssize_t n = -1;
	int i;

	for (i = 0; i < PATIENCE_MS && n == -1; i++) {
		turn(w);
		mh.msg_control = ctl.room;
		mh.msg_controllen = sizeof(ctl.room);
		n = recvmsg(w->sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	}
	assert_true(n != -1);
	if (n == 0) {
		return false;
	}
	assert_true(record_answer_decode(slice_make(b, (size_t)n), a));
	cm = CMSG_FIRSTHDR(&mh);
	*fd = -1;
	if (cm != NULL) {
		memcpy(fd, CMSG_DATA(cm), sizeof(*fd));
	}
	return true;
}

static int
expect_worker(struct world *w, uint32_t serial)
{
	struct record_answer a;
	int fd;

	assert_true(hear(w, &a, &fd));
	assert_int_equal(a.serial, serial);
	assert_int_equal(a.status, RECORD_OK);
	assert_true(fd != -1);
	return fd;
}

static void
expect_children(struct world *w, size_t n)
{
	int i;

	for (i = 0; i < PATIENCE_MS && forker_children(w->f) != n; i++) {
		turn(w);
	}
	assert_int_equal(forker_children(w->f), n);
}

/* What the child says of itself: its pid. */
static long
expect_words(int fd, const char *name)
{
	char b[100], got[50];
	ssize_t n = read(fd, b, sizeof(b) - 1);
	size_t descriptors;
	long pid;
	int sock;

	assert_true(n > 0);
	b[n] = '\0';
	assert_int_equal(sscanf(b, "%49s %ld %zu %d", got, &pid, &descriptors,
	    &sock), 4);
	assert_string_equal(got, name);
	assert_int_equal(sock, 3);
	assert_int_equal(descriptors, 4);
	return pid;
}

static void
on_stopped(void *arg)
{
	((struct world *)arg)->stopped = true;
}

static int
raise_curtain(void **state)
{
	static struct world w;

	log_setup(NULL, false);
	w = (struct world){ .sock = -1 };
	w.base = event_base_new();
	assert_non_null(w.base);
	settings_init(&w.settings);
	w.settings.local_process_limit = 50;
	w.ops = (struct forker_ops){ child, on_stopped, &w };
	w.f = forker_new(w.base, &w.settings, &w.ops);
	join(&w);
	*state = &w;
	return 0;
}

static int
drop_curtain(void **state)
{
	struct world *w = *state;

	forker_free(w->f);
	(void)close(w->sock);
	settings_clear(&w->settings);
	event_base_free(w->base);
	return 0;
}

/* -- the plays -------------------------------------------------------------------------- */

static void
makes_workers(void **state)
{
	struct world *w = *state;
	int ann, ben;

	ask(w, RECORD_WORKER, 11, "ann");
	ask(w, RECORD_WORKER, 12, "ben");
	ann = expect_worker(w, 11);
	ben = expect_worker(w, 12);
	assert_true(expect_words(ann, "ann") != expect_words(ben, "ben"));
	expect_children(w, 2);
	(void)close(ann);
	expect_children(w, 1);
	(void)close(ben);
	expect_children(w, 0);
}

static void
kills_what_is_given_up(void **state)
{
	struct world *w = *state;
	int a, b;
	long pid;

	ask(w, RECORD_WORKER, 11, "stubborn");
	ask(w, RECORD_WORKER, 12, "ann");
	a = expect_worker(w, 11);
	b = expect_worker(w, 12);
	pid = expect_words(a, "stubborn");
	ask(w, RECORD_KILL, 99, ""); /* nobody */
	ask(w, RECORD_KILL, 11, "");
	expect_children(w, 1);
	assert_int_equal(kill((pid_t)pid, 0), -1);
	(void)close(a);
	(void)close(b);
	expect_children(w, 0);
}

static void
serials_are_of_their_channel(void **state)
{
	struct world *w = *state;
	int a, b;

	ask(w, RECORD_WORKER, 11, "ann");
	a = expect_worker(w, 11);
	join(w);
	ask(w, RECORD_KILL, 11, ""); /* another dispatcher's 11 */
	ask(w, RECORD_WORKER, 11, "ben");
	b = expect_worker(w, 11);
	(void)expect_words(b, "ben");
	expect_children(w, 2);
	ask(w, RECORD_KILL, 11, "");
	expect_children(w, 1);
	(void)expect_words(a, "ann");
	(void)close(a);
	(void)close(b);
}

static void
disconnects_who_sends_garbage(void **state)
{
	struct world *w = *state;
	const struct record good = { RECORD_WORKER, 1, "ann" };
	char b[RECORD_SIZE + 1] = "";
	struct record_answer a;
	int fd;
	size_t i;
	static const size_t lengths[] = { 1, RECORD_SIZE - 1, RECORD_SIZE,
		RECORD_SIZE + 1 };

	for (i = 0; i < NELEMS(lengths); i++) {
		record_encode(&good, b);
		if (lengths[i] == RECORD_SIZE) {
			b[12] = '/';
		}
		assert_int_equal(send(w->sock, b, lengths[i], 0), lengths[i]);
		assert_false(hear(w, &a, &fd));
		assert_int_equal(forker_children(w->f), 0);
		join(w);
	}
}

#define LIMIT     1
#define PLACES    (4 * LIMIT + 64)
#define WAITING   (2 * LIMIT + 64)
#define FIRST     100 /* serial of the first that finds no place */

/* Fills all places. */
static void
crowd(struct world *w, int fds[PLACES])
{
	uint32_t i;

	w->settings.local_process_limit = LIMIT;
	for (i = 0; i < PLACES; i++) {
		ask(w, RECORD_WORKER, i, "ann");
		fds[i] = expect_worker(w, i);
	}
}

static void
leave(struct world *w, int fds[PLACES])
{
	size_t i;

	for (i = 0; i < PLACES; i++) {
		(void)close(fds[i]);
	}
	expect_children(w, 0);
}

/* Nobody is answered until a child has ended, then the first in line. */
static void
has_a_limit_and_a_line(void **state)
{
	struct world *w = *state;
	int fds[PLACES];
	uint32_t i;

	crowd(w, fds);
	for (i = 0; i < 3; i++) {
		ask(w, RECORD_WORKER, FIRST + i, i == 0 ? "ben" : "cid");
	}
	ask(w, RECORD_KILL, FIRST + 1, ""); /* is not waited for any more */
	ask(w, RECORD_KILL, 7, "");         /* obeyed though others wait */
	(void)close(fds[7]);
	fds[7] = expect_worker(w, FIRST);
	(void)expect_words(fds[7], "ben");
	assert_int_equal(forker_children(w->f), PLACES);
	(void)close(fds[8]);
	fds[8] = expect_worker(w, FIRST + 2);
	leave(w, fds);
}

static void
has_a_bounded_line(void **state)
{
	struct world *w = *state;
	struct record_answer a;
	int fds[PLACES], fd;
	uint32_t i;

	crowd(w, fds);
	for (i = 0; i <= WAITING; i++) {
		ask(w, RECORD_WORKER, FIRST + i, "ben");
		turn(w);
	}
	assert_true(hear(w, &a, &fd));
	assert_int_equal(a.serial, FIRST + WAITING);
	assert_int_equal(a.status, RECORD_BUSY);
	assert_int_equal(fd, -1);
	/* A new dispatcher asks anew: nothing is left of the old one's. */
	join(w);
	leave(w, fds);
	ask(w, RECORD_WORKER, 1, "cid");
	fd = expect_worker(w, 1);
	(void)expect_words(fd, "cid");
	assert_int_equal(forker_children(w->f), 1);
	(void)close(fd);
}

static void
refuses_the_line_at_a_stop(void **state)
{
	struct world *w = *state;
	struct record_answer a;
	int fds[PLACES], fd;

	crowd(w, fds);
	ask(w, RECORD_WORKER, FIRST, "ben");
	turn(w);
	forker_stop(w->f, 5000);
	assert_true(hear(w, &a, &fd));
	assert_int_equal(a.serial, FIRST);
	assert_int_equal(a.status, RECORD_BUSY);
	leave(w, fds);
	assert_true(w->stopped);
}

static void
survives_an_unread_answer(void **state)
{
	struct world *w = *state;
	uint32_t i;

	/* More than the socket holds; all are answered in the end. */
	w->settings.local_process_limit = 1000;
	for (i = 0; i < 400; i++) {
		ask(w, RECORD_WORKER, i, "ann");
		turn(w);
	}
	for (i = 0; i < 400; i++) {
		(void)close(expect_worker(w, i));
	}
	expect_children(w, 0);
}

static void
stops(void **state)
{
	struct world *w = *state;
	int a, b, i;

	ask(w, RECORD_WORKER, 11, "stubborn");
	ask(w, RECORD_WORKER, 12, "ann");
	a = expect_worker(w, 11);
	b = expect_worker(w, 12);
	(void)expect_words(a, "stubborn");
	(void)expect_words(b, "ann");
	forker_stop(w->f, 200);
	(void)close(b);
	expect_children(w, 1);
	for (i = 0; i < PATIENCE_MS && !w->stopped; i++) {
		turn(w);
	}
	assert_true(w->stopped);
	assert_int_equal(forker_children(w->f), 0);
	(void)close(a);
}

#define PLAY(f) cmocka_unit_test_setup_teardown(f, raise_curtain, drop_curtain)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(makes_workers),
		PLAY(kills_what_is_given_up),
		PLAY(serials_are_of_their_channel),
		PLAY(disconnects_who_sends_garbage),
		PLAY(has_a_limit_and_a_line),
		PLAY(has_a_bounded_line),
		PLAY(refuses_the_line_at_a_stop),
		PLAY(survives_an_unread_answer),
		PLAY(stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
