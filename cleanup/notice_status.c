/* message/delivery-status (RFC 3464): groups of fields. */
#include "config.h"

#include "cleanup/header.h"
#include "cleanup/notice.h"
#include "common/fate.h"

#define WIDTH 76

/* "Name: words", folded where there is a space (RFC 5322, 2.2.3). */
static void
add_field(const char *name, const char *type, struct slice value, size_t max,
    struct strbuf *out)
{
	struct strbuf words;
	struct slice rest, word;
	size_t column = strlen(name) + 1;

	strbuf_init(&words, 0);
	(void)strbuf_add_str(&words, type);
	notice_add_words(value, max, &words);
	rest = strbuf_slice(&words);
	(void)strbuf_printf(out, "%s:", name);
	while (slice_word(&rest, " ", &word)) {
		if (column + 1 + word.n > WIDTH && column > strlen(name) + 1) {
			(void)strbuf_add_str(out, "\r\n");
			column = 0;
		}
		(void)strbuf_add_char(out, ' ');
		(void)strbuf_add_slice(out, word);
		column += 1 + word.n;
	}
	(void)strbuf_add_str(out, "\r\n");
	strbuf_clear(&words);
}

static void
add_date(const char *name, time_t t, struct strbuf *out)
{
	(void)strbuf_printf(out, "%s: ", name);
	header_date(t, out);
	(void)strbuf_add_str(out, "\r\n");
}

/*
 * Of "mx.example.org[192.0.2.7]:25" the host; where that is the address itself,
 * as in "192.0.2.7[192.0.2.7]:25", a literal (RFC 3464, 2.1.2).
 */
static void
add_remote(struct slice relay, struct strbuf *out)
{
	size_t at = slice_find(relay, '['), end = slice_find(relay, ']');
	struct slice host = slice_make(relay.p, at), address;
	struct strbuf literal;

	strbuf_init(&literal, 0);
	if (at < end && end < relay.n) {
		address = slice_make(relay.p + at + 1, end - at - 1);
		if (at == 0 || slice_eq(host, address)) {
			(void)strbuf_printf(&literal, "[%s%.*s]",
			    slice_find(address, ':') < address.n ? "IPv6:" : "",
			    SLF(address));
			host = strbuf_slice(&literal);
		}
	}
	add_field("Remote-MTA", "dns; ", host, RELAY_TEXT_MAX, out);
	strbuf_clear(&literal);
}

/* Digits of a code of three parts, with the class that the action asks for. */
static void
add_status(const struct notice *n, struct slice esc, struct strbuf *out)
{
	char class = n->kind == NOTICE_FAILED ? '5' : '4';
	struct slice rest = esc, part;
	unsigned parts = 0;
	uint64_t v;

	while (slice_word(&rest, ".", &part)) {
		parts += slice_number(part, 999, &v) ? 1 : 4;
	}
	if (parts != 3 || esc.n >= ESC_MAX || esc.p[1] != '.' ||
	    esc.p[esc.n - 1] == '.') {
		(void)strbuf_printf(out, "Status: %c.0.0\r\n", class);
	} else {
		(void)strbuf_printf(out, "Status: %c%.*s\r\n", class,
		    (int)esc.n - 1, esc.p + 1);
	}
}

/* The peer's own words begin with its reply code. */
static bool
is_reply(struct slice s)
{
	size_t i;

	for (i = 0; i < 3 && i < s.n && ascii_isdigit(s.p[i]); i++) {
	}
	return i == 3 && (s.n == 3 || s.p[3] == ' ');
}

static void
add_recipient(const struct notice *n, const struct notice_rcpt *r,
    struct strbuf *out)
{
	(void)strbuf_add_str(out, "\r\n");
	if (r->original.n > 0) {
		(void)strbuf_add_str(out, "Original-Recipient: rfc822; ");
		notice_add_address(r->original, out);
		(void)strbuf_add_str(out, "\r\n");
	}
	(void)strbuf_add_str(out, "Final-Recipient: rfc822; ");
	notice_add_address(r->address, out);
	(void)strbuf_printf(out, "\r\nAction: %s\r\n",
	    n->kind == NOTICE_FAILED ? "failed" : "delayed");
	add_status(n, r->esc, out);
	if (r->relay.n > 0) {
		add_remote(r->relay, out);
	}
	if (r->reply.n > 0) {
		add_field("Diagnostic-Code", is_reply(r->reply) ? "smtp; " :
		    "x-veredus; ", r->reply, REPLY_TEXT_MAX, out);
		add_date("Last-Attempt-Date", n->now, out);
	}
	if (n->kind == NOTICE_DELAYED && n->retry_until > 0) {
		add_date("Will-Retry-Until", n->retry_until, out);
	}
}

void
notice_add_status(const struct notice *n, struct strbuf *out)
{
	size_t i;

	(void)strbuf_printf(out, "Reporting-MTA: dns; %s\r\n"
	    "X-Veredus-Queue-ID: %s\r\n", n->myhostname, n->about);
	add_date("Arrival-Date", n->arrived, out);
	for (i = 0; i < n->nrcpts && i < NOTICE_RCPTS_MAX; i++) {
		add_recipient(n, &n->rcpts[i], out);
	}
}
