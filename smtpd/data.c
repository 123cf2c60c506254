/*
 * Runs of plain octets are found eight at a time (scan), so the state machine
 * turns at line ends and dots only.
 */
#include "config.h"

#include "common/envelope.h"
#include "smtpd/data.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)
#define ROOM  4 /* what one step may append beside a run: ".", CRLF */

enum {
	BEGIN,  /* at the beginning of a line */
	TEXT,   /* inside a line */
	CR,     /* inside a line, after a CR that is not appended yet */
	DOT,    /* after a dot that began the line, not appended yet */
	DOT_CR, /* after that dot and a CR, neither appended yet */
};

void
data_init(struct data_parser *d, uint64_t limit, bool normalise)
{
	*d = (struct data_parser){ .state = BEGIN, .limit = limit,
		.normalise = normalise };
}

static bool
has_octet(uint64_t w, unsigned char c)
{
	uint64_t x = w ^ (ONES * c);

	return ((x - ONES) & ~x & HIGHS) != 0;
}

/* How many octets come before the first CR, LF or NUL; *high is set when one of
   them is above 127. */
static size_t
scan(const char *p, size_t n, bool *high)
{
	uint64_t w, seen = 0;
	size_t i = 0;

	while (n - i >= sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
		if (has_octet(w, '\r') || has_octet(w, '\n') ||
		    has_octet(w, '\0')) {
			break;
		}
		seen |= w;
		i += sizeof(w);
	}
	while (i < n && p[i] != '\r' && p[i] != '\n' && p[i] != '\0') {
		seen |= (unsigned char)p[i++];
	}
	*high = (seen & HIGHS) != 0;
	return i;
}

static void
spoil(struct data_parser *d, enum data_verdict why)
{
	if (d->verdict == DATA_GOOD) {
		d->verdict = why;
	}
}

static void
append(struct data_parser *d, const char *p, size_t n, struct strbuf *out)
{
	d->size += n;
	if (d->size > d->limit) {
		spoil(d, DATA_TOO_BIG);
	}
	if (d->verdict == DATA_GOOD) {
		(void)strbuf_add(out, p, n);
	}
}

/* The line is over: `bare' tells that no CRLF ended it. */
static void
end_line(struct data_parser *d, bool bare, struct strbuf *out)
{
	if (bare && !d->normalise) {
		spoil(d, DATA_BARE);
	}
	if (d->line > DATA_LINE_LONG) {
		d->flags |= CONTENT_LONG_LINES;
	}
	append(d, "\r\n", 2, out);
	d->line = 0;
	d->bare = bare;
	d->state = BEGIN;
}

/* The dot that began the line is content after all. */
static void
keep_dot(struct data_parser *d, struct strbuf *out)
{
	d->flags |= CONTENT_DOT_LINES;
	d->line++;
	append(d, ".", 1, out);
}

/* In TEXT: a run of plain octets, and what ends it. Returns octets read. */
static size_t
take_text(struct data_parser *d, struct slice in, struct strbuf *out,
    size_t max)
{
	size_t n = in.n;
	bool high;

	if (d->verdict == DATA_GOOD && n > max - ROOM - out->n) {
		n = max - ROOM - out->n;
	}
	n = scan(in.p, n, &high);
	if (high) {
		d->flags |= CONTENT_8BIT;
	}
	d->line += n;
	append(d, in.p, n, out);
	if (n == in.n || (in.p[n] != '\r' && in.p[n] != '\n' &&
	    in.p[n] != '\0')) {
		return n;
	}
	switch (in.p[n]) {
	case '\r':
		d->state = CR;
		break;
	case '\n':
		end_line(d, true, out);
		break;
	default:
		spoil(d, DATA_NUL);
		d->line++;
		append(d, "", 1, out);
	}
	return n + 1;
}

/* After a dot that began the line, at the octet `c'. Returns octets read. */
static size_t
take_dot(struct data_parser *d, char c, struct strbuf *out)
{
	if (c == '\r') {
		d->state = DOT_CR;
		return 1;
	}
	if (c == '\n') {
		keep_dot(d, out);
		end_line(d, true, out);
		return 1;
	}
	if (c == '.') {
		d->flags |= CONTENT_DOT_LINES;
	}
	d->state = TEXT; /* un-stuffed: the dot goes, the rest stays */
	return 0;
}

/* After CRLF "." CR, at the octet `c'. Returns octets read. */
static size_t
take_dot_cr(struct data_parser *d, char c, struct strbuf *out)
{
	if (c == '\n' && !d->bare) {
		d->done = true;
		return 1;
	}
	keep_dot(d, out);
	end_line(d, c != '\n', out);
	return c == '\n' ? 1 : 0;
}

static size_t
step(struct data_parser *d, struct slice in, struct strbuf *out, size_t max)
{
	switch (d->state) {
	case BEGIN:
		if (in.p[0] == '.') {
			d->state = DOT;
			return 1;
		}
		d->state = TEXT;
		return take_text(d, in, out, max);
	case TEXT:
		return take_text(d, in, out, max);
	case CR:
		end_line(d, in.p[0] != '\n', out);
		return in.p[0] == '\n' ? 1 : 0;
	case DOT:
		return take_dot(d, in.p[0], out);
	default:
		return take_dot_cr(d, in.p[0], out);
	}
}

size_t
data_parse(struct data_parser *d, struct slice in, struct strbuf *out,
    size_t max)
{
	size_t at = 0;

	while (at < in.n && !d->done && out->n + ROOM < max) {
		at += step(d, slice_make(in.p + at, in.n - at), out, max);
	}
	d->taken += at;
	return at;
}
