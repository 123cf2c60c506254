/* A spool in a scratch directory, driven one call at a time, for tests. */
#ifndef TESTS_UNIT_SPOOL_KIT_H
#define TESTS_UNIT_SPOOL_KIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/spool.h"

struct kit {
	char path[256];
	int fd;
	struct event_base *base;
	struct spool *sp;
	uint64_t announced[64]; /* spool_on_accepted() since kit_open() */
	size_t nannounced;
	int failed; /* the journal is: a new start is needed */
	/* the answer of the last call: */
	bool answered;
	int error;
	bool gone;
	/* of the last kit_info(): */
	uint32_t nrcpts, open;
	uint8_t fates[64];
	uint32_t attempts[64];
	bool warned[64];
	char relay[64]; /* of the first recipient */
	char replies[64][64];
	bool hold;
	uint32_t crashes;
	char reason[128], reverse_path[128];
	uint64_t size, parent;
	/* of the last kit_content(): */
	char *content;
	size_t content_n;
	uint32_t flags;
	bool was_fd;
};

/* A scratch directory below $TMPDIR or the working directory. */
void kit_make(struct kit *k);
/* Removes it. */
void kit_remove(struct kit *k);
/* Spools have a journal from now on, a small one, when `cfg' says nothing. */
extern bool kit_journal;
/* spool_open(); false: errno in k->error. */
bool kit_open(struct kit *k, const struct spool_config *cfg);
void kit_close(struct kit *k);
/* End it, and open it again as kit_open(k, NULL) does. */
void kit_restart(struct kit *k);
/* A test's set-up and tear-down: *state is an open kit (as `cfg' says). */
int kit_setup(void **state);
int kit_setup_as(void **state, const struct spool_config *cfg);
int kit_teardown(void **state);
/* Let the loop turn until the call is answered. */
void kit_wait(struct kit *k);
/* Until nothing is in flight. */
void kit_settle(struct kit *k);

/* `n' octets of CRLF lines; the same for the same n. Freed by the caller. */
char *kit_text(size_t n);
/* A draft with that content, and an envelope for `nrcpts'. */
struct spool_draft *kit_draft(struct kit *k, size_t n);
void kit_envelope(struct envelope *e, uint32_t nrcpts);
/* The text of kit_text(n) into a draft. */
void kit_fill(struct spool_draft *d, size_t n);
/* As below, with drafts that are empty yet. */
int kit_accept_draft(struct kit *k, struct spool_draft *d, size_t n,
    uint32_t nrcpts);
int kit_group_drafts(struct kit *k, uint64_t parent, const uint32_t *indexes,
    size_t nindexes, struct spool_draft **drafts, const size_t *sizes,
    size_t nchildren);
/* Each returns the error; accept gives the queue id. */
int kit_accept(struct kit *k, size_t n, uint32_t nrcpts, uint64_t *qid);
int kit_info(struct kit *k, uint64_t qid);
int kit_fate(struct kit *k, uint64_t qid, uint32_t index, enum fate fate,
    uint32_t attempt);
int kit_hold(struct kit *k, uint64_t qid, bool on);
int kit_crashed(struct kit *k, uint64_t qid);
int kit_delete(struct kit *k, uint64_t qid);
int kit_content(struct kit *k, uint64_t qid, size_t inline_max);
/* A child of one recipient and `n' octets for each of `nchildren'. */
int kit_group(struct kit *k, uint64_t parent, const uint32_t *indexes,
    size_t nindexes, const size_t *sizes, size_t nchildren, uint64_t *qids);
/* The path of a message's file; asks the disk which name it has. */
bool kit_file(const struct kit *k, uint64_t qid, char out[512]);
/* Cut off all that was ever appended to a queue file. */
void kit_cut_records(const char *path);
/* Files below queue/. */
size_t kit_files(const struct kit *k);
/* The content is what kit_text(n) gives. */
bool kit_content_is(const struct kit *k, size_t n);

#endif
