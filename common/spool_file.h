/*
 * spool_file - the format of a queue file (common/spool.h): header, content,
 * envelope, state records; and what a message's records add up to.
 * Pure functions over memory.
 */
#ifndef COMMON_SPOOL_FILE_H
#define COMMON_SPOOL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/spool.h"
#include "common/strbuf.h"

/* Names in queue/H: ".ID", "ID", "ID+PARENT", "ID.corrupt". */
#define SPOOL_NAME_MAX 32 /* octets with the NUL */

/* "ID", or "ID+PARENT" when `parent' is not 0. */
void spool_name(uint64_t qid, uint64_t parent, char out[SPOOL_NAME_MAX]);
/* ".ID" */
void spool_name_tmp(uint64_t qid, char out[SPOOL_NAME_MAX]);
/* "ID.corrupt" */
void spool_name_corrupt(uint64_t qid, char out[SPOOL_NAME_MAX]);

enum spool_name_kind {
	SPOOL_NAME_FOREIGN,
	SPOOL_NAME_MESSAGE,
	SPOOL_NAME_CHILD,   /* *parent is set */
	SPOOL_NAME_TMP,
	SPOOL_NAME_CORRUPT,
};
enum spool_name_kind spool_name_parse(const char *name, uint64_t *qid,
    uint64_t *parent);

struct spool_header {
	uint64_t qid;
	uint64_t content_n;
	uint32_t envelope_n;
	uint32_t flags;
	uint32_t envelope_crc, content_crc;
};

void spool_header_encode(const struct spool_header *h,
    char out[SPOOL_HEADER]);
/* NULL, or what is wrong. */
const char *spool_header_decode(struct slice in, struct spool_header *h);

/* -- records ----------------------------------------------------------------- */

/* Append a whole record to `out'; its CRC covers the queue id, too. */
void spool_record_fate(struct strbuf *out, uint64_t qid,
    const struct fate_item *item);
void spool_record_hold(struct strbuf *out, uint64_t qid, bool on,
    struct slice reason);
void spool_record_crash(struct strbuf *out, uint64_t qid, uint8_t crashes);
/* `siblings': the queue ids of all the group's children. `fates': records of
   the parent, as spool_record_fate makes them. */
void spool_record_group(struct strbuf *out, uint64_t qid, uint64_t parent,
    const uint64_t *siblings, size_t nsiblings, struct slice fates);

/* -- state ------------------------------------------------------------------- */

/* A message as its file says: envelope and the sum of its records. */
struct spool_state {
	struct spool_header header;
	struct envelope envelope;
	uint64_t end;  /* where the next record goes */
	bool cut;      /* the file may be longer than that */
	bool hold;
	char *hold_reason; /* NULL: none */
	uint8_t crashes;
	struct spool_rcpt_state *rcpts;
	uint32_t open;
	struct strbuf group; /* a child's group record, raw; else empty */
	size_t octets; /* of memory, about */
};

/* Takes the contents of *e; *e is left empty but initialised. */
struct spool_state *spool_state_new(const struct spool_header *h,
    struct envelope *e);
void spool_state_free(struct spool_state *st);
/*
 * Apply the records in `in' (any number); returns the octets of those that are
 * whole. Fates of recipients that are done already, or of an earlier attempt
 * than what is known, change nothing.
 */
size_t spool_state_apply(struct spool_state *st, struct slice in);
/* How many recipients would be open after these records. */
uint32_t spool_state_open_after(const struct spool_state *st,
    struct slice records);
/* Would this item change anything? */
bool spool_state_news(const struct spool_state *st,
    const struct fate_item *item);

/* Records that make a fresh state the same as this one. */
void spool_state_records(const struct spool_state *st, struct strbuf *out);
/*
 * The file of a message, but its content: `head' (SPOOL_HEADER octets) goes in
 * front of it, *tail (appended to) behind it: envelope, `records', or, when these
 * are NULL, those of spool_state_records(). Sets st->header and st->end.
 */
void spool_image(struct spool_state *st, struct slice content,
    const struct slice *records, char *head, struct strbuf *tail);

/*
 * Decode envelope and records: `tail' is the file from the end of the content
 * on. Returns NULL and *out, or what is wrong.
 */
const char *spool_state_decode(const struct spool_header *h, struct slice tail,
    struct spool_state **out);

#endif
