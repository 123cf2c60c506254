#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "common/codec.h"
#include "tools/rows.h"

#define COLUMN_WIDTH_MAX 48 /* wider values push the rest of their line */

int
row_next(struct slice *row, struct row_column *col)
{
	struct dec d = dec_make(*row);
	uint8_t kind;

	if (row->n == 0) {
		return 0;
	}
	kind = dec_u8(&d);
	*col = (struct row_column){ .name = dec_slice(&d, SIZE_MAX) };
	if (kind == 'u') {
		col->number = dec_u64(&d);
	} else if (kind == 's') {
		col->is_text = true;
		col->text = dec_slice(&d, SIZE_MAX);
	} else {
		return -1;
	}
	if (d.bad) {
		return -1;
	}
	*row = d.in;
	return 1;
}

void
row_add_u(struct strbuf *row, const char *name, uint64_t value)
{
	enc_u8(row, 'u');
	enc_slice(row, slice_of(name));
	enc_u64(row, value);
}

void
row_add_s(struct strbuf *row, const char *name, struct slice value)
{
	enc_u8(row, 's');
	enc_slice(row, slice_of(name));
	enc_slice(row, value);
}

/* Octets of the UTF-8 character at the start of `s' (RFC 3629, 4); 0: none. */
static size_t
utf8_length(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	unsigned char lo = 0x80, hi = 0xbf;
	size_t n, i;

	if (p[0] < 0x80) {
		return 1;
	}
	if (p[0] < 0xc2 || p[0] > 0xf4) {
		return 0;
	}
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	switch (p[0]) {
	case 0xe0:
		lo = 0xa0; /* shortest form only */
		break;
	case 0xed:
		hi = 0x9f; /* no surrogates */
		break;
	case 0xf0:
		lo = 0x90;
		break;
	case 0xf4:
		hi = 0x8f; /* U+10FFFF is the last */
		break;
	default:
		break;
	}
	if (s.n < n || p[1] < lo || p[1] > hi) {
		return 0;
	}
	for (i = 2; i < n; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf) {
			return 0;
		}
	}
	return n;
}

/* The character of 2 or 3 octets at the start of `s'. */
static unsigned
code_point(struct slice s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s.p;

	return n == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu) :
	    (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
}

/*
 * Characters beyond ASCII that do what control octets do: C1, which terminals
 * obey; line and paragraph separators, at which readers of lines cut; marks that
 * turn the direction of what follows.
 */
static bool
is_control(struct slice s, size_t n)
{
	unsigned c = n == 2 || n == 3 ? code_point(s, n) : 0;

	return (c >= 0x80 && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069);
}

/* Octets at the start of `s' that stand for themselves everywhere. */
static size_t
plain_run(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n && s.p[i] >= ' ' && s.p[i] <= '~' &&
	    s.p[i] != '"' && s.p[i] != '\\'; i++) {
	}
	return i;
}

static void
json_add_ascii(struct strbuf *out, char c)
{
	static const char plain[] = "\"\\\b\f\n\r\t", named[] = "\"\\bfnrt";
	const char *at = c != '\0' ? strchr(plain, c) : NULL;

	if (at != NULL) {
		(void)strbuf_add_char(out, '\\');
		(void)strbuf_add_char(out, named[at - plain]);
	} else if (ascii_iscntrl(c)) {
		(void)strbuf_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
	} else {
		(void)strbuf_add_char(out, c);
	}
}

void
json_add_string(struct strbuf *out, struct slice s)
{
	size_t n;

	(void)strbuf_add_char(out, '"');
	while (s.n > 0) {
		n = plain_run(s);
		if (n > 0) {
			(void)strbuf_add(out, s.p, n);
			s.p += n;
			s.n -= n;
			continue;
		}
		n = utf8_length(s);
		if (n == 1) {
			json_add_ascii(out, s.p[0]);
		} else if (n == 0) {
			(void)strbuf_add_str(out, "\\ufffd");
			n = 1;
		} else if (is_control(s, n)) {
			(void)strbuf_printf(out, "\\u%04x", code_point(s, n));
		} else {
			(void)strbuf_add(out, s.p, n);
		}
		s.p += n;
		s.n -= n;
	}
	(void)strbuf_add_char(out, '"');
}

/* The name as JSON shows it: without the mark of a column that tables omit. */
static struct slice
shown_name(struct slice name)
{
	if (name.n > 1 && name.p[0] == '_') {
		return slice_make(name.p + 1, name.n - 1);
	}
	return name;
}

