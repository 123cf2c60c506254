#include "config.h"

#include "common/mailboxes.h"

/* Behind the comment that begins at `i' (a parenthesis), or the end. */
static size_t
skip_comment(struct slice f, size_t i)
{
	unsigned depth = 0;

	for (; i < f.n; i++) {
		if (f.p[i] == '\\') {
			i++;
		} else if (f.p[i] == '(') {
			depth++;
		} else if (f.p[i] == ')' && --depth == 0) {
			return i + 1;
		}
	}
	return f.n;
}

/* Behind the quoted string that begins at `i', or the end. */
static size_t
skip_quoted(struct slice f, size_t i)
{
	for (i++; i < f.n; i++) {
		if (f.p[i] == '\\') {
			i++;
		} else if (f.p[i] == '"') {
			return i + 1;
		}
	}
	return f.n;
}

/* Behind one unit at `i': a comment, quoted string, pair or octet. */
static size_t
skip_unit(struct slice f, size_t i)
{
	if (f.p[i] == '(') {
		return skip_comment(f, i);
	}
	if (f.p[i] == '"') {
		return skip_quoted(f, i);
	}
	if (f.p[i] == '\\' || f.p[i] == '[') { /* a literal may hold colons */
		size_t end = f.p[i] == '[' ? i + slice_find(slice_make(f.p + i,
		    f.n - i), ']') + 1 : i + 2;

		return end < f.n ? end : f.n;
	}
	return i + 1;
}

/* The octets between angle brackets at `i'; *next stands behind the closing. */
static struct slice
angle(struct slice f, size_t i, size_t *next)
{
	size_t start = i + 1;

	for (i = start; i < f.n && f.p[i] != '>'; i = skip_unit(f, i)) {
	}
	*next = i < f.n ? i + 1 : f.n;
	return slice_trim(slice_make(f.p + start, (i < f.n ? i : f.n) - start));
}

/* A bare mailbox between two separators, without the comments at its ends. */
static struct slice
bare(struct slice f, size_t start, size_t end)
{
	size_t first = end, last = start, i;

	for (i = start; i < end; i = skip_unit(f, i)) {
		if (f.p[i] != '(' && !ascii_isspace(f.p[i])) {
			first = first == end ? i : first;
			last = skip_unit(f, i);
		}
	}
	if (last > end) {
		last = end;
	}
	return first < last ? slice_make(f.p + first, last - first) : SL("");
}

bool
mailboxes_next(struct slice f, size_t *place, struct slice *spec)
{
	size_t i = *place, start = *place;
	bool angled = false;

	*spec = SL("");
	while (i < f.n) {
		char c = f.p[i];

		if (c == '<' && !angled) {
			*spec = angle(f, i, &i);
			angled = true;
			continue;
		}
		if (c == ':' && !angled) { /* a group's name ends */
			start = ++i;
			continue;
		}
		if (c == ',' || c == ';') {
			if (!angled) {
				*spec = bare(f, start, i);
			}
			i++;
			if (spec->n > 0) {
				*place = i;
				return true;
			}
			start = i;
			angled = false;
			continue;
		}
		i = skip_unit(f, i);
	}
	*place = f.n;
	if (!angled && start < f.n) {
		*spec = bare(f, start, f.n);
	}
	return spec->n > 0;
}
