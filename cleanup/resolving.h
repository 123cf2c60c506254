/*
 * resolving - asks the resolver for decisions, and `users' for what it needs.
 *
 * The resolver is pure; here are its memo's life, the questions to `users' (one
 * for each missing name, however many wait for it, and none for what was found
 * within the last second, see cleanup/known.h), their deadline, and what happens when `users' is started anew. A name that is not answered in time is
 * a lookup that failed: a temporary answer.
 */
#ifndef CLEANUP_RESOLVING_H
#define CLEANUP_RESOLVING_H

#include <stdint.h>

#include "cleanup/resolve.h"

#define RESOLVING_WAIT_MAX_MS 10000 /* for `users'; less by ipc_timeout */
#define RESOLVING_NAMES_MAX   65536 /* names asked for at a time */

struct event_base;
struct resolving;

/* Borrows `policy' until resolving_set_policy() or the end. */
struct resolving *resolving_new(struct event_base *base,
    const struct policy *policy, uint64_t timeout_ms);
void resolving_free(struct resolving *r);
/* A reload: who still waits is resolved anew, by the new policy. */
void resolving_set_policy(struct resolving *r, const struct policy *policy);
/* A fresh channel to `users' (takes `fd'); what is unanswered is asked again. */
void resolving_channel(struct resolving *r, int fd);

/* The decision and its trace; both live until the callback returns. */
typedef void resolving_cb(void *arg, const struct decision *d,
    struct memo *trace);
/*
 * Decide about `rq' (copied where needed). Calls cb once: before this returns,
 * then 0 is returned, or later; then the id is for resolving_cancel().
 */
uint32_t resolving_ask(struct resolving *r, const struct resolve_request *rq,
    resolving_cb *cb, void *arg);
/* cb is not called any more. An id that is not valid any more is fine. */
void resolving_cancel(struct resolving *r, uint32_t id);

#endif