static void
add_number(struct strbuf *out, uint64_t v)
{
	char digits[20], *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	(void)strbuf_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

bool
row_add_json(struct strbuf *out, struct slice row)
{
	struct row_column col;
	size_t before = out->n;
	const char *sep = "{";
	int r;

	while ((r = row_next(&row, &col)) == 1) {
		(void)strbuf_add_str(out, sep);
		json_add_string(out, shown_name(col.name));
		(void)strbuf_add_char(out, ':');
		if (col.is_text) {
			json_add_string(out, col.text);
		} else {
			add_number(out, col.number);
		}
		sep = ",";
	}
	(void)strbuf_add_str(out, sep[0] == '{' ? "{}\n" : "}\n");
	if (r == -1) {
		out->n = before;
		out->p[before] = '\0';
	}
	return r == 0;
}

void
text_add_printable(struct strbuf *out, struct slice s)
{
	size_t n, i;

	while (s.n > 0) {
		n = plain_run(s);
		if (n > 0) {
			(void)strbuf_add(out, s.p, n);
			s.p += n;
			s.n -= n;
			continue;
		}
		n = utf8_length(s);
		if (n == 0 || is_control(s, n) || (n == 1 && ascii_iscntrl(s.p[0]))) {
			n = n == 0 ? 1 : n;
			for (i = 0; i < n; i++) {
				(void)strbuf_printf(out, "\\x%02x",
				    (unsigned)(unsigned char)s.p[i]);
			}
		} else {
			(void)strbuf_add(out, s.p, n);
		}
		s.p += n;
		s.n -= n;
	}
}

/* -- tables ----------------------------------------------------------------- */

static bool
next_shown(struct slice *row, struct row_column *col)
{
	int r;

	do {
		r = row_next(row, col);
	} while (r == 1 && col->name.n > 0 && col->name.p[0] == '_');
	return r == 1;
}

static void
cell_text(struct strbuf *out, const struct row_column *col)
{
	strbuf_reset(out);
	if (col->is_text) {
		text_add_printable(out, col->text);
	} else {
		add_number(out, col->number);
	}
}

/* Characters, taken as one cell each. */
static size_t
cells(struct slice s)
{
	size_t i, n = 0;

	for (i = 0; i < s.n; i++) {
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80 ? 1 : 0;
	}
	return n;
}

static void
widen(struct rows_out *o, size_t i, size_t w)
{
	if (w > COLUMN_WIDTH_MAX) {
		w = COLUMN_WIDTH_MAX;
	}
	if (w > o->width[i]) {
		o->width[i] = w;
	}
}

static void
measure(struct rows_out *o, struct slice row)
{
	struct row_column col;
	struct strbuf cell;
	size_t i;

	strbuf_init(&cell, 0);
	for (i = 0; i < ROWS_COLUMNS_MAX && next_shown(&row, &col); i++) {
		if (i >= o->ncolumns) {
			o->ncolumns = i + 1;
			o->numeric[i] = true;
		}
		o->numeric[i] = o->numeric[i] && !col.is_text;
		cell_text(&cell, &col);
		widen(o, i, cells(strbuf_slice(&cell)));
		widen(o, i, cells(col.name));
	}
	strbuf_clear(&cell);
}

static void
pad(struct strbuf *line, size_t n)
{
	char *to = strbuf_room(line, n);

	if (to != NULL && n > 0) {
		memset(to, ' ', n);
		strbuf_filled(line, n);
	}
}

static void
add_cell(const struct rows_out *o, struct strbuf *line, size_t i,
    struct slice cell)
{
	size_t w = cells(cell), gap = w < o->width[i] ? o->width[i] - w : 0;

	if (i > 0) {
		pad(line, 2);
	}
	if (o->numeric[i]) {
		pad(line, gap);
	}
	(void)strbuf_add_slice(line, cell);
	if (!o->numeric[i]) {
		pad(line, gap);
	}
}

static void
write_line(const struct rows_out *o, struct strbuf *line)
{
	while (line->n > 0 && line->p[line->n - 1] == ' ') {
		line->n--;
	}
	(void)strbuf_add_char(line, '\n');
	(void)fwrite(line->p, 1, line->n, o->to);
}

static void
write_row(struct rows_out *o, struct slice row, bool header)
{
	struct row_column col;
	size_t i;

	strbuf_reset(&o->line);
	for (i = 0; i < o->ncolumns && next_shown(&row, &col); i++) {
		cell_text(&o->cell, &col);
		add_cell(o, &o->line, i,
		    header ? col.name : strbuf_slice(&o->cell));
	}
	write_line(o, &o->line);
}

/* The widths are known: the header and what waited for them. */
static void
start_table(struct rows_out *o)
{
	struct dec d = dec_make(strbuf_slice(&o->held));
	struct slice row;
	size_t i;

	for (i = 0; i < o->nheld; i++) {
		row = dec_slice(&d, SIZE_MAX);
		if (i == 0) {
			write_row(o, row, true);
		}
		write_row(o, row, false);
	}
	strbuf_clear(&o->held);
	o->started = true;
}

void
rows_begin(struct rows_out *o, FILE *to, bool json)
{
	*o = (struct rows_out){ .to = to, .json = json };
	strbuf_init(&o->held, 0);
	strbuf_init(&o->line, 0);
	strbuf_init(&o->cell, 0);
}

static bool
row_is_sound(struct slice row)
{
	struct row_column col;
	int r;

	while ((r = row_next(&row, &col)) == 1) {
	}
	return r == 0;
}

void
rows_put(struct rows_out *o, struct slice row)
{
	strbuf_reset(&o->line);
	if (o->json ? !row_add_json(&o->line, row) : !row_is_sound(row)) {
		o->broken = true;
		return;
	}
	o->count++;
	if (o->json) {
		(void)fwrite(o->line.p, 1, o->line.n, o->to);
	} else if (o->started) {
		write_row(o, row, false);
	} else {
		measure(o, row);
		enc_slice(&o->held, row);
		if (++o->nheld == ROWS_WIDTH_SAMPLE) {
			start_table(o);
		}
	}
}

bool
rows_end(struct rows_out *o)
{
	if (!o->json && !o->started && o->nheld > 0) {
		start_table(o);
	}
	strbuf_clear(&o->held);
	strbuf_clear(&o->line);
	strbuf_clear(&o->cell);
	return fflush(o->to) == 0 && ferror(o->to) == 0;
}
