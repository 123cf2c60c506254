#include "config.h"

#include <stdbool.h>

#include "qmgr/grey.h"

/* What such replies say; `any': whatever the enhanced status code, else only
   with 4.7.1 (delivery not authorized), which some greylisters give alone. */
static const struct {
	struct slice text;
	bool any;
} phrases[] = {
	{ SL_INIT("greylist"), true },
	{ SL_INIT("graylist"), true },
	{ SL_INIT("grey list"), true },
	{ SL_INIT("grey-list"), true },
	{ SL_INIT("gray list"), true },
	{ SL_INIT("gray-list"), true },
	{ SL_INIT("postgrey"), true },
	{ SL_INIT("try again"), false },
	{ SL_INIT("come back"), false },
	{ SL_INIT("retry"), false },
};

static const struct {
	struct slice name;
	uint64_t seconds;
} units[] = {
	{ SL_INIT("s"), 1 },
	{ SL_INIT("sec"), 1 },
	{ SL_INIT("secs"), 1 },
	{ SL_INIT("second"), 1 },
	{ SL_INIT("seconds"), 1 },
	{ SL_INIT("m"), 60 },
	{ SL_INIT("min"), 60 },
	{ SL_INIT("mins"), 60 },
	{ SL_INIT("minute"), 60 },
	{ SL_INIT("minutes"), 60 },
	{ SL_INIT("h"), 3600 },
	{ SL_INIT("hour"), 3600 },
	{ SL_INIT("hours"), 3600 },
};

static struct slice
from(struct slice a, size_t at)
{
	return slice_make(a.p + at, a.n - at);
}

static bool
says(struct slice reply, struct slice text)
{
	size_t i;

	for (i = 0; i + text.n <= reply.n; i++) {
		if (slice_case_eq(slice_make(reply.p + i, text.n), text)) {
			return true;
		}
	}
	return false;
}

/* The digits at the start of *a, at most six; false: none, or more. */
static bool
number(struct slice *a, uint64_t *out)
{
	size_t n = 0;

	while (n < a->n && ascii_isdigit(a->p[n])) {
		n++;
	}
	if (n == 0 || n > 6 || !slice_number(slice_make(a->p, n), 999999, out)) {
		return false;
	}
	*a = from(*a, n);
	return true;
}

/* ":05:00" after the hours, or ":30" after the minutes. */
static uint64_t
clock_rest(struct slice a, uint64_t first)
{
	uint64_t total = first, part;
	int parts = 0;

	while (parts < 2 && a.n > 0 && a.p[0] == ':') {
		a = from(a, 1);
		if (!number(&a, &part)) {
			return 0;
		}
		total = total * 60 + part;
		parts++;
	}
	return total;
}

/* The unit at the start of *a, maybe after a blank; 0: none. */
static uint64_t
unit(struct slice *a)
{
	struct slice rest = a->n > 0 && (a->p[0] == ' ' || a->p[0] == '-') ?
	    from(*a, 1) : *a;
	size_t n = 0, i;

	while (n < rest.n && ascii_isalpha(rest.p[n])) {
		n++;
	}
	for (i = 0; i < NELEMS(units); i++) {
		if (slice_case_eq(slice_make(rest.p, n), units[i].name)) {
			*a = from(rest, n);
			return units[i].seconds;
		}
	}
	return 0;
}

/* "300 seconds", "4m59s", "00:05:00" at the start of `a'; 0: none of these. */
static uint64_t
duration(struct slice a)
{
	uint64_t total = 0, n, each;

	while (number(&a, &n)) {
		if (total == 0 && a.n > 0 && a.p[0] == ':') {
			return clock_rest(a, n);
		}
		each = unit(&a);
		if (each == 0) {
			break;
		}
		total += n * each;
	}
	return total;
}

/* The first time that the text names; 0: none. */
static uint64_t
named(struct slice reply)
{
	uint64_t s;
	size_t i;

	for (i = 4; i < reply.n; i++) { /* after the code */
		if (!ascii_isdigit(reply.p[i]) ||
		    (reply.p[i - 1] != ' ' && reply.p[i - 1] != '(')) {
			continue;
		}
		s = duration(from(reply, i));
		if (s > 0 && s <= GREY_MOST_S) {
			return s < GREY_LEAST_S ? GREY_LEAST_S : s;
		}
	}
	return 0;
}

uint64_t
grey_wait_s(struct slice esc, struct slice reply, uint64_t usual)
{
	bool alone = slice_eq(esc, SL("4.7.1"));
	uint64_t s;
	size_t i;

	if (reply.n < 4 || (!slice_eq(slice_make(reply.p, 4), SL("450 ")) &&
	    !slice_eq(slice_make(reply.p, 4), SL("451 ")))) {
		return 0;
	}
	for (i = 0; i < NELEMS(phrases); i++) {
		if ((phrases[i].any || alone) && says(reply, phrases[i].text)) {
			s = named(reply);
			return s > 0 ? s : usual;
		}
	}
	return 0;
}
