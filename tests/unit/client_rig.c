#include "config.h"

#include "common/envelope.h"
#include "common/log.h"
#include "tests/unit/client_rig.h"
#include "tests/unit/unit.h"

static void
on_result(void *owner, struct client_rcpt *rcpt, const struct outcome *o)
{
	struct rig *r = owner;
	struct outcome *fate = rcpt->arg;

	assert_int_equal(fate->fate, FATE_NONE); /* once */
	assert_int_not_equal(o->fate, FATE_NONE);
	if (o->fate == FATE_DELIVERED) {
		assert_true(r->ended);
		assert_int_equal(r->c.out.n, 0);
	}
	assert_true(outcome_is_esc(slice_of(o->esc), o->fate == FATE_DELIVERED
	    ? '2' : o->fate == FATE_DEFERRED ? '4' : '5'));
	*fate = *o;
}

static const struct client_ops ops = { .result = on_result };

void
rig_init(struct rig *r, bool lmtp, unsigned nrcpts)
{
	static const struct slice paths[RIG_RCPTS] = { SL_INIT("a@x.test"),
		SL_INIT("b@x.test"), SL_INIT("c@x.test") };
	unsigned i;

	*r = (struct rig){ .content = SL("a: b\r\n\r\nc\r\n"), .mails = 1 };
	log_setup(NULL, false);
	strbuf_init(&r->sent, 0);
	client_init(&r->c, &ops, r, "me.test", lmtp);
	r->mail = (struct client_mail){ .reverse_path = SL("s@y.test"),
		.size = r->content.n, .rcpts = r->rcpts, .nrcpts = nrcpts };
	for (i = 0; i < nrcpts; i++) {
		r->rcpts[i] = (struct client_rcpt){ .path = paths[i],
			.arg = &r->fates[i] };
	}
}

void
rig_clear(struct rig *r)
{
	client_clear(&r->c);
	strbuf_clear(&r->sent);
}

/* One thing that an owner does; false: there is nothing to do. */
static bool
step(struct rig *r)
{
	struct client *c = &r->c;

	if (c->out.n > 0 && !r->stuck) {
		(void)strbuf_add_slice(&r->sent, strbuf_slice(&c->out));
		strbuf_consume(&c->out, c->out.n);
		client_sent(c);
		return true;
	}
	if (c->stage == CLIENT_CONTENT && !r->stuck) {
		r->content_at = r->sent.n;
		r->ended = true;
		client_content(c, r->content);
		client_content_end(c);
		return true;
	}
	if (c->stage == CLIENT_READY && r->mails > 0) {
		r->mails--;
		client_begin(c, &r->mail);
		return true;
	}
	return false;
}

void
rig_pump(struct rig *r)
{
	while (step(r)) {
	}
}

void
rig_hear(struct rig *r, struct slice in, size_t cut)
{
	size_t n;

	rig_pump(r);
	while (in.n > 0) {
		n = in.n < cut ? in.n : cut;
		client_input(&r->c, slice_make(in.p, n));
		in.p += n;
		in.n -= n;
		rig_pump(r);
	}
}
