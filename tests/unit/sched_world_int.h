/* sched_world_int - what the files of sched_world share. */
#ifndef TESTS_UNIT_SCHED_WORLD_INT_H
#define TESTS_UNIT_SCHED_WORLD_INT_H

#include "tests/unit/sched_world.h"

/* A request on its way to cleanup, then its answer on its way back. */
struct world_req {
	struct world_req *next;
	enum sched_kind kind;
	uint64_t qid, token;
	uint32_t from;
	bool route;
	unsigned max;
	enum ipc_mark what;
	enum ipc_notice notice;
	char reason[64];
	unsigned nfates;
	struct {
		uint32_t index, attempt;
		enum fate fate;
		uint64_t next_at;
		char esc[ESC_MAX], reply[64];
	} fates[32];
	/* the answer */
	bool error, gone, entry;
	unsigned result; /* of a MARK; an enum sched_noticed */
	struct sched_entry_in in;
	char *page;
};

struct world_job {
	struct world_job *next;
	uint64_t qid;
	uint32_t index, attempt;
	unsigned life, batch, user;
	bool done; /* RESULT sent, RESULT_ACK awaited */
	enum fate fate;
	bool site, judged;
};

struct world_msg *world_find(struct world *w, uint64_t qid);
/* sched_world_agents.c: the actions that are an agent's */
void world_given(struct world *w, const struct sched_action *a);
void world_acked(struct world *w, const struct sched_action *a);
/* sched_world_cleanup.c: those that are cleanup's */
void world_send_request(struct world *w, const struct sched_action *a);

#endif
