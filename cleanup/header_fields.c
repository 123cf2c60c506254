/* The fields that we add. Texts of clients are cut and cleaned here. */
#include "config.h"

#include <stdlib.h>

#include "cleanup/header.h"

#define CLIENT_TEXT_MAX 255

/* What the client said, as it can stand in Received: neither white space nor
   what would open or close anything. */
static void
add_harmless(const char *s, struct strbuf *out)
{
	size_t i;

	if (s == NULL || *s == '\0') {
		s = "unknown";
	}
	for (i = 0; s[i] != '\0' && i < CLIENT_TEXT_MAX; i++) {
		bool good = ascii_isalnum(s[i]) ||
		    strchr(".-_:[]+=/", s[i]) != NULL;

		(void)strbuf_add_char(out, good ? s[i] : '?');
	}
}

/* An address of ours: canonical text, printable already. */
static void
add_address(struct slice s, struct strbuf *out)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		bool good = s.p[i] >= 32 && s.p[i] < 127;

		(void)strbuf_add_char(out, good ? s.p[i] : '?');
	}
}

void
header_date(time_t now, struct strbuf *out)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu",
		"Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	struct tm tm;
	long minutes;

	if (localtime_r(&now, &tm) == NULL) {
		now = 0;
		(void)gmtime_r(&now, &tm);
	}
	minutes = tm.tm_gmtoff / 60;
	(void)strbuf_printf(out, "%s, %d %s %d %02d:%02d:%02d %c%02ld%02ld",
	    days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
	    tm.tm_hour, tm.tm_min, tm.tm_sec, minutes < 0 ? '-' : '+',
	    labs(minutes) / 60, labs(minutes) % 60);
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" */
static void
add_literal(const char *addr, struct strbuf *out)
{
	(void)strbuf_add_char(out, '[');
	if (addr != NULL && strchr(addr, ':') != NULL) {
		(void)strbuf_add_str(out, "IPv6:");
	}
	add_harmless(addr, out);
	(void)strbuf_add_char(out, ']');
}

void
header_add_received(const struct header_trace *t, struct strbuf *out)
{
	if (strcmp(t->proto, "local") == 0) {
		(void)strbuf_printf(out, "Received: by %s (Veredus, from "
		    "uid %lu)\r\n\tid %s", t->myhostname,
		    (unsigned long)t->uid, t->id);
	} else {
		(void)strbuf_add_str(out, "Received: from ");
		add_harmless(t->helo, out);
		(void)strbuf_add_str(out, " (");
		add_harmless(t->client_name, out);
		(void)strbuf_add_char(out, ' ');
		add_literal(t->client_addr, out);
		(void)strbuf_printf(out, ")\r\n\tby %s (Veredus) with %s id %s",
		    t->myhostname, t->proto, t->id);
	}
	if (t->recipient != NULL) {
		(void)strbuf_add_str(out, "\r\n\tfor <");
		add_address(slice_of(t->recipient), out);
		(void)strbuf_add_char(out, '>');
	}
	(void)strbuf_add_str(out, "; ");
	header_date(t->now, out);
	(void)strbuf_add_str(out, "\r\n");
}

void
header_add_date(const char *name, time_t now, struct strbuf *out)
{
	(void)strbuf_printf(out, "%s: ", name);
	header_date(now, out);
	(void)strbuf_add_str(out, "\r\n");
}

void
header_add_message_id(const char *name, const char *id, const char *myhostname,
    struct strbuf *out)
{
	(void)strbuf_printf(out, "%s: <%s@%s>\r\n", name, id, myhostname);
}

void
header_add_from(const char *name, struct slice address, struct strbuf *out)
{
	(void)strbuf_printf(out, "%s: ", name);
	add_address(address, out);
	(void)strbuf_add_str(out, "\r\n");
}
