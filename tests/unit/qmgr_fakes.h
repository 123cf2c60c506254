/*
 * qmgr_fakes - what stands at the other ends of qmgr's channels in its tests:
 * a cleanup with a few messages in memory, an agent whose results the test
 * decides, a tool on a control socket. Real clocks: tests wait for conditions.
 */
#ifndef TESTS_UNIT_QMGR_FAKES_H
#define TESTS_UNIT_QMGR_FAKES_H

#include <event2/event.h>

#include "common/ipc.h"
#include "qmgr/qmgr.h"
#include "qmgr/service.h"
#include "tests/unit/unit.h"

#define MSGS  8
#define RCPTS 3
#define GIVEN 64
#define QID0  1700000000000000

struct fake_msg {
	bool here, handed, hold;
	unsigned n, done, attempts[RCPTS];
	uint8_t fate[RCPTS];
	uint64_t next_at[RCPTS];
	char esc[RCPTS][ESC_MAX];
};

struct given {
	uint64_t qid;
	uint32_t index, attempt;
};

struct fake_mark {
	uint64_t qid, what;
	uint32_t tid;
};

struct fix {
	struct event_base *base;
	struct settings set;
	struct qmgr q;
	struct service sv;
	/* cleanup */
	struct ipc_chan *cleanup;
	struct fake_msg msgs[MSGS];
	bool mute, cleanup_closed; /* mute: answers nothing but TAKE */
	bool keep_marks;           /* until fake_marked() */
	struct fake_mark kept[MSGS];
	unsigned nkept;
	bool scanning;             /* SCANNED does not come by itself */
	unsigned refuse;           /* the next FATES fail */
	bool taking, bad_page;
	uint32_t take_id;
	unsigned fates, gets, marks, notices, crashes;
	unsigned notice_error;     /* of NOTICED */
	/* agent */
	struct ipc_chan *agent;
	struct given given[GIVEN];
	unsigned ngiven, acks;
	bool agent_closed, bad_cookie, quiet_hello;
	/* tool */
	struct ipc_chan *tool;
	unsigned rows, exit;
	char row[2000], text[500];
	bool ended;
	/* qmgr's owner */
	bool lost, stopped;
};

void fake_begin(struct fix *f);
void fake_end(struct fix *f);
/* A fresh channel of a cleanup that knows the same messages. */
void fake_start_cleanup(struct fix *f);
/* Message i, with n recipients. */
void fake_arrive(struct fix *f, unsigned i, unsigned n);
/* The answer to one of the MARKs that were kept. */
void fake_marked(struct fix *f);
/* Its scan has got so far. */
void fake_scanned(struct fix *f, uint64_t qid);
void fake_start_agent(struct fix *f);
void fake_hello(struct fix *f, const struct given *running, unsigned n);
void fake_result(struct fix *f, const struct given *g, unsigned fate);
/* The tool asks "word word ..."; f->ended says when it has the answer. */
void fake_ask(struct fix *f, const char *words);
void fake_turn(struct fix *f);
void fake_turns(struct fix *f, int n);

/* Turns of the loop until `cond', five seconds at most. */
#define WAIT(f, cond)                                                          \
	do {                                                                   \
		uint64_t end_ = qmgr_mono_ms() + 5000;                         \
		while (!(cond)) {                                              \
			if (qmgr_mono_ms() > end_) {                           \
				fail_msg("never came: %s", #cond);             \
			}                                                      \
			fake_turn(f);                                               \
		}                                                              \
	} while (0)

#endif
