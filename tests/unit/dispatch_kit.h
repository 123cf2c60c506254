/*
 * dispatch_kit - a stage for local's dispatcher: agent_kit, and the forker and
 * workers, played by the test.
 */
#ifndef TESTS_UNIT_DISPATCH_KIT_H
#define TESTS_UNIT_DISPATCH_KIT_H

#include "local/dispatch.h"
#include "local/record.h"
#include "tests/unit/agent_kit.h"

void join_qmgr(struct world *w);
void join_cleanup(struct world *w);
void join_forker(struct world *w);
void expect_record(struct world *w, enum record_kind kind, const char *name,
    struct record *r);
void expect_no_record(struct world *w);
void answer(struct world *w, uint32_t serial, enum record_status status, int
    fd);
struct ipc_sync hire(struct world *w, const char *name);
void deliver_to(struct world *w, uint64_t qid, const char *users);
void job_result_as(struct ipc_sync *c, uint32_t tid, uint64_t qid, uint64_t
    index, enum fate fate);
void refuse(struct ipc_sync *c, enum fate fate, const char *esc);
void work(struct world *w, struct ipc_sync *c, uint64_t qid, uint64_t index);
int raise_curtain(void **state);
int drop_curtain(void **state);

#define PLAY(f) cmocka_unit_test_setup_teardown(f, raise_curtain, drop_curtain)

#endif
