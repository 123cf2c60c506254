/*
 * A notice about whatever replies, addresses and header: the result is ASCII in
 * short CRLF lines, has each of its fields once, splits at its boundary into
 * just its parts, tells of each recipient in one group, and brings the header
 * back octet for octet. The input: texts between octets 0xff.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup/notice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static struct slice
next_text(struct slice *rest)
{
	size_t n = slice_find(*rest, '\xff');
	struct slice s = slice_make(rest->p, n);

	n += n < rest->n ? 1 : 0;
	*rest = slice_make(rest->p + n, rest->n - n);
	return s;
}

/* Cut a line off, without its CRLF. */
static bool
next_line(struct slice *rest, struct slice *line)
{
	size_t n = slice_find(*rest, '\n');

	if (rest->n == 0) {
		return false;
	}
	check(n < rest->n && n > 0 && rest->p[n - 1] == '\r');
	*line = slice_make(rest->p, n - 1);
	*rest = slice_make(rest->p + n + 1, rest->n - n - 1);
	return true;
}

static bool
starts(struct slice s, const char *with)
{
	return s.n >= strlen(with) && memcmp(s.p, with, strlen(with)) == 0;
}

static void
check_octets(struct slice all)
{
	struct slice line;
	size_t i;

	while (next_line(&all, &line)) {
		check(line.n <= 998);
		for (i = 0; i < line.n; i++) {
			check(line.p[i] == '\t' ||
			    (line.p[i] >= ' ' && line.p[i] < 127));
		}
	}
}

/* Each name once, in order, up to the empty line or the end. */
static void
check_fields(struct slice *rest, const char *const *names, size_t n)
{
	struct slice line = { NULL, 0 };
	size_t i = 0;

	while (next_line(rest, &line) && line.n > 0) {
		if (line.p[0] == ' ' || line.p[0] == '\t') {
			check(i > 0 && slice_trim(line).n > 0);
			continue;
		}
		while (i < n && !starts(line, names[i])) {
			i++; /* one that may be left out */
		}
		check(i++ < n);
	}
	check(line.n == 0 || rest->n == 0);
}

static void
check_status(struct slice part)
{
	static const char *const message[] = { "Reporting-MTA: dns; ",
		"X-Veredus-Queue-ID: ", "Arrival-Date: " };
	static const char *const recipient[] = {
		"Original-Recipient: rfc822; ", "Final-Recipient: rfc822; ",
		"Action: ", "Status: ", "Remote-MTA:", "Diagnostic-Code:",
		"Last-Attempt-Date: ", "Will-Retry-Until: " };
	struct slice line;

	check(next_line(&part, &line) && starts(line, "Content-Type: "));
	check(next_line(&part, &line) && starts(line, "Content-Description"));
	check(next_line(&part, &line) && line.n == 0);
	check_fields(&part, message, NELEMS(message));
	check_fields(&part, recipient, NELEMS(recipient));
	check(part.n == 0);
}

static int
hex(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

static void
decode(struct slice s, struct strbuf *out)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] != '=') {
			(void)strbuf_add_char(out, s.p[i]);
		} else if (s.p[i + 1] == '\r') {
			i += 2;
		} else {
			(void)strbuf_add_char(out, (char)(hex(s.p[i + 1]) * 16 +
			    hex(s.p[i + 2])));
			i += 2;
		}
	}
}

static void
check_header(struct slice part, struct slice header)
{
	struct slice line = { NULL, 0 };
	struct strbuf b;
	bool encoded = false;

	while (next_line(&part, &line) && line.n > 0) {
		encoded = encoded || slice_find(line, 'q') < line.n;
	}
	strbuf_init(&b, 0);
	if (encoded) {
		decode(part, &b);
		part = strbuf_slice(&b);
	}
	check(slice_eq(part, header));
	strbuf_clear(&b);
}

/* The parts: what stands between lines that begin with the delimiter. */
static void
check_parts(struct slice all, const struct notice *n)
{
	static const char *const fields[] = { "Date: ", "From: ", "To: ",
		"Message-ID: ", "Auto-Submitted: ", "MIME-Version: 1.0",
		"Subject: ", "Content-Type: ", "Content-Transfer-Encoding: " };
	struct slice rest = all, line, delimiter = { NULL, 0 }, parts[8];
	const char *start = NULL, *at;
	size_t nparts = 0;
	bool closed = false;

	check_fields(&rest, fields, NELEMS(fields));
	while (next_line(&rest, &line)) {
		if (delimiter.n == 0 && starts(line, "--=_")) {
			delimiter = line;
			start = line.p;
		}
		if (delimiter.n == 0 || line.n < delimiter.n ||
		    memcmp(line.p, delimiter.p, delimiter.n) != 0) {
			continue;
		}
		check(!closed && nparts < NELEMS(parts));
		at = start + delimiter.n + 2;
		if (line.p > start) { /* the CRLF before belongs to the line */
			parts[nparts++] = slice_make(at, line.p > at ?
			    (size_t)(line.p - at) - 2 : 0);
		}
		start = line.p;
		closed = line.n == delimiter.n + 2;
		check(closed || line.n == delimiter.n);
	}
	check(closed && nparts == (n->header.n > 0 ? 3 : 2));
	check_status(parts[1]);
	if (n->header.n > 0) {
		check_header(parts[2], n->header);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_make((const char *)data, size);
	struct notice_rcpt r;
	struct notice n = { .myhostname = "mx.example.org",
		.myorigin = "example.org", .id = "01ARZ3NDEKTSV",
		.about = "01ARZ3NDEKTSW", .arrived = 1000, .now = 2000,
		.retry_until = 3000, .rcpts = &r, .nrcpts = 1 };
	struct strbuf out;
	unsigned i;

	r.esc = next_text(&rest);
	r.reply = next_text(&rest);
	r.relay = next_text(&rest);
	r.address = next_text(&rest);
	r.original = next_text(&rest);
	n.sender = n.to = next_text(&rest);
	n.header = rest;
	for (i = 0; i < 6; i++) {
		n.kind = i % 2 == 0 ? NOTICE_FAILED : NOTICE_DELAYED;
		n.whom = (enum notice_for)(i / 2);
		strbuf_init(&out, 0);
		notice_compose(&n, &out);
		check_octets(strbuf_slice(&out));
		check_parts(strbuf_slice(&out), &n);
		strbuf_clear(&out);
	}
	return 0;
}
