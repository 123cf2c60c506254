#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <assert.h>

#include "common/log.h"
#include "common/strbuf.h"
#include "common/xmalloc.h"

void
strbuf_init(struct strbuf *b, size_t max)
{
	*b = (struct strbuf){ .max = max };
}

void
strbuf_clear(struct strbuf *b)
{
	free(b->p);
	strbuf_init(b, b->max);
}

void
strbuf_reset(struct strbuf *b)
{
	b->n = 0;
	b->clipped = false;
	if (b->p != NULL) {
		b->p[0] = '\0';
	}
}

char *
strbuf_room(struct strbuf *b, size_t n)
{
	size_t need, cap;

	if ((b->max > 0 && (n > b->max || b->n > b->max - n)) ||
	    n > SIZE_MAX / 4 - b->n) {
		b->clipped = true;
		return NULL;
	}
	need = b->n + n + 1;
	if (need > b->cap) {
		cap = b->cap < 64 ? 64 : b->cap;
		while (cap < need) {
			cap *= 2;
		}
		b->p = xrealloc(b->p, cap);
		b->cap = cap;
	}
	return b->p + b->n;
}

void
strbuf_filled(struct strbuf *b, size_t n)
{
	assert(b->n + n < b->cap);
	b->n += n;
	b->p[b->n] = '\0';
}

bool
strbuf_add(struct strbuf *b, const void *p, size_t n)
{
	char *to = strbuf_room(b, n);

	if (to == NULL) {
		return false;
	}
	if (n > 0) {
		memcpy(to, p, n);
	}
	strbuf_filled(b, n);
	return true;
}

bool
strbuf_add_slice(struct strbuf *b, struct slice s)
{
	return strbuf_add(b, s.p, s.n);
}

bool
strbuf_add_str(struct strbuf *b, const char *s)
{
	return strbuf_add(b, s, strlen(s));
}

bool
strbuf_add_char(struct strbuf *b, char c)
{
	return strbuf_add(b, &c, 1);
}

/* Mostly there is room already, and one pass will do. */
bool
strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
{
	size_t room = b->p != NULL ? b->cap - b->n : 0;
	va_list again;
	char *to;
	int n;

	va_copy(again, ap);
	n = vsnprintf(room > 0 ? b->p + b->n : NULL, room, fmt, again);
	va_end(again);
	if (n < 0) {
		log_panic("vsnprintf: bad format %s", fmt);
	}
	to = strbuf_room(b, (size_t)n);
	if (to == NULL) {
		if (room > 0) {
			b->p[b->n] = '\0';
		}
		return false;
	}
	if ((size_t)n >= room) {
		(void)vsnprintf(to, (size_t)n + 1, fmt, ap);
	}
	strbuf_filled(b, (size_t)n);
	return true;
}

bool
strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	ok = strbuf_vprintf(b, fmt, ap);
	va_end(ap);
	return ok;
}

void
strbuf_consume(struct strbuf *b, size_t n)
{
	assert(n <= b->n);
	if (n == 0) {
		return;
	}
	b->n -= n;
	memmove(b->p, b->p + n, b->n);
	b->p[b->n] = '\0';
}

struct slice
strbuf_slice(const struct strbuf *b)
{
	return slice_make(b->p != NULL ? b->p : "", b->n);
}

char *
strbuf_take(struct strbuf *b)
{
	char *p = b->p != NULL ? b->p : xstrdup("");

	strbuf_init(b, b->max);
	return p;
}

void
strbuf_add_quoted(struct strbuf *b, struct slice s, size_t limit)
{
	static const char hex[] = "0123456789abcdef";
	size_t i, n = s.n < limit ? s.n : limit;
	unsigned char c;

	for (i = 0; i < n; i++) {
		c = (unsigned char)s.p[i];
		if (c == '\\') {
			(void)strbuf_add(b, "\\\\", 2);
		} else if (c >= 32 && c < 127) {
			(void)strbuf_add_char(b, (char)c);
		} else {
			(void)strbuf_add(b, (char[4]){ '\\', 'x', hex[c >> 4],
			    hex[c & 15] }, 4);
		}
	}
	if (n < s.n) {
		(void)strbuf_add_str(b, "...");
	}
}
