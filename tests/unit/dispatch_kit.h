/*
 * dispatch_kit - a stage for local's dispatcher: qmgr, cleanup, forker and
 * workers are played by the test, in one process.
 */
#ifndef TESTS_UNIT_DISPATCH_KIT_H
#define TESTS_UNIT_DISPATCH_KIT_H

#include "common/fate.h"
#include "common/ipc.h"
#include "common/settings.h"
#include "local/dispatch.h"
#include "local/record.h"

#define PATIENCE_MS 5000

struct world {
	struct event_base *base;
	struct settings settings;
	struct dispatch *d;
	struct ipc_sync qmgr, cleanup;
	int forker;
	bool stopped;
	const char *lost;
};

/* A DELIVER: see deliver(). */
struct mail {
	uint64_t qid, arrived_us, size;
	uint32_t attempt, first;
	const char *users; /* each a recipient: "ann ben" */
	const char *transport, *reverse_path;
};

void turn(struct world *w);
void join_qmgr(struct world *w);
void join_cleanup(struct world *w);
void join_forker(struct world *w);
void expect(struct world *w, struct ipc_sync *c, enum ipc_type type, struct
    ipc_msg *m);
void expect_silence(struct world *w, struct ipc_sync *c);
void expect_end(struct world *w, struct ipc_sync *c);
void expect_record(struct world *w, enum record_kind kind, const char *name,
    struct record *r);
void expect_no_record(struct world *w);
void answer(struct world *w, uint32_t serial, enum record_status status, int
    fd);
struct ipc_sync hire(struct world *w, const char *name);
void deliver(struct world *w, const struct mail *m);
void deliver_to(struct world *w, uint64_t qid, const char *users);
void ack(struct world *w, uint64_t qid, uint32_t index, uint32_t attempt);
void fetched(struct world *w, uint64_t qid);
void fetch_fails(struct world *w, uint64_t gone);
void job_result_as(struct ipc_sync *c, uint32_t tid, uint64_t qid, uint64_t
    index, enum fate fate);
void refuse(struct ipc_sync *c, enum fate fate, const char *esc);
void work(struct world *w, struct ipc_sync *c, uint64_t qid, uint64_t index);
void expect_result(struct world *w, uint64_t qid, uint64_t index, enum fate
    fate, const char *text);
void expect_hello(struct world *w, size_t known);
int raise_curtain(void **state);
int drop_curtain(void **state);
uint64_t now_us(void);
int pair(int type, int *theirs);

#define PLAY(f) cmocka_unit_test_setup_teardown(f, raise_curtain, drop_curtain)

#endif
