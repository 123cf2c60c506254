/* The codec of IPC messages, and channels over real sockets. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/envelope.h"
#include "common/ipc.h"
#include "tests/unit/unit.h"

static void
build_rcpt(struct strbuf *b, uint32_t tid, const char *path)
{
	struct ipc_build bl;

	ipc_build_begin(&bl, b, IPC_RCPT, tid);
	ipc_build_s(&bl, slice_of(path));
	ipc_build_end(&bl);
}

/* The two ends of a row: a name that stands for several is one of them. */
static enum ipc_role
end_of(enum ipc_role role)
{
	return role == IPC_AGENT || role == IPC_DNS_CLIENT ? IPC_REMOTE : role;
}

static void
every_message_round_trips(void **state)
{
	/* Every row of the list, with every field filled. */
	static const struct {
		enum ipc_type type;
		enum ipc_role from, to;
		const char *fields;
	} rows[] = {
#define ROW(num, name, f, t, flds, meaning) { IPC_##name, IPC_##f, IPC_##t, flds },
		IPC_MESSAGES(ROW)
#undef ROW
	};
	size_t i, last = 0;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		struct strbuf b;
		struct ipc_build bl;
		struct ipc_msg m;
		const char *f, *why;
		size_t used = 0, n = 0;
		bool wants_fd;

		assert_true(rows[i].type > last); /* the list rises */
		last = rows[i].type;
		strbuf_init(&b, 0);
		ipc_build_begin(&bl, &b, rows[i].type, 7);
		for (f = rows[i].fields; *f != '\0'; f++) {
			if (f != rows[i].fields && f[-1] != ' ') {
				continue;
			}
			n++;
			switch (*f) {
			case 'u':
				ipc_build_u(&bl, 1000 + n);
				break;
			case 'f':
				ipc_build_f(&bl);
				break;
			default:
				ipc_build_s(&bl, SL("value"));
			}
		}
		ipc_build_end(&bl);
		assert_true(n <= IPC_FIELDS_MAX);
		assert_int_equal(ipc_decode(strbuf_slice(&b),
		    end_of(rows[i].from), end_of(rows[i].to), &m, &used, &wants_fd, &why), IPC_DEC_OK);
		assert_int_equal(used, b.n);
		assert_int_equal(m.nfields, n);
		assert_int_equal(m.tid, 7);
		assert_int_equal(wants_fd, strstr(rows[i].fields, "f:") != NULL);
		strbuf_clear(&b);
	}
}

static void
names_for_several_ends(void **state)
{
	static const struct {
		enum ipc_type type;
		enum ipc_role from, to;
		enum ipc_decoded wanted;
	} cases[] = {
		{ IPC_AGENT_HELLO_END, IPC_LOCAL, IPC_QMGR, IPC_DEC_OK },
		{ IPC_AGENT_HELLO_END, IPC_REMOTE, IPC_QMGR, IPC_DEC_OK },
		{ IPC_AGENT_HELLO_END, IPC_SMTPD, IPC_QMGR, IPC_DEC_BAD },
		{ IPC_AGENT_HELLO_END, IPC_REMOTE, IPC_CLEANUP, IPC_DEC_BAD },
		{ IPC_START, IPC_MASTER, IPC_DNS, IPC_DEC_OK },
		{ IPC_START, IPC_QMGR, IPC_DNS, IPC_DEC_BAD },
	};
	struct ipc_build bl;
	struct ipc_msg m;
	struct strbuf b;
	const char *why;
	size_t used, i;
	bool fd;

	(void)state;
	for (i = 0; i < NELEMS(cases); i++) {
		strbuf_init(&b, 0);
		ipc_build_begin(&bl, &b, cases[i].type, 1);
		ipc_build_end(&bl);
		assert_int_equal(ipc_decode(strbuf_slice(&b), cases[i].from,
		    cases[i].to, &m, &used, &fd, &why), cases[i].wanted);
		strbuf_clear(&b);
	}
	/* who may ask dns, and who may not */
	strbuf_init(&b, 0);
	ipc_build_begin(&bl, &b, IPC_DNS_QUERY, 1);
	ipc_build_s(&bl, SL("example.test"));
	ipc_build_u(&bl, 15);
	ipc_build_u(&bl, 0);
	ipc_build_end(&bl);
	assert_int_equal(ipc_decode(strbuf_slice(&b), IPC_CLEANUP, IPC_DNS, &m,
	    &used, &fd, &why), IPC_DEC_OK);
	assert_int_equal(ipc_decode(strbuf_slice(&b), IPC_SMTPD, IPC_DNS, &m,
	    &used, &fd, &why), IPC_DEC_BAD);
	strbuf_clear(&b);
}

