#include "config.h"

#include "common/slice.h"

int
slice_compare(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return r != 0 ? r : (a.n > b.n) - (a.n < b.n);
}

bool
slice_case_eq(struct slice a, struct slice b)
{
	size_t i;

	if (a.n != b.n) {
		return false;
	}
	for (i = 0; i < a.n; i++) {
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i])) {
			return false;
		}
	}
	return true;
}

size_t
slice_find(struct slice a, char c)
{
	const char *q = a.n > 0 ? memchr(a.p, c, a.n) : NULL;

	return q != NULL ? (size_t)(q - a.p) : a.n;
}

struct slice
slice_trim(struct slice a)
{
	while (a.n > 0 && ascii_isspace(a.p[0])) {
		a.p++;
		a.n--;
	}
	while (a.n > 0 && ascii_isspace(a.p[a.n - 1])) {
		a.n--;
	}
	return a;
}

static bool
is_sep(char c, const char *seps)
{
	return c != '\0' && strchr(seps, c) != NULL;
}

bool
slice_word(struct slice *rest, const char *seps, struct slice *word)
{
	size_t i = 0, start;

	while (i < rest->n && is_sep(rest->p[i], seps)) {
		i++;
	}
	if (i == rest->n) {
		rest->p += i;
		rest->n = 0;
		return false;
	}
	start = i;
	while (i < rest->n && !is_sep(rest->p[i], seps)) {
		i++;
	}
	*word = slice_make(rest->p + start, i - start);
	rest->p += i;
	rest->n -= i;
	return true;
}

bool
slice_number(struct slice a, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	size_t i;

	if (a.n == 0 || a.n > 19) {
		return false;
	}
	for (i = 0; i < a.n; i++) {
		if (!ascii_isdigit(a.p[i])) {
			return false;
		}
		v = v * 10 + (uint64_t)(a.p[i] - '0');
	}
	if (v > max) {
		return false;
	}
	*out = v;
	return true;
}
