#include "config.h"

#include "cleanup/header.h"
#include "common/addr.h"
#include "common/mailboxes.h"

#define LINE_MAX_OCTETS 998 /* RFC 5322, 2.1.1 */

enum line { LINE_EMPTY, LINE_FIELD, LINE_MORE, LINE_OTHER };

/* Octets of the field's name at the start of a line; 0: no field.
   fields = 1*ftext *WSP ":" (RFC 5322, 3.6.8 and 4.5.8) */
static size_t
name_of(struct slice line, size_t *value_at)
{
	size_t i = 0, n;

	while (i < line.n && line.p[i] > 32 && line.p[i] < 127 &&
	    line.p[i] != ':') {
		i++;
	}
	n = i;
	while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t')) {
		i++;
	}
	if (n == 0 || i == line.n || line.p[i] != ':') {
		return 0;
	}
	*value_at = i + 1;
	return n;
}

static bool
is_mailbox_from(struct slice line)
{
	return (line.n >= 5 && memcmp(line.p, "From ", 5) == 0) ||
	    (line.n >= 6 && memcmp(line.p, ">From ", 6) == 0);
}

static enum line
judge(struct slice line, bool first)
{
	size_t unused;

	if (line.n == 0 || slice_eq(line, SL("\r\n"))) {
		return LINE_EMPTY;
	}
	if (line.p[0] == ' ' || line.p[0] == '\t') {
		return first ? LINE_OTHER : LINE_MORE;
	}
	if (name_of(line, &unused) > 0 || (first && is_mailbox_from(line))) {
		return LINE_FIELD;
	}
	return LINE_OTHER;
}

/* The line at `at' with its end; false when its end has not come yet. */
static bool
line_at(struct header_scan *s, struct slice in, bool whole, struct slice *line)
{
	size_t from = s->seen > s->line ? s->seen : s->line;
	size_t end = from + slice_find(slice_make(in.p + from, in.n - from),
	    '\n');

	s->seen = end;
	if (end == in.n) {
		*line = slice_make(in.p + s->line, in.n - s->line);
		return whole;
	}
	*line = slice_make(in.p + s->line, end + 1 - s->line);
	return true;
}

bool
header_scan(struct header_scan *s, struct slice so_far, bool whole,
    size_t *header_n, size_t *body_at)
{
	struct slice line;

	while (line_at(s, so_far, whole, &line)) {
		switch (judge(line, s->line == 0)) {
		case LINE_EMPTY:
			*header_n = s->line;
			*body_at = s->line + line.n;
			return true;
		case LINE_OTHER:
			*header_n = *body_at = s->line;
			return true;
		case LINE_FIELD:
		case LINE_MORE:
			s->line += line.n;
			break;
		}
	}
	return false;
}

bool
header_next(struct slice section, size_t *place, struct header_field *f)
{
	size_t start = *place, end = start, value = 0;

	if (start >= section.n) {
		return false;
	}
	do {
		end += slice_find(slice_make(section.p + end, section.n - end),
		    '\n');
		end += end < section.n ? 1 : 0;
	} while (end < section.n &&
	    (section.p[end] == ' ' || section.p[end] == '\t'));
	*place = end;
	f->whole = slice_make(section.p + start, end - start);
	f->name = slice_make(f->whole.p, name_of(f->whole, &value));
	if (f->name.n == 0) {
		value = 0;
	}
	end -= start;
	if (end > value && f->whole.p[end - 1] == '\n') {
		end--;
	}
	if (end > value && f->whole.p[end - 1] == '\r') {
		end--;
	}
	f->value = slice_make(f->whole.p + value, end - value);
	return true;
}

enum { /* what a field is to us */
	F_ADDRESSES = 1 << 0,
	F_RECIPIENTS = 1 << 1,
	F_RECEIVED = 1 << 2,
	F_RETURN_PATH = 1 << 3,
	F_DATE = 1 << 4,
	F_FROM = 1 << 5,
	F_SENDER = 1 << 6,
	F_MESSAGE_ID = 1 << 7,
	F_RESENT = 1 << 8,
};

static const struct known {
	struct slice name;
	unsigned what;
} known[] = {
#define K(name, what) { { name, sizeof(name) - 1 }, what }
	K("Received", F_RECEIVED),
	K("Return-Path", F_RETURN_PATH),
	K("Date", F_DATE),
	K("Message-ID", F_MESSAGE_ID),
	K("From", F_ADDRESSES | F_FROM),
	K("Sender", F_ADDRESSES | F_SENDER),
	K("Reply-To", F_ADDRESSES),
	K("To", F_ADDRESSES | F_RECIPIENTS),
	K("Cc", F_ADDRESSES | F_RECIPIENTS),
	K("Bcc", F_ADDRESSES | F_RECIPIENTS),
	K("Resent-Date", F_RESENT | F_DATE),
	K("Resent-Message-ID", F_RESENT | F_MESSAGE_ID),
	K("Resent-From", F_RESENT | F_ADDRESSES | F_FROM),
	K("Resent-Sender", F_RESENT | F_ADDRESSES),
	K("Resent-Reply-To", F_RESENT | F_ADDRESSES),
	K("Resent-To", F_RESENT | F_ADDRESSES),
	K("Resent-Cc", F_RESENT | F_ADDRESSES),
	K("Resent-Bcc", F_RESENT | F_ADDRESSES),
	K("Return-Receipt-To", F_ADDRESSES),
	K("Disposition-Notification-To", F_ADDRESSES),
	K("Errors-To", F_ADDRESSES),
	K("Mail-Followup-To", F_ADDRESSES),
	K("Mail-Reply-To", F_ADDRESSES),
	K("Apparently-To", F_ADDRESSES | F_RECIPIENTS),
#undef K
};

