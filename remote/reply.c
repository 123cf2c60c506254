#include "config.h"

#include <stdio.h>

#include "common/outcome.h"
#include "remote/reply.h"

/* Where in a line the next octet is. */
enum place {
	AT_CODE, /* one of the three digits */
	AT_CODE2,
	AT_CODE3,
	AT_SEPARATOR,
	AT_TEXT,
	AT_LF,   /* CR was seen */
};

static enum reply_got
bad(struct reply *r, const char *why)
{
	r->why = why;
	return REPLY_BAD;
}

bool
reply_is_begun(const struct reply *r)
{
	return r->begun && !r->stale;
}

/* The first octet of a reply: the one before is forgotten. */
static void
begin(struct reply *r)
{
	*r = (struct reply){ .begun = true };
}

/* The enhanced status code at the start of a line, or nothing. */
static struct slice
esc_of(const struct reply *r)
{
	struct slice line = slice_make(r->line, r->nline);
	struct slice esc = slice_make(line.p, slice_find(line, ' '));

	if (esc.n > 0 && outcome_is_esc(esc, esc.p[0]) && esc.p[0] >= '2' &&
	    esc.p[0] <= '5' && esc.p[0] != '3') {
		return esc;
	}
	return slice_make(line.p, 0);
}

static void
show(struct reply *r, struct slice s)
{
	/* "ddd " comes in front when the code is known. */
	size_t room = REPLY_TEXT_MAX - 4 - r->ntext;

	s = slice_trim(s);
	if (s.n == 0) {
		return;
	}
	if (r->ntext > 0 && room > 0) {
		r->text[r->ntext++] = ' ';
		room--;
	}
	s.n = s.n < room ? s.n : room;
	memcpy(r->text + r->ntext, s.p, s.n);
	r->ntext = (uint16_t)(r->ntext + s.n);
}

/* A line is whole: its text goes to the reply's, without a code that the first
   line had. */
static void
add_line(struct reply *r)
{
	struct slice line = slice_make(r->line, r->nline), esc = esc_of(r);

	r->line[r->nline] = '\0';
	if (r->code == 0) {
		memcpy(r->esc, esc.p, esc.n);
		r->esc[esc.n] = '\0';
	} else {
		r->mixed = r->mixed || r->code / 100 != r->now / 100;
		if (esc.n > 0 && slice_eq(esc, slice_of(r->esc))) {
			line.p += esc.n;
			line.n -= esc.n;
		}
	}
	r->code = r->now;
	show(r, line);
}

static void
finish(struct reply *r)
{
	char code[5] = { (char)('0' + r->code / 100),
		(char)('0' + r->code / 10 % 10), (char)('0' + r->code % 10),
		' ' };

	r->class = r->mixed ? 4 : r->code / 100;
	if (r->esc[0] != (char)('0' + r->class)) {
		memcpy(r->esc, "x.0.0", 6);
		r->esc[0] = (char)('0' + r->class);
	}
	memmove(r->text + 4, r->text, r->ntext);
	memcpy(r->text, code, 4);
	r->text[r->ntext > 0 ? r->ntext + 4 : 3] = '\0';
	r->stale = true;
}

static enum reply_got
end_line(struct reply *r)
{
	add_line(r);
	r->at = AT_CODE;
	r->now = 0;
	if (r->more) {
		return REPLY_LINE;
	}
	finish(r);
	return REPLY_DONE;
}

static enum reply_got
take_digit(struct reply *r, char c)
{
	if (!ascii_isdigit(c) || (r->at == AT_CODE && (c < '2' || c > '5'))) {
		return bad(r, "a line does not begin with a reply code");
	}
	r->now = r->now * 10 + (unsigned)(c - '0');
	r->at++;
	return REPLY_MORE;
}

static enum reply_got
take_separator(struct reply *r, char c)
{
	r->nline = 0;
	r->more = c == '-';
	r->at = c == '\r' ? AT_LF : AT_TEXT;
	if (c != '-' && c != ' ' && c != '\r') {
		return bad(r, "a reply code is followed by something else");
	}
	return REPLY_MORE;
}

static enum reply_got
take_text(struct reply *r, char c)
{
	if (c == '\r') {
		r->at = AT_LF;
	} else if (c == '\n') {
		return bad(r, "a bare LF in a reply");
	} else if (r->nline < REPLY_LINE_KEPT) {
		c = c == '\t' ? ' ' : c;
		r->line[r->nline++] = (unsigned char)c < 32 ||
		    (unsigned char)c > 126 ? '?' : c;
	}
	return REPLY_MORE;
}

static enum reply_got
take(struct reply *r, char c)
{
	if (++r->octets > REPLY_OCTETS_MAX) {
		return bad(r, "a reply without end");
	}
	switch ((enum place)r->at) {
	case AT_CODE:
	case AT_CODE2:
	case AT_CODE3:
		return take_digit(r, c);
	case AT_SEPARATOR:
		return take_separator(r, c);
	case AT_TEXT:
		return take_text(r, c);
	case AT_LF:
		return c == '\n' ? end_line(r) :
		    bad(r, "a bare CR in a reply");
	}
	return bad(r, "");
}

enum reply_got
reply_feed(struct reply *r, struct slice in, size_t *used)
{
	enum reply_got got = REPLY_MORE;
	size_t i;

	for (i = 0; i < in.n && got == REPLY_MORE; i++) {
		if (!r->begun || r->stale) {
			begin(r);
		}
		got = take(r, in.p[i]);
	}
	*used = i;
	return got;
}
