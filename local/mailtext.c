#include "config.h"

#include <inttypes.h>

#include "common/qid.h"
#include "local/mailtext.h"

void
mailtext_unique(struct strbuf *unique, uint64_t qid, uint32_t index,
    uint64_t arrived_us)
{
	char text[QID_TEXT + 1];

	qid_format(qid, text);
	(void)strbuf_printf(unique, "%" PRIu64 ".M%06" PRIu64 "V%sR%" PRIu32 ".",
	    arrived_us / 1000000, arrived_us % 1000000, text, index);
}

void
mailtext_name(struct strbuf *name, struct slice unique, struct slice host)
{
	size_t i;
	char c;

	(void)strbuf_add_slice(name, unique);
	for (i = 0; i < host.n; i++) {
		c = host.p[i];
		if (c == '/' || c == ':' || c == '\\' || ascii_iscntrl(c)) {
			(void)strbuf_printf(name, "\\%03o",
			    (unsigned)(unsigned char)c);
		} else {
			(void)strbuf_add_char(name, c);
		}
	}
}

/* Skip the digits at the start of *rest; false when there are none. */
static bool
skip_digits(struct slice *rest)
{
	size_t n = 0;

	while (n < rest->n && ascii_isdigit(rest->p[n])) {
		n++;
	}
	*rest = slice_make(rest->p + n, rest->n - n);
	return n > 0;
}

static bool
skip_text(struct slice *rest, struct slice text)
{
	if (rest->n < text.n || memcmp(rest->p, text.p, text.n) != 0) {
		return false;
	}
	*rest = slice_make(rest->p + text.n, rest->n - text.n);
	return true;
}

static bool
skip_qid(struct slice *rest)
{
	uint64_t qid;

	if (rest->n < QID_TEXT ||
	    !qid_parse(slice_make(rest->p, QID_TEXT), &qid)) {
		return false;
	}
	*rest = slice_make(rest->p + QID_TEXT, rest->n - QID_TEXT);
	return true;
}

struct slice
mailtext_unique_of(struct slice file)
{
	struct slice rest = file;

	if (!skip_digits(&rest) || !skip_text(&rest, SL(".M")) ||
	    !skip_digits(&rest) || !skip_text(&rest, SL("V")) ||
	    !skip_qid(&rest) || !skip_text(&rest, SL("R")) ||
	    !skip_digits(&rest) || !skip_text(&rest, SL("."))) {
		return SL("");
	}
	return slice_make(file.p, file.n - rest.n);
}

static void
field(struct strbuf *out, const char *before, struct slice value,
    const char *after)
{
	size_t i;

	(void)strbuf_add_str(out, before);
	for (i = 0; i < value.n; i++) {
		(void)strbuf_add_char(out,
		    ascii_iscntrl(value.p[i]) ? '?' : value.p[i]);
	}
	(void)strbuf_add_str(out, after);
}

void
mailtext_fields(struct strbuf *out, struct slice reverse_path,
    struct slice original, struct slice address)
{
	field(out, "Return-Path: <", reverse_path, ">\n");
	if (original.n > 0 && !slice_eq(original, address)) {
		field(out, "X-Original-To: ", original, "\n");
	}
	field(out, "Delivered-To: ", address, "\n");
}

size_t
crlf_feed(struct crlf *c, struct slice in, char *out)
{
	char *o = out;
	size_t n;

	if (c->held && in.n > 0) {
		c->held = false;
		if (in.p[0] != '\n') {
			*o++ = '\r';
		}
	}
	while (in.n > 0) {
		n = slice_find(in, '\r');
		memcpy(o, in.p, n);
		o += n;
		in = slice_make(in.p + n, in.n - n);
		if (in.n == 1) {
			c->held = true;
			break;
		}
		if (in.n > 1) {
			if (in.p[1] != '\n') {
				*o++ = '\r';
			}
			in = slice_make(in.p + 1, in.n - 1);
		}
	}
	return (size_t)(o - out);
}

size_t
crlf_end(struct crlf *c, char *out)
{
	if (!c->held) {
		return 0;
	}
	c->held = false;
	out[0] = '\r';
	return 1;
}

static const char wanted[] = "delivered-to:";

void
loopscan_init(struct loopscan *l, struct slice address)
{
	*l = (struct loopscan){ .address = address, .state = LOOP_NAME,
		.line_empty = true };
}

static void
end_line(struct loopscan *l)
{
	if (l->line_empty) {
		l->state = LOOP_OVER;
	} else if (l->state == LOOP_TAIL ||
	    (l->state == LOOP_VALUE && l->at == l->address.n && l->at > 0)) {
		l->state = LOOP_FOUND;
	} else {
		l->state = LOOP_NAME;
	}
	l->at = 0;
	l->line_empty = true;
}

static void
feed_octet(struct loopscan *l, char c)
{
	if (c == '\n') {
		end_line(l);
		return;
	}
	if (c == '\r') {
		return; /* of the line end; a lone one does not matter here */
	}
	l->line_empty = false;
	switch (l->state) {
	case LOOP_NAME:
		if (ascii_lower(c) != wanted[l->at]) {
			l->state = LOOP_OTHER;
		} else if (++l->at == sizeof(wanted) - 1) {
			l->state = LOOP_VALUE;
			l->at = 0;
		}
		break;
	case LOOP_VALUE:
		if (l->at == 0 && (c == ' ' || c == '\t')) {
			break;
		}
		if (l->at == l->address.n) {
			l->state = c == ' ' || c == '\t' ? LOOP_TAIL : LOOP_OTHER;
		} else if (ascii_lower(c) == ascii_lower(l->address.p[l->at])) {
			l->at++;
		} else {
			l->state = LOOP_OTHER;
		}
		break;
	case LOOP_TAIL:
		if (c != ' ' && c != '\t') {
			l->state = LOOP_OTHER;
		}
		break;
	case LOOP_OTHER:
	case LOOP_OVER:
	case LOOP_FOUND:
		break;
	}
}

/* Skip what cannot matter: most lines of a header are other fields. */
static struct slice
skip_other(struct loopscan *l, struct slice piece)
{
	size_t n = slice_find(piece, '\n');

	if (n > 0) {
		l->line_empty = false;
	}
	return slice_make(piece.p + n, piece.n - n);
}

bool
loopscan_feed(struct loopscan *l, struct slice piece)
{
	while (piece.n > 0 && l->state != LOOP_OVER && l->state != LOOP_FOUND) {
		if (l->state == LOOP_OTHER) {
			piece = skip_other(l, piece);
		}
		if (piece.n > 0) {
			feed_octet(l, piece.p[0]);
			piece = slice_make(piece.p + 1, piece.n - 1);
		}
	}
	return l->state == LOOP_OVER || l->state == LOOP_FOUND;
}

bool
loopscan_found(const struct loopscan *l)
{
	return l->state == LOOP_FOUND || l->state == LOOP_TAIL ||
	    (l->state == LOOP_VALUE && l->at == l->address.n && l->at > 0);
}
