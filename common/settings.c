#include "config.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/settings_impl.h"
#include "common/xmalloc.h"

/* The table, and how one value is parsed into its row. The file is read in
   settings_file.c; what is plausible stands in settings_check.c. */

const struct set_row settings_table[] = {
#define SET_ROW(type, name, def, min, max, flags, meaning)                     \
	{ #name, def, meaning, SET_##type, offsetof(struct settings, name),    \
	    min, max, flags },
	SETTINGS(SET_ROW)
#undef SET_ROW
};
const size_t settings_count = NELEMS(settings_table);

/* What an empty text points at, so that no text is NULL; never freed. */
static char empty_text[1];

union set_value {
	char *text;
	struct strlist list;
	bool yes;
	uint64_t number;
};

bool
settings_list_has(const struct strlist *l, const char *member)
{
	size_t i;

	for (i = 0; i < l->n && strcmp(l->at[i], member) != 0; i++) {
	}
	return i < l->n;
}

const struct set_row *
settings_find(struct slice name)
{
	size_t i;

	for (i = 0; i < settings_count; i++) {
		if (slice_eq(name, slice_of(settings_table[i].name))) {
			return &settings_table[i];
		}
	}
	return NULL;
}

/* -- the nearest name ------------------------------------------------------ */

#define NAME_MAX_LEN 64

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * Edit distance (insert, delete, replace, swap of neighbours) of two names of
 * at most NAME_MAX_LEN octets.
 */
static size_t
distance(struct slice a, struct slice b)
{
	size_t row[3][NAME_MAX_LEN + 1];
	size_t *before = row[0], *last = row[1], *now = row[2], *t, i, j, d;

	for (j = 0; j <= b.n; j++) {
		last[j] = j;
	}
	for (i = 1; i <= a.n; i++) {
		now[0] = i;
		for (j = 1; j <= b.n; j++) {
			d = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
			d = least(d, least(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] &&
			    a.p[i - 2] == b.p[j - 1]) {
				d = least(d, before[j - 2] + 1);
			}
			now[j] = d;
		}
		t = before;
		before = last;
		last = now;
		now = t;
	}
	return last[b.n];
}

const char *
settings_nearest(struct slice name)
{
	const char *best = NULL;
	char lower[NAME_MAX_LEN];
	size_t i, d, best_d = name.n / 3 + 1;
	struct slice known;

	if (name.n == 0 || name.n > NAME_MAX_LEN) {
		return NULL;
	}
	for (i = 0; i < name.n; i++) {
		lower[i] = ascii_lower(name.p[i]);
	}
	name.p = lower;
	best_d = least(best_d, 5);
	for (i = 0; i < settings_count; i++) {
		known = slice_of(settings_table[i].name);
		if (known.n > NAME_MAX_LEN) {
			continue;
		}
		d = distance(name, known);
		if (d < best_d) {
			best_d = d;
			best = settings_table[i].name;
		}
	}
	return best;
}

/* -- parsing a value ------------------------------------------------------- */

/* Says `"VALUE" ' in front of what is wrong. */
static void
blame(struct strbuf *why, struct slice value)
{
	(void)strbuf_add_char(why, '"');
	strbuf_add_quoted(why, value, 80);
	(void)strbuf_add_str(why, "\" ");
}

/* A number in words that people write: 64k, 5m. */
static void
add_number(struct strbuf *b, enum set_type type, uint64_t v)
{
	static const struct {
		enum set_type type;
		uint64_t unit;
		char suffix;
	} units[] = {
		{ SET_SIZE, 1u << 30, 'G' }, { SET_SIZE, 1u << 20, 'M' },
		{ SET_SIZE, 1u << 10, 'k' }, { SET_SECONDS, 86400, 'd' },
		{ SET_SECONDS, 3600, 'h' }, { SET_SECONDS, 60, 'm' },
		{ SET_SECONDS, 1, 's' },
	};
	size_t i;

	for (i = 0; i < NELEMS(units); i++) {
		if (units[i].type == type && v > 0 && v % units[i].unit == 0) {
			(void)strbuf_printf(b, "%llu%c",
			    (unsigned long long)(v / units[i].unit),
			    units[i].suffix);
			return;
		}
	}
	(void)strbuf_printf(b, "%llu", (unsigned long long)v);
}

