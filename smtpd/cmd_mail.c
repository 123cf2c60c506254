/* MAIL: RFC 5321, 4.1.1.2; SIZE: RFC 1870; BODY: RFC 6152. */
#include "config.h"

#include "common/envelope.h"
#include "smtpd/session.h"

struct mail_params {
	bool has_size, has_body;
	uint64_t size;
	uint32_t flags;
};

static enum smtpd_reply_id
path_reply(enum addr_err e)
{
	if (e == ADDR_8BIT) {
		return SMTPD_R_MAIL_8BIT;
	}
	return addr_err_code(e) == 553 ? SMTPD_R_MAIL_NAME :
	    SMTPD_R_MAIL_SYNTAX;
}

/* Each returns the reply that refuses, or SMTPD_R_MAIL. */
static enum smtpd_reply_id
take_size(const struct session *s, struct slice value, struct mail_params *p)
{
	if (p->has_size) {
		return SMTPD_R_PARAM_TWICE;
	}
	p->has_size = true;
	if (!grammar_size(value, &p->size)) {
		return SMTPD_R_PARAM_SYNTAX;
	}
	return p->size > s->srv->set->message_size_limit
	    ? SMTPD_R_SIZE_DECLARED : SMTPD_R_MAIL;
}

static enum smtpd_reply_id
take_body(struct slice value, struct mail_params *p)
{
	if (p->has_body) {
		return SMTPD_R_PARAM_TWICE;
	}
	p->has_body = true;
	if (value.n == 0) {
		return SMTPD_R_PARAM_SYNTAX;
	}
	if (slice_case_eq(value, SL("8BITMIME"))) {
		p->flags |= CONTENT_BODY_8BITMIME;
		return SMTPD_R_MAIL;
	}
	return slice_case_eq(value, SL("7BIT")) ? SMTPD_R_MAIL
	                                        : SMTPD_R_PARAM_VALUE;
}

static enum smtpd_reply_id
take_params(const struct session *s, struct slice params,
    struct mail_params *p, struct slice *key)
{
	enum smtpd_reply_id r = SMTPD_R_MAIL;
	enum grammar_param g;
	struct slice value;

	while (r == SMTPD_R_MAIL) {
		g = grammar_next_param(&params, key, &value);
		if (g == GRAMMAR_NO_PARAM) {
			break;
		}
		if (g == GRAMMAR_PARAM_BAD) {
			r = SMTPD_R_PARAM_SYNTAX;
		} else if (slice_case_eq(*key, SL("SIZE"))) {
			r = take_size(s, value, p);
		} else if (slice_case_eq(*key, SL("BODY"))) {
			r = take_body(value, p);
		} else {
			r = SMTPD_R_PARAM_UNKNOWN;
		}
	}
	return r;
}

static void
begin(struct session *s, const struct addr *a, const struct mail_params *p)
{
	struct strbuf local, path;

	strbuf_init(&local, 0);
	strbuf_init(&path, 0);
	if (a->local.n > 0) {
		addr_local_value(a, &local);
		addr_print(strbuf_slice(&local), a->domain, &path);
	}
	transaction_begin(s, strbuf_slice(&path), p->size, p->flags);
	strbuf_clear(&local);
	strbuf_clear(&path);
}

void
cmd_mail(struct session *s, struct slice arg)
{
	struct mail_params p = { 0 };
	struct slice params, key = { NULL, 0 };
	enum smtpd_reply_id r;
	enum addr_err e;
	struct addr a;

	e = grammar_path(arg, SL("FROM:"), ADDR_ALLOW_NULL | ADDR_ALLOW_BARE,
	    &a, &params);
	if (e != ADDR_OK) {
		session_reply_with(s, path_reply(e),
		    slice_of(addr_err_text(e)));
		return;
	}
	r = take_params(s, params, &p, &key);
	if (r != SMTPD_R_MAIL) {
		session_reply_with(s, r, key);
		session_log_reply(s, "MAIL", r, NULL);
	} else if (!upstream_alive(s->srv)) {
		session_reply(s, SMTPD_R_UPSTREAM);
	} else if (s->srv->accepting.code != 250) {
		session_log_reject(s, "MAIL", &s->srv->accepting, NULL);
		session_say(s, &s->srv->accepting);
	} else {
		begin(s, &a, &p);
		session_reply(s, SMTPD_R_MAIL);
	}
}
