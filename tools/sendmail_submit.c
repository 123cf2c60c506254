#include "config.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/sendmail_submit.h"

#define REPLY_TIMEOUT_MS (5 * 60 * 1000) /* RFC 5321, 4.5.3.2 */
#define DOT_TIMEOUT_MS   (10 * 60 * 1000)
#define REPLY_OCTETS_MAX 65536

struct dialogue {
	int fd;
	char buf[4096];
	size_t n;
	char line[512]; /* the last line of the last reply */
};

int
submit_connect(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	int fd;

	if (n >= sizeof(sun.sun_path)) {
		return -1;
	}
	memcpy(sun.sun_path, path, n);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd != -1 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static bool
send_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t w = send(fd, s.p, s.n, MSG_NOSIGNAL);

		if (w == -1 && errno == EINTR) {
			continue;
		}
		if (w <= 0) {
			return false;
		}
		s.p += w;
		s.n -= (size_t)w;
	}
	return true;
}

/* More octets into the buffer; false at the end, an error or the deadline. */
static bool
more(struct dialogue *d, int timeout_ms)
{
	struct pollfd pfd = { .fd = d->fd, .events = POLLIN };
	ssize_t r;
	int ready;

	if (d->n == sizeof(d->buf)) {
		return false; /* a line without end */
	}
	do {
		ready = poll(&pfd, 1, timeout_ms);
		r = ready == 1 ? recv(d->fd, d->buf + d->n,
		    sizeof(d->buf) - d->n, 0) : 0;
	} while ((ready == -1 || r == -1) && errno == EINTR);
	if (ready != 1 || r <= 0) {
		return false;
	}
	d->n += (size_t)r;
	return true;
}

/* Keeps the line's first octets, printable, in d->line; drops it. */
static void
take_line(struct dialogue *d, size_t octets)
{
	size_t i, n = 0;

	for (i = 0; i < octets && n + 1 < sizeof(d->line); i++) {
		if (!ascii_iscntrl(d->buf[i])) {
			d->line[n++] = d->buf[i];
		}
	}
	d->line[n] = '\0';
	d->n -= octets;
	memmove(d->buf, d->buf + octets, d->n);
}

/* A whole reply; its code, or 0 when there is none. */
static int
reply(struct dialogue *d, int timeout_ms)
{
	size_t all = 0, n;

	while (all < REPLY_OCTETS_MAX) {
		n = slice_find(slice_make(d->buf, d->n), '\n');
		if (n == d->n) {
			if (!more(d, timeout_ms)) {
				return 0;
			}
			continue;
		}
		all += n + 1;
		take_line(d, n + 1);
		if (!ascii_isdigit(d->line[0]) || !ascii_isdigit(d->line[1]) ||
		    !ascii_isdigit(d->line[2])) {
			return 0;
		}
		if (d->line[3] != '-') {
			return (d->line[0] - '0') * 100 + (d->line[1] - '0') * 10 +
			    (d->line[2] - '0');
		}
	}
	return 0;
}

static int
command(struct dialogue *d, const struct strbuf *line)
{
	return send_all(d->fd, strbuf_slice(line)) ? reply(d, REPLY_TIMEOUT_MS) :
	    0;
}

static enum submit_fate
fate_of(int code)
{
	if (code >= 200 && code < 400) {
		return SUBMIT_TAKEN;
	}
	return code >= 500 && code < 600 ? SUBMIT_REFUSED : SUBMIT_LATER;
}

static void
note_later(struct submit *s, int code, const struct dialogue *d)
{
	if (code >= 400 && code < 500) {
		strbuf_reset(&s->later);
		(void)strbuf_add_str(&s->later, d->line);
	}
}

/* All recipients that are still in the run end like this. */
static void
end_all(struct submit *s, enum submit_fate fate, const struct dialogue *d)
{
	size_t i;

	for (i = 0; i < s->nrcpts; i++) {
		if (s->fates[i] == SUBMIT_TAKEN) {
			s->fates[i] = fate;
		}
	}
	if (fate == SUBMIT_REFUSED) {
		(void)strbuf_printf(&s->replies, "the message was refused: %s\n",
		    d->line);
	}
}

static bool
hello_and_mail(struct dialogue *d, struct submit *s, struct strbuf *line)
{
	int code = reply(d, REPLY_TIMEOUT_MS);

	if (code == 220) {
		(void)strbuf_add_str(line, "EHLO localhost\r\n");
		code = command(d, line);
	}
	if (code == 250) {
		strbuf_reset(line);
		(void)strbuf_printf(line, "MAIL FROM:<%.*s> SIZE=%zu%s\r\n",
		    SLF(s->reverse_path), s->message.n,
		    s->body_8bitmime ? " BODY=8BITMIME" : "");
		code = command(d, line);
	}
	if (code != 250) {
		note_later(s, code, d);
		end_all(s, fate_of(code) == SUBMIT_REFUSED ? SUBMIT_REFUSED :
		    SUBMIT_LATER, d);
	}
	return code == 250;
}

/* RCPT for each; returns how many were taken. */
static size_t
recipients(struct dialogue *d, struct submit *s, struct strbuf *line)
{
	size_t i, taken = 0;
	int code;

	for (i = 0; i < s->nrcpts; i++) {
		strbuf_reset(line);
		(void)strbuf_printf(line, "RCPT TO:<%.*s>\r\n", SLF(s->rcpts[i]));
		code = command(d, line);
		note_later(s, code, d);
		s->fates[i] = fate_of(code);
		if (s->fates[i] == SUBMIT_REFUSED) {
			(void)strbuf_printf(&s->replies, "<%.*s>: %s\n",
			    SLF(s->rcpts[i]), d->line);
		}
		taken += s->fates[i] == SUBMIT_TAKEN ? 1 : 0;
	}
	return taken;
}

/* The message with its dots stuffed (RFC 5321, 4.5.2), and the end of data. */
static bool
send_content(int fd, struct slice m)
{
	size_t n;

	while (m.n > 0) {
		size_t run = 0;

		/* as far as the next line that begins with a dot */
		do {
			n = slice_find(slice_make(m.p + run, m.n - run), '\n');
			run = run + n < m.n ? run + n + 1 : m.n;
		} while (run < m.n && m.p[run] != '.');
		if ((m.p[0] == '.' && !send_all(fd, SL("."))) ||
		    !send_all(fd, slice_make(m.p, run))) {
			return false;
		}
		m.p += run;
		m.n -= run;
	}
	return send_all(fd, SL(".\r\n"));
}

void
submit_send(int fd, struct submit *s)
{
	struct dialogue d = { .fd = fd };
	struct strbuf line;
	int code;
	size_t i;

	for (i = 0; i < s->nrcpts; i++) {
		s->fates[i] = SUBMIT_TAKEN;
	}
	strbuf_init(&line, 0);
	if (hello_and_mail(&d, s, &line) && recipients(&d, s, &line) > 0) {
		code = send_all(fd, SL("DATA\r\n")) ? reply(&d, REPLY_TIMEOUT_MS) :
		    0;
		if (code == 354) {
			code = send_content(fd, s->message) ?
			    reply(&d, DOT_TIMEOUT_MS) : 0;
		}
		/* No reply after the dot: it may have been taken. Keeping it
		   can double the mail; the other choice could lose it. */
		if (code != 250) {
			note_later(s, code, &d);
			end_all(s, fate_of(code) == SUBMIT_REFUSED ?
			    SUBMIT_REFUSED : SUBMIT_LATER, &d);
		}
	}
	(void)send_all(fd, SL("QUIT\r\n"));
	strbuf_clear(&line);
	(void)close(fd);
}
