#include "config.h"

#include <string.h>

#include "common/log.h"
#include "local/record.h"

#define KIND_AT   4
#define SERIAL_AT 8
#define NAME_AT   12
#define END_AT    60

static const char question_magic[4] = { 'V', 'R', 'F', '1' };
static const char answer_magic[4] = { 'V', 'R', 'A', '1' };

bool
record_name_ok(struct slice name)
{
	size_t i;
	char c;

	if (name.n == 0 || name.n > RECORD_NAME_MAX || name.p[0] == '-' ||
	    name.p[0] == '.') {
		return false;
	}
	for (i = 0; i < name.n; i++) {
		c = name.p[i];
		if (!(c >= 'a' && c <= 'z') && !ascii_isdigit(c) && c != '.' &&
		    c != '_' && c != '-') {
			return false;
		}
	}
	return true;
}

static void
put_serial(char *p, uint32_t v)
{
	int i;

	for (i = 0; i < 4; i++) {
		p[i] = (char)(v >> (8 * i) & 0xff);
	}
}

static uint32_t
get_serial(const char *p)
{
	uint32_t v = 0;
	int i;

	for (i = 3; i >= 0; i--) {
		v = v << 8 | (unsigned char)p[i];
	}
	return v;
}

static bool
all_zero(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		if (s.p[i] != '\0') {
			return false;
		}
	}
	return true;
}

static struct slice
part(struct slice in, size_t from, size_t to)
{
	return slice_make(in.p + from, to - from);
}

void
record_encode(const struct record *r, char out[RECORD_SIZE])
{
	size_t n = strlen(r->name);

	if (r->kind == RECORD_WORKER && !record_name_ok(slice_of(r->name))) {
		log_panic("record: a bad name");
	}
	memset(out, 0, RECORD_SIZE);
	memcpy(out, question_magic, sizeof(question_magic));
	out[KIND_AT] = (char)r->kind;
	put_serial(out + SERIAL_AT, r->serial);
	if (r->kind == RECORD_WORKER) {
		memcpy(out + NAME_AT, r->name, n);
	}
}

bool
record_decode(struct slice in, struct record *r)
{
	struct slice name;
	char kind;

	if (in.n != RECORD_SIZE ||
	    memcmp(in.p, question_magic, sizeof(question_magic)) != 0 ||
	    !all_zero(part(in, KIND_AT + 1, SERIAL_AT)) ||
	    !all_zero(part(in, END_AT, RECORD_SIZE))) {
		return false;
	}
	kind = in.p[KIND_AT];
	name = part(in, NAME_AT, END_AT);
	name.n = slice_find(name, '\0');
	if (!all_zero(part(in, NAME_AT + name.n, END_AT)) ||
	    !((kind == RECORD_WORKER && record_name_ok(name)) ||
	    (kind == RECORD_KILL && name.n == 0))) {
		return false;
	}
	*r = (struct record){ .kind = (enum record_kind)kind,
		.serial = get_serial(in.p + SERIAL_AT) };
	memcpy(r->name, name.p, name.n);
	return true;
}

void
record_answer_encode(const struct record_answer *a, char out[RECORD_SIZE])
{
	memset(out, 0, RECORD_SIZE);
	memcpy(out, answer_magic, sizeof(answer_magic));
	out[KIND_AT] = (char)a->status;
	put_serial(out + SERIAL_AT, a->serial);
}

bool
record_answer_decode(struct slice in, struct record_answer *a)
{
	unsigned char status;

	if (in.n != RECORD_SIZE ||
	    memcmp(in.p, answer_magic, sizeof(answer_magic)) != 0 ||
	    !all_zero(part(in, KIND_AT + 1, SERIAL_AT)) ||
	    !all_zero(part(in, NAME_AT, RECORD_SIZE))) {
		return false;
	}
	status = (unsigned char)in.p[KIND_AT];
	if (status >= RECORD_STATUSES) {
		return false;
	}
	a->status = (enum record_status)status;
	a->serial = get_serial(in.p + SERIAL_AT);
	return true;
}
