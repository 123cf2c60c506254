/*
 * Content. The first octet chooses the mode. The same result whole and cut;
 * what comes out has whole CRLF lines only, and stuffed and sent again it comes
 * out the same; there is an end only where CRLF.CRLF is.
 */
#include "config.h"

#include <stdlib.h>

#include "common/envelope.h"
#include "smtpd/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOM 65536

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void
run(struct data_parser *d, struct slice in, size_t cut, size_t room,
    struct strbuf *out)
{
	struct strbuf part;
	size_t at = 0, n, used;

	strbuf_init(&part, 0);
	while (at < in.n && !d->done) {
		n = in.n - at < cut ? in.n - at : cut;
		used = data_parse(d, slice_make(in.p + at, n), &part, room);
		check(used <= n && (used > 0 || part.n > 0) && part.n <= room);
		at += used;
		(void)strbuf_add_slice(out, strbuf_slice(&part));
		strbuf_reset(&part);
	}
	check(d->taken == at);
	strbuf_clear(&part);
}

static void
check_lines(const struct strbuf *out)
{
	size_t i;

	for (i = 0; i < out->n; i++) {
		if (out->p[i] == '\r') {
			check(i + 1 < out->n && out->p[i + 1] == '\n');
			i++;
		} else {
			check(out->p[i] != '\n' && out->p[i] != '\0');
		}
	}
	check(out->n == 0 || out->p[out->n - 1] == '\n');
}

static void
send_again(const struct strbuf *out, const struct data_parser *first)
{
	struct data_parser d;
	struct strbuf wire, again;
	size_t i;

	strbuf_init(&wire, 0);
	strbuf_init(&again, 0);
	for (i = 0; i < out->n; i++) {
		if (out->p[i] == '.' && (i == 0 || out->p[i - 1] == '\n')) {
			(void)strbuf_add_char(&wire, '.');
		}
		(void)strbuf_add_char(&wire, out->p[i]);
	}
	(void)strbuf_add_str(&wire, ".\r\n");
	data_init(&d, first->limit, false);
	run(&d, strbuf_slice(&wire), wire.n, ROOM, &again);
	check(d.done && d.verdict == DATA_GOOD && d.flags == first->flags);
	check(slice_eq(strbuf_slice(out), strbuf_slice(&again)));
	strbuf_clear(&wire);
	strbuf_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data + 1, size - 1);
	struct data_parser whole, cut;
	struct strbuf one, two;
	size_t end;

	if (size == 0) {
		return 0;
	}
	strbuf_init(&one, 0);
	strbuf_init(&two, 0);
	data_init(&whole, data[0] & 2 ? 100 : 1000000, data[0] & 1);
	cut = whole;
	run(&whole, in, size, ROOM, &one);
	run(&cut, in, 1, 5 + (data[0] >> 4), &two);
	check(whole.done == cut.done && whole.verdict == cut.verdict &&
	    whole.flags == cut.flags && whole.size == cut.size &&
	    whole.taken == cut.taken);
	if (whole.done) {
		end = (size_t)whole.taken;
		check(end >= 3 && memcmp(in.p + end - 3, ".\r\n", 3) == 0);
		check(end == 3 || (end >= 5 &&
		    memcmp(in.p + end - 5, "\r\n", 2) == 0));
	}
	if (whole.verdict == DATA_GOOD) {
		check(slice_eq(strbuf_slice(&one), strbuf_slice(&two)));
		check(whole.size == one.n);
		if (whole.done) {
			check_lines(&one);
			send_again(&one, &whole);
		}
	}
	strbuf_clear(&one);
	strbuf_clear(&two);
	return 0;
}
