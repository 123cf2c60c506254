#include "config.h"

#include <stdio.h>
#include <string.h>

#include "services/log_text.h"

#define FACILITY_MAIL (2 << 3) /* RFC 3164, 4.1.1 */

/* "<N>text" */
static void
parse(struct slice s, struct log_line *line)
{
	line->level = LOG_L_ERROR;
	line->text = s;
	if (s.n < 3 || s.p[0] != '<' || s.p[2] != '>') {
		return;
	}
	switch (s.p[1]) {
	case '3':
		line->level = LOG_L_ERROR;
		break;
	case '4':
		line->level = LOG_L_WARN;
		break;
	case '6':
		line->level = LOG_L_INFO;
		break;
	case '7':
		line->level = LOG_L_DEBUG;
		break;
	default:
		return;
	}
	line->text = slice_make(s.p + 3, s.n - 3);
}

static void
keep(struct log_part *p, struct slice s)
{
	size_t room = sizeof(p->text) - 3 - p->n; /* for "..." */

	if (p->cut) {
		return;
	}
	if (s.n > room) {
		s.n = room;
		p->cut = true;
	}
	memcpy(p->text + p->n, s.p, s.n);
	p->n += s.n;
	if (p->cut) {
		memcpy(p->text + p->n, "...", 3);
		p->n += 3;
	}
}

bool
log_text_next(struct log_part *p, struct slice *in, struct log_line *line)
{
	size_t lf;
	bool whole;

	while (in->n > 0) {
		lf = slice_find(*in, '\n');
		whole = lf < in->n;
		keep(p, slice_make(in->p, lf));
		lf += whole ? 1 : 0;
		*in = slice_make(in->p + lf, in->n - lf);
		if (whole && log_text_last(p, line)) {
			return true;
		}
	}
	return false;
}

bool
log_text_last(struct log_part *p, struct log_line *line)
{
	size_t n = p->n;

	p->n = 0;
	p->cut = false;
	parse(slice_make(p->text, n), line);
	return n > 0; /* an empty line says nothing */
}

/* Text as it is; what is none as \xHH. Backslashes are not doubled: the
   programs have escaped what they quote. */
static void
add_text(struct strbuf *out, struct slice s)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char c;
	size_t i, done = 0;

	for (i = 0; i < s.n; i++) {
		if (!ascii_iscntrl(s.p[i])) {
			continue;
		}
		c = (unsigned char)s.p[i];
		(void)strbuf_add(out, s.p + done, i - done);
		(void)strbuf_add(out, (char[4]){ '\\', 'x', hex[c >> 4],
		    hex[c & 15] }, 4);
		done = i + 1;
	}
	(void)strbuf_add(out, s.p + done, s.n - done);
}

static void
add_time(struct strbuf *out, const struct tm *now)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

	(void)strbuf_printf(out, "%s %2d %02d:%02d:%02d ",
	    months[now->tm_mon % 12], now->tm_mday, now->tm_hour, now->tm_min,
	    now->tm_sec);
}

static void
add_tagged(struct strbuf *out, const struct log_origin *from,
    const struct log_line *line)
{
	(void)strbuf_printf(out, "veredus/%s[%u]: %s", from->program, from->pid,
	    line->level == LOG_L_ERROR ? "error: " :
	    line->level == LOG_L_WARN ? "warning: " : "");
	add_text(out, line->text);
}

void
log_text_file(struct strbuf *out, const struct tm *now,
    const struct log_origin *from, const struct log_line *line)
{
	add_time(out, now);
	(void)strbuf_printf(out, "%s ",
	    from->host[0] != '\0' ? from->host : "localhost");
	add_tagged(out, from, line);
	(void)strbuf_add_char(out, '\n');
}

void
log_text_syslog(struct strbuf *out, const struct tm *now,
    const struct log_origin *from, const struct log_line *line)
{
	(void)strbuf_printf(out, "<%d>", FACILITY_MAIL | (int)line->level);
	add_time(out, now);
	add_tagged(out, from, line);
}
