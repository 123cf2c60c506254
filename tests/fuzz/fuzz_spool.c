/*
 * Queue files: as they are, and with their checksums made right (else nothing
 * behind them would ever be reached). What is read is written again to the same
 * octets, and the records add up to something possible.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/spool_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

/* Header and envelope encode to what was decoded. */
static void
check_same(struct slice file, const struct envelope *e, struct slice content,
    size_t records_at)
{
	struct spool_header h;
	char head[SPOOL_HEADER];
	struct strbuf b;

	check(spool_header_decode(file, &h) == NULL);
	spool_header_encode(&h, head);
	check(memcmp(head, file.p, SPOOL_HEADER) == 0);
	check(content.p == file.p + SPOOL_HEADER && records_at <= file.n);
	strbuf_init(&b, 0);
	envelope_encode(e, &b);
	check(b.n == records_at - SPOOL_HEADER - content.n);
	check(memcmp(b.p, content.p + content.n, b.n) == 0);
	strbuf_clear(&b);
}

static void
check_state(struct slice file, struct slice content)
{
	struct spool_header h;
	struct spool_state *st;
	size_t at = SPOOL_HEADER + content.n;
	uint32_t i, open = 0;

	check(spool_header_decode(file, &h) == NULL);
	check(spool_state_decode(&h, slice_make(file.p + at, file.n - at),
	    &st) == NULL);
	check(st->end <= file.n && st->cut == (st->end != file.n));
	for (i = 0; i < st->envelope.nrcpts; i++) {
		open += st->rcpts[i].fate == FATE_NONE ||
		    st->rcpts[i].fate == FATE_DEFERRED;
	}
	check(open == st->open);
	spool_state_free(st);
}

static bool
look(struct slice file)
{
	struct envelope e;
	struct slice content;
	uint32_t flags;
	size_t at;
	bool ok;

	envelope_init(&e);
	ok = spool_parse(file, &e, &content, &flags, &at, true) == NULL;
	if (ok) {
		check_same(file, &e, content, at);
		check_state(file, content);
	}
	envelope_clear(&e);
	return ok;
}

static uint32_t
get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 |
	    (uint32_t)u[3] << 24;
}

/* Make the checksums of `p' right, as far as its lengths allow. */
static void
heal(char *p, size_t n)
{
	static const char magic[8] = { 'V', 'R', 'D', 'S', 'Q', 0, 0, 2 };
	size_t envelope_n, content_n, at;
	uint32_t body;

	if (n < SPOOL_HEADER) {
		return;
	}
	memcpy(p, magic, 8);
	memset(p + 40, 0, 20);
	envelope_n = get_u32(p + 16) % (n - SPOOL_HEADER + 1);
	content_n = get_u32(p + 20) % (n - SPOOL_HEADER - envelope_n + 1);
	put_u32(p + 16, (uint32_t)envelope_n);
	put_u32(p + 20, (uint32_t)content_n);
	put_u32(p + 24, 0);
	at = SPOOL_HEADER + content_n;
	if (envelope_n >= 10) {
		memcpy(p + at + 2, p + 8, 8); /* the queue id */
	}
	put_u32(p + 32, crc32c(0, p + at, envelope_n));
	put_u32(p + 36, crc32c(0, p + SPOOL_HEADER, content_n));
	put_u32(p + 60, crc32c(0, p, 60));
	for (at += envelope_n; n - at > 8; at += 8 + body) {
		body = get_u32(p + at);
		if (body > n - at - 8) {
			return;
		}
		put_u32(p + at + 4, crc32c(crc32c(0, p + 8, 8), p + at + 8,
		    body));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);

	check(copy != NULL);
	(void)look(slice_make((const char *)data, size));
	memcpy(copy, data, size);
	heal(copy, size);
	(void)look(slice_make(copy, size));
	free(copy);
	return 0;
}
