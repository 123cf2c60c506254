#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/settings_impl.h"
#include "common/xmalloc.h"

/*
 * Reading the file. First the lines become raw values by row
 * (settings_lines.c); then each row is resolved: expanded (which resolves the
 * rows it names first), completed, parsed. A row that failed has said why; what
 * depends on it fails in silence, so that one mistake makes one error.
 */

/* -- expansion ------------------------------------------------------------- */

static bool resolve(struct settings_load *l, const struct set_row *row);

/* Add the value of the setting `name', which `row' refers to. */
static bool
add_reference(struct settings_load *l, const struct set_row *row,
    struct slice name, struct strbuf *out)
{
	const struct set_row *other = settings_find(name);
	size_t i = settings_index(row), o;

	if (other == NULL) {
		settings_say_unknown(l, l->src->line[i], name, row->name);
		return false;
	}
	o = settings_index(other);
	if (l->state[o] == ROW_BUSY) {
		settings_say_row(l, row, "$%s leads back to %s itself",
		    other->name, other->name);
		return false;
	}
	return resolve(l, other) && strbuf_add_str(out, l->src->value[o]);
}

/*
 * The name after a "$" at the start of *rest, which moves behind it:
 * "$$", "$name" or "${name}". False: none of them.
 */
static bool
take_reference(struct slice *rest, struct slice *name)
{
	size_t i = 1, start = 1;
	bool brace = rest->n > 1 && rest->p[1] == '{';

	if (rest->n > 1 && rest->p[1] == '$') {
		*name = slice_make(rest->p + 1, 1);
		*rest = slice_make(rest->p + 2, rest->n - 2);
		return true;
	}
	if (brace) {
		i = start = 2;
	}
	while (i < rest->n && settings_is_name_octet(rest->p[i])) {
		i++;
	}
	*name = slice_make(rest->p + start, i - start);
	if (name->n == 0 || (brace && (i == rest->n || rest->p[i] != '}'))) {
		return false;
	}
	i += brace ? 1 : 0;
	*rest = slice_make(rest->p + i, rest->n - i);
	return true;
}

/* A part of an address that is not known yet: "${user}" stays. */
static bool
is_part(const struct set_row *row, struct slice name)
{
	return (row->flags & SET_PARTS) != 0 && (slice_eq(name, SL("user")) ||
	    slice_eq(name, SL("extension")) || slice_eq(name, SL("domain")));
}

/* The raw text of `row' with all references replaced. */
static bool
expand(struct settings_load *l, const struct set_row *row, struct strbuf *out)
{
	size_t i = settings_index(row), dollar;
	struct slice rest = slice_of(l->src->raw[i]), name;
	bool ok = true;

	while (rest.n > 0 && ok) {
		dollar = slice_find(rest, '$');
		(void)strbuf_add(out, rest.p, dollar);
		rest = slice_make(rest.p + dollar, rest.n - dollar);
		if (rest.n == 0) {
			break;
		}
		if (!take_reference(&rest, &name)) {
			settings_say_row(l, row, "a $ that is not $name or "
			    "${name} (write $$ for a dollar)");
			ok = false;
		} else if (name.p[0] == '$') {
			(void)strbuf_add_char(out, '$');
		} else if (is_part(row, name)) {
			(void)strbuf_printf(out, "${%.*s}", SLF(name));
		} else {
			ok = add_reference(l, row, name, out);
		}
	}
	if (ok && out->clipped) {
		settings_say_row(l, row, "longer than %d octets when expanded: "
		    "use a map", SETTINGS_VALUE_MAX);
	}
	return ok && !out->clipped;
}

/* Read the file that stands for a value; says why it cannot be. */
static bool
read_value_file(struct settings_load *l, const struct set_row *row,
    struct slice path, struct strbuf *out)
{
	char *name = xslicedup(path);
	struct slice rest, line;
	const char *why;
	bool ok = settings_read_all(name, out, &why);

