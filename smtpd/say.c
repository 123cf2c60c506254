/* What sessions say: to the client, and to the log. */
#include "config.h"

#include <string.h>

#include "common/fate.h"
#include "common/log.h"
#include "common/soften.h"
#include "smtpd/session.h"

#define DETAIL_MAX 256 /* octets of a client's words in a reply or log line */

static const char *const state_names[] = {
#define STATE_NAME(name, meaning) #name,
	SMTPD_STATES(STATE_NAME)
#undef STATE_NAME
};

const char *
session_state_name(enum smtpd_state st)
{
	return state_names[st];
}

void
session_set_state(struct session *s, enum smtpd_state st)
{
	char peer[64];

	if (s->state != st && log_is_debug()) {
		log_debug("%s: %s -> %s", session_peer(s, peer),
		    session_state_name(s->state), session_state_name(st));
	}
	s->state = st;
}

const char *
session_peer(const struct session *s, char room[64])
{
	size_t n = strnlen(s->addr, sizeof(s->addr));

	if (s->submit) {
		memcpy(room, "localhost[local]", 17);
		return room;
	}
	memcpy(room, "unknown[", 8);
	memcpy(room + 8, s->addr, n);
	memcpy(room + 8 + n, "]", 2);
	return room;
}

/* With soft_bounce a refusal of mail is one for now. */
static unsigned
code_said(const struct session *s, unsigned code, const char **esc,
    char room[ESC_MAX])
{
	static const char *const verbs[] = { "MAIL", "RCPT", "DATA",
		"END-OF-MESSAGE" };
	size_t i = 0;

	while (i < NELEMS(verbs) && strcmp(s->verb, verbs[i]) != 0) {
		i++;
	}
	return s->srv->set->soft_bounce && i < NELEMS(verbs) ?
	    soften(code, esc, room) : code;
}

/* "CODE ESC TEXT: DETAIL" and CRLF. RFC 5321 (4.2.3) wants our name behind 221
   and 421. */
static void
say_line(struct session *s, const struct smtpd_reply *r, struct slice detail)
{
	const char *esc = r->esc;
	char room[ESC_MAX];

	(void)strbuf_printf(&s->out, "%u ", code_said(s, r->code, &esc, room));
	if (esc[0] != '\0') {
		(void)strbuf_printf(&s->out, "%s ", esc);
	}
	if (r->code == 221 || r->code == 421) {
		(void)strbuf_printf(&s->out, "%s ", s->srv->set->myhostname);
	}
	(void)strbuf_add_str(&s->out, r->text);
	if (detail.n > 0) {
		if (r->text[0] != '\0') {
			(void)strbuf_add_str(&s->out, ": ");
		}
		strbuf_add_quoted(&s->out, detail, DETAIL_MAX);
	}
	(void)strbuf_add_str(&s->out, "\r\n");
}

void
session_reply_with(struct session *s, enum smtpd_reply_id id,
    struct slice detail)
{
	const struct smtpd_reply *r = &smtpd_replies[id];
	char peer[64];

	say_line(s, r, detail);
	if (r->code >= 500) {
		s->errors++;
		log_debug("%s: %s answered %u %s %s", session_peer(s, peer),
		    s->verb, r->code, r->esc, r->text);
	}
}

void
session_reply(struct session *s, enum smtpd_reply_id id)
{
	session_reply_with(s, id, SL(""));
}

void
session_reply_last(struct session *s, enum smtpd_reply_id id)
{
	const struct smtpd_reply *r = &smtpd_replies[id];
	char peer[64];

	session_reply(s, id);
	log_info("closing after %s from %s: %u %s %s", s->verb,
	    session_peer(s, peer), r->code, r->esc, r->text);
	session_set_closing(s);
}

void
session_say(struct session *s, const struct answer *a)
{
	const char *esc = a->esc;
	char room[ESC_MAX];
	unsigned code = code_said(s, a->code, &esc, room);

	(void)strbuf_printf(&s->out, "%u %s %s\r\n", code, esc, a->text);
}

static void
log_reject(const struct session *s, const char *verb, unsigned code,
    const char *esc, const char *text, const char *forward_path)
{
	char peer[64], room[ESC_MAX];
	struct strbuf b;

	code = code_said(s, code, &esc, room);
	strbuf_init(&b, 0);
	(void)strbuf_printf(&b, "%s from %s: %u %s ", verb,
	    session_peer(s, peer), code, esc);
	if (forward_path != NULL) {
		(void)strbuf_add_char(&b, '<');
		strbuf_add_quoted(&b, slice_of(forward_path), DETAIL_MAX);
		(void)strbuf_add_str(&b, ">: ");
	}
	(void)strbuf_add_str(&b, text);
	(void)strbuf_add_char(&b, ';');
	if (s->t != NULL) {
		(void)strbuf_add_str(&b, " from=<");
		strbuf_add_quoted(&b, slice_of(s->t->reverse_path), DETAIL_MAX);
		(void)strbuf_add_char(&b, '>');
	}
	if (forward_path != NULL) {
		(void)strbuf_add_str(&b, " to=<");
		strbuf_add_quoted(&b, slice_of(forward_path), DETAIL_MAX);
		(void)strbuf_add_char(&b, '>');
	}
	(void)strbuf_printf(&b, " proto=%s helo=<", s->esmtp ? "ESMTP" : "SMTP");
	if (s->helo != NULL) {
		strbuf_add_quoted(&b, slice_of(s->helo), DETAIL_MAX);
	}
	log_info("NOQUEUE: reject: %s>", b.p);
	strbuf_clear(&b);
}

void
session_log_reject(const struct session *s, const char *verb,
    const struct answer *a, const char *forward_path)
{
	log_reject(s, verb, a->code, a->esc, a->text, forward_path);
}

void
session_log_reply(const struct session *s, const char *verb,
    enum smtpd_reply_id id, const char *forward_path)
{
	const struct smtpd_reply *r = &smtpd_replies[id];

	log_reject(s, verb, r->code, r->esc, r->text, forward_path);
}
