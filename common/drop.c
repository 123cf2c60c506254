#include "config.h"

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/drop.h"

#define MAGIC   SL("VRDSD\0\0\1")
#define HEAD_AT 12 /* after the magic and the head's length */
#define NAME_DIGITS (2 * DROP_RANDOM)

static bool
path_is_clean(struct slice path)
{
	size_t i;

	for (i = 0; i < path.n; i++) {
		if (ascii_iscntrl(path.p[i])) {
			return false;
		}
	}
	return path.n <= ENVELOPE_PATH_MAX;
}

bool
drop_rcpt_add(struct strbuf *rcpts, struct slice forward_path)
{
	if (forward_path.n == 0 || !path_is_clean(forward_path)) {
		return false;
	}
	enc_slice(rcpts, forward_path);
	return true;
}

bool
drop_head_encode(const struct drop_head *h, struct strbuf *out)
{
	size_t octets = 4 + 4 + h->reverse_path.n + 4 + h->rcpts.n;

	if (h->nrcpts > DROP_RCPT_MAX || octets > DROP_HEAD_MAX ||
	    !path_is_clean(h->reverse_path)) {
		return false;
	}
	(void)strbuf_add_slice(out, MAGIC);
	enc_u32(out, (uint32_t)octets);
	enc_u32(out, h->flags & DROP_FLAGS);
	enc_slice(out, h->reverse_path);
	enc_u32(out, h->nrcpts);
	(void)strbuf_add_slice(out, h->rcpts);
	return true;
}

void
drop_tail_encode(uint64_t octets, uint32_t crc, struct strbuf *out)
{
	size_t at = out->n;

	enc_u64(out, octets + DROP_TAIL);
	enc_u32(out, crc32c(crc, out->p + at, 8));
}

static void
hex(const unsigned char random[DROP_RANDOM], char *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < DROP_RANDOM; i++) {
		out[2 * i] = digits[random[i] >> 4];
		out[2 * i + 1] = digits[random[i] & 15];
	}
	out[NAME_DIGITS] = '\0';
}

void
drop_temp_name(const unsigned char random[DROP_RANDOM],
    char out[DROP_NAME_MAX])
{
	out[0] = '.';
	hex(random, out + 1);
}

void
drop_name(const unsigned char random[DROP_RANDOM], char out[DROP_NAME_MAX])
{
	hex(random, out);
}

bool
drop_name_is(struct slice name)
{
	size_t i;

	for (i = 0; i < name.n; i++) {
		if (!ascii_isdigit(name.p[i]) &&
		    (name.p[i] < 'a' || name.p[i] > 'f')) {
			return false;
		}
	}
	return name.n == NAME_DIGITS;
}

/* The count, and that many clean paths and nothing else. */
static const char *
check_rcpts(struct slice rcpts, uint32_t n)
{
	struct dec d = dec_make(rcpts);
	struct slice path;
	uint32_t i;

	if (n > DROP_RCPT_MAX) {
		return "too many recipients";
	}
	for (i = 0; i < n && !d.bad; i++) {
		path = dec_slice(&d, ENVELOPE_PATH_MAX);
		if (!d.bad && (path.n == 0 || !path_is_clean(path))) {
			return "a recipient that is no address";
		}
	}
	return dec_done(&d) ? NULL : "broken recipients";
}

static const char *
decode_head(struct slice head, struct drop_head *h)
{
	struct dec d = dec_make(head);

	h->flags = dec_u32(&d);
	h->reverse_path = dec_slice(&d, ENVELOPE_PATH_MAX);
	h->nrcpts = dec_u32(&d);
	h->rcpts = d.in;
	if (d.bad || (h->flags & ~DROP_FLAGS) != 0 ||
	    !path_is_clean(h->reverse_path)) {
		return "a broken head";
	}
	return check_rcpts(h->rcpts, h->nrcpts);
}

const char *
drop_decode(struct slice file, struct drop_head *h, struct slice *content)
{
	struct drop_head head;
	struct dec d;
	const char *wrong;
	size_t octets;

	if (file.n < HEAD_AT + DROP_TAIL) {
		return "cut short";
	}
	if (!slice_eq(slice_make(file.p, MAGIC.n), MAGIC)) {
		return "not a file of this version's sendmail";
	}
	d = dec_make(slice_make(file.p + file.n - DROP_TAIL, DROP_TAIL));
	if (dec_u64(&d) != file.n) {
		return "incomplete: its length does not match";
	}
	if (dec_u32(&d) != crc32c(0, file.p, file.n - 4)) {
		return "damaged: its checksum does not match";
	}
	d = dec_make(slice_make(file.p + MAGIC.n, 4));
	octets = dec_u32(&d);
	if (octets > DROP_HEAD_MAX || octets > file.n - HEAD_AT - DROP_TAIL) {
		return "a broken head";
	}
	wrong = decode_head(slice_make(file.p + HEAD_AT, octets), &head);
	if (wrong != NULL) {
		return wrong;
	}
	*h = head;
	*content = slice_make(file.p + HEAD_AT + octets,
	    file.n - HEAD_AT - octets - DROP_TAIL);
	return NULL;
}

bool
drop_rcpt_next(struct slice *rcpts, struct slice *forward_path)
{
	struct dec d = dec_make(*rcpts);

	if (rcpts->n == 0) {
		return false;
	}
	*forward_path = dec_slice(&d, ENVELOPE_PATH_MAX);
	*rcpts = d.in;
	return !d.bad;
}
