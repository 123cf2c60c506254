/*
 * A mail transaction is a script of steps, said in order and answered in order:
 *   0 RSET (when the one before was left half done), 1 MAIL,
 *   2 ... RCPT, one a recipient, then DATA.
 * With PIPELINING (RFC 2920) all are said at once, else each after the answer to
 * the one before. What has been said and not been answered is known by `said'
 * and `answered'; the content and its end come after the script.
 */
#include "config.h"

#include "common/envelope.h"
#include "common/log.h"
#include "remote/client.h"

#define STEP_RSET 0
#define STEP_MAIL 1
#define STEP_RCPT 2

static unsigned
step_data(const struct client *c)
{
	return STEP_RCPT + c->mail->nrcpts;
}

static enum client_stage
stage_of(const struct client *c, unsigned step)
{
	if (step == STEP_RSET) {
		return CLIENT_RSET;
	}
	if (step == STEP_MAIL) {
		return CLIENT_MAIL;
	}
	return step < step_data(c) ? CLIENT_RCPT : CLIENT_DATA;
}

/* -- fates ----------------------------------------------------------------- */

static void
give(struct client *c, struct client_rcpt *r, const struct outcome *o)
{
	if (r->state == CLIENT_RCPT_TAKEN) {
		c->taken--;
	}
	r->state = CLIENT_RCPT_DONE;
	c->ops->result(c->owner, r, o);
}

static void
give_all(struct client *c, const struct outcome *o)
{
	unsigned i;

	for (i = 0; i < c->mail->nrcpts; i++) {
		if (c->mail->rcpts[i].state != CLIENT_RCPT_DONE) {
			give(c, &c->mail->rcpts[i], o);
		}
	}
}

/* The fate that the peer's reply means for those whom it is about. */
static struct outcome
said(const struct client *c)
{
	const enum fate fates[] = { [2] = FATE_DELIVERED, [3] = FATE_DEFERRED,
		[4] = FATE_DEFERRED, [5] = FATE_FAILED };
	struct outcome o;

	outcome_set(&o, fates[c->reply.class], c->reply.esc, "%s",
	    c->reply.text);
	return o;
}

/* All recipients have their fates. */
static void
over(struct client *c, bool reset)
{
	c->mail = NULL;
	c->reset = reset;
	client_set_stage(c, CLIENT_READY);
}

void
client_mail_lost(struct client *c)
{
	struct outcome o = c->why;
	unsigned i;

	if (c->mail == NULL) {
		return;
	}
	for (i = 0; i < c->mail->nrcpts; i++) {
		struct client_rcpt *r = &c->mail->rcpts[i];

		if (r->state != CLIENT_RCPT_TAKEN) {
			continue;
		}
		if (c->stage == CLIENT_END) {
			/* It may have got it all: RFC 1047. */
			give(c, r, &o);
		} else {
			r->state = CLIENT_RCPT_OPEN;
		}
	}
	c->taken = 0;
	for (i = 0; i < c->mail->nrcpts; i++) {
		if (c->mail->rcpts[i].state != CLIENT_RCPT_DONE) {
			return;
		}
	}
	c->mail = NULL;
}

/* -- out ------------------------------------------------------------------- */

static void
say_mail(struct client *c)
{
	const struct client_mail *m = c->mail;

	client_say(c, "MAIL FROM:<%.*s>", SLF(m->reverse_path));
	if ((c->offers & CLIENT_SIZE) != 0) {
		client_say(c, " SIZE=%llu", (unsigned long long)m->size);
	}
	if ((m->flags & CONTENT_8BIT) != 0 &&
	    (c->offers & CLIENT_8BITMIME) != 0) {
		client_say(c, " BODY=8BITMIME");
	}
	client_say(c, "\r\n");
	c->mail_end = c->end;
}

static void
say_step(struct client *c, unsigned step)
{
	struct client_rcpt *r;

	switch (stage_of(c, step)) {
	case CLIENT_RSET:
		client_say(c, "RSET\r\n");
		c->rset_end = c->end;
		break;
	case CLIENT_MAIL:
		say_mail(c);
		break;
	case CLIENT_RCPT:
		r = &c->mail->rcpts[step - STEP_RCPT];
		client_say(c, "RCPT TO:<%.*s>\r\n", SLF(r->path));
		r->end = c->end;
		break;
	default:
		client_say(c, "DATA\r\n");
		c->data_end = c->end;
		break;
	}
}

/* Is there a next step, and may it be said now? */
static bool
may_say(const struct client *c)
{
	if (c->said > step_data(c) || c->refused) {
		return false;
	}
	if (c->said == step_data(c) && c->answered == c->said &&
	    c->taken == 0) {
		return false; /* nobody is left to send it to */
	}
	return c->answered == c->said ||
	    ((c->offers & CLIENT_PIPELINING) != 0 &&
	    c->out.n < CLIENT_OUT_MARK);
}

