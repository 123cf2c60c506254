#include "config.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/log_sink.h"

void
log_sink_init(struct log_sink *s, const char *host)
{
	*s = (struct log_sink){ .kind = LOG_SINK_NONE, .fd = -1 };
	(void)snprintf(s->host, sizeof(s->host), "%.200s", host);
	strbuf_init(&s->out, 0);
}

static void
close_sink(struct log_sink *s)
{
	if (s->fd != -1) {
		(void)close(s->fd);
	}
	s->fd = -1;
	s->kind = LOG_SINK_NONE;
}

void
log_sink_clear(struct log_sink *s)
{
	close_sink(s);
	strbuf_clear(&s->out);
}

static unsigned long
count_lines(struct slice s)
{
	unsigned long n = 0;
	size_t i;

	for (i = 0; i < s.n; i++) {
		n += s.p[i] == '\n';
	}
	return n;
}

bool
log_sink_set(struct log_sink *s, struct slice kind, int fd)
{
	enum log_sink_kind k = slice_eq(kind, SL("file")) ? LOG_SINK_FILE :
	    slice_eq(kind, SL("stderr")) ? LOG_SINK_TERMINAL :
	    slice_eq(kind, SL("syslog")) ? LOG_SINK_SYSLOG : LOG_SINK_NONE;

	if (k == LOG_SINK_NONE) {
		(void)close(fd);
		return false;
	}
	if (s->fd != -1 && !log_sink_flush(s) &&
	    (s->kind == LOG_SINK_SYSLOG) != (k == LOG_SINK_SYSLOG)) {
		s->lost += count_lines(strbuf_slice(&s->out));
		strbuf_reset(&s->out); /* of another form */
	}
	close_sink(s);
	s->kind = k;
	s->fd = fd;
	s->broken = false;
	return true;
}

static void
add_line(struct log_sink *s, const struct tm *now, const char *program,
    unsigned pid, const struct log_line *line)
{
	struct log_origin from = { .pid = pid };

	(void)snprintf(from.host, sizeof(from.host), "%s", s->host);
	(void)snprintf(from.program, sizeof(from.program), "%s", program);
	if (s->kind == LOG_SINK_SYSLOG) {
		log_text_syslog(&s->out, now, &from, line);
		(void)strbuf_add_char(&s->out, '\n');
	} else {
		log_text_file(&s->out, now, &from, line);
	}
}

void
log_sink_add(struct log_sink *s, const struct tm *now, const char *program,
    unsigned pid, const struct log_line *line)
{
	char text[80];
	struct log_line lost = { LOG_L_WARN, { text, 0 } };
	int n;

	if (s->lost > 0 && !s->broken) {
		n = snprintf(text, sizeof(text),
		    "%lu log lines lost: they could not be written", s->lost);
		lost.text.n = n > 0 ? (size_t)n : 0;
		s->lost = 0;
		add_line(s, now, "log", (unsigned)getpid(), &lost);
	}
	add_line(s, now, program, pid, line);
}

bool
log_sink_full(const struct log_sink *s)
{
	return s->out.n >= LOG_SINK_MAX || s->kind == LOG_SINK_NONE;
}

/* The sink takes nothing: what was collected is lost, and counted. */
static void
give_up(struct log_sink *s)
{
	s->lost += count_lines(strbuf_slice(&s->out));
	strbuf_reset(&s->out);
	s->broken = true;
}

static bool
is_passing(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS;
}

/* A pipe that says "writable" takes PIPE_BUF octets without waiting; the
   descriptor is shared with whoever started us, so it stays blocking. */
static ssize_t
write_some(struct log_sink *s)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLOUT };
	size_t n = s->out.n;

	if (s->kind == LOG_SINK_TERMINAL) {
		if (poll(&pfd, 1, 0) != 1) {
			errno = EAGAIN;
			return -1;
		}
		n = n < PIPE_BUF ? n : PIPE_BUF;
	}
	return write(s->fd, s->out.p, n);
}

static bool
flush_stream(struct log_sink *s)
{
	ssize_t w;

	while (s->out.n > 0) {
		w = write_some(s);
		if (w > 0) {
			s->broken = false;
			strbuf_consume(&s->out, (size_t)w);
		} else if (w == -1 && is_passing(errno)) {
			return false;
		} else {
			give_up(s); /* a full disk, a closed pipe */
		}
	}
	return true;
}

/* One datagram a line. */
static bool
flush_syslog(struct log_sink *s)
{
	struct slice rest = strbuf_slice(&s->out);
	size_t lf;
	ssize_t w;

	while (rest.n > 0) {
		lf = slice_find(rest, '\n');
		w = send(s->fd, rest.p, lf, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (w == -1 && is_passing(errno)) {
			break;
		}
		if (w == -1 && errno == EMSGSIZE) {
			s->lost++;
		} else if (w == -1) {
			strbuf_consume(&s->out, s->out.n - rest.n);
			give_up(s); /* syslogd is gone; master will tell */
			return true;
		} else {
			s->broken = false;
		}
		lf += lf < rest.n ? 1 : 0;
		rest = slice_make(rest.p + lf, rest.n - lf);
	}
	strbuf_consume(&s->out, s->out.n - rest.n);
	return s->out.n == 0;
}

bool
log_sink_flush(struct log_sink *s)
{
	if (s->out.n == 0) {
		return true;
	}
	if (s->kind == LOG_SINK_NONE) {
		return false;
	}
	return s->kind == LOG_SINK_SYSLOG ? flush_syslog(s) : flush_stream(s);
}
