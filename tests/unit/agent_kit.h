/*
 * agent_kit - a stage for a delivery agent: qmgr and cleanup are played by the
 * test, in one process. What only local has is in dispatch_kit.h, what only
 * remote has in remote_kit.h.
 */
#ifndef TESTS_UNIT_AGENT_KIT_H
#define TESTS_UNIT_AGENT_KIT_H

#include "common/fate.h"
#include "common/ipc.h"
#include "common/settings.h"

#define PATIENCE_MS 5000

struct world {
	struct event_base *base;
	struct settings settings;
	enum ipc_role me;
	const char *relay;       /* that results are to name */
	struct ipc_sync qmgr, cleanup;
	bool stopped;
	const char *lost;
	/* local: */
	struct dispatch *d;
	int forker;
	/* remote: */
	struct remote *r;
	struct ipc_sync dns;
	int listener;
	uint16_t port;
	char next_hop[40];       /* "[127.0.0.1]:port" */
	char relay_text[64];
};

/* A DELIVER: see deliver(). */
struct mail {
	uint64_t qid, arrived_us, size, flags;
	uint32_t attempt, first;
	const char *users; /* each a recipient: "ann ben" */
	const char *transport, *reverse_path;
	const char *next_hop; /* NULL: the user */
};

void turn(struct world *w);
void expect(struct world *w, struct ipc_sync *c, enum ipc_type type, struct
    ipc_msg *m);
void expect_silence(struct world *w, struct ipc_sync *c);
void expect_end(struct world *w, struct ipc_sync *c);
void deliver(struct world *w, const struct mail *m);
void ack(struct world *w, uint64_t qid, uint32_t index, uint32_t attempt);
/* Answer the next FETCH, which must be for `qid'. */
void fetched(struct world *w, uint64_t qid);
void fetch_fails(struct world *w, uint64_t gone);
void expect_result(struct world *w, uint64_t qid, uint64_t index, enum fate
    fate, const char *text);
void expect_hello(struct world *w, size_t known);
uint64_t now_us(void);
int pair(int type, int *theirs);

#endif