/* Say what may be said; when all that was said is answered and nothing is left
   to say, the transaction is over. */
static void
go_on(struct client *c)
{
	while (may_say(c)) {
		say_step(c, c->said++);
	}
	if (c->answered == c->said) {
		over(c, true);
	} else {
		client_set_stage(c, stage_of(c, c->answered));
	}
}

void
client_sent(struct client *c)
{
	if (c->mail != NULL && (c->stage == CLIENT_RSET ||
	    c->stage == CLIENT_MAIL || c->stage == CLIENT_RCPT)) {
		while (may_say(c)) {
			say_step(c, c->said++);
		}
	}
}

static bool
is_ascii(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n && (unsigned char)s.p[i] < 128; i++) {
	}
	return i == s.n;
}

/* What cannot be sent to this peer gets its fate without being tried. */
static void
refuse_beforehand(struct client *c)
{
	struct client_mail *m = c->mail;
	struct outcome o;
	unsigned i;

	if (c->size_limit > 0 && m->size > c->size_limit) {
		outcome_set(&o, FATE_FAILED, "5.3.4", "the message has %llu "
		    "octets, the peer takes at most %llu",
		    (unsigned long long)m->size,
		    (unsigned long long)c->size_limit);
		give_all(c, &o);
		return;
	}
	outcome_set(&o, FATE_FAILED, "5.6.7", "an address is not ASCII, "
	    "and the peer was not asked for SMTPUTF8");
	if (!is_ascii(m->reverse_path)) {
		give_all(c, &o);
		return;
	}
	for (i = 0; i < m->nrcpts; i++) {
		if (!is_ascii(m->rcpts[i].path)) {
			give(c, &m->rcpts[i], &o);
		}
	}
}

/* The recipients that are done go to the end of the list. */
static void
leave_out_done(struct client_mail *m)
{
	unsigned i, n = 0;

	for (i = 0; i < m->nrcpts; i++) {
		struct client_rcpt r = m->rcpts[i];

		if (r.state != CLIENT_RCPT_DONE) {
			m->rcpts[i] = m->rcpts[n];
			m->rcpts[n++] = r;
		}
	}
	m->nrcpts = n;
}

void
client_begin(struct client *c, struct client_mail *m)
{
	if (c->stage != CLIENT_READY || m->nrcpts == 0) {
		log_panic("a mail transaction begins at the wrong time");
	}
	c->mail = m;
	c->served++;
	c->said = c->answered = c->reset ? STEP_RSET : STEP_MAIL;
	c->reset = c->refused = c->mail_answered = false;
	c->taken = c->turn = 0;
	refuse_beforehand(c);
	leave_out_done(m);
	if (m->nrcpts == 0) {
		over(c, c->said == STEP_RSET);
		return;
	}
	c->raw_8bit = (m->flags & CONTENT_8BIT) != 0 &&
	    (c->offers & CLIENT_8BITMIME) == 0;
	go_on(c);
}

/* -- content --------------------------------------------------------------- */

static void
put(struct client *c, struct slice s)
{
	(void)strbuf_add_slice(&c->out, s);
	c->queued += s.n;
}

/* RFC 5321, 4.5.2. */
static void
put_stuffed(struct client *c, struct slice s)
{
	const char *end = s.p + s.n, *lf;

	while (s.p < end) {
		if (c->at_start && *s.p == '.') {
			put(c, SL("."));
		}
		lf = memchr(s.p, '\n', (size_t)(end - s.p));
		c->at_start = lf != NULL;
		s.n = (size_t)((lf != NULL ? lf + 1 : end) - s.p);
		put(c, s);
		s.p += s.n;
	}
}

void
client_content(struct client *c, struct slice piece)
{
	if (c->stage != CLIENT_CONTENT || piece.n == 0) {
		return;
	}
	if ((c->mail->flags & CONTENT_DOT_LINES) != 0) {
		put_stuffed(c, piece);
	} else {
		put(c, piece);
		c->at_start = piece.p[piece.n - 1] == '\n';
	}
}

void
client_content_end(struct client *c)
{
	if (c->stage == CLIENT_CONTENT) {
		client_say(c, "%s.\r\n", c->at_start ? "" : "\r\n");
		client_set_stage(c, CLIENT_END);
	}
}

/* -- in -------------------------------------------------------------------- */

bool
client_mail_early(const struct client *c)
{
	return c->stage == CLIENT_CONTENT ||
	    (c->stage == CLIENT_END && c->queued - c->out.n < c->end);
}

