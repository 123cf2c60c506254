/* A cursor runs over the octets; every rule says what it took or which error. */
#include "config.h"

#include <arpa/inet.h>

#include "common/addr.h"

#define LABEL_MAX 63 /* RFC 1035, 2.3.4 */

const char *
addr_err_text(enum addr_err e)
{
	switch (e) {
	case ADDR_OK:
		return "a good address";
	case ADDR_EMPTY:
		return "the local-part is missing";
	case ADDR_SYNTAX:
		return "not of the form <local-part@domain>";
	case ADDR_LOCAL_LONG:
		return "the local-part has more than 255 octets";
	case ADDR_DOMAIN_LONG:
		return "the domain has more than 255 octets";
	case ADDR_DOMAIN_BAD:
		return "the domain is not a host name";
	case ADDR_LITERAL_BAD:
		return "the address literal is not [IPv4] or [IPv6:...]";
	case ADDR_8BIT:
		return "octets above 127 need SMTPUTF8, which is not offered";
	}
	return "?";
}

unsigned
addr_err_code(enum addr_err e)
{
	return e == ADDR_8BIT || e == ADDR_DOMAIN_BAD || e == ADDR_LITERAL_BAD
	    ? 553 : 501;
}

/* atext of RFC 5322, 3.2.3. */
static bool
is_atext(char c)
{
	return ascii_isalnum(c) ||
	    (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_8bit(char c)
{
	return (unsigned char)c > 127;
}

/* The error for an octet that no rule allows here. */
static enum addr_err
bad_octet(char c)
{
	return is_8bit(c) ? ADDR_8BIT : ADDR_SYNTAX;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE; in.p[0] is the DQUOTE. */
static enum addr_err
take_quoted(struct slice in, size_t *used)
{
	size_t i;

	for (i = 1; i < in.n && in.p[i] != '"'; i++) {
		if (in.p[i] == '\\' && ++i == in.n) {
			break;
		}
		if (ascii_iscntrl(in.p[i]) || is_8bit(in.p[i])) {
			return bad_octet(in.p[i]);
		}
	}
	if (i >= in.n) {
		return ADDR_SYNTAX;
	}
	*used = i + 1;
	return i == 1 ? ADDR_EMPTY : ADDR_OK;
}

/* Dot-string = Atom *("." Atom) */
static enum addr_err
take_dot_string(struct slice in, size_t *used)
{
	size_t i = 0, atom = 0;

	while (i < in.n && (is_atext(in.p[i]) || in.p[i] == '.')) {
		if (in.p[i] == '.' && i == atom) {
			return ADDR_SYNTAX;
		}
		if (in.p[i] == '.') {
			atom = i + 1;
		}
		i++;
	}
	if (i < in.n && is_8bit(in.p[i])) {
		return ADDR_8BIT;
	}
	if (i == 0) {
		return ADDR_EMPTY;
	}
	*used = i;
	return i == atom ? ADDR_SYNTAX : ADDR_OK;
}

/* Local-part = Dot-string / Quoted-string */
static enum addr_err
take_local(struct slice in, size_t *used)
{
	enum addr_err e;

	if (in.n > 0 && in.p[0] == '"') {
		e = take_quoted(in, used);
	} else {
		e = take_dot_string(in, used);
	}
	return e == ADDR_OK && *used > ADDR_LOCAL_MAX ? ADDR_LOCAL_LONG : e;
}

bool
addr_is_domain(struct slice s)
{
	size_t i, label = 0;

	if (s.n == 0 || s.n > ADDR_DOMAIN_MAX) {
		return false;
	}
	for (i = 0; i <= s.n; i++) {
		if (i < s.n && s.p[i] != '.') {
			if (!ascii_isalnum(s.p[i]) && s.p[i] != '-' &&
			    s.p[i] != '_') {
				return false;
			}
			continue;
		}
		if (i == label || i - label > LABEL_MAX ||
		    s.p[label] == '-' || s.p[i - 1] == '-') {
			return false;
		}
		label = i + 1;
	}
	return true;
}

bool
addr_is_literal(struct slice s)
{
	unsigned char bin[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN];
	int family = AF_INET;

	if (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']') {
		return false;
	}
	s = slice_make(s.p + 1, s.n - 2);
	if (s.n > 5 && slice_case_eq(slice_make(s.p, 5), SL("IPv6:"))) {
		family = AF_INET6;
		s = slice_make(s.p + 5, s.n - 5);
	}
	if (s.n >= sizeof(text) || slice_find(s, '\0') < s.n) {
		return false;
	}
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	return inet_pton(family, text, bin) == 1;
}

/* Domain / address-literal, up to one of the octets `ends' or the end. */
static enum addr_err
take_domain(struct slice in, const char *ends, size_t *used)
{
	struct slice d;
	size_t i;

	for (i = 0; i < in.n; i++) {
		if (is_8bit(in.p[i])) {
			return ADDR_8BIT;
		}
		if (in.p[i] == '\0' || strchr(ends, in.p[i]) != NULL) {
			break;
		}
		if (in.p[i] == '[') { /* a literal has colons inside */
			i += slice_find(slice_make(in.p + i, in.n - i), ']');
			i -= i == in.n ? 1 : 0;
		}
	}
	d = slice_make(in.p, i);
	*used = i;
	if (d.n > ADDR_DOMAIN_MAX) {
		return ADDR_DOMAIN_LONG;
	}
	if (d.n > 0 && d.p[0] == '[') {
		return addr_is_literal(d) ? ADDR_OK : ADDR_LITERAL_BAD;
	}
	return addr_is_domain(d) ? ADDR_OK : ADDR_DOMAIN_BAD;
}

/* A-d-l ":" = At-domain *( "," At-domain ) ":"; in.p[0] is its "@". */
static enum addr_err
skip_route(struct slice in, size_t *used)
{
	enum addr_err e;
	size_t at = 0, n;

	for (;;) {
		if (at == in.n || in.p[at] != '@') {
			return ADDR_SYNTAX;
		}
		at++;
		e = take_domain(slice_make(in.p + at, in.n - at), ",:>", &n);
		if (e != ADDR_OK) {
			return e;
		}
		at += n;
		if (at == in.n || (in.p[at] != ',' && in.p[at] != ':')) {
			return ADDR_SYNTAX;
		}
		if (in.p[at++] == ':') {
			*used = at;
			return ADDR_OK;
		}
	}
}

/* Mailbox = Local-part "@" ( Domain / address-literal ), up to `ends'. */
static enum addr_err
take_mailbox(struct slice in, const char *ends, unsigned allow,
    struct addr *out, size_t *used)
{
	struct addr a = { { in.p, 0 }, { in.p, 0 } };
	enum addr_err e;
	size_t at = 0, n;

	e = take_local(in, &at);
	if (e != ADDR_OK) {
		return e;
	}
	a.local = slice_make(in.p, at);
	a.domain.p = in.p + at;
	if (at < in.n && in.p[at] == '@') {
		at++;
		e = take_domain(slice_make(in.p + at, in.n - at), ends, &n);
		if (e != ADDR_OK) {
			return e;
		}
		a.domain = slice_make(in.p + at, n);
		at += n;
	} else if ((allow & ADDR_ALLOW_BARE) == 0) {
		return at < in.n ? bad_octet(in.p[at]) : ADDR_SYNTAX;
	}
	*out = a;
	*used = at;
	return ADDR_OK;
}

enum addr_err
addr_parse_path(struct slice in, unsigned allow, struct addr *out, size_t *used)
{
	struct addr a;
	enum addr_err e;
	size_t at = 1, n = 0;

	if (in.n < 2 || in.p[0] != '<') {
		return in.n > 0 ? bad_octet(in.p[0]) : ADDR_SYNTAX;
	}
	if (in.p[1] == '>') {
		if ((allow & ADDR_ALLOW_NULL) == 0) {
			return ADDR_EMPTY;
		}
		*out = (struct addr){ { in.p + 1, 0 }, { in.p + 1, 0 } };
		*used = 2;
		return ADDR_OK;
	}
	if (in.p[1] == '@') {
		e = skip_route(slice_make(in.p + 1, in.n - 1), &n);
		if (e != ADDR_OK) {
			return e;
		}
		at += n;
	}
	e = take_mailbox(slice_make(in.p + at, in.n - at), ">", allow, &a, &n);
	if (e != ADDR_OK) {
		return e;
	}
	at += n;
	if (at == in.n || in.p[at] != '>') {
		return at < in.n ? bad_octet(in.p[at]) : ADDR_SYNTAX;
	}
	*out = a;
	*used = at + 1;
	return ADDR_OK;
}

enum addr_err
addr_parse_mailbox(struct slice in, unsigned allow, struct addr *out)
{
	struct addr a;
	enum addr_err e;
	size_t n;

	if (in.n == 0 && (allow & ADDR_ALLOW_NULL) != 0) {
		*out = (struct addr){ { "", 0 }, { "", 0 } };
		return ADDR_OK;
	}
	e = take_mailbox(in, "", allow, &a, &n);
	if (e == ADDR_OK && n < in.n) {
		e = bad_octet(in.p[n]);
	}
	if (e == ADDR_OK) {
		*out = a;
	}
	return e;
}

void
addr_local_value(const struct addr *a, struct strbuf *out)
{
	struct slice l = a->local;
	size_t i;

	if (l.n < 2 || l.p[0] != '"') {
		(void)strbuf_add_slice(out, l);
		return;
	}
	for (i = 1; i < l.n - 1; i++) {
		if (l.p[i] == '\\') {
			i++;
		}
		(void)strbuf_add_char(out, l.p[i]);
	}
}

void
addr_print(struct slice local, struct slice domain, struct strbuf *out)
{
	size_t i, n = 0;

	if (take_dot_string(local, &n) == ADDR_OK && n == local.n) {
		(void)strbuf_add_slice(out, local);
	} else {
		(void)strbuf_add_char(out, '"');
		for (i = 0; i < local.n; i++) {
			if (local.p[i] == '"' || local.p[i] == '\\') {
				(void)strbuf_add_char(out, '\\');
			}
			(void)strbuf_add_char(out, local.p[i]);
		}
		(void)strbuf_add_char(out, '"');
	}
	if (domain.n > 0) {
		(void)strbuf_add_char(out, '@');
		(void)strbuf_add_slice(out, domain);
	}
}
