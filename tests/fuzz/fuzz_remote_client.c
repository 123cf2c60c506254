/*
 * A server that says anything: the client gives each recipient at most one fate,
 * and DELIVERED only when all of the content had left. The first octet chooses the
 * protocol, how the rest is cut and how fast octets leave; what is heard after a
 * good beginning comes from the second on.
 */
#include "config.h"

#include <stdlib.h>

#include "common/log.h"
#include "remote/client.h"

#define RCPTS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

struct owner {
	struct client c;
	struct client_rcpt rcpts[RCPTS];
	enum fate fates[RCPTS];
	bool ended;
	unsigned begun;
	size_t takes; /* octets that leave in a turn */
};

static void
on_result(void *arg, struct client_rcpt *r, const struct outcome *o)
{
	struct owner *w = arg;
	enum fate *fate = r->arg;

	check(*fate == FATE_NONE && o->fate != FATE_NONE);
	check(o->fate != FATE_DELIVERED || (w->ended && w->c.out.n == 0));
	*fate = o->fate;
}

static const struct client_ops ops = { .result = on_result };

static void
begin(struct owner *w)
{
	static struct client_mail m;
	unsigned i;

	for (i = 0; i < RCPTS; i++) {
		w->rcpts[i] = (struct client_rcpt){ .path = SL("a@x.test"),
			.arg = &w->fates[i] };
		w->fates[i] = FATE_NONE;
	}
	m = (struct client_mail){ .reverse_path = SL("s@y.test"), .size = 5,
		.flags = 3, .rcpts = w->rcpts, .nrcpts = RCPTS };
	w->begun++;
	w->ended = false;
	client_begin(&w->c, &m);
}

static void
pump(struct owner *w)
{
	struct client *c = &w->c;

	strbuf_consume(&c->out, w->takes < c->out.n ? w->takes : c->out.n);
	client_sent(c);
	if (c->stage == CLIENT_CONTENT && c->out.n == 0) {
		client_content(c, SL(".a\r\n."));
		client_content_end(c);
		w->ended = true;
	}
	if (c->stage == CLIENT_READY && w->begun < 3) {
		begin(w);
	}
	check(c->stage != CLIENT_CLOSED || c->out.n == 0);
	check(c->stage != CLIENT_READY || c->mail == NULL);
	check(!c->failed || c->stage >= CLIENT_QUIT);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct owner w = { .takes = SIZE_MAX };
	struct slice in = slice_make((const char *)data, size);
	size_t n, cut;

	if (size < 2) {
		return 0;
	}
	log_setup(NULL, false);
	client_init(&w.c, &ops, &w, "me.test", (data[0] & 1) != 0);
	cut = (data[0] & 2) != 0 ? 1 : 8;
	w.takes = (data[0] & 4) != 0 ? 20 : SIZE_MAX;
	for (in.p++, in.n--; in.n > 0; in.p += n, in.n -= n) {
		/* A line is not heard before the turn that answers the last. */
		n = slice_find(in, '\n') + 1;
		n = n > in.n ? in.n : n;
		n = n > cut ? cut : n;
		client_input(&w.c, slice_make(in.p, n));
		pump(&w);
	}
	client_closed(&w.c, "closed");
	check(w.c.stage == CLIENT_CLOSED);
	client_clear(&w.c);
	return 0;
}