static void
cut_and_flipped_messages(void **state)
{
	struct strbuf b;
	struct ipc_msg m;
	const char *why;
	size_t used, i, bit;
	bool fd;

	(void)state;
	strbuf_init(&b, 0);
	build_rcpt(&b, 9, "ann@example.test");
	for (i = 0; i < b.n; i++) {
		assert_int_equal(ipc_decode(slice_make(b.p, i), IPC_SMTPD,
		    IPC_CLEANUP, &m, &used, &fd, &why), IPC_DEC_MORE);
	}
	for (i = 0; i < b.n; i++) {
		for (bit = 0; bit < 8; bit++) {
			enum ipc_decoded d;

			b.p[i] = (char)(b.p[i] ^ (1 << bit));
			d = ipc_decode(strbuf_slice(&b), IPC_SMTPD, IPC_CLEANUP,
			    &m, &used, &fd, &why);
			/* whatever it is, it stays inside the input */
			if (d == IPC_DEC_OK) {
				assert_true(used <= b.n);
			}
			b.p[i] = (char)(b.p[i] ^ (1 << bit));
		}
	}
	strbuf_clear(&b);
}

static void
only_the_right_sender(void **state)
{
	struct strbuf b;
	struct ipc_msg m;
	const char *why;
	size_t used;
	bool fd;

	(void)state;
	strbuf_init(&b, 0);
	build_rcpt(&b, 1, "x");
	assert_int_equal(ipc_decode(strbuf_slice(&b), IPC_QMGR, IPC_CLEANUP, &m,
	    &used, &fd, &why), IPC_DEC_BAD);
	assert_int_equal(ipc_decode(strbuf_slice(&b), IPC_SMTPD, IPC_QMGR, &m,
	    &used, &fd, &why), IPC_DEC_BAD);
	assert_int_equal(ipc_decode(strbuf_slice(&b), IPC_SMTPD, IPC_CLEANUP, &m,
	    &used, &fd, &why), IPC_DEC_OK);
	b.p[0] = (char)(b.p[0] - 1); /* one octet too few for the field */
	assert_int_equal(ipc_decode(strbuf_slice(&b), IPC_SMTPD, IPC_CLEANUP, &m,
	    &used, &fd, &why), IPC_DEC_BAD);
	b.p[3] = 0x7f; /* a length above the cap is bad at once */
	assert_int_equal(ipc_decode(slice_make(b.p, IPC_HEADER_SIZE), IPC_SMTPD,
	    IPC_CLEANUP, &m, &used, &fd, &why), IPC_DEC_BAD);
	strbuf_clear(&b);
}

/* -- channels -------------------------------------------------------------- */

struct end {
	struct event_base *base;
	struct ipc_chan *ch;
	unsigned messages, closed, fds;
	bool refuse, free_inside;
	char last[64];
};

static bool
on_message(void *owner, struct ipc_chan *ch, struct ipc_msg *m)
{
	struct end *e = owner;

	e->messages++;
	if (m->type == IPC_RCPT) {
		struct slice s = ipc_s(m, 0);

		assert_true(s.n < sizeof(e->last));
		memcpy(e->last, s.p, s.n);
		e->last[s.n] = '\0';
	}
	if (m->fd != -1) {
		char c = 0;
		int fd = ipc_take_fd(m);

		assert_int_equal(pread(fd, &c, 1, 0), 1);
		assert_int_equal(c, 'x');
		(void)close(fd);
		e->fds++;
	}
	if (e->free_inside) {
		ipc_chan_free(ch);
		e->ch = NULL;
		(void)event_base_loopbreak(e->base);
	}
	return !e->refuse;
}

