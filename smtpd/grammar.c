#include "config.h"

#include "smtpd/grammar.h"

#define HELO_MAX 255

/* The index of the first CRLF in `in', or in.n. */
static size_t
find_crlf(struct slice in)
{
	size_t at = 0, lf;

	while (at < in.n) {
		lf = at + slice_find(slice_make(in.p + at, in.n - at), '\n');
		if (lf < in.n && lf > 0 && in.p[lf - 1] == '\r') {
			return lf - 1;
		}
		at = lf + 1;
	}
	return in.n;
}

/* In the middle of a long line: drop up to its CRLF. */
static enum grammar_line
skip(struct grammar_lines *st, struct slice in, size_t *used)
{
	size_t n;

	if (st->cr && in.n > 0 && in.p[0] == '\n') {
		n = 1;
	} else {
		n = find_crlf(in);
		if (n == in.n) {
			*used = n;
			st->skipped += n;
			st->cr = n > 0 ? in.p[n - 1] == '\r' : st->cr;
			return st->skipped > GRAMMAR_SKIP_MAX ? GRAMMAR_ENDLESS
			                                      : GRAMMAR_MORE;
		}
		n += 2;
	}
	*used = n;
	n += st->skipped;
	*st = (struct grammar_lines){ 0 };
	return n > GRAMMAR_SKIP_MAX ? GRAMMAR_ENDLESS : GRAMMAR_LONG;
}

enum grammar_line
grammar_next(struct grammar_lines *st, struct slice in, struct slice *line,
    size_t *used)
{
	struct slice head = in;
	size_t n, more = 0;
	enum grammar_line r;

	*used = 0;
	if (st->skipped > 0) {
		return skip(st, in, used);
	}
	head.n = head.n > GRAMMAR_LINE_MAX ? GRAMMAR_LINE_MAX : head.n;
	n = find_crlf(head);
	if (n == head.n && head.n < GRAMMAR_LINE_MAX) {
		return GRAMMAR_MORE;
	}
	if (n == head.n) {
		st->skipped = n;
		st->cr = head.p[n - 1] == '\r';
		r = skip(st, slice_make(in.p + n, in.n - n), &more);
		*used = n + more;
		return r;
	}
	*used = n + 2;
	head.n = n;
	if (slice_find(head, '\r') < n || slice_find(head, '\n') < n ||
	    slice_find(head, '\0') < n) {
		return GRAMMAR_BAD;
	}
	*line = head;
	return GRAMMAR_LINE;
}

void
grammar_split(struct slice line, struct slice *verb, struct slice *arg)
{
	size_t i = 0;

	line = slice_trim(line);
	while (i < line.n && line.p[i] != ' ' && line.p[i] != '\t') {
		i++;
	}
	*verb = slice_make(line.p, i);
	*arg = slice_trim(slice_make(line.p + i, line.n - i));
}

enum addr_err
grammar_path(struct slice arg, struct slice word, unsigned allow,
    struct addr *out, struct slice *params)
{
	struct addr a;
	enum addr_err e;
	size_t n = word.n;

	if (arg.n < n || !slice_case_eq(slice_make(arg.p, n), word)) {
		return ADDR_SYNTAX;
	}
	while (n < arg.n && arg.p[n] == ' ') {
		n++;
	}
	arg = slice_make(arg.p + n, arg.n - n);
	e = addr_parse_path(arg, allow, &a, &n);
	if (e != ADDR_OK) {
		return e;
	}
	if (n < arg.n && arg.p[n] != ' ') {
		return ADDR_SYNTAX;
	}
	*out = a;
	*params = slice_make(arg.p + n, arg.n - n);
	return ADDR_OK;
}

/* esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
static bool
is_keyword(struct slice s)
{
	size_t i;

	if (s.n == 0 || s.p[0] == '-') {
		return false;
	}
	for (i = 0; i < s.n; i++) {
		if (!ascii_isalnum(s.p[i]) && s.p[i] != '-') {
			return false;
		}
	}
	return true;
}

/* esmtp-value = 1*(%d33-60 / %d62-126) */
static bool
is_value(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '=') {
			return false;
		}
	}
	return s.n > 0;
}

enum grammar_param
grammar_next_param(struct slice *params, struct slice *key, struct slice *value)
{
	struct slice w;
	size_t n;

	if (!slice_word(params, " ", &w)) {
		return GRAMMAR_NO_PARAM;
	}
	n = slice_find(w, '=');
	*key = slice_make(w.p, n);
	*value = slice_make(NULL, 0);
	if (!is_keyword(*key)) {
		return GRAMMAR_PARAM_BAD;
	}
	if (n < w.n) {
		*value = slice_make(w.p + n + 1, w.n - n - 1);
		return is_value(*value) ? GRAMMAR_PARAM : GRAMMAR_PARAM_BAD;
	}
	return GRAMMAR_PARAM;
}

bool
grammar_size(struct slice value, uint64_t *out)
{
	size_t i;

	if (value.n == 0 || value.n > 20) {
		return false;
	}
	for (i = 0; i < value.n; i++) {
		if (!ascii_isdigit(value.p[i])) {
			return false;
		}
	}
	if (!slice_number(value, UINT64_MAX, out)) {
		*out = UINT64_MAX; /* 20 digits: larger than any limit of ours */
	}
	return true;
}

bool
grammar_is_helo(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] > '~') {
			return false;
		}
	}
	return s.n > 0 && s.n <= HELO_MAX;
}
