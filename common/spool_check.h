/*
 * spool_check - reads a spool directory, of a running system, at rest or a
 * backup, without changing anything: is all of it readable, and what would a
 * start make of it? Blocks. Memory: what the journal holds, and little for each
 * file.
 */
#ifndef COMMON_SPOOL_CHECK_H
#define COMMON_SPOOL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/journal.h"

/* One thing that is worth a line. */
struct spool_finding {
	const char *place;  /* "queue/3/001J13BVMSGOT", "journal/0000000000005": the
	                       file's name goes on with "-" and a salt */
	uint64_t offset;    /* octet in it */
	const char *what;   /* and what it means */
	bool damage;        /* else it is only told */
};

struct spool_summary {
	uint64_t messages;      /* that a start would find */
	uint64_t rcpts_open, octets; /* of them: recipients to deliver, content */
	uint64_t journal_only;  /* of them: have no file */
	uint64_t behind;        /* of them: a file that the journal knows more
	                           of */
	uint64_t done;          /* files that a start would remove */
	uint64_t children;      /* of groups that are not settled */
	uint64_t leftovers;     /* .ID: being written, or left by a crash */
	uint64_t corrupt;       /* ID.corrupt: set aside before */
	uint64_t bad_segments;  /* journal/N-S.bad: set aside before */
	uint64_t foreign;       /* names that are none of ours */
	uint64_t damaged;       /* findings of damage */
	struct journal_report journal;
};

/* 0; -1 with errno: the directory is no spool or cannot be read. */
int spool_check(int spool_fd,
    void (*found)(void *arg, const struct spool_finding *f), void *arg,
    struct spool_summary *out);

/* -- single things, for people ------------------------------------------------ */

/* A line for each fact: name and value. */
typedef void spool_fact_cb(void *arg, const char *name, const char *value);

/* The message's file, if there is one. 1 told, 0 no file, -1 with errno. */
int spool_dump_file(int spool_fd, uint64_t qid, spool_fact_cb *cb, void *arg);
/* An entry of the journal in words: its kind, and what is in it. */
void spool_dump_entry(uint8_t kind, uint64_t qid, struct slice body,
    spool_fact_cb *cb, void *arg);
const char *spool_entry_name(uint8_t kind);
/* Does the entry say something of the message `wanted'? */
bool spool_entry_is_of(uint8_t kind, uint64_t qid, struct slice body,
    uint64_t wanted);
/* Each regular file below queue/H, whatever its name. 0, or -1 with errno. */
int spool_each_file(int spool_fd,
    void (*cb)(void *arg, const char *place, uint64_t octets), void *arg);

#endif