static void
on_closed(void *owner, struct ipc_chan *ch, const char *why)
{
	struct end *e = owner;

	assert_non_null(why);
	e->closed++;
	ipc_chan_free(ch);
	e->ch = NULL;
}

static const struct ipc_chan_ops smtpd_side = { IPC_SMTPD, IPC_CLEANUP,
	on_message, on_closed, NULL };
static const struct ipc_chan_ops cleanup_side = { IPC_CLEANUP, IPC_SMTPD,
	on_message, on_closed, NULL };
static const struct ipc_chan_ops cleanup_to_local = { IPC_CLEANUP, IPC_LOCAL,
	on_message, on_closed, NULL };
static const struct ipc_chan_ops local_to_cleanup = { IPC_LOCAL, IPC_CLEANUP,
	on_message, on_closed, NULL };

static void
pair(struct event_base *base, struct end *a, const struct ipc_chan_ops *ao,
    struct end *b, const struct ipc_chan_ops *bo)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	*a = (struct end){ .base = base };
	*b = (struct end){ .base = base };
	a->ch = ipc_chan_new(base, sv[0], ao, a);
	b->ch = ipc_chan_new(base, sv[1], bo, b);
}

static void
turn(struct event_base *base, const unsigned *until, unsigned want)
{
	int i;

	for (i = 0; i < 2000 && *until < want; i++) {
		(void)event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	assert_int_equal(*until, want);
}

static void
put_rcpt(struct ipc_chan *ch, const char *path)
{
	ipc_begin(ch, IPC_RCPT, 1);
	ipc_put_str(ch, path);
	ipc_end(ch);
}

static void
many_messages_in_order(void **state)
{
	struct event_base *base = event_base_new();
	struct end a, b;
	char path[32];
	unsigned i;

	(void)state;
	pair(base, &a, &smtpd_side, &b, &cleanup_side);
	for (i = 0; i < 20000; i++) { /* far above the socket's buffer */
		(void)snprintf(path, sizeof(path), "r%u@x", i);
		put_rcpt(a.ch, path);
	}
	turn(base, &b.messages, 20000);
	assert_string_equal(b.last, "r19999@x");
	assert_int_equal(ipc_chan_queued(a.ch), 0);
	ipc_chan_free(a.ch);
	turn(base, &b.closed, 1);
	event_base_free(base);
}

static void
put_later(struct ipc_chan *ch, const char *path)
{
	ipc_begin(ch, IPC_RCPT, 1);
	ipc_put_str(ch, path);
	ipc_end_later(ch);
}

/* What nobody waits for goes along, or by itself after a moment; in order. */
static void
later_messages_wait_for_company(void **state)
{
	const struct timeval patience = { 10, 0 };
	struct event_base *base = event_base_new();
	struct end a, b;
	char path[40];
	unsigned i;

	(void)state;
	pair(base, &a, &smtpd_side, &b, &cleanup_side);
	put_later(a.ch, "one");
	(void)event_base_loop(base, EVLOOP_NONBLOCK);
	put_later(a.ch, "two");
	put_rcpt(a.ch, "three");
	turn(base, &b.messages, 3);
	assert_string_equal(b.last, "three");

	put_later(a.ch, "four"); /* alone: the loop waits until it left */
	(void)event_base_loopexit(base, &patience);
	while (b.messages < 4 && !event_base_got_exit(base)) {
		(void)event_base_loop(base, EVLOOP_ONCE);
	}
	assert_string_equal(b.last, "four");

	for (i = 0; i < 2000; i++) { /* many do not wait */
		(void)snprintf(path, sizeof(path), "five%u@example.com", i);
		put_later(a.ch, path);
	}
	turn(base, &b.messages, 2004);
	put_later(a.ch, "six"); /* nor does it get lost at the end */
	ipc_chan_free(a.ch);
	turn(base, &b.messages, 2005);
	assert_string_equal(b.last, "six");
	turn(base, &b.closed, 1);
	event_base_free(base);
}

static void
a_bad_peer_loses_its_channel_only(void **state)
{
	struct event_base *base = event_base_new();
	struct end a, b, c, d;

	(void)state;
	pair(base, &a, &smtpd_side, &b, &cleanup_side);
	pair(base, &c, &smtpd_side, &d, &cleanup_side);
	assert_int_equal(write(ipc_chan_fd(a.ch), "GET / HTTP/1.0\r\n\r\n", 18), 18);
	turn(base, &b.closed, 1);
	turn(base, &a.closed, 1);
	d.refuse = true; /* a message that makes no sense */
	put_rcpt(c.ch, "x");
	turn(base, &d.closed, 1);
	assert_int_equal(d.messages, 1);
	turn(base, &c.closed, 1);
	event_base_free(base);
}

/* We send to a peer that has said something and gone: it is still heard. */
static void
last_words_are_heard(void **state)
{
	struct event_base *base = event_base_new();
	struct end a, b;

	(void)state;
	pair(base, &a, &smtpd_side, &b, &cleanup_side);
	put_rcpt(a.ch, "farewell@x");
	ipc_chan_free(a.ch); /* sends what is queued */
	ipc_begin(b.ch, IPC_VERDICT, 1);
	ipc_put_u(b.ch, 250);
	ipc_put_str(b.ch, "2.1.5");
	ipc_put_str(b.ch, "ok");
	ipc_end(b.ch);
	ipc_flush(b.ch); /* EPIPE, before anything was read */
	assert_int_equal(b.closed, 0);
	turn(base, &b.closed, 1);
	assert_int_equal(b.messages, 1);
	assert_string_equal(b.last, "farewell@x");
	event_base_free(base);
}

static void
free_inside_own_callback(void **state)
{
	struct event_base *base = event_base_new();
	struct end a, b;

	(void)state;
	pair(base, &a, &smtpd_side, &b, &cleanup_side);
	b.free_inside = true;
	put_rcpt(a.ch, "x");
	put_rcpt(a.ch, "y");
	turn(base, &b.messages, 1);
	assert_null(b.ch);
	turn(base, &a.closed, 1);
	event_base_free(base);
}

static void
descriptors_arrive_with_their_message(void **state)
{
	struct event_base *base = event_base_new();
	struct end a, b;
	FILE *f = tmpfile();
	unsigned i;

	(void)state;
	assert_non_null(f);
	assert_int_equal(fputc('x', f), 'x');
	(void)fflush(f);
	pair(base, &a, &cleanup_to_local, &b, &local_to_cleanup);
	for (i = 0; i < 60; i++) {
		ipc_begin(a.ch, IPC_FETCH_FAILED, i);
		ipc_put_u(a.ch, 1);
		ipc_put_str(a.ch, "gone");
		ipc_end(a.ch);
		ipc_begin(a.ch, IPC_FETCHED_FILE, i);
		ipc_put_u(a.ch, 1);
		ipc_put_u(a.ch, 0);
		ipc_put_u(a.ch, 0);
		ipc_put_fd(a.ch, dup(fileno(f)));
		ipc_end(a.ch);
	}
	turn(base, &b.messages, 120);
	assert_int_equal(b.fds, 60);
	/* A message that lacks its descriptor is bad. */
	{
		struct strbuf raw;
		struct ipc_build bl;

		strbuf_init(&raw, 0);
		ipc_build_begin(&bl, &raw, IPC_FETCHED_FILE, 1);
		ipc_build_u(&bl, 1);
		ipc_build_u(&bl, 0);
		ipc_build_u(&bl, 0);
		ipc_build_f(&bl);
		ipc_build_end(&bl);
		assert_int_equal(ipc_sync_write(ipc_chan_fd(a.ch),
		    strbuf_slice(&raw)), 0);
		strbuf_clear(&raw);
	}
	turn(base, &b.closed, 1);
	turn(base, &a.closed, 1);
	(void)fclose(f);
	event_base_free(base);
}

static void
too_many_descriptors_close_the_channel(void **state)
{
	struct event_base *base = event_base_new();
	struct end a, b;
	unsigned i;

	(void)state;
	pair(base, &a, &cleanup_to_local, &b, &local_to_cleanup);
	for (i = 0; i < 70; i++) {
		ipc_begin(a.ch, IPC_FETCHED_FILE, i);
		ipc_put_u(a.ch, 1);
		ipc_put_u(a.ch, 0);
		ipc_put_u(a.ch, 0);
		ipc_put_fd(a.ch, dup(0));
		ipc_end(a.ch);
	}
	turn(base, &a.closed, 1);
	turn(base, &b.closed, 1);
	event_base_free(base);
}

static void
pausing_holds_messages_back(void **state)
{
	struct event_base *base = event_base_new();
	struct end a, b;
	int i;

	(void)state;
	pair(base, &a, &smtpd_side, &b, &cleanup_side);
	ipc_chan_pause(b.ch, true);
	put_rcpt(a.ch, "x");
	for (i = 0; i < 20; i++) {
		(void)event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	assert_int_equal(b.messages, 0);
	ipc_chan_pause(b.ch, false);
	turn(base, &b.messages, 1);
	ipc_chan_free(a.ch);
	ipc_chan_free(b.ch);
	event_base_free(base);
}

static void
sync_reader_sees_the_same(void **state)
{
	struct ipc_sync in = { .fd = -1, .me = IPC_CLEANUP, .peer = IPC_SMTPD };
	struct strbuf b;
	struct ipc_msg m;
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	in.fd = sv[0];
	strbuf_init(&b, 0);
	build_rcpt(&b, 3, "one@x");
	build_rcpt(&b, 4, "two@x");
	assert_int_equal(ipc_sync_write(sv[1], strbuf_slice(&b)), 0);
	assert_int_equal(ipc_sync_read(&in, &m, 1000), 1);
	assert_slice(ipc_s(&m, 0), "one@x");
	assert_int_equal(ipc_sync_read(&in, &m, 1000), 1);
	assert_slice(ipc_s(&m, 0), "two@x");
	assert_int_equal(ipc_sync_read(&in, &m, 10), -1);
	assert_int_equal(errno, ETIMEDOUT);
	(void)close(sv[1]);
	assert_int_equal(ipc_sync_read(&in, &m, 1000), 0);
	ipc_sync_clear(&in);
	strbuf_clear(&b);
}

/* -- what travels inside --------------------------------------------------- */

static void
fill(struct envelope *e)
{
	envelope_init(e);
	e->qid = 42;
	e->arrived_us = 43;
	e->flags = CONTENT_8BIT;
	e->uid = 1000;
	envelope_set(&e->reverse_path, SL("s@example.test"));
	envelope_set(&e->helo, SL("client.test"));
	(void)envelope_add(e, SL("a@x"), SL("A@x"), SL("local"), SL("a"), SL(""));
	(void)envelope_add(e, SL("b@x"), SL("list@x"), SL("local"), SL("b"),
	    SL("ext"));
	(void)envelope_add(e, SL("c@x"), SL("c@x"), SL("local"), SL("c"), SL(""));
}

static void
envelope_round_trip_cut_and_hostile(void **state)
{
	struct envelope e, got;
	struct strbuf b;
	size_t i;

	(void)state;
	fill(&e);
	strbuf_init(&b, 0);
	envelope_encode(&e, &b);
	envelope_init(&got);
	assert_true(envelope_decode(strbuf_slice(&b), &got));
	assert_int_equal(got.nrcpts, 3);
	assert_string_equal(got.rcpts[1].original, "list@x");
	assert_string_equal(got.rcpts[1].extension, "ext");
	assert_string_equal(got.reverse_path, "s@example.test");
	assert_int_equal(got.uid, 1000);
	envelope_clear(&got);
	for (i = 0; i < b.n; i++) {
		envelope_init(&got);
		assert_false(envelope_decode(slice_make(b.p, i), &got));
		assert_int_equal(got.nrcpts, 0);
		envelope_clear(&got);
	}
	for (i = 0; i < b.n; i++) { /* flips never crash; many are refused */
		b.p[i] = (char)~b.p[i];
		envelope_init(&got);
		(void)envelope_decode(strbuf_slice(&b), &got);
		envelope_clear(&got);
		b.p[i] = (char)~b.p[i];
	}
	e.rcpts[0].texts[1] = '\n'; /* no line in a path: its address */
	strbuf_reset(&b);
	envelope_encode(&e, &b);
	envelope_init(&got);
	assert_false(envelope_decode(strbuf_slice(&b), &got));
	envelope_clear(&got);
	envelope_clear(&e);
	strbuf_clear(&b);
}

static void
items_round_trip(void **state)
{
	struct rcpt_item r = { 1, 2, FATE_DEFERRED, 3, SL("a@x"), SL("b@x"),
		SL("local"), SL("a"), SL(""), SL("4.3.0"), SL("later"),
		SL("mx.example[192.0.2.7]:25"), true }, rr;
	struct fate_item f = { 1, 2, FATE_DEFERRED, 99, SL("4.2.2"),
		SL("mailbox full"), SL("mx.example[192.0.2.7]:25") }, ff;
	struct strbuf b;
	struct slice in;
	bool bad;

	(void)state;
	strbuf_init(&b, 0);
	rcpt_item_encode(&r, &b);
	rcpt_item_encode(&r, &b);
	in = strbuf_slice(&b);
	assert_true(rcpt_item_decode(&in, &rr, &bad));
	assert_true(rcpt_item_decode(&in, &rr, &bad));
	assert_slice(rr.reply, "later");
	assert_slice(rr.relay, "mx.example[192.0.2.7]:25");
	assert_true(rr.warned);
	assert_false(rcpt_item_decode(&in, &rr, &bad));
	assert_false(bad);
	in = slice_make(b.p, b.n - 1);
	assert_true(rcpt_item_decode(&in, &rr, &bad));
	assert_false(rcpt_item_decode(&in, &rr, &bad));
	assert_true(bad);
	b.p[b.n - 1] = 2; /* neither warned nor not */
	in = strbuf_slice(&b);
	assert_true(rcpt_item_decode(&in, &rr, &bad));
	assert_false(rcpt_item_decode(&in, &rr, &bad));
	assert_true(bad);
	r.fate = FATE_WARNED; /* no state of a recipient */
	strbuf_reset(&b);
	rcpt_item_encode(&r, &b);
	in = strbuf_slice(&b);
	assert_false(rcpt_item_decode(&in, &rr, &bad));
	assert_true(bad);
	strbuf_reset(&b);
	fate_item_encode(&f, &b);
	in = strbuf_slice(&b);
	assert_true(fate_item_decode(&in, &ff, &bad));
	assert_int_equal(ff.next_at, 99);
	assert_slice(ff.relay, "mx.example[192.0.2.7]:25");
	f.fate = FATE_NONE; /* not a result */
	strbuf_reset(&b);
	fate_item_encode(&f, &b);
	in = strbuf_slice(&b);
	assert_false(fate_item_decode(&in, &ff, &bad));
	assert_true(bad);
	strbuf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_round_trips),
		cmocka_unit_test(names_for_several_ends),
		cmocka_unit_test(cut_and_flipped_messages),
		cmocka_unit_test(only_the_right_sender),
		cmocka_unit_test(many_messages_in_order),
		cmocka_unit_test(later_messages_wait_for_company),
		cmocka_unit_test(a_bad_peer_loses_its_channel_only),
		cmocka_unit_test(last_words_are_heard),
		cmocka_unit_test(free_inside_own_callback),
		cmocka_unit_test(descriptors_arrive_with_their_message),
		cmocka_unit_test(too_many_descriptors_close_the_channel),
		cmocka_unit_test(pausing_holds_messages_back),
		cmocka_unit_test(sync_reader_sees_the_same),
		cmocka_unit_test(envelope_round_trip_cut_and_hostile),
		cmocka_unit_test(items_round_trip),
	};

	return cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
}
