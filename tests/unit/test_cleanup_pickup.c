/* The drop directory, the questions to `users', and the control verbs. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "cleanup/control.h"
#include "cleanup/pickup.h"
#include "cleanup/resolving.h"
#include "common/crc32c.h"
#include "common/drop.h"
#include "common/qid.h"
#include "common/siphash.h"
#include "tests/unit/cleanup_world.h"

#define TEXT "Subject: x\r\n\r\nhello\r\n"

/* -- the drop directory ------------------------------------------------------ */

static void
make_file(struct strbuf *b, const char *reverse_path, const char *rcpts,
    struct slice content)
{
	struct strbuf list;
	struct drop_head h = { .reverse_path = slice_of(reverse_path) };
	struct slice rest = slice_of(rcpts), rcpt;

	strbuf_init(&list, 0);
	while (slice_word(&rest, " ", &rcpt)) {
		assert_true(drop_rcpt_add(&list, rcpt));
		h.nrcpts++;
	}
	h.rcpts = strbuf_slice(&list);
	assert_true(drop_head_encode(&h, b));
	(void)strbuf_add_slice(b, content);
	drop_tail_encode(b->n, crc32c(0, b->p, b->n), b);
	strbuf_clear(&list);
}

static void
start_pickup(struct world *w)
{
	int dirfd = -1, inotify_fd = -1;

	assert_int_equal(pickup_open(w->dirfd, geteuid(), getegid(), &dirfd,
	    &inotify_fd), 0);
	assert_true(inotify_fd != -1);
	w->pg.pickup = pickup_new(&w->pg, dirfd, inotify_fd);
}

/* As sendmail(8) does: a hidden name first. */
static void
drop(struct world *w, const char *name, struct slice file)
{
	char temp[128], final[128];
	int fd;

	(void)snprintf(temp, sizeof(temp), "%s/drop/.%s", w->dir, name);
	(void)snprintf(final, sizeof(final), "%s/drop/%s", w->dir, name);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL, 0640);
	assert_true(fd != -1);
	assert_int_equal(write(fd, file.p, file.n), (ssize_t)file.n);
	assert_int_equal(close(fd), 0);
	assert_int_equal(rename(temp, final), 0);
}

static bool
is_there(struct world *w, const char *name)
{
	char path[128];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/drop/%s", w->dir, name);
	return lstat(path, &st) == 0;
}

#define NAME(digit) "0000000000000000000000000000000" digit

static void
one_file(void **state)
{
	struct world w;
	struct strbuf b;
	struct got *g;
	struct slice page, c;
	struct rcpt_item item;
	struct stat st;
	bool bad;

	(void)state;
	world_begin(&w, "");
	start_pickup(&w);
	assert_int_equal(fstatat(w.dirfd, "drop", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 03733);
	strbuf_init(&b, 0);
	make_file(&b, "me@example.org", "ann@example.org bob", SL(TEXT));
	drop(&w, NAME("1"), strbuf_slice(&b));
	peer_send(&w.qmgr, IPC_TAKE, 1, "u", (uint64_t)5);
	g = peer_next(&w, &w.qmgr, IPC_ENTRY);
	assert_string_equal(g->s[8].p, "me@example.org");
	assert_true((g->u[3] & CONTENT_LOCAL) != 0);
	page = strbuf_slice(&g->s[9]);
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.next_hop, "ann");
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.next_hop, "bob");
	peer_send(&w.local, IPC_FETCH, 1, "uu", g->u[0],
	    siphash_cookie(w.pg.cookie_key, g->u[0]));
	c = strbuf_slice(&peer_next(&w, &w.local, IPC_FETCHED)->s[2]);
	assert_memory_equal(c.p, "Received: by mx.example.org (Veredus, from "
	    "uid ", 47);
	assert_memory_equal(c.p + c.n - 11, "\r\n\r\nhello\r\n", 11);
	world_wait(&w, !is_there(&w, NAME("1")));
	strbuf_clear(&b);
	world_end(&w);
}

