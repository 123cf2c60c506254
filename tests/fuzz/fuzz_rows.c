/*
 * What the tools print of rows, whatever octets are in them: one line of JSON,
 * printable text, both valid UTF-8. And the entries of `listen'.
 */
#include "config.h"

#include <stdlib.h>

#include "common/listen.h"
#include "tools/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A second opinion on UTF-8 (RFC 3629), by decoding. */
static void
must_be_utf8(struct slice s)
{
	uint32_t c, least;
	size_t i = 0, more;
	unsigned char b;

	while (i < s.n) {
		b = (unsigned char)s.p[i++];
		more = b < 0x80 ? 0 : b >= 0xf0 ? 3 : b >= 0xe0 ? 2 : 1;
		if (more > 0 && (b < 0xc0 || b > 0xf7)) {
			abort();
		}
		c = more == 0 ? b : b & (0x3fu >> more);
		least = more == 0 ? 0 : more == 1 ? 0x80 : more == 2 ? 0x800 :
		    0x10000;
		for (; more > 0; more--) {
			if (i == s.n || (s.p[i] & 0xc0) != 0x80) {
				abort();
			}
			c = c << 6 | ((unsigned char)s.p[i++] & 0x3fu);
		}
		if (c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
			abort();
		}
	}
}

/* No control octets but one line feed at the end, if `line'. */
static void
must_be_printable(struct slice s, bool line)
{
	size_t i;

	if (line && (s.n == 0 || s.p[--s.n] != '\n')) {
		abort();
	}
	for (i = 0; i < s.n; i++) {
		if (ascii_iscntrl(s.p[i])) {
			abort();
		}
	}
	must_be_utf8(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);
	struct listen_entry e;
	struct strbuf out;

	strbuf_init(&out, 0);
	if (row_add_json(&out, in)) {
		must_be_printable(strbuf_slice(&out), true);
	} else if (out.n != 0) {
		abort();
	}
	strbuf_reset(&out);
	json_add_string(&out, in);
	must_be_printable(strbuf_slice(&out), false);
	strbuf_reset(&out);
	text_add_printable(&out, in);
	must_be_printable(strbuf_slice(&out), false);
	strbuf_clear(&out);
	if (listen_parse(in, &e) && e.port == 0) {
		abort();
	}
	return 0;
}
