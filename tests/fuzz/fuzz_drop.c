/*
 * The drop file's decoder, behind its checksum: the input is everything but the
 * tail, which is made right here. What it takes it writes again to the same
 * octets, and its content can be scanned.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup/scan.h"
#include "common/crc32c.h"
#include "common/drop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(struct slice file)
{
	struct drop_head h;
	struct slice content, rcpts, rcpt;
	struct strbuf again;
	uint32_t n = 0, flags;

	if (drop_decode(file, &h, &content) != NULL) {
		return;
	}
	rcpts = h.rcpts;
	while (drop_rcpt_next(&rcpts, &rcpt)) {
		if (rcpt.n == 0) {
			abort();
		}
		n++;
	}
	if (n != h.nrcpts || rcpts.n != 0) {
		abort();
	}
	strbuf_init(&again, 0);
	if (!drop_head_encode(&h, &again)) {
		abort();
	}
	(void)strbuf_add_slice(&again, content);
	drop_tail_encode(again.n, crc32c(0, again.p, again.n), &again);
	if (!slice_eq(strbuf_slice(&again), file)) {
		abort();
	}
	strbuf_clear(&again);
	(void)scan_content(content, &flags);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf b;

	check(slice_make((const char *)data, size));
	strbuf_init(&b, 0);
	(void)strbuf_add(&b, data, size);
	if (b.p != NULL) {
		drop_tail_encode(b.n, crc32c(0, b.p, b.n), &b);
		check(strbuf_slice(&b));
	}
	strbuf_clear(&b);
	return 0;
}