static void
bad_files(void **state)
{
	struct world w;
	struct strbuf b;
	char path[160], other[160];

	(void)state;
	world_begin(&w, "message_size_limit = 5000\n");
	assert_int_equal(mkdirat(w.dirfd, "drop", 0700), 0);
	strbuf_init(&b, 0);
	make_file(&b, "", "ann", SL(TEXT));
	b.p[b.n - 20] ^= 1;
	drop(&w, NAME("1"), strbuf_slice(&b)); /* its checksum */
	drop(&w, NAME("2"), SL("")); /* empty */
	strbuf_reset(&b);
	make_file(&b, "", "ann", SL("A: b\n\nbare\n"));
	drop(&w, NAME("3"), strbuf_slice(&b));
	strbuf_reset(&b);
	make_file(&b, "", "", SL(TEXT));
	drop(&w, NAME("4"), strbuf_slice(&b)); /* for nobody */
	(void)snprintf(path, sizeof(path), "%s/drop/" NAME("5"), w.dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	(void)snprintf(path, sizeof(path), "%s/drop/" NAME("6"), w.dir);
	assert_int_equal(mkfifo(path, 0666), 0);
	(void)snprintf(path, sizeof(path), "%s/drop/" NAME("7"), w.dir);
	assert_int_equal(mkdir(path, 0777), 0);
	strbuf_reset(&b);
	make_file(&b, "", "ann", SL(TEXT));
	drop(&w, NAME("8"), strbuf_slice(&b)); /* good but for its links */
	(void)snprintf(path, sizeof(path), "%s/drop/" NAME("8"), w.dir);
	(void)snprintf(other, sizeof(other), "%s/drop/link", w.dir);
	assert_int_equal(link(path, other), 0);
	strbuf_reset(&b);
	while (b.n < 6000) {
		(void)strbuf_add_str(&b, "A: lines and lines and lines\r\n");
	}
	{
		struct strbuf large;

		strbuf_init(&large, 0);
		make_file(&large, "", "ann", strbuf_slice(&b));
		drop(&w, NAME("9"), strbuf_slice(&large)); /* 552 */
		strbuf_clear(&large);
	}
	strbuf_reset(&b);
	make_file(&b, "", "ann", SL(TEXT));
	drop(&w, NAME("a"), strbuf_slice(&b)); /* the one that is fine */
	start_pickup(&w);
	world_wait(&w, !is_there(&w, NAME("a")));
	world_wait(&w, is_there(&w, NAME("9") ".bad"));
	world_settle(&w);
	assert_int_equal(spool_count(w.pg.spool), 1);
	assert_true(is_there(&w, NAME("1") ".bad"));
	assert_true(is_there(&w, NAME("2") ".bad"));
	assert_true(is_there(&w, NAME("3") ".bad"));
	assert_true(is_there(&w, NAME("4") ".bad"));
	assert_false(is_there(&w, NAME("5")) || is_there(&w, NAME("5") ".bad"));
	assert_false(is_there(&w, NAME("6")) || is_there(&w, NAME("6") ".bad"));
	assert_true(is_there(&w, NAME("7") ".bad"));
	assert_true(is_there(&w, NAME("8") ".bad"));
	strbuf_clear(&b);
	world_end(&w);
}

/* Nobody waits for a reply: what is refused for good is seen in the queue. */
static void
a_refused_recipient_is_kept_with_its_reason(void **state)
{
	struct world w;
	struct strbuf b;
	struct got *g;
	struct slice page;
	struct rcpt_item item;
	bool bad;

	(void)state;
	world_begin(&w, "");
	start_pickup(&w);
	strbuf_init(&b, 0);
	make_file(&b, "me@example.org", "nobody@example.org ann", SL(TEXT));
	drop(&w, NAME("1"), strbuf_slice(&b));
	peer_send(&w.qmgr, IPC_TAKE, 1, "u", (uint64_t)5);
	g = peer_next(&w, &w.qmgr, IPC_ENTRY);
	assert_int_equal(g->u[5], 2);
	page = strbuf_slice(&g->s[9]);
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.transport, "error");
	assert_memory_equal(item.next_hop.p, "5.1.1 ", 6);
	assert_slice(item.original, "nobody@example.org");
	assert_true(rcpt_item_decode(&page, &item, &bad));
	assert_slice(item.transport, "local");
	strbuf_clear(&b);
	world_end(&w);
}

/* A temporary trouble leaves the file; the next look takes it. */
static void
a_file_may_wait(void **state)
{
	struct world w;
	struct strbuf b;

	(void)state;
	world_begin(&w, "");
	start_pickup(&w);
	strbuf_init(&b, 0);
	make_file(&b, "me@example.org", "ann broken", SL(TEXT));
	drop(&w, NAME("1"), strbuf_slice(&b));
	strbuf_reset(&b);
	make_file(&b, "me@example.org", "bob", SL(TEXT));
	drop(&w, NAME("2"), strbuf_slice(&b));
	world_wait(&w, !is_there(&w, NAME("2")));
	world_settle(&w);
	assert_true(is_there(&w, NAME("1")));
	assert_int_equal(spool_count(w.pg.spool), 1);
	strbuf_clear(&b);
	world_end(&w);
}

