/*
 * slice - borrowed octets: a pointer and a length, never NUL-terminated by
 * promise (NUL is data). Lives no longer than what it borrows from.
 * Also the ASCII helpers, which know no locale.
 */
#ifndef COMMON_SLICE_H
#define COMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n;
};

/* A slice of a string literal. */
#define SL(lit) ((struct slice){ (lit), sizeof(lit) - 1 })
/* The same for rows of static tables. */
#define SL_INIT(lit) { (lit), sizeof(lit) - 1 }
#define NELEMS(a) (sizeof(a) / sizeof((a)[0]))

/* For printf's "%.*s": a slice that is known to be short. */
#define SLF(s) (int)((s).n > 4096 ? 4096 : (s).n), (s).p

static inline struct slice
slice_of(const char *s)
{
	return (struct slice){ s, strlen(s) };
}

static inline struct slice
slice_make(const char *p, size_t n)
{
	return (struct slice){ p, n };
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline char
ascii_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static inline bool
ascii_isdigit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
ascii_isalpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool
ascii_isalnum(char c)
{
	return ascii_isdigit(c) || ascii_isalpha(c);
}

/* Space, tab, CR or LF. */
static inline bool
ascii_isspace(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Octets 0-31 and 127. */
static inline bool
ascii_iscntrl(char c)
{
	return (unsigned char)c < 32 || c == 127;
}

/* Equal without regard to the case of ASCII letters. */
bool slice_case_eq(struct slice a, struct slice b);
/* Below, at or above 0, by octets; a beginning comes before the whole. */
int slice_compare(struct slice a, struct slice b);

/* Find the octet `c'; returns its index or a.n when it is not there. */
size_t slice_find(struct slice a, char c);

/* `a' without white space at both ends. */
struct slice slice_trim(struct slice a);

/*
 * Cut the next word off *rest: skips octets of `seps' (a C string), takes the
 * octets up to the next one. Returns false, *word untouched, at the end.
 */
bool slice_word(struct slice *rest, const char *seps, struct slice *word);

/*
 * A decimal number of 1-19 digits and nothing else, at most `max'.
 * Returns false and leaves *out untouched otherwise.
 */
bool slice_number(struct slice a, uint64_t max, uint64_t *out);

#endif