	rest = strbuf_slice(out);
	while (ok && settings_next_line(&rest, &line)) {
		why = settings_bad_octets(line);
		ok = why == NULL;
	}
	if (!ok) {
		settings_say_row(l, row, "cannot use %s: %s", name, why);
	}
	free(name);
	return ok;
}

/* A value, or a member of one, in line `number' of a file: what is wrong is said
   with that place, too. */
static bool
is_good_there(struct settings_load *l, const struct set_row *row,
    struct slice path, unsigned number, struct slice value)
{
	struct strbuf why;
	bool ok;

	strbuf_init(&why, 0);
	ok = settings_plausible(row, value, &why);
	if (!ok) {
		settings_say_row(l, row, "%.*s:%u: %s", SLF(path), number,
		    why.p);
	}
	strbuf_clear(&why);
	return ok;
}

/* A TEXT value that is a path becomes the first line of that file. */
static bool
text_from_file(struct settings_load *l, const struct set_row *row,
    struct strbuf *value)
{
	struct strbuf file;
	struct slice rest, line = SL("");
	bool ok;

	if (value->n == 0 || value->p[0] != '/') {
		return true;
	}
	strbuf_init(&file, 0);
	ok = read_value_file(l, row, strbuf_slice(value), &file);
	if (ok) {
		rest = strbuf_slice(&file);
		(void)settings_next_line(&rest, &line);
		line = slice_trim(line);
		ok = is_good_there(l, row, strbuf_slice(value), 1, line);
		strbuf_reset(value);
		(void)strbuf_add_slice(value, line);
	}
	strbuf_clear(&file);
	return ok;
}

static void
add_member(struct strbuf *out, struct slice member)
{
	if (out->n > 0) {
		(void)strbuf_add_str(out, ", ");
	}
	(void)strbuf_add_slice(out, member);
}

/* The members of the lines of a file, comments left out. */
static bool
add_file_members(struct settings_load *l, const struct set_row *row,
    struct slice path, struct strbuf *out)
{
	struct strbuf file;
	struct slice rest, line, member;
	unsigned number = 0;
	bool ok;

	strbuf_init(&file, 0);
	ok = read_value_file(l, row, path, &file);
	rest = strbuf_slice(&file);
	while (ok && settings_next_line(&rest, &line)) {
		number++;
		line = slice_trim(line);
		if (line.n > 0 && line.p[0] == '#') {
			continue;
		}
		while (ok && settings_member(&line, &member)) {
			add_member(out, member);
			ok = is_good_there(l, row, path, number, member);
		}
	}
	strbuf_clear(&file);
	return ok;
}

static bool
names_a_file(struct slice list)
{
	struct slice member;

	while (settings_member(&list, &member)) {
		if (member.p[0] == '/') {
			return true;
		}
	}
	return false;
}

/* Members "/path" of a list become the members in that file. */
static bool
list_from_files(struct settings_load *l, const struct set_row *row,
    struct strbuf *value)
{
	struct strbuf out;
	struct slice rest = strbuf_slice(value), member;
	bool ok = true;

	if (!names_a_file(rest)) {
		return true; /* as it was written */
	}
	strbuf_init(&out, SETTINGS_VALUE_MAX);
	while (ok && settings_member(&rest, &member)) {
		if (member.p[0] == '/') {
			ok = add_file_members(l, row, member, &out);
		} else {
			add_member(&out, member);
		}
	}
	if (ok && out.clipped) {
		settings_say_row(l, row, "longer than %d octets with its "
		    "files: use a map", SETTINGS_VALUE_MAX);
		ok = false;
	}
	strbuf_clear(value);
	*value = out;
	return ok;
}

/* -- what is completed ----------------------------------------------------- */