static unsigned
what_is(struct slice name)
{
	size_t i;

	for (i = 0; i < NELEMS(known); i++) {
		if (slice_case_eq(name, known[i].name)) {
			return known[i].what;
		}
	}
	return 0;
}

static void
note_resent(struct header_facts *facts, unsigned what, struct slice value)
{
	facts->has_resent = true;
	facts->has_resent_date |= (what & F_DATE) != 0;
	facts->has_resent_from |= (what & F_FROM) != 0;
	facts->has_resent_message_id |= (what & F_MESSAGE_ID) != 0 &&
	    value.n > 0;
}

static void
note(struct header_facts *facts, unsigned what, struct slice value)
{
	value = slice_trim(value);
	if ((what & F_RESENT) != 0) {
		note_resent(facts, what, value);
		return;
	}
	facts->received += (what & F_RECEIVED) != 0 ? 1 : 0;
	facts->return_path += (what & F_RETURN_PATH) != 0 ? 1 : 0;
	facts->has_date |= (what & F_DATE) != 0;
	facts->has_from |= (what & F_FROM) != 0;
	facts->has_sender |= (what & F_SENDER) != 0;
	facts->has_recipients |= (what & F_RECIPIENTS) != 0;
	if ((what & F_MESSAGE_ID) != 0 && !facts->has_message_id &&
	    value.n > 0) {
		facts->has_message_id = true;
		facts->message_id = value;
	}
}

/* The longest line of `s', without line ends. */
static size_t
longest_line(struct slice s)
{
	size_t most = 0, n;

	while (s.n > 0) {
		n = slice_find(s, '\n');
		most = n > most ? n : most;
		n += n < s.n ? 1 : 0;
		s = slice_make(s.p + n, s.n - n);
	}
	return most > 0 ? most - 1 : 0; /* its CR */
}

/* The field with its addresses rewritten into `to'; *changed tells whether any
   was. False: TEMP. */
static bool
rewrite_field(const struct header_field *f, header_address_cb *rewrite,
    void *arg, struct strbuf *to, bool *changed)
{
	struct slice spec;
	struct addr parsed;
	struct strbuf fresh;
	const char *from = f->whole.p;
	size_t place = 0;
	enum map_result r = MAP_NONE;

	*changed = false;
	strbuf_init(&fresh, 0);
	while (r != MAP_TEMP && mailboxes_next(f->value, &place, &spec)) {
		if (addr_parse_mailbox(spec, ADDR_ALLOW_BARE, &parsed) !=
		    ADDR_OK) {
			continue;
		}
		strbuf_reset(&fresh);
		r = rewrite(arg, spec, &fresh);
		if (r == MAP_FOUND && !slice_eq(strbuf_slice(&fresh), spec)) {
			*changed = true;
			(void)strbuf_add(to, from, (size_t)(spec.p - from));
			(void)strbuf_add_slice(to, strbuf_slice(&fresh));
			from = spec.p + spec.n;
		}
	}
	(void)strbuf_add(to, from, (size_t)(f->whole.p + f->whole.n - from));
	strbuf_clear(&fresh);
	return r != MAP_TEMP;
}

static bool
add_field(const struct header_field *f, unsigned what,
    header_address_cb *rewrite, void *arg, struct strbuf *out)
{
	size_t before = out->n;
	bool changed;

	if (f->name.n == 0) {
		(void)strbuf_add_str(out, "X-Mailbox-Line: ");
	}
	if (rewrite == NULL || (what & F_ADDRESSES) == 0) {
		(void)strbuf_add_slice(out, f->whole);
		return true;
	}
	if (!rewrite_field(f, rewrite, arg, out, &changed)) {
		return false;
	}
	if (changed && longest_line(slice_make(out->p + before,
	    out->n - before)) > LINE_MAX_OCTETS) {
		out->n = before;
		(void)strbuf_add_slice(out, f->whole);
	}
	return true;
}

bool
header_rewrite(struct slice section, header_address_cb *rewrite, void *arg,
    struct strbuf *out, struct header_facts *facts)
{
	struct header_field f;
	size_t place = 0;
	unsigned what;

	*facts = (struct header_facts){ .message_id = { "", 0 } };
	while (header_next(section, &place, &f)) {
		what = what_is(f.name);
		note(facts, what, f.value);
		if ((what & F_RETURN_PATH) != 0) {
			continue;
		}
		if (!add_field(&f, what, rewrite, arg, out)) {
			return false;
		}
	}
	return true;
}
