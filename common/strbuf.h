/*
 * strbuf - owned octets that grow, with a ceiling.
 * Always NUL-terminated after the first addition, so that text without NUL
 * inside can be printed; `n' is the length that counts.
 */
#ifndef COMMON_STRBUF_H
#define COMMON_STRBUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/slice.h"

struct strbuf {
	char *p;      /* NULL until the first addition */
	size_t n;     /* octets in use, without the final NUL */
	size_t cap;   /* octets allocated */
	size_t max;   /* the ceiling for n; 0: none (bounded by the caller) */
	bool clipped; /* an addition was refused for the ceiling */
};

/* Empty, with the ceiling `max' (0: none). Allocates nothing. */
void strbuf_init(struct strbuf *b, size_t max);
/* Frees the octets; *b is as after strbuf_init with the same ceiling. */
void strbuf_clear(struct strbuf *b);
/* Forget the contents, keep the room. */
void strbuf_reset(struct strbuf *b);

/*
 * Additions are all or nothing: when the result would exceed the ceiling they
 * return false, set `clipped' and leave the contents untouched.
 */
bool strbuf_add(struct strbuf *b, const void *p, size_t n);
bool strbuf_add_slice(struct strbuf *b, struct slice s);
bool strbuf_add_str(struct strbuf *b, const char *s);
bool strbuf_add_char(struct strbuf *b, char c);
bool strbuf_printf(struct strbuf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/*
 * Room for at least `n' more octets, for a reader to fill; returns where they
 * go, or NULL when the ceiling forbids it. strbuf_filled() then counts them.
 */
char *strbuf_room(struct strbuf *b, size_t n);
void strbuf_filled(struct strbuf *b, size_t n);

/* Drop the first `n' octets (at most b->n). */
void strbuf_consume(struct strbuf *b, size_t n);

/* All of it, as a slice that lives until the next change. */
struct slice strbuf_slice(const struct strbuf *b);

/* Take the octets out as a C string that the caller frees; *b is empty. */
char *strbuf_take(struct strbuf *b);

/*
 * Add `s' so that it can stand in a log line or a header: printable ASCII as
 * it is, a backslash doubled, everything else as \xHH. At most `limit' octets
 * of `s' are shown, then "...".
 */
void strbuf_add_quoted(struct strbuf *b, struct slice s, size_t limit);

#endif
