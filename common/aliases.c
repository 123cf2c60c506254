#include "config.h"

#include "common/addr.h"
#include "common/aliases.h"

/* Up to the comma that is neither in quotes, escaped nor inside < >. */
static size_t
target_end(struct slice in, bool *open)
{
	bool quoted = false;
	size_t i;

	for (i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == '\\' && quoted && i + 1 < in.n) {
			i++;
		} else if (c == '"') {
			quoted = !quoted;
		} else if (c == ',' && !quoted) {
			break;
		}
	}
	*open = quoted;
	return i;
}

/* The quotes around a whole target; quotes inside must be escaped. */
static bool
whole_quoted(struct slice s)
{
	size_t i;

	if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"') {
		return false;
	}
	for (i = 1; i < s.n - 1; i++) {
		if (s.p[i] == '"') {
			return false;
		}
		if (s.p[i] == '\\' && ++i == s.n - 1) {
			return false;
		}
	}
	return true;
}

/* \" and \\ lose their backslash, every other one stays. */
static void
unquote(struct slice s, struct strbuf *out)
{
	size_t i;

	for (i = 1; i + 1 < s.n; i++) {
		if (s.p[i] == '\\' && i + 2 < s.n &&
		    (s.p[i + 1] == '"' || s.p[i + 1] == '\\')) {
			i++;
		}
		(void)strbuf_add_char(out, s.p[i]);
	}
}

static bool
is_special(char c)
{
	return c == '|' || c == '/' || c == ':' || c == '\\';
}

static const char *
take_address(struct slice s, struct alias_target *t, struct strbuf *buf)
{
	struct strbuf local;
	struct addr a;
	enum addr_err e;

	if (s.n > 2 && s.p[0] == '<' && s.p[s.n - 1] == '>') {
		s = slice_trim(slice_make(s.p + 1, s.n - 2));
	}
	if (s.n > 1 && s.p[0] == '@' && !t->escaped) {
		t->kind = ALIAS_DOMAIN;
		s = slice_make(s.p + 1, s.n - 1);
		strbuf_reset(buf);
		(void)strbuf_add_slice(buf, s);
		t->text = strbuf_slice(buf);
		return addr_is_domain(s) ? NULL : "not a domain after @";
	}
	e = addr_parse_mailbox(s, ADDR_ALLOW_BARE, &a);
	if (e != ADDR_OK) {
		return addr_err_text(e);
	}
	t->kind = ALIAS_ADDRESS;
	t->bare = a.domain.n == 0;
	strbuf_init(&local, 0);
	addr_local_value(&a, &local);
	strbuf_reset(buf); /* s may not live in it: see the caller */
	addr_print(strbuf_slice(&local), a.domain, buf);
	strbuf_clear(&local);
	t->text = strbuf_slice(buf);
	return NULL;
}

/* What begins with | / or a colon; the sign is in s. */
static const char *
take_special(struct slice s, struct alias_target *t, struct strbuf *buf)
{
	const struct slice include = SL(":include:");
	size_t skip = 0;

	t->kind = s.p[0] == '|' ? ALIAS_COMMAND :
	    s.p[0] == '/' ? ALIAS_FILE : ALIAS_DIRECTIVE;
	if (s.p[0] == '|') {
		skip = 1;
	} else if (s.n >= include.n &&
	    slice_case_eq(slice_make(s.p, include.n), include)) {
		t->kind = ALIAS_INCLUDE;
		skip = include.n;
	}
	s = slice_trim(slice_make(s.p + skip, s.n - skip));
	strbuf_reset(buf);
	(void)strbuf_add_slice(buf, s);
	t->text = strbuf_slice(buf);
	if (s.n == 0) {
		return t->kind == ALIAS_COMMAND ? "no command after the bar" :
		    "no file after :include:";
	}
	if (t->kind == ALIAS_INCLUDE && s.p[0] != '/') {
		return "the path after :include: is not absolute";
	}
	return NULL;
}

static const char *
take_target(struct slice s, struct alias_target *t, struct strbuf *buf)
{
	struct strbuf plain;
	const char *why;

	*t = (struct alias_target){ .kind = ALIAS_ADDRESS };
	strbuf_init(&plain, 0);
	if (whole_quoted(s) && s.n > 2 && is_special(s.p[1])) {
		unquote(s, &plain);
		s = strbuf_slice(&plain);
	}
	if (s.n > 1 && s.p[0] == '\\') {
		t->escaped = true;
		s = slice_make(s.p + 1, s.n - 1);
		why = take_address(s, t, buf);
		if (why == NULL && !t->bare) {
			why = "a backslash is for a local user's name";
		}
	} else if (s.p[0] == '|' || s.p[0] == '/' || s.p[0] == ':') {
		why = take_special(s, t, buf);
	} else {
		why = take_address(s, t, buf);
	}
	strbuf_clear(&plain);
	return why;
}

enum alias_next
aliases_next(struct slice *rest, struct alias_target *t, struct strbuf *buf,
    const char **why)
{
	struct slice s;
	bool open;
	size_t n;

	do {
		if (rest->n == 0) {
			return ALIAS_END;
		}
		n = target_end(*rest, &open);
		s = slice_trim(slice_make(rest->p, n));
		n += n < rest->n ? 1 : 0;
		*rest = slice_make(rest->p + n, rest->n - n);
	} while (s.n == 0);
	if (open) {
		*why = "a quote has no end";
	} else if (s.n > ALIASES_TARGET_MAX) {
		*why = "a target has more than 4096 octets";
	} else {
		*why = take_target(s, t, buf);
	}
	return *why == NULL ? ALIAS_NEXT : ALIAS_BAD;
}
