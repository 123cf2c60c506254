/*
 * What local reads from others, apart from IPC messages: the forker's records
 * and answers, lines of the account file, names in Maildirs, headers.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/account.h"
#include "local/mailtext.h"
#include "local/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool ok)
{
	if (!ok) {
		abort();
	}
}

/* What is taken is written again to the same octets. */
static void
records(struct slice in)
{
	struct record_answer a;
	struct record r;
	char out[RECORD_SIZE];

	if (record_decode(in, &r)) {
		record_encode(&r, out);
		check(memcmp(out, in.p, sizeof(out)) == 0);
	}
	if (record_answer_decode(in, &a)) {
		record_answer_encode(&a, out);
		check(memcmp(out, in.p, sizeof(out)) == 0);
	}
}

static void
accounts(struct slice in)
{
	struct account_line l;

	if (account_parse_line(in, &l)) {
		check(l.name.n > 0 && l.home.n > 0 && l.home.p[0] == '/');
		check(l.name.p >= in.p && l.home.p + l.home.n <= in.p + in.n);
	}
	if (account_find(in, SL("ann"), &l)) {
		check(slice_eq(l.name, SL("ann")));
	}
}

static void
names(struct slice in)
{
	struct slice u = mailtext_unique_of(in);
	struct strbuf b;

	check(u.n <= in.n);
	strbuf_init(&b, 0);
	mailtext_name(&b, u, in);
	check(slice_find(strbuf_slice(&b), '/') == b.n);
	strbuf_clear(&b);
}

/* Whole, and one octet at a time: the same. */
static void
texts(struct slice in)
{
	struct crlf c1 = { false }, c2 = { false };
	struct loopscan l1, l2;
	struct strbuf a, b;
	bool over = false;
	size_t i;

	strbuf_init(&a, 0);
	strbuf_init(&b, 0);
	loopscan_init(&l1, SL("ann@x.test"));
	loopscan_init(&l2, SL("ann@x.test"));
	(void)loopscan_feed(&l1, in);
	strbuf_filled(&a, crlf_feed(&c1, in, strbuf_room(&a, in.n + 1)));
	strbuf_filled(&a, crlf_end(&c1, strbuf_room(&a, 1)));
	for (i = 0; i < in.n; i++) {
		struct slice one = slice_make(in.p + i, 1);

		over = over || loopscan_feed(&l2, one);
		strbuf_filled(&b, crlf_feed(&c2, one, strbuf_room(&b, 2)));
	}
	strbuf_filled(&b, crlf_end(&c2, strbuf_room(&b, 1)));
	check(loopscan_found(&l1) == loopscan_found(&l2));
	check(slice_eq(strbuf_slice(&a), strbuf_slice(&b)) && a.n <= in.n);
	strbuf_clear(&a);
	strbuf_clear(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make((const char *)data, size);

	records(in);
	accounts(in);
	names(in);
	texts(in);
	return 0;
}