bool
client_mail_owes(const struct client *c)
{
	const uint64_t sent = c->queued - c->out.n;

	if (c->stage == CLIENT_CONTENT || c->stage == CLIENT_END) {
		return true; /* client_mail_early() tells which it is */
	}
	if (c->answered >= c->said) {
		return false;
	}
	switch (stage_of(c, c->answered)) {
	case CLIENT_RCPT:
		return sent >= c->mail->rcpts[c->answered - STEP_RCPT].end;
	case CLIENT_MAIL:
		return sent >= c->mail_end;
	case CLIENT_DATA:
		return sent >= c->data_end;
	default:
		return sent >= c->rset_end;
	}
}

static void
on_mail(struct client *c)
{
	struct outcome o;

	if (c->reply.class != 2 && c->served > 1) {
		/* Meant for this connection, maybe: too many messages, too long
		   idle. A fresh one will tell. */
		client_fail_said(c);
		return;
	}
	c->mail_answered = true;
	if (c->reply.class != 2) {
		o = said(c);
		c->refused = true;
		give_all(c, &o);
	}
}

/*
 * RFC 5321, 4.5.3.1.10: 552 stands for 452, too many recipients, unless the
 * peer says by its enhanced code that it means something else.
 */
static bool
is_too_many(const struct reply *r)
{
	return r->code == 552 && (strcmp(r->esc, "5.0.0") == 0 ||
	    strcmp(r->esc, "5.5.3") == 0);
}

static void
on_rcpt(struct client *c, struct client_rcpt *r)
{
	struct outcome o;

	if (c->refused) {
		return;
	}
	if (c->reply.class == 2) {
		r->state = CLIENT_RCPT_TAKEN;
		c->taken++;
		return;
	}
	o = said(c);
	if (is_too_many(&c->reply)) {
		outcome_set(&o, FATE_DEFERRED, "4.5.3", "%s", c->reply.text);
	}
	give(c, r, &o);
}

static void
on_data(struct client *c)
{
	struct outcome o;

	if (c->reply.class != 3) {
		if (c->taken > 0) {
			o = said(c);
			give_all(c, &o);
		}
		over(c, true);
		return;
	}
	if (c->taken == 0) {
		/* It was asked too early to know that it is for nobody. Closing
		   is the one answer after which surely nothing was sent. */
		client_fail(c, "4.5.0", "content is wanted for nobody");
		return;
	}
	c->at_start = true;
	client_set_stage(c, CLIENT_CONTENT);
}

/* The answer to a step. Which class makes sense is known by the stage. */
static void
on_step(struct client *c)
{
	enum client_stage s = stage_of(c, c->answered);
	bool good = s == CLIENT_DATA ? c->reply.code == 354 :
	    c->reply.class == 2;

	if (c->reply.code == 421 || (s == CLIENT_RSET && !good)) {
		client_fail_said(c);
		return;
	}
	if (!good && c->reply.class < 4) {
		client_fail(c, "4.5.0", "an answer out of place while %s: %s",
		    client_stage_words(c->stage), c->reply.text);
		return;
	}
	c->answered++;
	switch (s) {
	case CLIENT_MAIL:
		on_mail(c);
		if (c->failed) {
			return;
		}
		break;
	case CLIENT_RCPT:
		on_rcpt(c, &c->mail->rcpts[c->answered - 1 - STEP_RCPT]);
		break;
	case CLIENT_DATA:
		on_data(c);
		return;
	default:
		break;
	}
	go_on(c);
}

/*
 * It began before the content was sent to its end, so nothing can have been
 * accepted. A refusal is one, before its time; anything else is nonsense. Whom
 * of several an LMTP server means cannot be told.
 */
static void
on_early(struct client *c)
{
	struct outcome o;

	if (c->reply.class >= 4 && c->reply.code != 421 &&
	    !(c->lmtp && c->taken > 1)) {
		o = said(c);
		give_all(c, &o);
		c->mail = NULL;
		client_fail_said(c);
	} else if (c->reply.class >= 4) {
		client_fail_said(c);
	} else {
		client_fail(c, "4.5.0", "an answer out of place while %s: %s",
		    client_stage_words(c->stage), c->reply.text);
	}
}

/* The next recipient that was accepted: LMTP answers in their order. */
static struct client_rcpt *
next_taken(struct client *c)
{
	while (c->mail->rcpts[c->turn].state != CLIENT_RCPT_TAKEN) {
		c->turn++;
	}
	return &c->mail->rcpts[c->turn];
}

static void
on_end(struct client *c)
{
	struct outcome o = said(c);

	if (c->reply.code == 421 || c->reply.class == 3) {
		/* For all that wait still: nobody knows how it went. */
		client_fail_said(c);
		return;
	}
	if (c->lmtp) {
		give(c, next_taken(c), &o);
		c->waits++;
	} else {
		give_all(c, &o);
	}
	if (c->taken == 0) {
		over(c, false);
	}
}

void
client_mail_reply(struct client *c)
{
	if (c->early) {
		on_early(c);
	} else if (c->stage == CLIENT_END) {
		on_end(c);
	} else {
		on_step(c);
	}
}