static bool
in_range(const struct set_row *row, struct slice value, uint64_t v,
    struct strbuf *why)
{
	bool small = v < row->min;

	if (!small && v <= row->max) {
		return true;
	}
	blame(why, value);
	(void)strbuf_add_str(why, small ? "is too small: at least " :
	    "is too large: at most ");
	add_number(why, row->type, small ? row->min : row->max);
	return false;
}

/* The factor of a suffix; 0 when there is no such suffix. */
static uint64_t
suffix_factor(enum set_type type, char c)
{
	switch (type == SET_SECONDS ? c : ascii_lower(c)) {
	case 's':
		return type == SET_SECONDS ? 1 : 0;
	case 'm':
		return type == SET_SECONDS ? 60 : 1u << 20;
	case 'h':
		return type == SET_SECONDS ? 3600 : 0;
	case 'd':
		return type == SET_SECONDS ? 86400 : 0;
	case 'w':
		return type == SET_SECONDS ? 604800 : 0;
	case 'k':
		return type == SET_SIZE ? 1u << 10 : 0;
	case 'g':
		return type == SET_SIZE ? 1u << 30 : 0;
	case 't':
		return type == SET_SIZE ? (uint64_t)1 << 40 : 0;
	default:
		return 0;
	}
}

/* Saturates: what is too large is out of every range. */
static bool
read_number(enum set_type type, struct slice value, uint64_t *out)
{
	struct slice digits = value;
	uint64_t factor = 1, v;

	if (type != SET_NUMBER && value.n > 1 &&
	    !ascii_isdigit(value.p[value.n - 1])) {
		factor = suffix_factor(type, value.p[value.n - 1]);
		digits.n--;
	}
	if (factor == 0 || !slice_number(digits, UINT64_MAX, &v)) {
		return false;
	}
	*out = v > UINT64_MAX / factor ? UINT64_MAX : v * factor;
	return true;
}

bool
settings_read_seconds(struct slice value, uint64_t *seconds)
{
	return read_number(SET_SECONDS, value, seconds);
}

static bool
parse_number(const struct set_row *row, struct slice value, uint64_t *out,
    struct strbuf *why)
{
	static const char *const shape[] = {
		[SET_NUMBER] = "is not a number: write digits only",
		[SET_SIZE] = "is not a size: write octets, or a number and "
		    "k, M, G or T",
		[SET_SECONDS] = "is not a time: write seconds, or a number and "
		    "s, m, h, d or w",
	};

	if (!read_number(row->type, value, out)) {
		blame(why, value);
		(void)strbuf_add_str(why, shape[row->type]);
		return false;
	}
	return in_range(row, value, *out, why);
}

static bool
parse_bool(struct slice value, bool *out, struct strbuf *why)
{
	bool yes = slice_eq(value, SL("yes"));

	if (!yes && !slice_eq(value, SL("no"))) {
		blame(why, value);
		(void)strbuf_add_str(why, "is neither yes nor no");
		return false;
	}
	*out = yes;
	return true;
}

static bool
parse_text(const struct set_row *row, struct slice value, char **out,
    struct strbuf *why)
{
	if (value.n < row->min) {
		(void)strbuf_add_str(why, "must not be empty");
		return false;
	}
	if (value.n > row->max) {
		blame(why, value);
		(void)strbuf_printf(why, "is too long: at most %llu octets",
		    (unsigned long long)row->max);
		return false;
	}
	*out = value.n > 0 ? xslicedup(value) : empty_text;
	return true;
}

bool
settings_member(struct slice *rest, struct slice *member)
{
	size_t i = 0, start;
	int depth = 0;
	char c;

	while (i < rest->n && (rest->p[i] == ',' || ascii_isspace(rest->p[i]))) {
		i++;
	}
	start = i;
	for (; i < rest->n; i++) {
		c = rest->p[i];
		if (depth == 0 && (c == ',' || ascii_isspace(c))) {
			break;
		}
		depth += c == '{' ? 1 : c == '}' && depth > 0 ? -1 : 0;
	}
	*member = slice_make(rest->p + start, i - start);
	*rest = slice_make(rest->p + i, rest->n - i);
	return member->n > 0;
}

