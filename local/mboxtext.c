/* memrchr() is GNU's; AC_USE_SYSTEM_EXTENSIONS shows it. */
#include "config.h"

#include <inttypes.h>
#include <time.h>

#include "common/qid.h"
#include "local/mboxtext.h"

static const struct slice from = SL_INIT("From ");
static const struct slice unborn = SL_INIT("\0rom ");
static const struct slice id_field = SL_INIT("X-Veredus-Id: ");

static bool
begins(struct slice s, struct slice with)
{
	return s.n >= with.n && memcmp(s.p, with.p, with.n) == 0;
}

static struct slice
skip(struct slice s, size_t n)
{
	return slice_make(s.p + n, s.n - n);
}

/* asctime(3), whatever the locale. */
static void
add_date(struct strbuf *out, time_t t)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu",
		"Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL) { /* a year that is no int */
		t = 0;
		(void)gmtime_r(&t, &tm);
	}
	(void)strbuf_printf(out, "%s %s %2d %02d:%02d:%02d %d",
	    days[tm.tm_wday], months[tm.tm_mon], tm.tm_mday, tm.tm_hour,
	    tm.tm_min, tm.tm_sec, tm.tm_year + 1900);
}

void
mboxtext_from(struct strbuf *out, struct slice reverse_path,
    uint64_t arrived_us)
{
	size_t i;
	char c;

	(void)strbuf_add_slice(out, from);
	if (reverse_path.n == 0) {
		(void)strbuf_add_str(out, "MAILER-DAEMON");
	}
	for (i = 0; i < reverse_path.n; i++) {
		c = reverse_path.p[i];
		(void)strbuf_add_char(out,
		    c == ' ' || ascii_iscntrl(c) ? '-' : c);
	}
	(void)strbuf_add_char(out, ' ');
	add_date(out, (time_t)(arrived_us / 1000000));
	(void)strbuf_add_char(out, '\n');
}

void
mboxtext_id(struct strbuf *out, uint64_t qid, uint32_t index)
{
	char text[QID_TEXT + 1];

	qid_format(qid, text);
	(void)strbuf_add_slice(out, id_field);
	(void)strbuf_printf(out, "%s.%" PRIu32 "\n", text, index);
}

bool
mboxtext_parse_id(struct slice line, uint64_t *qid, uint32_t *index)
{
	uint64_t q, i;

	if (!begins(line, id_field)) {
		return false;
	}
	line = skip(line, id_field.n);
	if (line.n < QID_TEXT + 2 || line.p[QID_TEXT] != '.' ||
	    !qid_parse(slice_make(line.p, QID_TEXT), &q) ||
	    !slice_number(skip(line, QID_TEXT + 1), UINT32_MAX, &i)) {
		return false;
	}
	*qid = q;
	*index = (uint32_t)i;
	return true;
}

/* -- quoting -------------------------------------------------------------------- */

/* The octets of "From " that were held, which turned out to be something else
   or all of it. */
static size_t
release(struct mboxquote *q, char *out)
{
	size_t n = q->held;

	memcpy(out, from.p, n);
	q->held = 0;
	q->state = QUOTE_REST;
	return n;
}

static size_t
quote_octet(struct mboxquote *q, char c, char *out)
{
	const bool start = q->state == QUOTE_START;
	char *o = out;

	if (q->state == QUOTE_FROM && c == from.p[q->held]) {
		if (++q->held == from.n) {
			*o++ = '>';
			o += release(q, o);
		}
		return (size_t)(o - out);
	}
	if (start && c == 'F') {
		q->state = QUOTE_FROM;
		q->held = 1;
		return 0;
	}
	o += release(q, o); /* of nothing, unless QUOTE_FROM */
	*o++ = c;
	if (c == '\n' || (start && c == '>')) {
		q->state = QUOTE_START;
	}
	return (size_t)(o - out);
}

size_t
mboxquote_feed(struct mboxquote *q, struct slice in, char *out)
{
	char *o = out;
	size_t n;

	if (in.n > 0) {
		q->any = in.p[in.n - 1] != '\n';
	}
	while (in.n > 0) {
		if (q->state == QUOTE_REST) { /* up to the next line */
			n = slice_find(in, '\n');
			memcpy(o, in.p, n);
			o += n;
			in = skip(in, n);
		}
		if (in.n > 0) {
			o += quote_octet(q, in.p[0], o);
			in = skip(in, 1);
		}
	}
	return (size_t)(o - out);
}

size_t
mboxquote_end(struct mboxquote *q, char *out)
{
	char *o = out + release(q, out);

	if (q->any) {
		*o++ = '\n';
	}
	*o++ = '\n';
	*q = (struct mboxquote){ .state = QUOTE_START };
	return (size_t)(o - out);
}

/* -- the end of a file -------------------------------------------------------------- */

/* Does a message that never became mail begin at `i'? */
static bool
is_unborn(struct slice in, size_t i, bool first, bool final)
{
	struct slice rest = skip(in, i);
	size_t n = rest.n < unborn.n && final ? rest.n : unborn.n;
	bool blank = (i == 0 && first) ||
	    (i > 1 && in.p[i - 1] == '\n' && in.p[i - 2] == '\n');

	return blank && n > 0 && begins(rest, slice_make(unborn.p, n));
}

bool
mboxtext_last(struct slice in, bool first, bool final, size_t *at,
    bool *unfinished)
{
	size_t end = in.n, i;
	const char *lf;

	do {
		lf = end > 0 ? memrchr(in.p, '\n', end) : NULL;
		if (lf == NULL && !first) {
			break;
		}
		i = lf != NULL ? (size_t)(lf - in.p) + 1 : 0;
		*unfinished = is_unborn(in, i, first, final);
		if (*unfinished || begins(skip(in, i), from)) {
			*at = i;
			return true;
		}
		end = lf != NULL ? i - 1 : 0;
	} while (lf != NULL);
	return false;
}

static void
end_line(struct mboxscan *s, void (*found)(void *, uint64_t, uint32_t),
    void *arg)
{
	struct slice line = slice_make(s->head, s->n);
	uint64_t qid;
	uint32_t index;

	if (begins(line, from)) {
		s->front = true;
	} else if (line.n == 0 || begins(line, SL("Received:"))) {
		s->front = false;
	} else if (s->front && mboxtext_parse_id(line, &qid, &index)) {
		found(arg, qid, index);
	}
	s->n = 0;
}

void
mboxscan_feed(struct mboxscan *s, struct slice in,
    void (*found)(void *arg, uint64_t qid, uint32_t index), void *arg)
{
	size_t n, take;

	while (in.n > 0) {
		n = slice_find(in, '\n');
		take = sizeof(s->head) - s->n < n ? sizeof(s->head) - s->n : n;
		memcpy(s->head + s->n, in.p, take);
		s->n += take;
		if (n == in.n) {
			return;
		}
		end_line(s, found, arg);
		in = skip(in, n + 1);
	}
}
