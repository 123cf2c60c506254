/* cleanup when the disk fails, and when an agent asks for what is not its. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "common/io.h"
#include "common/siphash.h"
#include "tests/unit/cleanup_world.h"

#define TEXT "Subject: x\r\nMessage-ID: <1@client.example>\r\n\r\nhello\r\n"

/* The reply to COMMIT; that no more mail is accepted may be told before. */
static unsigned
commit(struct world *w, uint32_t tid)
{
	struct got *g;

	peer_send(&w->smtpd, IPC_COMMIT, tid, "uu", (uint64_t)0,
	    (uint64_t)strlen(TEXT));
	do {
		world_wait(w, w->smtpd.at < w->smtpd.n);
		g = &w->smtpd.got[w->smtpd.at++];
	} while (g->type == IPC_ACCEPTING);
	assert_int_equal(g->type, IPC_COMMITTED);
	return (unsigned)g->u[0];
}

/* The disk fails under the commit: 451 or 452, and nothing is queued. */
static void
no_250_from_a_failing_disk(void **state)
{
	static const struct {
		int error;
		unsigned code;
	} rows[] = { { EIO, 451 }, { ENOSPC, 452 }, { EDQUOT, 452 },
		{ EMFILE, 451 } };
	struct world w;
	size_t i;

	(void)state;
	for (i = 0; i < NELEMS(rows); i++) {
		const struct io_plan plan = { .kind = IO_PLAN_FAIL, .n = 1,
			.error = rows[i].error, .changes = true };

		world_begin(&w, "");
		smtpd_mail(&w, 7, "a@b.example");
		assert_int_equal(smtpd_rcpt(&w, 7, "ann@example.org"), 250);
		assert_int_equal(smtpd_content(&w, 7, TEXT), 0);
		io_plan(&plan);
		assert_int_equal(commit(&w, 7), rows[i].code);
		assert_non_null(io_plan_hit());
		io_plan(NULL);
		assert_int_equal(spool_count(w.pg.spool), 0);
		world_end(&w);
	}
}

static void
no_content_without_its_cookie(void **state)
{
	struct world w;
	struct got *g;
	uint64_t qid, good;
	int bit;

	(void)state;
	world_begin(&w, "");
	qid = smtpd_message(&w, 5, "ann@example.org", TEXT);
	good = siphash_cookie(w.pg.cookie_key, qid);
	for (bit = 0; bit < 64; bit += 9) {
		peer_send(&w.local, IPC_FETCH, 1, "uu", qid,
		    good ^ (UINT64_C(1) << bit));
		g = peer_next(&w, &w.local, IPC_FETCH_FAILED);
		assert_int_equal(g->u[0], 1);
	}
	peer_send(&w.local, IPC_FETCH, 1, "uu", qid, good);
	(void)peer_next(&w, &w.local, IPC_FETCHED);
	world_end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_250_from_a_failing_disk),
		cmocka_unit_test(no_content_without_its_cookie),
	};

	return cmocka_run_group_tests_name("cleanup_trouble", tests, NULL,
	    NULL);
}