void
strlist_clear(struct strlist *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		free(l->at[i]);
	}
	free(l->at);
	*l = (struct strlist){ NULL, 0 };
}

static bool
parse_list(const struct set_row *row, struct slice value, struct strlist *out,
    struct strbuf *why)
{
	struct slice rest = value, member;
	struct strlist l = { NULL, 0 };
	size_t room = 0, n = 0;

	while (settings_member(&rest, &member)) {
		n++;
		if (n > row->max) {
			continue; /* counted, to say how many there are */
		}
		if (l.n == room) {
			room = room == 0 ? 8 : room * 2;
			l.at = xreallocarray(l.at, room, sizeof(l.at[0]));
		}
		l.at[l.n++] = xslicedup(member);
	}
	if (n < row->min || n > row->max) {
		(void)strbuf_printf(why, "has %zu members: at %s %llu", n,
		    n < row->min ? "least" : "most",
		    (unsigned long long)(n < row->min ? row->min : row->max));
		strlist_clear(&l);
		return false;
	}
	*out = l;
	return true;
}

static bool
parse(const struct set_row *row, struct slice value, union set_value *v,
    struct strbuf *why)
{
	switch (row->type) {
	case SET_TEXT:
		return parse_text(row, value, &v->text, why);
	case SET_LIST:
		return parse_list(row, value, &v->list, why);
	case SET_BOOL:
		return parse_bool(value, &v->yes, why);
	case SET_NUMBER:
	case SET_SIZE:
	case SET_SECONDS:
		return parse_number(row, value, &v->number, why);
	}
	return false;
}

/* -- the struct ------------------------------------------------------------ */

static void
init_TEXT(char **p)
{
	*p = empty_text;
}

static void
init_LIST(struct strlist *p)
{
	*p = (struct strlist){ NULL, 0 };
}

static void
init_BOOL(bool *p)
{
	*p = false;
}

static void
init_NUMBER(uint64_t *p)
{
	*p = 0;
}

#define init_SIZE     init_NUMBER
#define init_SECONDS  init_NUMBER

static void
clear_TEXT(char **p)
{
	if (*p != empty_text) {
		free(*p);
	}
}

#define clear_LIST    strlist_clear
#define clear_BOOL    init_BOOL
#define clear_NUMBER  init_NUMBER
#define clear_SIZE    init_NUMBER
#define clear_SECONDS init_NUMBER

void
settings_init(struct settings *s)
{
#define SET_INIT(type, name, def, min, max, flags, meaning) init_##type(&s->name);
	SETTINGS(SET_INIT)
#undef SET_INIT
}

void
settings_clear(struct settings *s)
{
#define SET_CLEAR(type, name, def, min, max, flags, meaning)                   \
	clear_##type(&s->name);
	SETTINGS(SET_CLEAR)
#undef SET_CLEAR
	settings_init(s);
}

/* Move a parsed value to its place, releasing the one before. */
static void
store(struct settings *s, const struct set_row *row, union set_value v)
{
	void *place = (char *)s + row->offset;

	switch (row->type) {
	case SET_TEXT:
		clear_TEXT(place);
		*(char **)place = v.text;
		break;
	case SET_LIST:
		strlist_clear(place);
		*(struct strlist *)place = v.list;
		break;
	case SET_BOOL:
		*(bool *)place = v.yes;
		break;
	case SET_NUMBER:
	case SET_SIZE:
	case SET_SECONDS:
		*(uint64_t *)place = v.number;
		break;
	}
}

bool
settings_set(struct settings *s, const struct set_row *row, struct slice value,
    struct strbuf *why)
{
	union set_value v;

	if (!parse(row, value, &v, why)) {
		return false;
	}
	if (!settings_plausible(row, value, why)) {
		if (row->type == SET_TEXT) {
			clear_TEXT(&v.text);
		} else if (row->type == SET_LIST) {
			strlist_clear(&v.list);
		}
		return false;
	}
	store(s, row, v);
	return true;
}
