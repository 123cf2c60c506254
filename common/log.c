#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

/* The process's log; not a session's state. A fixed buffer, so that the last
   words of a process without memory arrive too. */
#define LOG_BUFFER 65536

static struct {
	const char *name;
	bool piped, debug;
	void (*arm)(void *);
	void *arm_arg;
	size_t n;
	unsigned long lost;
	char buf[LOG_BUFFER];
} lg;

void
log_setup(const char *name, bool piped)
{
	lg.name = name;
	lg.piped = piped;
}

void
log_set_debug(bool on)
{
	lg.debug = on;
}

bool
log_is_debug(void)
{
	return lg.debug;
}

void
log_on_pending(void (*arm)(void *), void *arg)
{
	lg.arm = arm;
	lg.arm_arg = arg;
}

static void
append(const char *p, size_t n)
{
	if (n > sizeof(lg.buf) - lg.n) {
		lg.lost++;
		return;
	}
	memcpy(lg.buf + lg.n, p, n);
	lg.n += n;
}

/* Say how much was lost, once there is room for it. */
static void
append_lost(void)
{
	char line[80];
	int n;

	if (lg.lost == 0 || lg.n > sizeof(lg.buf) / 2) {
		return;
	}
	n = snprintf(line, sizeof(line), "<%d>%lu log lines lost: the log was full\n",
	    LOG_L_WARN, lg.lost);
	if (n > 0 && (size_t)n < sizeof(line)) {
		lg.lost = 0;
		append(line, (size_t)n);
	}
}

bool
log_flush(void)
{
	ssize_t w;

	append_lost();
	while (lg.n > 0) {
		w = write(STDERR_FILENO, lg.buf, lg.n);
		if (w == -1 && errno == EINTR) {
			continue;
		}
		if (w == -1 && errno == EAGAIN) {
			return false;
		}
		if (w <= 0) {
			lg.n = 0; /* nobody will ever read it */
			break;
		}
		lg.n -= (size_t)w;
		memmove(lg.buf, lg.buf + w, lg.n);
		append_lost();
	}
	return true;
}

/* Escape control octets of line[from..n) in place of it, into out. */
static size_t
escape(char *out, size_t cap, const char *in)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;
	unsigned char c;

	for (; *in != '\0' && n + 8 < cap; in++) {
		c = (unsigned char)*in;
		if (c < 32 || c == 127) {
			out[n++] = '\\';
			out[n++] = 'x';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		} else {
			out[n++] = (char)c;
		}
	}
	if (*in != '\0') {
		memcpy(out + n, "...", 3);
		n += 3;
	}
	return n;
}

static void emit(enum log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
emit(enum log_level level, const char *fmt, va_list ap)
{
	char text[LOG_LINE_MAX], line[LOG_LINE_MAX + 128];
	int head = 0, errno_kept = errno;
	bool was_empty = lg.n == 0;
	size_t n;

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0) {
		return;
	}
	if (lg.piped) {
		head = snprintf(line, 64, "<%d>", (int)level);
	} else if (lg.name != NULL) {
		head = snprintf(line, 64, "%s: %s", lg.name,
		    level == LOG_L_WARN ? "warning: " : "");
	}
	n = head > 0 ? (size_t)head : 0;
	n += escape(line + n, sizeof(line) - n - 2, text);
	line[n++] = '\n';
	append(line, n);
	if (!lg.piped || lg.arm == NULL) {
		(void)log_flush();
	} else if (was_empty) {
		lg.arm(lg.arm_arg);
	}
	errno = errno_kept;
}

#define LOG_FUNCTION(name, level)                                              \
	void log_##name(const char *fmt, ...)                                  \
	{                                                                      \
		va_list ap;                                                    \
                                                                               \
		va_start(ap, fmt);                                             \
		emit(level, fmt, ap);                                          \
		va_end(ap);                                                    \
	}

LOG_FUNCTION(error, LOG_L_ERROR)
LOG_FUNCTION(warn, LOG_L_WARN)
LOG_FUNCTION(info, LOG_L_INFO)

void
log_debug(const char *fmt, ...)
{
	va_list ap;

	if (!lg.debug) {
		return;
	}
	va_start(ap, fmt);
	emit(LOG_L_DEBUG, fmt, ap);
	va_end(ap);
}

void
log_panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_L_ERROR, fmt, ap);
	va_end(ap);
	(void)log_flush();
	abort();
}

void
log_fatal(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(LOG_L_ERROR, fmt, ap);
	va_end(ap);
	(void)log_flush();
	exit(code);
}
