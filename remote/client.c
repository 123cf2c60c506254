#include "config.h"

#include <stdio.h>

#include "common/log.h"
#include "remote/client.h"

static const struct {
	const char *words;
	size_t limit; /* offset of the setting */
} stages[] = {
#define CLIENT_ROW(name, words, limit)                                         \
	[CLIENT_##name] = { words, offsetof(struct settings, limit) },
	CLIENT_STAGES(CLIENT_ROW)
#undef CLIENT_ROW
};
_Static_assert(NELEMS(stages) == CLIENT_NSTAGES, "a row per stage");

const char *
client_stage_words(enum client_stage s)
{
	return stages[s].words;
}

uint64_t
client_stage_limit(enum client_stage s, const struct settings *set)
{
	return *(const uint64_t *)(const void *)((const char *)set +
	    stages[s].limit);
}

void
client_init(struct client *c, const struct client_ops *ops, void *owner,
    const char *helo, bool lmtp)
{
	*c = (struct client){ .ops = ops, .owner = owner, .helo = helo,
		.lmtp = lmtp, .stage = CLIENT_GREETING };
	strbuf_init(&c->out, 0);
}

void
client_clear(struct client *c)
{
	strbuf_clear(&c->out);
}

/* -- out ------------------------------------------------------------------- */

void
client_say(struct client *c, const char *fmt, ...)
{
	size_t before = c->out.n;
	va_list ap;

	va_start(ap, fmt);
	(void)strbuf_vprintf(&c->out, fmt, ap);
	va_end(ap);
	c->queued += c->out.n - before;
	c->end = c->queued;
}

void
client_set_stage(struct client *c, enum client_stage s)
{
	c->stage = s;
	c->waits++;
}

static void
close_it(struct client *c)
{
	strbuf_clear(&c->out);
	client_set_stage(c, CLIENT_CLOSED);
}

void
client_fail(struct client *c, const char *esc, const char *fmt, ...)
{
	char text[REPLY_TEXT_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0) {
		text[0] = '\0';
	}
	va_end(ap);
	outcome_set(&c->why, FATE_DEFERRED, esc, "%s", text);
	c->failed = true;
	client_mail_lost(c);
	close_it(c);
}

/* The peer's words say that nothing can be done here, now. A 5yz is not for the
   recipients: what is refused is the connection, or all that we are. */
void
client_fail_said(struct client *c)
{
	char esc[ESC_MAX];

	memcpy(esc, c->reply.esc, sizeof(esc));
	esc[0] = '4';
	client_fail(c, esc, "%s", c->reply.text);
}

/* As before, but the peer listens: take leave. */
static void
fail_politely(struct client *c)
{
	bool leaves = c->reply.code == 421;

	client_fail_said(c);
	if (!leaves) {
		client_say(c, "QUIT\r\n");
		client_set_stage(c, CLIENT_QUIT);
	}
}

/* -- the beginning of a session -------------------------------------------- */

static void
on_greeting(struct client *c)
{
	if (c->reply.class != 2) {
		fail_politely(c);
		return;
	}
	client_say(c, "%s %s\r\n", c->lmtp ? "LHLO" : "EHLO", c->helo);
	client_set_stage(c, CLIENT_HELLO);
}

/* ehlo-line = ehlo-keyword *( SP ehlo-param ) (RFC 5321, 4.1.1.1); the first
   line of the answer is the peer's name. */
static void
on_hello_line(struct client *c)
{
	static const struct {
		struct slice keyword;
		unsigned offer;
	} known[] = {
		{ SL_INIT("PIPELINING"), CLIENT_PIPELINING },
		{ SL_INIT("SIZE"), CLIENT_SIZE },
		{ SL_INIT("8BITMIME"), CLIENT_8BITMIME },
	};
	struct slice rest = slice_of(c->reply.line), word;
	size_t i;

	if (!c->named || !slice_word(&rest, " ", &word)) {
		c->named = true;
		return;
	}
	for (i = 0; i < NELEMS(known); i++) {
		if (slice_case_eq(word, known[i].keyword)) {
			c->offers |= known[i].offer;
			if (known[i].offer == CLIENT_SIZE &&
			    slice_word(&rest, " ", &word)) {
				(void)slice_number(word, UINT64_MAX,
				    &c->size_limit);
			}
		}
	}
}

static void
on_hello(struct client *c)
{
	if (c->reply.class == 2) {
		if (c->stage == CLIENT_HELLO) {
			on_hello_line(c);
		}
		c->was_ready = true;
		client_set_stage(c, CLIENT_READY);
	} else if (c->reply.class == 5 && !c->lmtp &&
	    c->stage == CLIENT_HELLO) {
		/* RFC 5321, 3.2: it may be older than EHLO. */
		c->offers = 0;
		c->size_limit = 0;
		client_say(c, "HELO %s\r\n", c->helo);
		client_set_stage(c, CLIENT_HELO);
	} else {
		fail_politely(c);
	}
}

/* -- in -------------------------------------------------------------------- */

/* Is there a question whose answer may begin now? */
static bool
owes(const struct client *c)
{
	switch (c->stage) {
	case CLIENT_GREETING:
		return true;
	case CLIENT_HELLO:
	case CLIENT_HELO:
	case CLIENT_QUIT:
		return c->queued - c->out.n >= c->end;
	case CLIENT_RSET:
	case CLIENT_MAIL:
	case CLIENT_RCPT:
	case CLIENT_DATA:
	case CLIENT_CONTENT:
	case CLIENT_END:
		return client_mail_owes(c);
	case CLIENT_READY:
	case CLIENT_CLOSED:
	case CLIENT_NSTAGES:
		break;
	}
	return false;
}

static void
on_reply(struct client *c)
{
	switch (c->stage) {
	case CLIENT_GREETING:
		on_greeting(c);
		break;
	case CLIENT_HELLO:
	case CLIENT_HELO:
		on_hello(c);
		break;
	case CLIENT_RSET:
	case CLIENT_MAIL:
	case CLIENT_RCPT:
	case CLIENT_DATA:
	case CLIENT_CONTENT:
	case CLIENT_END:
		client_mail_reply(c);
		break;
	case CLIENT_QUIT:
		close_it(c);
		break;
	case CLIENT_READY:
	case CLIENT_CLOSED:
	case CLIENT_NSTAGES:
		break;
	}
}

/* Something that is no answer: what follows cannot be told apart any more. */
static void
on_nonsense(struct client *c, const char *what)
{
	if (c->stage == CLIENT_QUIT) {
		close_it(c); /* who cares */
	} else {
		client_fail(c, "4.5.0", "%s while %s", what,
		    stages[c->stage].words);
	}
}

void
client_input(struct client *c, struct slice in)
{
	enum reply_got got;
	size_t used;

	while (in.n > 0 && c->stage != CLIENT_CLOSED) {
		if (!reply_is_begun(&c->reply) && !owes(c)) {
			on_nonsense(c, "the peer answers what was not asked");
			break;
		}
		if (!reply_is_begun(&c->reply)) {
			c->early = client_mail_early(c);
		}
		got = reply_feed(&c->reply, in, &used);
		in.p += used;
		in.n -= used;
		if (got == REPLY_BAD) {
			on_nonsense(c, c->reply.why);
		} else if (got == REPLY_DONE) {
			on_reply(c);
		} else if (got == REPLY_LINE && c->stage == CLIENT_HELLO) {
			on_hello_line(c);
		}
	}
}

/* -- its end --------------------------------------------------------------- */

void
client_closed(struct client *c, const char *why)
{
	if (c->stage == CLIENT_QUIT || c->stage == CLIENT_CLOSED) {
		close_it(c);
		return;
	}
	client_fail(c, "4.4.2", "the connection was lost while %s: %s",
	    stages[c->stage].words, why);
}

void
client_timeout(struct client *c)
{
	if (c->stage == CLIENT_QUIT || c->stage == CLIENT_CLOSED) {
		close_it(c);
		return;
	}
	client_fail(c, "4.4.2", "the peer took too long: %s",
	    stages[c->stage].words);
}

void
client_abort(struct client *c, const char *esc, const char *why)
{
	if (c->stage != CLIENT_CLOSED) {
		client_fail(c, esc, "%s", why);
	}
}

void
client_quit(struct client *c)
{
	if (c->stage == CLIENT_READY) {
		client_say(c, "QUIT\r\n");
		client_set_stage(c, CLIENT_QUIT);
	} else if (c->stage != CLIENT_QUIT) {
		close_it(c);
	}
}
