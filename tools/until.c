#include "config.h"

#include <string.h>
#include <time.h>

#include "common/settings.h"
#include "tools/until.h"

/* Two digits (or `n') at *at, which moves on. */
static bool
digits(const char **at, int n, int least, int most, int *out)
{
	int value = 0, i;

	for (i = 0; i < n; i++) {
		if (!ascii_isdigit((*at)[i])) {
			return false;
		}
		value = 10 * value + ((*at)[i] - '0');
	}
	*at += n;
	*out = value;
	return value >= least && value <= most;
}

static bool
skip(const char **at, char c)
{
	if (**at != c) {
		return false;
	}
	++*at;
	return true;
}

/* "17:30" or "17:30:00" */
static bool
clock_time(const char **at, struct tm *tm)
{
	return digits(at, 2, 0, 23, &tm->tm_hour) && skip(at, ':') &&
	    digits(at, 2, 0, 59, &tm->tm_min) &&
	    (!skip(at, ':') || digits(at, 2, 0, 59, &tm->tm_sec));
}

static bool
date(const char **at, struct tm *tm)
{
	if (!digits(at, 4, 1970, 9998, &tm->tm_year) || !skip(at, '-') ||
	    !digits(at, 2, 1, 12, &tm->tm_mon) || !skip(at, '-') ||
	    !digits(at, 2, 1, 31, &tm->tm_mday)) {
		return false;
	}
	tm->tm_year -= 1900;
	tm->tm_mon--;
	return **at == '\0' || ((skip(at, 'T') || skip(at, ' ')) &&
	    clock_time(at, tm));
}

/* There is no 31st of June: what mktime() makes of it is another day. */
static bool
to_seconds(struct tm tm, bool utc, uint64_t *out)
{
	int day = tm.tm_mday;
	time_t t;

	tm.tm_isdst = -1;
	t = utc ? timegm(&tm) : mktime(&tm);
	*out = t > 0 ? (uint64_t)t : 0;
	return t > 0 && tm.tm_mday == day;
}

/* The next time that the clock shows this. */
static bool
next_time(const char *text, uint64_t now, uint64_t *out)
{
	time_t t = (time_t)now;
	const char *at = text;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL) {
		return false;
	}
	tm.tm_sec = 0;
	if (!clock_time(&at, &tm) || *at != '\0' ||
	    !to_seconds(tm, false, out)) {
		return false;
	}
	if (*out <= now) {
		tm.tm_mday++;
		tm.tm_isdst = -1;
		t = mktime(&tm);
		*out = t > 0 ? (uint64_t)t : 0;
	}
	return true;
}

bool
until_parse(const char *text, uint64_t now, uint64_t *out)
{
	struct tm tm = { .tm_sec = 0 };
	const char *at = text;
	uint64_t seconds;
	bool utc;

	if (settings_read_seconds(slice_of(text), &seconds)) {
		*out = now + seconds;
		return seconds > 0 && seconds < UINT32_MAX;
	}
	if (next_time(text, now, out)) {
		return true;
	}
	if (!date(&at, &tm)) {
		return false;
	}
	utc = skip(&at, 'Z');
	return *at == '\0' && to_seconds(tm, utc, out) && *out > now;
}