#define HOSTILE 3000
#define GOOD    10

/* Names that can neither be taken nor be called NAME.bad, and others that are
   none of ours; by another user where that can be. */
static void
leave_hostile_names(struct world *w)
{
	int dir = openat(w->dirfd, "drop", O_RDONLY | O_DIRECTORY), status;
	char name[64];
	unsigned i;
	pid_t pid;

	assert_true(dir != -1);
	pid = fork();
	assert_true(pid != -1);
	if (pid == 0) {
		if (geteuid() == 0 && setuid(65534) == -1) {
			_exit(2);
		}
		(void)umask(0);
		for (i = 0; i < HOSTILE; i++) {
			(void)snprintf(name, sizeof(name), "%032x.bad", i);
			if (mkdirat(dir, name, 0777) == -1) {
				_exit(1);
			}
			(void)snprintf(name, sizeof(name), "%032x.bad/x", i);
			if (mkdirat(dir, name, 0777) == -1) {
				_exit(1);
			}
			(void)snprintf(name, sizeof(name), "%032x", i);
			if (mkdirat(dir, name, 0777) == -1) {
				_exit(1);
			}
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(close(dir), 0);
}

static unsigned
hostile_left(struct world *w)
{
	char name[40];
	unsigned i, n = 0;

	for (i = 0; i < HOSTILE; i++) {
		(void)snprintf(name, sizeof(name), "%032x", i);
		n += is_there(w, name);
	}
	return n;
}

/* One user's names keep nobody else's mail waiting: neither what was there when
   we started, nor what comes while we look at them. */
static void
hostile_names_block_nobody(void **state)
{
	struct world w;
	struct strbuf b;
	char name[40];
	unsigned i;

	(void)state;
	world_begin(&w, "");
	start_pickup(&w); /* makes the directory */
	pickup_free(w.pg.pickup);
	w.pg.pickup = NULL;
	leave_hostile_names(&w);
	strbuf_init(&b, 0);
	make_file(&b, "", "ann", SL(TEXT));
	for (i = 0; i < GOOD; i++) {
		(void)snprintf(name, sizeof(name), "f%031x", i);
		drop(&w, name, strbuf_slice(&b));
	}
	start_pickup(&w);
	drop(&w, "e0000000000000000000000000000000", strbuf_slice(&b));
	world_wait(&w, !is_there(&w,
	    "e0000000000000000000000000000000"));
	assert_true(hostile_left(&w) > HOSTILE / 2);
	for (i = 0; i < GOOD; i++) {
		(void)snprintf(name, sizeof(name), "f%031x", i);
		world_wait(&w, !is_there(&w, name));
	}
	for (i = 0; i < HOSTILE; i++) {
		(void)snprintf(name, sizeof(name), "%032x", i);
		world_wait(&w, !is_there(&w, name));
	}
	world_settle(&w);
	assert_int_equal(spool_count(w.pg.spool), GOOD + 1);
	strbuf_clear(&b);
	world_end(&w);
}

/* -- users ------------------------------------------------------------------- */

struct verdict {
	unsigned code, times;
};

static void
on_verdict(void *arg, const struct decision *d, struct memo *trace)
{
	struct verdict *v = arg;

	(void)trace;
	v->code = d->code;
	v->times++;
}

static uint32_t
ask(struct world *w, const char *rcpt, struct verdict *v)
{
	const struct resolve_request rq = { .reverse_path = SL("a@b.example"),
		.forward_path = slice_of(rcpt),
		.client_addr = SL("192.0.2.1") };

	*v = (struct verdict){ 0, 0 };
	return resolving_ask(w->pg.resolving, &rq, on_verdict, v);
}

static void
one_question_for_many(void **state)
{
	struct world w;
	struct verdict v[5];
	uint32_t id;

	(void)state;
	world_begin(&w, "alias_maps = inline:{ {team=ann, bob} }\n");
	w.answer_users = false;
	assert_int_not_equal(ask(&w, "ann@example.org", &v[0]), 0);
	assert_int_not_equal(ask(&w, "ann@localhost", &v[1]), 0);
	assert_int_not_equal(ask(&w, "team@example.org", &v[2]), 0);
	id = ask(&w, "ann@example.org", &v[3]);
	resolving_cancel(w.pg.resolving, id);
	resolving_cancel(w.pg.resolving, id); /* twice is no harm */
	assert_int_not_equal(ask(&w, "nobody@example.org", &v[4]), 0);
	world_settle(&w);
	assert_int_equal(w.users.n, 3); /* ann, bob, nobody */
	w.answer_users = true;
	world_settle(&w);
	assert_true(v[0].code == 250 && v[0].times == 1);
	assert_true(v[1].code == 250 && v[1].times == 1);
	assert_true(v[2].code == 250 && v[2].times == 1);
	assert_int_equal(v[3].times, 0);
	assert_true(v[4].code == 550 && v[4].times == 1);
	world_end(&w);
}

static void
users_started_anew(void **state)
{
	struct world w;
	struct verdict v;

	(void)state;
	world_begin(&w, "");
	w.answer_users = false;
	assert_int_not_equal(ask(&w, "ann@example.org", &v), 0);
	world_settle(&w);
	assert_int_equal(w.users.n, 1);
	ipc_chan_free(w.users.ch); /* it died with the question */
	w.users.ch = NULL;
	world_settle(&w);
	assert_int_equal(v.times, 0);
	w.answer_users = true;
	world_connect_users(&w);
	world_wait(&w, v.times == 1);
	assert_int_equal(v.code, 250);
	/* nonsense closes the channel; the next one serves */
	w.answer_users = false;
	assert_int_not_equal(ask(&w, "bob@example.org", &v), 0);
	world_wait(&w, w.users.at < w.users.n);
	peer_send(&w.users, IPC_USER_IS, w.users.got[w.users.at].tid, "uuuss",
	    (uint64_t)3, (uint64_t)0, (uint64_t)0, "", "");
	world_wait(&w, w.users.closed);
	w.answer_users = true;
	world_connect_users(&w);
	world_wait(&w, v.times == 1);
	assert_int_equal(v.code, 250);
	world_end(&w);
}

static void
users_too_late(void **state)
{
	struct world w;
	struct verdict v;
	uint32_t tid;

	(void)state;
	world_begin(&w, "ipc_timeout = 1\n");
	w.answer_users = false;
	assert_int_not_equal(ask(&w, "ann@example.org", &v), 0);
	world_wait(&w, v.times == 1);
	assert_in_range(v.code, 400, 499);
	tid = w.users.got[0].tid;
	peer_send(&w.users, IPC_USER_IS, tid, "uuuss", (uint64_t)1,
	    (uint64_t)1000, (uint64_t)1000, "/x", "");
	world_settle(&w);
	assert_false(w.users.closed);
	assert_int_equal(v.times, 1);
	world_end(&w);
}

static void
reload_while_they_wait(void **state)
{
	struct world w;
	struct verdict v[2];
	uint32_t id;

	(void)state;
	world_begin(&w, "");
	w.answer_users = false;
	assert_int_not_equal(ask(&w, "new@example.org", &v[0]), 0);
	id = ask(&w, "new@example.org", &v[1]);
	world_set_aliases(&w, "inline:{ new=ann }");
	resolving_cancel(w.pg.resolving, id); /* the id is still the same */
	w.answer_users = true;
	world_wait(&w, v[0].times == 1);
	assert_int_equal(v[0].code, 250);
	assert_int_equal(v[1].times, 0);
	world_end(&w);
}

/* -- control ------------------------------------------------------------------ */

struct tool {
	struct ipc_chan_ops ops;
	struct ipc_chan *ch;
	struct strbuf data;
	unsigned rows;
	struct strbuf columns;
	bool ended;
	uint64_t code;
};

static bool
on_tool_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct tool *t = owner;

	(void)ch;
	if (m->type == IPC_CTL_DATA) {
		(void)strbuf_add_slice(&t->data, ipc_s(m, 0));
	} else if (m->type == IPC_CTL_ROW) {
		t->rows++;
		(void)strbuf_add_slice(&t->columns, ipc_s(m, 0));
	} else {
		t->ended = true;
		t->code = ipc_u(m, 0);
	}
	return true;
}

static void
on_tool_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct tool *t = owner;

	(void)why;
	ipc_chan_free(ch);
	t->ch = NULL;
}

