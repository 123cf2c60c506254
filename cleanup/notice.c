#include "config.h"

#include "cleanup/header.h"
#include "cleanup/notice.h"
#include "common/addr.h"
#include "common/envelope.h"

#define LINE_MAX_OCTETS 998 /* RFC 5322, 2.1.1 */
#define QP_LINE         76  /* RFC 2045, 6.7 (5) */

void
notice_add_words(struct slice s, size_t max, struct strbuf *out)
{
	bool space = false, any = false;
	size_t i;

	for (i = 0; i < s.n && i < max; i++) {
		if (s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\r' ||
		    s.p[i] == '\n') {
			space = any;
			continue;
		}
		if (space) {
			(void)strbuf_add_char(out, ' ');
			space = false;
		}
		any = true;
		(void)strbuf_add_char(out, s.p[i] > ' ' && s.p[i] < 127 ?
		    s.p[i] : '?');
	}
}

void
notice_add_address(struct slice address, struct strbuf *out)
{
	size_t i;

	for (i = 0; i < address.n && i < ENVELOPE_PATH_MAX; i++) {
		(void)strbuf_add_char(out, address.p[i] >= ' ' &&
		    address.p[i] < 127 ? address.p[i] : '?');
	}
}

void
notice_add_path(struct slice address, struct strbuf *out)
{
	(void)strbuf_add_char(out, '<');
	notice_add_address(address, out);
	(void)strbuf_add_char(out, '>');
}

/* -- the header of the message ---------------------------------------------- */

/* It can stand as it is: ASCII, CRLF lines, none too long. */
static bool
is_plain(struct slice s)
{
	size_t i, line = 0;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			line = 0;
			i++;
			continue;
		}
		line++;
		if ((s.p[i] != '\t' && (s.p[i] < ' ' || s.p[i] > 126)) ||
		    line > LINE_MAX_OCTETS) {
			return false;
		}
	}
	return true;
}

static void
add_quoted_printable(struct slice s, struct strbuf *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i, line = 0;

	for (i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			(void)strbuf_add_str(out, "\r\n");
			line = 0;
			i++;
			continue;
		}
		if (line > QP_LINE - 4) {
			(void)strbuf_add_str(out, "=\r\n");
			line = 0;
		}
		/* a space is safe but at the end of a line */
		if (c > ' ' && c < 127 && c != '=') {
			(void)strbuf_add_char(out, (char)c);
			line++;
		} else if (c == ' ' && i + 1 < s.n && s.p[i + 1] != '\r') {
			(void)strbuf_add_char(out, ' ');
			line++;
		} else {
			(void)strbuf_printf(out, "=%c%c", hex[c >> 4],
			    hex[c & 15]);
			line += 3;
		}
	}
}

static void
add_header_part(const struct notice *n, struct strbuf *out)
{
	bool plain = is_plain(n->header);

	(void)strbuf_printf(out, "Content-Type: text/rfc822-headers%s\r\n"
	    "Content-Description: The header of the message\r\n"
	    "Content-Transfer-Encoding: %s\r\n\r\n",
	    plain ? "" : "; charset=utf-8", plain ? "7bit" :
	    "quoted-printable");
	if (plain) {
		(void)strbuf_add_slice(out, n->header);
	} else {
		add_quoted_printable(n->header, out);
	}
}

/* -- the whole --------------------------------------------------------------- */

/* A line that begins like our delimiter? */
static bool
has_line(struct slice text, struct slice start)
{
	size_t i;

	for (i = 0; i + start.n <= text.n; i++) {
		if ((i == 0 || text.p[i - 1] == '\n') &&
		    memcmp(text.p + i, start.p, start.n) == 0) {
			return true;
		}
	}
	return false;
}

/* "--", and a name that no line of a part begins with. */
static void
choose_delimiter(const char *id, const struct slice *parts, size_t nparts,
    struct strbuf *out)
{
	unsigned number = 0;
	size_t i;

	do {
		strbuf_reset(out);
		(void)strbuf_printf(out, "--=_%s.%u", id, number++);
		for (i = 0; i < nparts &&
		    !has_line(parts[i], strbuf_slice(out)); i++) {
		}
	} while (i < nparts);
}