/* mydomain, when it is not to be had from myhostname: as the file says it. */
static bool
domain_for_hostname(struct settings_load *l, struct strbuf *out)
{
	const struct set_row *row = settings_find(SL("mydomain"));
	enum settings_state *state = &l->state[settings_index(row)];
	enum settings_state before = *state;
	struct strbuf b;
	bool ok = true;

	strbuf_init(&b, SETTINGS_VALUE_MAX);
	if (*state != ROW_BUSY) { /* else it waits for our name: empty */
		*state = ROW_BUSY;
		ok = expand(l, row, &b) && text_from_file(l, row, &b);
		*state = ok ? before : ROW_BAD;
	}
	(void)strbuf_add_slice(out,
	    b.n > 0 ? strbuf_slice(&b) : SL("localdomain"));
	strbuf_clear(&b);
	return ok;
}

/* An empty myhostname: the system's name, made fully qualified. */
static bool
complete_hostname(struct settings_load *l, struct strbuf *value)
{
	char name[256];

	if (gethostname(name, sizeof(name)) == -1 || name[0] == '\0') {
		(void)snprintf(name, sizeof(name), "localhost");
	}
	name[sizeof(name) - 1] = '\0';
	(void)strbuf_add_str(value, name);
	if (strchr(name, '.') != NULL) {
		return true;
	}
	(void)strbuf_add_char(value, '.');
	return domain_for_hostname(l, value);
}

/* An empty mydomain: myhostname without its first label. */
static bool
complete_domain(struct settings_load *l, struct strbuf *value)
{
	const struct set_row *row = settings_find(SL("myhostname"));
	const char *host, *dot;

	if (l->state[settings_index(row)] == ROW_BUSY) {
		settings_say_row(l, row, "$mydomain is not set, and would be "
		    "taken from myhostname itself");
		return false;
	}
	if (!resolve(l, row)) {
		return false;
	}
	host = l->src->value[settings_index(row)];
	dot = strchr(host, '.');
	(void)strbuf_add_str(value, dot != NULL ? dot + 1 : host);
	return true;
}

static bool
complete(struct settings_load *l, const struct set_row *row,
    struct strbuf *value)
{
	if (value->n > 0) {
		return true;
	}
	if (strcmp(row->name, "myhostname") == 0) {
		return complete_hostname(l, value);
	}
	if (strcmp(row->name, "mydomain") == 0) {
		return complete_domain(l, value);
	}
	return true;
}

/* -- all together ---------------------------------------------------------- */

static bool
add_files(struct settings_load *l, const struct set_row *row,
    struct strbuf *value)
{
	if ((row->flags & SET_FILE) == 0) {
		return true;
	}
	return row->type == SET_LIST ? list_from_files(l, row, value) :
	    text_from_file(l, row, value);
}

static bool
parse_row(struct settings_load *l, const struct set_row *row,
    struct slice value)
{
	struct strbuf why;
	bool ok;

	strbuf_init(&why, 0);
	ok = settings_set(l->s, row, value, &why);
	if (!ok) {
		settings_say_row(l, row, "%s",
		    why.p != NULL ? why.p : "bad value");
	}
	strbuf_clear(&why);
	return ok;
}

/* Expand, complete and parse a row, once. False: it failed and has said so. */
static bool
resolve(struct settings_load *l, const struct set_row *row)
{
	size_t i = settings_index(row);
	struct strbuf value;
	bool ok;

	if (l->state[i] == ROW_GOOD || l->state[i] == ROW_BAD) {
		return l->state[i] == ROW_GOOD;
	}
	l->state[i] = ROW_BUSY;
	strbuf_init(&value, SETTINGS_VALUE_MAX);
	ok = expand(l, row, &value) && add_files(l, row, &value) &&
	    complete(l, row, &value) &&
	    parse_row(l, row, strbuf_slice(&value));
	l->src->value[i] = strbuf_take(&value);
	l->state[i] = ok ? ROW_GOOD : ROW_BAD;
	return ok;
}