/* `words' are NUL-terminated, one after the other. */
static void
tool_ask(struct world *w, struct tool *t, const char *words, size_t n)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/ctl", w->dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	*t = (struct tool){ .ops = { .me = IPC_TOOL, .peer = IPC_CLEANUP,
	    .message = on_tool_message, .closed = on_tool_closed } };
	t->ch = ipc_chan_new(w->base, fd, &t->ops, t);
	ipc_begin(t->ch, IPC_CTL_ASK, 0);
	ipc_put_s(t->ch, slice_make(words, n));
	ipc_end(t->ch);
}

static void
tool_end(struct world *w, struct tool *t)
{
	world_wait(w, t->ended || t->ch == NULL);
	assert_true(t->ended);
	ipc_chan_free(t->ch);
}

static void
tool_clear(struct tool *t)
{
	strbuf_clear(&t->data);
	strbuf_clear(&t->columns);
}

static bool
contains(const struct strbuf *b, const char *text)
{
	size_t n = strlen(text), i;

	for (i = 0; i + n <= b->n; i++) {
		if (memcmp(b->p + i, text, n) == 0) {
			return true;
		}
	}
	return false;
}

static struct ctl_server *
start_control(struct world *w)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/ctl", w->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return ctl_server_new(w->base, fd, true, IPC_CLEANUP, control_verbs,
	    control_nverbs, &w->pg);
}