static const char *
subject_of(const struct notice *n)
{
	static const char *const subjects[][2] = {
		[NOTICE_TO_SENDER] = { "Your mail could not be delivered",
		    "Your mail is delayed" },
		[NOTICE_TO_POSTMASTER] = { "Copy: mail could not be delivered",
		    "Copy: mail is delayed" },
		[NOTICE_DOUBLE] = { "A notice could not be delivered",
		    "A notice is delayed" },
	};

	return subjects[n->whom][n->kind == NOTICE_DELAYED];
}

/* A field's address has a domain (RFC 5322, 3.4.1), as an envelope's "postmaster"
   need not. */
static void
add_to(struct slice to, const char *myorigin, struct strbuf *out)
{
	struct strbuf whole;
	struct addr a;

	strbuf_init(&whole, 0);
	(void)strbuf_add_slice(&whole, to);
	if (addr_parse_mailbox(to, ADDR_ALLOW_BARE, &a) == ADDR_OK &&
	    a.domain.n == 0) {
		(void)strbuf_printf(&whole, "@%s", myorigin);
	}
	(void)strbuf_add_str(out, "To: ");
	notice_add_path(strbuf_slice(&whole), out);
	(void)strbuf_add_str(out, "\r\n");
	strbuf_clear(&whole);
}

/* The fields that every message of ours has. */
static void
add_fields(const char *myhostname, const char *myorigin, const char *id,
    time_t now, struct slice to, struct strbuf *out)
{
	header_add_date("Date", now, out);
	(void)strbuf_printf(out, "From: Mail Delivery System "
	    "<MAILER-DAEMON@%s>\r\n", myorigin);
	add_to(to, myorigin, out);
	header_add_message_id("Message-ID", id, myhostname, out);
	(void)strbuf_add_str(out, "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n");
}

void
notice_compose(const struct notice *n, struct strbuf *out)
{
	struct strbuf line, text, status;
	struct slice parts[3];

	strbuf_init(&line, 0);
	strbuf_init(&text, 0);
	strbuf_init(&status, 0);
	notice_add_text(n, &text);
	notice_add_status(n, &status);
	parts[0] = strbuf_slice(&text);
	parts[1] = strbuf_slice(&status);
	parts[2] = n->header;
	choose_delimiter(n->id, parts, NELEMS(parts), &line);
	add_fields(n->myhostname, n->myorigin, n->id, n->now, n->to, out);
	(void)strbuf_printf(out, "Subject: %s\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"%s\"\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n\r\n"
	    "This is a report in MIME format.\r\n\r\n%s\r\n"
	    "Content-Type: text/plain; charset=us-ascii\r\n"
	    "Content-Description: Notice\r\n\r\n",
	    subject_of(n), line.p + 2, line.p);
	(void)strbuf_add_slice(out, parts[0]);
	(void)strbuf_printf(out, "\r\n%s\r\n"
	    "Content-Type: message/delivery-status\r\n"
	    "Content-Description: Delivery report\r\n\r\n", line.p);
	(void)strbuf_add_slice(out, parts[1]);
	if (n->header.n > 0) {
		(void)strbuf_printf(out, "\r\n%s\r\n", line.p);
		add_header_part(n, out);
	}
	(void)strbuf_printf(out, "\r\n%s--\r\n", line.p);
	strbuf_clear(&line);
	strbuf_clear(&text);
	strbuf_clear(&status);
}

void
notice_compose_plain(const struct notice_plain *n, struct strbuf *out)
{
	struct slice rest = slice_of(n->text), line;

	add_fields(n->myhostname, n->myorigin, n->id, n->now, n->to, out);
	(void)strbuf_printf(out, "Subject: %s\r\n"
	    "Content-Type: text/plain; charset=us-ascii\r\n\r\n", n->subject);
	while (slice_word(&rest, "\n", &line)) {
		notice_add_words(line, LINE_MAX_OCTETS, out);
		(void)strbuf_add_str(out, "\r\n");
	}
}