/* Both are good on their own: *line is that of the later. */
static bool
are_good(const struct settings_load *l, struct slice a, struct slice b,
    int *line)
{
	size_t i = settings_index(settings_find(a));
	size_t k = settings_index(settings_find(b));
	const int *lines = l->src->line;

	*line = lines[i] > lines[k] ? lines[i] : lines[k];
	return l->state[i] == ROW_GOOD && l->state[k] == ROW_GOOD;
}

/* What must hold between settings, once each is good. */
static void
check_together(struct settings_load *l)
{
	const struct settings *s = l->s;
	int line;

	if (are_good(l, SL("minimal_backoff_time"), SL("maximal_backoff_time"),
	    &line) && s->minimal_backoff_time > s->maximal_backoff_time) {
		settings_say(l, line, "minimal_backoff_time (%llus) is longer "
		    "than maximal_backoff_time (%llus)",
		    (unsigned long long)s->minimal_backoff_time,
		    (unsigned long long)s->maximal_backoff_time);
	}
	if (are_good(l, SL("message_size_limit"), SL("mailbox_size_limit"),
	    &line) && s->mailbox_size_limit != 0 &&
	    s->mailbox_size_limit < s->message_size_limit) {
		settings_say(l, line, "mailbox_size_limit (%llu) is less than "
		    "message_size_limit (%llu): a message could be accepted "
		    "that fits into no mailbox (0 is no limit)",
		    (unsigned long long)s->mailbox_size_limit,
		    (unsigned long long)s->message_size_limit);
	}
}

/* Put the errors into `out', in the order of the lines; free them. */
static void
hand_over_errors(struct settings_load *l, struct strbuf *out)
{
	size_t i, j;
	struct settings_error e;

	for (i = 1; i < l->nerrors; i++) {
		e = l->errors[i];
		for (j = i; j > 0 && l->errors[j - 1].line > e.line; j--) {
			l->errors[j] = l->errors[j - 1];
		}
		l->errors[j] = e;
	}
	for (i = 0; i < l->nerrors; i++) {
		(void)strbuf_add_str(out, l->path);
		if (l->errors[i].line > 0) {
			(void)strbuf_printf(out, ":%d", l->errors[i].line);
		}
		(void)strbuf_printf(out, ": %s\n", l->errors[i].text);
		free(l->errors[i].text);
	}
	free(l->errors);
}

static void
source_init(struct settings_source *src)
{
	size_t i;

	src->value = xcalloc(settings_count, sizeof(src->value[0]));
	src->raw = xcalloc(settings_count, sizeof(src->raw[0]));
	src->line = xcalloc(settings_count, sizeof(src->line[0]));
	for (i = 0; i < settings_count; i++) {
		src->raw[i] = xstrdup(settings_table[i].def);
	}
}

void
settings_source_clear(struct settings_source *src)
{
	size_t i;

	for (i = 0; src->value != NULL && i < settings_count; i++) {
		free(src->value[i]);
		free(src->raw[i]);
	}
	free(src->value);
	free(src->raw);
	free(src->line);
	*src = (struct settings_source){ NULL, NULL, NULL };
}

bool
settings_load(const char *path, struct slice text, struct settings *s,
    struct settings_source *src, struct strbuf *errors)
{
	struct settings_load l = { .path = path, .s = s, .src = src };
	struct strbuf file;
	const char *why;
	size_t i;
	bool ok;

	settings_init(s);
	source_init(src);
	l.state = xcalloc(settings_count, sizeof(l.state[0]));
	strbuf_init(&file, 0);
	if (text.p == NULL && !settings_read_all(path, &file, &why)) {
		settings_say(&l, 0, "cannot be read: %s", why);
	} else {
		settings_read_lines(&l,
		    text.p != NULL ? text : strbuf_slice(&file));
		for (i = 0; i < settings_count; i++) {
			(void)resolve(&l, &settings_table[i]);
		}
		check_together(&l);
	}
	ok = l.nerrors == 0;
	hand_over_errors(&l, errors);
	strbuf_clear(&file);
	free(l.state);
	if (!ok) {
		settings_clear(s);
		settings_source_clear(src);
	}
	return ok;
}