static void
control(void **state)
{
	struct world w;
	struct ctl_server *server;
	struct tool t;
	char words[64] = "cat";
	uint64_t qid;

	(void)state;
	world_begin(&w, "alias_maps = inline:{ team=ann }\n");
	server = start_control(&w);
	qid = smtpd_message(&w, 1, "team@example.org", TEXT);
	qid_format(qid, words + 4);
	tool_ask(&w, &t, words, 4 + QID_TEXT + 1);
	tool_end(&w, &t);
	assert_int_equal(t.code, 0);
	assert_true(contains(&t.data, "reverse-path: <sender@client.example>\n"));
	assert_true(contains(&t.data, "recipient: <ann@example.org> "
	    "orig_to=<team@example.org> route=local:ann fate=open"));
	assert_true(contains(&t.data, "\n\nReceived: from "));
	assert_memory_equal(t.data.p + t.data.n - 9, "\r\nhello\r\n", 9);
	tool_clear(&t);

	words[4] = 'Z'; /* no queue id */
	tool_ask(&w, &t, words, 4 + QID_TEXT + 1);
	tool_end(&w, &t);
	assert_int_equal(t.code, 64);
	tool_clear(&t);

#define ASK(lit) tool_ask(&w, &t, lit, sizeof(lit)); tool_end(&w, &t)
	ASK("cat\0" "0000000000001");
	assert_int_equal(t.code, 66);
	tool_clear(&t);
	ASK("trace\0" "192.0.2.1\0" "<a@b.example>\0" "team@example.org");
	assert_int_equal(t.code, 0);
	assert_true(t.rows >= 3);
	assert_true(contains(&t.columns, "2.1.5"));
	assert_true(contains(&t.columns, "local ann"));
	assert_true(contains(&t.columns, "decision"));
	tool_clear(&t);
	ASK("map\0" "Team\0" "inline:{ team=ann }");
	assert_int_equal(t.code, 0);
	assert_int_equal(t.rows, 1);
	tool_clear(&t);
	ASK("map\0" "x\0" "inline:{ team=ann }");
	assert_int_equal(t.code, 1);
	tool_clear(&t);
	ASK("map\0" "x\0" "nosuch:type");
	assert_int_equal(t.code, 78);
	tool_clear(&t);
#undef ASK
	/* a tool that goes while users is slow */
	tool_ask(&w, &t, "trace\0" "local\0" "\0" "slow@example.org",
	    sizeof("trace\0" "local\0" "\0" "slow@example.org"));
	world_settle(&w);
	ipc_chan_free(t.ch);
	tool_clear(&t);
	world_settle(&w);
	ctl_server_free(server);
	world_end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_file),
		cmocka_unit_test(bad_files),
		cmocka_unit_test(a_refused_recipient_is_kept_with_its_reason),
		cmocka_unit_test(a_file_may_wait),
		cmocka_unit_test(hostile_names_block_nobody),
		cmocka_unit_test(one_question_for_many),
		cmocka_unit_test(users_started_anew),
		cmocka_unit_test(users_too_late),
		cmocka_unit_test(reload_while_they_wait),
		cmocka_unit_test(control),
	};

	return cmocka_run_group_tests_name("cleanup_pickup", tests, NULL, NULL);
}
