/*
 * entry - a page of a message's open recipients, for qmgr: ENTRY.
 * A page holds at most ENVELOPE_PAGE_RCPTS recipients and
 * ENVELOPE_PAGE_OCTETS octets; where more follow, the entry says where.
 */
#ifndef CLEANUP_ENTRY_H
#define CLEANUP_ENTRY_H

#include <stdint.h>

#include "common/ipc.h"
#include "common/spool.h"

struct resolving;

/* What of a message stands in each of its entries. */
struct entry_facts {
	uint64_t qid, arrived_us, size;
	uint32_t flags, rcpts, rcpts_open;
	bool hold;
	struct slice reverse_path, hold_reason; /* borrowed */
	uint8_t crashes;
};

/*
 * Send the page that begins at recipient `from' or at the first open one after
 * it, with the routes as they are stored.
 */
void entry_send(struct ipc_chan *ch, uint32_t tid,
    const struct spool_info *info, uint32_t from, struct strbuf *scratch);

/*
 * The same with each route asked anew; who was taken unresolved (route "error")
 * is resolved, and goes where one target says. The page is collected now, *out is set;
 * `done' is called once, maybe before this returns, when all is decided; then
 * entry_routes_send() may be called. entry_routes_free() at any time: `done' is
 * not called any more.
 */
struct entry_routes;
void entry_routes_ask(struct resolving *r, const struct spool_info *info,
    uint32_t from, struct entry_routes **out, void (*done)(void *arg),
    void *arg);
void entry_routes_send(const struct entry_routes *er, struct ipc_chan *ch,
    uint32_t tid, struct strbuf *scratch);
void entry_routes_free(struct entry_routes *er);

#endif
