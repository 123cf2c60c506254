#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/envelope.h"
#include "common/mailboxes.h"
#include "tools/sendmail_input.h"

void
sendmail_lines_init(struct sendmail_lines *l, struct strbuf *out,
    bool dot_is_data)
{
	*l = (struct sendmail_lines){ .out = out, .dot_is_data = dot_is_data,
		.at_bol = true };
}

/* A line end of the input: after a lone dot it ends the message. */
static bool
line_end(struct sendmail_lines *l)
{
	if (l->dot && !l->dot_is_data) {
		l->ended = true;
		return true;
	}
	if (l->dot && !strbuf_add_char(l->out, '.')) {
		return false;
	}
	l->dot = l->cr = false;
	l->at_bol = true;
	return strbuf_add(l->out, "\r\n", 2);
}

/* What was held back turns out to be data; a lone CR becomes a line end, for
   on the wire it could be none (RFC 5321, 2.3.8). */
static bool
release(struct sendmail_lines *l)
{
	if (l->cr) {
		return line_end(l);
	}
	if (l->dot) {
		l->dot = false;
		return strbuf_add_char(l->out, '.');
	}
	return true;
}

static bool
feed_octet(struct sendmail_lines *l, char c)
{
	if (c == '\n') {
		return line_end(l);
	}
	if (l->cr && !release(l)) {
		return false;
	}
	if (l->ended) {
		return true;
	}
	if (c == '\r') {
		l->cr = true;
		return true;
	}
	if (c == '.' && l->at_bol) {
		l->dot = true;
		l->at_bol = false;
		return true;
	}
	if (l->dot && !release(l)) {
		return false;
	}
	l->at_bol = false;
	l->nul = l->nul || c == '\0';
	return strbuf_add_char(l->out, c);
}

/* Octets of an ordinary run: nothing in it needs a look. */
static size_t
plain_run(const struct sendmail_lines *l, struct slice in)
{
	size_t n = 0;

	if (l->at_bol || l->cr || l->dot) {
		return 0;
	}
	while (n < in.n && in.p[n] != '\n' && in.p[n] != '\r' &&
	    in.p[n] != '\0') {
		n++;
	}
	return n;
}

bool
sendmail_lines_feed(struct sendmail_lines *l, struct slice in)
{
	size_t run;

	while (in.n > 0 && !l->ended) {
		run = plain_run(l, in);
		if (run > 0) {
			if (!strbuf_add(l->out, in.p, run)) {
				return false;
			}
		} else {
			if (!feed_octet(l, in.p[0])) {
				return false;
			}
			run = 1;
		}
		in.p += run;
		in.n -= run;
	}
	return true;
}

bool
sendmail_lines_end(struct sendmail_lines *l)
{
	if (l->ended || (l->at_bol && !l->cr)) {
		return true;
	}
	return line_end(l);
}

int
sendmail_read(int fd, struct sendmail_lines *l)
{
	char buf[65536];
	ssize_t r;

	while (!l->ended) {
		r = read(fd, buf, sizeof(buf));
		if (r == -1 && errno == EINTR) {
			continue;
		}
		if (r == -1) {
			return -1;
		}
		if (r == 0) {
			break;
		}
		if (!sendmail_lines_feed(l, slice_make(buf, (size_t)r))) {
			errno = EFBIG;
			return -1;
		}
	}
	if (!sendmail_lines_end(l)) {
		errno = EFBIG;
		return -1;
	}
	return 0;
}

/* The octets of the line at `at', its CRLF included. */
static size_t
line_octets(struct slice m, size_t at)
{
	size_t n = slice_find(slice_make(m.p + at, m.n - at), '\n');

	return at + n < m.n ? n + 1 : m.n - at;
}

/* The field name at the start of a line: printable ASCII up to a colon. */
static struct slice
field_name(struct slice line)
{
	size_t n = 0;

	while (n < line.n && line.p[n] > 32 && line.p[n] < 127 &&
	    line.p[n] != ':') {
		n++;
	}
	if (n == 0 || n == line.n || line.p[n] != ':') {
		return SL("");
	}
	return slice_make(line.p, n);
}

/*
 * The field at `at', folded lines included: its octets, or 0 when there is no
 * field (a blank line, the end, or the body begins without one).
 */
static size_t
field_octets(struct slice m, size_t at, struct slice *name, struct slice *value)
{
	size_t n, more;

	if (at >= m.n) {
		return 0;
	}
	n = line_octets(m, at);
	*name = field_name(slice_make(m.p + at, n));
	if (name->n == 0) {
		return 0;
	}
	while (at + n < m.n && (m.p[at + n] == ' ' || m.p[at + n] == '\t')) {
		more = line_octets(m, at + n);
		n += more;
	}
	*value = slice_make(m.p + at + name->n + 1, n - name->n - 1);
	return n;
}

void
sendmail_header_scan(struct slice m, struct sendmail_header *h)
{
	struct slice name, value;
	size_t n;

	*h = (struct sendmail_header){ 0 };
	if (m.n > 5 && memcmp(m.p, "From ", 5) == 0) {
		h->header_octets = h->mailbox_line = line_octets(m, 0);
	}
	while ((n = field_octets(m, h->header_octets, &name, &value)) > 0) {
		h->has_header = true;
		h->has_from = h->has_from || slice_case_eq(name, SL("From"));
		h->has_resent = h->has_resent || (name.n > 7 &&
		    slice_case_eq(slice_make(name.p, 7), SL("Resent-")));
		h->header_octets += n;
	}
}

static bool
is_bcc(struct slice name)
{
	return slice_case_eq(name, SL("Bcc")) ||
	    slice_case_eq(name, SL("Resent-Bcc"));
}

/* A field whose addresses are the recipients (RFC 5322, 3.6.3 and 3.6.6). */
static bool
is_destination(struct slice name, bool resent)
{
	if (resent) {
		return slice_case_eq(name, SL("Resent-To")) ||
		    slice_case_eq(name, SL("Resent-Cc")) ||
		    slice_case_eq(name, SL("Resent-Bcc"));
	}
	return slice_case_eq(name, SL("To")) || slice_case_eq(name, SL("Cc")) ||
	    slice_case_eq(name, SL("Bcc"));
}

bool
sendmail_header_recipients(struct slice m, const struct sendmail_header *h,
    bool (*add)(void *arg, struct slice addr), void *arg, struct strbuf *out)
{
	struct slice name, value, spec;
	size_t at = h->mailbox_line, n, place;

	(void)strbuf_add(out, m.p, at);
	while (at < h->header_octets &&
	    (n = field_octets(m, at, &name, &value)) > 0) {
		if (is_destination(name, h->has_resent)) {
			for (place = 0; mailboxes_next(value, &place, &spec);) {
				if (!add(arg, spec)) {
					return false;
				}
			}
		}
		if (!is_bcc(name)) {
			(void)strbuf_add(out, m.p + at, n);
		}
		at += n;
	}
	(void)strbuf_add(out, m.p + at, m.n - at);
	return true;
}

uint32_t
sendmail_flags(struct slice m)
{
	uint32_t flags = 0;
	size_t at, n, i;

	for (at = 0; at < m.n; at += n) {
		n = line_octets(m, at);
		if (m.p[at] == '.') {
			flags |= CONTENT_DOT_LINES;
		}
		if (n > 1000) { /* 998 and CRLF; RFC 5322, 2.1.1 */
			flags |= CONTENT_LONG_LINES;
		}
	}
	for (i = 0; i < m.n; i++) {
		if ((unsigned char)m.p[i] > 127) {
			return flags | CONTENT_8BIT;
		}
	}
	return flags;
}
