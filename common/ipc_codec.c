#include "config.h"

#include <assert.h>

#include "common/codec.h"
#include "common/ipc.h"
#include "common/log.h"

/*
 * The list as a table. A row's fields are written "u:name s:name"; only the
 * letter before each colon counts here.
 */
struct row {
	uint16_t type;
	const char *name;
	enum ipc_role from, to;
	const char *fields;
};

static const struct row rows[] = {
#define IPC_ROW(num, name, from, to, fields, meaning)                          \
	{ num, #name, IPC_##from, IPC_##to, fields },
	IPC_MESSAGES(IPC_ROW)
#undef IPC_ROW
};

static const struct {
	enum ipc_role role;
	const char *name;
} roles[] = {
	{ IPC_MASTER, "master" },
	{ IPC_LOG, "log" },
	{ IPC_USERS, "users" },
	{ IPC_CLEANUP, "cleanup" },
	{ IPC_QMGR, "qmgr" },
	{ IPC_FORKER, "forker" },
	{ IPC_LOCAL, "local" },
	{ IPC_SMTPD, "smtpd" },
	{ IPC_WORKER, "worker" },
	{ IPC_TOOL, "tool" },
	{ IPC_REMOTE, "remote" },
	{ IPC_DNS, "dns" },
};

const char *
ipc_role_name(enum ipc_role r)
{
	size_t i;

	for (i = 0; i < NELEMS(roles); i++) {
		if (roles[i].role == r) {
			return roles[i].name;
		}
	}
	return "?";
}

enum ipc_role
ipc_role_by_name(struct slice name)
{
	size_t i;

	for (i = 0; i < NELEMS(roles); i++) {
		if (slice_eq(slice_of(roles[i].name), name)) {
			return roles[i].role;
		}
	}
	return (enum ipc_role)0;
}

static const struct row *
row_of(unsigned type)
{
	size_t lo = 0, hi = NELEMS(rows);

	while (lo < hi) { /* the list rises; a unit test says so */
		size_t mid = lo + (hi - lo) / 2;

		if (rows[mid].type == type) {
			return &rows[mid];
		}
		if (rows[mid].type < type) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return NULL;
}

const char *
ipc_type_name(unsigned type)
{
	const struct row *r = row_of(type);

	return r != NULL ? r->name : "?";
}

/* The next field's kind in "u:a s:b", moving on; 0 at the end. */
static char
next_kind(const char **fields)
{
	char kind;

	while (**fields == ' ') {
		(*fields)++;
	}
	kind = **fields;
	while (**fields != '\0' && **fields != ' ') {
		(*fields)++;
	}
	return kind;
}

static bool
is_end(enum ipc_role wanted, enum ipc_role actual)
{
	switch (wanted) {
	case IPC_ANY_PROGRAM:
		return true;
	case IPC_AGENT:
		return actual == IPC_LOCAL || actual == IPC_REMOTE;
	case IPC_DNS_CLIENT:
		return actual == IPC_REMOTE || actual == IPC_CLEANUP;
	default:
		return wanted == actual;
	}
}

/* One field of `kind'; false when it is not there as it should be. */
static bool
decode_field(struct dec *d, char kind, struct ipc_field *f)
{
	f->kind = kind;
	f->u = 0;
	f->s = SL("");
	if (dec_u8(d) != (uint8_t)kind) {
		return false;
	}
	if (kind == 'u') {
		f->u = dec_u64(d);
	} else if (kind != 'f') {
		f->s = dec_slice(d, kind == 's' ? IPC_STR_MAX : IPC_BLOB_MAX);
	}
	return !d->bad;
}

enum ipc_decoded
ipc_decode(struct slice in, enum ipc_role from, enum ipc_role to,
    struct ipc_msg *m, size_t *used, bool *wants_fd, const char **why)
{
	struct dec d = dec_make(in);
	const struct row *r;
	const char *fields;
	uint32_t length;
	char kind;

	if (in.n < IPC_HEADER_SIZE) {
		return IPC_DEC_MORE;
	}
	length = dec_u32(&d);
	if (length < IPC_HEADER_SIZE || length > IPC_MESSAGE_MAX) {
		*why = "a length out of bounds";
		return IPC_DEC_BAD;
	}
	m->type = dec_u16(&d);
	r = row_of(m->type);
	if (dec_u16(&d) != 0 || r == NULL) {
		*why = "an unknown type";
		return IPC_DEC_BAD;
	}
	if (!is_end(r->from, from) || !is_end(r->to, to)) {
		*why = "a type that is not the sender's to send";
		return IPC_DEC_BAD;
	}
	if (in.n < length) {
		return IPC_DEC_MORE;
	}
	m->tid = dec_u32(&d);
	d.in.n = length - IPC_HEADER_SIZE;
	m->nfields = 0;
	m->fd = -1;
	*wants_fd = false;
	fields = r->fields;
	while ((kind = next_kind(&fields)) != '\0') {
		if (!decode_field(&d, kind, &m->field[m->nfields++])) {
			*why = "a missing or bad field";
			return IPC_DEC_BAD;
		}
		*wants_fd = *wants_fd || kind == 'f';
	}
	if (!dec_done(&d)) {
		*why = "an extra field";
		return IPC_DEC_BAD;
	}
	*used = length;
	return IPC_DEC_OK;
}

uint64_t
ipc_u(const struct ipc_msg *m, unsigned i)
{
	if (i >= m->nfields || m->field[i].kind != 'u') {
		log_panic("ipc: %s has no number %u", ipc_type_name(m->type), i);
	}
	return m->field[i].u;
}

struct slice
ipc_s(const struct ipc_msg *m, unsigned i)
{
	if (i >= m->nfields ||
	    (m->field[i].kind != 's' && m->field[i].kind != 'b')) {
		log_panic("ipc: %s has no text %u", ipc_type_name(m->type), i);
	}
	return m->field[i].s;
}

int
ipc_take_fd(struct ipc_msg *m)
{
	int fd = m->fd;

	m->fd = -1;
	return fd;
}

void
ipc_build_begin(struct ipc_build *b, struct strbuf *out, enum ipc_type type,
    uint32_t tid)
{
	const struct row *r = row_of(type);

	assert(r != NULL);
	b->out = out;
	b->at = out->n;
	b->fields = r->fields;
	b->type = type;
	enc_u32(out, 0); /* the length, at the end */
	enc_u16(out, (uint16_t)type);
	enc_u16(out, 0);
	enc_u32(out, tid);
}

static void
build_kind(struct ipc_build *b, char kind)
{
	char want = next_kind(&b->fields);

	if (want != kind) {
		log_panic("ipc: %s: a field '%c' where '%c' belongs",
		    ipc_type_name(b->type), kind, want);
	}
	enc_u8(b->out, (uint8_t)kind);
}

void
ipc_build_u(struct ipc_build *b, uint64_t v)
{
	build_kind(b, 'u');
	enc_u64(b->out, v);
}

void
ipc_build_s(struct ipc_build *b, struct slice s)
{
	const char *peek = b->fields;
	char kind = next_kind(&peek);

	if (kind != 's' && kind != 'b') {
		log_panic("ipc: %s: a text where '%c' belongs",
		    ipc_type_name(b->type), kind);
	}
	if (s.n > (kind == 's' ? IPC_STR_MAX : IPC_BLOB_MAX)) {
		log_panic("ipc: %s: %zu octets are too many",
		    ipc_type_name(b->type), s.n);
	}
	build_kind(b, kind);
	enc_slice(b->out, s);
}

void
ipc_build_f(struct ipc_build *b)
{
	build_kind(b, 'f');
}

void
ipc_build_end(struct ipc_build *b)
{
	size_t n = b->out->n - b->at;

	if (next_kind(&b->fields) != '\0' || n > IPC_MESSAGE_MAX) {
		log_panic("ipc: %s: fields are missing, or it is too long",
		    ipc_type_name(b->type));
	}
	put_u32(b->out->p + b->at, (uint32_t)n);
}
